"""Examples of ``optsci control`` in a square, by ADMM with networks, against grids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from optsci.admm import admm
from optsci.functions import L1, Box
from optsci.iteration import solve

from ..ansatz import BoundaryAnsatz
from ..control.control_sets import active_sets
from ..control.elliptic import EllipticControl
from ..control.manufactured import sparse_parabolic
from ..control.newton_control import ControlCost, semismooth_newton
from ..control.parabolic import heat_fields, heat_subproblem, optimal_control, space_time
from ..control.plots import plot_control_images, plot_decay, plot_differences, plot_images, plot_lines
from ..control.solution_maps import EllipticMap, HeatMap
from ..control.source_identification import SourceIdentification, source_fields
from ..control.source_problem import BoundaryMisfit, SourceProblem, boundary_map, two_sources
from ..control.subproblem import Summable
from ..domains import UnitSquare
from ..networks import MLP
from ..sampling import sobol
from .line_examples import TRACKED, tracked, training
from .outcome import Outcome, curves, relative

FINER = 8  # spacings of the elliptic reference in one of the nodes
SIDE = 60  # pixels of images of functions


def elliptic(
    seed: int,
    steps: int = 25,
    *,
    cells: int = 24,
    widths: Sequence[int] = (14, 14),
    inner_steps: int = 20,
    progress: bool = False,
) -> Outcome:
    """Sparse control of Poisson's equation with bounds; fewer parameters than nodes, or y is free between them."""
    square, fine = UnitSquare(), EllipticMap(FINER * cells)
    cost = ControlCost(alpha=1e-3, rho=1e-2, lower=-1.0, upper=1.0)
    middles = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
    x = torch.cartesian_prod(middles, middles)  # of cells: each node stands for as much of the square
    networks = [MLP(2, widths, 1, box=square, seed=2 * seed + i) for i in range(2)]
    y = BoundaryAnsatz(networks[0], 0.0, square.vanishing)
    f = EllipticControl(
        square,
        x,
        y,
        networks[1],
        target=target,
        alpha=cost.alpha,
        inner_steps=inner_steps,
        tolerance=Summable(1e-2, floor=1e-5),
    )
    wanted = torch.from_numpy(target(fine.points.numpy().T))
    newton = solve(semismooth_newton(fine, wanted, torch.zeros_like(wanted), cost=cost), tol=1e-10, max_iter=80)
    shared = torch.arange(FINER // 2 - 1, FINER * cells - 1, FINER)
    finest = newton.raise_if_failed().x
    exact_u, exact_y = (
        v.reshape(FINER * cells - 1, -1)[shared][:, shared].reshape(-1, 1) for v in (finest, fine(finest))
    )
    run = solve(
        admm(f, cost.rho * L1() + Box(cost.lower, cost.upper), torch.zeros_like(exact_u), rho=1e-2),
        tol=1e-5,
        max_iter=steps,
        track=tracked(exact_u),
        progress=progress,
    )
    u = run.state.z
    with torch.no_grad():
        state = y(x)

    def image(v: Tensor) -> Tensor:
        return v.reshape(cells, cells)

    wanted = torch.from_numpy(target(x.numpy().T))
    more = {
        "objective": integral(state[:, 0], u, wanted, cost),
        "objective_of_reference": integral(exact_y[:, 0], exact_u, wanted, cost),
        **training(f),
    }
    figures = {
        "state": plot_images({"state y": image(state), "target": image(wanted)}),
        "control": plot_control_images({"control u": image(u)}, cost.lower, cost.upper),
        "convergence": plot_decay(curves(run, *TRACKED), xlabel="outer iteration"),
        "comparison": plot_images({"u - reference": image(u - exact_u), "y - reference": image(state - exact_y)}),
    }
    errors = {"u": relative(u, exact_u), "y": relative(state, exact_y)}
    shares = active_sets(u, cost.lower, cost.upper).shares()
    return Outcome(run, f"semismooth Newton, {FINER * cells} intervals a side", errors, shares, more, figures)


def target(x: np.ndarray) -> np.ndarray:
    """The state that is wanted, components first."""
    return np.sin(np.pi * x[0]) * np.sin(np.pi * x[1])


def source(
    seed: int,
    steps: int = 100,
    *,
    side: int = 16,
    cells: int = 16,
    widths: tuple[int, int] = (96, 48),
    progress: bool = False,
) -> Outcome:
    """A source inside of a square from values on its boundary."""
    gamma = 1e-4
    problem, truth = SourceProblem.two_sources(side, cells), two_sources(cells)
    g, rho = problem.regulariser(gamma, iterations=200), 2.5 * gamma
    exact = BoundaryMisfit(problem, boundary_map(problem.points, cells))
    reference = solve(admm(exact, g, torch.zeros_like(truth), rho=rho), tol=None, max_iter=4 * steps).state.z
    f = SourceIdentification(problem, source_fields(*widths, seed=seed))
    run = solve(
        admm(f, g, torch.zeros_like(truth), rho=rho),
        tol=1e-7,
        max_iter=steps,
        track=tracked(truth),
        progress=progress,
    )
    u = run.state.z
    state, data = f.state(u), problem.values
    exact_state = exact.residual(u) + data
    more = {
        "objective": float(exact(u) + g(u)),
        "objective_of_reference": float(exact(reference) + g(reference)),
        "error_of_reference_to_the_truth": relative(reference, truth),
        "distance_from_reference": relative(u, reference),
        "misfit": float(problem.norm(exact.residual(u)) / problem.norm(data)),
    }
    middle = (0.25, 0.75, 0.25, 0.75)
    along = torch.arange(len(data)) / side
    figures = {
        "state": plot_lines(
            along,
            {"y of the networks": state, "data": data, "exact y of u": exact_state},
            xlabel="side of the square",
        ),
        "control": plot_control_images({"u": u, "exact states": reference, "truth": truth}, extent=middle),
        "convergence": plot_decay(curves(run, *TRACKED), xlabel="outer iteration"),
        "comparison": plot_differences({"u - truth": u - truth, "u - exact states": u - reference}, middle),
    }
    errors = {"u": relative(u, truth), "y": relative(state, exact_state)}
    return Outcome(run, "the truth, y against exact states of u", errors, {}, more, figures)


def sparse_heat(
    seed: int,
    steps: int = 20,
    *,
    nodes: int = 800,
    width: int = 56,
    inner_steps: int = 6,
    cells: int = 16,
    progress: bool = False,
) -> Outcome:
    """Sparse control of the heat equation in space and time; its solution is known."""
    domain = space_time(1.0)
    x = domain.sample(nodes, seed, points=sobol)
    at_nodes = sparse_parabolic(x)
    cost, fields = at_nodes.cost, heat_fields([width], scale=0.1, seed=seed)
    f = heat_subproblem(x, fields, at_nodes.f, at_nodes.y_d, cost.alpha, inner_steps=inner_steps)
    run = solve(
        admm(f, replace(cost, alpha=0.0), torch.zeros_like(at_nodes.u), rho=cost.alpha),
        tol=1e-5,
        max_iter=steps,
        track=tracked(at_nodes.u),
        progress=progress,
    )
    control = optimal_control(cost, fields)
    others = domain.sample(10_000, 1000 + seed)
    known = sparse_parabolic(others)
    with torch.no_grad():
        found = {"u": control(others), "y": fields.get_submodule("y")(others), "p": fields.get_submodule("p")(others)}
    errors = {name: relative(v[:, 0], getattr(known, name)) for name, v in found.items()}
    more = {
        "objective": integral(found["y"][:, 0], found["u"][:, 0], known.y_d, cost),
        "objective_of_reference": integral(known.y, known.u, known.y_d, cost),
        "error_of_the_grid": error_of_the_grid(cells),
        **training(f),
    }
    layers = {f"t = {t:g}": at_time(t) for t in (0.25, 0.5, 0.75)}

    def images(name: str, of: Any) -> dict[str, Tensor]:
        with torch.no_grad():
            return {f"{name}, {when}": of(x).reshape(SIDE, SIDE) for when, x in layers.items()}

    off = images("error of u", lambda x: control(x)[:, 0] - sparse_parabolic(x).u)
    figures = {
        "state": plot_images(images("y", fields.get_submodule("y"))),
        "control": plot_control_images(images("u", control), cost.lower, cost.upper),
        "convergence": plot_decay(curves(run, *TRACKED), xlabel="outer iteration"),
        "comparison": plot_differences(off),
    }
    shares = active_sets(found["u"], cost.lower, cost.upper).shares()
    return Outcome(run, "the known solution", errors, shares, more, figures)


def integral(y: Tensor, u: Tensor, y_d: Tensor, cost: ControlCost) -> float:
    """The objective as a mean over points that are evenly spread in space and time, whose volume is 1."""
    return float(0.5 * (y - y_d).square().mean() + cost(u) / len(u))


def error_of_the_grid(cells: int) -> float:
    """The error of the control by implicit Euler steps and semismooth Newton, at the nodes of the grid."""
    S = HeatMap(cells, cells**2 // 4)
    exact = sparse_parabolic(S.points)
    steps = semismooth_newton(S, exact.y_d - S(exact.f), torch.zeros_like(exact.u), cost=exact.cost)
    return relative(solve(steps, tol=1e-9, max_iter=50).raise_if_failed().x, exact.u)


def at_time(t: float) -> Tensor:
    """The middles of pixels of the square, with a time."""
    middles = (torch.arange(SIDE, dtype=torch.float64) + 0.5) / SIDE
    x = torch.cartesian_prod(middles, middles)
    return torch.cat((x, torch.full_like(x[:, :1], t)), 1)
