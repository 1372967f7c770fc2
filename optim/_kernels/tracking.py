"""One pass over the second moment of a matrix, row by row, without ever holding it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .passes import FAST

Array = NDArray[Any]


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def pass_over(
    G: Array,
    M: Array,
    W: Array,
    Q: Array,
    past: Array,
    X: Array,
    P: Array,
    Y: Array,
    products: Array,
    fresh: float,
    eps: float,
    decay: float,
    new: float,
    guard: float,
    keep: float,
    rate: float,
) -> float:
    """``V = max(Q past, 0) + fresh G^2``, of which ``Y = V X'``, ``products += Y'V``, and an update.

    ``P = G / (sqrt(V) + eps)``; or, where there is M, ``M = decay M + new G`` and
    ``P = M / (sqrt(max(V, guard M^2)) + eps)``.  Where there is W, ``W = keep W - rate P``, and P is not kept.

    Four rows of V at a time are formed, used for all three, and forgotten.  The products take four of the k columns of
    the factors at a time: sixteen numbers, one for a row and a column, stay in registers while both are read once.

    Args:
        G: (m, n), gradient.
        M: (m, n), average of the gradients, overwritten; or (0, n).
        W: (m, n), weights, overwritten; or (0, n).
        Q: (m, k').
        past: (k, n), the other factor, decayed; k is a multiple of 4 and at least k', with zeros from k' on, as in X.
        X: (k, n), the directions of the pass.
        P: (m, n), written; or (0, n) where there is W.
        Y: (m, k'), written.
        products: (k, n), added to.
        fresh: weight of the squares of G; of the type of the arrays, as are all numbers.
        eps: constant of the denominator.
        decay: of M.
        new: weight of G in M.
        guard: share of the squares of M.
        keep: what weight decay leaves of W.
        rate: of the step.

    Returns:
        The sum of the squares of P.
    """
    m, n = G.shape
    k, width = len(past), Q.shape[1]
    zero = G.dtype.type(0)
    V, q, y = np.empty((4, n), G.dtype), np.zeros((4, k), G.dtype), np.empty((4, k), G.dtype)
    scratch = np.empty((1, n), G.dtype)
    v0, v1, v2, v3 = V[0], V[1], V[2], V[3]
    total = 0.0
    for first in range(0, m, 4):
        rows = min(4, m - first)  # of the last four some may be missing: they count as zeros
        q[:] = zero
        q[:rows, :width] = Q[first : first + rows]
        V[:] = zero
        for c in range(0, k, 4):
            u0, u1, u2, u3 = past[c], past[c + 1], past[c + 2], past[c + 3]
            q00, q01, q02, q03 = q[0, c], q[0, c + 1], q[0, c + 2], q[0, c + 3]
            q10, q11, q12, q13 = q[1, c], q[1, c + 1], q[1, c + 2], q[1, c + 3]
            q20, q21, q22, q23 = q[2, c], q[2, c + 1], q[2, c + 2], q[2, c + 3]
            q30, q31, q32, q33 = q[3, c], q[3, c + 1], q[3, c + 2], q[3, c + 3]
            for j in range(n):
                a0, a1, a2, a3 = u0[j], u1[j], u2[j], u3[j]
                v0[j] += q00 * a0 + q01 * a1 + q02 * a2 + q03 * a3
                v1[j] += q10 * a0 + q11 * a1 + q12 * a2 + q13 * a3
                v2[j] += q20 * a0 + q21 * a1 + q22 * a2 + q23 * a3
                v3[j] += q30 * a0 + q31 * a1 + q32 * a2 + q33 * a3
        for i in range(rows):
            v, g, squares = V[i], G[first + i], zero
            p = P[first + i] if len(P) else scratch[0]
            if len(M):
                a = M[first + i]
                for j in range(n):
                    moment = max(v[j], zero) + fresh * g[j] * g[j]
                    v[j] = moment
                    average = decay * a[j] + new * g[j]
                    a[j] = average
                    update = average / (np.sqrt(max(moment, guard * average * average)) + eps)
                    p[j] = update
                    squares += update * update
            else:
                for j in range(n):
                    moment = max(v[j], zero) + fresh * g[j] * g[j]
                    v[j] = moment
                    update = g[j] / (np.sqrt(moment) + eps)
                    p[j] = update
                    squares += update * update
            if len(W):
                w = W[first + i]
                for j in range(n):
                    w[j] = keep * w[j] - rate * p[j]
            total += squares
        for c in range(0, k, 4):
            x0, x1, x2, x3 = X[c], X[c + 1], X[c + 2], X[c + 3]
            y00 = y01 = y02 = y03 = y10 = y11 = y12 = y13 = zero
            y20 = y21 = y22 = y23 = y30 = y31 = y32 = y33 = zero
            for j in range(n):
                a0, a1, a2, a3 = x0[j], x1[j], x2[j], x3[j]
                b0, b1, b2, b3 = v0[j], v1[j], v2[j], v3[j]
                y00 += b0 * a0
                y01 += b0 * a1
                y02 += b0 * a2
                y03 += b0 * a3
                y10 += b1 * a0
                y11 += b1 * a1
                y12 += b1 * a2
                y13 += b1 * a3
                y20 += b2 * a0
                y21 += b2 * a1
                y22 += b2 * a2
                y23 += b2 * a3
                y30 += b3 * a0
                y31 += b3 * a1
                y32 += b3 * a2
                y33 += b3 * a3
            y[0, c], y[0, c + 1], y[0, c + 2], y[0, c + 3] = y00, y01, y02, y03
            y[1, c], y[1, c + 1], y[1, c + 2], y[1, c + 3] = y10, y11, y12, y13
            y[2, c], y[2, c + 1], y[2, c + 2], y[2, c + 3] = y20, y21, y22, y23
            y[3, c], y[3, c + 1], y[3, c + 2], y[3, c + 3] = y30, y31, y32, y33
            w0, w1, w2, w3 = products[c], products[c + 1], products[c + 2], products[c + 3]
            for j in range(n):
                b0, b1, b2, b3 = v0[j], v1[j], v2[j], v3[j]
                w0[j] += y00 * b0 + y10 * b1 + y20 * b2 + y30 * b3
                w1[j] += y01 * b0 + y11 * b1 + y21 * b2 + y31 * b3
                w2[j] += y02 * b0 + y12 * b1 + y22 * b2 + y32 * b3
                w3[j] += y03 * b0 + y13 * b1 + y23 * b2 + y33 * b3
        Y[first : first + rows] = y[:rows, :width]
    return total
