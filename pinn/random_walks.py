"""Random walks for elliptic problems: which there are, for which problems, and how they are compiled.

A walk from a point of the domain to its boundary collects what the formula of Feynman and Kac averages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .domain_protocol import compiled
from .problems import Problem, check_coefficient, is_zero
from .sampling import sobol

COEFFICIENTS = ("drift", "diffusion", "killing", "source", "boundary")
MAJORANT_POINTS = 2**12  # at which a killing that varies is looked at for its largest value
MARGIN = 1.1  # of the majorant over that


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
    r"""Paths in steps of time dt: any drift and diffusion.

    Args:
        dt: the step.
        exit: how the exit is noticed.
        steps: a path is broken off after so many steps, and counted in ``capped``.
        antithetic: paths in pairs with opposite noise; the number of paths must be even.
        control: an approximation of the gradient of u, a function of x (d, n) -> (d, n) written like the coefficients.
            What a path gains along it without drift, the sum of :math:`D\,\nabla u \cdot \sigma\,dW` over its
            steps, has the mean 0 and is subtracted: the better the gradient, the smaller the standard error.
    """

    dt: float
    exit: Exit = Exit.SHIFT
    steps: int = 10**7
    antithetic: bool = False
    control: Callable[[Any], Any] | None = None

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

    In more than three dimensions the killing must be a number, and the source too, or the killing 0.

    Args:
        eps: a walk has arrived when it is so close to the boundary, an error of this order.
        steps: a walk is broken off after so many steps.
        majorant: a number that a killing that varies nowhere exceeds; the nearer, the fewer steps.  Unless given, 1.1
            times the largest of its values at 4096 points.  A walk that finds a larger one raises an error.
    """

    eps: float
    steps: int = 10**5
    majorant: float | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.eps) and self.eps > 0):
            raise ValueError(f"eps must be a positive number, got {self.eps}")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if self.majorant is not None and not (np.isfinite(self.majorant) and self.majorant > 0):
            raise ValueError(f"majorant must be a positive number, got {self.majorant}")

    def __str__(self) -> str:
        return f"walk on spheres, eps = {self.eps:g}"


@dataclass(frozen=True)
class Correction:
    """Pairs of paths with steps dt and 4 dt and the same noise, and the difference of what they collect.

    Both notice the exit by the shift of the boundary.
    """

    dt: float
    steps: int

    def __str__(self) -> str:
        return f"Euler-Maruyama, dt = {self.dt:g} minus {4 * self.dt:g}"


Walk = EulerMaruyama | WalkOnSpheres | Correction


def default_method(problem: Problem) -> EulerMaruyama | WalkOnSpheres:
    """Walk on spheres where it applies and the killing is a number, to 1/10000 of the shortest side of the region.

    Else Euler-Maruyama with shifted boundary, in steps of a standard deviation of 1/100 of that side.
    """
    if not obstacles(problem) and "killing" not in prepared(problem).functions:
        return WalkOnSpheres(eps=1e-4 * shortest_side(problem))
    return default_euler(problem)


def default_euler(problem: Problem) -> EulerMaruyama:
    """Euler-Maruyama with shifted boundary, in steps of a standard deviation of 1/100 of the shortest side."""
    largest = torch.linalg.eigvalsh(problem.values("diffusion", problem.sample(100, 0))).max().item()
    return EulerMaruyama(dt=(1e-2 * shortest_side(problem)) ** 2 / largest)


def shortest_side(problem: Problem) -> float:
    """Of the box around the region."""
    return min(high - low for low, high in zip(problem.region.lower, problem.region.upper, strict=True))


def obstacles(problem: Problem) -> str:
    """Why there is no walk on spheres for a problem; an empty text where there is one."""
    functions, numbers, _, mixes = prepared(problem)
    high = problem.domain.dim > 3
    if "drift" in functions:
        return "it has a drift"
    if "diffusion" in functions or mixes:
        return "its diffusion is not a constant multiple of the identity"
    if numbers["killing"] < 0:
        return "its killing is a number below 0"
    if "killing" in functions and high:
        return "its killing varies, in more than three dimensions"
    if numbers["killing"] > 0 and "source" in functions and high:
        return "it has killing and a source that varies, in more than three dimensions"
    return ""


def check_method(problem: Problem, method: Walk) -> None:
    """Refuse a method that the problem does not have, and a control variate that has another shape than the points."""
    if isinstance(method, WalkOnSpheres) and obstacles(problem):
        raise ValueError(f"there is no walk on spheres for this problem: {obstacles(problem)}; use EulerMaruyama")
    if isinstance(method, EulerMaruyama) and method.control is not None:
        x = problem.sample(8, 0).numpy().T
        check_coefficient("control", method.control, x, [(len(x),)])


def walker(problem: Problem, method: Walk) -> Callable[..., None]:
    """The compiled walks: run(starts, at_starts, paths, seed, first, values, status).

    They are the paths first, first + 1, …, one for every element of values; path i begins at starts[i // paths].
    at_starts: (points, 3), distance, source and killing there.  status: how they ended, see `_kernels.euler`.
    """
    if isinstance(method, WalkOnSpheres):
        return _spheres(problem, method)
    return _euler(problem, method) if isinstance(method, EulerMaruyama) else _pairs(problem, method)


def group_of(method: Walk) -> int:
    """How many walks in a row are one observation: those of an antithetic pair are."""
    return 2 if isinstance(method, EulerMaruyama) and method.antithetic else 1


def _euler(problem: Problem, method: EulerMaruyama) -> Callable[..., None]:
    from ._kernels.euler import euler_kernel

    functions, numbers, factor, mixes = prepared(problem)
    if method.control is not None:
        functions = {**functions, "control": compiled_function("control", method.control, problem.domain.dim)}
    parts, varying = _chosen(functions, (*COEFFICIENTS, "control"))
    shape = problem.domain.dim, mixes, problem.reflecting is not None
    run = euler_kernel(*parts, compiled(problem.domain), varying, *shape)
    constants = numbers["source"], numbers["killing"], numbers["boundary"]
    walls = _walls(problem).astype(np.float32)
    return partial(run, constants, factor, method.dt, method.exit.value, method.antithetic, method.steps, walls)


def _pairs(problem: Problem, method: Correction) -> Callable[..., None]:
    from ._kernels.levels import levels_kernel

    functions, numbers, factor, mixes = prepared(problem)
    parts, varying = _chosen(functions, COEFFICIENTS)
    run = levels_kernel(*parts, compiled(problem.domain), varying, mixes, problem.reflecting is not None)
    constants = numbers["source"], numbers["killing"], numbers["boundary"]
    return partial(run, constants, factor, method.dt, method.steps, _walls(problem).astype(np.float32))


def _spheres(problem: Problem, method: WalkOnSpheres) -> Callable[..., None]:
    from ._kernels.spheres import spheres_kernel

    functions, numbers, factor, _ = prepared(problem)
    parts, varying = _chosen(functions, ("killing", "source", "boundary"))
    run = spheres_kernel(*parts, compiled(problem.domain), varying, problem.domain.dim, problem.reflecting is not None)
    killing = majorant(problem, method) if "killing" in functions else numbers["killing"]
    constants = numbers["source"], killing, numbers["boundary"]
    return partial(run, constants, float(factor[0, 0] ** 2), method.eps, method.steps, _walls(problem))


def _chosen(functions: dict[str, Any], names: tuple[str, ...]) -> tuple[list[Any], tuple[bool, ...]]:
    """The compiled coefficients of these names, anything where they are numbers; and which of them vary."""
    return [functions.get(name, _nothing()) for name in names], tuple(name in functions for name in names)


def majorant(problem: Problem, method: WalkOnSpheres) -> float:
    """The one given, or somewhat more than the largest killing found."""
    if method.majorant is not None:
        return method.majorant
    found = problem.values("killing", problem.sample(MAJORANT_POINTS, 0, points=sobol)).max().item()
    return max(MARGIN * found, 1e-9)


def _walls(problem: Problem) -> np.ndarray:
    """Lower and upper corner of the reflecting box, (2, d); of anything where there is none."""
    box = problem.reflecting
    return np.zeros((2, problem.domain.dim)) if box is None else np.array([box.lower, box.upper])


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
    point = problem.sample(1, 0)
    functions = {name: function for name in COEFFICIENTS if (function := _varying(name, problem, point)) is not None}
    values = {name: float(problem.values(name, point)) for name in ("killing", "source", "boundary")}
    numbers = {name: 0.0 if name in functions else value for name, value in values.items()}
    diffusion = problem.values("diffusion", point).numpy()[0]
    if callable(problem.diffusion):
        mixes = np.ndim(problem.diffusion(point.numpy().T)) == 3
    else:
        mixes = bool((diffusion != diffusion[0, 0] * np.eye(len(diffusion))).any())
    return Prepared(functions, numbers, np.linalg.cholesky(diffusion), mixes)


def _varying(name: str, problem: Problem, point: Tensor) -> Any:
    """A coefficient as a Numba function of x (d, lanes); None where it is a number."""
    coefficient = getattr(problem, name)
    if name == "drift" and not callable(coefficient) and not is_zero(coefficient):
        return _constant(tuple(map(float, np.broadcast_to(np.asarray(coefficient), (point.shape[1],)))))
    if not callable(coefficient) or np.ndim(coefficient(np.repeat(point.numpy().T, 2, 1))) == 0:
        return None
    return compiled_function(name, coefficient, point.shape[1])


@lru_cache(maxsize=256)
def compiled_function(name: str, function: Callable[[Any], Any], dim: int) -> Any:
    """A function of x (d, n) compiled by Numba, the same for equal functions."""
    import numba

    from ._kernels.random import LANES

    written = function.formula(np) if hasattr(function, "formula") else function
    result = numba.njit(written, error_model="numpy", nogil=True)
    try:
        for x in (np.ones((dim, LANES), np.float32), np.ones((dim, 1))):
            result.compile((numba.typeof(x),))
    except Exception as error:  # Numba's own, and what its compiler trips over
        raise TypeError(
            f"{name} cannot be compiled by Numba, as random walks need it: write it with NumPy functions of "
            f"x (d, n). Numba says: {error}"
        ) from error
    return result


@lru_cache(maxsize=64)
def _constant(vector: tuple[float, ...]) -> Any:
    """The drift that is these numbers everywhere."""
    numbers = np.array(vector, dtype=np.float32)

    def drift(x: np.ndarray) -> np.ndarray:
        out = np.empty(x.shape, np.float32)
        for i in range(len(x)):
            out[i] = numbers[i]
        return out

    return compiled_function("drift", drift, len(vector))


@lru_cache(maxsize=1)
def _nothing() -> Any:
    import numba

    return numba.njit(lambda x: x[0])  # stands where a coefficient is a number, and is never called
