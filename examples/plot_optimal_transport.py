r"""Optimal transport on a grid
===========================

The cheapest plan that carries one distribution on a square grid to another is a linear program,

.. math:: \min_{P \ge 0} \; \langle C, P \rangle \quad \text{subject to} \quad P \mathbf 1 = a, \; P^\top \mathbf 1 = b

with as many unknowns as there are pairs of cells. The primal-dual method needs its row and column sums only; the dual
variables are prices, and certify how far the plan is from the best.
"""

import matplotlib.pyplot as plt
import torch

import optsci

# %%
# Two distributions on a grid of 12 x 12 cells, and the squared distance between cells.
side = 12
cells = torch.cartesian_prod(*[torch.linspace(0, 1, side, dtype=torch.float64)] * 2)


def bump(center, width):
    """A distribution around a point."""
    mass = torch.exp(-(cells - torch.tensor(center)).square().sum(1) / (2 * width**2))
    return mass / mass.sum()


a = bump([0.25, 0.3], 0.1)
b = (bump([0.8, 0.25], 0.08) + bump([0.6, 0.8], 0.08)) / 2
C = torch.cdist(cells, cells).square()

# %%
# The cost tilts the indicator of nonnegative plans; the marginals must be exactly those given.
n = len(cells)
f = optsci.Tilted(optsci.Nonnegative(), C)
marginals = torch.cat([a, b])
g = optsci.Box(marginals, marginals)
K = optsci.Marginals(n, n)


def accuracy(state):
    """The larger of the violation of the marginals and the distance of the cost to a bound from feasible prices."""
    u, v = -state.y[:n], -state.y[n:]
    u = (C - v).min(dim=1).values  # the highest prices that the other side allows
    cost = (C * state.x).sum()
    return torch.maximum((cost - u @ a - v @ b).abs() / cost, (K(state.x) - marginals).abs().sum())


# %%
# The two steps may differ: their product is bounded, their ratio is free, and matters.
tau = 5.0 / n / (2 * n) ** 0.5
steps = optsci.chambolle_pock(f, g, K, torch.outer(a, b), tau=tau, sigma=1.3 / (tau * K.norm() ** 2))
run = optsci.solve(
    steps,
    tol=None,
    max_iter=20_000,
    check_every=100,
    stop=lambda state: accuracy(state) < 1e-3,
    track={"accuracy": accuracy},
)
plan = run.x
cost = float((C * plan).sum())
violation = float((K(plan) - marginals).abs().sum())
bound = run.history["accuracy"][-1]
print(f"cost {cost:.5f}, within {bound:.1e} of a lower bound, marginals violated by {violation:.1e}; {run}")

# %%
# Where the mass of every cell goes, in the mean.
target = plan @ cells / plan.sum(1, keepdim=True).clamp(min=1e-300)
heavy = a > 0.002
_, axes = plt.subplots(figsize=(5, 5), layout="constrained")
axes.scatter(*cells.T.numpy(), s=4000 * a.numpy(), color="C0", alpha=0.5, label="from")
axes.scatter(*cells.T.numpy(), s=4000 * b.numpy(), color="C1", alpha=0.5, label="to")
axes.quiver(
    *cells[heavy].T.numpy(), *(target - cells)[heavy].T.numpy(), angles="xy", scale_units="xy", scale=1, width=0.004
)
axes.set(aspect="equal", xticks=[], yticks=[])
axes.legend(markerscale=0.5)
plt.show()
