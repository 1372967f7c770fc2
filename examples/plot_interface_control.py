r"""Control across an interface
===========================

A plate whose conductivity jumps from 1 to 10 at a circle shall have a temperature :math:`y_d`, by heat sources u
between -1 and 1:

.. math:: \min \tfrac12 \|y - y_d\|^2 + \tfrac12 \|u\|^2, \qquad -\nabla \cdot (B \nabla y) = f + u, \qquad
   [y] = [B \partial_n y] = 0

The gradient of y jumps at the circle, and no smooth network has a kink. One that gets a function with a kink as a
further input has it at the right place, and is continuous whatever its parameters (arXiv 2308.06709).
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

import optsci
from optsci.pinn import MLP, Fields, gauss_newton, gradient
from optsci.pinn.control import (
    circle_control,
    interface_adjoint,
    interface_points,
    interface_state,
    optimality_system,
    square_bubble,
)

# %%
# Example 1 of the paper, with a known solution. State and adjoint are :math:`g + h\,N(x, \varphi(x))` with boundary
# values g, h = 0 on the boundary, and :math:`\varphi = (r / r_0)^2` inside of the circle, 1 outside. The control is the
# projection of the adjoint: it needs no network, and lies in its box exactly.
known = circle_control()
problem, interface = known.problem, known.problem.equation.interface
u = Fields(
    y=interface_state(problem.equation, MLP(3, [24], seed=0), known.lift, square_bubble),
    p=interface_adjoint(problem.equation, MLP(3, [24], seed=1), square_bubble),
)

# %%
# Equations inside and outside, and the jumps of the flux on the circle, are one sum of squares for Gauss-Newton steps.
loss = optimality_system(problem, interface_points(interface, 300, 60, seed=0))
run = optsci.solve(gauss_newton(u, loss), max_iter=40)
print(run)

# %%
# On points that the training has not seen. Boundary values and continuity hold to rounding.
x, (on, normal) = torch.cat(interface.sample(5000, seed=9)), interface.on_interface(500, seed=9)
with torch.no_grad():
    control = problem.control(x, u.p(x))
    error = float((control - known.control(x)).norm() / known.control(x).norm())
    jump = float((u.y.outside(on) - u.y.inside(on)).abs().max())
    edge = interface.on_boundary(500, seed=9)
    boundary = float((u.y(edge) - known.state(edge)).abs().max())
print(f"error of u {error:.1e}, |u| up to {control.abs().max()}")
print(f"y jumps by {jump:.0e}, and misses its boundary values by {boundary:.0e}")

# %%
# State and control, where the box is active (hatched), and the error of u.
side = np.linspace(-1, 1, 121)
grid = torch.cartesian_prod(*2 * [torch.from_numpy(side)])
with torch.no_grad():
    shown = {"state y": u.y(grid), "control u": problem.control(grid, u.p(grid))}
    shown["error of u"] = shown["control u"] - known.control(grid)
figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
for axis, (name, value) in zip(axes, shown.items(), strict=True):
    picture = axis.pcolormesh(
        side, side, value.reshape(121, 121).T.numpy(), cmap="RdBu_r" if "u" in name else "viridis"
    )
    axis.add_patch(plt.Circle((0, 0), 0.5, fill=False, linestyle="--"))
    axis.set(title=name, aspect="equal")
    figure.colorbar(picture, ax=axis)
active = (shown["control u"].abs() == 1).double().reshape(121, 121).T.numpy()
axes[1].contourf(side, side, active, levels=[0.5, 1.5], colors="none", hatches=["///"])

# %%
# Along the first axis: y is continuous, its slope falls to a tenth at the circle, and the flux does not jump.
line = torch.stack((torch.linspace(0, 1, 400, dtype=torch.float64), torch.zeros(400, dtype=torch.float64)), 1)
value, slope = u.y(line)[:, 0].detach(), gradient(u.y, line)[:, 0].detach()
inside = interface.contains(line)[:, 0]
flux = torch.where(inside, *problem.equation.diffusion) * slope
along = line[:, 0].numpy()
figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
axis.plot(along, value.numpy(), label="y")
axis.plot(along, slope.numpy(), label=r"$\partial_1 y$")
axis.plot(along, flux.numpy(), "--", label=r"$B\, \partial_1 y$")
axis.axvline(0.5, color="0.7", zorder=0)
axis.set(xlabel="$x_1$", title="along the first axis")
axis.legend()
plt.show()
