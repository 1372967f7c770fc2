"""The two passes of a step over a matrix in memory, each reading and writing every number once.

As a chain of PyTorch operations they take ten passes; on a processor those, and not the products with the factors, are
most of the time of a step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

FAST = {"reassoc", "contract"}  # sums may be reordered, so that they vectorise; NaN stays NaN


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def moment_and_update(V: Array, G: Array, N: Array, fresh: float, eps: float, P: Array, squares: Array) -> None:
    """``V = V + fresh G^2`` and ``P = N / (sqrt(V) + eps)``, and the sums of the squares of P are added up.

    Args:
        V: (B, m, n), the decayed past; overwritten by the second moment.
        G: (B, m, n), gradients.
        N: (B, m, n), they or their averages.
        fresh: weight of the squares of G; of the type of the arrays, as is ``eps``.
        eps: constant of the denominator.
        P: (B, m, n), written.
        squares: (B,) float64, added to.
    """
    zero = V.dtype.type(0)
    for b in range(V.shape[0]):
        for i in range(V.shape[1]):
            row = zero
            for j in range(V.shape[2]):
                g = G[b, i, j]
                v = V[b, i, j] + fresh * g * g
                V[b, i, j] = v
                p = N[b, i, j] / (np.sqrt(v) + eps)
                P[b, i, j] = p
                row += p * p
            squares[b] += row


@njit(cache=True, nogil=True, fastmath=FAST)
def averaged_step(W: Array, M: Array, P: Array, b1: float, scale: float, keep: float, lr: float) -> None:
    """``M = b1 M + (1 - b1) s P`` and ``W = keep W - lr M``; everything has the type of the arrays.

    Args:
        W: (m, n), weights, overwritten.
        M: (m, n), average of the update, overwritten.
        P: (m, n), the update.
        b1: its decay.
        scale: the factor s.
        keep: what weight decay leaves of W.
        lr: learning rate.
    """
    new = (W.dtype.type(1) - b1) * scale
    for i in range(W.shape[0]):
        for j in range(W.shape[1]):
            average = b1 * M[i, j] + new * P[i, j]
            M[i, j] = average
            W[i, j] = keep * W[i, j] - lr * average


@njit(cache=True, nogil=True, fastmath=FAST)
def plain_step(W: Array, P: Array, scale: float, keep: float, lr: float) -> None:
    """``W = keep W - lr s P``, see ``averaged_step``."""
    rate = lr * scale
    for i in range(W.shape[0]):
        for j in range(W.shape[1]):
            W[i, j] = keep * W[i, j] - rate * P[i, j]
