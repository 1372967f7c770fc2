"""Total variation of images: the stated accuracy, and the images whose prox is known."""

from __future__ import annotations

import math
import re

import pytest
import torch

from optsci import TotalVariation1D, TotalVariation2D


def noisy_edge(*shape: int) -> torch.Tensor:
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return 0.3 * noise + (torch.arange(shape[-1]) > shape[-1] // 2)


@pytest.mark.parametrize("weight", [0.1, 0.7, 3.0])
@pytest.mark.parametrize("iterations", [20, 100, 200])
def test_error_stays_below_the_stated_bound(weight, iterations):
    # The value of the prox objective exceeds its least by ||p - p*||^2 / 2 or more, so the long run bounds the error.
    x = noisy_edge(8, 6)
    p, best = (TotalVariation2D(weight, k).prox(x, 1.0) for k in (iterations, 2000))
    norm = 2 * math.sqrt(math.cos(math.pi / 16) ** 2 + math.cos(math.pi / 12) ** 2)
    error = (p - best).square().mean().sqrt()
    assert 1e-12 < error <= 2 * norm * weight / (iterations + 1)


def test_optimality_condition_of_a_long_run():
    # g(z) >= g(p) + <x - p, z - p> for all z, with equality for z = 0 and z = 2 p as g is a norm up to constants.
    x, g = noisy_edge(6, 5), TotalVariation2D(0.3, 2000)
    p = g.prox(x, 1.0)
    torch.testing.assert_close(((x - p) * p).sum(), g(p), rtol=0, atol=1e-9)
    others = torch.randn(50, 6, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for z in (*others, *(p + 0.01 * others)):
        assert ((x - p) * z).sum() <= g(z) + 1e-9


def test_one_row_or_column_is_a_sequence():
    x = noisy_edge(1, 6)
    expected = TotalVariation1D(0.2).prox(x, 1.0)
    torch.testing.assert_close(TotalVariation2D(0.2, 1000).prox(x, 1.0), expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(TotalVariation2D(0.2, 1000).prox(x.mT, 1.0).mT, expected, rtol=0, atol=1e-9)


def test_value_is_the_sum_of_the_lengths_of_the_differences():
    x, total = noisy_edge(3, 4), 0.0
    for i in range(3):
        for j in range(4):
            down = x[i + 1, j] - x[i, j] if i < 2 else 0.0
            right = x[i, j + 1] - x[i, j] if j < 3 else 0.0
            total += math.hypot(down, right)
    assert TotalVariation2D(2.0)(x).item() == pytest.approx(2 * total, rel=1e-14)


def test_prox_keeps_the_mean_and_a_pixel_and_no_weight_changes_nothing():
    x = noisy_edge(8, 8)
    torch.testing.assert_close(TotalVariation2D(0.5).prox(x, 1.0).mean(), x.mean())
    torch.testing.assert_close(TotalVariation2D(50.0, 1000).prox(x, 1.0), x.mean().expand(8, 8), rtol=0, atol=1e-6)
    assert torch.equal(TotalVariation2D(0.5).prox(x[:1, :1], 1.0), x[:1, :1])
    assert torch.equal(TotalVariation2D(0.0).prox(x, 1.0), x)


def test_step_may_differ_from_image_to_image():
    x = noisy_edge(3, 4, 5)
    p = TotalVariation2D(0.7, 30).prox(x, torch.tensor([0.0, 0.5, 9.0], dtype=x.dtype).reshape(3, 1, 1))
    for k, step in enumerate((0.0, 0.5, 9.0)):
        torch.testing.assert_close(p[k], TotalVariation2D(0.7, 30).prox(x[k], step))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TotalVariation2D(-1), "weight must be finite and at least 0, got -1.0"),
        (lambda: TotalVariation2D(1, 0), "iterations must be a whole number, at least 1, got 0"),
        (lambda: TotalVariation2D(1, 1.5), "iterations must be a whole number, at least 1, got 1.5"),
        (lambda: TotalVariation2D()(torch.ones(3)), "x must have at least two dimensions"),
        (
            lambda: TotalVariation2D().prox(torch.ones(2, 3), torch.ones(2, 1)),
            "step of shape (2, 1) does not broadcast",
        ),
    ],
)
def test_refusals_are_one_sentence(make, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        make()
