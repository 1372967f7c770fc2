"""Proximal gradient with adaptive steps: lock step, known solutions, monotone facts, derivatives, errors."""

from __future__ import annotations

import math
import re
from functools import partial
from itertools import islice

import numpy as np
import pytest
import torch

import optsci
from optsci import adaptive_proximal_gradient, barzilai_borwein, fista, greedy_fista, solve
from problems import lasso, ridge

WITHOUT_L = [adaptive_proximal_gradient, barzilai_borwein, partial(barzilai_borwein, memory=1)]
ALGORITHMS = [greedy_fista, *WITHOUT_L]
ids = ["greedy", "adaptive", "barzilai_borwein", "monotone"]


class NoConstant:
    """A smooth function without ``lipschitz``; with values only where asked for."""

    def __init__(self, f):
        self.grad = f.grad
        self.f = f

    def __call__(self, x):
        return self.f(x)


# Lock step


def test_greedy_is_the_paper():
    p = lasso(20, 40, 4)
    A, b = (t.numpy() for t in p.data)
    L = p.f.lipschitz()
    s, x, y, acted, restarts = 1.3 / L, np.zeros(40), np.zeros(40), 0, 0
    for k, state in enumerate(islice(greedy_fista(p.f, p.g, p.start, safeguard=0.2), 60)):
        v = y - s * A.T @ (A @ y - b)
        x_new = np.sign(v) * np.maximum(np.abs(v) - p.g.weight * s, 0)
        if k == 0:
            first = np.linalg.norm(x_new - x)
        elif np.linalg.norm(x_new - x) >= 0.2 * first:
            s, acted = max(0.96 * s, 1 / L), acted + 1
        restart = (y - x_new) @ (x_new - x) >= 0
        y = x_new if restart else 2 * x_new - x
        x, restarts = x_new, restarts + restart
        np.testing.assert_allclose(state.x, x, rtol=0, atol=1e-12)
        np.testing.assert_allclose(state.y, y, rtol=0, atol=1e-12)
        assert math.isclose(state.step, s, rel_tol=1e-12)
    assert acted > 1  # neither branch was idle
    assert restarts > 1


def test_adaptive_is_the_paper():
    p = lasso(20, 40, 4)
    A, b = (t.numpy() for t in p.data)
    s, theta, x = 1e-3, 1 / 3, np.zeros(40)
    gradient = A.T @ (A @ x - b)
    by_growth = by_curvature = 0
    for state in islice(adaptive_proximal_gradient(p.f, p.g, p.start, step=1e-3), 60):
        v = x - s * gradient
        x_new = np.sign(v) * np.maximum(np.abs(v) - p.g.weight * s, 0)
        np.testing.assert_allclose(state.x, x_new, rtol=0, atol=1e-9)
        assert math.isclose(state.step, s, rel_tol=1e-9)
        gradient_new = A.T @ (A @ x_new - b)
        local = np.linalg.norm(gradient_new - gradient) / np.linalg.norm(x_new - x)
        grown, excess = s * math.sqrt(2 / 3 + theta), 2 * s**2 * local**2 - 1
        s_new = min(grown, s / math.sqrt(excess)) if excess > 0 else grown
        by_growth, by_curvature = by_growth + (s_new == grown), by_curvature + (s_new < grown)
        s, theta, x, gradient = s_new, s_new / s, x_new, gradient_new
    assert by_growth > 5
    assert by_curvature > 5


def test_barzilai_borwein_is_the_formula():
    p = lasso(20, 40, 4)
    x, s, values, rejected = p.start, 1.0, [p.objective(p.start)], 0
    for state in islice(barzilai_borwein(p.f, p.g, p.start, step=1.0, memory=3), 40):
        z = p.g.prox(x - s * p.f.grad(x), s)
        d, e = z - x, p.f.grad(z) - p.f.grad(x)
        accepted = p.objective(z) <= max(values[-3:]) - 0.01 / (2 * s) * (d @ d).item()
        assert bool(state.accepted) == accepted
        assert math.isclose(state.step, s, rel_tol=1e-8)
        if accepted:
            values.append(p.objective(z))
            x, s = z, (d @ d / (d @ e)).item()
        else:
            s, rejected = s / 2, rejected + 1
        torch.testing.assert_close(state.x, x, rtol=0, atol=1e-10)
        assert math.isclose(state.objective, values[-1], rel_tol=1e-10)
    assert rejected > 2


# Known solutions, and how fast


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=ids)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_reach_the_known_solution(algorithm, dtype):
    p = lasso(60, 40, 5, dtype=dtype)
    start = torch.randn(40, generator=torch.Generator().manual_seed(1), dtype=dtype)
    kept = start.clone()
    tol = 2e-7 if dtype == torch.float32 else 1e-11
    run = solve(algorithm(p.f, p.g, start), tol=tol, max_iter=250).raise_if_failed()
    assert all(v.dtype in (dtype, torch.bool) for v in run.state)
    assert torch.equal(start, kept)
    torch.testing.assert_close(run.x, p.x, rtol=0, atol=3e3 * tol)


@pytest.mark.parametrize(
    ("algorithm", "factor"), [(greedy_fista, 4), (adaptive_proximal_gradient, 5), (barzilai_borwein, 8)]
)
def test_fewer_iterations_than_fista_to_the_same_gap(algorithm, factor):
    p = lasso(60, 150, 10)

    def count(steps):
        return next(k for k, state in enumerate(steps, 1) if p.objective(state.x) - p.optimum <= 1e-10)

    assert factor * count(algorithm(p.f, p.g, p.start)) <= count(fista(p.f, p.g, p.start))


@pytest.mark.parametrize("algorithm", WITHOUT_L, ids=ids[1:])
def test_no_constant_is_asked_for(algorithm):
    p = lasso(60, 40, 5)
    run = solve(algorithm(NoConstant(p.f), p.g, p.start), tol=1e-11, max_iter=200).raise_if_failed()
    torch.testing.assert_close(run.x, p.x, rtol=0, atol=1e-9)


def test_adaptive_needs_no_value():
    p = lasso(60, 40, 5)

    class Gradient:
        grad = p.f.grad

    class Prox:
        prox = p.g.prox

    run = solve(adaptive_proximal_gradient(Gradient(), Prox(), p.start), tol=1e-11, max_iter=200).raise_if_failed()
    torch.testing.assert_close(run.x, p.x, rtol=0, atol=1e-9)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=ids)
def test_a_warm_start_takes_fewer_iterations(algorithm):
    p, q = lasso(60, 40, 5), lasso(60, 40, 5)
    cold = solve(algorithm(p.f, p.g, p.start), tol=1e-10)
    warm = solve(algorithm(q.f, q.g, p.x + 1e-6), tol=1e-10)
    assert cold.status is warm.status is optsci.Status.CONVERGED
    assert warm.iterations < 0.8 * cold.iterations
    assert solve(algorithm(q.f, q.g, p.x), tol=1e-10).iterations == 1


@pytest.mark.parametrize("algorithm", WITHOUT_L, ids=ids[1:])
@pytest.mark.parametrize("step", [1e-8, 1.0])
def test_any_first_step_will_do(algorithm, step):
    p = lasso(60, 40, 5)
    run = solve(algorithm(p.f, p.g, p.start + 1, step=step), tol=1e-10, max_iter=200).raise_if_failed()
    torch.testing.assert_close(run.x, p.x, rtol=0, atol=1e-7)


@pytest.mark.parametrize("step", [1e6, 1e300])
def test_barzilai_borwein_recovers_from_a_step_that_overflows(step):
    p = lasso(60, 40, 5)
    run = solve(barzilai_borwein(p.f, p.g, p.start + 1, step=step), tol=1e-10, max_iter=2000).raise_if_failed()
    torch.testing.assert_close(run.x, p.x, rtol=0, atol=1e-7)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=ids)
def test_x_may_have_any_shape_and_a_constraint(algorithm):
    target = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    f = optsci.Translated(optsci.SquaredL2(), target)
    run = solve(algorithm(f, optsci.Nonnegative(), target - 5), tol=1e-12)  # F(x0) is infinite
    torch.testing.assert_close(run.x, target.clamp(min=0))


@pytest.mark.parametrize("algorithm", WITHOUT_L, ids=ids[1:])
def test_logistic_regression_is_optimal(algorithm):
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(50, 8, generator=generator, dtype=torch.float64)
    y = torch.where(A[:, 0] + torch.randn(50, generator=generator, dtype=torch.float64) > 0, 1.0, -1.0).double()
    f, g = optsci.Logistic(A, y), optsci.L1(2.0)
    x = solve(algorithm(f, g, torch.zeros(8).double()), tol=1e-12, max_iter=300).raise_if_failed().x
    slope = -f.grad(x)
    torch.testing.assert_close(slope[x != 0], 2.0 * x.sign()[x != 0], rtol=0, atol=1e-8)
    assert (slope.abs() <= 2.0 + 1e-8).all()
    assert 0 < (x != 0).sum() < 8


# What never happens


def test_memory_of_one_never_rises_and_a_longer_one_bounds():
    p = lasso(60, 150, 10)
    for memory in (1, 10):
        values = [p.objective(p.start)]
        for state in islice(barzilai_borwein(p.f, p.g, p.start, memory=memory), 100):
            if state.accepted:
                assert state.objective <= max(values[-memory:]) * (1 + 1e-15)
                values.append(state.objective.item())
            assert math.isclose(state.objective, p.objective(state.x), rel_tol=1e-13)
    assert np.diff(values).max() > 1e-6  # with memory it does rise


def test_the_greedy_step_stays_between_its_bounds():
    p = lasso(60, 40, 5)
    L = p.f.lipschitz()
    steps = [s.step.item() for s in islice(greedy_fista(p.f, p.g, p.start, safeguard=0.01), 60)]
    assert (np.diff(steps) <= 0).all()
    assert steps[0] == pytest.approx(1.3 / L)
    assert steps[-1] == pytest.approx(1 / L)


def test_the_residual_is_a_subgradient():
    p = ridge(condition=10.0)
    L = 0.0
    x = p.start + 1
    for state in islice(adaptive_proximal_gradient(p.f, p.g, x), 20):  # g = 0: the subgradient is the gradient
        L = max(L, ((p.f.grad(state.x) - p.f.grad(x)).norm() / (state.x - x).norm()).item())
        expected = p.f.grad(state.x).norm() / (L * state.x.norm().clamp(min=1))
        torch.testing.assert_close(state.residual, expected, rtol=1e-8, atol=1e-14)
        x = state.x
    assert L <= 10.0 * (1 + 1e-12)


@pytest.mark.parametrize("algorithm", WITHOUT_L, ids=ids[1:])
def test_a_tiny_step_is_not_taken_for_convergence(algorithm):
    p = lasso(60, 40, 5)
    assert next(algorithm(p.f, p.g, p.start, step=1e-12)).residual > 1e-3


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=ids)
def test_nan_is_not_hidden(algorithm):
    f = optsci.Autodiff(lambda x: (x**2).sum() * math.nan)
    run = solve(algorithm(f, optsci.L1(), torch.ones(2), step=0.1), max_iter=5)
    assert run.status is optsci.Status.NON_FINITE


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=ids)
def test_no_step_reads_the_device(algorithm):
    class Cosine:
        def __call__(self, x):
            return x.cos().sum()

        def grad(self, x):
            return -x.sin()

    for state in islice(algorithm(Cosine(), optsci.L1(0.1), torch.empty(3, device="meta"), step=0.1), 4):
        assert state.residual.is_meta


# Derivatives through the iterations


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=ids)
def test_derivative_of_an_unrolled_solve(algorithm):
    A, b = lasso(8, 12, 3).data

    def loss(b, weight):
        f, g = optsci.LeastSquares(A, b), optsci.L1(weight)
        steps = algorithm(f, g, torch.zeros(12).double(), step=1 / torch.linalg.matrix_norm(A, 2).item() ** 2)
        return solve(steps, tol=None, max_iter=8).x.square().sum()

    weight = torch.tensor(0.2, dtype=torch.float64)
    by_b, by_weight = torch.func.grad(loss, argnums=(0, 1))(b, weight)
    h = 1e-6
    along = torch.randn(8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    difference = (loss(b + h * along, weight) - loss(b - h * along, weight)) / (2 * h)
    torch.testing.assert_close(by_b @ along, difference, rtol=1e-6, atol=1e-8)
    difference = (loss(b, weight + h) - loss(b, weight - h)) / (2 * h)
    torch.testing.assert_close(by_weight, difference, rtol=1e-6, atol=1e-8)
    b_ = b.clone().requires_grad_()
    torch.testing.assert_close(torch.autograd.grad(loss(b_, weight), b_)[0], by_b)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=ids)
def test_the_derivative_at_convergence_holds_no_nan(algorithm):
    b = torch.tensor([2.0, 0.1], dtype=torch.float64, requires_grad=True)
    f = optsci.LeastSquares(torch.eye(2).double(), b)
    x = solve(algorithm(f, optsci.L1(0.5), [0.0, 0.0], step=1.0), tol=None, max_iter=8).x
    torch.testing.assert_close(x, torch.tensor([1.5, 0.0], dtype=torch.float64))
    x.sum().backward()
    torch.testing.assert_close(b.grad, torch.tensor([1.0, 0.0], dtype=torch.float64))


# Errors are sentences, and come at the call


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda f, g: greedy_fista(g, abs, [0.0]), TypeError, "greedy_fista needs g.prox"),
        (lambda f, g: greedy_fista(f, g, [0.0]), TypeError, "greedy_fista needs f.lipschitz, but Smooth has none"),
        (lambda f, g: greedy_fista(f, g, [0.0], step=1, shrink=1.0), ValueError, "shrink must lie between 0 and 1, no"),
        (
            lambda f, g: greedy_fista(f, g, [0.0], step=1, safeguard=0),
            ValueError,
            "safeguard must be positive and fini",
        ),
        (lambda f, g: adaptive_proximal_gradient(abs, g, [0.0]), TypeError, "adaptive_proximal_gradient needs f.grad"),
        (lambda f, g: adaptive_proximal_gradient(f, g, [0.0], step=-1), ValueError, "step must be finite and positive"),
        (lambda f, g: barzilai_borwein(f, g, [0.0]), TypeError, "barzilai_borwein needs the value f(x), but Smooth"),
        (lambda f, g: barzilai_borwein(g, g, [0.0], step=[1.0]), ValueError, "step must be a single number"),
        (lambda f, g: barzilai_borwein(g, g, [0.0], memory=0), ValueError, "memory must be a positive integer, not 0"),
    ],
)
def test_errors(call, error, sentence):
    with pytest.raises(error, match=re.escape(sentence)):
        call(Smooth(), optsci.SquaredL2())


class Smooth:
    def grad(self, x):
        return x
