"""Calculus rules against functions whose closed forms are known."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from optsci import (
    L1,
    Autodiff,
    Box,
    Conjugate,
    ElasticNet,
    GroupL2,
    MoreauEnvelope,
    Nonnegative,
    Quadratic,
    Scaled,
    SeparableSum,
    SquaredL2,
    Translated,
)

X = torch.tensor([-3.0, -0.4, 0.0, 0.6, 2.0], dtype=torch.float64)


@pytest.mark.parametrize("scale", [0.3, np.float64(0.3), torch.tensor(0.3, dtype=torch.float64)])
def test_a_multiple_is_the_function_of_the_multiplied_weight(scale):
    f, expected = scale * ElasticNet(1, 2), ElasticNet(0.3, 0.6)
    assert isinstance(f, Scaled)
    torch.testing.assert_close(f(X), expected(X))
    torch.testing.assert_close(f.prox(X, 0.7), expected.prox(X, 0.7))
    g, expected = scale * SquaredL2(2), SquaredL2(0.6)
    torch.testing.assert_close(g.grad(X), expected.grad(X))
    assert g.lipschitz() == pytest.approx(0.6)
    assert (3 * g).lipschitz() == pytest.approx(1.8)


def test_a_sum_over_blocks_acts_on_each():
    f = SeparableSum(L1(), Nonnegative(), SquaredL2(2))
    x = (X, X[:2], X.reshape(5, 1))
    expected = (L1().prox(X, 0.5), X[:2].clamp(min=0), X.reshape(5, 1) / 2)
    for found, block in zip(f.prox(x, 0.5), expected, strict=True):
        torch.testing.assert_close(found, block)
    assert f(x) == torch.inf
    assert f([X, X[3:], X]) == L1()(X) + SquaredL2(2)(X)


def test_a_sum_of_smooth_functions_is_smooth():
    f = SeparableSum(SquaredL2(2), 3 * SquaredL2(), Quadratic(torch.eye(5, dtype=torch.float64), X))
    gradients = f.grad((X, X, X))
    for found, expected in zip(gradients, (2 * X, 3 * X, X - X), strict=True):
        torch.testing.assert_close(found, expected)
    assert f.lipschitz() == 3
    assert (0.5 * f).lipschitz() == 1.5


def test_a_translation_moves_the_minimiser():
    f = Translated(L1(), X)
    assert f(X) == 0
    torch.testing.assert_close(f.prox(X + 10, 100.0), X)
    assert Translated(SquaredL2(3), 0.5).lipschitz() == 3


def test_the_conjugate_of_a_norm_projects_on_the_ball_of_its_dual():
    v = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    ball = Conjugate(GroupL2(0.5))
    torch.testing.assert_close(ball.prox(v, 7.0), torch.tensor([[0.3, 0.4], [0.3, 0.4]]))
    torch.testing.assert_close(Conjugate(L1(0.5)).prox(v, 7.0), v.clamp(-0.5, 0.5))


def test_a_conjugate_without_closed_form_says_so():
    f = Conjugate(Quadratic([[1.0]]))
    with pytest.raises(
        TypeError, match=r"^Conjugate\(Quadratic\) has a prox but no value: Quadratic has no `conjugate`"
    ):
        f(torch.ones(1))


def test_the_conjugate_of_a_conjugate_is_the_function():
    f = ElasticNet(0.5, 2)
    twice = Conjugate(Conjugate(f))
    assert Conjugate(f).conjugate is f
    assert twice(X) == f(X)
    torch.testing.assert_close(twice.prox(X, 0.3), f.prox(X, 0.3))


@pytest.mark.parametrize(
    ("f", "value"),
    [
        (L1(2), lambda u: torch.where(u.abs() <= 2, 0.0, torch.inf)),
        (L1(0), lambda u: torch.where(u == 0, 0.0, torch.inf)),
        (SquaredL2(4), lambda u: u.square() / 8),
        (SquaredL2(0), lambda u: torch.where(u == 0, 0.0, torch.inf)),
        (ElasticNet(1, 4), lambda u: (u.abs() - 1).clamp(min=0).square() / 8),
        (ElasticNet(1, 0), lambda u: torch.where(u.abs() <= 1, 0.0, torch.inf)),
        (Nonnegative(), lambda u: torch.where(u <= 0, 0.0, torch.inf)),
    ],
    ids=lambda f: repr(f) if not callable(f) or hasattr(f, "prox") else "",
)
def test_values_of_conjugates(f, value):
    for u in X:
        assert f.conjugate(u).item() == Conjugate(f)(u).item() == pytest.approx(value(u).item())


@pytest.mark.parametrize("delta", [0.5, 2.0])
def test_the_envelope_of_the_magnitude_is_hubers_function(delta):
    envelope = MoreauEnvelope(L1(), delta)
    expected = torch.where(X.abs() <= delta, X.square() / (2 * delta), X.abs() - delta / 2)
    for x, value in zip(X, expected, strict=True):
        torch.testing.assert_close(envelope(x), value)
    torch.testing.assert_close(envelope.grad(X), (X / delta).clamp(-1, 1))
    assert envelope.lipschitz() == 1 / delta


def test_the_envelope_of_a_set_is_half_the_squared_distance():
    envelope = MoreauEnvelope(Box(-1, 1), 1.0)
    distance = (X.abs() - 1).clamp(min=0)
    torch.testing.assert_close(envelope(X), distance.square().sum() / 2)
    torch.testing.assert_close(envelope.prox(X, 3.0), (X + 3 * X.clamp(-1, 1)) / 4)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Scaled(L1(), 0), ValueError, "scale must be finite and positive, got 0.0"),
        (lambda: -1 * L1(), ValueError, "scale must be finite and positive, got -1.0"),
        (lambda: Scaled(L1(), float("inf")), ValueError, "scale must be finite and positive, got inf"),
        (lambda: Scaled(L1(), [1.0, 2.0]), ValueError, "scale must be a single number, got shape (2,)"),
        (lambda: Translated(L1(), float("nan")), ValueError, "shift must be finite, got nan"),
        (lambda: Translated(L1(), [0, np.inf]), ValueError, "shift must be finite, got inf"),
        (lambda: Translated(L1(), [0, 1])(X), ValueError, "shift of shape (2,) does not broadcast to the shape (5,)"),
        (lambda: SeparableSum(), ValueError, "SeparableSum needs at least one function, got none"),
        (lambda: SeparableSum(L1())((X, X)), ValueError, "x must have 1 blocks, one a function, got 2"),
        (lambda: SeparableSum(L1(), L1()).prox([X], 1), ValueError, "x must have 2 blocks, one a function, got 1"),
        (lambda: Conjugate(abs), TypeError, "Conjugate needs f.prox, but builtin_function_or_method has none"),
        (lambda: MoreauEnvelope(Autodiff(abs), 1), TypeError, "MoreauEnvelope needs f.prox, but Autodiff has none"),
        (lambda: MoreauEnvelope(L1(), 0), ValueError, "step must be finite and positive, got 0.0"),
        (lambda: MoreauEnvelope(L1(), -1), ValueError, "step must be finite and positive, got -1.0"),
    ],
)
def test_rules_refuse_in_one_sentence(make, error, message):
    with pytest.raises(error, match="^" + re.escape(message)):
        make()


def test_what_a_function_lacks_its_multiple_lacks_too():
    with pytest.raises(AttributeError, match="'L1' object has no attribute 'grad'"):
        (2 * L1()).grad  # noqa: B018


def test_a_separable_sum_refuses_a_tensor():
    with pytest.raises(TypeError, match=r"^x must be a tuple of tensors, one a function, got a tensor: no algo"):
        SeparableSum(L1(), L1()).prox(torch.ones(2, 3), 1.0)
