r"""Steps over the codes of a row, column after column: each needs what all columns before it have left behind.

Rows are independent. Every kernel works on the rows of the arrays it is given and lets go of the interpreter, so that
threads can share the rows of a layer; a row goes through the same operations in the same order whatever the number of
threads, the number of rows and the width of the tiles. A tile is what of L or H stays in the cache for all the rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]


@njit(cache=True, nogil=True)
def cluster(values: Array, order: Array, weights: Array, table: Array, iterations: int) -> None:
    """Lloyd's iterations of weighted k-means in every row; a row of few distinct values gets those.

    Args:
        values: (m, n) ascending in every row.
        order: (m, n) int64, where each of them stands in the row.
        weights: (m, n), non-negative, in the order of the row.
        table: (m, K) ascending in every row, the start; changed in place.
        iterations: largest number of iterations.
    """
    m, n = values.shape
    K = table.shape[1]
    mass, moment = np.zeros(n + 1), np.zeros(n + 1)
    cuts = np.empty(K + 1, dtype=np.int64)
    for i in range(m):
        v, t = values[i], table[i]
        distinct = 1
        for k in range(n):
            weight = float(weights[i, order[i, k]])
            mass[k + 1] = mass[k] + weight
            moment[k + 1] = moment[k] + weight * v[k]
            distinct += k > 0 and v[k] != v[k - 1]
        if distinct <= K:
            t[:] = v[n - 1]
            q = 0
            for k in range(n):
                q += k > 0 and v[k] != v[k - 1]
                t[q] = v[k]
            continue
        for q in range(K + 1):
            cuts[q] = q * n // K
        moved = True
        rounds = 0
        while moved and rounds < iterations:
            rounds += 1
            moved = False
            for q in range(1, K):
                middle = (t[q - 1] + t[q]) / 2
                cut = cuts[q]
                while cut < n and v[cut] <= middle:
                    cut += 1
                while cut > 0 and v[cut - 1] > middle:
                    cut -= 1
                cuts[q] = cut
            for q in range(K):
                within = mass[cuts[q + 1]] - mass[cuts[q]]
                if within > 0:
                    old = t[q]
                    t[q] = (moment[cuts[q + 1]] - moment[cuts[q]]) / within
                    moved = moved or t[q] != old


@njit(cache=True, nogil=True)
def substitute(weights: Array, fixed: Array, codebook: Array, factor: Array, codes: Array, tile: int) -> None:
    """The S-step: codes from the last column to the first, each making up for the errors of those after it.

    Args:
        weights: (m, n) what is to be approximated.
        fixed: (m, n) bool, entries that stay as they are.
        codebook: (m, K) ascending in every row.
        factor: (n, n) lower Cholesky factor L, with a positive diagonal.
        codes: (m, n) uint8, written; 0 where fixed.
        tile: columns between two updates of all the columns before them.
    """
    m, n = weights.shape
    carried = np.zeros_like(weights)  # sum over u > j of E_u L_uj
    errors = np.zeros_like(weights)
    middles = _middles(codebook)
    stop = n
    while stop > 0:
        start = max(0, stop - tile)
        for i in range(m):
            r = carried[i]
            for j in range(stop - 1, start - 1, -1):
                if fixed[i, j]:
                    codes[i, j] = 0
                    continue
                code = _nearest(middles[i], weights[i, j] + r[j] / factor[j, j])
                codes[i, j] = code
                error = weights[i, j] - codebook[i, code]
                errors[i, j] = error
                row = factor[j]
                for k in range(start, j):
                    r[k] += error * row[k]
        for i in range(m):
            _carry(carried[i], errors[i], factor, start, stop)
        stop = start


@njit(cache=True, nogil=True)
def _carry(r: Array, errors: Array, factor: Array, start: int, stop: int) -> None:
    """``r[:start] += errors[start:stop] @ factor[start:stop, :start]``, summed from the last column to the first."""
    j = stop - 1
    while j - 3 >= start:
        a, b, c, d = errors[j], errors[j - 1], errors[j - 2], errors[j - 3]
        A, B, C, D = factor[j], factor[j - 1], factor[j - 2], factor[j - 3]
        for k in range(start):
            r[k] = (((r[k] + a * A[k]) + b * B[k]) + c * C[k]) + d * D[k]
        j -= 4
    while j >= start:
        a, A = errors[j], factor[j]
        for k in range(start):
            r[k] += a * A[k]
        j -= 1


@njit(cache=True, nogil=True)
def _middles(codebook: Array) -> Array:
    middles = np.empty((len(codebook), codebook.shape[1] - 1), dtype=codebook.dtype)
    for i in range(len(codebook)):
        for k in range(middles.shape[1]):
            middles[i, k] = (codebook[i, k] + codebook[i, k + 1]) / 2
    return middles


@njit(cache=True, nogil=True)
def _nearest(middles: Array, value: float) -> int:
    """Index of the nearest of the values that lie around ``middles``; the lower one of two at the same distance."""
    code = 0
    for k in range(len(middles)):
        code += value > middles[k]
    return code


@njit(cache=True, nogil=True)
def bin_gram(gram: Array, codes: Array, fixed: Array, out: Array, tile: int) -> None:
    """``out[i, p, q]``, the sum of ``gram`` over all pairs of columns of row i that have the codes p and q.

    Args:
        gram: (n, n) symmetric; its lower triangle is read.
        codes: (m, n) uint8
        fixed: (m, n) bool, columns that are left out.
        out: (m, K, K) float64, written.
        tile: columns of the running sums.
    """
    m, n = codes.shape
    K = out.shape[1]
    sums = np.empty((m, K, tile), dtype=gram.dtype)
    out[:] = 0
    start = 0
    while start < n:
        stop = min(start + tile, n)
        sums[:] = 0
        for j in range(start, n):  # sums[i, p, k]: over the j >= k of code p, the diagonal with half its weight
            row = gram[j, start:stop]
            width = min(j - start, stop - start)
            for i in range(m):
                if not fixed[i, j]:
                    line = sums[i, codes[i, j]]
                    for k in range(width):
                        line[k] += row[k]
                    if j < stop:
                        line[j - start] += row[j - start] / 2
        for i in range(m):
            for k in range(start, stop):
                if not fixed[i, k]:
                    q = codes[i, k]
                    for p in range(K):
                        out[i, p, q] += sums[i, p, k - start]
        start = stop
    for i in range(m):
        for p in range(K):
            for q in range(p + 1):
                both = out[i, p, q] + out[i, q, p]
                out[i, p, q] = both
                out[i, q, p] = both


@njit(cache=True, nogil=True)
def descend(codebook: Array, gram: Array, fixed: Array, codes: Array, residual: Array) -> None:
    """One sweep of coordinate descent: every code in turn becomes the best one with all others held.

    Args:
        codebook: (m, K) ascending in every row.
        gram: (n, n) symmetric.
        fixed: (m, n) bool, entries that stay as they are.
        codes: (m, n) uint8, changed in place.
        residual: (m, n) ``W C - V G``, kept up to date.
    """
    m, n = codes.shape
    middles = _middles(codebook)
    for i in range(m):
        r = residual[i]
        for j in range(n - 1, -1, -1):
            if fixed[i, j] or not gram[j, j] > 0:
                continue
            old = codebook[i, codes[i, j]]
            code = _nearest(middles[i], old + r[j] / gram[j, j])
            change = codebook[i, code] - old
            if change != 0:
                codes[i, j] = code
                row = gram[j]
                for k in range(n):
                    r[k] -= change * row[k]
