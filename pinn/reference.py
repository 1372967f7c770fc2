r"""Reference solutions of elliptic problems in few dimensions, by finite differences.

.. math:: \tfrac12\, a : \nabla^2 u + b \cdot \nabla u - c\, u = -f

Along an offset v of the grid, with arms of lengths :math:`t_\pm \le 1`, second derivatives with the weight w and the
drift :math:`\beta` (both in spacings) become

.. math::

   w\, \partial_v^2 u + \beta\, \partial_v u \approx \sum_\pm \frac{2 w}{t_\pm (t_+ + t_-)}
   B\Bigl(\mp \frac{\beta_\pm t_\pm}{w}\Bigr) (u_\pm - u), \qquad B(z) = \frac{z}{e^z - 1}

the scheme of Shortley and Weller at cut arms, with the exponential fitting of Scharfetter and Gummel and the drift in
the middle of the arms: central differences where the cells are small, upwind where the drift dominates, and of second
order as the cells shrink.  Mixed derivatives take offsets along diagonals,

.. math:: a_{12}\, \partial_1 \partial_2 = \frac{|a_{12}|}{2 h_1 h_2} \bigl(\partial_v^2 - h_1^2 \partial_1^2
   - h_2^2 \partial_2^2\bigr), \qquad v = (1, \operatorname{sign} a_{12})

with spacings in the ratio of :math:`\sqrt{a_{11}}` and :math:`\sqrt{a_{22}}`, for which all weights are positive where
a is constant, in the plane.  So the matrix is an M-matrix where c is not negative: u obeys the maximum principle.

Reference: G. H. Shortley, R. Weller, J. Appl. Phys. 9 (1938); D. L. Scharfetter, H. K. Gummel, IEEE Trans. Electron
Devices 16 (1969).
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch

from .cut_grids import Arms, Grid, GridFunction, Offset, arms, cut_grid, grid_function
from .problems import Problem, finite_values, is_zero

FEWEST = 4  # intervals along every axis
REFINEMENTS, REFINED = 6, 1e-9  # steps of iterative refinement, and the largest relative correction of the last
SAMPLE = 256  # points at which the diffusion is looked at, for the ratio of the spacings


def finite_differences(problem: Problem, cells: int = 200) -> GridFunction:
    """Solve a problem in one, two or three dimensions on a grid, to second order in the spacing.

    Args:
        problem: any; see :class:`Problem`.
        cells: intervals of the grid along the longest side of the bounding box; where the diffusion differs by
            direction, of the side that takes longest to diffuse across.

    Returns:
        u, points (n, d) -> (n, 1), by interpolation; without derivatives by autograd.  It serves as ``exact``.

    Raises:
        ValueError: more than three dimensions, too few cells, or a diffusion that varies and mixes the axes too much
            for its grid.
        ArithmeticError: the equations have no unique solution, or none that double precision can tell.

    The boundary may be of any shape that the grid resolves; at reentrant corners the order is lower.  Mean times up to
    1e13 times that of diffusion across a spacing keep all digits that the grid gives; longer ones are refused.

    >>> from optsci.pinn import Ball, MeanExitTime
    >>> u = finite_differences(MeanExitTime(Ball(dim=2)), cells=20)
    >>> round(u([[0.3, 0.4]]).item(), 6)
    0.375
    """
    d = problem.domain.dim
    if d > 3:
        raise ValueError(f"problem must have one, two or three dimensions, got {d}: label points instead")
    if cells < FEWEST:
        raise ValueError(f"cells must be at least {FEWEST}, got {cells}")
    spread = np.sqrt(np.diagonal(problem.values("diffusion", problem.sample(SAMPLE, 0)).mean(0).numpy()))

    def counts(sides: np.ndarray) -> np.ndarray:
        share = sides / spread
        return np.maximum(np.rint(cells * share / share.max()), FEWEST).astype(int)

    grid = cut_grid(problem.domain, problem.reflecting, counts)
    if len(grid.nodes) == 0:
        raise ValueError(f"cells must be more than {cells}: no node of the grid lies in the domain")

    def boundary(x: np.ndarray) -> np.ndarray:
        return _values(problem, "boundary", x)[:, 0]

    cross = arms(grid)
    return grid_function(grid, cross, _solution(problem, grid, cross), boundary)


class Links(NamedTuple):
    """Where u_end - u_node stands in the equations of the nodes, and with which factor."""

    node: np.ndarray  # (k,)
    end: np.ndarray  # (k,), another node; boundary points are counted on from the last node
    factor: np.ndarray  # (k,), positive


def _solution(problem: Problem, grid: Grid, cross: dict[Offset, Arms]) -> np.ndarray:
    """The values of u at the nodes inside.

    Iterative refinement, with residuals made of differences: long mean times would drown in the rounding of the matrix.
    """
    from scipy.sparse import csc_array
    from scipy.sparse.linalg import splu

    m = len(grid.nodes)
    links, at_boundary = _links(problem, grid, cross)
    killing, source = (_values(problem, name, grid.points)[:, 0] for name in ("killing", "source"))
    diagonal = np.bincount(links.node, links.factor, m) + killing
    scale = 1 / (np.abs(diagonal) + np.bincount(links.node, links.factor, m))
    inner = links.end < m
    rows = np.concatenate((np.arange(m), links.node[inner]))
    columns = np.concatenate((np.arange(m), links.end[inner]))
    entries = np.concatenate((diagonal, -links.factor[inner])) * scale[rows]
    matrix = csc_array((entries, (rows, columns)), shape=(m, m))
    u = np.zeros(m)
    try:
        factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True, "DiagPivotThresh": 0.001})
    except RuntimeError as error:
        raise ArithmeticError(f"the equations have no unique solution: {error}") from error
    for _ in range(REFINEMENTS):
        difference = np.concatenate((u, at_boundary))[links.end] - u[links.node]
        residual = source - killing * u + np.bincount(links.node, links.factor * difference, m)
        correction = factors.solve(scale * residual)
        u = u + correction
    if not np.abs(correction).max() <= REFINED * np.abs(u).max():
        raise ArithmeticError(
            f"the equations have no unique solution to rounding on a grid of {m} nodes: the corrections do not vanish"
        )
    return u


def _links(problem: Problem, grid: Grid, cross: dict[Offset, Arms]) -> tuple[Links, np.ndarray]:
    """All links, and the boundary values at their ends."""
    links, values, count = [], [np.empty(0)], len(grid.nodes)
    for offset, weight in _directions(grid, _values(problem, "diffusion", grid.points)):
        both = cross[offset], cross[tuple(-o for o in offset)]
        span = both[0].length + both[1].length
        used = np.flatnonzero(weight > 0)
        for arm in both:
            factor = 2 * weight[used] / (span * arm.length)[used]
            if sum(map(abs, offset)) == 1 and not is_zero(problem.drift):
                drift = (_values(problem, "drift", arm.at(0.5, used)) * arm.way[used] / grid.spacing**2).sum(1)
                factor *= _bernoulli(-drift * arm.length[used] / weight[used])
            end = arm.neighbour[used]
            cut = end < 0
            end[cut] = count + np.arange(cut.sum())
            count += int(cut.sum())
            values += [_values(problem, "boundary", arm.at(1.0, used[cut]))[:, 0]]
            links += [(used, end, factor)]
    return Links(*map(np.concatenate, zip(*links, strict=True))), np.concatenate(values)


def _directions(grid: Grid, a: np.ndarray) -> list[tuple[Offset, np.ndarray]]:
    """Offsets, and the weights (m,) of the second derivatives along them, in spacings, that make a : Hess / 2."""
    d, h = len(grid.spacing), grid.spacing
    unit = np.eye(d, dtype=int)
    weights = [a[:, i, i] / (2 * h[i] ** 2) for i in range(d)]
    diagonals = []
    for i, j in combinations(range(d), 2):
        mixed = a[:, i, j] / (2 * h[i] * h[j])
        if not mixed.any():
            continue
        weights[i], weights[j] = weights[i] - abs(mixed), weights[j] - abs(mixed)
        for sign in (1, -1):
            diagonals += [(tuple(map(int, unit[i] + sign * unit[j])), np.maximum(sign * mixed, 0))]
    for i, weight in enumerate(weights):
        if not weight.min() > 0:
            where = grid.points[weight.argmin()].tolist()
            raise ValueError(
                f"diffusion mixes axis {i} with others too much at {where} for a grid with the spacings {h.tolist()}: "
                "if it is constant, in the plane, take more cells; else there is no such scheme with positive weights"
            )
    return [*((tuple(map(int, unit[i])), weights[i]) for i in range(d)), *diagonals]


def _bernoulli(z: np.ndarray) -> np.ndarray:
    """The function B of this module."""
    z = np.clip(z, -np.inf, 700.0)
    small = np.abs(z) < 1e-5
    return np.where(small, 1 - 0.5 * z, z / np.expm1(np.where(small, 1.0, z)))


def _values(problem: Problem, name: str, x: np.ndarray) -> np.ndarray:
    return finite_values(problem, name, torch.from_numpy(np.ascontiguousarray(x))).numpy()
