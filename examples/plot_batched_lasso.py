r"""Many problems side by side
===========================

Hundreds of lassos with one matrix and different data run as the rows of one tensor:

.. math:: \min_{x_i} \; \tfrac12 \|A x_i - b_i\|^2 + \lambda \|x_i\|_1, \qquad i = 1, \dots, B

Each has its own momentum, its own restarts and its own residual, and keeps the x it had when that reached the
tolerance: the result is that of a loop, in one run. On a GPU, move ``A`` and ``b`` there; nothing else changes.
"""

import time

import matplotlib.pyplot as plt
import torch

import optsci

# %%
# The rows of a quadratic are problems of their own: with :math:`Q = A^\top A` and :math:`c_i = A^\top b_i` it is
# least squares up to a constant. Signals of growing size need more and more iterations.
generator = torch.Generator().manual_seed(0)
B, m, n = 256, 60, 40
A = torch.randn(m, n, generator=generator, dtype=torch.float64)
signals = torch.randn(B, n, generator=generator, dtype=torch.float64)
signals *= torch.rand(B, n, generator=generator) < 0.1
b = signals @ A.T + 0.1 * torch.randn(B, m, generator=generator, dtype=torch.float64)
Q, c, g = A.T @ A, b @ A, optsci.L1(2.0)

# %%
# ``batch_dims=1`` says that the first dimension of x counts problems.
start = time.perf_counter()
batch = optsci.fista(optsci.Quadratic(Q, c), g, torch.zeros_like(c), restart=optsci.gradient_restart, batch_dims=1)
run = optsci.solve(batch, tol=1e-8, check_every=5)
together = time.perf_counter() - start
print(run)

# %%
# A loop over the same problems gives the same solutions after the same numbers of iterations.
start = time.perf_counter()
alone = [
    optsci.solve(
        optsci.fista(optsci.Quadratic(Q, c_i), g, torch.zeros_like(c_i), restart=optsci.gradient_restart),
        tol=1e-8,
        check_every=5,
    )
    for c_i in c
]
apart = time.perf_counter() - start
difference = float((run.x - torch.stack([single.x for single in alone])).abs().max())
same = sum(single.iterations == int(k) for single, k in zip(alone, run.instances.iterations, strict=True))
print(f"{same} of {B} problems took as many iterations alone; largest difference {difference:.1e}")
print(f"together {together:.2f} s, one after the other {apart:.2f} s")

# %%
# How long each took, in iterations.
_, axes = plt.subplots(layout="constrained")
axes.hist(run.instances.iterations.numpy(), bins=30)
axes.set(xlabel="iterations until the residual is 1e-8", ylabel="problems")
plt.show()
