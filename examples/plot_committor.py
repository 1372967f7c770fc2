r"""A committor in ten dimensions
==============================

In which of two wells does a diffusion end? The committor q(x) is the probability that a path from x is in the well B
before it is in A:

.. math:: dX = -\nabla V(X)\, dt + \sqrt{2 / \beta}\, dW, \qquad
   V(x) = (x_1^2 - 1)^2 + 0.3 \sum_{i=2}^{10} x_i^2

With the wells :math:`A = \{x_1 \le -1\}` and :math:`B = \{x_1 \ge 1\}` the solution depends on :math:`x_1` alone,

.. math:: q(x) = \int_{-1}^{x_1} e^{\beta V(y)}\, dy \Big/ \int_{-1}^{1} e^{\beta V(y)}\, dy

but neither the paths nor the network know that. No grid has ten dimensions; paths do not mind them.
"""

import matplotlib.pyplot as plt
import torch

import optsci
from optsci.pinn import MLP, Boundary, Data, EulerMaruyama, Exit, Residual, gauss_newton, labels, sobol
from optsci.pinn.named_problems import double_well_committor

d = 10
problem = double_well_committor(d)

# %%
# A path from x ends in A or in B: a label is the fraction of those that end in B.
where = problem.sample(60, seed=1)
found = labels(problem, where, paths=500, method=EulerMaruyama(dt=2e-3, exit=Exit.BRIDGE), seed=0)
within = int(((found.mean - problem.exact(where)).abs() <= 2 * found.stderr).sum())
print(found)
print(f"{within} of {len(where)} labels lie within two standard errors")

# %%
# A network of ten variables, trained on the equation, on the boundary of A and B, and on the labels.
u = MLP(d, (20, 20), 1, box=problem.region, seed=0)
equation = Residual(problem, problem.sample(600, seed=0, points=sobol)) + 10 * Boundary(problem, 200)
run = optsci.solve(gauss_newton(u, equation + 10 * Data(where, found.mean)), tol=1e-9, max_iter=40)
error = problem.relative_error(u)
print(run)
print(f"relative error {error:.2%}")

# %%
# At points all over the box, against their first coordinate: the other nine make hardly a difference.
x = problem.sample(1000, seed=5)
with torch.no_grad():
    values = u(x)
line = torch.linspace(-1, 1, 200, dtype=torch.float64)[:, None].expand(200, d)
figure, ax = plt.subplots(layout="constrained")
ax.plot(x[:, 0], values[:, 0], ".", markersize=3, label="network")
ax.errorbar(
    where[:, 0], found.mean[:, 0], 2 * found.stderr[:, 0], fmt=".", color="tab:red", lw=1,
    label="labels ± 2 standard errors",
)  # fmt: skip
ax.plot(line[:, 0], problem.exact(line)[:, 0], color="black", label="exact, one dimension")
ax.set(xlabel="$x_1$", ylabel="q")
ax.legend()
plt.show()
