"""SLOPE of long vectors, of which only the leading entries are sorted, against a full sort."""

from __future__ import annotations

import pytest
import torch

from optsci import SLOPE
from optsci.functions.isotonic import isotonic_regression

N = 6000


def sorted_throughout(x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    u, order = x.abs().sort(descending=True)
    z = (-isotonic_regression(weights - u)).clamp(min=0)
    return x.sign() * torch.zeros_like(x).scatter(-1, order, z)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [0.0, 0.01, 0.5, 1.0, 10.0])
@pytest.mark.parametrize("digits", [0, 6])
def test_long_vectors_agree_with_a_full_sort(dtype, scale, digits):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, N, generator=generator, dtype=torch.float64).round(decimals=digits).to(dtype)
    weights = torch.rand(N, generator=generator, dtype=torch.float64).sort(descending=True).values.to(dtype)
    g = SLOPE(2 * weights)
    expected = torch.stack([sorted_throughout(row, scale * 2 * weights) for row in x])
    torch.testing.assert_close(g.prox(x, scale), expected)
    torch.testing.assert_close(torch.vmap(lambda v: g.prox(v, scale))(x), expected)


def test_derivative_and_steps_of_long_vectors():
    x = torch.randn(2, N, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    weights = torch.linspace(2, 0, N, dtype=torch.float64)
    step = torch.tensor([[0.4], [0.9]], dtype=torch.float64)
    expected = torch.stack([sorted_throughout(row, s * weights) for row, s in zip(x, step, strict=True)])
    found = SLOPE(weights).prox(x, step)
    torch.testing.assert_close(found, expected)
    cotangent = torch.randn(2, N, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (a,), (b,) = (torch.autograd.grad(p, x, cotangent) for p in (found, expected))
    torch.testing.assert_close(a, b)


def test_nan_spoils_its_long_vector_and_no_other():
    x = torch.ones(2, N)
    x[0, 7] = torch.nan
    p = SLOPE(torch.linspace(0.5, 0, N)).prox(x, 1.0)
    assert p[0].isnan().all()
    torch.testing.assert_close(p[1], torch.full((N,), 0.75))
