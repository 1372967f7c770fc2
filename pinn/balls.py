"""Balls and the shells between two spheres, in any dimension: exact distances, and points without rejection."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .domain_algebra import difference, intersection, union
from .domain_protocol import TINY, boundary_points, inside, interior_points, points_of, signed_distance
from .domains import Coordinates, coordinates
from .numpy_on_torch import constants_of
from .sampling import UnitPoints, direction_columns, directions, shell_points, sphere_measure


@dataclass(frozen=True, init=False)
class Ball:
    r"""The ball ``|x - center| < radius``, a disk in the plane; in any dimension, sampled without rejection.

    Args:
        center: (d,), finite; None is the origin.
        radius: positive.
        dim: d, where ``center`` is None; None is the length of ``center``, or 2.

    Raises:
        ValueError: ``center`` is not finite or not of length ``dim``, or ``radius`` not positive and finite.

    ``vanishing`` is :math:`(R^2 - |x - c|^2) / (2 R)`, of slope 1 on the boundary.

    >>> Ball(dim=2).distance([[0.6, 0.0], [0.0, -2.0]]).tolist()
    [[0.4], [-1.0]]
    >>> round(Ball(dim=3).volume / math.pi, 6)
    1.333333
    >>> float(Ball(dim=100).sample(1000, seed=0).norm(dim=1).max()) < 1
    True
    """

    center: tuple[float, ...]
    radius: float

    def __init__(self, center: Coordinates | None = None, radius: float = 1.0, *, dim: int | None = None) -> None:
        object.__setattr__(self, "center", center_of(center, dim))
        object.__setattr__(self, "radius", length(radius, "radius"))

    @property
    def dim(self) -> int:
        return len(self.center)

    @property
    def lower(self) -> tuple[float, ...]:
        return tuple(c - self.radius for c in self.center)

    @property
    def upper(self) -> tuple[float, ...]:
        return tuple(c + self.radius for c in self.center)

    @property
    def volume(self) -> float:
        return self.boundary_measure * self.radius / self.dim

    @property
    def boundary_measure(self) -> float:
        return sphere_measure(self.dim) * self.radius ** (self.dim - 1)

    def formula(self, xp: Any) -> Callable[[Any], Any]:
        dim = self.dim
        constants = constants_of(xp, np.array([*self.center, self.radius, TINY]))

        def distance(x: Any) -> Any:
            c = constants(x)
            square = (x[0] - c[0]) * (x[0] - c[0]) + c[dim + 1]
            for i in range(1, dim):
                square = square + (x[i] - c[i]) * (x[i] - c[i])
            return c[dim] - xp.sqrt(square)

        return distance

    def _inside(self, n: int, seed: int, points: UnitPoints) -> Tensor:
        x = shell_points(n, self.dim, seed, points, hole=0.0)
        return x.new_tensor(self.center) + self.radius * x

    def _on_boundary(self, n: int, seed: int, points: UnitPoints) -> tuple[Tensor, Tensor]:
        outward = directions(points(n, direction_columns(self.dim), seed), self.dim)
        x = outward.new_tensor(self.center) + self.radius * outward
        return x, -outward

    def project(self, points: Any) -> Tensor:
        x = points_of(points, self.dim)
        return x.new_tensor(self.center) + self.radius * outward_from(self.center, x)

    def level(self, points: Any) -> Tensor:
        return (self.radius**2 - square_radius(self.center, points)) / (2 * self.radius)

    distance = signed_distance
    contains = inside
    sample = interior_points
    sample_boundary = boundary_points
    vanishing = level
    __or__ = union
    __and__ = intersection
    __sub__ = difference


@dataclass(frozen=True, init=False)
class Annulus:
    r"""The shell ``inner < |x - center| < outer`` between two spheres: in the plane an annulus.

    Args:
        center: (d,), finite; None is the origin.
        inner: positive.
        outer: above ``inner``, finite.
        dim: as of `Ball`.

    Raises:
        ValueError: not ``0 < inner < outer``, or as of `Ball`.

    ``vanishing`` is :math:`(r^2 - r_1^2)(r_2^2 - r^2) / (2 r_2 (r_2^2 - r_1^2))`, of slope 1 on the outer sphere and
    :math:`r_1/r_2` on the inner one.

    >>> ring = Annulus(inner=1.0, outer=3.0, dim=2)
    >>> ring.distance([[1.5, 0.0], [0.0, 0.0]]).tolist()
    [[0.5], [-1.0]]
    >>> round(ring.volume / math.pi, 6), round(ring.boundary_measure / math.pi, 6)
    (8.0, 8.0)
    """

    center: tuple[float, ...]
    inner: float
    outer: float

    def __init__(
        self, center: Coordinates | None = None, inner: float = 0.5, outer: float = 1.0, *, dim: int | None = None
    ) -> None:
        object.__setattr__(self, "center", center_of(center, dim))
        object.__setattr__(self, "inner", length(inner, "inner"))
        object.__setattr__(self, "outer", length(outer, "outer"))
        if not self.inner < self.outer:
            raise ValueError(f"inner must be below outer, got inner = {inner} and outer = {outer}")

    @property
    def dim(self) -> int:
        return len(self.center)

    @property
    def lower(self) -> tuple[float, ...]:
        return tuple(c - self.outer for c in self.center)

    @property
    def upper(self) -> tuple[float, ...]:
        return tuple(c + self.outer for c in self.center)

    @property
    def volume(self) -> float:
        hole = (self.inner / self.outer) ** self.dim
        return sphere_measure(self.dim) / self.dim * self.outer**self.dim * (1 - hole)

    @property
    def boundary_measure(self) -> float:
        return sphere_measure(self.dim) * (self.inner ** (self.dim - 1) + self.outer ** (self.dim - 1))

    def formula(self, xp: Any) -> Callable[[Any], Any]:
        dim = self.dim
        constants = constants_of(xp, np.array([*self.center, self.inner, self.outer, TINY]))

        def distance(x: Any) -> Any:
            c = constants(x)
            square = (x[0] - c[0]) * (x[0] - c[0]) + c[dim + 2]
            for i in range(1, dim):
                square = square + (x[i] - c[i]) * (x[i] - c[i])
            radius = xp.sqrt(square)
            return xp.minimum(radius - c[dim], c[dim + 1] - radius)

        return distance

    def _inside(self, n: int, seed: int, points: UnitPoints) -> Tensor:
        x = shell_points(n, self.dim, seed, points, hole=self.inner / self.outer)
        return x.new_tensor(self.center) + self.outer * x

    def _on_boundary(self, n: int, seed: int, points: UnitPoints) -> tuple[Tensor, Tensor]:
        unit = points(n, 1 + direction_columns(self.dim), seed)
        outward = directions(unit[:, 1:], self.dim)
        outside = unit[:, :1] * (1 + (self.inner / self.outer) ** (self.dim - 1)) < 1
        x = outward.new_tensor(self.center) + self._either(outside, unit) * outward
        return x, torch.where(outside, -outward, outward)

    def project(self, points: Any) -> Tensor:
        x = points_of(points, self.dim)
        radius = square_radius(self.center, x).sqrt()
        nearest = self._either(radius - self.inner >= self.outer - radius, x)
        return x.new_tensor(self.center) + nearest * outward_from(self.center, x)

    def level(self, points: Any) -> Tensor:
        square, inner, outer = square_radius(self.center, points), self.inner**2, self.outer**2
        return (square - inner) * (outer - square) / (2 * self.outer * (outer - inner))

    def _either(self, at_outer: Tensor, like: Tensor) -> Tensor:
        """The outer radius where true, else the inner one."""
        return torch.where(at_outer, like.new_tensor(self.outer), like.new_tensor(self.inner))

    distance = signed_distance
    contains = inside
    sample = interior_points
    sample_boundary = boundary_points
    vanishing = level
    __or__ = union
    __and__ = intersection
    __sub__ = difference


def length(x: Any, name: str) -> float:
    """Return a positive finite number as a float."""
    if not isinstance(x, Real):
        raise TypeError(f"{name} must be a number, got {x!r}")
    if not 0 < float(x) < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {x!r}")
    return float(x)


def center_of(center: Coordinates | None, dim: int | None) -> tuple[float, ...]:
    """Return the centre as a tuple; the origin where there is none."""
    if dim is not None and dim < 1:
        raise ValueError(f"dim must be at least 1, got {dim}")
    return (0.0,) * (dim or 2) if center is None else coordinates(center, "center", dim)


def square_radius(center: tuple[float, ...], points: Any) -> Tensor:
    """Return ``|x - center|^2``, (n, 1)."""
    x = points_of(points, len(center))
    return (x - x.new_tensor(center)).square().sum(1, keepdim=True)


def outward_from(center: tuple[float, ...], x: Tensor) -> Tensor:
    """Return the unit vectors (n, d) away from the centre; at the centre that of the first axis."""
    arm = x - x.new_tensor(center)
    size = arm.norm(dim=1, keepdim=True)
    first = torch.eye(1, x.shape[1], dtype=x.dtype, device=x.device)
    return torch.where(size > 0, arm / size.clamp(min=torch.finfo(x.dtype).tiny), first)
