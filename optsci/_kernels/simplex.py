"""The threshold of the projection on a simplex, in expected linear time for every row.

Reference: L. Condat, Fast projection onto the simplex and the l1 ball, Math. Program. 158 (2016) 575-585.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def simplex_threshold(rows, radii, out):
    """Write ``theta`` with ``sum_i (row_i - theta)_+ = radius`` into ``out``; NaN for a row with NaN."""
    n = rows.shape[1]
    kept, later = np.empty(n), np.empty(n)
    for r in range(rows.shape[0]):
        radius, total = np.float64(radii[r]), 0.0
        y = np.float64(rows[r, 0])
        top = y
        kept[0] = y
        count, waiting, theta = 1, 0, y - radius
        for i in range(n):
            y = np.float64(rows[r, i])
            total += y
            top = max(top, y)
            if i > 0 and y > theta:
                theta += (y - theta) / (count + 1)
                if theta > y - radius:
                    kept[count] = y
                    count += 1
                else:  # y alone gives a larger lower bound; the others may come back
                    later[waiting : waiting + count] = kept[:count]
                    waiting += count
                    kept[0] = y
                    count, theta = 1, y - radius
        if np.isnan(total) or np.isnan(radius):
            out[r] = np.nan
            continue
        for i in range(waiting):
            if later[i] > theta:
                kept[count] = later[i]
                count += 1
                theta += (later[i] - theta) / count
        # Newton's method on what is left: theta rises while entries below it are dropped.
        while True:
            excess = 0.0
            for i in range(count):
                excess += kept[i] - top  # measured from the top, a common offset costs no digits
            theta = top + (excess - radius) / count
            left = 0
            for i in range(count):
                if kept[i] > theta:
                    kept[left] = kept[i]
                    left += 1
            if left in (0, count):
                break
            count = left
        out[r] = theta
