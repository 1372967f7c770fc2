r"""Coordinate descent for the Newton model of the graphical lasso.

.. math::

    \min_D \; \langle S - W, D \rangle + \tfrac12 \operatorname{tr}(W D W D) + \sum_{ij} \Lambda_{ij} |X_{ij} + D_{ij}|

over symmetric D, with :math:`W = X^{-1}`. A step on one entry needs what all steps before it have left: the algorithm
is sequential by nature, hence a kernel.

Source: Hsieh, Sustik, Dhillon and Ravikumar, J. Mach. Learn. Res. 15 (2014) 2911, section 3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

FAST = {"reassoc", "contract"}  # sums may be reordered, so that they vectorise; NaN stays NaN


@njit(cache=True)
def violation(S: Array, W: Array, X: Array, weights: Array) -> float:
    """Return the largest entry of the subgradient of least magnitude, and write nothing."""
    worst = 0.0
    for i in range(len(S)):
        for j in range(i + 1):
            slope, weight, x = S[i, j] - W[i, j], weights[i, j], X[i, j]
            if x > 0:
                here = abs(slope + weight)
            elif x < 0:
                here = abs(slope - weight)
            else:
                here = abs(slope) - weight
            if not here <= worst:  # NaN passes
                worst = here
    return worst


@njit(cache=True, fastmath=FAST)
def newton_direction(
    S: Array, W: Array, X: Array, weights: Array, D: Array, U: Array, max_sweeps: int, accuracy: float
) -> int:
    """Write an approximate minimiser into ``D`` and D W into ``U``, both zero before; return the number of sweeps.

    Entries that are zero and lie within their weight are left out. Ends when a sweep changes less than ``accuracy``
    times the sum of ``|D|``, or after ``max_sweeps``.
    """
    p = len(S)
    rows, columns = np.empty(p * (p + 1) // 2, np.int32), np.empty(p * (p + 1) // 2, np.int32)
    count = 0
    for i in range(p):
        for j in range(i + 1):
            if X[i, j] != 0 or abs(S[i, j] - W[i, j]) > weights[i, j]:
                rows[count], columns[count] = i, j
                count += 1
    size, column = 0.0, np.empty(p)
    for sweep in range(max_sweeps):
        change, held = 0.0, -1
        for k in range(count):
            i, j = rows[k], columns[k]
            if i != held:  # column i of D W, side by side in memory; kept up to date below
                held = i
                for r in range(p):
                    column[r] = U[r, i]
            product, w = 0.0, W[j]  # (W D W)_ij
            for r in range(p):
                product += w[r] * column[r]
            a = W[i, i] * W[i, i] if i == j else W[i, j] * W[i, j] + W[i, i] * W[j, j]
            b = S[i, j] - W[i, j] + product
            x = X[i, j] + D[i, j]
            target, threshold = x - b / a, weights[i, j] / a
            step = np.sign(target) * max(abs(target) - threshold, 0.0) - x
            if step == 0:
                continue
            size += abs(D[i, j] + step) - abs(D[i, j])
            change += abs(step)
            D[i, j] += step
            for r in range(p):
                U[i, r] += step * w[r]
            column[i] += step * w[i]
            if i != j:
                D[j, i] += step
                w = W[i]
                for r in range(p):
                    U[j, r] += step * w[r]
                column[j] += step * w[i]
        if change <= accuracy * size:
            return sweep + 1
    return max_sweeps
