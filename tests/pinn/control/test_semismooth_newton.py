"""Semismooth Newton: public values, optimality conditions, a quadratic programme, orders of convergence."""

import math
from itertools import pairwise

import cvxpy as cp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import optsci
from optsci.pinn.control import (
    BilinearHeatMap,
    BurgersMap,
    ControlCost,
    EllipticMap,
    HeatMap,
    SemilinearHeatMap,
    bilinear_parabolic,
    control_objective,
    gradient_of,
    semismooth_newton,
    sparse_elliptic,
    sparse_parabolic,
    sparse_target,
)

SPARSE = ControlCost(alpha=1e-5, rho=1e-3, lower=-30.0, upper=30.0)


def solved(S, y_d, cost, tol=1e-11, max_iter=60):
    u0 = torch.zeros(S.shape[1], dtype=torch.float64)
    run = optsci.solve(semismooth_newton(S, y_d, u0, cost=cost), tol=tol, max_iter=max_iter)
    return run.raise_if_failed()


def require_optimal(S, y_d, cost, u, tol):
    """0 in q + alpha u + rho d|u| + normal cone, entry by entry."""
    force = -gradient_of(S, y_d, u) - cost.alpha * u  # in rho d|u| + normal cone
    at_lower, at_upper = u == cost.lower, u == cost.upper
    inside = ~(at_lower | at_upper)
    assert (u >= cost.lower).all()
    assert (u <= cost.upper).all()
    assert force[inside & (u == 0)].abs().le(cost.rho + tol).all()
    moving = inside & (u != 0)
    assert (force - cost.rho * u.sign())[moving].abs().le(tol).all()
    assert (force - cost.rho * u.sign())[at_upper].ge(-tol).all()
    assert (force - cost.rho * u.sign())[at_lower].le(tol).all()


@pytest.mark.parametrize(
    ("cells", "J"), [(32, 1.68239732e-2), (64, 1.68714407e-2), (128, 1.68832173e-2), (256, 1.68861000e-2)]
)
def test_the_sparse_elliptic_values_of_the_specification(cells, J):
    S = EllipticMap(cells)
    y_d = sparse_target(S.points)
    run = solved(S, y_d, SPARSE)
    assert abs(S.weight * float(control_objective(S, y_d, SPARSE, run.x)) / J - 1) < 5e-9
    assert run.iterations <= 10
    if cells == 256:
        assert abs(float((run.x == 0).double().mean()) - 0.61) < 0.005
        assert abs(float((run.x.abs() == 30).double().mean()) - 0.25) < 0.005


def test_the_solution_satisfies_the_optimality_conditions_and_the_steps_are_superlinear():
    S = EllipticMap(24)
    y_d = sparse_target(S.points)
    u0 = torch.zeros_like(y_d)
    residuals = [float(s.residual) for _, s in zip(range(7), semismooth_newton(S, y_d, u0, cost=SPARSE), strict=False)]
    assert residuals[-1] < 1e-10
    assert min(b / a for a, b in pairwise(residuals)) < 1e-6
    require_optimal(S, y_d, SPARSE, solved(S, y_d, SPARSE).x, 1e-12)


@pytest.mark.parametrize("alpha", [1e-3, 1e-6])
def test_a_quadratic_programme_has_the_same_solution(alpha):
    S = EllipticMap(7)
    cost = ControlCost(alpha, 1e-3, -20.0, 35.0)
    y_d = sparse_target(S.points)
    matrix = torch.stack([S(e) for e in torch.eye(36, dtype=torch.float64)], 1).numpy()
    u = cp.Variable(36)
    scale = 1 / alpha  # so that the solver's tolerances mean something
    value = 0.5 * cp.sum_squares(matrix @ u - y_d.numpy()) + alpha / 2 * cp.sum_squares(u) + 1e-3 * cp.norm1(u)
    problem = cp.Problem(cp.Minimize(scale * value), [u >= -20, u <= 35])
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12)
    x = solved(S, y_d, cost).x
    assert np.abs(u.value - x.numpy()).max() < 1e-5
    assert float(control_objective(S, y_d, cost, x)) <= problem.value / scale + 1e-12


def test_small_alpha_takes_damped_steps_and_arrives():
    S = EllipticMap(16)
    cost = ControlCost(1e-7, 1e-3, -30.0, 30.0)
    y_d = sparse_target(S.points)
    steps = semismooth_newton(S, y_d, torch.zeros_like(y_d), cost=cost)
    run = optsci.solve(steps, tol=1e-10, max_iter=60, track={"step": lambda s: s.step}).raise_if_failed()
    assert min(run.history["step"]) < 1  # full steps alone cycle
    require_optimal(S, y_d, cost, run.x, 1e-12)


@given(st.integers(0, 10**6), st.integers(4, 8), st.floats(-6.5, 0.0), st.floats(0.0, 1.2), st.floats(-2.0, 0.5))
@settings(max_examples=25, deadline=None)
def test_it_arrives_for_any_target_and_cost(seed, cells, digits, share, width):
    S = EllipticMap(cells)
    generator = torch.Generator().manual_seed(seed)
    y_d = torch.randn(S.shape[0], generator=generator, dtype=torch.float64)
    size = float(S.T(y_d).abs().max())
    alpha = 10.0**digits
    cost = ControlCost(alpha, share * size, -size / alpha * 10.0**width, 0.3 * size / alpha)
    run = solved(S, y_d, cost, tol=1e-9, max_iter=400)
    require_optimal(S, y_d, cost, run.x, 1e-8 * size)
    assert (run.x == 0).all() if share >= 1 else (run.x != 0).any()


def slope(errors, ratio=2.0):
    return np.polyfit(np.arange(len(errors)), np.log(errors) / math.log(ratio), 1)[0]


def test_elliptic_control_is_of_second_order():
    errors = []
    for cells in (16, 32, 64):
        S = EllipticMap(cells)
        exact = sparse_elliptic(S.points)
        u = solved(S, exact.y_d - S(exact.f), exact.cost).x
        errors.append(float((u - exact.u).norm() / exact.u.norm()))
    assert errors[-1] < 1e-3
    assert abs(slope(errors) + 2) < 0.1


def test_parabolic_control_is_of_second_order_in_space_with_short_steps():
    errors = []
    for cells in (8, 16, 32):
        S = HeatMap(cells, cells**2 // 8)
        exact = sparse_parabolic(S.points)
        run = solved(S, exact.y_d - S(exact.f), exact.cost)
        errors.append(float((run.x - exact.u).norm() / exact.u.norm()))
    assert errors[-1] < 0.01
    assert abs(slope(errors) + 2) < 0.2
    require_optimal(S, exact.y_d - S(exact.f), exact.cost, run.x, 1e-11)


def test_bilinear_control_is_of_second_order_in_space_with_short_steps():
    errors = []
    for cells in (8, 12, 18):
        points = HeatMap(cells, cells**2 // 4).points
        exact = bilinear_parabolic(points)
        S = BilinearHeatMap(cells, cells**2 // 4, exact.f)
        run = solved(S, exact.y_d, exact.cost)
        errors.append(float((run.x - exact.u).norm() / exact.u.norm()))
    assert run.iterations <= 6
    assert abs(slope(errors, 1.5) + 2) < 0.3
    require_optimal(S, exact.y_d, exact.cost, run.x, 1e-11)


def burgers(cells):
    S, cost = BurgersMap(cells), ControlCost(0.1, upper=0.3)
    u = solved(S, 0.3, cost).x
    J = S.weight * (float(control_objective(S, 0.3, cost, u)) + 0.5 * 0.3**2)  # the two ends, by the trapezoidal rule
    return S, u, J


def test_burgers_control_has_the_values_of_the_specification():
    for cells, J in ((400, 0.01050266), (800, 0.01050241), (1600, 0.01050235)):
        S, u, found = burgers(cells)
        assert abs(found - J) < 6e-9
    y, x = S(u), S.points[:, 0]
    at = lambda values, where: float(values[(x - where).abs().argmin()])  # noqa: E731
    assert abs(at(u, 0.4) - 0.268665) < 2e-6
    assert abs(at(u, 0.5) - 0.206907) < 2e-6
    assert abs(at(y, 0.1) - 0.105439) < 2e-6
    assert abs(at(y, 0.5) - 0.325889) < 2e-6
    active = x[u == 0.3]
    assert abs(float(active.min()) - 0.0841) < 1e-3
    assert abs(float(active.max()) - 0.3631) < 1e-3
    require_optimal(S, 0.3, ControlCost(0.1, upper=0.3), u, 1e-12)


def test_burgers_control_is_of_second_order():
    _, fine, _ = burgers(1600)
    errors = []
    for cells in (50, 100, 200):
        u = burgers(cells)[1]
        errors.append(float((u - fine[1600 // cells - 1 :: 1600 // cells]).norm() / u.norm()))
    assert abs(errors[1] / 2.3e-4 - 1) < 0.1
    assert abs(slope(errors) + 2) < 0.1


def test_semilinear_control_satisfies_the_optimality_conditions():
    S = SemilinearHeatMap(8, 8)
    x = S.points
    near = lambda *c: (-20 * (x - x.new_tensor(c)).square().sum(1)).exp()  # noqa: E731
    y_d = near(0.2, 0.2, 0.2) + near(0.7, 0.7, 0.9)
    cost = ControlCost(1e-4, 4e-3, -10.0, 20.0)
    run = solved(S, y_d, cost)
    assert run.iterations <= 12
    assert (run.x == 0).any()
    assert (run.x == 20).any()
    require_optimal(S, y_d, cost, run.x, 1e-11)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cost": ControlCost(0.0)}, "cost.alpha must be finite and positive, got 0.0"),
        ({"y_d": math.nan}, "y_d must be finite, got nan"),
        ({"y_d": torch.zeros(8, dtype=torch.float64)}, r"y_d must have the shape \(9,\) that S gives"),
        ({"u0": torch.zeros(8)}, r"u0 must have the shape \(9,\) that S takes, got \(8,\)"),
        ({"u0": torch.full((9,), math.inf)}, "u0 must be finite, got inf"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(change, message):
    arguments = {"y_d": 1.0, "u0": torch.zeros(9, dtype=torch.float64), "cost": ControlCost(1.0)} | change
    with pytest.raises(ValueError, match=message):
        semismooth_newton(EllipticMap(4), **arguments)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ControlCost(-1.0), "alpha must be finite and at least 0, got -1.0"),
        (lambda: ControlCost(1.0, -1.0), "rho must be finite and at least 0, got -1.0"),
        (lambda: ControlCost(1.0, 0.0, 2.0, 1.0), r"lower must be at most upper, .* got lower = 2.0 and upper = 1.0"),
        (lambda: sparse_target([[0.0]]), r"points must have the shape \(n, 2\), got \(1, 1\)"),
        (lambda: bilinear_parabolic([[0.0, math.nan, 0.0]]), "points must be finite, got nan"),
    ],
)
def test_bad_costs_and_points_are_refused_in_a_sentence(build, message):
    with pytest.raises(ValueError, match=message):
        build()
