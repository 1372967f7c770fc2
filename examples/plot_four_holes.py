r"""A square with four holes
========================

The problem "Poisson 2d-C" of the benchmark PINNacle (arXiv 2306.08827): :math:`\Delta u = 0` in a square without four
disks, u = 1 on the square and u = 0 on the circles. Between a hole and the side u climbs from 0 to 1 within a tenth of
the square, second derivatives are large numbers there, and in a plain loss they drown the boundary values. The network
stays where the equation is easiest to satisfy: at a constant.
"""

from dataclasses import replace

import matplotlib.pyplot as plt
import torch

import optsci
from optsci.pinn import MLP, Boundary, Data, Residual, finite_differences, gauss_newton, labels, sobol
from optsci.pinn.named_problems import four_holes
from optsci.pinn.plots import plot_error, plot_solution

# %%
# Finite differences on two grids serve as the exact solution: the spacing halved divides the error by four.
fine, coarse = (finite_differences(four_holes(), cells=cells) for cells in (200, 100))
problem = replace(four_holes(), exact=fine)
middle = torch.zeros(1, 2, dtype=torch.float64)
extrapolated = float(fine(middle) + (fine(middle) - coarse(middle)) / 3)
print(f"u(0, 0) = {extrapolated:.6f}")

# %%
# Labels by walks on spheres, which need the signed distance alone: a walk ends at 0 or at 1.
where = problem.sample(60, seed=1)
found = labels(problem, where, paths=300, seed=0)
print(found)

# %%
# The same network and the same steps of Gauss-Newton for four losses. Labels say how high u is and help a little; the
# weight of boundary values and labels decides. With labels that have errors of their own the last digits are theirs.
x = problem.sample(300, seed=0, points=sobol)
on, _ = problem.sample_boundary(150, seed=2, points=sobol)
networks, errors = {}, {}
for weight in (1, 1000):
    for name, known in {"plain": [], "labels": [Data(where, found.mean)]}.items():
        u = MLP(2, (24, 24), 1, box=problem.domain, seed=0)
        loss = sum((weight * term for term in [Boundary(problem, on), *known]), Residual(problem, x))
        optsci.solve(gauss_newton(u, loss), tol=1e-9, max_iter=60)
        networks[name, weight], errors[name, weight] = u, problem.relative_error(u)
        print(f"{name:6s} weight {weight:4d}: loss {float(loss(u).detach()):.1e}, error {errors[name, weight]:.2%}")

# %%
# On one scale of colours.
shown = {f"{name}, weight {weight}": networks[name, weight] for name, weight in (("plain", 1), ("labels", 1000))}
plot_solution(problem, shown, found)

# %%
plot_error(problem, shown)
plt.show()
