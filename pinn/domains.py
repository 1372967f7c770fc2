r"""What domains are, and those with flat faces in any dimension: boxes and half-spaces.

A domain is a small value. In mathematics, with f the signed distance to the boundary, positive inside:

.. math::

   \Omega = \{x : f(x) > 0\}, \qquad |f(x) - f(y)| \le \|x - y\|, \qquad
   \text{nearest boundary point } x - f(x) \nabla f(x), \qquad \text{inward normal } \nabla f

``formula`` writes f once for NumPy, Numba and torch, with components first (``x[0]``, ``x[1]``): random walks compile
it, losses differentiate it. Combine domains by ``|``, ``&`` and ``-`` (`domain_algebra`); polygons are in `polygons`,
balls and shells in `balls`, other shapes in `level_sets`.

The distance has kinks where the nearest boundary point is not unique, such as the centre of a ball and the diagonals of
a square: there autograd returns a finite convex combination of the one-sided gradients. NaN goes through unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .domain_algebra import difference, intersection, union
from .domain_protocol import TINY, boundary_points, inside, interior_points, points_of, signed_distance
from .numpy_on_torch import constants_of
from .sampling import (
    UnitPoints,
    box_volume,
    by_rejection,
    in_box,
    shell_points,
    sphere_measure,
    uniform,
)

Coordinates = float | Sequence[float] | np.ndarray | Tensor


@dataclass(frozen=True, init=False)
class Box:
    """The box ``lower < x < upper``; an interval where both are numbers.

    Args:
        lower: (d,) or a number; finite.
        upper: likewise, above ``lower`` in every coordinate.

    Raises:
        ValueError: a bound is not finite, or ``lower`` not below ``upper``, or they differ in length.

    ``vanishing`` is the product of the parabolas ``4 (x - a)(b - x)/(b - a)^2``, times a quarter of the shortest side:
    of slope 1 at the ends of an interval, a polynomial in any dimension, and of slope 0 in corners.

    >>> square = Box((0.0, 0.0), (1.0, 1.0))
    >>> square.distance([[0.5, 0.25], [2.0, 1.0]]).tolist()
    [[0.25], [-1.0]]
    >>> square.sample(100, seed=0).shape
    torch.Size([100, 2])
    >>> x, normals = square.sample_boundary(3, seed=0)
    >>> square.contains(x + 0.1 * normals).tolist()
    [True, True, True]
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]

    def __init__(self, lower: Coordinates, upper: Coordinates) -> None:
        a, b = coordinates(lower, "lower"), coordinates(upper, "upper")
        if len(a) != len(b):
            raise ValueError(f"lower and upper must have one length, got {a} and {b}")
        if not all(low < high for low, high in zip(a, b, strict=True)):
            raise ValueError(f"lower must be below upper in every coordinate, got lower = {a} and upper = {b}")
        object.__setattr__(self, "lower", a)
        object.__setattr__(self, "upper", b)

    @property
    def dim(self) -> int:
        return len(self.lower)

    @property
    def volume(self) -> float:
        return box_volume(self.lower, self.upper)

    @property
    def boundary_measure(self) -> float:
        return 2 * sum(self.volume / side for side in self._sides())

    def formula(self, xp: Any) -> Callable[[Any], Any]:
        dim = self.dim
        constants = constants_of(xp, np.array([*self.lower, *self.upper, 0.0, TINY]))

        def distance(x: Any) -> Any:
            c = constants(x)
            zero, tiny = c[2 * dim], c[2 * dim + 1]
            inside = xp.minimum(x[0] - c[0], c[dim] - x[0])
            square = inside * inside * (inside < zero) + tiny  # of the way to the box from outside
            for i in range(1, dim):
                slab = xp.minimum(x[i] - c[i], c[dim + i] - x[i])
                square = square + slab * slab * (slab < zero)
                inside = xp.minimum(inside, slab)
            return inside * (inside >= zero) - xp.sqrt(square)  # Numba fuses this, not `where`

        return distance

    def _inside(self, n: int, seed: int, points: UnitPoints) -> Tensor:
        return in_box(self.lower, self.upper, points(n, self.dim, seed))

    def _on_boundary(self, n: int, seed: int, points: UnitPoints) -> tuple[Tensor, Tensor]:
        unit = points(n, self.dim, seed)
        areas = np.cumsum([1 / side for side in self._sides()])  # of a pair of faces, up to the volume
        place = unit[:, 0].numpy() * areas[-1]
        axis = np.minimum(np.searchsorted(areas, place, side="right"), self.dim - 1)
        within = (place - np.concatenate(([0.0], areas))[axis]) * np.array(self._sides())[axis]  # again uniform
        axis, at_upper = torch.from_numpy(axis), torch.from_numpy(within >= 0.5)
        rows = torch.arange(n)
        # The face takes the first column; the axis it stands on lends its own to the first axis.
        free = unit.clone()
        free[rows, 0] = unit[rows, axis]
        free[rows, axis] = at_upper.double()
        normals = torch.zeros_like(unit)
        normals[rows, axis] = torch.where(at_upper, -1.0, 1.0).double()
        x = in_box(self.lower, self.upper, free)
        x[rows, axis] = torch.where(at_upper, unit.new_tensor(self.upper)[axis], unit.new_tensor(self.lower)[axis])
        return x, normals

    def project(self, points: Any) -> Tensor:
        x = points_of(points, self.dim)
        a, b = x.new_tensor(self.lower), x.new_tensor(self.upper)
        outside = torch.minimum(torch.maximum(x, a), b)
        axis = torch.minimum(x - a, b - x).argmin(1, keepdim=True)
        here = x.gather(1, axis)
        low, high = a[axis], b[axis]
        face = x.scatter(1, axis, torch.where(here - low <= high - here, low, high))
        return torch.where(((x > a) & (x < b)).all(1, keepdim=True), face, outside)

    def level(self, points: Any) -> Tensor:
        slabs = self._parabolas(points) * 0.25 * points_of(points, self.dim).new_tensor(self._sides())
        value = slabs[:, :1]
        for i in range(1, self.dim):
            slab = slabs[:, i : i + 1]
            value = value + slab - (value.square() + slab.square() + TINY).sqrt()
        return value

    def vanishing(self, points: Any) -> Tensor:
        return 0.25 * min(self._sides()) * self._parabolas(points).prod(1, keepdim=True)

    def _parabolas(self, points: Any) -> Tensor:
        """``4 (x - a)(b - x)/(b - a)^2`` (n, d): 0 on the faces, 1 in the middle."""
        x = points_of(points, self.dim)
        a, b = x.new_tensor(self.lower), x.new_tensor(self.upper)
        return 4 * ((x - a) / (b - a)) * ((b - x) / (b - a))

    def _sides(self) -> list[float]:
        return [b - a for a, b in zip(self.lower, self.upper, strict=True)]

    distance = signed_distance
    contains = inside
    sample = interior_points
    sample_boundary = boundary_points
    __or__ = union
    __and__ = intersection
    __sub__ = difference


def Interval(lower: float, upper: float) -> Box:
    """Return the interval ``lower < x < upper``: a box in one dimension.

    >>> Interval(-1, 2).volume, Interval(-1, 2).boundary_measure
    (3.0, 2.0)
    """
    return Box(lower, upper)


def UnitSquare() -> Box:
    """Return the box ``0 < x < 1`` in the plane."""
    return Box((0.0, 0.0), (1.0, 1.0))


@dataclass(frozen=True, init=False)
class HalfSpace:
    """The half-space ``<normal, x> < offset``; unbounded, for intersections.

    Args:
        normal: (d,) the outward normal, finite and not 0; kept at length 1.
        offset: finite; divided by the length of ``normal``.

    Raises:
        ValueError: ``normal`` is 0 or not finite, ``offset`` not finite; points are asked of the half-space alone.

    >>> HalfSpace((0.0, 2.0), 2.0).distance([[5.0, 0.0]]).tolist()
    [[1.0]]
    >>> HalfSpace((0.0, 1.0), 0.0).sample(1, seed=0)
    Traceback (most recent call last):
    ValueError: HalfSpace(normal=(0.0, 1.0), offset=0.0) is unbounded and has no uniform points: intersect it with a \
Box, as in `domain & box`
    """

    normal: tuple[float, ...]
    offset: float

    def __init__(self, normal: Coordinates, offset: float) -> None:
        n, (b,) = coordinates(normal, "normal"), coordinates(offset, "offset", dim=1)
        size = math.hypot(*n)
        if size == 0:
            raise ValueError(f"normal must not be 0, got {n}")
        object.__setattr__(self, "normal", tuple(component / size for component in n))
        object.__setattr__(self, "offset", b / size)

    @property
    def dim(self) -> int:
        return len(self.normal)

    @property
    def lower(self) -> tuple[float, ...]:
        return tuple(0.0 - self.offset if n == -1 else -math.inf for n in self.normal)

    @property
    def upper(self) -> tuple[float, ...]:
        return tuple(self.offset if n == 1 else math.inf for n in self.normal)

    @property
    def volume(self) -> float:
        return math.inf

    @property
    def boundary_measure(self) -> float:
        return math.inf

    def formula(self, xp: Any) -> Callable[[Any], Any]:
        dim = self.dim
        constants = constants_of(xp, np.array([*self.normal, self.offset]))

        def distance(x: Any) -> Any:
            c = constants(x)
            value = c[dim] - c[0] * x[0]
            for i in range(1, dim):
                value = value - c[i] * x[i]
            return value

        return distance

    def facing(self, lower: tuple[float, ...], upper: tuple[float, ...]) -> _Plate:
        """Return a bounded piece of the boundary that holds all of it inside the box."""
        center = 0.5 * (np.array(lower) + np.array(upper))
        normal = np.array(self.normal)
        return _Plate(self, tuple(center + (self.offset - normal @ center) * normal), 0.5 * math.dist(lower, upper))

    def project(self, points: Any) -> Tensor:
        x = points_of(points, self.dim)
        return x + self.distance(x) * x.new_tensor(self.normal)

    distance = signed_distance
    contains = inside
    sample = by_rejection
    sample_boundary = boundary_points
    level = signed_distance
    vanishing = signed_distance
    __or__ = union
    __and__ = intersection
    __sub__ = difference


@dataclass(frozen=True)
class _Plate:
    """A round piece of the boundary of a half-space, from which compositions draw."""

    half_space: HalfSpace
    center: tuple[float, ...]
    radius: float

    @property
    def boundary_measure(self) -> float:
        dim = len(self.center) - 1
        return sphere_measure(dim) / dim * self.radius**dim if dim else 1.0

    def distance(self, points: Tensor) -> Tensor:
        return self.half_space.distance(points)

    def sample_boundary(self, n: int, seed: int, *, points: UnitPoints = uniform) -> tuple[Tensor, Tensor]:
        normal = torch.tensor(self.half_space.normal, dtype=torch.float64)
        x = normal.new_tensor(self.center).expand(n, -1)
        if len(normal) > 1:
            frame = torch.linalg.svd(normal[None]).Vh[1:]  # (d - 1, d), orthonormal, along the plane
            x = x + self.radius * shell_points(n, len(frame), seed, points, hole=0.0) @ frame
        return x, -normal.expand(n, -1)


def coordinates(x: Any, name: str, dim: int | None = None) -> tuple[float, ...]:
    """Return a point as a tuple of finite floats.

    >>> coordinates(1, "lower"), coordinates(np.zeros(2), "lower")
    ((1.0,), (0.0, 0.0))
    """
    values = np.atleast_1d(x.detach().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x))
    if values.ndim != 1 or values.size == 0 or values.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be a number or a vector of numbers, got {x!r}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, got {x!r}")
    if dim is not None and len(values) != dim:
        raise ValueError(f"{name} must have {dim} coordinates, got {x!r}")
    return tuple(map(float, values))
