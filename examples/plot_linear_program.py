r"""A linear program, with and without restarts
===========================================

First-order methods solve linear programs by products with the matrix alone,

.. math:: \min_{x \ge 0} \; \langle c, x \rangle \quad \text{subject to} \quad A x = b.

The method of Chambolle and Pock circles around the solution for long. Restarts tell it when to forget, and turn a
number of iterations that grows as the square of a condition number into one that grows as that number.
"""

import matplotlib.pyplot as plt
import torch

import optsci

# %%
# A program that has a solution, for some x and y satisfy the optimality conditions.
m, n = 60, 150
generator = torch.Generator().manual_seed(0)
A = torch.randn(m, n, generator=generator, dtype=torch.float64)
x = torch.randn(n, generator=generator, dtype=torch.float64).clamp(min=0)
slack = torch.rand(n, generator=generator, dtype=torch.float64) * (x == 0)
b, c = A @ x, A.T @ torch.randn(m, generator=generator, dtype=torch.float64) + slack

# %%
# The cost tilts the indicator of the nonnegative vectors; A x must be exactly b.
f, g, start = optsci.Tilted(optsci.Nonnegative(), c), optsci.Box(b, b), torch.zeros(n, dtype=torch.float64)


def violation_of(state):
    """How far the state is from the optimality conditions: feasible in x, in y, and no gap between the values."""
    reduced = c + A.T @ state.y
    return torch.stack([(A @ state.x - b).abs().max(), -reduced.min(), (c @ state.x + b @ state.y).abs()]).max()


algorithms = {"Chambolle-Pock": optsci.chambolle_pock, "restarted": optsci.restarted_chambolle_pock}
runs = {
    name: optsci.solve(
        algorithm(f, g, A, start),
        tol=None,
        stop=lambda state: violation_of(state) < 1e-8,
        max_iter=40_000,
        check_every=10,
        track={"violation": violation_of},
    )
    for name, algorithm in algorithms.items()
}
for name, run in runs.items():
    print(f"{name}: {run}")

# %%
# The dual variable proves it: where :math:`c + A^\top y \ge 0`, no feasible x costs less than
# :math:`-\langle b, y \rangle`.
best = runs["restarted"]
violation = float((A @ best.x - b).abs().max())
gap = float(c @ best.x + b @ best.state.y)
print(f"cost {c @ best.x:.6f}, within {abs(gap):.1e} of the dual value; A x = b up to {violation:.1e}")

_, axes = plt.subplots(figsize=(6, 4), layout="constrained")
for name, run in runs.items():
    axes.loglog(run.history["iteration"], run.history["violation"], label=name)
axes.set(xlabel="iteration", ylabel="violation of the optimality conditions")
axes.legend()
plt.show()
