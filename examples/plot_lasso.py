r"""The lasso, and how fast FISTA is
================================

Least squares with an :math:`\ell_1` penalty, more unknowns than equations:

.. math:: \min_x \; F(x) = \tfrac12 \|Ax - b\|^2 + \lambda \|x\|_1

ISTA, FISTA and FISTA with restarts start from zero. Both bounds hold at every iteration, restarts beat them
by far, and the optimality conditions tell that the end is a solution.
"""

import matplotlib.pyplot as plt
import numpy as np

import optsci
from optsci.plots import convergence

# %%
# An instance: 20 of 1000 coefficients are not zero, 200 noisy observations, and the columns share a factor.
# From :math:`\lambda = \|A^\top b\|_\infty` on the solution would be zero; 3 % of that makes it hard.
rng = np.random.default_rng(0)
A = rng.standard_normal((200, 1000)) + 0.5 * rng.standard_normal((200, 1))
signal = np.zeros(1000)
signal[rng.choice(1000, 20, replace=False)] = rng.standard_normal(20)
b = A @ signal + 0.1 * rng.standard_normal(200)
weight = 0.03 * float(np.abs(A.T @ b).max())

f, g = optsci.LeastSquares(A, b), optsci.L1(weight)
x0 = np.zeros(1000)

# %%
# One loop runs them all. An algorithm is a generator of states, and its options are its own arguments.
algorithms = {
    "ISTA": optsci.ista(f, g, x0),
    "FISTA": optsci.fista(f, g, x0),
    "FISTA, restarted": optsci.fista(f, g, x0, restart=optsci.gradient_restart),
}
runs = {}
for name, algorithm in algorithms.items():
    track = {"objective": lambda state: f(state.x) + g(state.x)}
    runs[name] = optsci.solve(algorithm, tol=1e-12, max_iter=3000, track=track)
    print(f"{name:17s} {runs[name]}")

# %%
# Distance to the optimal value, with the bounds :math:`L R^2 / 2k` of ISTA and :math:`2 L R^2 / (k+1)^2` of
# FISTA, where :math:`R = \|x_0 - x^\star\|`.
x = runs["FISTA, restarted"].x
optimum = float(f(x) + g(x))
scale = f.lipschitz() * float(x.square().sum())
k = np.arange(1, 3001)

axes = convergence(runs, "objective", minus=optimum)
axes.plot(k, scale / (2 * k), "--", color="C0", lw=1, label="bound of ISTA")
axes.plot(k, 2 * scale / (k + 1) ** 2, "--", color="C1", lw=1, label="bound of FISTA")
axes.set(xscale="log", ylim=(1e-9, None))
axes.legend()

# %%
# The optimality (KKT) conditions: on the support the gradient of :math:`f` is
# :math:`-\lambda \operatorname{sign}(x)`, elsewhere it is at most :math:`\lambda` in magnitude.
gradient, support = f.grad(x), x != 0
on_support = float((gradient + weight * x.sign())[support].abs().max() / weight)
elsewhere = float(gradient[~support].abs().max() / weight)
print(f"{int(support.sum())} nonzeros; on the support the conditions fail by {on_support:.1e},")
print(f"elsewhere the gradient reaches {elsewhere:.3f} of its limit")

plt.show()
