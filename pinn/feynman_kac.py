r"""Values of the solution of an elliptic problem at a few points, with error bars, by the formula of Feynman and Kac.

.. math:: u(x) = \mathbb E\Bigl[ g(X_\tau) D_\tau + \int_0^\tau f(X_t) D_t\, dt \Bigr],
   \qquad D_t = e^{-\int_0^t c(X_s) ds}

A label is the mean over paths that start at its point, and its standard error.  Labels of different points have
different paths and are independent.

A path owns its random numbers, and paths are averaged in their order: the result has the same bits for any number of
threads and for any executor.
"""

from __future__ import annotations

import math
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .averages import averages
from .domain_protocol import points_of
from .finite_expectation import check_expectation
from .multilevel import Multilevel, multilevel
from .problems import Problem
from .random_walks import (
    EulerMaruyama,
    Walk,
    WalkOnSpheres,
    check_method,
    default_method,
    group_of,
    prepared,
)

Method = EulerMaruyama | WalkOnSpheres | Multilevel
PILOT = 2**11  # paths that tell how many a standard error takes; the result has more
LONGEST = 64  # steps of Euler-Maruyama are the first of the levels: a standard deviation of 1/12 of the shortest side
SPARE = 1.1  # times as many paths as they ask for


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
    """for every point; on all levels, where there are levels"""
    method: str
    bias: Tensor | None = None
    """(n, 1), an estimate of the error of the steps, where levels give one"""

    def __repr__(self) -> str:
        bias = "" if self.bias is None else f"largest bias about {self.bias.max().item():.2g}, "
        return (
            f"Labels({len(self.mean)} points, {self.paths} paths each, largest standard error "
            f"{self.stderr.max().item():.2g}, {bias}{self.capped.mean().item():.2%} capped, {self.method})"
        )


def labels(
    problem: Problem,
    points: Any,
    *,
    paths: int | None = None,
    stderr: float | None = None,
    method: Method | None = None,
    seed: int = 0,
    executor: Executor | None = None,
    progress: bool = False,
) -> Labels:
    """Estimate u at points by averages over random paths: so many of them, or to a standard error.

    Args:
        problem: see :class:`Problem`.
        points: (n, d), inside the domain.
        paths: for every point; either these or ``stderr``.
        stderr: the standard error to reach at every point.  2048 paths tell how many more are run; the standard error
            of the result differs from it by some per cent.
        method: :class:`WalkOnSpheres`, :class:`EulerMaruyama` or, to a standard error, :class:`Multilevel`; unless
            given, see :func:`default_method`, and with ``stderr`` levels in the place of Euler-Maruyama steps.
        seed: of all random numbers, 0 to 2^63 - 1.
        executor: where to run them, anything with a ``map`` as in ``concurrent.futures``; as many threads as torch has
            unless given.  Processes must be able to unpickle the problem: its coefficients must be functions of a
            module, or numbers.
        progress: show a progress bar (only on a terminal).

    Raises:
        ValueError: points lie outside of the domain, a number of paths or a seed is out of range, or the expectation is
            infinite (see :mod:`optsci.pinn.finite_expectation`).
        TypeError: Numba cannot compile a coefficient; the message ends with Numba's reason.
        ArithmeticError: a path met a number that is not finite.

    >>> from optsci.pinn import Ball, MeanExitTime
    >>> found = labels(MeanExitTime(Ball(dim=2)), [[0.3, 0.1]], stderr=0.01)
    >>> abs(found.mean.item() - 0.45) < 5 * found.stderr.item() < 0.06
    True
    """
    x = points_of(points, problem.domain.dim).detach().cpu().double()
    check_points(problem, x)
    if (paths is None) == (stderr is None):
        raise ValueError(f"either paths or stderr must be given, got paths = {paths} and stderr = {stderr}")
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed must be between 0 and 2^63 - 1, got {seed}")
    target = 1.0 if stderr is None else float(stderr)
    if not 0 < target < math.inf:
        raise ValueError(f"stderr must be a positive number, got {stderr}")
    prepared(problem)  # complain before any work is done, and any process started
    if method is None:
        method = default_method(problem)
        if paths is None and isinstance(method, EulerMaruyama):
            method = Multilevel(LONGEST * method.dt)
    if isinstance(method, Multilevel) and paths is not None:
        raise ValueError(f"stderr must be given where the method is {method}, not paths = {paths}")
    if not isinstance(method, Multilevel):
        check_method(problem, method)
        check_paths(paths, method)
    check_expectation(problem)
    starts = np.ascontiguousarray(x.numpy())
    if isinstance(method, Multilevel):
        total = multilevel(problem, starts, target, method, seed, executor, progress)
        mean, error, capped, bias = map(column, (total.mean, total.stderr, total.capped, total.bias))
        numbers = ", ".join(map(str, total.numbers))
        name = f"multilevel, dt = {method.dt:g} / 4^l, paths on the levels {numbers}"
        return Labels(x, mean, error, capped, sum(total.numbers), name, bias)
    if paths is None:
        pilot = averages(problem, starts, PILOT, method, (seed + 2**62) % 2**63, executor)
        needed = max(PILOT, SPARE * group_of(method) * pilot.variance.max() / target**2)
        paths = group_of(method) * math.ceil(needed / group_of(method))
    found = averages(problem, starts, paths, method, seed, executor, progress)
    return Labels(x, column(found.mean), column(found.stderr), column(found.capped), paths, str(method))


def check_paths(paths: int | None, method: Walk) -> None:
    """Refuse a number of paths without a standard error, or with half an antithetic pair."""
    least = 2 * group_of(method)
    if paths is not None and (paths < least or paths % group_of(method)):
        pairs = ", and even in antithetic pairs" if least > 2 else ""
        raise ValueError(f"paths must be at least {least}, of which there is a standard error{pairs}, got {paths}")


def column(values: np.ndarray) -> Tensor:
    """Return (n,) as a tensor (n, 1)."""
    return torch.from_numpy(values).unsqueeze(1)


def check_points(problem: Problem, x: Tensor) -> None:
    """Refuse points that are not inside of the domain and its reflecting box."""
    outside = ~problem.region.contains(x)
    if outside.any():
        raise ValueError(
            f"points must lie inside the domain, {int(outside.sum())} do not; the first is {x[outside][0].tolist()}"
        )
