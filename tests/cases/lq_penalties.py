"""Instances of the powers below 1 and the counts."""

from __future__ import annotations

from cases.contract import Case, hard_threshold
from optsci import L0, GroupL0, LHalf, LTwoThirds

SHAPES = ((), (1,), (5,), (3, 4), (0,))

CASES = [
    Case("L0", lambda t: L0(0.7), SHAPES, convex=False),
    Case("GroupL0", lambda t: GroupL0(0.7), ((2,), (3, 4)), convex=False, coupled=True),
    Case("LHalf", lambda t: LHalf(0.7), SHAPES, convex=False),
    Case("LTwoThirds", lambda t: LTwoThirds(0.7), SHAPES, convex=False),
]

METHODS = {case.name: "prox" for case in CASES}

PYPROXIMAL = {
    "L0": ((5,), lambda pp: hard_threshold(pp, 0.7)),
}
