"""PALM and coordinate descent: descent by the amount the theory says, exact solutions, rules and their rates."""

from __future__ import annotations

import re
from itertools import islice, pairwise

import pytest
import torch

import optsci
from problems import lasso, spd


class Factorization:
    """``1/2 ||X Y - M||^2`` of the factors X and Y."""

    def __init__(self, M):
        self.M = M

    def __call__(self, x, y):
        return (x @ y - self.M).square().sum() / 2

    def grad_x(self, x, y):
        return (x @ y - self.M) @ y.mT

    def grad_y(self, x, y):
        return x.mT @ (x @ y - self.M)

    def lipschitz_x(self, y):
        return torch.linalg.matrix_norm(y @ y.mT, 2)

    def lipschitz_y(self, x):
        return torch.linalg.matrix_norm(x.mT @ x, 2)


def nonnegative_factors():
    generator = torch.Generator().manual_seed(0)
    X, Y = (torch.rand(*shape, generator=generator, dtype=torch.float64) for shape in ((20, 3), (3, 15)))
    starts = [torch.rand(*shape, generator=generator, dtype=torch.float64) for shape in ((20, 3), (3, 15))]
    return Factorization(X @ Y), *starts


def test_palm_decreases_by_what_the_steps_guarantee():
    H, x0, y0 = nonnegative_factors()
    gamma, g = 1.3, optsci.Nonnegative()
    states = list(islice(optsci.palm(H, g, g, x0, y0, gamma=gamma), 200))
    for old, new in pairwise(states):
        L1, L2 = H.lipschitz_x(old.y), H.lipschitz_y(new.x)
        moved = L1 * (new.x - old.x).square().sum() + L2 * (new.y - old.y).square().sum()
        assert H(old.x, old.y) - H(new.x, new.y) >= (gamma - 1) / 2 * moved - 1e-12


def test_palm_factors_a_nonnegative_matrix_and_inertia_helps():
    H, x0, y0 = nonnegative_factors()
    before = x0.clone()

    def iterations(inertia):
        steps = optsci.palm(H, optsci.Nonnegative(), optsci.Nonnegative(), x0, y0, inertia=inertia)
        run = optsci.solve(steps, tol=None, stop=lambda s: H(s.x, s.y) <= 1e-6 * H.M.square().sum(), max_iter=20000)
        assert run.status is optsci.Status.STOPPED
        assert run.state.x.min() >= 0 <= run.state.y.min()
        return run.iterations

    assert iterations(0.5) < iterations(0.0)
    assert torch.equal(x0, before)


def test_palm_with_a_sparse_factor_keeps_the_count():
    H, x0, y0 = nonnegative_factors()
    state = optsci.solve(optsci.palm(H, optsci.Sparsity(20), optsci.SquaredL2(0.1), x0, y0), max_iter=500).state
    assert state.x.count_nonzero() == 20


@pytest.mark.parametrize("rule", [None, optsci.greatest_change, optsci.greatest_scaled_change])
def test_coordinate_descent_finds_the_lasso_solution_and_never_rises(rule):
    problem = lasso(60, 40, 8)
    A, b = problem.data
    steps = optsci.coordinate_descent(A.T @ A, A.T @ b, problem.g, problem.start, rule=rule)

    def objective(state):
        return problem.f(state.x) + problem.g(state.x)

    run = optsci.solve(steps, tol=1e-11, max_iter=20000, track={"objective": objective}).raise_if_failed()
    torch.testing.assert_close(run.x, problem.x, rtol=0, atol=1e-8)
    torch.testing.assert_close(run.state.gradient, A.T @ (A @ run.x - b), rtol=0, atol=1e-10)
    values = run.history["objective"]
    assert all(new <= old + 1e-12 for old, new in pairwise(values))


def test_greedy_rules_need_fewer_updates_than_turns():
    problem = lasso(60, 40, 8)
    A, b = problem.data

    def updates(rule):
        steps = optsci.coordinate_descent(A.T @ A, A.T @ b, problem.g, problem.start, rule=rule)
        return optsci.solve(steps, tol=1e-9, max_iter=20000).raise_if_failed().iterations

    assert updates(optsci.greatest_scaled_change) < updates(None)


def test_the_scaled_rule_has_its_linear_rate():
    Q = spd(20, condition=20.0)
    x_star = torch.ones(20, dtype=torch.float64)
    rate = 1 - torch.linalg.eigvalsh(Q)[0] / Q.diagonal().sum()

    def gap(x):
        return (x - x_star) @ Q @ (x - x_star) / 2

    states = optsci.coordinate_descent(Q, Q @ x_star, optsci.L1(0.0), torch.zeros(20, dtype=torch.float64))
    old = gap(torch.zeros(20, dtype=torch.float64))
    for state in islice(states, 300):
        assert gap(state.x) <= rate * old + 1e-14
        old = gap(state.x)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: optsci.palm(Factorization(torch.eye(2)), optsci.L1(), optsci.L1(), [[1.0]], [[1.0]], gamma=1),
         ValueError, "gamma must be greater than 1, got 1"),
        (lambda: optsci.palm(Factorization(torch.eye(2)), optsci.L1(), optsci.L1(), [[1.0]], [[1.0]], inertia=1),
         ValueError, "inertia must be at least 0 and less than 1, got 1"),
        (lambda: optsci.palm(abs, optsci.L1(), optsci.L1(), [1.0], [1.0]), TypeError, "palm needs H.grad_x"),
        (lambda: optsci.coordinate_descent(-torch.eye(2), [1.0, 1.0], optsci.L1(), [0.0, 0.0]),
         ValueError, "Q must have a positive diagonal, got -1.0"),
        (lambda: optsci.coordinate_descent(torch.eye(2), [1.0], optsci.L1(), [0.0, 0.0]),
         ValueError, "c must have the shape (2,), as Q has rows, got (1,)"),
    ],
)  # fmt: skip
def test_refusals(call, error, message):
    with pytest.raises(error, match="^" + re.escape(message)):
        call()
