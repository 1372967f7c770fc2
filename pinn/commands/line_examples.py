"""Examples of ``optsci control`` on an interval, by ADMM with networks, against finite differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from optsci.admm import admm
from optsci.functions import Box
from optsci.iteration import solve

from ..ansatz import BoundaryAnsatz
from ..control.burgers import BurgersControl
from ..control.burgers_map import BurgersMap
from ..control.control_sets import active_sets
from ..control.inverse_potential import InversePotential, potential_data, potential_prior, sine
from ..control.newton_control import ControlCost, control_objective
from ..control.one_dimensional_reference import GaussNewtonPotential, burgers_reference
from ..control.plots import plot_control_lines, plot_decay, plot_lines
from ..control.subproblem import Subproblem, Summable
from ..domains import Interval
from ..networks import MLP
from .outcome import Outcome, curves, relative

UNIT = Interval(0.0, 1.0)
TRACKED = ("error", "primal", "dual")
FINER = 64  # spacings of the reference in one of the nodes


def burgers(
    seed: int,
    steps: int = 30,
    *,
    cells: int = 100,
    widths: Sequence[int] = (20, 20),
    inner_steps: int = 30,
    progress: bool = False,
) -> Outcome:
    """Control of Burgers' equation with a bound from above."""
    bound, alpha = 0.3, 0.1
    x = torch.linspace(0, 1, cells + 1, dtype=torch.float64)[:, None]
    y, p = vanishing(widths, 2 * seed), vanishing(widths, 2 * seed + 1)
    f = BurgersControl(x, y, p, alpha=alpha, tolerance=Summable(1e-3, floor=1e-6), inner_steps=inner_steps)
    reference = burgers_reference(FINER * cells, alpha=alpha, upper=bound)
    exact_u, exact_y = reference.u[::FINER], reference.y[::FINER]
    run = solve(
        admm(f, Box(-math.inf, bound), torch.zeros_like(x), rho=0.1),
        tol=1e-6,
        max_iter=steps,
        track=tracked(exact_u),
        progress=progress,
    )
    u = run.state.z
    with torch.no_grad():
        state = y(x)
    S, cost = BurgersMap(cells), ControlCost(alpha, upper=bound)
    coarse = burgers_reference(cells, alpha=alpha, upper=bound)
    true_state = S(u[1:-1, 0])
    more = {
        "objective": float(control_objective(S, 0.3, cost, u[1:-1, 0])) / cells,
        "objective_of_reference": float(control_objective(S, 0.3, cost, coarse.u[1:-1, 0])) / cells,
        "error_of_the_grid": relative(coarse.u, exact_u),
        "state_against_its_control": relative(state[1:-1, 0], true_state),
        **training(f),
    }
    figures = {
        "state": plot_lines(x, {"y": state, "finite differences": exact_y, "target": torch.full_like(x, 0.3)}),
        "control": plot_control_lines(x, {"u": u, "finite differences": exact_u}, upper=bound),
        "convergence": plot_decay(curves(run, *TRACKED), xlabel="outer iteration"),
        "comparison": plot_lines(x, {"u - finite differences": u - exact_u, "y - finite differences": state - exact_y}),
    }
    errors = {"u": relative(u, exact_u), "y": relative(state, exact_y)}
    sets = active_sets(u, upper=bound)
    return Outcome(run, f"finite differences, {FINER * cells} intervals", errors, sets.shares(), more, figures)


def inverse_potential(
    seed: int,
    steps: int = 60,
    *,
    cells: int = 100,
    widths: Sequence[int] = (20, 20),
    inner_steps: int = 30,
    progress: bool = False,
) -> Outcome:
    """A piecewise constant potential from noisy values of the state."""
    lower = 0.1
    measured = potential_data(cells, seed=seed)
    x, data, truth = measured.nodes, measured.data, measured.potential
    g, start = potential_prior(1e-3, lower), torch.full_like(data, 0.5)
    differences = GaussNewtonPotential(data.numpy(), sine)
    exact = solve(admm(differences, g, start, rho=0.005, relaxation=1.6), tol=1e-7, max_iter=2000)
    reference = exact.raise_if_failed().state.z
    y = vanishing(widths, 2 * seed)
    f = InversePotential(
        x,
        data,
        y,
        vanishing(widths, 2 * seed + 1, scale=0.05),
        tolerance=Summable(1e-2, floor=1e-5),
        inner_steps=inner_steps,
    )
    run = solve(
        admm(f, g, start, rho=0.005, relaxation=1.6),
        tol=1e-5,
        max_iter=steps,
        track=tracked(reference),
        progress=progress,
    )
    u = run.state.z
    with torch.no_grad():
        state = y(x)[:, 0]
    more = {
        "objective": float(differences(u) + g(u)),
        "objective_of_reference": float(differences(reference) + g(reference)),
        "error_of_u_to_the_truth": relative(u, truth),
        "error_of_reference_to_the_truth": relative(reference, truth),
        "noise": measured.noise,
        **training(f),
    }
    figures = {
        "state": plot_lines(x, {"y": state, "without noise": measured.state, "data": data}),
        "control": plot_control_lines(x, {"u": u, "finite differences": reference, "truth": truth}, lower=lower),
        "convergence": plot_decay(curves(run, *TRACKED), xlabel="outer iteration"),
        "comparison": plot_lines(x, {"u - finite differences": u - reference, "u - truth": u - truth}),
    }
    errors = {"u": relative(u, reference), "y": relative(state, measured.state)}
    shares = active_sets(u, lower).shares()
    return Outcome(run, "ADMM with finite differences, y without noise", errors, shares, more, figures)


def vanishing(widths: Sequence[int], seed: int, scale: float = 1.0) -> BoundaryAnsatz:
    """A network that is 0 at both ends."""
    return BoundaryAnsatz(MLP(1, widths, 1, box=UNIT, scale=scale, seed=seed), 0.0, UNIT.vanishing)


def tracked(exact: Tensor) -> dict[str, Any]:
    """Both residuals of ADMM, relative, and the error of the control that obeys its constraints."""
    return {
        "error": lambda s: relative(s.z, exact),
        "primal": lambda s: s.primal / s.z.norm().clamp(min=1),
        "dual": lambda s: s.dual / (s.rho * s.u).norm().clamp(min=1),
    }


def training(f: Subproblem) -> dict[str, float]:
    """How the last training ended."""
    assert f.last is not None
    return {"training_error": f.last.error, "training_error_asked": f.last.asked}
