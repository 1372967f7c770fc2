"""The settings of the paper."""

from __future__ import annotations

from typing import Any

from .rank_growth import AdaptiveRank
from .second_moment import columns


def as_published() -> dict[str, Any]:
    """The settings of the paper, as far as they are known: ``Adapprox(parameters, lr, **as_published())``.

    The step is that of a public summary; that ranks go up to a quarter of the smaller dimension is inferred from the
    memory that is published; how the rank is searched, and the clip, are from memory.

    Example:
        >>> import torch
        >>> from optsci.optim import Adapprox
        >>> optimizer = Adapprox(torch.nn.Linear(64, 64).parameters(), lr=1e-3, **as_published())
        >>> optimizer.defaults["rank"]
        0.25
    """
    return {
        "rank": 0.25,
        "adapt": AdaptiveRank(),
        "clip": 1.0,
        "average_updates": True,
        "bias_correction": False,
        "refresh_every": 1,
        "truncate": columns,
    }
