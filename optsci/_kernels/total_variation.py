"""Exact 1-D total variation denoising by dynamic programming, in linear time for every row.

Reference: N. A. Johnson, A Dynamic Programming Algorithm for the Fused Lasso and L0-Segmentation,
J. Comput. Graph. Stat. 22 (2013) 246-260.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def total_variation(rows, weights, out):
    """Write ``argmin_z ||z - row||^2/2 + weight sum_i |z_{i+1} - z_i|`` into ``out``; a row with NaN becomes NaN."""
    n = rows.shape[1]
    # The derivative of the cost-to-come is piecewise linear: knots, and by how much slope and intercept change.
    knots, slopes, intercepts = np.empty(2 * n), np.empty(2 * n), np.empty(2 * n)
    low, high = np.empty(n), np.empty(n)
    for r in range(rows.shape[0]):
        weight, total = np.float64(weights[r]), 0.0
        for i in range(n):
            total += rows[r, i]
        if np.isnan(total) or np.isnan(weight):
            out[r, :] = np.nan
            continue
        if n == 1 or weight == 0:
            out[r, :] = rows[r, :]
            continue
        y = np.float64(rows[r, 0])
        low[0], high[0] = y - weight, y + weight
        first, last = n - 1, n
        knots[first], slopes[first], intercepts[first] = low[0], 1.0, weight - y
        knots[last], slopes[last], intercepts[last] = high[0], -1.0, weight + y
        for k in range(1, n):
            y = np.float64(rows[r, k])
            slope, intercept = 1.0, -weight - y
            target = -weight if k < n - 1 else 0.0  # at the end the derivative vanishes
            lo = first
            while lo <= last and slope * knots[lo] + intercept <= target:
                slope += slopes[lo]
                intercept += intercepts[lo]
                lo += 1
            if k == n - 1:
                out[r, k] = -intercept / slope
                break
            slope_hi, intercept_hi = -1.0, y - weight
            hi = last
            while hi >= lo and -slope_hi * knots[hi] - intercept_hi >= weight:
                slope_hi += slopes[hi]
                intercept_hi += intercepts[hi]
                hi -= 1
            first, last = lo - 1, hi + 1
            low[k], high[k] = (-weight - intercept) / slope, -(weight + intercept_hi) / slope_hi
            knots[first], slopes[first], intercepts[first] = low[k], slope, intercept + weight
            knots[last], slopes[last], intercepts[last] = high[k], slope_hi, intercept_hi + weight
        for k in range(n - 2, -1, -1):
            out[r, k] = min(max(out[r, k + 1], low[k]), high[k])
