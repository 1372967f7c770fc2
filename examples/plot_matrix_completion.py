r"""Matrix completion
=================

A third of the entries of a matrix of rank 4 is known. The convex way to the rest is the nuclear norm,

.. math:: \min_X \; \tfrac12 \|M \odot (X - Y)\|^2 + \lambda \|X\|_*

whose prox thresholds singular values. The penalty shrinks what it keeps; with the rank in hand, projected gradients
onto the matrices of that rank remove the bias.
"""

import matplotlib.pyplot as plt
import torch

import optsci
from optsci.plots import convergence

# %%
# The data: a product of thin factors, and a mask.
generator = torch.Generator().manual_seed(0)
m, n, rank = 120, 80, 4
truth = torch.randn(m, rank, generator=generator, dtype=torch.float64)
truth = truth @ torch.randn(rank, n, generator=generator, dtype=torch.float64)
mask = torch.rand(m, n, generator=generator) < 1 / 3
observed = mask * truth


# %%
# Your own smooth function needs a value, a gradient and, if no step is to be given, its Lipschitz constant.
class Misfit:
    """Half the squared error on the known entries."""

    def __call__(self, X):
        return (mask * (X - observed)).square().sum() / 2

    def grad(self, X):
        return mask * (X - observed)

    def lipschitz(self):
        return 1.0


# %%
# FISTA with restarts, warm-started from a large weight to a small one.
f, X = Misfit(), torch.zeros_like(truth)
for weight in (20.0, 5.0, 1.0):
    run = optsci.solve(
        optsci.fista(f, optsci.Nuclear(weight), X, restart=optsci.gradient_restart),
        tol=1e-7,
        track={"error": lambda state: (state.x - truth).norm() / truth.norm()},
    )
    X = run.x
    found = int((torch.linalg.svdvals(X) > 1e-6).sum())
    print(f"weight {weight:4.1f}: rank {found:2d}, relative error {run.history['error'][-1]:.4f}; {run}")
convex = run.history["error"][-1]

# %%
# From there, the same problem over the matrices of rank 4: not convex, and exact.
polish = optsci.solve(
    optsci.ista(f, optsci.RankBall(rank), X),
    tol=1e-9,
    track={"error": lambda state: (state.x - truth).norm() / truth.norm()},
)
exact = polish.history["error"][-1]
print(f"rank {rank} exactly: relative error {exact:.1e}; {polish}")

axes = convergence({"projected gradient, rank 4": polish}, "error")
axes.axhline(convex, color="C1", ls="--", label="nuclear norm, last weight")
axes.set(ylabel="relative error")
axes.legend()
plt.show()
