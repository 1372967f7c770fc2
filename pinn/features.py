r"""Features: fixed functions of the points that a network sees in their place, ``nn.Sequential(features, MLP(…))``.

Sources: random Fourier features of coordinates are those of Tancik et al., "Fourier features let networks learn high
frequency functions in low dimensional domains" (arXiv 2006.10739).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .derivatives import Jet
from .networks import cosine, entrywise, require_coordinates, sine


class FourierFeatures(nn.Module):
    r"""Random Fourier features, :math:`x \mapsto (\cos Bx, \sin Bx)` with normal entries of B.

    Args:
        inputs: d.
        count: rows of B; there are twice as many features.
        scale: standard deviation of the entries of B: frequencies of that size are learnt first.
        seed: of B.
        dtype: of points and features.

    >>> features = FourierFeatures(2, 16, scale=3.0)
    >>> features.outputs, features(torch.zeros(5, 2, dtype=torch.float64)).shape
    (32, torch.Size([5, 32]))
    """

    def __init__(
        self, inputs: int, count: int, scale: float = 1.0, seed: int = 0, *, dtype: torch.dtype = torch.float64
    ) -> None:
        super().__init__()
        if min(inputs, count) < 1:
            raise ValueError(f"inputs and count must be at least 1, got {inputs} and {count}")
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(f"scale must be finite and positive, got {scale}")
        random = torch.Generator().manual_seed(seed)
        self.register_buffer(
            "frequencies", (scale * torch.randn(count, inputs, generator=random, dtype=torch.float64)).to(dtype)
        )
        self.frequencies: Tensor
        self.outputs = 2 * count

    def forward(self, x: Tensor) -> Tensor:
        require_coordinates(x, self.frequencies.shape[1])
        phase = x @ self.frequencies.T
        return torch.cat((phase.cos(), phase.sin()), 1)

    def jet(self, of: Jet) -> Jet:
        """Carry a jet through the features."""
        require_coordinates(of.value, self.frequencies.shape[1])
        phase = Jet(*(part @ self.frequencies.T for part in of))
        return side_by_side(entrywise(cosine, phase), entrywise(sine, phase))


class PeriodicFeatures(nn.Module):
    r"""Coordinates on circles: every function of these features is periodic, with all its derivatives.

    A coordinate of period P becomes :math:`\cos(2\pi x / P)` and :math:`\sin(2\pi x / P)`.  First come the coordinates
    without a period, then cosines, then sines.

    Args:
        periods: for every dimension its period, or None where it has none.
        dtype: of points and features.

    >>> features = PeriodicFeatures([1.0, None])
    >>> x = torch.tensor([[0.2, 3.0], [7.2, 3.0]], dtype=torch.float64)
    >>> bool(torch.allclose(*features(x)))
    True
    """

    def __init__(self, periods: Sequence[float | None], *, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        given = [p for p in periods if p is not None]
        if not given:
            raise ValueError(f"periods must hold at least one number, got {list(periods)}")
        if not all(math.isfinite(p) and p > 0 for p in given):
            raise ValueError(f"periods must be finite and positive, or None, got {list(periods)}")
        self.periodic = [j for j, p in enumerate(periods) if p is not None]
        self.other = [j for j, p in enumerate(periods) if p is None]
        self.register_buffer("frequencies", torch.tensor([2 * math.pi / p for p in given], dtype=dtype))
        self.frequencies: Tensor
        self.outputs = len(self.other) + 2 * len(given)

    def forward(self, x: Tensor) -> Tensor:
        require_coordinates(x, len(self.periodic) + len(self.other))
        phase = x[:, self.periodic] * self.frequencies
        return torch.cat((x[:, self.other], phase.cos(), phase.sin()), 1)

    def jet(self, of: Jet) -> Jet:
        """Carry a jet through the features."""
        require_coordinates(of.value, len(self.periodic) + len(self.other))
        phase = Jet(*(part[..., self.periodic] * self.frequencies for part in of))
        others = Jet(*(part[..., self.other] for part in of))
        return side_by_side(others, entrywise(cosine, phase), entrywise(sine, phase))


def side_by_side(*jets: Jet) -> Jet:
    """Return the jet of all functions together."""
    return Jet(*(torch.cat(part, -1) for part in zip(*jets, strict=True)))
