"""Penalties: the slope of the violation, the threshold of exactness, multipliers, safeguards."""

from __future__ import annotations

import re
from itertools import islice

import numpy as np
import pytest
import torch

import optsci

HALF = torch.full((1,), 2.0, dtype=torch.float64)  # min 1/2 (x - 2)^2 subject to x = 0: multiplier 2


def test_quadratic_penalty_violates_by_one_over_rho():
    steps = optsci.penalty_continuation(lambda x, rho: HALF / (1 + rho), lambda x: x, HALF, rho=100.0, growth=4.0)
    states = list(islice(steps, 8))
    slope = np.polyfit(np.log([s.rho for s in states]), np.log([float(s.residual) for s in states]), 1)[0]
    assert slope == pytest.approx(-1, abs=2e-3)


@pytest.mark.parametrize(("rho", "x"), [(1.9, 0.1), (2.1, 0.0)])
def test_the_l1_penalty_is_exact_from_the_largest_multiplier_on(rho, x):
    def minimize(_, weight):
        return optsci.L1(weight).prox(HALF, 1.0)

    state = next(optsci.penalty_continuation(minimize, lambda x: x, HALF, rho=rho))
    assert state.x.item() == pytest.approx(x, abs=1e-12)


def test_penalty_decomposition_ends_in_the_set():
    # Least squares with two nonzeros: x is copied, the copy projected, and the weight of the difference grows.
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(30, 6, generator=generator, dtype=torch.float64)
    truth = torch.tensor([0, 3.0, 0, 0, -2.0, 0], dtype=torch.float64)
    f, sparse = optsci.LeastSquares(A, A @ truth), optsci.Sparsity(2)

    def minimize(x, rho):
        return f.prox(sparse.prox(x, 1.0), 1 / rho)

    steps = optsci.penalty_continuation(
        minimize, lambda x: x - sparse.prox(x, 1.0), torch.zeros_like(truth), growth=1.5
    )
    run = optsci.solve(steps, tol=1e-9, max_iter=200).raise_if_failed()
    torch.testing.assert_close(sparse.prox(run.x, 1.0), truth, rtol=0, atol=1e-7)


def equality_problem():
    """min 1/2 <x, Q x> - <c, x> subject to A x = b with solution and multiplier from the KKT system."""
    generator = torch.Generator().manual_seed(1)
    A = torch.randn(3, 8, generator=generator, dtype=torch.float64)
    B = torch.randn(8, 8, generator=generator, dtype=torch.float64)
    Q, c = B @ B.T + torch.eye(8), torch.randn(8, generator=generator, dtype=torch.float64)
    b = torch.ones(3, dtype=torch.float64)
    kkt = torch.cat([torch.cat([Q, A.T], 1), torch.cat([A, torch.zeros(3, 3)], 1)])
    solution = torch.linalg.solve(kkt, torch.cat([c, b]))

    def minimize(x, y, rho):
        return torch.linalg.solve(Q + rho * A.T @ A, c - A.T @ y + rho * A.T @ b)

    return minimize, lambda x: A @ x - b, solution[:8], solution[8:]


def test_augmented_lagrangian_finds_solution_and_multiplier_at_a_rate_of_one_over_rho():
    minimize, constraint, x, y = equality_problem()
    start = torch.zeros(8, dtype=torch.float64)
    rates = {}
    for rho in (100.0, 1000.0):
        steps = optsci.augmented_lagrangian(minimize, constraint, start, rho=rho, growth=1.0)
        states = list(islice(steps, 5))
        rates[rho] = float(states[3].residual / states[2].residual)
        torch.testing.assert_close(states[-1].y, y, rtol=0, atol=1e-3)
    assert rates[1000.0] / rates[100.0] == pytest.approx(0.1, rel=0.1)
    run = optsci.solve(optsci.augmented_lagrangian(minimize, constraint, start), tol=1e-10).raise_if_failed()
    torch.testing.assert_close(run.x, x, rtol=0, atol=1e-8)
    torch.testing.assert_close(run.state.y, y, rtol=0, atol=1e-6)
    warm = optsci.augmented_lagrangian(minimize, constraint, run.x, y0=run.state.y)
    assert optsci.solve(warm, tol=1e-8).iterations == 1 < run.iterations


def test_rho_grows_only_where_progress_is_small_and_multipliers_stay_in_bounds():
    stuck = optsci.augmented_lagrangian(lambda x, y, rho: x, lambda x: x, [1.0], growth=10.0, bound=5.0)
    states = list(islice(stuck, 4))
    assert [float(s.rho) for s in states] == [1.0, 10.0, 100.0, 1000.0]
    assert [float(s.y) for s in states] == [1.0, 2.0, 5.0, 5.0]


@pytest.mark.parametrize("r", [0.05, 5.0])
def test_balanced_method_solves_basis_pursuit_for_any_r(r):
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(20, 50, generator=generator, dtype=torch.float64)
    truth = torch.zeros(50, dtype=torch.float64)
    truth[[3, 17, 40]] = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    steps = optsci.balanced_augmented_lagrangian(optsci.L1(), A, A @ truth, torch.zeros_like(truth), r=r)
    run = optsci.solve(steps, tol=1e-11, max_iter=20000).raise_if_failed()
    torch.testing.assert_close(run.x, truth, rtol=0, atol=1e-8)
    # The multiplier certifies optimality: |A^T y| <= 1, with the sign of x on the support.
    assert (A.T @ run.state.y).abs().max() <= 1 + 1e-8


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: optsci.penalty_continuation(1, abs, [1.0]), TypeError, "minimize must be a function, not 1"),
        (lambda: optsci.penalty_continuation(abs, abs, [1.0], rho=0), ValueError, "rho must be finite and positive"),
        (lambda: optsci.penalty_continuation(abs, abs, [1.0], growth=1), ValueError, "growth must be greater than 1"),
        (lambda: optsci.augmented_lagrangian(abs, abs, [1.0], y0=[1.0, 2.0]), ValueError, "y0 must have the shape"),
        (lambda: optsci.augmented_lagrangian(abs, abs, [1.0], progress=1), ValueError, "progress must lie between"),
        (lambda: optsci.balanced_augmented_lagrangian(optsci.L1(), [[1.0]], [1.0, 2.0], [0.0]),
         ValueError, "b must have the shape (1,), as A is 1 x 1, got (2,)"),
    ],
)  # fmt: skip
def test_refusals(call, error, message):
    with pytest.raises(error, match="^" + re.escape(message)):
        call()
