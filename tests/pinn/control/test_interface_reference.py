"""Fitted finite elements: second order against known solutions, meshes, and optimality by differences of the cost."""

import math
import sys

import numpy as np
import pytest
import torch

from optsci.pinn import Ball, Box, Interval, Star, laplacian
from optsci.pinn.control import (
    DistributedControl,
    FluxControl,
    Interface,
    Transmission,
    circle_control,
    circle_flux_control,
    fitted_finite_elements,
    flower_control,
    heat_control,
    level_interface,
)
from optsci.pinn.control.interface_reference import fitted_mesh

pytest.importorskip("skfem")
SQUARE = Box((-1, -1), (1, 1))
CIRCLE = Interface(SQUARE, Ball(radius=0.5))


def relative(u, exact, x):
    return float((u(x) - exact(x)).norm() / exact(x).norm())


def slope(sizes, errors):
    return -np.polyfit(np.log(sizes), np.log(errors), 1)[0]


@pytest.mark.parametrize("known", [circle_control(), circle_control((5.0, 1.0)), circle_flux_control()])
def test_state_adjoint_and_control_are_of_second_order(known):
    interface = known.problem.equation.interface
    x, on = interface.domain.sample(2000, 0), interface.on_interface(300, 0)[0]
    where = x if isinstance(known.problem, DistributedControl) else on
    sizes = (12, 18, 27, 40)
    found = [fitted_finite_elements(known.problem, cells) for cells in sizes]
    for name, points in (("state", x), ("adjoint", x), ("control", where)):
        errors = [relative(getattr(f, name), getattr(known, name), points) for f in found]
        assert slope(sizes, errors) > 1.8
        assert errors[-1] < 0.01
    assert all(f.steps <= 6 for f in found)


def test_the_flower_converges_with_second_order():
    problem = flower_control()
    x = SQUARE.sample(2000, 0)
    coarse, middle, fine = (fitted_finite_elements(problem, cells).control(x) for cells in (24, 36, 54))
    steps = [float((a - b).norm()) for a, b in ((coarse, middle), (middle, fine))]
    assert steps[1] / steps[0] == pytest.approx(1 / 1.5**2, abs=0.12)


@pytest.mark.parametrize("interface", [CIRCLE, flower_control().equation.interface])
def test_no_edge_crosses_the_interface_and_areas_are_those_of_the_sides(interface):
    mesh = fitted_mesh(interface, 40)
    a, b, c = mesh.points[mesh.triangles].transpose(1, 0, 2)
    areas = 0.5 * np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])
    assert areas.sum() == pytest.approx(4, rel=1e-12)
    assert areas[mesh.inside].sum() == pytest.approx(interface.inside.volume, rel=0.01)
    psi = interface.psi(torch.from_numpy(mesh.points)).numpy()[:, 0]
    psi[np.unique(mesh.edges)] = 0
    assert (psi[mesh.triangles[mesh.inside]] <= 0).all()
    assert (psi[mesh.triangles[~mesh.inside]] >= 0).all()


def pinned(problem, w):
    """The state of a given control: the box leaves nothing else."""
    kind = type(problem)
    return fitted_finite_elements(kind(problem.equation, problem.target, problem.alpha, w, w), 24).state


@pytest.mark.parametrize("kind", [DistributedControl, FluxControl])
def test_the_cost_is_stationary_where_no_bound_holds(kind):
    """With an adjoint that does not vanish on the interface, where a wrong sign would show."""
    equation = Transmission(CIRCLE, (1.0, 10.0), source=1.0)
    problem = kind(equation, lambda x: (math.pi * x / 2).cos().prod(1, keepdim=True), 0.1)
    found = fitted_finite_elements(problem, 24)
    x, on = SQUARE.sample(20_000, 0), CIRCLE.on_interface(2000, 0)[0]
    assert found.adjoint(on).abs().min() > 0.01
    where, measure = (x, 4.0) if kind is DistributedControl else (on, CIRCLE.measure)

    def direction(x):
        return 1 + x[:, :1]

    def cost(size):
        def control(x):
            return found.control(x.clamp(-1, 1)) + size * direction(x)

        y, u = pinned(problem, control)(x), control(where)
        tracking = 2.0 * float((y - problem.target(x)).square().mean())
        return tracking + 0.5 * problem.alpha * measure * float(u.square().mean())

    derivative = (cost(0.5) - cost(-0.5)) / 1.0
    size = problem.alpha * measure * float((found.control(where) * direction(where)).mean())
    assert abs(derivative) < 0.02 * abs(size)


@pytest.mark.parametrize(
    ("source", "bound"), [(0.0, math.inf), (0.0, 0.0), (1.0, -1.0)], ids=["free", "no control", "cancelled source"]
)
def test_the_solution_0_is_found(source, bound):
    """Nothing to do; or a box that leaves one control, which cancels the source up to rounding."""
    equation = Transmission(CIRCLE, (1.0, 10.0), source)
    lower = bound if math.isfinite(bound) else -bound
    found = fitted_finite_elements(DistributedControl(equation, 0.0, 1.0, lower, bound), 20)
    x = SQUARE.sample(200, 0)
    assert max(float(found.state(x).abs().max()), float(found.adjoint(x).abs().max())) < 1e-15
    assert (found.control(x) + source).abs().max() < 1e-15
    assert found.steps <= 3


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        (heat_control().problem, "problem must be elliptic in a Box of two dimensions"),
        (
            DistributedControl(Transmission(Interface(Interval(-1, 1), Interval(-0.5, 0.5)), (1.0, 2.0)), 0.0, 1.0),
            "problem must be elliptic in a Box of two dimensions",
        ),
        (
            DistributedControl(Transmission(CIRCLE, (1.0, 2.0), value_jump=1.0), 0.0, 1.0),
            "problem must have the value_jump 0, .* got up to ",
        ),
        (
            DistributedControl(
                Transmission(level_interface(SQUARE, lambda x: x[0] ** 2 + 4 * x[1] ** 2 - 0.25, 9.0), (1.0, 2.0)),
                0.0,
                1.0,
            ),
            "inside must be a Ball or a Star",
        ),
    ],
)
def test_other_problems_are_refused(problem, sentence):
    with pytest.raises(ValueError, match=sentence):
        fitted_finite_elements(problem, 20)


def test_a_mesh_too_coarse_is_refused():
    with pytest.raises(ValueError, match="cells must be at least 8, got 4"):
        fitted_finite_elements(circle_control().problem, 4)
    with pytest.raises(ValueError, match=r"cells must be more than [0-9]+: "):
        fitted_mesh(Interface(SQUARE, Star(lambda angle: 0.5 + 0.2 * np.sin(16 * angle), 3.2)), 8)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "skfem", None)
    with pytest.raises(ImportError, match=r'pip install "optsci\[fem\]"'):
        fitted_finite_elements(circle_control().problem, 12)


def test_the_flower_is_of_second_order_against_a_known_state():
    """y = G / B with a polynomial G that vanishes on the flower and on the square, the control 0."""
    interface = flower_control().equation.interface

    def G(x):
        a, b = x[:, :1], x[:, 1:]
        r = (a.square() + b.square()).sqrt()
        petals = 5 * a**4 * b - 10 * a**2 * b**3 + b**5  # r**5 sin(5 angle)
        return (r**6 - 0.5 * r**5 - 0.2 * petals) * (a.square() - 1) * (b.square() - 1)

    equation = Transmission(interface, (1.0, 10.0), source=lambda x: -laplacian(G, x).detach())
    problem = DistributedControl(equation, 0.0, 1.0, 0.0, 0.0)
    x = SQUARE.sample(2000, 0)
    exact = G(x) / interface.choose(x, 1.0, 10.0)
    sizes = (24, 36, 54)
    errors = [float((fitted_finite_elements(problem, n).state(x) - exact).norm() / exact.norm()) for n in sizes]
    assert slope(sizes, errors) > 1.8
