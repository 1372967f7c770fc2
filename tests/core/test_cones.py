"""Cones: the polar identity, the dual cones in closed form, the four cases of the exponential cone."""

from __future__ import annotations

import math
import re

import pytest
import torch

from optsci import ExponentialCone, Nonpositive, PolarCone, SecondOrderCone


def triples(count: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Of all magnitudes and signs, some entries 0."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    x = x * 10 ** (4 * torch.randn(count, 3, generator=generator, dtype=torch.float64))
    return (x * (torch.rand(count, 3, generator=generator) < 0.9)).to(dtype)


@pytest.mark.parametrize("cone", [SecondOrderCone(), ExponentialCone(), Nonpositive()], ids=lambda f: type(f).__name__)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_vector_splits_into_orthogonal_parts_of_the_cone_and_of_its_polar(cone, dtype):
    x = triples(5000, dtype)
    p = cone.prox(x, 1.0)
    size = torch.linalg.vector_norm(x, dim=-1)
    eps = torch.finfo(dtype).eps
    assert (((p * (x - p)).sum(-1)).abs() <= 20 * eps * size**2).all()
    assert cone(p) == 0
    assert cone.conjugate(cone.conjugate.prox(x, 1.0)) == 0
    generator = torch.Generator().manual_seed(1)
    others = cone.prox(3 * torch.randn(100, 1, 3, generator=generator, dtype=torch.float64).to(dtype), 1.0)
    assert (((x - p) * others).sum(-1) <= 20 * eps * size * torch.linalg.vector_norm(others, dim=-1)).all()


def test_the_rest_of_a_projection_on_the_exponential_cone_lies_in_the_polar_cone_by_its_formula():
    x = 3 * torch.randn(5000, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    # The dual cone, which is opposite, is the closure of -a exp(b/a) <= e c, a < 0.
    a, b, c = (ExponentialCone().prox(x, 1.0) - x).unbind(-1)
    assert (a <= 1e-14).all()
    assert (c >= -1e-14).all()
    curved = (a < -1e-3) & (c > 1e-3)
    assert curved.sum() > 1000
    assert ((-a).log() + b / a <= 1 + c.log() + 1e-8)[curved].all()
    r, s, t = ExponentialCone().prox(x, 1.0).unbind(-1)
    assert (s >= 0).all()
    assert (s * (r / s.clamp(min=1e-300)).clamp(max=700).exp() <= t + 1e-12).all()


def test_the_cases_of_the_exponential_cone():
    cone, e = ExponentialCone(), math.e
    x = torch.tensor(
        [
            [0, 1, 1],
            [-1, 0, 0],
            [-3, 1e-9, 0],
            [1, 1, 2 * e],
            [1, 0, -1 / e],
            [1, 5, -(e**5)],
            [-2, -3, -4],
            [-2, 0, 3],
        ],
        dtype=torch.float64,
    )
    expected = x.clone()
    expected[4:6] = 0
    expected[6] = torch.tensor([-2.0, 0, 0])
    torch.testing.assert_close(cone.prox(x, 1.0), expected, rtol=0, atol=2e-9)
    assert torch.equal(cone.prox(x[[1, 3, 4, 6, 7]], 1.0), expected[[1, 3, 4, 6, 7]])


@pytest.mark.parametrize(
    "x", [[1e-300, -1, 1], [1e-300, 1, -1], [-1e-300, 1, -1], [1e308, 1e308, -1e308], [5e-324] * 3]
)
def test_exponents_that_overflow_do_not(x):
    x = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    p = ExponentialCone().prox(x, 1.0)
    (gradient,) = torch.autograd.grad(p.sum(), x)
    assert p.isfinite().all()
    assert gradient.isfinite().all()
    scale = x.detach().abs().max()
    y, q = x.detach() / scale, p.detach() / scale
    assert abs((q * (y - q)).sum()) < 1e-14
    assert ExponentialCone()(q) == 0


def test_the_polar_of_the_second_order_cone_is_the_opposite_cone():
    x = triples(1000)
    expected = -SecondOrderCone().prox(-x, 1.0)
    torch.testing.assert_close(SecondOrderCone().conjugate.prox(x, 1.0), expected, rtol=1e-12, atol=1e-9)


def test_a_point_off_the_cone_by_more_than_rounding_is_outside():
    for f in (SecondOrderCone(), PolarCone(SecondOrderCone())):
        v = torch.tensor([[0.3, 2.0, -1.0]], dtype=torch.float64)
        p = f.prox(v, 1.0)
        assert f(p + 1e-12 * (v - p)) == torch.inf


@pytest.mark.parametrize(
    ("cone", "x", "message"),
    [
        (SecondOrderCone(), torch.ones(()), "x must be a vector (t, x), or a batch of them, got shape ()"),
        (SecondOrderCone(), torch.ones(2, 0), "x must be a vector (t, x), or a batch of them, got shape (2, 0)"),
        (ExponentialCone(), torch.ones(2, 4), "x must hold triples (r, s, t) along its last dimension, got"),
    ],
)  # fmt: skip
def test_they_refuse_in_one_sentence(cone, x, message):
    for use in (cone, lambda x: cone.prox(x, 1.0)):
        with pytest.raises(ValueError, match="^" + re.escape(message)):
            use(x)
    with pytest.raises(TypeError, match=r"^PolarCone needs cone\.prox, but int has none"):
        PolarCone(3)
