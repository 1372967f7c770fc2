r"""Cyclic coordinate descent for :math:`\tfrac12 x^T G x - c^T x + \lambda \|x\|_1` with Anderson extrapolation.

A step on coordinate j needs the gradient that all steps before it have left: the algorithm is sequential by nature,
hence a kernel.

Sources: Friedman, Hastie and Tibshirani, J. Stat. Softw. 33 (2010) 1 (covariance updates); Bertrand and Massias,
AISTATS (2021), arXiv 2011.10065 (Anderson extrapolation of coordinate descent).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

MEMORY = 5  # differences in an extrapolation
FAST = {"reassoc", "contract"}  # sums may be reordered, so that they vectorise; NaN stays NaN


@njit(cache=True, fastmath=FAST)
def descend(
    gram: Array, linear: Array, x: Array, working: Array, weight: float, square: float, target: float, max_epochs: int
) -> int:
    """Improve ``x`` in place on the coordinates ``working``, outside which it must be zero.

    Stops when the duality gap of the problem restricted to them is at most ``target``, or a pass changes nothing.

    Args:
        gram: (s, s) A^T A
        linear: (s,) A^T b
        x: (s,)
        working: (k,) indices
        weight: of the norm of x, positive.
        square: ||b||^2
        target: absolute gap.
        max_epochs: largest number of passes.

    Returns:
        The number of passes.
    """
    k = len(working)
    G = np.empty((k, k))
    c = np.empty(k)
    u = np.empty(k)
    for i in range(k):
        row = gram[working[i]]
        for j in range(k):
            G[i, j] = row[working[j]]
        c[i] = linear[working[i]]
        u[i] = x[working[i]]
    q = c.copy()  # columns^T residual
    for i in range(k):
        if u[i] != 0:
            _subtract(q, u[i], G[i])

    points = np.empty((MEMORY + 1, k))
    slopes = np.empty((MEMORY + 1, k))
    stored = 0
    epochs = 0
    moved = True
    while moved and epochs < max_epochs and _gap(c, u, q, weight, square) > target:
        if stored == 0:
            points[0] = u
            slopes[0] = q
            stored = 1
        moved = False
        for j in range(k):
            curvature = G[j, j]
            if curvature <= 0:
                continue
            z = u[j] * curvature + q[j]
            new = 0.0
            if z > weight:
                new = (z - weight) / curvature
            elif z < -weight:
                new = (z + weight) / curvature
            change = new - u[j]
            if change != 0:
                moved = True
                u[j] = new
                _subtract(q, change, G[j])
        epochs += 1
        points[stored] = u
        slopes[stored] = q
        stored += 1
        if stored == MEMORY + 1:
            stored = 0
            mix = _mixture(points)
            if mix[0] == mix[0]:
                trial, slope = np.zeros(k), np.zeros(k)
                for i in range(MEMORY):
                    _subtract(trial, -mix[i], points[i + 1])
                    _subtract(slope, -mix[i], slopes[i + 1])
                if _objective(c, trial, slope, weight, square) < _objective(c, u, q, weight, square):
                    u[:] = trial
                    q[:] = slope
    for i in range(k):
        x[working[i]] = u[i]
    return epochs


@njit(cache=True, fastmath=FAST)
def _subtract(q: Array, factor: float, row: Array) -> None:
    for i in range(len(q)):
        q[i] -= factor * row[i]


@njit(cache=True, fastmath=FAST)
def _objective(c: Array, u: Array, q: Array, weight: float, square: float) -> float:
    inner = norm = 0.0
    for i in range(len(u)):
        inner += (c[i] + q[i]) * u[i]
        norm += abs(u[i])
    return (square - inner) / 2 + weight * norm


@njit(cache=True, fastmath=FAST)
def _gap(c: Array, u: Array, q: Array, weight: float, square: float) -> float:
    """The dual point is the residual r, scaled by the best factor that is feasible."""
    linear = inner = norm = 0.0
    largest = weight * 1e-300
    for i in range(len(u)):
        linear += c[i] * u[i]
        inner += q[i] * u[i]
        norm += abs(u[i])
        largest = max(largest, abs(q[i]))
    b_r = square - linear
    r_r = max(b_r - inner, 0.0)
    scale = weight / largest
    if r_r * scale > b_r:
        scale = b_r / r_r
    return r_r / 2 + weight * norm - scale * b_r + scale * scale * r_r / 2


@njit(cache=True, fastmath=FAST)
def _mixture(points: Array) -> Array:
    """Weights that sum to 1 and minimise the norm of the combined differences; NaN where they are not defined."""
    n = MEMORY
    k = points.shape[1]
    M = np.empty((n, n))
    for a in range(n):
        for b in range(a + 1):
            total = 0.0
            for i in range(k):
                total += (points[a + 1, i] - points[a, i]) * (points[b + 1, i] - points[b, i])
            M[a, b] = total
            M[b, a] = total
    trace = 0.0
    for a in range(n):
        trace += M[a, a]
    z = np.ones(n)
    for a in range(n):
        M[a, a] += 1e-12 * trace
    for a in range(n):  # positive definite: elimination needs no pivots
        if not M[a, a] > 0:
            z[0] = np.nan
            return z
        for b in range(a + 1, n):
            factor = M[b, a] / M[a, a]
            for i in range(a, n):
                M[b, i] -= factor * M[a, i]
            z[b] -= factor * z[a]
    for a in range(n - 1, -1, -1):
        for i in range(a + 1, n):
            z[a] -= M[a, i] * z[i]
        z[a] /= M[a, a]
    return z / z.sum()
