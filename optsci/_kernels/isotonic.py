"""Isotonic regression by pooling adjacent violators, in one pass over every row."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def isotonic(rows, out, sums_of_blocks):
    """Write into ``out`` the nearest nondecreasing sequence of every row; a row with NaN becomes NaN.

    ``sums_of_blocks`` is float64, of one row or as many as ``out``, and may be ``out``: fresh memory costs as much as
    the arithmetic.
    """
    n = rows.shape[1]
    starts = np.empty(n + 1, np.int32)
    for r in range(rows.shape[0]):
        sums = sums_of_blocks[r % sums_of_blocks.shape[0]]
        scale = 1.0
        blocks = pool(rows[r], scale, sums, starts)
        if not np.abs(sums[:blocks]).sum() * n < np.inf and np.isfinite(rows[r]).all():
            scale = 2.0**-100  # so large that sums overflow
            blocks = pool(rows[r], scale, sums, starts)
        spoilt = np.isnan(sums[:blocks].sum()) and np.isnan(rows[r]).any()
        # From the end: no block begins before its number, so that no sum is overwritten before it is read.
        following = np.inf
        for block in range(blocks - 1, -1, -1):
            mean = sums[block] / (starts[block + 1] - starts[block]) / scale
            following = np.nan if spoilt else min(mean, following)  # rounding must not break the order
            for i in range(starts[block], starts[block + 1]):
                out[r, i] = following


@njit(cache=True)
def pool(row, scale, sums, starts):
    """Write the sum and the start of every block of equal values, times ``scale``; return how many there are.

    Means are compared by their sums, without a division. Equal means stay apart: what is in order stays as it is.
    """
    blocks, start, last = 0, 0, np.float64(row[0]) * scale
    for i in range(1, len(row)):
        value = np.float64(row[i]) * scale
        if value * (i - start) < last:
            last += value
            while blocks > 0 and sums[blocks - 1] * (i + 1 - start) > last * (start - starts[blocks - 1]):
                blocks -= 1
                last += sums[blocks]
                start = starts[blocks]
        else:
            sums[blocks], starts[blocks] = last, start
            blocks += 1
            last, start = value, i
    sums[blocks], starts[blocks], starts[blocks + 1] = last, start, len(row)
    return blocks + 1
