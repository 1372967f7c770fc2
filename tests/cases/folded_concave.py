"""Instances of the folded concave penalties."""

from __future__ import annotations

import numpy as np

from cases.contract import Case
from optsci import MCP, SCAD, CappedL1, LogSum, TransformedL1

SHAPES = ((), (1,), (5,), (3, 4), (0,))

CASES = [
    Case("MCP", lambda t: MCP(0.7, 2.5), SHAPES, convex=False),
    Case("SCAD", lambda t: SCAD(0.7, 3.7), SHAPES, convex=False),
    Case("LogSum", lambda t: LogSum(0.7, 0.5), SHAPES, convex=False),
    Case("CappedL1", lambda t: CappedL1(0.7, 1.2), SHAPES, convex=False),
    Case("TransformedL1", lambda t: TransformedL1(0.7, 1.5), SHAPES, convex=False),
]

METHODS = {case.name: "prox" for case in CASES}

PYPROXIMAL = {
    "SCAD": ((5,), lambda pp: pp.SCAD(0.7, 3.7)),
    # 0.4 (1.75 |x| - x^2/2) = 0.7 |x| - x^2/(2 * 2.5), whose envelope has mu = 1.75^2/2
    "MCP": ((5,), lambda pp: 0.4 * pp.QuadraticEnvelopeCard(1.75**2 / 2)),
    "LogSum": ((5,), lambda pp: pp.Log(0.7 * np.log(3), 2.0)),
    # Log1 has half its penalty in its prox, and a threshold of its own: far from 0 the stationary point is the same
    "LogSum | Log1": ((5,), lambda pp: pp.Log1(1.4, 0.5), lambda v: v + 3 * v.sign()),
    "TransformedL1": ((5,), lambda pp: pp.Geman(1.75, 1.5)),
}
