r"""Grids of equal spacing whose arms are cut by the boundary of a domain, and functions known at their nodes.

From a node x inside, the arm along an offset v (in spacings, such as (1, 0)) ends at the neighbour x + h v, or at
:math:`x + \theta h v, 0 < \theta \le 1`, where it meets the boundary.  At a reflecting wall it is folded back into the
box.  A domain is asked for the sign of its signed distance only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .domain_protocol import Domain, points_of
from .domains import Box

HALVINGS = 52  # of an arm, to find where it is cut
ROUNDING = 4 * np.finfo(np.float64).eps  # as near to the boundary, in diameters, a node is on it
SHORT = 1e-4  # an arm too short to take a slope along it
WINDOW = 4  # nodes of cubic interpolation, along every axis


class Grid(NamedTuple):
    """The nodes ``lower + spacing * index``, and which of them lie inside a domain."""

    domain: Domain
    lower: np.ndarray  # (d,)
    spacing: np.ndarray  # (d,)
    nodes: np.ndarray  # (m, d), the indices of those inside
    number: np.ndarray  # shape of the grid; their numbers, -1 at the other nodes
    closeness: float  # what is as near to the boundary is on it

    @property
    def points(self) -> np.ndarray:
        """The nodes inside, (m, d)."""
        return self.lower + self.spacing * self.nodes


class Arms(NamedTuple):
    """From every node inside, the arm along one offset."""

    start: np.ndarray  # (m, d), the nodes
    way: np.ndarray  # (m, d), the offset as a vector, folded back at walls
    length: np.ndarray  # (m,), how much of it lies inside, of (0, 1]
    neighbour: np.ndarray  # (m,), the number of the node at its end; -1 where it is cut

    def at(self, part: float, which: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The points at a part of the arms' length, (m, d); of some of them."""
        return self.start[which] + (part * self.length[which])[:, None] * self.way[which]


Offset = tuple[int, ...]


def cut_grid(domain: Domain, reflecting: Box | None, counts: Callable[[np.ndarray], np.ndarray]) -> Grid:
    """Lay a grid over the part of a domain inside of a reflecting box; it fits into their bounding box.

    Args:
        domain: where it ends, arms are cut.
        reflecting: where it ends, arms are folded back; None where there are no walls.
        counts: from the sides of the bounding box to the numbers of intervals, (d,) -> (d,).
    """
    lower, upper = np.array(domain.lower), np.array(domain.upper)
    walls = np.zeros((2, len(lower)), dtype=bool)
    if reflecting is not None:
        walls = np.stack((np.array(reflecting.lower) > lower, np.array(reflecting.upper) < upper))
        lower, upper = np.maximum(lower, reflecting.lower), np.minimum(upper, reflecting.upper)
    if not np.isfinite([lower, upper]).all():
        raise ValueError(f"the domain must be bounded, or have a reflecting box, got {domain}")
    shape = counts(upper - lower)
    closeness = float(ROUNDING * (np.linalg.norm(upper - lower) + np.abs([lower, upper]).max()))
    axes = [np.linspace(a, b, n + 1) for a, b, n in zip(lower, upper, shape, strict=True)]
    nodes = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], 1)
    inside = (_distance(domain, nodes) > closeness).reshape(shape + 1)
    for axis, side in product(range(len(shape)), range(2)):
        if not walls[side, axis]:
            np.moveaxis(inside, axis, 0)[-side] = False
    number = np.full(inside.shape, -1)
    number[inside] = np.arange(inside.sum())
    return Grid(domain, lower, (upper - lower) / shape, np.argwhere(inside), number, closeness)


def arms(grid: Grid) -> dict[Offset, Arms]:
    """Return the arms along all offsets of numbers -1, 0 and 1, but that of zeros only."""
    start = grid.points
    return {offset: _arms(grid, start, offset) for offset in product((-1, 0, 1), repeat=start.shape[1]) if any(offset)}


@dataclass(frozen=True, eq=False)
class GridFunction:
    """A function known at the nodes of a grid: call it at points (n, d) for (n, 1), by cubic interpolation.

    Near the boundary values beyond it are extrapolated along the arms that it cuts, and from the next cell where there
    are not enough.  In a corner too sharp for that, the value is that of the nearest point of the boundary.  Outside of
    the domain values mean nothing.
    """

    grid: Grid
    boundary: Callable[[np.ndarray], np.ndarray]
    """values on the boundary, (n, d) -> (n,)"""
    values: np.ndarray
    """at all nodes, NaN where they are not known"""

    def __call__(self, points: Any) -> Tensor:
        given = points_of(points, len(self.grid.lower))
        x = given.detach().cpu().double().numpy()
        found = np.full(len(x), np.nan)
        place = (x - self.grid.lower) / self.grid.spacing
        last = np.array(self.values.shape) - WINDOW
        cell = np.clip(np.floor(place).astype(int), 0, last + 2)
        windows = product((-1, 0, -2, 1, -3), repeat=x.shape[1])  # about the cell, from one end of it, and beside it
        for shift in sorted(
            windows, key=lambda shift: (max(abs(s + 1) for s in shift), sum(abs(s + 1) for s in shift))
        ):
            left = np.flatnonzero(np.isnan(found))
            first = cell[left] + shift
            left, first = (kept[((first >= 0) & (first <= last)).all(1)] for kept in (left, first))
            found[left] = _cubic(self.values, first, place[left] - first)
        left = np.isnan(found)
        if left.any():
            found[left] = self.boundary(self.grid.domain.project(torch.from_numpy(x[left])).numpy())
        return torch.from_numpy(found[:, None]).to(given)


def grid_function(
    grid: Grid, cross: dict[Offset, Arms], u: np.ndarray, boundary: Callable[[np.ndarray], np.ndarray]
) -> GridFunction:
    """Return the function with values u (m,) at the nodes inside.

    A node beyond the boundary gets the mean over its neighbours inside of the parabola through the value at the
    boundary, the neighbour's, and the next one.
    """
    total, count = np.zeros(grid.number.shape), np.zeros(grid.number.shape)
    for offset, ahead in cross.items():
        behind = cross[tuple(-o for o in offset)]
        cut = np.flatnonzero(ahead.neighbour < 0)
        at_boundary, theta, back = boundary(ahead.at(1.0, cut)), ahead.length[cut], behind.length[cut]
        previous = u[behind.neighbour[cut]]
        ends = behind.neighbour[cut] < 0
        previous[ends] = boundary(behind.at(1.0, cut[ends]))
        short = theta < SHORT
        slope = np.where(short, 0.0, (at_boundary - u[cut]) / np.where(short, 1.0, theta))
        bend = (slope - (u[cut] - previous) / back) / (theta + back)
        line = at_boundary + (at_boundary - previous) * (1 - theta) / (theta + back)
        beyond = tuple((grid.nodes[cut] + np.rint(ahead.way[cut] / grid.spacing).astype(int)).T)
        np.add.at(total, beyond, np.where(short, line, u[cut] + slope + bend * (1 - theta)))
        np.add.at(count, beyond, 1)
    values = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    values[tuple(grid.nodes.T)] = u
    return GridFunction(grid, boundary, values)


def _distance(domain: Domain, x: np.ndarray) -> np.ndarray:
    return domain.distance(torch.from_numpy(x))[:, 0].numpy()


def _arms(grid: Grid, start: np.ndarray, offset: Offset) -> Arms:
    step = np.broadcast_to(np.array(offset), grid.nodes.shape)
    end = grid.nodes + step
    step = np.where((end < 0) | (end >= grid.number.shape), -step, step)
    neighbour = grid.number[tuple((grid.nodes + step).T)]
    way = grid.spacing * step
    length, cut = np.ones(len(step)), neighbour < 0
    length[cut] = _cut(grid, start[cut], way[cut])
    return Arms(start, way, length, neighbour)


def _cut(grid: Grid, start: np.ndarray, way: np.ndarray) -> np.ndarray:
    """The part of the way at which it leaves the domain, by bisection; exactly 1 where its end is on the boundary."""
    low, high = np.zeros(len(start)), np.ones(len(start))
    left = np.flatnonzero(np.abs(_distance(grid.domain, start + way)) > grid.closeness)
    for _ in range(HALVINGS if len(left) else 0):
        middle = 0.5 * (low[left] + high[left])
        inside = _distance(grid.domain, start[left] + middle[:, None] * way[left]) > grid.closeness
        low[left], high[left] = np.where(inside, middle, low[left]), np.where(inside, high[left], middle)
    return high


def _cubic(values: np.ndarray, first: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Interpolate in windows of WINDOW nodes from ``first`` (n, d) on, at s (n, d) spacings from it."""
    weights = np.ones((WINDOW, *s.shape))  # of Lagrange
    for i, j in product(range(WINDOW), repeat=2):
        if i != j:
            weights[i] *= (s - j) / (i - j)
    total = np.zeros(len(s))
    for corner in product(range(WINDOW), repeat=s.shape[1]):
        weight = np.prod([weights[i, :, axis] for axis, i in enumerate(corner)], axis=0)
        total += weight * values[tuple((first + corner).T)]
    return total
