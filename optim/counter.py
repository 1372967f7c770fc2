r"""Random numbers without a state: a hash of (which parameter, which step, which number).

.. math:: x = h\bigl(h(i + a) + b\bigr), \qquad a = h(\mathtt{index} + 1), \quad b = h(a + \mathtt{step})

Two processes agree without a word, and a run that was broken off goes on with the numbers it would have seen.

Source: the 32-bit finaliser with the constants 0x21f0aaad and 0x735a2d97, found by search (C. Wellons, Prospecting for
hash functions, 2018, and its readers); Box and Muller, Ann. Math. Stat. 29 (1958) 610.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MASK = 0xFFFFFFFF


def uniform_bits(indices: Tensor, step: int, count: int, first: int = 0) -> Tensor:
    """32 random bits as int64, (B, count), for the parameters ``indices`` (B,) at a step.

    Args:
        indices: (B,) int64, one stream each.
        step: whole; not a tensor, for which a device would be waited for.
        count: how many numbers.
        first: place of the first one in its stream.

    Example:
        >>> one = uniform_bits(torch.tensor([3, 4]), 7, 5)
        >>> bool((one[:, 2:] == uniform_bits(torch.tensor([3, 4]), 7, 3, first=2)).all())
        True
    """
    a = _hash(indices + 1)[:, None]
    b = _hash(a + step)
    numbers = torch.arange(first, first + count, device=indices.device)
    return _hash(_hash((numbers + a) & MASK) + b & MASK)


def gaussian(indices: Tensor, step: int, rows: int, columns: int) -> Tensor:
    """Standard normal numbers, (B, rows, columns) in single precision; see ``uniform_bits``.

    Example:
        >>> bool(abs(gaussian(torch.tensor([0]), 1, 100, 100).mean()) < 0.05)
        True
    """
    half = (columns + 1) // 2
    bits = uniform_bits(indices, step, 2 * rows * half).view(len(indices), 2, rows, half)
    u = (bits.to(torch.float32) + 0.5) * 2.0**-32  # never 0
    radius, angle = (-2 * u[:, 0].log()).sqrt(), 2 * math.pi * u[:, 1]
    return torch.cat([radius * angle.cos(), radius * angle.sin()], -1)[..., :columns]


def round_stochastically(x: Tensor, bits: Tensor) -> Tensor:
    r"""bfloat16 neighbours of x, the upper one with the probability that makes x the mean.

    .. math:: \Pr[\text{up}] = \frac{x - \lfloor x \rfloor}{\lceil x \rceil - \lfloor x \rfloor}

    Round to nearest loses a step that is less than half the spacing of the weights, 2^-9 of them; this keeps it in the
    mean.

    Args:
        x: float32.
        bits: of the size of x, random in the lowest 16 bits.

    Example:
        >>> x = torch.full((1, 1000), 1.001)
        >>> rounded = round_stochastically(x, uniform_bits(torch.tensor([0]), 0, 1000)).float()
        >>> rounded.unique(), bool(abs(rounded.mean() - 1.001) < 5e-4)
        (tensor([1.0000, 1.0078]), True)
    """
    low = (bits & 0xFFFF).to(torch.int32).view(x.shape)
    raised = (x.contiguous().view(torch.int32) + low) & -0x10000
    return torch.where(x.isfinite(), raised.view(torch.float32), x).to(torch.bfloat16)


def _hash(x: Tensor) -> Tensor:
    """A permutation of 32-bit numbers; both factors are below 2^31, so that no product leaves int64."""
    x = x & MASK
    x = ((x ^ (x >> 16)) * 0x21F0AAAD) & MASK
    x = ((x ^ (x >> 15)) * 0x735A2D97) & MASK
    return x ^ (x >> 15)
