r"""Multilevel Monte Carlo for exit times: most paths with long steps, few with short ones.

.. math::

   \mathbb E\, Z_L = \mathbb E\, Z_0 + \sum_{l=1}^{L} \mathbb E\,[Z_l - Z_{l-1}], \qquad dt_l = 4^{-l} dt

Z_l is what a path in steps of dt_l collects; the two paths of a pair have the same noise.  The number of pairs on a
level is proportional to :math:`\sqrt{V_l / C_l}`, variance and cost (Giles 2008).  The exit is noticed by the shift of
the boundary, for which the bias falls like dt: what is missing is a third of the last correction.

For exit times see Giles and Bernal, arXiv 1710.07492.  They also split the path that is left when the other of its pair
is gone, which is not done here.
"""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .averages import Averages, averages
from .problems import Problem
from .random_walks import Correction, EulerMaruyama, Walk

PILOT = 2**11  # paths on a new level, for its variance
RATIO = 4  # of the steps of two levels


@dataclass(frozen=True)
class Multilevel:
    """Euler-Maruyama paths on levels of steps dt, dt/4, dt/16, …, with shifted boundary, to a given standard error.

    Args:
        dt: the longest step; the drift must allow it.
        levels: how many corrections at most; a level is added while the bias is estimated above the standard error.
        steps: a path is broken off after so many steps, and counted in ``capped``.
    """

    dt: float
    levels: int = 6
    steps: int = 10**7

    def __post_init__(self) -> None:
        if not (np.isfinite(self.dt) and self.dt > 0):
            raise ValueError(f"dt must be a positive number, got {self.dt}")
        if self.levels < 1:
            raise ValueError(f"levels must be at least 1, got {self.levels}")
        if self.steps < RATIO:
            raise ValueError(f"steps must be at least {RATIO}, got {self.steps}")

    def walk(self, level: int) -> Walk:
        """What is run on a level."""
        return Correction(self.dt / RATIO**level, self.steps) if level else EulerMaruyama(self.dt, steps=self.steps)


class Total(NamedTuple):
    """The sum over the levels, at every point."""

    mean: np.ndarray  # (points,)
    stderr: np.ndarray  # (points,)
    bias: np.ndarray  # (points,) an estimate of the error of the steps that remains
    capped: np.ndarray  # (points,) the largest fraction of a level
    numbers: list[int]  # of paths, or pairs, on the levels


def multilevel(
    problem: Problem,
    starts: np.ndarray,
    stderr: float,
    method: Multilevel,
    seed: int,
    executor: Executor | None = None,
    progress: bool = False,
) -> Total:
    """Estimate u at the starts (points, d) to a standard error.

    The levels have the same numbers of paths at all points, those that the worst one needs.
    """
    levels: list[Averages] = []
    batches = 0

    def more(level: int, paths: int) -> Averages:
        own = int(np.random.SeedSequence([seed, batches]).generate_state(1, np.uint64)[0] >> 1)
        return averages(problem, starts, paths, method.walk(level), own, executor, progress)

    while True:
        lacking = {level: n for level, n in enumerate(allocation(levels, stderr)) if n > 0}
        for level, n in lacking.items():
            levels[level], batches = levels[level].merged(more(level, n)), batches + 1
        if lacking:
            continue
        if len(levels) > 1 and (remaining_bias(levels).max() <= stderr or len(levels) > method.levels):
            break
        levels, batches = [*levels, more(len(levels), PILOT)], batches + 1
    variance = sum(level.stderr**2 for level in levels)
    capped = np.max([level.capped for level in levels], axis=0)
    numbers = [round(level.number.max() / (1 - level.capped.min())) for level in levels]
    mean = np.sum([level.mean for level in levels], axis=0)
    return Total(mean, np.sqrt(variance), remaining_bias(levels), capped, numbers)


def allocation(levels: list[Averages], stderr: float) -> list[int]:
    """How many paths each level lacks, those of no account left out."""
    if not levels:
        return []
    cost = np.array([1.0, *(RATIO**level + RATIO ** (level - 1) for level in range(1, len(levels)))])
    variance = np.array([level.variance for level in levels])  # (levels, points)
    needed = np.sqrt(variance / cost[:, None]) * np.sqrt(variance * cost[:, None]).sum(0) / stderr**2
    lacking = np.ceil((needed - np.array([level.number for level in levels])).max(1))
    # A batch of a few per cent would change its neighbours' share by as much again, and so on.
    return [int(n) if n > 0.02 * level.number.min() else 0 for n, level in zip(lacking, levels, strict=True)]


def remaining_bias(levels: list[Averages]) -> np.ndarray:
    """A third of the last correction, or of a quarter of the one before where that is larger."""
    corrections = [abs(level.mean) for level in levels[1:]][-2:]
    last = corrections[-1]
    return (last if len(corrections) < 2 else np.maximum(last, corrections[0] / RATIO)) / (RATIO - 1)
