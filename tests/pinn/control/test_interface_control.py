"""Optimality systems with an interface: exact solutions, the sign of the control of a flux, training, refusals."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import optsci
from optsci.pinn import MLP, Ball, Box, Fields, Interval, gauss_newton, gradient, residual_jacobian
from optsci.pinn.control import (
    DiscontinuityCapturing,
    DistributedControl,
    FluxControl,
    Interface,
    InterfaceAnsatz,
    Sides,
    Transmission,
    adjoint_equations,
    circle_control,
    circle_flux_control,
    heat_control,
    interface_adjoint,
    interface_points,
    interface_state,
    learned_distance,
    learned_lift,
    learned_phi,
    moving_circle,
    optimality_system,
    soft_constraints,
    square_bubble,
    state_equations,
    violations,
)
from optsci.pinn.jacobians import jacobian_by_autograd

KNOWN = {
    "circle": circle_control(),
    "unconstrained": circle_control((1.0, 5.0), math.inf),
    "flux": circle_flux_control(),
    "heat": heat_control(),
    "moving": moving_circle(),
}
SQUARE = Box((-1, -1), (1, 1))
CIRCLE = Interface(SQUARE, Ball(radius=0.5))


class TwoSided:
    """A solution, whose sides are told apart a little off the interface."""

    def __init__(self, f, interface):
        self.inside, self.outside = (self.moved(f, interface, factor) for factor in (1 - 1e-9, 1 + 1e-9))

    def moved(self, f, interface, factor):
        center = torch.tensor(interface.inside.center, dtype=torch.float64)
        d = len(center)

        def at(x):
            shift = 0 if interface.path is None else interface.path(x[:, d:])
            rest = x[:, :d] - shift - center
            return f(torch.cat((center + shift + factor * rest, x[:, d:]), 1))

        return at


class Pair:
    """y and p as formulas."""

    def __init__(self, known):
        interface = known.problem.equation.interface
        self.y, self.p = TwoSided(known.state, interface), TwoSided(known.adjoint, interface)


@pytest.mark.parametrize("known", KNOWN.values(), ids=KNOWN)
def test_the_known_solutions_solve_the_optimality_system(known):
    interface = known.problem.equation.interface
    where = interface_points(interface, 300, 100, 0)
    loss = optimality_system(known.problem, where)
    values = torch.stack(loss.values(Pair(known)))
    assert len(values) == 6
    assert values.max() < 1e-12
    on = where.boundary
    lift = known.lift(on) if callable(known.lift) else known.lift
    assert (known.state(on) - lift).abs().max() < 1e-12
    assert known.adjoint(on).abs().max() < 1e-12


@pytest.mark.parametrize("known", KNOWN.values(), ids=KNOWN)
def test_controls_are_the_projections_of_the_adjoint(known):
    problem = known.problem
    interface = problem.equation.interface
    x = interface.on_interface(200, 0)[0] if isinstance(problem, FluxControl) else torch.cat(interface.sample(200, 0))
    torch.testing.assert_close(problem.control(x, known.adjoint(x)), known.control(x), rtol=0, atol=1e-9)


def test_the_box_holds_exactly():
    problem = KNOWN["flux"].problem
    x = CIRCLE.on_interface(300, 0)[0]
    p = 100 * torch.randn(300, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, lower = problem.control(x, p), problem.lower(x)
    assert (u >= lower).all()
    assert (u <= 1).all()
    assert ((u == lower) | (u == 1)).any()


def fields(known, widths=(9,), seed=0):
    equation, inputs = known.problem.equation, known.problem.equation.interface.dim + 1
    return Fields(
        y=interface_state(equation, MLP(inputs, widths, seed=seed), known.lift, square_bubble),
        p=interface_adjoint(equation, MLP(inputs, widths, seed=seed + 1), square_bubble),
    )


@pytest.mark.parametrize("name", ["circle", "flux", "moving"])
def test_jacobians_are_written_out_and_right(name):
    known = KNOWN[name]
    u = fields(known, (5, 4))
    loss = optimality_system(
        known.problem, interface_points(known.problem.equation.interface, 40, 10, 0), flux_weight=2.0
    )
    r, J = residual_jacobian(u, loss)
    expected = [jacobian_by_autograd(u, term) for term in loss.terms]
    torch.testing.assert_close(r, torch.cat([one[0] for one in expected]))
    torch.testing.assert_close(J, torch.cat([one[1] for one in expected]), rtol=1e-8, atol=1e-10)
    assert all(term.linearised(u) is not None for term in loss.terms)


def relative(got, wanted):
    return float((got - wanted).norm() / wanted.norm())


def test_gauss_newton_finds_the_control_of_the_circle():
    known = KNOWN["circle"]
    u, interface = fields(known, (20,)), known.problem.equation.interface
    optsci.solve(
        gauss_newton(u, optimality_system(known.problem, interface_points(interface, 250, 50, 0))), max_iter=25
    )
    x, (on, _) = torch.cat(interface.sample(1000, 9)), interface.on_interface(100, 9)
    control = known.problem.control(x, u.p(x)).detach()
    assert relative(control, known.control(x)) < 5e-3
    assert control.abs().max() <= 1
    for v in (u.y, u.p):
        assert (v.outside(on) - v.inside(on)).abs().max() < 1e-12
    boundary = interface.on_boundary(100, 9)
    assert (u.y(boundary) - known.state(boundary)).abs().max() < 1e-12
    assert u.p(boundary).abs().max() < 1e-12


def test_initial_and_final_values_hold():
    known = KNOWN["moving"]
    u, interface = fields(known), known.problem.equation.interface
    x = SQUARE.sample(50, 0)
    assert (u.y(interface.at_time(0.0, x)) == 0).all()
    assert u.p(interface.at_time(interface.horizon, x)).abs().max() < 1e-12


class Rod:
    """-(B y')' = 0 on (-1, 1), [B y'] = u at -1/2 and 1/2, by linear elements with n in a unit: exact at nodes."""

    def __init__(self, alpha, n=512):
        m = 2 * n
        x = np.linspace(-1, 1, m + 1)
        h, B = 1 / n, np.where(np.abs(0.5 * (x[1:] + x[:-1])) < 0.5, 1.0, 10.0)
        A, M = np.zeros((m + 1, m + 1)), np.zeros((m + 1, m + 1))
        for i in range(m):
            A[i : i + 2, i : i + 2] += B[i] / h * np.array([[1, -1], [-1, 1]])
            M[i : i + 2, i : i + 2] += h / 6 * np.array([[2, 1], [1, 2]])
        keep = slice(1, m)
        self.A, self.M, self.target, self.alpha = A[keep, keep], M[keep, keep], np.cos(np.pi * x[keep] / 2), alpha
        self.on = [n // 2 - 1, 3 * n // 2 - 1]  # -1/2 and 1/2 among the inner nodes

    def state(self, u):
        load = np.zeros(len(self.A))
        load[self.on] = -u
        return np.linalg.solve(self.A, load)

    def cost(self, u):
        """With the measure of two points, 2."""
        error = self.state(u) - self.target
        return 0.5 * error @ self.M @ error + 0.5 * self.alpha * 2 * u**2

    def adjoint(self, u):
        return np.linalg.solve(self.A, self.M @ (self.state(u) - self.target))

    def best(self):
        unit = self.state(1.0)
        return (unit @ self.M @ self.target) / (unit @ self.M @ unit + 2 * self.alpha)


def test_the_derivative_of_the_cost_is_2_alpha_u_minus_the_adjoint_at_the_interface():
    rod, u, step = Rod(1.0), 0.3, 0.1
    difference = (rod.cost(u + step) - rod.cost(u - step)) / (2 * step)  # exact: the cost is quadratic
    p = rod.adjoint(u)[rod.on]
    assert abs(p).min() > 0.02
    assert difference == pytest.approx(2 * rod.alpha * u - p.sum(), rel=1e-9)


@pytest.mark.slow
def test_a_network_finds_the_control_of_a_flux_whose_adjoint_is_not_zero_there():
    rod = Rod(0.01)
    interface = Interface(Interval(-1, 1), Interval(-0.5, 0.5))
    equation = Transmission(interface, (1.0, 10.0))
    problem = FluxControl(equation, lambda x: (math.pi * x / 2).cos(), rod.alpha)
    u = Fields(y=interface_state(equation, MLP(2, [8])), p=interface_adjoint(equation, MLP(2, [8], seed=1)))
    optsci.solve(gauss_newton(u, optimality_system(problem, interface_points(interface, 60, 8, 0))), max_iter=30)
    on = torch.tensor([[-0.5], [0.5]], dtype=torch.float64)
    control = problem.control(on, u.p(on)).detach()
    assert rod.best() < -1  # the wrong sign would make it positive
    torch.testing.assert_close(control, torch.full((2, 1), rod.best(), dtype=torch.float64), rtol=0.03, atol=0)


@pytest.mark.slow
def test_the_soft_version_trains_on_the_same_equations_with_further_terms():
    known = KNOWN["circle"]
    interface = known.problem.equation.interface
    u = Fields(
        y=DiscontinuityCapturing(MLP(3, [16]), interface), p=DiscontinuityCapturing(MLP(3, [16], seed=1), interface)
    )
    where = interface_points(interface, 200, 50, 0)
    loss = optimality_system(known.problem, where) + soft_constraints(known.problem, where, boundary_weight=10.0)
    assert torch.stack(soft_constraints(known.problem, where).values(Pair(known))).max() < 1e-12
    before = loss(u).detach()
    optsci.solve(gauss_newton(u, loss), max_iter=25)
    assert loss(u) < 1e-2 * before
    on, _ = interface.on_interface(100, 9)
    assert 1e-6 < (u.y.outside(on) - u.y.inside(on)).abs().max() < 0.2


def transmission(**changes):
    return Transmission(CIRCLE, **{"diffusion": (1.0, 10.0), **changes})


def net():
    return MLP(3, [4])


def without_disk(radius):
    """A factor that is 0 on the boundary, and on a disk in the middle besides."""
    return lambda x: square_bubble(x) * (x.square().sum(1, keepdim=True) - radius**2).clamp(min=0)


def test_a_distance_may_vanish_at_a_point():
    y = interface_adjoint(transmission(), net(), lambda x: square_bubble(x) * x.square().sum(1, keepdim=True))
    assert (y(CIRCLE.on_boundary(50, 0)) == 0).all()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: transmission(diffusion=(0.0, 1.0)), "diffusion must be two positive numbers"),
        (lambda: transmission(diffusion=(1.0, -1.0)), "diffusion must be two positive numbers"),
        (lambda: transmission(diffusion=(1.0, math.nan)), "diffusion must be two positive numbers"),
        (lambda: transmission(diffusion=1.0), "diffusion must be two positive numbers, inside and outside, got 1.0"),
        (lambda: transmission(diffusion=(1.0, 2.0, 3.0)), "diffusion must be two positive numbers"),
        (lambda: transmission(diffusion=("a", "b")), "diffusion must be two positive numbers"),
        (lambda: transmission(initial=5.0), "initial needs a time, got 5.0: give the interface a horizon"),
        (lambda: transmission(initial=lambda x: x[:, :1]), "initial needs a time, got <function"),
        (lambda: DistributedControl(transmission(), 0.0, 1.0, math.inf, math.inf), "lower must not be inf"),
        (lambda: DistributedControl(transmission(), 0.0, 1.0, -math.inf, -math.inf), "upper must not be -inf"),
        (
            lambda: FluxControl(transmission(), 0.0, 1.0, lambda x: x[:, :1].sign() * math.inf),
            "lower must not be inf, or no control is allowed, got that at",
        ),
        (lambda: interface_points(CIRCLE, 1, 9, 0), "n must be at least 2, got 1"),
        (lambda: interface_points(CIRCLE, -4, 9, 0), "n must be at least 2, got -4"),
        (lambda: interface_points(CIRCLE, 9, -1, 0), "on must be at least 1, got -1"),
        (lambda: interface_points(CIRCLE, 9, 0, 0), "on must be at least 1, got 0"),
        (lambda: transmission(source=math.nan), "source must be finite, got nan"),
        (lambda: transmission(source=lambda x: x[:, :1] / 0), "source must be finite"),
        (lambda: transmission(boundary=lambda x: x), r"boundary must return \(256, 1\)"),
        (lambda: transmission(flux_jump=math.inf), "flux_jump must be finite, got inf"),
        (lambda: DistributedControl(transmission(), 0.0, 0.0), "alpha must be finite and positive, got 0.0"),
        (lambda: DistributedControl(transmission(), 0.0, -1.0), "alpha must be finite and positive, got -1.0"),
        (lambda: DistributedControl(transmission(), math.nan, 1.0), "target must be finite, got nan"),
        (lambda: DistributedControl(transmission(), 0.0, 1.0, 2.0, 1.0), "lower must be at most upper, got 2 and 1 at"),
        (
            lambda: FluxControl(transmission(), 0.0, 1.0, lambda x: 2 + x[:, :1], 1.0),
            "lower must be at most upper, got",
        ),
        (
            lambda: interface_state(transmission(boundary=1.0), net(), 2.0),
            "lift must have the boundary values, got 2 instead of 1 at",
        ),
        (
            lambda: interface_state(transmission(value_jump=1.0), net()),
            "the jump of lift must have value_jump, got 0 instead of 1",
        ),
        (
            lambda: interface_state(transmission(boundary=lambda x: x[:, :1]), net()),
            "lift must be a smooth function with the boundary values, .* got None",
        ),
        (
            lambda: interface_state(transmission(), net(), 0.0, lambda x: 1 + x[:, :1]),
            "distance must be 0 on the boundary",
        ),
        (
            lambda: interface_adjoint(transmission(), net(), lambda x: 0 * x[:, :1]),
            "distance must not be 0 in the domain, got values from 0 to 0",
        ),
        (  # pi 0.3**2 / 4 of them
            lambda: interface_state(transmission(), net(), 0.0, without_disk(0.3)),
            r"distance must not be 0 in the domain, it vanishes at 1[45]\d of 2048 points inside",
        ),
        (
            lambda: interface_adjoint(transmission(), net(), without_disk(0.08), tolerance=0.05),
            "distance must not be 0 in the domain, it vanishes at",
        ),
        (
            lambda: interface_adjoint(transmission(), net(), lambda x: square_bubble(x) * x[:, :1]),
            "distance must not be 0 in the domain, got values from -",
        ),
        (
            lambda: interface_state(
                Transmission(KNOWN["heat"].problem.equation.interface, (1.0, 3.0), initial=1.0), MLP(4, [4])
            ),
            "lift must have the initial values, got 0 instead of 1",
        ),
        (
            lambda: soft_constraints(
                KNOWN["heat"].problem, interface_points(KNOWN["heat"].problem.equation.interface, 9, 9, 0)
            ),
            "problem must be elliptic, as soft conditions are, got the horizon 1.5708",
        ),
    ],
)
def test_inconsistent_data_are_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_numbers_of_points_are_integers_and_two_are_enough():
    with pytest.raises(TypeError, match=r"n must be an integer, a number of points, got 9\.5"):
        interface_points(CIRCLE, 9.5, 9, 0)
    assert [len(x) for x in interface_points(CIRCLE, 2, 1, 0)] == [1, 1, 1, 1, 1]


def test_a_jump_of_the_value_comes_with_the_lift():
    equation = transmission(value_jump=lambda x: x[:, 1:])
    y = interface_state(equation, net(), Sides(lambda x: -x[:, 1:], 0.0))
    on, _ = CIRCLE.on_interface(50, 0)
    assert (y.outside(on) - y.inside(on) - on[:, 1:]).abs().max() < 1e-12
    assert isinstance(y, nn.Module)


def test_branches_of_phi_must_meet_with_a_kink():
    equation = transmission()
    r = Sides(lambda x: 4 * x.square().sum(1, keepdim=True), 1.0)
    y = interface_state(equation, net(), phi=r)
    on = CIRCLE.on_interface(50, 3)[0]
    assert (y.outside(on) - y.inside(on)).abs().max() < 1e-12
    apart = Sides(lambda x: 1e-6 + r.inside(x), 1.0)
    for build, sentence in (
        (
            lambda: interface_state(equation, net(), phi=apart),
            "phi must have the same values .* got 1 inside and 1 out",
        ),
        (
            lambda: interface_adjoint(equation, net(), phi=Sides(0.0, 1.0)),
            "same values .* got 0 inside and 1 outside at",
        ),
        (lambda: interface_adjoint(equation, net(), phi=Sides(math.nan, 1.0)), "phi must be finite, got nan"),
        (
            lambda: InterfaceAnsatz(net(), 0.0, SQUARE.vanishing, CIRCLE, apart),
            "phi must have the same values from both",
        ),
        (
            lambda: interface_state(equation, net(), phi=Sides(1.0, 1.0)),
            "phi must have a jump of the normal derivative that is not 0 .* got 0 at .* 256 such points of 256",
        ),
        (
            lambda: interface_state(equation, net(), phi=Sides(r.inside, r.inside)),
            "phi must have a jump of the normal derivative that is not 0",
        ),
    ):
        with pytest.raises(ValueError, match=sentence):
            build()
    interface_state(equation, net(), phi=apart, tolerance=1e-5)


@pytest.mark.slow
def test_learned_constraints_hold_as_far_as_they_were_learned():
    known = KNOWN["circle"]
    equation, interface = known.problem.equation, known.problem.equation.interface
    g = learned_lift(interface, equation.boundary, MLP(2, [12]), n=100)
    h = learned_distance(interface, square_bubble, MLP(2, [12]), n=100)
    phi = learned_phi(interface, MLP(3, [12]), n=60)
    with pytest.raises(ValueError, match="distance must be 0 on the boundary"):
        interface_state(equation, net(), g, h, phi=phi)
    y = interface_state(equation, net(), g, h, phi=phi, tolerance=0.05)
    assert [p.numel() for p in y.parameters() if p.requires_grad] == [12, 4, 4, 1]  # of the network alone
    found = violations(y, equation.boundary)
    assert 1e-9 < found.boundary <= found.boundary_most < 0.02
    assert 1e-9 < found.jump <= found.jump_most < 0.02
    on, normal = interface.on_interface(50, 9)
    assert (gradient(phi.outside, on) * normal).sum(1).abs().max() < 0.2
    assert ((gradient(phi.inside, on) * normal).sum(1) - 5).abs().max() < 0.2


@pytest.mark.slow
def test_turns_of_state_and_adjoint_solve_the_system():
    """By Gauss-Newton steps for one of them at a time; the other one stays as it is."""
    known = KNOWN["circle"]
    u, interface = fields(known, (12,)), known.problem.equation.interface
    where = interface_points(interface, 150, 40, 0)
    u.p.requires_grad_(False)
    before = u.p(where.inside)
    optsci.solve(gauss_newton(u, state_equations(known.problem, where)), max_iter=10)
    assert (u.p(where.inside) == before).all()
    u.p.requires_grad_(True)
    u.y.requires_grad_(False)
    optsci.solve(gauss_newton(u, adjoint_equations(known.problem, where)), max_iter=10)
    x = torch.cat(interface.sample(500, 9))
    assert relative(known.problem.control(x, u.p(x)).detach(), known.control(x)) < 0.05


@pytest.mark.slow
def test_the_accuracy_of_the_paper_is_reached_with_a_hundredth_of_its_steps():
    known = KNOWN["circle"]
    u, interface = fields(known, (20, 20)), known.problem.equation.interface
    optsci.solve(
        gauss_newton(u, optimality_system(known.problem, interface_points(interface, 800, 150, 0))), max_iter=80
    )
    x = torch.cat(interface.sample(4000, 9))
    assert relative(known.problem.control(x, u.p(x)).detach(), known.control(x)) < 1.62e-4
