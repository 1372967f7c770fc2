"""Instances of the pointwise minimum."""

from __future__ import annotations

from cases.contract import Case
from optsci import L1, PointwiseMinimum, SquaredL2, Tilted

CASES = [
    Case(
        "PointwiseMinimum",
        lambda t: PointwiseMinimum(L1(2.0), Tilted(SquaredL2(0.5), 0.2)),
        ((1,), (2,), (4,)),
        convex=False,
        coupled=True,
    ),
]

METHODS = {
    "PointwiseMinimum": "prox",
}
