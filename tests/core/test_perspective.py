"""Perspectives against closed forms, and at the edge of their domains."""

from __future__ import annotations

import re

import pytest
import torch

import optsci
from optsci import L1, Entropy, Huber, NegativeLog, Perspective, QuadraticOverLinear, SquaredL2


def points() -> torch.Tensor:
    return 3 * torch.randn(200, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("step", [0.1, 1.3, 20.0])
def test_perspective_of_a_square_is_quadratic_over_linear(step):
    f, g, v = Perspective(SquaredL2(0.7)), QuadraticOverLinear(0.7), points()
    p = g.prox(v, step)
    torch.testing.assert_close(f.prox(v, step), p, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(f(p), g(p))
    assert (f(v), g(v)) == (torch.inf, torch.inf)  # some t are negative


def test_quadratic_over_linear_is_0_exactly_where_the_dual_says():
    # (v, tau)/s lies in the set ||y||^2/(2 w) + r <= 0 of the conjugate.
    v, step, weight = points(), 1.3, 0.7
    inside = (v[:, :3] / step).square().sum(-1) / (2 * weight) + v[:, 3] / step <= 0
    zero = (QuadraticOverLinear(weight).prox(v, step) == 0).all(-1)
    assert torch.equal(zero, inside)
    assert 0 < inside.sum() < len(v)


def test_perspective_of_a_norm_is_the_norm_where_t_is_not_negative():
    v, g = points(), Perspective(L1(0.7))
    expected = torch.cat([L1(0.7).prox(v[:, :3], 1.3), v[:, 3:].clamp(min=0)], -1)
    p = g.prox(v, 1.3)
    torch.testing.assert_close(p, expected)
    torch.testing.assert_close(g(p), L1(0.7)(p[:, :3]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("f", "limit"),
    [
        (L1(0.5), 1.5),
        (Huber(2.0, 0.1), 0.6),
        (NegativeLog(3.0), 0.0),
        (SquaredL2(1e-3), torch.inf),
        (Entropy(1e-3), torch.inf),
    ],
    ids=lambda f: type(f).__name__,
)
def test_at_t_0_stands_the_slope_far_out(f, limit, dtype):
    value = Perspective(f)(torch.tensor([1.0, 2.0, 0.0], dtype=dtype))
    torch.testing.assert_close(value, torch.tensor(limit, dtype=dtype), rtol=1e-5, atol=1e-6)
    assert Perspective(f)(torch.zeros(3, dtype=dtype)) == 0
    assert Perspective(f)(torch.tensor([1.0, 2.0, -0.5], dtype=dtype)) == torch.inf


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1e6, 1e15])
def test_large_and_small_vectors_in_single_precision(scale):
    # The prox is homogeneous in (v, tau, s).
    v = torch.tensor([3.0, -1.0, 0.5])
    expected = scale * QuadraticOverLinear().prox(v, 1.0)
    torch.testing.assert_close(QuadraticOverLinear().prox(scale * v, scale), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("f", [Perspective(SquaredL2(0.7)), QuadraticOverLinear(0.7)], ids=["of a square", "closed"])
def test_each_vector_may_have_its_own_step(f):
    v = points()[:5]
    steps = torch.tensor([[0.1], [0.5], [1.0], [2.0], [9.0]], dtype=torch.float64)
    alone = torch.stack([f.prox(x, step.item()) for x, step in zip(v, steps, strict=True)])
    torch.testing.assert_close(f.prox(v, steps), alone)


@pytest.mark.parametrize(
    ("make", "message", "error"),
    [
        (lambda: QuadraticOverLinear(0), "weight must be finite and positive, got 0.0", ValueError),
        (lambda: QuadraticOverLinear()(torch.ones(1)), "x must be (x, t), of at least two entries", ValueError),
        (lambda: Perspective(L1())(torch.tensor(1.0)), "x must be (x, t), of at least two entries", ValueError),
        (lambda: Perspective(L1()).prox(torch.ones(3), torch.ones(3)), "step of shape (3,) does not", ValueError),
        (lambda: Perspective(abs), "Perspective needs f.prox, but builtin_function_or_method has none", TypeError),
    ],
)
def test_refusals_are_one_sentence(make, message, error):
    with pytest.raises(error, match="^" + re.escape(message)):
        make()


def test_without_a_conjugate_there_is_a_value_but_no_prox():
    assert not hasattr(Perspective(Huber()), "prox")


def test_step_zero_and_an_empty_batch():
    x = torch.tensor([1.0, 2.0, 3.0])
    assert (optsci.Perspective(optsci.L1(1.0)).prox(x, 0.0) == x).all()
    assert optsci.Perspective(optsci.SquaredL2()).prox(torch.zeros(0, 3), 1.0).shape == (0, 3)
