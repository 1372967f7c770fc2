"""Instances of the k-support norm, of its square, and of the ball of its dual norm."""

from __future__ import annotations

from cases.contract import Case
from optsci import KSupport, LargestL2Ball, SquaredKSupport, SquaredLargestL2

CASES = [
    Case("SquaredKSupport", lambda t: SquaredKSupport(0.7, 2), ((1,), (2,), (5,), (2, 3, 4)), coupled=True),
    Case("SquaredKSupport of one", lambda t: SquaredKSupport(t(0.7), 1), ((2,), (5,)), coupled=True),
    Case("SquaredLargestL2", lambda t: SquaredLargestL2(0.7, 2), ((2,), (2, 5)), coupled=True),
    Case("KSupport", lambda t: KSupport(0.7, 2), ((2,), (2, 5)), coupled=True),
    Case("KSupport of three", lambda t: KSupport(t(0.7), 3), ((5,),), coupled=True),
    Case(
        "LargestL2Ball",
        lambda t: LargestL2Ball(1.3, 2),
        ((1,), (5,), (2, 4)),
        indicator=True,
        coupled=True,
        exact=False,
    ),
]

METHODS = {
    "SquaredKSupport": "prox conjugate",
    "SquaredLargestL2": "prox conjugate",
    "KSupport": "prox conjugate",
    "LargestL2Ball": "prox conjugate lmo",
}

CVXPY = {
    "SquaredLargestL2": ((5,), lambda cp, x: (0.35 * cp.sum_largest(cp.square(x), 2), [])),
    # By Moreau's identity it speaks for the prox of the norm, too.
    "LargestL2Ball": ((5,), lambda cp, x: (0, [cp.sum_largest(cp.square(x), 2) <= 1.3**2])),
}
