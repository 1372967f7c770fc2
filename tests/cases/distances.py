"""Instances of the distances to sets."""

from __future__ import annotations

from cases.contract import Case
from optsci import Box, Distance, L2Ball, SquaredDistance

KINK = {"test_lipschitz_constant_is_the_best": "flat inside the set, 0 among the points"}

CASES = [
    Case("Distance", lambda t: Distance(Box(-0.5, 1), 0.7), ((1,), (2,), (3, 4)), coupled=True),
    Case("Distance to a ball", lambda t: Distance(L2Ball(1.2), 0.7), ((4,),), coupled=True),
    Case("SquaredDistance", lambda t: SquaredDistance(Box(-0.5, 1), 0.7), ((1,), (2,), (3, 4)), without=KINK),
]

METHODS = {
    "Distance": "prox",
    "SquaredDistance": "grad prox lipschitz",
}

CVXPY = {
    "Distance": ((2,), lambda cp, x: (0.7 * cp.norm2(cp.pos(cp.maximum(x - 1, -0.5 - x))), [])),
    "Distance to a ball": ((4,), lambda cp, x: (0.7 * cp.pos(cp.norm2(x) - 1.2), [])),
    "SquaredDistance": ((2,), lambda cp, x: (0.35 * cp.sum_squares(cp.pos(cp.maximum(x - 1, -0.5 - x))), [])),
}
