"""Interfaces and functions with a kink on them: what holds on the curve, one-sided derivatives, refusals."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from optsci.pinn import MLP, Ball, Box, Interval, Star, generator, gradient
from optsci.pinn.ansatz import BoundaryAnsatz
from optsci.pinn.control import (
    DiscontinuityCapturing,
    Interface,
    InterfaceAnsatz,
    Sides,
    collar,
    flower_control,
    level_interface,
    moving_circle,
)
from optsci.pinn.derivatives import by_autograd, has_jet

SQUARE = Box((-1, -1), (1, 1))


def flower(angle):
    return 0.5 + 0.2 * np.sin(5 * angle)


def ellipse(x):
    return x[0] ** 2 + 4 * x[1] ** 2 - 0.25


INTERFACES = {
    "circle": Interface(SQUARE, Ball((0.1, -0.2), 0.5)),
    "flower": flower_control().equation.interface,
    "ellipse": level_interface(SQUARE, ellipse, 9.0),
    "moving circle": moving_circle().problem.equation.interface,
    "two points": Interface(Interval(-1, 1), Interval(-0.5, 0.5)),
}


@pytest.fixture(params=INTERFACES)
def interface(request):
    return INTERFACES[request.param]


def ansatz(interface, seed=0, lift=0.3):
    d = interface.domain.dim
    return InterfaceAnsatz(
        MLP(interface.dim + 1, [7, 5], 1, seed=seed), lift, lambda x: interface.domain.vanishing(x[:, :d]), interface
    )


def test_points_lie_on_the_interface_and_normals_point_out_of_it(interface):
    x, normal = interface.on_interface(200, 1)
    assert interface.psi(x).abs().max() < 1e-9
    torch.testing.assert_close(normal.norm(dim=1), torch.ones(200, dtype=torch.float64))
    assert (normal[:, interface.domain.dim :] == 0).all()
    assert (interface.psi(x + 1e-4 * normal) > 0).all()
    assert (interface.psi(x - 1e-4 * normal) < 0).all()
    slope = gradient(interface.psi, x)[:, : interface.domain.dim]
    along = normal[:, : interface.domain.dim]
    torch.testing.assert_close(slope / slope.norm(dim=1, keepdim=True), along, rtol=0, atol=1e-6)


def test_points_of_the_sides_are_on_their_sides_and_as_many_as_their_areas(interface):
    inside, outside = interface.sample(1024, 3)
    assert (interface.psi(inside) < 0).all()
    assert (interface.psi(outside) >= 0).all()
    share = interface.inside.volume / interface.domain.volume
    assert len(inside) / 1024 == pytest.approx(share, abs=0.01)
    assert interface.horizon is None or 0 <= inside[:, -1].min() <= inside[:, -1].max() <= interface.horizon


def test_phi_is_continuous_with_a_kink(interface):
    x, normal = interface.on_interface(100, 2)
    torch.testing.assert_close(interface.branch(x), torch.ones(100, 1, dtype=torch.float64), rtol=0, atol=1e-9)
    slope = (gradient(interface.branch, x) * normal).sum(1)
    assert slope.min() > 0.5  # from outside it is 0
    assert (interface.auxiliary(interface.sample(100, 0).outside) == 1).all()


def test_a_circle_has_the_function_of_the_paper():
    circle = Interface(SQUARE, Ball(radius=0.5))
    x = circle.sample(50, 0).inside
    torch.testing.assert_close(circle.auxiliary(x), 4 * x.square().sum(1, keepdim=True))


def test_second_derivatives_of_a_collar_are_continuous_where_it_ends():
    phi = collar(Star(flower, 1.0), width=0.2)
    angle = torch.linspace(0, 6, 40, dtype=torch.float64)
    ray = torch.stack((angle.cos(), angle.sin()), 1)
    end = ray * torch.from_numpy(flower(angle.numpy()) - 0.2)[:, None]
    columns = math.sqrt(2) * torch.eye(2, dtype=torch.float64)[:, None].expand(2, 40, 2)
    for step in (1e-6, -1e-6):
        value, second = by_autograd(phi, end + step * ray, columns, torch.zeros_like(end))
        assert value.abs().max() < 1e-12
        assert second.abs().max() < 0.05  # 6 c 1e-6, not 6 c, for c = 125 and slopes up to 4


def test_phi_of_a_star_is_twice_differentiable_at_its_center():
    phi = INTERFACES["flower"].branch
    columns = math.sqrt(2) * torch.eye(2, dtype=torch.float64)[:, None].expand(2, 40, 2)
    for size in (1e-3, 1e-5):
        angle = torch.linspace(0, 6, 40, dtype=torch.float64)
        x = size * torch.stack((angle.cos(), angle.sin()), 1)
        value, second = by_autograd(phi, x, columns, torch.zeros_like(x))
        assert (value - 1).abs().max() < 0.71 * (size / 0.15) ** 3
        assert second.abs().max() < 6000 * size  # Laplacian of r**3 rho / a**3, at most 0.7 * 25 * r / 0.15**3


def test_boundary_values_and_continuity_hold_whatever_the_network(interface):
    y = ansatz(interface, seed=3)
    on, (x, normal) = interface.on_boundary(100, 0), interface.on_interface(100, 0)
    assert (y(on) - 0.3).abs().max() < 1e-12
    assert (y.outside(x) - y.inside(x)).abs().max() < 1e-12
    kink = ((gradient(y.outside, x) - gradient(y.inside, x)) * normal).sum(1)
    assert kink.abs().median() > 1e-2


def test_the_gradient_jumps_by_the_formula_of_the_ansatz():
    circle = INTERFACES["circle"]
    y = ansatz(circle, seed=1)
    x, normal = circle.on_interface(50, 0)
    net = y.inside.net[1]
    z = torch.cat((x, torch.ones_like(x[:, :1])), 1)
    slope = gradient(net, z)[:, 2:]  # dN/dz
    kink = ((gradient(y.outside, x) - gradient(y.inside, x)) * normal).sum(1, keepdim=True)
    expected = SQUARE.vanishing(x) * slope * -(gradient(circle.branch, x) * normal).sum(1, keepdim=True)
    torch.testing.assert_close(kink, expected, rtol=1e-9, atol=1e-11)


def test_a_jump_of_the_value_is_that_of_the_lift():
    circle = Interface(SQUARE, Ball(radius=0.5))
    y = ansatz(circle, lift=Sides(lambda x: x[:, :1], lambda x: x[:, :1] + x[:, 1:].exp()))
    x, _ = circle.on_interface(100, 0)
    assert (y.outside(x) - y.inside(x) - x[:, 1:].exp()).abs().max() < 1e-12


def test_jets_of_both_sides_are_the_derivatives_by_autograd(interface):
    y = ansatz(interface)
    x, _ = interface.on_interface(20, 0)
    columns = torch.randn(2, 20, interface.dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for side in (y.inside, y.outside):
        assert type(side) is BoundaryAnsatz
        assert has_jet(side)
        for mine, theirs in zip(generator(side, x, columns, x), by_autograd(side, x, columns, x), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


def test_forward_takes_the_branch_of_the_side():
    circle, net = INTERFACES["circle"], MLP(3, [5], 1)
    for u in (InterfaceAnsatz(net, 0.0, SQUARE.vanishing, circle), DiscontinuityCapturing(net, circle)):
        inside, outside = u.interface.sample(64, 0)
        both = u(torch.cat((inside, outside)))
        torch.testing.assert_close(both, torch.cat((u.inside(inside), u.outside(outside))))
        assert sum(p.numel() for p in u.parameters()) == 4 * 5 + 6  # of one network, once


def test_the_soft_version_may_jump():
    u = DiscontinuityCapturing(MLP(3, [5], 1), INTERFACES["circle"])
    x, _ = u.interface.on_interface(10, 0)
    assert (u.outside(x) - u.inside(x)).abs().min() > 1e-3


@settings(max_examples=15, deadline=None)
@given(st.floats(0.05, 0.6), st.floats(-0.3, 0.3), st.integers(0, 5))
def test_ansatz_of_any_circle_is_continuous(radius, across, seed):
    circle = Interface(SQUARE, Ball((across, 0.0), radius))
    y = ansatz(circle, seed)
    x, _ = circle.on_interface(16, seed)
    assert (y.outside(x) - y.inside(x)).abs().max() < 1e-12


def flat_on_the_left(x):
    """1 on the circle of radius 1/2, with the normal derivative 4 max(x_1, 0)."""
    return 1 + 4 * x[:, :1].clamp(min=0) * (x.norm(dim=1, keepdim=True) - 0.5)


def moved(path):
    return Interface(SQUARE, Ball(radius=0.5), horizon=1.0, path=path)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: level_interface(SQUARE, lambda x: x[0] ** 2 + 1, 3.0),
            "inside must have a boundary in the domain, its psi is positive",
        ),
        (
            lambda: Interface(SQUARE, Ball((3.0, 0.0), 0.5)),
            "inside must have a boundary in the domain, its psi is positive at all",
        ),
        (
            lambda: Interface(SQUARE, Ball(radius=2.0)),
            "inside must have a boundary in the domain, its psi is negative at all",
        ),
        (lambda: Interface(SQUARE, Ball((0.8, 0.0), 0.5)), "inside must lie in the domain, its closure contains"),
        (
            lambda: Interface(SQUARE, Ball(radius=0.5), horizon=1.0, path=lambda t: t.expand(-1, 2)),
            "inside must lie in the domain, .* at time 0.5",
        ),
        (lambda: Interface(SQUARE, Ball(dim=3)), "inside must have the dimension 2 of domain, got 3"),
        (lambda: Interface(SQUARE, Ball(radius=0.5), horizon=0.0), "horizon must be finite and positive, got 0.0"),
        (
            lambda: Interface(SQUARE, Ball(radius=0.5), path=lambda t: t),
            "horizon must be given with a path, the last time T, got None",
        ),
        (lambda: Interface(SQUARE, Ball(radius=0.5), phi=lambda x: x[:, :1]), "phi must be 1 on the interface"),
        (lambda: Interface(SQUARE, Ball(radius=0.5), phi=lambda x: x[:, :1] / 0), "phi must be finite"),
        (
            lambda: Interface(SQUARE, Ball(radius=0.5), phi=lambda x: torch.ones_like(x[:, :1])),
            "phi must have a normal derivative inside that is not 0 .* got 0 at .* 256 such points of 256",
        ),
        (
            lambda: Interface(SQUARE, Ball(radius=0.5), phi=lambda x: 1 - (0.25 - x.square().sum(1)[:, None]) ** 2),
            "phi must have a normal derivative inside that is not 0",
        ),
        (
            lambda: Interface(SQUARE, Ball(radius=0.5), phi=flat_on_the_left),
            "phi must have a normal derivative inside that is not 0 .* 128 such points of 256",
        ),
        (lambda: moved(lambda t: 0.1 + 0 * t.expand(-1, 2)), r"path must be 0 at time 0, .* got \[0.1, 0.1\]"),
        (lambda: moved(lambda t: 0.1 * t), r"path must return \(201, 2\) at times \(201, 1\), got \(201, 1\)"),
        (lambda: moved(lambda t: 0 * t.expand(-1, 3)), r"path must return \(201, 2\) .* got \(201, 3\)"),
        (lambda: moved(lambda t: [0.0, 0.0]), r"path must return \(201, 2\) .* got list"),
        (lambda: moved(lambda t: (t - 0.5).log().expand(-1, 2)), "path must be finite"),
        (
            lambda: moved(lambda t: 0.8 * torch.exp(-(((t - 0.47) / 0.01) ** 2)) * t.new_tensor([[1.0, 0.0]])),
            "inside must lie in the domain, .* at time 0.4",
        ),
        (
            lambda: Interface(SQUARE, Ball((0.5, 0.0), 0.5)),
            r"inside must not touch the boundary of the domain, got a point .* \[0.99999.*, .*\]: at least 2",
        ),
        (lambda: Interface(SQUARE, Ball(radius=1.0)), "inside must"),
        (lambda: Interface(SQUARE, Star(flower, 1.0, (0.0, 0.3))), "inside must not touch the boundary"),
        (lambda: Interface(Box((-1,) * 3, (1,) * 3), Ball((0.3, 0.1, 0.0), 0.7)), "inside must not touch the boundary"),
        (
            lambda: moved(lambda t: 0.5 * torch.sin(math.pi * t / 2) * t.new_tensor([[1.0, 0.0]])),
            "inside must not touch the boundary .* at time 1",
        ),
        (lambda: collar(Star(flower, 1.0), width=0.5), "width must be positive and at most the least radius"),
        (lambda: collar(Star(flower, 1.0), power=2), "power must be at least 3"),
        (lambda: collar(Star(flower, 1.0), height=0.0), "height must be finite and not 0"),
    ],
)
def test_bad_interfaces_are_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
