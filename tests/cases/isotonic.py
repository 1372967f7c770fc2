"""Instances of the monotone cone and of permutahedra."""

from __future__ import annotations

from cases.contract import Case
from optsci import MonotoneCone, Permutahedron

EQUALITY = {"test_prox_agrees_with_brute_force": "a grid does not hit the plane of the permutahedron"}

CASES = [
    Case("MonotoneCone", lambda t: MonotoneCone(), ((1,), (2,), (5,), (2, 3, 4)), indicator=True, coupled=True),
    Case(
        "Permutahedron",
        lambda t: Permutahedron(t([0.5, 2.0, -1.0, 0.5])),
        ((4,), (2, 3, 4)),
        indicator=True,
        coupled=True,
        exact=False,
        without=EQUALITY,
    ),
]

METHODS = {
    "MonotoneCone": "prox",
    "Permutahedron": "prox lmo",
}

CVXPY = {
    "MonotoneCone": ((5,), lambda cp, x: (0, [cp.diff(x) >= 0])),
    "Permutahedron": (
        (4,),
        lambda cp, x: (
            0,
            [cp.sum_largest(x, 1) <= 2, cp.sum_largest(x, 2) <= 2.5, cp.sum_largest(x, 3) <= 3, cp.sum(x) == 2],
        ),
    ),
}
