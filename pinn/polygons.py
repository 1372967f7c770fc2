r"""Simple polygons in the plane, convex or not, with exact distances.

The nearest boundary point lies inside an edge, where the signed distance is linear, or is a vertex, and then the sign
is that of the vertex: a convex one is nearest to points outside only, a reflex one to points inside only.

The smooth factor of hard boundary conditions joins the edges by R-equivalence. With f the distance to the line of an
edge, positive inside, and t a parabola that is positive in the disk over the edge as diameter, L long, about m:

.. math::

   \phi_i = \sqrt{f^2 + \tfrac14 \left(\sqrt{t^2 + f^4/L^2} - t\right)^2}, \qquad
   t = \frac{(L/2)^2 - \|x - m\|^2}{L}, \qquad \phi = \Big(\sum_i \frac{1}{\phi_i}\Big)^{-1}

Reference: N. Sukumar, A. Srivastava, Exact imposition of boundary conditions with distance functions in
physics-informed deep neural networks, arXiv 2104.08426; it has no L under the f^4, with which a polygon twice as large
has a function twice as large.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .domain_algebra import difference, intersection, union
from .domain_protocol import TINY, boundary_points, inside, points_of, signed_distance
from .numpy_on_torch import constants_of
from .sampling import UnitPoints, by_rejection

STRAIGHT = 1e-10  # sine of the angle below which a vertex lies on a straight line, and is dropped


@dataclass(frozen=True, init=False)
class Polygon:
    r"""The inside of a closed polygon without self-intersections.

    Args:
        vertices: (m, 2), in order, either way round; the last is joined to the first. Kept counter-clockwise, without
            vertices in the middle of a straight line.

    Raises:
        ValueError: fewer than 3 corners, equal neighbours, no area, or edges that cross or touch.

    ``distance`` is exact. ``vanishing`` has slope 1 on all edges, and is smooth away from the corners.

    >>> triangle = Polygon([(0, 0), (4, 0), (0, 3)])
    >>> triangle.volume, triangle.boundary_measure
    (6.0, 12.0)
    >>> triangle.distance([[0.5, 1.0], [4.0, -1.0]]).tolist()
    [[0.5], [-1.0]]
    """

    vertices: tuple[tuple[float, float], ...]

    def __init__(self, vertices: Sequence[Sequence[float]] | np.ndarray | Tensor) -> None:
        object.__setattr__(self, "vertices", _simple(vertices))

    @property
    def dim(self) -> int:
        return 2

    @property
    def lower(self) -> tuple[float, ...]:
        return tuple(map(min, zip(*self.vertices, strict=True)))

    @property
    def upper(self) -> tuple[float, ...]:
        return tuple(map(max, zip(*self.vertices, strict=True)))

    @property
    def volume(self) -> float:
        return _area(np.array(self.vertices))

    @property
    def boundary_measure(self) -> float:
        return float(self._edges[:, 4].sum())

    def formula(self, xp: Any) -> Callable[[Any], Any]:
        edges, count = constants_of(xp, self._edges), len(self.vertices)
        numbers = constants_of(xp, np.array([0.0, TINY]))

        def distance(x: Any) -> Any:
            e, c = edges(x), numbers(x)
            nearest = x[0]
            for k in range(count):
                along = (x[0] - e[k, 0]) * e[k, 2] + (x[1] - e[k, 1]) * e[k, 3]
                line = (x[1] - e[k, 1]) * e[k, 2] - (x[0] - e[k, 0]) * e[k, 3]
                within = xp.minimum(along, e[k, 4] - along)  # negative beyond the ends
                # Products with truth values, and few statements: Numba fuses them, and not `where`.
                here = line * (within >= c[0]) + (
                    (e[k, 6] + (e[k, 5] - e[k, 6]) * (along + along < e[k, 4]))  # the sign of the nearer corner
                    * (within < c[0])
                    * xp.sqrt(line * line + within * within + c[1])
                )
                if k == 0:
                    nearest = here
                else:
                    nearest = here * (xp.abs(here) < xp.abs(nearest)) + nearest * (xp.abs(here) >= xp.abs(nearest))
            return nearest

        return distance

    def _on_boundary(self, n: int, seed: int, points: UnitPoints) -> tuple[Tensor, Tensor]:
        lengths = self._edges[:, 4]
        ends = np.cumsum(lengths)
        place = points(n, 1, seed)[:, 0].numpy() * ends[-1]
        edge = np.minimum(np.searchsorted(ends, place, side="right"), len(ends) - 1)
        start, tangent = self._edges[edge, :2], self._edges[edge, 2:4]
        along = np.clip(place - (ends - lengths)[edge], 0, lengths[edge])
        x, normals = start + along[:, None] * tangent, np.stack((-tangent[:, 1], tangent[:, 0]), 1)
        return torch.from_numpy(x), torch.from_numpy(normals)

    def project(self, points: Any) -> Tensor:
        x = points_of(points, 2)
        start, tangent, size = self._tensors(x)
        along = ((x[:, None] - start) * tangent).sum(2, keepdim=True)
        feet = start + torch.minimum(along.clamp(min=0), size[:, None]) * tangent  # (n, m, 2)
        nearest = (feet - x[:, None]).square().sum(2).argmin(1)
        return feet[torch.arange(len(x), device=x.device), nearest]

    def level(self, points: Any) -> Tensor:
        x = points_of(points, 2)
        start, tangent, size = self._tensors(x)
        arm = x[:, None] - start
        line = arm[..., 1] * tangent[:, 0] - arm[..., 0] * tangent[:, 1]  # (n, m)
        middle = arm - 0.5 * size[:, None] * tangent
        trim = (0.25 * size**2 - middle.square().sum(2)) / size
        root = (trim.square() + line**4 / size**2 + TINY).sqrt()
        # Over the edge, f is taken out of the root: it vanishes on the edge, and the root has no derivative at 0.
        bent = line**3 / (size**2 * (root + trim.clamp(min=0)))
        over = torch.where(line >= 0, line, -line) * (1 + 0.25 * bent.square()).sqrt()
        beside = (line.square() + 0.25 * (root - trim).square() + TINY).sqrt()
        edges = torch.where(trim > 0, over, beside)
        smallest, which = edges.min(1, keepdim=True)
        others = (smallest / (edges + TINY**0.5)).scatter(1, which, 0.0)
        value = smallest / (1 + others.sum(1, keepdim=True))
        return torch.where(self.distance(x) < 0, -value, value)

    @cached_property
    def _edges(self) -> np.ndarray:
        """For every edge its start, unit tangent and length, and the signs of its two vertices: 1 where reflex."""
        start = np.array(self.vertices)
        tangent = np.roll(start, -1, 0) - start
        size = np.hypot(tangent[:, 0], tangent[:, 1])
        tangent = tangent / size[:, None]
        before = np.roll(tangent, 1, 0)
        sign = np.where(before[:, 0] * tangent[:, 1] - before[:, 1] * tangent[:, 0] > 0, -1.0, 1.0)
        return np.column_stack((start, tangent, size, sign, np.roll(sign, -1)))

    def _tensors(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        edges = torch.from_numpy(self._edges).to(like)
        return edges[:, :2], edges[:, 2:4], edges[:, 4]

    distance = signed_distance
    contains = inside
    sample = by_rejection
    sample_boundary = boundary_points
    vanishing = level
    __or__ = union
    __and__ = intersection
    __sub__ = difference


def l_shape() -> Polygon:
    """Return the square ``(-1, 1)^2`` without its lower right quarter: a reflex corner at the origin.

    >>> l_shape().volume, l_shape().contains([[0.5, -0.5], [-0.5, -0.5]]).tolist()
    (3.0, [False, True])
    """
    return Polygon([(-1, -1), (0, -1), (0, 0), (1, 0), (1, 1), (-1, 1)])


def _simple(vertices: Any) -> tuple[tuple[float, float], ...]:
    """Check the vertices, and return them counter-clockwise, without those on straight lines."""
    x = np.array(vertices, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] != 2 or len(x) < 3:
        raise ValueError(f"vertices must have shape (m, 2) with m at least 3, got {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError(f"vertices must be finite, got {x[~np.isfinite(x).all(1)][0].tolist()}")
    following = np.roll(x, -1, 0)
    equal = (x == following).all(1)
    if equal.any():
        raise ValueError(f"vertices must differ from their neighbours, got {x[equal][0].tolist()} twice in a row")
    edge, before = following - x, x - np.roll(x, 1, 0)
    turn = before[:, 0] * edge[:, 1] - before[:, 1] * edge[:, 0]
    size = np.hypot(edge[:, 0], edge[:, 1]) * np.hypot(before[:, 0], before[:, 1])
    x = x[(np.abs(turn) > STRAIGHT * size) | ((before * edge).sum(1) < 0)]
    if len(x) < 3:
        raise ValueError(f"vertices must not lie on one line, got {np.asarray(vertices).tolist()}")
    crossing = _crossing(x)
    if crossing is not None:
        raise ValueError(f"vertices must make a polygon without self-intersections, but {crossing} meet")
    x = x if _area(x) > 0 else x[::-1]
    return tuple((float(a), float(b)) for a, b in x)


def _area(x: np.ndarray) -> float:
    """Signed area, positive counter-clockwise; taken about the first vertex, to lose no digits far from the origin."""
    a, b = x - x[0], np.roll(x, -1, 0) - x[0]
    return 0.5 * float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum())


def _crossing(x: np.ndarray) -> str | None:
    """Two edges with a common point that is not a common vertex, in words."""
    m = len(x)
    a, b = x, np.roll(x, -1, 0)

    def side(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        turn = (q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1]) - (q[..., 1] - p[..., 1]) * (r[..., 0] - p[..., 0])
        return np.sign(turn)

    def between(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        return (np.minimum(p, q) <= r).all(-1) & (r <= np.maximum(p, q)).all(-1)

    i, j = np.triu_indices(m, 1)
    p, q, r, s = a[i], b[i], a[j], b[j]
    sides = side(p, q, r), side(p, q, s), side(r, s, p), side(r, s, q)
    meet = (sides[0] != sides[1]) & (sides[2] != sides[3])
    for turn, (u, v, w) in zip(sides, ((p, q, r), (p, q, s), (r, s, p), (r, s, q)), strict=True):
        meet |= (turn == 0) & between(u, v, w)
    # Neighbours share a vertex; they overlap where they turn back on one line.
    neighbours = (j == i + 1) | ((i == 0) & (j == m - 1))
    back = ((q - p) * (s - r)).sum(1) < 0
    meet = np.where(neighbours, (side(p, q, r) == 0) & (side(p, q, s) == 0) & back, meet)
    if not meet.any():
        return None
    k = int(meet.argmax())
    return f"the edges {p[k].tolist()}-{q[k].tolist()} and {r[k].tolist()}-{s[k].tolist()}"
