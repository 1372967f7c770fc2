"""Passes over a matrix in the memory of a processor, by tiles of its rows, on as many threads as PyTorch uses.

How a matrix is cut depends on its shape alone: the bits of a result do not depend on the number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

TILE = 1 << 16  # entries, of which a thread takes some tens of microseconds
TILES = 16  # at most


class Numbers(NamedTuple):
    """What a pass is told, in the order of ``_kernels.tracking.pass_over``; without M or W what concerns them is 0."""

    fresh: float
    eps: float
    decay: float = 0.0
    new: float = 0.0
    guard: float = 0.0
    keep: float = 0.0
    rate: float = 0.0


def pass_in_tiles(
    G: Tensor,
    M: Tensor | None,
    W: Tensor | None,
    Q: Tensor,
    past: Tensor,
    X: Tensor,
    P: Tensor | None,
    Y: Tensor,
    numbers: Numbers,
) -> tuple[Tensor, Tensor]:
    """``_kernels.tracking.pass_over`` for all rows.

    Args:
        G: (m, n), in memory row after row, as M, W and P.
        M: average of the gradients, or None.
        W: weights, or None.
        Q: (m, k), and so is Y, written.
        past: (k', n) with k' as ``padded`` makes it, and so is X.
        X: directions.
        P: written; None where there are weights.
        Y: V X', written.
        numbers: see there.

    Returns:
        Y'V, (k', n), and the sum of the squares of P, 0-d in double precision.
    """
    from ._kernels.tracking import pass_over

    tiles = row_tiles(len(G), G.shape[1], accumulated=len(past))
    products, squares = past.new_zeros(len(tiles), *past.shape), torch.zeros(len(tiles), dtype=torch.float64)
    none = G[:0]
    g, m, w, p = (none.numpy() if a is None else a.numpy() for a in (G, M, W, P))
    q, u, x, y, sums, parts = (a.numpy() for a in (Q, past, X, Y, products, squares))
    values = [g.dtype.type(number) for number in numbers]

    def work(i: int) -> None:
        r = tiles[i]
        parts[i] = pass_over(g[r], m[r], w[r], q[r], u, x, p[r], y[r], sums[i], *values)

    in_turn(work, len(tiles))
    return products[0] if len(tiles) == 1 else products.sum(0), squares.sum()


def padded(factors: Tensor) -> Tensor:
    """(B, n, k) to (B, k', n), rows in memory one after the other; k' is the next multiple of 4, zeros fill up."""
    return functional.pad(factors, (0, -factors.shape[-1] % 4)).mT.contiguous()


def row_tiles(m: int, n: int, accumulated: int = 0) -> list[slice]:
    """Slices of the m rows of n columns: of multiples of four rows, and few where each has a matrix of its own.

    Args:
        m: rows.
        n: columns.
        accumulated: rows of that matrix, of n columns; together they are to be smaller than a quarter of the matrix.

    Example:
        >>> row_tiles(512, 512)
        [slice(0, 128, None), slice(128, 256, None), slice(256, 384, None), slice(384, 512, None)]
    """
    most = TILES if accumulated == 0 else min(TILES, m // (4 * accumulated))
    count = max(min(round(m * n / TILE), most), 1)
    rows = max(-(-m // (4 * count)), 1) * 4
    return [slice(first, min(first + rows, m)) for first in range(0, m, rows)]


def in_turn(work: Callable[[int], None], count: int) -> None:
    """``work(0)`` to ``work(count - 1)``, shared among the threads; it has to let go of the interpreter to gain."""
    threads = min(torch.get_num_threads(), count)

    def some(first: int) -> None:
        for i in range(first, count, threads):
            work(i)

    others = [_pool(os.getpid()).submit(some, first) for first in range(1, threads)]
    if count:
        some(0)
    for other in others:
        other.result()


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Threads of this process, begun when they are needed: those of a parent do not live on in a fork."""
    return ThreadPoolExecutor(TILES - 1, "optsci-tiles")
