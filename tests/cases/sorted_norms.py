"""Instances of the norms of sorted vectors."""

from __future__ import annotations

from cases.contract import Case
from optsci import SLOPE, SLOPEBall, SquaredL1, SumLargest

SHAPES = ((1,), (2,), (5,), (2, 3, 4))

CASES = [
    Case("SLOPE", lambda t: SLOPE(t([1.5, 1.0, 1.0, 0.2])), ((4,), (2, 3, 4)), coupled=True),
    Case("SLOPE of two", lambda t: SLOPE(t([1.5, 0.4])), ((2,), (3, 2)), coupled=True),
    Case(
        "SLOPEBall",
        lambda t: SLOPEBall(t([1.5, 1.0, 1.0, 0.2])),
        ((4,), (2, 3, 4)),
        indicator=True,
        coupled=True,
        exact=False,
    ),
    Case("SquaredL1", lambda t: SquaredL1(0.7), SHAPES, coupled=True),
    Case("SumLargest", lambda t: SumLargest(0.7, 2), SHAPES, coupled=True),
    Case("SumLargest of one", lambda t: SumLargest(t(0.7), 1), ((2,), (5,)), coupled=True),
]

METHODS = {
    "SLOPE": "prox conjugate",
    "SLOPEBall": "prox conjugate lmo",
    "SquaredL1": "prox conjugate",
    "SumLargest": "prox",
}

CVXPY = {
    "SLOPE": (
        (4,),
        lambda cp, x: (0.5 * cp.norm_inf(x) + 0.8 * cp.sum_largest(cp.abs(x), 3) + 0.2 * cp.norm1(x), []),
    ),
    "SLOPEBall": (
        (4,),
        lambda cp, x: (0, [cp.sum_largest(cp.abs(x), k) <= sum([1.5, 1, 1, 0.2][:k]) for k in (1, 2, 3, 4)]),
    ),
    "SquaredL1": ((5,), lambda cp, x: (0.35 * cp.square(cp.norm1(x)), [])),
    "SumLargest": ((5,), lambda cp, x: (0.7 * cp.sum_largest(x, 2), [])),
}
