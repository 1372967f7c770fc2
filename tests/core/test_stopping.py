"""Stopping rules: each by itself, their algebra, what they remember; the duality gap of the lasso."""

from __future__ import annotations

import math
import re
import time
from types import SimpleNamespace

import pytest
import torch

import optsci
from optsci import (
    Rule,
    absolute_change,
    fista,
    gap,
    gradient_restart,
    ista,
    kkt,
    lasso_duality_gap,
    max_seconds,
    patience,
    relative_change,
    solve,
)
from optsci.iteration import Status
from problems import lasso


def state(*x):
    return SimpleNamespace(x=torch.tensor(x))


def answers(rule, states):
    return [bool(rule(s)) for s in states]


# Each rule


def test_absolute_change_compares_with_the_last_check():
    path = [state(0.0, 0.0), state(3.0, 4.0), state(3.0, 4.0), state(0.0, 0.0)]
    assert answers(absolute_change(5.0), path) == [False, True, True, True]
    assert answers(absolute_change(4.9), path) == [False, False, True, False]
    assert answers(absolute_change(0.0), path) == [False, False, True, False]


def test_relative_change_is_relative_to_the_newer_point():
    path = [state(8.0), state(10.0), state(8.0)]
    assert answers(relative_change(0.2), path) == [False, True, False]
    assert answers(relative_change(0.25), path) == [False, True, True]


def test_changes_of_blocks():
    path = [SimpleNamespace(x=(torch.tensor([0.0]), torch.tensor([[0.0]]))) for _ in range(2)]
    path[1].x = (torch.tensor([3.0]), torch.tensor([[4.0]]))
    assert answers(absolute_change(5.0), path) == [False, True]
    assert answers(absolute_change(4.99), path) == [False, False]


def test_an_iterate_overwritten_in_place_has_changed():
    x = torch.zeros(2)
    rule = absolute_change(0.5)
    assert not rule(SimpleNamespace(x=x))
    x += 1
    assert not rule(SimpleNamespace(x=x))
    assert rule(SimpleNamespace(x=x))


def test_gap_is_a_function_of_x():
    rule = gap(lambda x: x.abs().max(), 0.5)
    assert answers(rule, [state(1.0, 0.0), state(0.5, -0.5), state(math.nan)]) == [False, True, False]


def test_kkt_is_optimality():
    p = lasso(60, 40, 5)
    for step in (0.01, 1.0, 100.0):
        assert kkt(p.f, p.g, 1e-8, step=step)(SimpleNamespace(x=p.x))
        assert not kkt(p.f, p.g, 1e-2, step=step)(SimpleNamespace(x=p.x + 0.01))
    run = solve(fista(p.f, p.g, p.start), tol=None, stop=kkt(p.f, p.g, 1e-6, step=1 / p.f.lipschitz()))
    assert run.status is Status.STOPPED
    slope = -p.f.grad(run.x)
    assert (slope - p.g.weight * p.x.sign())[p.x != 0].abs().max() <= 1e-5


def test_max_seconds_counts_from_its_making(monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    rule = max_seconds(5.0)
    now = 104.9
    assert not rule(state(0.0))
    now = 105.0
    assert rule(state(0.0))


def test_max_seconds_ends_a_solve_at_a_check():
    p = lasso(20, 40, 4)
    run = solve(ista(p.f, p.g, p.start, step=1e-9), tol=None, max_iter=10**9, stop=max_seconds(0.1), check_every=5)
    assert run.status is Status.STOPPED
    assert run.iterations % 5 == 0


def test_patience_counts_checks_without_a_new_minimum():
    values = [3.0, 2.0, 2.0, 2.5, 1.0, 1.5, math.nan, 1.0]
    rule = patience(3, lambda s: s)
    assert [rule(v) for v in values] == [False] * 7 + [True]
    assert answers(patience(1, lambda s: s.x.sum()), [state(1.0), state(1.0)]) == [False, True]


# Algebra


@pytest.mark.parametrize(("a", "b"), [(False, False), (False, True), (True, False), (True, True)])
def test_or_and_and(a, b):
    left, right = Rule(lambda s: torch.tensor(a)), Rule(lambda s: b)
    assert (left | right)(None) is (a or b)
    assert (left & right)(None) is (a and b)
    assert (left | (lambda s: b))(None) is (a or b)


@pytest.mark.parametrize("first", [True, False])
def test_both_sides_are_asked_at_every_check(first):
    """Neither `True | rule` nor `False & rule` may spare the rule, which would miss an x."""
    for combine in (Rule.__or__, Rule.__and__):
        rule = absolute_change(0.1)
        answers(combine(Rule(lambda s: first), rule), [state(0.0), state(1.0)])
        assert rule(state(1.0))


def test_precedence_of_a_combination():
    yes, no = Rule(lambda s: True), Rule(lambda s: False)
    assert (yes | yes & no)(None) is True
    assert ((yes | yes) & no)(None) is False


# In a solve


def test_a_rule_is_asked_at_checks_alone():
    p = lasso(20, 40, 4)
    seen = []
    rule = Rule(lambda s: bool(seen.append(s)) or len(seen) == 3)
    run = solve(ista(p.f, p.g, p.start), tol=None, stop=rule, check_every=7)
    assert run.status is Status.STOPPED
    assert (run.iterations, len(seen)) == (21, 3)


def test_rules_keep_no_graph():
    p = lasso(20, 40, 4)
    rule = relative_change(1e-3)
    x = solve(ista(p.f, p.g, p.start.requires_grad_()), tol=None, stop=rule, max_iter=5).x
    assert x.requires_grad
    assert [part.requires_grad for part in rule.test.last] == [False]


# The duality gap


def test_the_gap_bounds_the_error_all_the_way_and_vanishes():
    p = lasso(60, 150, 10)
    certificate = lasso_duality_gap(*p.data, p.g.weight)
    run = solve(
        fista(p.f, p.g, p.start, restart=gradient_restart),
        tol=None,
        stop=gap(certificate, 1e-10),
        track={"error": lambda s: p.f(s.x) + p.g(s.x) - p.optimum, "gap": lambda s: certificate(s.x)},
    )
    assert run.status is Status.STOPPED
    for error, bound in zip(run.history["error"], run.history["gap"], strict=True):
        assert error <= bound + 1e-13
    assert run.history["error"][-1] <= 1e-10
    assert 0 <= certificate(p.x) <= 1e-13


def test_the_gap_is_primal_minus_dual():
    p = lasso(20, 30, 4)
    A, b = p.data
    w = p.g.weight
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        x = torch.randn(30, generator=generator, dtype=torch.float64)
        r = b - A @ x
        limit = w / (A.T @ r).abs().max()
        c = (b @ r / (r @ r)).clamp(-limit, limit)
        dual = b @ (c * r) - (c * r) @ (c * r) / 2
        torch.testing.assert_close(lasso_duality_gap(A, b, w)(x), p.f(x) + p.g(x) - dual)
        # No other multiple of r that is feasible does better.
        for other in torch.linspace(-limit, limit, 9, dtype=torch.float64):
            assert b @ (other * r) - (other * r) @ (other * r) / 2 <= dual + 1e-12


def test_the_gap_takes_arrays_and_operators_and_extremes():
    A, b = lasso(20, 30, 4).data
    x = torch.ones(30).double()
    expected = lasso_duality_gap(A, b, 0.3)(x)
    assert lasso_duality_gap(A.numpy(), b.numpy(), 0.3)(x) == expected
    torch.testing.assert_close(lasso_duality_gap(optsci.Matrix(A), b, 0.3)(x), expected)
    assert lasso_duality_gap([[1.0]], [0.0], 1.0)(torch.zeros(1)) == 0  # r = 0
    assert lasso_duality_gap([[1.0]], [1.0], 2.0)(torch.zeros(1)) == 0  # a weight that makes 0 optimal
    assert lasso_duality_gap([[1.0]], [1.0], 2.0)(torch.tensor([1.0])) == 2.0  # r = 0, x not optimal: P = 2, D = 0


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: Rule(3), TypeError, "test must be a function such as lambda state: …, not 3"),
        (lambda: max_seconds(1) | 3, TypeError, "the other side must be a function"),
        (lambda: absolute_change(-1.0), ValueError, "tol must be finite and at least 0, got -1.0"),
        (lambda: relative_change(math.nan), ValueError, "tol must be finite and at least 0, got nan"),
        (lambda: gap(1.0, 1.0), TypeError, "function must be a function such as lasso_duality_gap"),
        (lambda: max_seconds(math.inf), ValueError, "seconds must be finite and at least 0, got inf"),
        (lambda: patience(0, abs), ValueError, "checks must be a positive integer, not 0"),
        (lambda: patience(1, 0.5), TypeError, "quantity must be a function"),
        (lambda: kkt(abs, optsci.L1(), 1.0), TypeError, "kkt needs f.grad, but builtin_function_or_method has none"),
        (lambda: kkt(optsci.SquaredL2(), abs, 1.0), TypeError, "kkt needs g.prox"),
        (
            lambda: kkt(optsci.SquaredL2(), optsci.L1(), 1.0, step=0),
            ValueError,
            "step must be finite and positive, got 0",
        ),
        (lambda: lasso_duality_gap([[1.0]], [1.0], 0.0), ValueError, "weight must be finite and positive, got 0.0"),
    ],
)
def test_errors(call, error, sentence):
    with pytest.raises(error, match=re.escape(sentence)):
        call()
