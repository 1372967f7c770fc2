"""What a step of Adapprox is told: the settings of a group, and the rule of its second moment."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import torch
from torch import Tensor

from .rank_growth import AdaptiveRank
from .second_moment import Total, Truncate, alone, svd

Denominator = Callable[[Tensor, Tensor, Tensor], Tensor]


def dense(V: Tensor, Q: Tensor, U: Tensor) -> Tensor:
    """The second moment as it is in this step: the past in low rank, the present exactly."""
    return V


def low_rank(V: Tensor, Q: Tensor, U: Tensor) -> Tensor:
    """The second moment as its factors give it, where that is positive.

    Elsewhere the gradient is divided by eps, and only the clip keeps the update small.
    """
    return torch.bmm(Q, U.mT).clamp_(min=0)


@dataclass(frozen=True)
class Rule:
    """How the second moment is approximated; the same for all parameters."""

    adapt: AdaptiveRank | None = None
    truncate: Truncate = svd
    denominator: Denominator = dense


class Due(Enum):
    """How the factors of a step are found."""

    PASS = "one pass from the last factors"
    REFRESH = "S-RSI from a Gaussian start"
    SEARCH = "S-RSI of the rank that the error asks for"


class Settings(NamedTuple):
    """What the parameters of a group share."""

    lr: float | Tensor
    b1: float
    b2: float
    eps: float
    weight_decay: float
    clip: float
    average_updates: bool
    bias_correction: bool
    guidance: float | None
    oversample: int
    sweeps: int
    refresh_every: int
    maximize: bool
    stochastic_rounding: bool


class Scales(NamedTuple):
    """What the settings come to in one step."""

    fresh: float  # weight of the squares of the gradient
    new: float  # weight of the gradient in its average, negative to climb
    guard: float  # share of the squares of that average which V has at least
    eps: float  # beside the root of V as it is kept, without a correction
    size: float  # of the quotient, for it to be the update
    rate: float  # of the average of updates


def scales_of(settings: Settings, step: int) -> Scales:
    """The corrections of bias, and where they go."""
    corrects = settings.bias_correction
    first, second = (1 - b**step if corrects else 1.0 for b in (settings.b1, settings.b2))
    of_updates = settings.average_updates or settings.b1 == 0
    new = 1 - settings.b1
    return Scales(
        1 - settings.b2,
        -new if settings.maximize else new,
        (1 - settings.b2) / first**2,
        settings.eps * math.sqrt(second),
        math.sqrt(second) / (1.0 if of_updates else first),
        1 / first if of_updates else 1.0,
    )


class Where(NamedTuple):
    """Which matrices these are, where this process has a part of them."""

    indices: Tensor  # (B,) of the parameters
    step: int  # from 1
    numel: int  # of one whole matrix
    first_row: int = 0  # of the part here
    total: Total = alone
