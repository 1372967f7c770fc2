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
a is constant.  So the matrix is an M-matrix where c is not negative: u obeys the maximum principle.

Reference: G. H. Shortley, R. Weller, J. Appl. Phys. 9 (1938); D. L. Scharfetter, H. K. Gummel, IEEE Trans. Electron
Devices 16 (1969).
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch

from .cut_grids import Arms, Grid, GridFunction, Offset, arms, cut_grid, grid_function
from .problems import Problem, is_zero

FEWEST = 4  # intervals along every axis
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
        ArithmeticError: the equations have no unique solution.

    The boundary may be of any shape that the grid resolves; at reentrant corners the order is lower.  Mean times that
    exceed those of diffusion by a factor K lose so many digits: about 1e-16 K relative.

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


def _solution(problem: Problem, grid: Grid, cross: dict[Offset, Arms]) -> np.ndarray:
    """The values of u at the nodes inside."""
    from scipy.sparse import csc_array
    from scipy.sparse.linalg import splu

    m = len(grid.nodes)
    rows, columns, entries = [np.arange(m)], [np.arange(m)], [_values(problem, "killing", grid.points)[:, 0]]
    right = _values(problem, "source", grid.points)[:, 0]
    for offset, weight in _directions(grid, _values(problem, "diffusion", grid.points)):
        both = cross[offset], cross[tuple(-o for o in offset)]
        span = both[0].length + both[1].length
        for arm in both:
            used = np.flatnonzero(weight > 0)
            coefficient = 2 * weight[used] / (span * arm.length)[used]
            if sum(map(abs, offset)) == 1 and not is_zero(problem.drift):
                drift = (_values(problem, "drift", arm.at(0.5)) * arm.way / grid.spacing**2).sum(1)[used]
                coefficient *= _bernoulli(-drift * arm.length[used] / weight[used])
            ahead = arm.neighbour[used] >= 0
            rows += [used, used[ahead]]
            columns += [used, arm.neighbour[used][ahead]]
            entries += [coefficient, -coefficient[ahead]]
            at_end = used[~ahead]
            right[at_end] += coefficient[~ahead] * _values(problem, "boundary", arm.at(1.0, at_end))[:, 0]
    matrix = csc_array((np.concatenate(entries), (np.concatenate(rows), np.concatenate(columns))), shape=(m, m))
    scale = 1 / np.abs(matrix).sum(1)
    matrix = csc_array(matrix.multiply(scale[:, None]))
    options = {"SymmetricMode": True, "DiagPivotThresh": 0.001}
    try:
        u = splu(matrix, permc_spec="MMD_AT_PLUS_A", options=options).solve(scale * right)
    except RuntimeError as error:
        raise ArithmeticError(f"the equations have no unique solution: {error}; is there a boundary?") from error
    if not np.isfinite(u).all():
        raise ArithmeticError("the equations have no unique solution; is there a boundary?")
    return u


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
                "if it is constant take more cells, else there is no such scheme with positive weights"
            )
    return [*((tuple(map(int, unit[i])), weights[i]) for i in range(d)), *diagonals]


def _bernoulli(z: np.ndarray) -> np.ndarray:
    """The function B of this module."""
    z = np.clip(z, -np.inf, 700.0)
    small = np.abs(z) < 1e-5
    return np.where(small, 1 - 0.5 * z, z / np.expm1(np.where(small, 1.0, z)))


def _values(problem: Problem, name: str, x: np.ndarray) -> np.ndarray:
    return problem.values(name, torch.from_numpy(np.ascontiguousarray(x))).numpy()
