"""Instances of the polytopes."""

from __future__ import annotations

from cases.contract import Case
from optsci import Birkhoff, CappedSimplex, TransportPolytope

CASES = [
    Case("CappedSimplex", lambda t: CappedSimplex(2), ((1,), (2,), (5,), (2, 3, 4)), True, True, True, False),
    Case("CappedSimplex of 0.7", lambda t: CappedSimplex(t(0.7)), ((2,), (3, 4)), True, True, True, False),
    Case("Birkhoff", lambda t: Birkhoff(), ((3, 3), (3, 2, 2)), True, True, True, False),
    Case(
        "TransportPolytope",
        lambda t: TransportPolytope(t([1.0, 2.0, 0.5]), t([2.5, 0.0, 0.75, 0.25])),
        ((3, 4),),
        True,
        True,
        True,
        False,
    ),
]

METHODS = {"CappedSimplex": "prox lmo", "Birkhoff": "prox lmo", "TransportPolytope": "prox"}

CVXPY = {
    "CappedSimplex": ((5,), lambda cp, x: (0, [x >= 0, x <= 1, cp.sum(x) <= 2])),
    "Birkhoff": ((3, 3), lambda cp, x: (0, [x >= 0, cp.sum(x, axis=0) == 1, cp.sum(x, axis=1) == 1])),
    "TransportPolytope": (
        (3, 4),
        lambda cp, x: (0, [x >= 0, cp.sum(x, axis=0) == [2.5, 0, 0.75, 0.25], cp.sum(x, axis=1) == [1, 2, 0.5]]),
    ),
}
