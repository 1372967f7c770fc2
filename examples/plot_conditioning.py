r"""What labels do to the conditioning
===================================

A loss that sees an error hardly at all has a small eigenvalue, and an optimizer stays where it is. On a basis of
functions, :math:`u = \sum_j c_j \varphi_j`, the loss

.. math:: \tfrac{\lambda_r}{|\Omega|} \|L u + f\|^2 + \lambda_b\, |u - g|^2_{\partial\Omega}
   + \tfrac{\gamma}{|\Omega|} \|u - y\|^2

is a quadratic form; labels add :math:`\gamma` times the identity to it. Its condition number falls with
:math:`\gamma`, by the most where L is metastable.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

import optsci
from optsci.pinn import (
    MLP,
    Boundary,
    Data,
    Interval,
    Legendre,
    Poisson,
    Residual,
    adam,
    function_spectrum,
    operator_condition,
)
from optsci.pinn.named_problems import well_exit
from optsci.pinn.plots import plot_spectrum

# %%
# Polynomials of degree below 16. Without a drift the boundary values settle everything; in a potential well, the
# deeper it is, the less of a constant error the equation sees.
problems = {
    "no drift": Poisson(Interval(-1.0, 1.0)),
    "well, beta = 4": well_exit(4.0),
    "well, beta = 8": well_exit(8.0),
}
basis, weights = Legendre(16), np.logspace(-4, 4, 17)
conditions = {
    name: [operator_condition(problem, basis, label_weight=weight) for weight in (0.0, *weights)]
    for name, problem in problems.items()
}
figure, ax = plt.subplots(layout="constrained")
for i, (name, found) in enumerate(conditions.items()):
    ax.loglog(weights, [one.condition for one in found[1:]], color=f"C{i}", label=name)
    ax.axhline(found[0].condition, color=f"C{i}", lw=1, ls=":")
    print(f"{name:15s} without labels {found[0]}, smallest eigenvalue {found[0].smallest:.1e}; "
          f"label weight {weights[-1]:g}: {found[-1]}")  # fmt: skip
ax.set(xlabel="label weight; dotted: without labels", ylabel="condition number")
ax.legend()

# %%
# The same of a network, whose functions change as it is trained: eigenvalues of the loss on the functions near u, of
# size 1. Thirty labels, here exact ones, raise those that the equation leaves near 0.
problem = well_exit(8.0)
where = problem.sample(30, seed=1)
scale = float(problem.exact(where).max())
equation = (Residual(problem, 200) + Boundary(problem, 16)) * (1 / scale**2)
known = Data(where, problem.exact(where)) * (1 / scale**2)
u = MLP(1, (16, 16), 1, box=problem.domain, scale=scale, seed=0)
optsci.solve(adam(u, equation + known, lr=2e-3), tol=None, max_iter=600, check_every=600)
x = torch.linspace(-1, 1, 201, dtype=torch.float64)[1:-1, None]
spectra = {
    f"label weight {weight:g}": function_spectrum(u, equation + weight * known, x) for weight in (0.0, 1.0, 100.0)
}
for name, values in spectra.items():
    print(f"{name:17s} largest {values[0]:.1e}, smallest {values[-1]:.1e}, condition {values[0] / values[-1]:.1e}")
plot_spectrum(spectra)
plt.show()
