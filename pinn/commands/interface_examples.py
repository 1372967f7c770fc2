"""Examples of ``optsci control`` with an interface: networks with a kink against known solutions or finite elements."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optsci.iteration import Result, solve

from ..control.control_sets import active_sets
from ..control.interface_control import FluxControl
from ..control.interface_energy import energy_rounds
from ..control.interface_equations import interface_points, optimality_system
from ..control.interface_fields import interface_adjoint, interface_state, violations
from ..control.interface_flower import HALF, flower_fields
from ..control.interface_problems import (
    Known,
    circle_control,
    circle_flux_control,
    flower_control,
    heat_control,
    moving_circle,
    square_bubble,
)
from ..control.interface_rays import star_rays
from ..control.interface_reference import fitted_finite_elements
from ..control.interface_values import values_at
from ..control.plots import plot_control_images, plot_control_lines, plot_decay, plot_images
from ..equations import Fields
from ..levenberg_marquardt import gauss_newton
from ..networks import MLP
from .outcome import Outcome, curves, relative

SQUARE, SIDE = (-1.0, 1.0, -1.0, 1.0), 120  # of the images
CHECKED = 4096  # points that errors and integrals are taken at
FALLEN = 1e-4  # of the squared energy norm: a round that lowers the energies held out by less ends a training
KNOWN = "the known solution"


def interface_circle(seed: int, steps: int = 60, **sizes: Any) -> Outcome:
    """A control of a plate whose conductivity jumps at a circle."""
    known = circle_control()
    trained = train(known, seed, steps, **sizes)
    return Outcome(trained.run, KNOWN, *numbers(known, trained), distributed_figures(known, trained))


def interface_flower(
    seed: int,
    steps: int = 25,
    *,
    cells: int = 80,
    widths: Sequence[int] = (20, 20),
    rays: tuple[int, int] = (48, 16),
    held_out: tuple[int, int] = (60, 23),
    progress: bool = False,
) -> Outcome:
    """The same with five petals, by energies; the reference has elements that the interface does not cross."""
    problem = flower_control()
    elements = fitted_finite_elements(problem, cells)
    known = Known(problem, elements.state, elements.adjoint, elements.control, 0.0)
    interface, u = problem.equation.interface, flower_fields(problem, widths, seed)
    x = torch.cat(interface.sample(CHECKED, 1000 + seed))
    exact = known.control(x)
    where, other = (star_rays(interface, *sizes, between=HALF) for sizes in (rays, held_out))
    run = solve(
        energy_rounds(problem, u, where, other),
        tol=FALLEN,
        max_iter=steps,
        track={"loss": lambda state: state.loss, "error": lambda state: relative(control_at(known, u, x), exact)},
        progress=progress,
    )
    trained = Trained(run, u, x, x)
    against = f"finite elements with {elements.nodes} nodes"
    return Outcome(run, against, *numbers(known, trained), distributed_figures(known, trained))


def interface_flux(seed: int, steps: int = 60, **sizes: Any) -> Outcome:
    """A control on the circle itself, between bounds of which one varies."""
    known = circle_flux_control()
    trained = train(known, seed, steps, **sizes)
    return Outcome(trained.run, KNOWN, *numbers(known, trained), flux_figures(known, trained))


def interface_heat(seed: int, steps: int = 60, **sizes: Any) -> Outcome:
    """The heat equation with a circle that stands still."""
    known = heat_control()
    trained = train(known, seed, steps, **larger(sizes, inner=600, on=120))
    return Outcome(trained.run, KNOWN, *numbers(known, trained), figures_in_time(known, trained))


def moving_interface(seed: int, steps: int = 60, **sizes: Any) -> Outcome:
    """The heat equation with a circle that moves along another one."""
    known = moving_circle()
    trained = train(known, seed, steps, **larger(sizes, inner=600, on=120))
    return Outcome(trained.run, KNOWN, *numbers(known, trained), figures_in_time(known, trained))


def larger(sizes: dict[str, Any], inner: int, on: int) -> dict[str, Any]:
    """Return the sizes with others than `train` has where they are not given."""
    return {"widths": (20, 20), "inner": inner, "on": on, **sizes}


class Trained(NamedTuple):
    """Networks of the optimality system."""

    run: Result
    fields: Fields
    x: Tensor  # points in the domain, which the training has not seen
    place: Tensor  # where the control acts: x, or points of the interface


def train(
    known: Known,
    seed: int,
    steps: int,
    *,
    widths: Sequence[int] = (40,),
    inner: int = 500,
    on: int = 100,
    progress: bool = False,
) -> Trained:
    """Take Gauss-Newton steps on the optimality system, and track the error of u.

    Args:
        known: the problem, and what the errors are taken from.
        seed: of networks and points.
        steps: at most.
        widths: of the hidden layers of either network.
        inner: points in the domain.
        on: points of the interface, and of the boundary.
        progress: whether a bar is shown.
    """
    problem: Any = known.problem
    equation, interface = problem.equation, problem.equation.interface
    y, p = (MLP(interface.dim + 1, widths, 1, seed=2 * seed + i) for i in range(2))
    u = Fields(
        y=interface_state(equation, y, known.lift, square_bubble), p=interface_adjoint(equation, p, square_bubble)
    )
    where = interface_points(interface, inner, on, seed)
    x = torch.cat(interface.sample(CHECKED, 1000 + seed))
    place = interface.on_interface(CHECKED, 1000 + seed)[0] if isinstance(problem, FluxControl) else x
    exact = known.control(place)

    def error(state: Any) -> float:
        return relative(control_at(known, u, place), exact)

    run = solve(
        gauss_newton(u, optimality_system(problem, where)),
        tol=1e-12,
        max_iter=steps,
        track={"loss": lambda state: state.loss, "error": error},
        progress=progress,
    )
    return Trained(run, u, x, place)


def control_at(known: Known, u: Fields, x: Tensor) -> Tensor:
    """The projection of the adjoint, (n, 1)."""
    with torch.no_grad():
        return known.problem.control(x, u.get_submodule("p")(x))


def numbers(known: Known, trained: Trained) -> tuple[dict[str, float], dict[str, float], dict[str, Any]]:
    """Errors, active sets, and what holds by form and what by training."""
    problem, u, x, place = known.problem, trained.fields, trained.x, trained.place
    with torch.no_grad():
        y, p = u.get_submodule("y")(x), u.get_submodule("p")(x)
    control, exact = control_at(known, u, place), known.control(place)
    errors = {
        "u": relative(control, exact),
        "y": relative(y, known.state(x)),
        "p": relative(p, known.adjoint(x)),
    }
    lower, upper = (values_at(bound, place) for bound in (problem.lower, problem.upper))
    missed = violations(u.y, problem.equation.boundary)
    more = {
        "objective": objective(known, y, control, x),
        "objective_of_reference": objective(known, known.state(x), exact, x),
        "loss": trained.run.history["loss"][-1],
        "boundary_violation": missed.boundary_most,
        "jump_of_the_value": missed.jump_most,
        "outside_of_the_box": max(0.0, float((lower - control).max()), float((control - upper).max())),
    }
    return errors, active_sets(control, lower, upper).shares(), more


def objective(known: Known, y: Tensor, control: Tensor, x: Tensor) -> float:
    """The integral of half the squared misfit and cost, by means over evenly spread points."""
    problem, interface = known.problem, known.problem.equation.interface
    misfit = (y - values_at(problem.target, x)).square().mean() * interface.domain.volume
    size = interface.measure if isinstance(problem, FluxControl) else interface.domain.volume
    cost = problem.alpha * control.square().mean() * size
    return 0.5 * float(misfit + cost) * (interface.horizon or 1.0)


def distributed_figures(known: Known, trained: Trained) -> dict[str, Any]:
    """Images of an elliptic problem."""
    problem, u, x = known.problem, trained.fields, grid()
    curve = image(problem.equation.interface.psi, x)
    control = as_image(control_at(known, u, x))
    bounds = float(values_at(problem.lower, x)[0]), float(values_at(problem.upper, x)[0])
    off = {
        "error of u": control - image(known.control, x),
        "error of y": image(u.get_submodule("y"), x) - image(known.state, x),
    }
    return {
        "state": plot_images(state_and_target(known, u, x), SQUARE, levels=[curve] * 2),
        "control": plot_control_images({"control u": control}, *bounds, SQUARE, levels=[curve]),
        "convergence": decay(trained),
        "comparison": plot_images(off, SQUARE, levels=[curve] * 2),
    }


def flux_figures(known: Known, trained: Trained) -> dict[str, Any]:
    """Images of the state, and the control along the circle."""
    problem, u, x = known.problem, trained.fields, grid()
    curve = image(problem.equation.interface.psi, x)
    on = problem.equation.interface.on_interface(400, 0)[0]
    angle = torch.atan2(on[:, 1], on[:, 0]) / math.pi
    order = angle.argsort()
    on, angle = on[order], angle[order]
    control, exact, lower, upper = (
        v[:, 0]
        for v in (
            control_at(known, u, on),
            known.control(on),
            values_at(problem.lower, on),
            values_at(problem.upper, on),
        )
    )
    lines = {"u": control, "exact": exact, "lower bound": lower}
    return {
        "state": plot_images(state_and_target(known, u, x), SQUARE, levels=[curve] * 2),
        "control": plot_control_lines(angle, lines, lower, upper, xlabel="angle / pi"),
        "convergence": decay(trained),
        "comparison": plot_control_lines(angle, {"u - exact": control - exact}, xlabel="angle / pi"),
    }


def figures_in_time(known: Known, trained: Trained) -> dict[str, Any]:
    """Images at a quarter, the half and three quarters of the time."""
    problem, u = known.problem, trained.fields
    interface = problem.equation.interface
    assert interface.horizon is not None
    layers = {f"t = {part:g} T": interface.at_time(part * interface.horizon, grid()) for part in (0.25, 0.5, 0.75)}
    curves = [image(interface.psi, x) for x in layers.values()]
    bounds = float(values_at(problem.lower, grid())[0]), float(values_at(problem.upper, grid())[0])

    def images(name: str, of: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        return {f"{name}, {when}": image(of, x) for when, x in layers.items()}

    def control(x: Tensor) -> Tensor:
        return control_at(known, u, x)

    off = images("error of u", lambda x: control(x) - known.control(x))
    return {
        "state": plot_images(images("y", u.get_submodule("y")), SQUARE, levels=curves),
        "control": plot_control_images(images("u", control), *bounds, SQUARE, levels=curves),
        "convergence": decay(trained),
        "comparison": plot_images(off, SQUARE, levels=curves),
    }


def state_and_target(known: Known, u: Fields, x: Tensor) -> dict[str, Tensor]:
    """What is compared in the objective."""
    return {"state y": image(u.get_submodule("y"), x), "target": image(lambda x: values_at(known.problem.target, x), x)}


def decay(trained: Trained) -> Any:
    """The loss and the error of u."""
    drawn = curves(trained.run, "loss", "error")
    return plot_decay({"loss": drawn["loss"], "error of u": drawn["error"]}, xlabel="step")


def grid() -> Tensor:
    """The middles of SIDE x SIDE pixels of the square, the second coordinate running fastest."""
    middles = -1 + (2 * torch.arange(SIDE, dtype=torch.float64) + 1) / SIDE
    return torch.cartesian_prod(middles, middles)


def image(of: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The values of a function at the pixels."""
    with torch.no_grad():
        return as_image(of(x))


def as_image(values: Tensor) -> Tensor:
    return values.reshape(SIDE, SIDE)


__all__ = ["interface_circle", "interface_flower", "interface_flux", "interface_heat", "moving_interface"]
