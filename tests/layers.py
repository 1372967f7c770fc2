"""Synthetic linear layers for the tests of compression."""

from __future__ import annotations

import torch
from torch import Tensor

from optsci.compress import GramAccumulator, LayerProblem


def inputs(n: int, tokens: int, *, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Correlated inputs (tokens, n) with a few outlier channels, as transformer layers have."""
    generator = torch.Generator().manual_seed(seed)
    low = torch.randn(tokens, max(n // 2, 1), generator=generator, dtype=dtype)
    mix = torch.randn(max(n // 2, 1), n, generator=generator, dtype=dtype)
    x = 0.3 * low @ mix + 0.5 * torch.randn(tokens, n, generator=generator, dtype=dtype)
    scale = (0.6 * torch.randn(n, generator=generator, dtype=dtype)).exp()
    scale[:: max(n // 3, 1)] *= 10
    return x * scale


def layer(
    m: int,
    n: int,
    *,
    tokens: int = 400,
    seed: int = 0,
    shift: float = 0.0,
    dtype: torch.dtype = torch.float64,
) -> tuple[LayerProblem, Tensor, Tensor]:
    """A layer problem and its inputs: (problem, X* (tokens, n), X (tokens, n)); ``shift`` sets X* apart from X."""
    x = inputs(n, tokens, seed=seed, dtype=dtype)
    generator = torch.Generator().manual_seed(seed + 1)
    weight = 0.05 * torch.randn(m, n, generator=generator, dtype=dtype)
    seen = x + shift * x.std(0) * torch.randn(tokens, n, generator=generator, dtype=dtype)
    statistics = GramAccumulator()
    for part in range(0, tokens, 150):  # unequal batches
        rows = slice(part, part + 150)
        statistics.add(seen[rows], x[rows] if shift else None)
    return statistics.problem(weight), seen, x
