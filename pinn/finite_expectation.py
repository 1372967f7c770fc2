r"""Whether the expectation of Feynman and Kac is finite, for killings that are negative somewhere.

It is where the principal eigenvalue of the operator, with zero boundary values, is positive:

.. math:: -\tfrac12\, a : \nabla^2 \phi - b \cdot \nabla \phi + c\, \phi = \lambda \phi, \qquad \lambda > 0

With a negative c a path gains weight for as long as it lives; for :math:`\lambda \le 0` more than is lost at the
boundary, and an average over paths estimates nothing.  In up to three dimensions the eigenvalue is computed on a grid;
in more, bounded from above by a Rayleigh quotient where there is no drift and the diffusion is constant.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch

from .domain_protocol import value_and_gradient
from .problems import Problem, is_zero
from .sampling import sobol

NODES = (500, 60, 20)  # of the grid along the longest side, in one, two and three dimensions
SAMPLES = 2**12  # points at which the killing is looked at, and of the Rayleigh quotient
LEAST_CUT = 0.05  # of a cell: boundaries nearer to a node are moved there


@lru_cache(maxsize=64)
def check_expectation(problem: Problem) -> None:
    """Refuse a problem whose expectation is infinite; nothing is computed where the killing is at least 0.

    A problem passes where the eigenvalues on two grids differ by more than what is missing.  In more than three
    dimensions only what the Rayleigh quotient shows to be infinite is refused: see :func:`eigenvalue_bound`.

    Raises:
        ValueError: the principal eigenvalue is not positive.
    """
    if not (problem.values("killing", problem.sample(SAMPLES, 0, points=sobol)) < 0).any():
        return
    d = problem.domain.dim
    if d <= 3:
        value, rough = (principal_eigenvalue(problem, nodes) for nodes in (NODES[d - 1], NODES[d - 1] // 2))
        missing = value + abs(value - rough) <= 0
    else:
        value = eigenvalue_bound(problem)
        missing = value <= 0
    if missing:
        raise ValueError(
            f"killing is too negative: the principal eigenvalue of -a : Hess / 2 - b . grad + c is "
            f"{'about' if d <= 3 else 'at most'} {value:.3g}, not positive, and the expectation of Feynman and Kac is "
            "infinite"
        )


def principal_eigenvalue(problem: Problem, nodes: int | None = None) -> float:
    """The principal eigenvalue by finite differences on a grid, in one to three dimensions; infinite without a node.

    The boundary cuts the cells where the signed distance is 0 by linear interpolation (Shortley and Weller).  ``nodes``
    is their number along the longest side; 500, 60 or 20 unless given.

    >>> from optsci.pinn import Interval
    >>> round(principal_eigenvalue(Problem(Interval(-1.0, 1.0))), 3)  # pi^2 / 8
    1.234
    """
    from scipy.sparse.linalg import eigs

    matrix, killing = operator(problem, nodes or NODES[problem.domain.dim - 1])
    if matrix.shape[0] < 3:
        return np.inf
    shift = min(float(killing.min()), 0.0)  # all eigenvalues lie above: the nearest one is the principal one
    (value,) = eigs(matrix, k=1, sigma=shift, v0=np.ones(matrix.shape[0]), return_eigenvectors=False)
    return float(value.real)


def eigenvalue_bound(problem: Problem) -> float:
    r"""The Rayleigh quotient of the distance to the boundary, above the principal eigenvalue; infinite where none is.

    .. math:: \frac{\int \tfrac12 \nabla\phi^\top a \nabla\phi + c\, \phi^2}{\int \phi^2}, \qquad \phi = \mathrm{dist}

    By 4096 points; four standard errors of its numerator are added.

    >>> from optsci.pinn import Ball
    >>> eigenvalue_bound(Problem(Ball(dim=5), killing=-50.0)) < 0
    True
    """
    if not is_zero(problem.drift) or callable(problem.diffusion):
        return np.inf
    x = problem.sample(SAMPLES, 0)
    value, slope = value_and_gradient(problem.domain.distance, x)
    energy = 0.5 * torch.einsum("ni,nij,nj->n", slope, problem.values("diffusion", x), slope)
    above = energy + (problem.values("killing", x) * value.square())[:, 0]
    return float((above.mean() + 4 * above.std() / len(x) ** 0.5) / value.square().mean())


class Neighbours(NamedTuple):
    """What the nodes see in one direction of an axis."""

    node: np.ndarray  # (n,) the number of the neighbour, -1 where there is none
    far: np.ndarray  # (n,) how far it is, or the boundary
    open: np.ndarray  # (n,) whether there is anything but a reflecting face


def operator(problem: Problem, nodes: int) -> tuple[Any, np.ndarray]:
    """The matrix (n, n) of the operator on the nodes in the region, and the killing (n,) there."""
    from scipy.sparse import coo_array

    d = problem.domain.dim
    lower, upper = np.array(problem.region.lower), np.array(problem.region.upper)
    counts = np.maximum(np.rint(nodes * (upper - lower) / (upper - lower).max()).astype(int), 4)
    step = (upper - lower) / counts
    cells = np.stack(np.meshgrid(*map(np.arange, counts), indexing="ij"), -1).reshape(-1, d)
    x = torch.from_numpy(lower + (cells + 0.5) * step)
    inside = problem.domain.distance(x)[:, 0].numpy() > 0
    x, cells = x[torch.from_numpy(inside)], cells[inside]
    number = np.full(counts + 2, -1)  # with a rim, in which there are no nodes
    number[tuple(cells.T + 1)] = np.arange(len(x))
    diffusion, drift = problem.values("diffusion", x).numpy(), problem.values("drift", x).numpy()
    killing = problem.values("killing", x).numpy()[:, 0]
    rows, columns, entries = [], [], []

    def add(column: np.ndarray, entry: np.ndarray) -> None:
        there = column >= 0
        rows.append(np.flatnonzero(there))
        columns.append(column[there])
        entries.append(entry[there])

    here = np.arange(len(x))
    add(here, killing)
    for i in range(d):
        back, ahead = (_neighbours(problem, x, cells, number, i, sign, step[i]) for sign in (-1, 1))
        spread, velocity = 0.5 * diffusion[:, i, i], drift[:, i]
        span = back.far + ahead.far
        smooth = np.abs(velocity) * step[i] <= 2 * spread  # central differences leave the signs of the entries
        forward = np.where(smooth, back.far / span, velocity > 0)
        for side, share, sign in ((ahead, forward, 1), (back, 1 - forward, -1)):
            link = side.open * (2 * spread / span + sign * velocity * share) / side.far
            add(here, link)
            add(side.node, -link)
        for j in range(i):
            for first in (-1, 1):
                for second in (-1, 1):
                    corner = cells + 1
                    corner[:, i] += first
                    corner[:, j] += second
                    add(number[tuple(corner.T)], -first * second * diffusion[:, i, j] / (4 * step[i] * step[j]))
    place = np.concatenate(rows), np.concatenate(columns)
    return coo_array((np.concatenate(entries), place), shape=(len(x), len(x))).tocsc(), killing


def _neighbours(
    problem: Problem, x: torch.Tensor, cells: np.ndarray, number: np.ndarray, axis: int, sign: int, step: float
) -> Neighbours:
    """The nodes next to those at x (n, d), along an axis in the direction of a sign."""
    beside = cells + 1
    beside[:, axis] += sign
    node = number[tuple(beside.T)]
    there = x.clone()
    there[:, axis] += sign * step
    f, g = (problem.domain.distance(points)[:, 0].numpy() for points in (x, there))
    cut = np.clip(f / np.maximum(f - g, 1e-300), LEAST_CUT, 1.0)
    far = step * np.where((node < 0) & (g <= 0), cut, 1.0)
    return Neighbours(node, far, (node >= 0) | (g <= 0))
