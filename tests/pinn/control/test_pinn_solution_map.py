"""States and adjoints by trained networks: near to the true map, and good enough to control with."""

import math

import pytest
import torch

import optsci
from optsci.pinn import MLP, BoundaryAnsatz, UnitSquare
from optsci.pinn.control import (
    ControlCost,
    EllipticMap,
    TrainedEllipticMap,
    optimality_gap,
    primal_dual,
    semismooth_newton,
    sparse_target,
    transpose_gap,
)


def trained(points, seed, width, **options):
    square = UnitSquare()
    network = BoundaryAnsatz(MLP(2, [width], 1, box=square, seed=seed), lift=0.0, distance=square.vanishing)
    return TrainedEllipticMap(network, points, **options)


def test_a_network_is_near_to_the_state_and_goes_on_from_it():
    grid = EllipticMap(24)
    S = trained(grid.points, 0, 20, steps=40, tol=2e-3)
    u = 10 * (math.pi * grid.points).sin().prod(1)
    y = S(u)
    assert S.residual < 2e-3
    assert (y - u / (2 * math.pi**2)).norm() < 1e-3 * y.norm()
    again = TrainedEllipticMap(S.network, grid.points, steps=1)
    again(u)
    assert again.residual < 2e-3  # one step from a network that is trained
    assert torch.equal(S(0 * u), 0 * u)


@pytest.mark.parametrize("of_u", [torch.float32, torch.float64])
@pytest.mark.parametrize("of_points", [torch.float32, torch.float64])
@pytest.mark.parametrize("of_network", [torch.float32, torch.float64])
def test_the_network_decides_the_precision_and_the_state_is_like_its_control(of_network, of_points, of_u):
    square = UnitSquare()
    network = BoundaryAnsatz(MLP(2, [10], 1, box=square), lift=0.0, distance=square.vanishing).to(of_network)
    x = square.sample(200, seed=0)
    y = (math.pi * x).sin().prod(1).to(of_u)
    found = TrainedEllipticMap(network, x.to(of_points), steps=20, tol=0.05)(2 * math.pi**2 * y)
    assert found.dtype == of_u
    assert (found - y).norm() < 0.01 * y.norm()
    assert all(parameter.dtype == of_network for parameter in network.parameters())


def test_a_network_without_parameters_is_refused():
    with pytest.raises(ValueError, match="network must have a parameter with requires_grad, and Identity has none"):
        TrainedEllipticMap(torch.nn.Identity(), UnitSquare().sample(9, seed=0))


def test_two_networks_are_nearly_transposed():
    grid = EllipticMap(16)
    pair = [trained(grid.points, seed, 14, steps=15, tol=1e-3) for seed in (0, 1)]
    u = (math.pi * grid.points).sin().prod(1)
    p = (grid.points * (1 - grid.points)).prod(1)
    assert 0 < transpose_gap(*pair, u, p) < 2e-3


@pytest.mark.slow
def test_control_with_networks_is_near_to_that_with_differences():
    S = EllipticMap(20)
    y_d, cost = sparse_target(S.points), ControlCost(1e-3, 1e-3, -30.0, 30.0)
    u0 = torch.zeros_like(y_d)
    state, adjoint = (trained(S.points, seed, 30, steps=10, tol=1e-3) for seed in (0, 1))
    steps = primal_dual(state, adjoint, cost, y_d, u0, norm=S.norm(), pair_tolerance=math.inf)
    run = optsci.solve(steps, tol=1e-4, max_iter=60).raise_if_failed()
    exact = optsci.solve(semismooth_newton(S, y_d, u0, cost=cost), tol=1e-12).x
    error = float((run.x - exact).norm() / exact.norm())
    assert error < 0.02
    gap = optimality_gap(S, cost, y_d, run.x, step=1 / cost.alpha)
    assert error / 3 < gap < 10 * error  # what the true solver says of a control, without knowing the solution


def test_the_optimality_gap_is_the_distance_from_a_fixed_point():
    S = EllipticMap(8)
    y_d, cost = sparse_target(S.points), ControlCost(1e-4, 1e-3, -30.0, 30.0)
    exact = optsci.solve(semismooth_newton(S, y_d, torch.zeros_like(y_d), cost=cost), tol=1e-13).x
    assert optimality_gap(S, cost, y_d, exact) < 1e-12
    assert optimality_gap(S, cost, y_d, exact, step=1e4) < 1e-12
    assert optimality_gap(S, cost, y_d, 1.1 * exact.clamp(-25, 25), step=1e4) > 0.01


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda x: TrainedEllipticMap(lambda x: x, x), TypeError, "network must be a module, .* got function"),
        (lambda x: trained(x * math.nan, 0, 4), ValueError, "points must be finite, got nan"),
        (lambda x: trained(x, 0, 4, steps=0), ValueError, "steps must be a whole number and at least 1, got 0"),
        (lambda x: trained(x, 0, 4, tol=0.0), ValueError, "tol must be finite and positive, got 0.0"),
        (lambda x: trained(x, 0, 4)(torch.ones(3)), ValueError, r"u must have the shape \(9,\), .* got \(3,\)"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(build, error, message):
    with pytest.raises(error, match=message):
        build(EllipticMap(4).points)
