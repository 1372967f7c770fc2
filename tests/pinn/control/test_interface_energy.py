"""Energies of state and adjoint: stationary at solutions, jumps, fluxes along rays, and what is kept of a training."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from optsci import solve
from optsci.pinn import MLP, Ball, Box, Equation, Fields, gauss_newton
from optsci.pinn.control import (
    Interface,
    Sides,
    Transmission,
    adjoint_energy,
    circle_control,
    circle_flux_control,
    energy,
    energy_rounds,
    fitted_finite_elements,
    flower_control,
    flower_fields,
    heat_control,
    interface_adjoint,
    interface_state,
    level_interface,
    radial_flux,
    square_bubble,
    star_rays,
    state_energy,
)
from optsci.pinn.control.interface_flower import HALF
from optsci.pinn.jacobians import jacobian_by_autograd, residual_jacobian
from optsci.pinn.level_sets import Star

SQUARE = Box((-1, -1), (1, 1))
CIRCLE = Interface(SQUARE, Ball(radius=0.5))
OVAL = Interface(Box((-1, -0.8), (1.2, 1)), Star(lambda angle: 0.5 + 0.1 * np.cos(2 * angle), 0.2, (0.1, 0.05)))
KNOWN = {"distributed": circle_control(), "on the interface": circle_flux_control()}


class Plus(nn.Module):
    """Functions v + t w on either side, with t trained: the derivative in t at 0 is that in the direction w."""

    def __init__(self, v, w, interface, off=1e-9):
        super().__init__()
        self.t = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.v, self.w, self.interface = v, w, interface
        # a little off the interface, as solutions tell their sides apart
        self.inside, self.outside = (lambda x, f=1 + s * off: v(f * x) + self.t * w(x) for s in (-1, 1))


def directions(interface):
    """Admissible ones: 0 on the boundary, continuous, with a kink or without, around the interface or not."""
    yield square_bubble
    yield lambda x: square_bubble(x) * (3 * x[:, :1] + x[:, 1:]).sin()
    yield lambda x: square_bubble(x) * interface.auxiliary(x)
    yield lambda x: square_bubble(x) * torch.exp(-20 * (x - x.new_tensor([0.4, 0.3])).square().sum(1, keepdim=True))


@pytest.mark.parametrize("name", KNOWN)
def test_solutions_are_stationary_in_every_direction(name):
    """The derivative is 0 up to quadrature, also for w with a kink; a flux jump is part of the second problem."""
    known = KNOWN[name]
    interface = known.problem.equation.interface
    where = star_rays(interface, 80, 16)
    for w in directions(interface):
        y, p = Plus(known.state, w, interface), Plus(known.adjoint, w, interface)
        for v, loss in (
            (y, state_energy(known.problem, where, p)),
            (p, adjoint_energy(known.problem, where, y)),
        ):
            slope = torch.autograd.grad(loss(v), v.t)[0]
            size = math.sqrt(energy_norm(known, where, w))
            assert abs(float(slope)) < 2e-6 * size


def energy_norm(known, where, w):
    """The integral of B |grad w|^2."""
    nothing = Sides(*(part.x.new_zeros(len(part.x), 1) for part in where[:2]))
    return float(energy(known.problem.equation, where, nothing)(Sides(w, w)))


@pytest.mark.parametrize("wrong", [0.0, 1.0, -1.0])
def test_a_state_with_a_jump_of_the_flux_is_stationary_with_that_jump_alone(wrong):
    """y = h (r/r_0)^2 inside and h outside; the jump missed by j adds twice the integral of j w over the circle."""
    known = Sides(lambda x: 4 * square_bubble(x) * x.square().sum(1, keepdim=True), square_bubble)
    equation = Transmission(CIRCLE, (1.0, 10.0))
    where = star_rays(CIRCLE, 80, 16)
    (inner, outer), (inside, outside) = (
        equation.diffusion,
        (field(v, part.x) for v, part in zip(known, where[:2], strict=True)),
    )
    normal = where.on / 0.5
    slopes = [(normal * field(v, where.on).gradient).sum(1, keepdim=True) for v in known]
    jump = outer * slopes[1] - inner * slopes[0]
    assert float(jump.abs().min()) > 1
    loss = energy(equation, where, Sides(-inner * inside.laplacian, -outer * outside.laplacian), jump + wrong)
    on = CIRCLE.on_interface(4096, 0)[0]
    for w in directions(CIRCLE):
        t = torch.zeros((), dtype=torch.float64, requires_grad=True)
        found = torch.autograd.grad(loss(Sides(*(lambda x, v=v, w=w, t=t: v(x) + t * w(x) for v in known))), t)[0]
        assert float(found) == pytest.approx(2 * wrong * float(w(on).mean()) * CIRCLE.measure, abs=1e-4)


def field(v, x):
    """Value, gradient and Laplacian."""
    return Equation(x, lambda u: (u,), lambda x, u: u.value).terms[0].field(v)


@pytest.mark.parametrize("jump", [0.0, 0.7])
def test_the_sum_of_squares_is_twice_the_energy_up_to_a_constant(jump):
    """Differences between functions, against the energy by means of random points; the oval has no symmetry."""
    equation = Transmission(OVAL, (2.0, 0.5), source=lambda x: 1 + x[:, :1] - x[:, 1:].square())
    where = star_rays(OVAL, 160, 16)
    q = Sides(*(equation.source(part.x) for part in where[:2]))
    loss = energy(equation, where, q, jump)
    h = OVAL.domain.vanishing

    def v(x):
        return h(x) * (1 + x[:, :1])

    def w(x):
        return h(x) * (1 + x[:, 1:].sin())

    got = float(loss(Sides(v, v)) - loss(Sides(w, w)))
    x, on = torch.cat(OVAL.domain.sample(200000, 1).split(20000)), OVAL.on_interface(20000, 2)[0]

    def doubled(f):
        x.requires_grad_()
        value = f(x)
        slope = torch.autograd.grad(value.sum(), x)[0].square().sum(1, keepdim=True)
        B = OVAL.choose(x, *equation.diffusion)
        bulk = (B * slope - 2 * equation.source(x) * value).mean() * OVAL.domain.volume
        return float(bulk.detach()) + 2 * jump * float(f(on).mean()) * OVAL.measure

    wanted = doubled(v) - doubled(w)
    assert got == pytest.approx(wanted, abs=5e-3)
    assert abs(wanted) > 0.1


@pytest.mark.parametrize("between", [(-math.pi, math.pi), (-0.3, 1.9)])
def test_the_points_stand_for_the_area_of_their_sector(between):
    where = star_rays(OVAL, 120, 6, between=between)
    for side, contains in ((where.inside, True), (where.outside, False)):
        assert bool((OVAL.contains(side.x) == contains).all())
        assert bool((OVAL.domain.distance(side.x) > 0).all())
    angle = torch.linspace(*between, 200001, dtype=torch.float64)[:-1] + (between[1] - between[0]) / 400000
    rho = 0.5 + 0.1 * (2 * angle).cos()
    inner = float((rho.square() / 2).mean()) * (between[1] - between[0])
    assert float(where.inside.area.sum()) == pytest.approx(inner, rel=1e-9)
    if between[1] - between[0] > 6:
        assert float(where.outside.area.sum()) == pytest.approx(OVAL.domain.volume - inner, rel=1e-9)
        assert float((where.speed * 1).mean()) * 2 * math.pi == pytest.approx(OVAL.measure, rel=0.05)
    assert float(OVAL.psi(where.on).abs().max()) < 1e-12


def test_the_divergence_and_the_jump_of_the_flux():
    """Gauss's theorem on circles about the center: the flux through one is minus the integral of q in it."""
    where = star_rays(CIRCLE, 64, 12)
    q = Sides(*(1 + 2 * part.offset.norm(dim=1, keepdim=True) for part in where[:2]))
    jump = 0.3
    for part, F, more in zip(where[:2], radial_flux(where, q, jump), (0.0, jump), strict=True):
        r = part.offset.norm(dim=1)
        through = (F * part.offset).sum(1) / r * r  # of an angle
        wanted = -(r**2 / 2 + 2 * r**3 / 3) + more * 0.5
        assert torch.allclose(through, wanted, atol=1e-12, rtol=0)


def test_the_jacobian_of_the_flower_is_found_by_formulas():
    problem = flower_control()
    u = flower_fields(problem, (5, 4))
    loss = state_energy(problem, star_rays(problem.equation.interface, 8, 2, between=HALF), u.p)
    r, J = residual_jacobian(u.y, loss)
    r2, J2 = jacobian_by_autograd(u.y, loss)
    assert torch.allclose(r, r2)
    assert torch.allclose(J, J2, atol=1e-10)
    assert all(term.linearised(u.y) is not None for term in loss.terms)


def test_the_flower_is_even_and_continuous():
    problem = flower_control()
    u, interface = flower_fields(problem, (6,), seed=3), problem.equation.interface
    x = interface.domain.sample(200, 0)
    mirrored = x * x.new_tensor([-1.0, 1.0])
    for v in (u.y, u.p):
        assert torch.allclose(v(x), v(mirrored), atol=1e-13)
        on = interface.on_interface(200, 0)[0]
        assert bool(((v.inside(on) - v.outside(on)).abs() < 1e-13).all())
    assert bool(u.p(x).abs().max() < 0.1 * u.y(x).abs().max())


def small(seed=0):
    known = circle_control()
    equation = known.problem.equation
    u = Fields(
        y=interface_state(equation, MLP(3, [10], seed=2 * seed), known.lift, square_bubble),
        p=interface_adjoint(equation, MLP(3, [10], seed=2 * seed + 1), square_bubble),
    )
    return known, u


def test_a_turn_that_only_fits_its_points_is_taken_back():
    """On 8 rays of 2 points the sum falls further and further, and the energy on other points rises: for y, and p."""
    known, u = small()
    interface = known.problem.equation.interface
    few, held = star_rays(interface, 8, 2), star_rays(interface, 24, 9)
    solve(gauss_newton(u.y, state_energy(known.problem, held, u.p)), max_iter=6)
    solve(gauss_newton(u.p, adjoint_energy(known.problem, held, u.y)), max_iter=8)
    judge, loss = state_energy(known.problem, held, u.p), state_energy(known.problem, few, u.p)
    with torch.no_grad():
        kept, before, first = [one.clone() for one in u.parameters()], float(judge(u.y)), float(loss(u.y))
    free = solve(gauss_newton(u.y, loss), max_iter=25)
    with torch.no_grad():
        assert float(judge(u.y)) > before
    assert free.state.loss < first
    with torch.no_grad():
        for parameter, value in zip(u.parameters(), kept, strict=True):
            parameter.copy_(value)
    state = next(energy_rounds(known.problem, u, few, held, steps=25))
    assert state.falls == (0.0, 0.0)
    assert float(state.residual) == 0
    assert state.steps > 2
    assert all(torch.equal(a, b) for a, b in zip(kept, u.parameters(), strict=True))
    with torch.no_grad():
        other = float(adjoint_energy(known.problem, held, u.y)(u.p))
    assert float(state.loss) == pytest.approx(before + other, rel=1e-12)


def test_rounds_end_by_the_points_held_out_and_solve_the_circle():
    known, u = small()
    interface = known.problem.equation.interface
    rounds = energy_rounds(known.problem, u, star_rays(interface, 32, 8), star_rays(interface, 24, 9))
    run = solve(rounds, tol=1e-4, max_iter=12)
    assert run.residual <= 1e-4
    x = interface.domain.sample(2000, 1)
    for v, exact in ((u.y, known.state), (u.p, known.adjoint)):
        assert bool((v(x) - exact(x)).norm() < 0.03 * exact(x).norm())


REFUSED = [
    (lambda: flower_fields(circle_control().problem), "problem must have an interface around a Star, such as"),
    (lambda: star_rays(heat_control().problem.equation.interface, 16, 4), "interface must be elliptic, of a Ball or"),
    (
        lambda: star_rays(level_interface(SQUARE, lambda x: x[0] ** 2 + 4 * x[1] ** 2 - 0.25, 9.0), 16, 4),
        "interface must be elliptic, of a Ball or a Star",
    ),
    (lambda: star_rays(CIRCLE, 7, 4), "rays must be at least 8 and each at least 2, got 7 and 4"),
    (lambda: star_rays(CIRCLE, 16, 1), "rays must be at least 8 and each at least 2, got 16 and 1"),
    (lambda: star_rays(CIRCLE, 16, 4, between=(1.0, 1.0)), r"between must be two angles of a sector, .* got \(1.0, 1"),
    (lambda: star_rays(CIRCLE, 16, 4, between=(0.0, 7.0)), r"between must be two angles of a sector, .* got \(0.0, 7"),
    (
        lambda: next(energy_rounds(circle_control().problem, small()[1], star_rays(CIRCLE, 8, 2), None, steps=0)),
        "steps must be a positive integer, got 0",
    ),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED, ids=[str(k) for k in range(len(REFUSED))])
def test_refusals(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


@pytest.mark.slow
def test_the_flower_against_finite_elements():
    """A quarter of a minute of steps: the petals, whose tips have the radius 0.02."""
    problem = flower_control()
    interface = problem.equation.interface
    u = flower_fields(problem, seed=1)
    where, held = star_rays(interface, 48, 16, between=HALF), star_rays(interface, 60, 23, between=HALF)
    run = solve(energy_rounds(problem, u, where, held), tol=1e-4, max_iter=20)
    assert run.residual <= 1e-4
    exact = fitted_finite_elements(problem, 80)
    x = interface.domain.sample(4096, 1)
    with torch.no_grad():
        y, control = u.y(x), problem.control(x, u.p(x))
    assert float((y - exact.state(x)).norm() / exact.state(x).norm()) < 0.02
    assert float((control - exact.control(x)).norm() / exact.control(x).norm()) < 0.03
