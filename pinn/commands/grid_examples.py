"""Examples of ``optsci control`` on grids: primal-dual iterations against semismooth Newton."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from optsci.iteration import Result, solve

from ..control.control_sets import active_sets
from ..control.manufactured import bilinear_parabolic, sparse_target
from ..control.newton_control import ControlCost, control_objective, semismooth_newton
from ..control.nonlinear_maps import BilinearHeatMap
from ..control.plots import Extent, plot_control_images, plot_decay, plot_differences, plot_images
from ..control.primal_dual_control import nonlinear_primal_dual, primal_dual
from ..control.solution_maps import EllipticMap, space_time_points
from .outcome import Outcome, curves, relative

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEAR = 1e-6  # a control is found if the bound of its distance is this share of it


def sparse_elliptic(seed: int, steps: int = 1000, *, cells: int = 64, progress: bool = False) -> Outcome:
    """Sparse control of Poisson's equation, from a random control, until the bound of the distance is small."""
    S, cost = EllipticMap(cells), ControlCost(alpha=1e-5, rho=1e-3, lower=-30.0, upper=30.0)
    target = sparse_target(S.points)
    start = random_control(len(target), cost, seed)
    newton = solve(semismooth_newton(S, target, torch.zeros_like(start), cost=cost), tol=1e-11, max_iter=80)
    exact = newton.raise_if_failed().x
    track = {"error": lambda s: relative(s.x, exact), "bound": lambda s: s.bound * len(exact) ** 0.5 / exact.norm()}
    run = solve(
        primal_dual(S, S.T, cost, target, start),
        tol=None,
        max_iter=steps,
        stop=lambda s: track["bound"](s) < NEAR,
        track=track,
        progress=progress,
    )
    u, y = run.x, S(run.x)
    found = {"u": relative(u, exact), "y": relative(y, S(exact))}
    sets = active_sets(u, cost.lower, cost.upper)

    def image(v: Tensor) -> Tensor:
        return v.reshape(cells - 1, cells - 1)

    figures = {
        "state": plot_images({"state y": image(y), "target": image(target)}, of_nodes(cells)),
        "control": plot_control_images({"control u": image(u)}, cost.lower, cost.upper, of_nodes(cells)),
        "convergence": decay(run, newton, "error", "bound", "residual"),
        "comparison": plot_differences({"u - u of semismooth Newton": image(u - exact)}, of_nodes(cells)),
    }
    more = objectives(S, target, cost, u, exact) | {
        "bound": run.history["bound"][-1],
        "newton_steps": newton.iterations,
    }
    return Outcome(run, "semismooth Newton on the same grid", found, sets.shares(), more, figures)


def bilinear_heat(seed: int, steps: int = 300, *, cells: int = 16, times: int = 32, progress: bool = False) -> Outcome:
    """A coefficient of the heat equation as the control, from a random one; its solution is known, too."""
    exact = bilinear_parabolic(space_time_points(cells, times, 1.0, 2))
    S, cost = BilinearHeatMap(cells, times, exact.f), exact.cost
    start = random_control(len(exact.u), cost, seed)
    newton = solve(semismooth_newton(S, exact.y_d, torch.zeros_like(start), cost=cost), tol=1e-11, max_iter=80)
    reference = newton.raise_if_failed().x

    def adjoint(p: Tensor, u: Tensor, y: Tensor) -> Tensor:
        return S.linearised(u, y).T(p)

    run = solve(
        nonlinear_primal_dual(S, adjoint, cost, exact.y_d, start),
        tol=1e-8,
        max_iter=steps,
        track={"error": lambda s: relative(s.x, reference)},
        progress=progress,
    )
    u, y = run.x, S(run.x)
    found = {"u": relative(u, reference), "y": relative(y, S(reference))}
    more = objectives(S, exact.y_d, cost, u, reference) | {
        "newton_steps": newton.iterations,
        "error_of_the_grid": relative(reference, exact.u),
    }

    def images(v: Tensor, name: str) -> dict[str, Tensor]:
        """Three times; the grid has none at 0."""
        layers = v.reshape(times, cells - 1, cells - 1)
        return {
            f"{name}, t = {(k + 1) / times:g}": layers[k] for k in (times // 4 - 1, times // 2 - 1, 3 * times // 4 - 1)
        }

    figures = {
        "state": plot_images(images(y, "y"), of_nodes(cells)),
        "control": plot_control_images(images(u, "u"), cost.lower, cost.upper, of_nodes(cells)),
        "convergence": decay(run, newton, "error", "residual"),
        "comparison": plot_differences(images(reference - exact.u, "Newton - exact"), of_nodes(cells)),
    }
    sets = active_sets(u, cost.lower, cost.upper)
    return Outcome(run, "semismooth Newton on the same grid", found, sets.shares(), more, figures)


def of_nodes(cells: int) -> Extent:
    """The square that images of the nodes inside fill, each the middle of its pixel."""
    margin = 0.5 / cells
    return margin, 1 - margin, margin, 1 - margin


def random_control(n: int, cost: ControlCost, seed: int) -> Tensor:
    """A start, uniform in the box."""
    random = torch.Generator().manual_seed(seed)
    return cost.lower + (cost.upper - cost.lower) * torch.rand(n, generator=random, dtype=torch.float64)


def objectives(S: Any, target: Tensor, cost: ControlCost, u: Tensor, reference: Tensor) -> dict[str, float]:
    """The integrals, by the quadrature of the grid."""
    values = {"objective": u, "objective_of_reference": reference}
    return {name: S.weight * float(control_objective(S, target, cost, v)) for name, v in values.items()}


def decay(run: Result, newton: Result, *names: str) -> Figure:
    """What the iteration tracked, and the residual of Newton's method."""
    return plot_decay(curves(run, *names) | {"semismooth Newton, residual": curves(newton, "residual")["residual"]})
