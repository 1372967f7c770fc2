"""Instances of the nonconvex penalties."""

from __future__ import annotations

from cases.contract import Case
from optsci import L0, MCP, SCAD, CappedL1, GroupL0, LHalf, LogSum, LTwoThirds, TransformedL1

SHAPES = ((), (1,), (5,), (3, 4), (0,))

CASES = [
    Case("L0", lambda t: L0(0.7), SHAPES, convex=False),
    Case("GroupL0", lambda t: GroupL0(0.7), ((2,), (3, 4)), convex=False, coupled=True),
    Case("LHalf", lambda t: LHalf(0.7), SHAPES, convex=False),
    Case("LTwoThirds", lambda t: LTwoThirds(0.7), SHAPES, convex=False),
    Case("MCP", lambda t: MCP(0.7, 2.5), SHAPES, convex=False),
    Case("SCAD", lambda t: SCAD(0.7, 3.7), SHAPES, convex=False),
    Case("LogSum", lambda t: LogSum(0.7, 0.5), SHAPES, convex=False),
    Case("CappedL1", lambda t: CappedL1(0.7, 1.2), SHAPES, convex=False),
    Case("TransformedL1", lambda t: TransformedL1(0.7, 1.5), SHAPES, convex=False),
]

METHODS = {case.name: "prox" for case in CASES}
