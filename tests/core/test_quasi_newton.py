"""PANOC: the envelope, its line search, L-BFGS against the dense formula, known solutions, iteration counts."""

from __future__ import annotations

import math
import re
from functools import partial
from itertools import islice, pairwise

import pytest
import torch

import optsci
from optsci import Status, fista, gradient_restart, ista, panoc, solve
from optsci.quasi_newton import _inverse, _Pairs, _remember
from problems import lasso, ridge


def logistic():
    """Columns of sizes from 1 to 100."""
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(60, 20, generator=generator, dtype=torch.float64) * torch.logspace(0, 2, 20, dtype=torch.float64)
    noise = 3 * torch.randn(60, generator=generator, dtype=torch.float64)
    y = torch.where(A[:, 0] + A[:, 1] + noise > 0, 1.0, -1.0).double()
    return optsci.Logistic(A, y), optsci.L1(1.0), torch.zeros(20).double()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_known_solution_is_reached(dtype):
    p = lasso(60, 40, 5, dtype=dtype)
    start = torch.randn(40, generator=torch.Generator().manual_seed(1), dtype=dtype)
    kept = start.clone()
    tol = 2e-7 if dtype == torch.float32 else 1e-11
    run = solve(panoc(p.f, p.g, start), tol=tol, max_iter=150).raise_if_failed()
    assert all(v.dtype in (dtype, torch.bool) for v in run.state)
    assert torch.equal(start, kept)
    torch.testing.assert_close(run.x, p.x, rtol=0, atol=3e3 * tol)


def test_half_the_gradients_of_restarted_fista_where_f_is_ill_conditioned():
    quadratic = ridge(condition=1e4)
    for f, g, start in (logistic(), (quadratic.f, quadratic.g, quadratic.start)):
        runs = [
            solve(algorithm(f, g, start), tol=1e-7, max_iter=5000)
            for algorithm in (panoc, partial(fista, restart=gradient_restart))
        ]
        assert [run.status for run in runs] == [Status.CONVERGED] * 2
        assert 2 * runs[0].iterations <= runs[1].iterations  # one gradient a state, in both
        objectives = [(f(run.x) + g(run.x)).item() for run in runs]
        assert objectives[0] <= objectives[1] + 1e-8 * abs(objectives[1])


def test_a_third_fewer_gradients_on_the_large_lasso():
    p = lasso()
    panoc_, fista_ = (solve(a(p.f, p.g, p.start), tol=1e-10) for a in (panoc, partial(fista, restart=gradient_restart)))
    assert 3 * panoc_.iterations <= 2 * fista_.iterations
    torch.testing.assert_close(panoc_.x, p.x, rtol=0, atol=1e-7)


def test_the_envelope_lies_between_and_falls_with_every_acceptance():
    f, g, start = logistic()
    s = 0.95 / f.lipschitz()
    states = list(islice(panoc(f, g, start), 200))
    for state in states:
        F_x, F_w = f(state.x) + g(state.x), f(state.point) + g(state.point)
        assert F_x <= state.envelope * (1 + 1e-14)
        assert state.envelope <= F_w * (1 + 1e-14)
        torch.testing.assert_close(state.x, g.prox(state.point - s * f.grad(state.point), s))
    rejected = 0
    for last, state in pairwise(states):
        if state.accepted:
            decrease = 0.01 / s * (last.point - last.x).square().sum()
            assert state.envelope <= last.envelope - decrease + 1e-14 * last.envelope
        else:
            assert torch.equal(state.x, last.x)
            assert torch.equal(state.residual, last.residual)
            rejected += 1
        assert state.tau == (1.0 if last.accepted else last.tau / 2)
    assert rejected > 0


def test_the_first_state_is_a_proximal_gradient_step_and_costs_one_gradient():
    p = lasso(20, 40, 4)
    s = 0.95 / p.f.lipschitz()
    state = next(panoc(p.f, p.g, p.start))
    assert torch.equal(state.x, next(ista(p.f, p.g, p.start, step=s)).x)
    assert torch.equal(state.point, p.start)
    calls = []

    class Counted:
        __call__ = staticmethod(p.f)

        def grad(self, x):
            calls.append(x)
            return p.f.grad(x)

    for k, _ in enumerate(islice(panoc(Counted(), p.g, p.start, step=s), 20), 1):
        assert len(calls) == k


def test_two_loops_are_the_dense_formula():
    generator = torch.Generator().manual_seed(0)
    n = 6
    Q = optsci.linalg.damped_cholesky(torch.eye(n))[0].double() + torch.ones(n, n).double()
    pairs = _Pairs(torch.zeros(3, n).double(), torch.zeros(3, n).double(), torch.zeros(3).double())
    used = []
    q = torch.randn(n, generator=generator, dtype=torch.float64)
    assert torch.equal(_inverse(pairs, q), q)
    for _ in range(5):
        s = torch.randn(n, generator=generator, dtype=torch.float64)
        y = (Q + Q.T) @ s
        pairs = _remember(pairs, s, y, torch.tensor(True))
        used = [*used, (s, y)][-3:]
        H = torch.eye(n).double() * (s @ y) / (y @ y)
        for s_, y_ in used:
            V = torch.eye(n).double() - torch.outer(y_, s_) / (s_ @ y_)
            H = V.T @ H @ V + torch.outer(s_, s_) / (s_ @ y_)
        torch.testing.assert_close(_inverse(pairs, q), H @ q)
        torch.testing.assert_close(_inverse(pairs, y), s)  # the secant equation
    for refused in (_remember(pairs, s, -y, torch.tensor(True)), _remember(pairs, s, y, torch.tensor(False))):
        assert all(torch.equal(a, b) for a, b in zip(refused, pairs, strict=True))


def test_a_quadratic_of_few_variables_takes_few_steps():
    """With g = 0 and more memory than variables it is L-BFGS, which ends superlinearly."""
    p = ridge(8, condition=100.0)
    run = solve(panoc(p.f, p.g, p.start, memory=20), tol=1e-10, max_iter=60).raise_if_failed()
    torch.testing.assert_close(run.x, p.x, rtol=0, atol=1e-8)


def test_a_non_convex_f_reaches_a_stationary_point():
    f = optsci.Autodiff(lambda x: x.cos().sum() + 0.05 * x.square().sum())  # L = 1.1, waves
    start = torch.tensor([0.3, -2.0, 7.0]).double()
    run = solve(panoc(f, optsci.Nonnegative(), start, step=0.8), tol=1e-11, max_iter=50).raise_if_failed()
    slope = f.grad(run.x)
    assert (run.x >= 0).all()
    assert slope[run.x > 0].abs().max() <= 1e-10
    assert (slope >= -1e-10).all()
    assert run.x[0] > 1  # 0 is stationary, too, but a maximum


def test_a_warm_start_takes_fewer_iterations_and_x_any_shape():
    p = lasso(60, 40, 5)
    cold = solve(panoc(p.f, p.g, p.start), tol=1e-10)
    warm = solve(panoc(p.f, p.g, p.x + 1e-6), tol=1e-10)
    assert 2 * warm.iterations <= cold.iterations
    assert solve(panoc(p.f, p.g, p.x), tol=1e-10).iterations == 1
    target = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    run = solve(panoc(optsci.Translated(optsci.SquaredL2(), target), optsci.L1(0.5), torch.zeros(3, 2, 4).double()))
    torch.testing.assert_close(run.x, target.sign() * (target.abs() - 0.5).clamp(min=0), rtol=0, atol=1e-5)


def test_no_step_reads_the_device_and_nan_is_not_hidden():
    class Cosine:
        def __call__(self, x):
            return x.cos().sum()

        def grad(self, x):
            return -x.sin()

    for state in islice(panoc(Cosine(), optsci.L1(0.1), torch.empty(3, device="meta"), step=0.1), 4):
        assert state.residual.is_meta
    f = optsci.Autodiff(lambda x: (x**2).sum() * math.nan)
    assert solve(panoc(f, optsci.L1(), torch.ones(2), step=0.1)).status is Status.NON_FINITE


def test_derivative_of_an_unrolled_solve():
    A, b = lasso(8, 12, 3).data

    def loss(b, weight):
        f, g = optsci.LeastSquares(A, b), optsci.L1(weight)
        steps = panoc(f, g, torch.zeros(12).double(), step=0.9 / torch.linalg.matrix_norm(A, 2).item() ** 2, memory=3)
        return solve(steps, tol=None, max_iter=10).x.square().sum()

    weight, h = torch.tensor(0.2, dtype=torch.float64), 1e-6
    by_b, by_weight = torch.func.grad(loss, argnums=(0, 1))(b, weight)
    along = torch.randn(8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    difference = (loss(b + h * along, weight) - loss(b - h * along, weight)) / (2 * h)
    torch.testing.assert_close(by_b @ along, difference, rtol=1e-6, atol=1e-8)
    difference = (loss(b, weight + h) - loss(b, weight - h)) / (2 * h)
    torch.testing.assert_close(by_weight, difference, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda f, g: panoc(abs, g, [0.0]), TypeError, "panoc needs f.grad"),
        (lambda f, g: panoc(f, g, [0.0], step=1.0), TypeError, "panoc needs the value f(x), but Smooth"),
        (lambda f, g: panoc(g, g, [0.0], step=[1.0, 1.0]), ValueError, "step must be a single number"),
        (lambda f, g: panoc(g, g, [0.0], memory=0), ValueError, "memory must be a positive integer, not 0"),
    ],
)
def test_errors(call, error, sentence):
    with pytest.raises(error, match=re.escape(sentence)):
        call(Smooth(), optsci.SquaredL2())


class Smooth:
    def grad(self, x):
        return x
