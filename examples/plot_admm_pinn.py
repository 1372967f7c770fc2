r"""Control of Burgers' equation with a bound, by networks
======================================================

.. math:: \min_{u \le 0.3}\ \tfrac12 \|y - 0.3\|^2 + 0.05\, \|u\|^2, \qquad -\tfrac1{12} y'' + y y' = u, \quad
   y(0) = y(1) = 0

ADMM takes the two halves apart. The bound has a prox, a clip. The other half, the differential equation with its smooth
objective, has one as well: an optimality system of two equations, for the state y and the adjoint p, which two small
networks learn; between two outer iterations they start where they were (ADMM-PINNs, arXiv 2302.08309).
"""

import math

import matplotlib.pyplot as plt
import torch

import optsci
from optsci.pinn import MLP, BoundaryAnsatz, Interval
from optsci.pinn.control import (
    BurgersControl,
    BurgersMap,
    ControlCost,
    Summable,
    burgers_reference,
    control_objective,
)

# %%
# Networks times x (1 - x) are zero at both ends. The control has its values at equal nodes.
nodes, widths, iterations = 101, (20, 20), 30
domain = Interval(0.0, 1.0)
x = torch.linspace(0, 1, nodes, dtype=torch.float64)[:, None]
y, p = (BoundaryAnsatz(MLP(1, widths, 1, box=domain, seed=seed), 0.0, domain.vanishing) for seed in range(2))
rule = Summable(2e-2, delta=1.0)
smooth = BurgersControl(x, y, p, target=0.3, nu=1 / 12, alpha=0.1, tolerance=rule, inner_steps=30)

# %%
# The reference: finite differences on a grid 64 times as fine, by a semismooth Newton method.
reference = burgers_reference(64 * (nodes - 1))
exact = reference.u[::64]
run = optsci.solve(
    optsci.admm(smooth, optsci.Box(-math.inf, 0.3), torch.zeros_like(x), rho=0.1),
    tol=1e-5,
    max_iter=iterations,
    track={
        "error": lambda s: (s.z - exact).norm() / exact.norm(),
        "primal": lambda s: s.primal,
        "dual": lambda s: s.dual,
        "inner": lambda s: smooth.last.error,
    },
)
print(run)
print(f"last training: {smooth.last.error:.1e} after {smooth.last.steps} steps, asked for {smooth.last.asked:.1e}")

# %%
# The networks' word is not enough: a classical solver finds the true state of the control, and so its true objective.
u = run.state.z
S, cost = BurgersMap(nodes - 1), ControlCost(0.1, upper=0.3)
with torch.no_grad():
    gap = (y(x)[1:-1, 0] - S(u[1:-1, 0])).abs().max()
least = burgers_reference(nodes - 1)
excess = control_objective(S, 0.3, cost, u[1:-1, 0]) / control_objective(S, 0.3, cost, least.u[1:-1, 0]) - 1
error = run.history["error"][-1]
print(f"error of u {error:.1e}, of y against its true state {gap:.1e}, excess of the objective {excess:.1e}")

# %%
# State and control, and where the bound is active.
active = u[:, 0] >= 0.3
figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
with torch.no_grad():
    axes[0].plot(x, y(x), label="network")
axes[0].plot(reference.nodes, reference.y, "k:", label="finite differences")
axes[0].axhline(0.3, color="0.7", linewidth=0.8)
axes[0].set(title="state", xlabel="x")
axes[1].plot(x, u, label="z")
axes[1].plot(reference.nodes, reference.u, "k:", label="finite differences")
axes[1].fill_between(x[:, 0], 0, 0.3, where=active, alpha=0.2, label="bound active")
axes[1].set(title="control", xlabel="x")
for name in ("error", "primal", "dual", "inner"):
    values = torch.tensor(run.history[name])
    axes[2].semilogy(run.history["iteration"], values.where(values > 0, math.nan), label=name)
axes[2].set(title="convergence", xlabel="outer iteration")
for each in axes:
    each.legend()
plt.show()
