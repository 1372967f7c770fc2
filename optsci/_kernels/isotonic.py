"""Isotonic regression by pooling adjacent violators, in one pass over every row."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def isotonic(rows, out, means_of_blocks):
    """Write into ``out`` the nearest nondecreasing sequence of every row; a row with NaN becomes NaN.

    ``means_of_blocks`` is float64, of one row or as many as ``out``, and may be ``out``: fresh memory costs as much as
    the arithmetic.
    """
    n = rows.shape[1]
    starts = np.empty(n + 1, np.int32)
    for r in range(rows.shape[0]):
        means = means_of_blocks[r % means_of_blocks.shape[0]]
        blocks, spoilt = 0, False
        for i in range(n):
            mean, start = np.float64(rows[r, i]), i
            spoilt = spoilt or np.isnan(mean)
            # Equal means are pooled as well, so that the runs of equal values are the blocks.
            while blocks > 0 and means[blocks - 1] >= mean:
                blocks -= 1
                left, right = start - starts[blocks], i + 1 - start
                # This mean lies between the two, whatever the rounding of a long sum.
                mean += (means[blocks] - mean) * (left / (left + right))
                start = starts[blocks]
            means[blocks], starts[blocks] = mean, start
            blocks += 1
        starts[blocks] = n
        # From the end: no block begins before its number, so that no mean is overwritten before it is read.
        for block in range(blocks - 1, -1, -1):
            value = np.nan if spoilt else means[block]
            for i in range(starts[block], starts[block + 1]):
                out[r, i] = value
