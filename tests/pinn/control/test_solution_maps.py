"""Control-to-state maps: against sparse solves, transposes up to rounding, norms in closed form, exact derivatives."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import Polynomial
from scipy import sparse
from scipy.sparse.linalg import spsolve

import optsci
from optsci.pinn.control import (
    BilinearHeatMap,
    BurgersMap,
    EllipticMap,
    HeatMap,
    OperatorPair,
    SemilinearHeatMap,
    derivative_gap,
    gradient_of,
    heat_norm,
    taylor_slope,
    transpose_gap,
)


def random(size, seed, scale=1.0):
    return scale * torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def laplacian(cells, dim):
    """The scheme of 2 d + 1 points, by Kronecker products."""
    one = cells**2 * sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(cells - 1, cells - 1))
    total = one
    for _ in range(dim - 1):
        total = sparse.kron(total, sparse.eye_array(cells - 1)) + sparse.kron(sparse.eye_array(total.shape[0]), one)
    return sparse.csc_array(total)


def nonlinear_maps():
    f = random(4 * 25, 9, 30.0)
    return [(BurgersMap(30), 3.0), (SemilinearHeatMap(6, 4), 20.0), (BilinearHeatMap(6, 4, f), 1.0)]


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_sines_solve_the_sparse_system(dim):
    S = EllipticMap(6, dim)
    u = random(S.shape[1], 0)
    assert np.allclose(S(u), spsolve(laplacian(6, dim), u.numpy()), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dim", [1, 2])
def test_heat_steps_are_those_of_implicit_euler(dim):
    S = HeatMap(cells=5, steps=4, final=0.3, dim=dim)
    u = random(S.shape[1], 1)
    A, y, states = laplacian(5, dim), 0.0, []
    for source in u.numpy().reshape(4, -1):
        y = spsolve(sparse.csc_array(A + sparse.eye_array(A.shape[0]) / 0.075), source + y / 0.075)
        states.append(y)
    assert np.allclose(S(u), np.concatenate(states), rtol=1e-12, atol=1e-14)


def test_the_nonlinear_heat_equations_leave_no_residual():
    f, u = random(4 * 25, 2, 30.0), random(4 * 25, 3)
    A, reaction = laplacian(6, 2), Polynomial.fromroots([-1.0, 0.0, 0.25])
    states = np.split(SemilinearHeatMap(6, 4, final=0.5)(f).numpy(), 4)
    bilinear = np.split(BilinearHeatMap(6, 4, f, final=0.5)(u).numpy(), 4)
    for m, (s, c) in enumerate(zip(np.split(f.numpy(), 4), np.split(u.numpy(), 4), strict=True)):
        y, old = states[m], states[m - 1] if m else 0.0
        assert np.abs((y - old) / 0.125 + A @ y + reaction(y) - s).max() < 1e-10
        y, old = bilinear[m], bilinear[m - 1] if m else 0.0
        assert np.abs((y - old) / 0.125 + A @ y + c * y - s).max() < 1e-10


def test_burgers_leaves_no_residual_and_is_of_second_order():
    x = BurgersMap(10).points[:, 0]
    errors = []
    for cells in (20, 40, 80):
        S = BurgersMap(cells, nu=0.05)
        x = S.points[:, 0]
        y = (math.pi * x).sin() * (1 + x)
        slope = math.pi * (math.pi * x).cos() * (1 + x) + (math.pi * x).sin()
        second = -(math.pi**2) * y + 2 * math.pi * (math.pi * x).cos()
        errors.append(float((S(-0.05 * second + y * slope) - y).abs().max()))
    orders = np.diff(np.log2(errors))
    assert np.all(np.abs(orders + 2) < 0.1)


@given(st.integers(2, 9), st.integers(1, 5), st.integers(1, 2), st.floats(0.01, 3.0), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_linear_maps_and_their_transposes(cells, steps, dim, final, seed):
    for S in (EllipticMap(cells, dim), HeatMap(cells, steps, final, dim)):
        u, p = random(S.shape[1], seed), random(S.shape[0], seed + 1)
        assert transpose_gap(S, S.T, u, p) < 1e-12
        assert torch.equal(S.T.T(u), S(u))
        left, right = S(u.abs()) @ p.abs(), u.abs() @ S.T(p.abs())  # sums of positive terms
        assert abs(left - right) <= 1e-12 * left


@given(st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_derivatives_of_nonlinear_maps_and_their_transposes(seed):
    for S, scale in nonlinear_maps():
        u, v, p = (random(S.shape[1], seed + k, scale) for k in range(3))
        L = S.linearised(u, S(u))
        assert transpose_gap(L, L.T, v, p) < 1e-12
        assert derivative_gap(S, L.T, u, v, p, step=1e-4) < 1e-6


@pytest.mark.parametrize("k", range(3))
def test_reduced_gradients_pass_the_test_of_taylor(k):
    S, scale = nonlinear_maps()[k]
    u, v, y_d = random(S.shape[1], 1, scale), random(S.shape[1], 2, scale), random(S.shape[0], 3, 0.1)

    def J(u):
        return 0.5 * (S(u) - y_d).square().sum()

    gradient = gradient_of(S, y_d, u)
    assert abs(taylor_slope(J, gradient, u, v) - 2) < 0.05
    assert abs(taylor_slope(J, 1.2 * gradient, u, v) - 1) < 0.3  # a wrong one shows
    y = S(u)
    Hv, t = S.hessian(u, y, y - y_d)(v), 1e-4
    difference = (gradient_of(S, y_d, u + t * v) - gradient_of(S, y_d, u - t * v)) / (2 * t)
    assert (Hv - difference).norm() < 1e-5 * Hv.norm()


def test_the_norm_of_the_five_point_scheme():
    assert round(1e3 * EllipticMap(64).norm() ** 2, 6) == 2.567526
    gaps = [EllipticMap(cells).norm() * 2 * math.pi**2 - 1 for cells in (16, 32, 64)]
    assert np.all(np.abs(np.diff(np.log2(gaps)) + 2) < 0.02)


@pytest.mark.parametrize("final", [0.02, 1.0])
def test_the_norm_of_the_heat_map(final):
    S = HeatMap(cells=4, steps=5, final=final)
    dense = torch.stack([S(e) for e in torch.eye(45, dtype=torch.float64)], 1)
    assert abs(S.norm() / float(torch.linalg.matrix_norm(dense, 2)) - 1) < 1e-12
    assert (
        abs(float(optsci.solve(optsci.power_iteration(S, random(45, 0)), tol=1e-7).state.norm) / S.norm() - 1) < 1e-10
    )


def test_the_norm_of_the_heat_map_tends_to_that_of_the_equation():
    lam = 2 * math.pi**2
    w = math.sqrt(1 / heat_norm() ** 2 - lam**2)
    assert abs(w * math.cos(w) + lam * math.sin(w)) < 1e-6
    assert math.pi / 2 < w < math.pi
    gaps = []
    for steps in (64, 128, 256):
        S = HeatMap(cells=2, steps=steps, dim=1)  # one sine, whose eigenvalue is 8
        w = brent(8.0)
        gaps.append(abs(S.norm() * math.hypot(8.0, w) - 1))
    assert np.all(np.abs(np.diff(np.log2(gaps)) + 1) < 0.1)


def brent(lam):
    from scipy.optimize import brentq

    return brentq(lambda w: w * math.cos(w) + lam * math.sin(w), math.pi / 2, math.pi, xtol=1e-14)


def test_a_pair_of_functions_has_the_norm_of_the_operator():
    S = EllipticMap(12)
    assert 1 <= OperatorPair(S, S.T, S.shape).norm() / S.norm() < 1.01


def test_points_and_weights_are_those_of_a_quadrature():
    S = HeatMap(cells=16, steps=64, final=2.0)
    x = S.points
    assert x.shape == (S.shape[0], 3)
    integral = S.weight * float(((math.pi * x[:, :2]).sin().prod(1) * x[:, 2]).sum())
    assert abs(integral / (4 / math.pi**2 * 2) - 1) < 0.02
    assert torch.equal(x[:225, 2].unique(), torch.tensor([2 / 64], dtype=torch.float64))
    assert torch.equal(EllipticMap(4).points[1], torch.tensor([0.25, 0.5], dtype=torch.float64))


def test_single_precision_stays_single():
    S = EllipticMap(8)
    u = torch.ones(49)
    assert S(u).dtype == torch.float32
    assert torch.allclose(S(u).double(), S(u.double()), rtol=1e-6)


MAPS = {
    "elliptic": EllipticMap(3),
    "heat": HeatMap(3, 2),
    "semilinear": SemilinearHeatMap(3, 2),
    "bilinear": BilinearHeatMap(3, 2, 1.0),
    "Burgers": BurgersMap(5),
}


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", MAPS)
def test_controls_and_states_that_are_not_finite_are_refused(name, wrong):
    S = MAPS[name]
    good = torch.zeros(S.shape[1], dtype=torch.float64)
    bad = good.clone()
    bad[-1] = wrong
    with pytest.raises(ValueError, match=f"u must be finite, got {wrong}"):
        S(bad)
    with pytest.raises(ValueError, match=f"[upy] must be finite, got {wrong}"):
        S.linearised(good, bad) if hasattr(S, "linearised") else S.T(bad)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: EllipticMap(1), "cells must be a whole number and at least 2, got 1"),
        (lambda: HeatMap(8, 0), "steps must be a whole number and at least 1, got 0"),
        (lambda: HeatMap(8, 2.5), "steps must be a whole number and at least 1, got 2.5"),
        (lambda: HeatMap(8, 4, final=0.0), "final must be finite and positive, got 0.0"),
        (lambda: EllipticMap(8, dim=4), "dim must be 1, 2 or 3, got 4"),
        (lambda: BurgersMap(8, nu=-1.0), "nu must be finite and positive, got -1.0"),
        (lambda: SemilinearHeatMap(1, 4), "cells must be a whole number and at least 2, got 1"),
        (lambda: BilinearHeatMap(8, 4, math.nan), "f must be finite, got nan"),
        (lambda: BilinearHeatMap(8, 4, torch.ones(3)), r"f must have the shape \(196,\), one value a node, got \(3,\)"),
        (lambda: EllipticMap(8)(torch.ones(48)), r"u must have the shape \(49,\), one value a node, got \(48,\)"),
        (lambda: HeatMap(8, 2).T(torch.ones(49)), r"p must have the shape \(98,\), one value a node, got \(49,\)"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_states_that_cannot_be_found_say_so():
    with pytest.raises(TypeError, match="reaction must be a numpy Polynomial, got function"):
        SemilinearHeatMap(4, 2, reaction=lambda y: y)
    S = BilinearHeatMap(4, 2, 1.0)
    with pytest.raises(ArithmeticError, match="the time steps are too long: 1/dt plus the coefficient falls to -998"):
        S(torch.full((18,), -1000.0))
