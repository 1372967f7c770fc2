"""Averages over random walks that have the same bits, whoever runs the walks.

A path owns its random numbers, and paths are averaged in their order, a chunk of them at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from .problems import Problem
from .random_walks import Walk, WalkOnSpheres, group_of, majorant, walker

CHUNK = 1024  # paths of a point that are averaged together
UNIT = 2**15  # paths that a worker runs at a time


class Averages(NamedTuple):
    """Of the walks from every point."""

    mean: np.ndarray  # (n,) for n points, without the walks that were broken off
    variance: np.ndarray  # (n,) of one observation: a walk, or an antithetic pair
    number: np.ndarray  # (n,) of observations
    capped: np.ndarray  # (n,) the fraction of walks broken off

    @property
    def stderr(self) -> np.ndarray:
        """(points,) the standard error of the mean."""
        return np.sqrt(self.variance / self.number)

    def merged(self, other: Averages) -> Averages:
        """Of these walks and of others, together."""
        number = self.number + other.number
        step = other.mean - self.mean
        squares = (
            self.variance * (self.number - 1)
            + other.variance * (other.number - 1)
            + step**2 * self.number * other.number / number
        )
        capped = (self.capped * self.number + other.capped * other.number) / number
        return Averages(self.mean + step * other.number / number, squares / (number - 1), number, capped)


def averages(
    problem: Problem,
    starts: np.ndarray,
    paths: int,
    method: Walk,
    seed: int,
    executor: Executor | None = None,
    progress: bool = False,
) -> Averages:
    """Run walks from the starts (points, d), so many from each, and average what they collect.

    Raises:
        ArithmeticError: a walk met a number that is not finite, or too few came to an end.
    """
    x = torch.from_numpy(starts)
    at_starts = np.concatenate(
        [problem.domain.distance(x).numpy(), *(problem.values(name, x).numpy() for name in ("source", "killing"))], 1
    )
    walker(problem, method)  # kept: threads that all built it at their first unit would compile it several times
    bounds = _bounds(len(starts) * paths, paths)
    work = partial(_run, problem, starts, at_starts, paths, method, seed)
    with _pool(executor) as pool:
        parts = list(_shown(pool.map(work, bounds[:-1], bounds[1:]), len(bounds) - 1, progress))
    sums = np.concatenate(parts).reshape(len(starts), -1, 4)  # number, mean, sum of squared deviations, capped
    number, capped = sums[:, :, 0].sum(1), sums[:, :, 3].sum(1)
    if (number < 2).any():
        raise ArithmeticError(
            f"of the {paths} paths from point {int(number.argmin())} fewer than two came to an end within "
            f"{method.steps} steps: take more, or longer ones"
        )
    mean = (sums[:, :, 0] * sums[:, :, 1]).sum(1) / number
    squares = (sums[:, :, 2] + sums[:, :, 0] * (sums[:, :, 1] - mean[:, None]) ** 2).sum(1)
    return Averages(mean, squares / (number - 1), number, capped / paths)


def _bounds(total: int, paths: int) -> list[int]:
    """Numbers of the first paths of the units, each of whole chunks, and the end."""
    chunks = (point + first for point in range(0, total, paths) for first in range(0, paths, CHUNK))
    unit = min(UNIT, -(-total // (os.cpu_count() or 1)))
    bounds = [0]
    for first in chunks:
        if first - bounds[-1] >= unit:
            bounds.append(first)
    return [*bounds, total]


def _run(
    problem: Problem,
    starts: np.ndarray,
    at_starts: np.ndarray,
    paths: int,
    method: Walk,
    seed: int,
    first: int,
    last: int,
) -> np.ndarray:
    """Number, mean, squared deviations and broken-off paths of every chunk between two numbers of paths.

    at_starts: (points, 3), distance, source and killing.
    """
    from ._kernels.euler import BROKEN, DONE, EXCEEDED

    values, status = np.empty(last - first), np.empty(last - first, np.int8)
    walker(problem, method)(starts, at_starts, paths, seed, first, values, status)
    if isinstance(method, WalkOnSpheres) and (status == EXCEEDED).any():
        raise ArithmeticError(
            f"a walk found a killing above the majorant {majorant(problem, method):g}: give a larger one, or use "
            "EulerMaruyama"
        )
    if (status == BROKEN).any():
        number = first + int(np.argmax(status == BROKEN))
        raise ArithmeticError(
            f"a path from point {number // paths}, {starts[number // paths].tolist()}, met a number that is not "
            f"finite: a coefficient is not finite on its way, or grows too fast for this method ({method})"
        )
    group = group_of(method)
    rows, begin = [], 0
    while begin < len(values):
        end = min(begin + min(CHUNK, paths - (first + begin) % paths), len(values))
        done = (status[begin:end] == DONE).reshape(-1, group).all(1)
        value = values[begin:end].reshape(-1, group).mean(1)[done]
        mean = value.mean() if len(value) else 0.0
        rows.append((len(value), mean, ((value - mean) ** 2).sum(), group * np.sum(~done)))
        begin = end
    return np.array(rows, dtype=np.float64)


@contextmanager
def _pool(executor: Executor | None) -> Iterator[Executor]:
    """The executor given, or threads of ours, which stop at the first error."""
    if executor is not None:
        yield executor
        return
    pool = ThreadPoolExecutor(torch.get_num_threads(), "optsci-paths")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _shown(results: Iterator[np.ndarray], total: int, shown: bool) -> Iterator[np.ndarray]:
    if not shown:
        return results
    from tqdm import tqdm

    return iter(tqdm(results, total=total, unit="unit", desc="paths", disable=None))
