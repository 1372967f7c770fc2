r"""Values of the solution of an elliptic problem at a few points, with error bars, by the formula of Feynman and Kac.

.. math:: u(x) = \mathbb E\Bigl[ g(X_\tau) D_\tau + \int_0^\tau f(X_t) D_t\, dt \Bigr],
   \qquad D_t = e^{-\int_0^t c(X_s) ds}

A label is the mean over paths that start at its point, and its standard error.  Labels of different points have
different paths and are independent.

A path owns its random numbers, and paths are averaged in their order: the result has the same bits for any number of
threads and for any executor.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .domain_protocol import points_of
from .problems import Problem
from .random_walks import EulerMaruyama, Method, WalkOnSpheres, check_method, default_method, majorant, prepared, walker

CHUNK = 1024  # paths of a point that are averaged together
UNIT = 2**15  # paths that a worker runs at a time


@dataclass(frozen=True)
class Labels:
    """Values of u at points, and how far to trust them."""

    points: Tensor
    """(n, d)"""
    mean: Tensor
    """(n, 1), without the paths that were broken off"""
    stderr: Tensor
    """(n, 1), the standard error of the mean; it knows nothing of the error of the time steps"""
    capped: Tensor
    """(n, 1), the fraction of paths broken off: where it is not 0 the mean is that of the other, shorter paths"""
    paths: int
    method: str

    def __repr__(self) -> str:
        return (
            f"Labels({len(self.mean)} points, {self.paths} paths each, largest standard error "
            f"{self.stderr.max().item():.2g}, {self.capped.mean().item():.2%} capped, {self.method})"
        )


def labels(
    problem: Problem,
    points: Any,
    *,
    paths: int,
    method: Method | None = None,
    seed: int = 0,
    executor: Executor | None = None,
    progress: bool = False,
) -> Labels:
    """Estimate u at points by averages over random paths.

    Args:
        problem: see :class:`Problem`.
        points: (n, d), inside the domain.
        paths: for every point.
        method: :class:`WalkOnSpheres` or :class:`EulerMaruyama`; unless given, see :func:`default_method`.
        seed: of all random numbers, 0 to 2^63 - 1.
        executor: where to run them, anything with a ``map`` as in ``concurrent.futures``; as many threads as torch has
            unless given.  Processes must be able to unpickle the problem: its coefficients must be functions of a
            module, or numbers.
        progress: show a progress bar (only on a terminal).

    Raises:
        ValueError: points lie outside of the domain, or a number of paths or a seed is out of range.
        TypeError: Numba cannot compile a coefficient; the message ends with Numba's reason.
        ArithmeticError: a path met a number that is not finite.

    >>> from optsci.pinn import Ball, MeanExitTime
    >>> found = labels(MeanExitTime(Ball(dim=2)), [[0.0, 0.0]], paths=10000, method=EulerMaruyama(dt=1e-2))
    >>> abs(found.mean.item() - 0.5) < 5 * found.stderr.item() + 0.005
    True
    """
    x = points_of(points, problem.domain.dim).detach().cpu().double()
    check_points(problem, x)
    method = default_method(problem) if method is None else method
    check_method(problem, method)
    if paths < 1 or (_group(method) == 2 and paths % 2):
        raise ValueError(f"paths must be at least 1, and even in antithetic pairs, got {paths}")
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed must be between 0 and 2^63 - 1, got {seed}")
    starts = np.ascontiguousarray(x.numpy())
    at_starts = np.concatenate(
        [problem.domain.distance(x).numpy(), *(problem.values(name, x).numpy() for name in ("source", "killing"))], 1
    )
    prepared(problem)  # complain before any process is started
    bounds = _bounds(len(starts) * paths, paths)
    work = partial(_run, problem, starts, at_starts, paths, method, seed)
    with _pool(executor) as pool:
        results = pool.map(work, bounds[:-1], bounds[1:])
        parts = list(_shown(results, len(bounds) - 1, progress))
    sums = np.concatenate(parts)  # (chunks, 4): number, mean, sum of squared deviations, capped
    sums = sums.reshape(len(starts), -1, 4)
    number, capped = sums[:, :, 0].sum(1), sums[:, :, 3].sum(1)
    if (number < 2).any():
        raise ArithmeticError(
            f"of the {paths} paths from point {int(number.argmin())} fewer than two came to an end within "
            f"{method.steps} steps: take more, or longer ones"
        )
    mean = (sums[:, :, 0] * sums[:, :, 1]).sum(1) / number
    squares = (sums[:, :, 2] + sums[:, :, 0] * (sums[:, :, 1] - mean[:, None]) ** 2).sum(1)
    stderr = np.sqrt(squares / (number - 1) / number)
    columns = [torch.from_numpy(column).unsqueeze(1) for column in (mean, stderr, capped / paths)]
    return Labels(x, columns[0], columns[1], columns[2], paths, str(method))


def check_points(problem: Problem, x: Tensor) -> None:
    """Refuse points that are not inside of the domain and its reflecting box."""
    outside = ~problem.region.contains(x)
    if outside.any():
        raise ValueError(
            f"points must lie inside the domain, {int(outside.sum())} do not; the first is {x[outside][0].tolist()}"
        )


def _group(method: Method) -> int:
    """Paths whose mean is one observation."""
    return 2 if isinstance(method, EulerMaruyama) and method.antithetic else 1


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
    method: Method,
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
    group = _group(method)
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
