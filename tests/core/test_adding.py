"""Sums of functions: which are known, and that they are the sums."""

from __future__ import annotations

import re

import pytest
import torch

import oracles
from optsci import (
    L1,
    Autodiff,
    Box,
    ElasticNet,
    GroupL2,
    Huber,
    L2Ball,
    LeastSquares,
    Linear,
    LogisticLoss,
    MoreauEnvelope,
    Nonnegative,
    Precomposed,
    Quadratic,
    Regularized,
    Restricted,
    SmoothSum,
    Sparsity,
    SquaredL2,
    Tilted,
    Translated,
)

X = torch.tensor([1.7, -0.4], dtype=torch.float64)
C = torch.tensor([0.3, -1.0], dtype=torch.float64)
Q = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)

PROXIMABLE = [
    ((1e-2 * L1(), Box(-1, 1)), Restricted),
    ((2 * (0.3 * L1()), 3 * Box(-1, 1)), Restricted),
    ((ElasticNet(0.3, 0.5), Nonnegative()), Restricted),
    ((Translated(L1(0.4), 0.7), Box(-1, 1)), Restricted),
    ((Precomposed(Huber(0.4), 2.0, 0.3), Nonnegative()), Restricted),
    ((Linear(C), L1(0.4), Box(-1, 1)), Restricted),
    ((SquaredL2(0.6), L1(0.4), Box(-1, 1)), Restricted),
    ((L1(0.4), Box(-1, 1), 0.5 * SquaredL2(0.6)), Regularized),
    ((L1(0.4), Nonnegative(), 0.5 * Linear(C)), Tilted),
    ((GroupL2(0.4), SquaredL2(0.6)), Regularized),
]


@pytest.mark.parametrize(("parts", "kind"), PROXIMABLE)
def test_the_prox_of_a_known_sum_is_that_of_the_sum_of_the_values(parts, kind):
    for order in (parts, (parts[1], parts[0], *parts[2:])):
        total = order[0]
        for part in order[1:]:
            total = total + part
        assert type(total) is kind
        for step in (0.5, 2.0):
            p = total.prox(X, step)
            torch.testing.assert_close(total(p), sum(part(p) for part in parts), rtol=1e-12, atol=1e-12)
            naive = oracles.naive_prox(lambda z: sum(part(z) for part in parts), X, step)
            torch.testing.assert_close(p, naive, atol=1e-4, rtol=0)


@pytest.mark.parametrize("step", [0.5, 2.0])
def test_what_does_not_add_may_stand_on_the_left(step):
    # The projections of the minimisers without the ball: both penalties have spheres as level sets.
    ball = L2Ball(1.0)
    assert not hasattr(ball, "__add__")
    for f, free in ((SquaredL2(0.6), X / (1 + 0.6 * step)), (Linear(C), X - step * C)):
        for total in (ball + f, f + ball):
            torch.testing.assert_close(total.prox(X, step), free / free.norm().clamp(min=1))


def test_a_sum_with_a_nonconvex_function_keeps_its_prox():
    f = SquaredL2(0.6) + Sparsity(1)
    torch.testing.assert_close(f.prox(X, 0.5), torch.tensor([1.7 / 1.3, 0.0], dtype=torch.float64))


@pytest.mark.parametrize(
    "parts",
    [
        (LeastSquares(Q, C), Quadratic(Q)),
        (Quadratic(Q), 2 * Huber(0.5)),
        (Huber(0.5), LogisticLoss(0.3)),
        (MoreauEnvelope(L1(), 0.5), LeastSquares(Q, C)),
        (Autodiff(lambda x: x.cos().sum()), Huber()),
        (Huber(0.5), LogisticLoss(0.3), Quadratic(Q, C)),
    ],
)
def test_smooth_functions_add_up_to_a_smooth_one(parts):
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    assert isinstance(total, SmoothSum)
    torch.testing.assert_close(total(X), sum(part(X) for part in parts))
    torch.testing.assert_close(total.grad(X), sum(part.grad(X) for part in parts))
    assert not hasattr(total, "prox")
    assert hasattr(total, "lipschitz") == all(hasattr(part, "lipschitz") for part in parts)
    if hasattr(total, "lipschitz"):
        assert total.lipschitz() == pytest.approx(sum(part.lipschitz() for part in parts))


def test_a_smooth_sum_says_what_x_is_like():
    assert (Huber() + Quadratic(Q)).like.shape == (2,)
    assert not hasattr(Huber() + LogisticLoss(), "like")


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (lambda: L1() + GroupL2(), "the prox of L1 + GroupL2 is not known: keep the two apart with davis_yin"),
        (lambda: GroupL2() + L1(), "the prox of GroupL2 + L1 is not known: keep the two apart with davis_yin"),
        (lambda: GroupL2() + Box(-1, 1), "the prox of GroupL2 + Box is not known"),
        (lambda: LeastSquares(Q, C) + L1(), "the prox of LeastSquares + L1 is not known"),
        (lambda: L1() + 3, "the prox of L1 + int is not known"),
        (lambda: SmoothSum(L1()), "SmoothSum needs functions[0].grad, but L1 has none"),
    ],
)
def test_other_sums_are_refused_in_one_sentence(add, message):
    with pytest.raises(TypeError, match="^" + re.escape(message)):
        add()


def test_a_sum_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"^SmoothSum needs at least one function, got none"):
        SmoothSum()
