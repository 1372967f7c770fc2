r"""Poisson's equation with labels and their error bars
=====================================================

The solution of a boundary value problem at one point is an average over random paths from there (Feynman and Kac):

.. math:: -\Delta u = f, \quad u|_{\partial\Omega} = g \qquad\Longrightarrow\qquad
   u(x) = \mathbb E\Bigl[ g(X_\tau) + \int_0^\tau f(X_t)\, dt \Bigr], \quad X = x + \sqrt2\, W

Such a value, a label, needs no grid and comes with its standard error. A network is then fitted to the equation, the
boundary values and a handful of labels.
"""

import matplotlib.pyplot as plt

import optsci
from optsci.pinn import MLP, Boundary, Data, Residual, gauss_newton, labels, sobol
from optsci.pinn.named_problems import sine_poisson
from optsci.pinn.plots import plot_error, plot_solution

problem = sine_poisson()  # u = sin(2 pi x1) sin(2 pi x2)
where = problem.sample(40, seed=1)

# %%
# Walks on spheres, 1000 from every point. The standard errors say how far to trust the labels: about 95 of 100 lie
# within two of them, and four times as many paths halve them.
found = labels(problem, where, paths=1000, seed=0)
more = labels(problem, where, paths=4000, seed=1)
away = (found.mean - problem.exact(where)) / found.stderr
within = int((away.abs() <= 2).sum())
ratio = float(found.stderr.mean() / more.stderr.mean())
print(found)
print(
    f"{within} of {len(where)} labels lie within two standard errors; four times the paths divide these by {ratio:.2f}"
)

figure, ax = plt.subplots(layout="constrained")
truth = problem.exact(where)[:, 0]
ax.errorbar(truth, found.mean[:, 0], 2 * found.stderr[:, 0], fmt=".", lw=1, label="1000 paths")
ax.errorbar(truth, more.mean[:, 0], 2 * more.stderr[:, 0], fmt=".", lw=2, label="4000 paths")
ax.axline((0, 0), slope=1, color="black", lw=1)
ax.set(xlabel="exact", ylabel="label ± 2 standard errors")
ax.legend()

# %%
# The loss is a sum of means of squares. Gauss-Newton takes it apart in a few steps. The equation spreads what the
# labels know over the square: the network is closer to the solution than its labels are.
u = MLP(2, (24, 24), 1, box=problem.domain, seed=0)
equation = Residual(problem, problem.sample(400, seed=0, points=sobol)) + 100 * Boundary(problem, 100)
loss = equation + Data(found.points, found.mean, found.stderr)
run = optsci.solve(gauss_newton(u, loss), tol=1e-9, max_iter=60)
label_error = float((found.mean - problem.exact(where)).norm() / problem.exact(where).norm())
error = problem.relative_error(u)
print(run)
print(f"relative error of the labels {label_error:.1%}, of the network {error:.2%}")
plot_solution(problem, {"network": u}, found)

# %%
plot_error(problem, {"network": u})
plt.show()
