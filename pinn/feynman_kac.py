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
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from optsci._tensor import as_tensor

from .domain_protocol import compiled
from .problems import Problem, is_zero

COEFFICIENTS = ("drift", "diffusion", "killing", "source", "boundary")
CHUNK = 1024  # paths of a point that are averaged together
UNIT = 2**15  # paths that a worker runs at a time


class Exit(Enum):
    """How a path in steps of dt notices that it has left the domain in between."""

    NAIVE = 0
    """It has when a step ends outside: too late, an error of order sqrt(dt)."""
    SHIFT = 1
    """It has when a step ends within .5826 sigma sqrt(dt) of the boundary (Gobet and Menozzi, arXiv 0706.4042)."""
    BRIDGE = 2
    """Also when the Brownian bridge between two points inside has left, drawn with its probability for a flat face."""


@dataclass(frozen=True)
class EulerMaruyama:
    """Paths in steps of time dt: any drift and diffusion.

    Args:
        dt: the step.
        exit: how the exit is noticed.
        steps: a path is broken off after so many steps, and counted in ``capped``.
        antithetic: paths in pairs with opposite noise; the number of paths must be even.
    """

    dt: float
    exit: Exit = Exit.SHIFT
    steps: int = 10**7
    antithetic: bool = False

    def __post_init__(self) -> None:
        if not (np.isfinite(self.dt) and self.dt > 0):
            raise ValueError(f"dt must be a positive number, got {self.dt}")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")

    def __str__(self) -> str:
        return f"Euler-Maruyama, dt = {self.dt:g}, exit {self.exit.name.lower()}"


@dataclass(frozen=True)
class WalkOnSpheres:
    """Walks that jump to the sphere around them: no drift, a constant multiple of the identity as diffusion.

    The killing must be a number; in more than three dimensions, the source too, or the killing 0.

    Args:
        eps: a walk has arrived when it is so close to the boundary, an error of this order.
        steps: a walk is broken off after so many steps.
    """

    eps: float
    steps: int = 10**5

    def __post_init__(self) -> None:
        if not (np.isfinite(self.eps) and self.eps > 0):
            raise ValueError(f"eps must be a positive number, got {self.eps}")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")

    def __str__(self) -> str:
        return f"walk on spheres, eps = {self.eps:g}"


Method = EulerMaruyama | WalkOnSpheres


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
    x = as_tensor(points, "points").detach().cpu().double()
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
    """Refuse points that are not (n, d) or not inside."""
    if x.ndim != 2 or x.shape[1] != problem.domain.dim:
        raise ValueError(f"points must be (n, {problem.domain.dim}), got {tuple(x.shape)}")
    outside = ~problem.domain.contains(x)
    if outside.any():
        raise ValueError(
            f"points must lie inside the domain, {int(outside.sum())} do not; the first is {x[outside][0].tolist()}"
        )


def default_method(problem: Problem) -> Method:
    """Walk on spheres where it applies, to 1/10000 of the shortest side of the box around the domain.

    Else Euler-Maruyama with shifted boundary, in steps of a standard deviation of 1/100 of that side.
    """
    side = min(high - low for low, high in zip(problem.domain.lower, problem.domain.upper, strict=True))
    if not obstacles(problem):
        return WalkOnSpheres(eps=1e-4 * side)
    largest = torch.linalg.eigvalsh(problem.values("diffusion", problem.domain.sample(100, 0))).max().item()
    return EulerMaruyama(dt=(1e-2 * side) ** 2 / largest)


def obstacles(problem: Problem) -> str:
    """Why there is no walk on spheres for a problem; an empty text where there is one."""
    functions, numbers, _, mixes = prepared(problem)
    if "drift" in functions:
        return "it has a drift"
    if "diffusion" in functions or mixes:
        return "its diffusion is not a constant multiple of the identity"
    if "killing" in functions or numbers["killing"] < 0:
        return "its killing is not one number of at least 0"
    if numbers["killing"] > 0 and "source" in functions and problem.domain.dim > 3:
        return "it has killing and a source that varies, in more than three dimensions"
    return ""


def check_method(problem: Problem, method: Method) -> None:
    """Refuse walks on spheres for a problem that has none."""
    if isinstance(method, WalkOnSpheres) and obstacles(problem):
        raise ValueError(f"there is no walk on spheres for this problem: {obstacles(problem)}; use EulerMaruyama")


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
    from ._kernels.euler import BROKEN, DONE

    values, status = np.empty(last - first), np.empty(last - first, np.int8)
    run = _euler(problem, method) if isinstance(method, EulerMaruyama) else _spheres(problem, method)
    run(starts, at_starts, paths, seed, first, values, status)
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


def _euler(problem: Problem, method: EulerMaruyama) -> Callable[..., None]:
    from ._kernels.euler import euler_kernel

    functions, numbers, factor, mixes = prepared(problem)
    varying = tuple(name in functions for name in COEFFICIENTS)
    parts = (functions.get(name, _nothing()) for name in COEFFICIENTS)
    run = euler_kernel(*parts, compiled(problem.domain), varying, mixes)
    constants = numbers["source"], numbers["killing"], numbers["boundary"]
    return partial(run, constants, factor, method.dt, method.exit.value, method.antithetic, method.steps)


def _spheres(problem: Problem, method: WalkOnSpheres) -> Callable[..., None]:
    from ._kernels.spheres import spheres_kernel

    functions, numbers, factor, _ = prepared(problem)
    source, boundary = (functions.get(name, _nothing()) for name in ("source", "boundary"))
    run = spheres_kernel(source, boundary, compiled(problem.domain), "source" in functions, "boundary" in functions)
    constants = numbers["source"], numbers["killing"], numbers["boundary"]
    return partial(run, constants, float(factor[0, 0] ** 2), method.eps, method.steps)


class Prepared(NamedTuple):
    """A problem as random walks take it."""

    functions: dict[str, Any]  # the coefficients that vary, compiled
    numbers: dict[str, float]  # killing, source and boundary value; 0 where they vary
    factor: np.ndarray  # (d, d) lower triangular, a square root of the diffusion at a point
    mixes: bool  # whether the diffusion is more than a multiple of the identity


@lru_cache(maxsize=16)
def prepared(problem: Problem) -> Prepared:
    """Compile the coefficients that vary, and take the others as numbers.

    Raises:
        TypeError: Numba refuses one, for the reason that the message ends with.
    """
    point = problem.domain.sample(1, 0)
    functions = {name: function for name in COEFFICIENTS if (function := _compiled(name, problem, point)) is not None}
    values = {name: float(problem.values(name, point)) for name in ("killing", "source", "boundary")}
    numbers = {name: 0.0 if name in functions else value for name, value in values.items()}
    diffusion = problem.values("diffusion", point).numpy()[0]
    if callable(problem.diffusion):
        mixes = np.ndim(problem.diffusion(point.numpy().T)) == 3
    else:
        mixes = bool((diffusion != diffusion[0, 0] * np.eye(len(diffusion))).any())
    return Prepared(functions, numbers, np.linalg.cholesky(diffusion), mixes)


def _compiled(name: str, problem: Problem, point: Tensor) -> Any:
    """A coefficient as a Numba function of x (d, lanes); None where it is a number."""
    import numba

    from ._kernels.random import LANES

    lanes = np.ascontiguousarray(np.repeat(point.numpy().T, LANES, 1))
    coefficient = getattr(problem, name)
    if name == "drift" and not callable(coefficient) and not is_zero(coefficient):
        coefficient = _constant(np.broadcast_to(np.asarray(coefficient, dtype=np.float32), (len(lanes),)).copy())
    if not callable(coefficient) or np.ndim(coefficient(lanes)) == 0:
        return None
    function = numba.njit(coefficient, error_model="numpy", nogil=True)
    try:
        for x in (lanes.astype(np.float32), lanes[:, :1].copy()):
            function(x)
    except Exception as error:  # Numba's own, and what its compiler trips over
        raise TypeError(
            f"{name} cannot be compiled by Numba, as random walks need it: write it with NumPy functions of "
            f"x (d, n). Numba says: {error}"
        ) from error
    return function


def _constant(vector: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    def drift(x: np.ndarray) -> np.ndarray:
        out = np.empty(x.shape, np.float32)
        for i in range(len(x)):
            out[i] = vector[i]
        return out

    return drift


@lru_cache(maxsize=1)
def _nothing() -> Any:
    import numba

    return numba.njit(lambda x: x[0])  # stands where a coefficient is a number, and is never called


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
