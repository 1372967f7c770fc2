"""Instances of the monotone cone and of permutahedra."""

from __future__ import annotations

from cases.contract import Case
from optsci import MonotoneCone, Permutahedron, PermutahedronSupport

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
    Case(
        "PermutahedronSupport",
        lambda t: PermutahedronSupport(t([0.5, 2.0, -1.0, 0.5])),
        ((4,), (2, 3, 4)),
        coupled=True,
    ),
]

METHODS = {
    "MonotoneCone": "prox",
    "Permutahedron": "prox conjugate lmo",
    "PermutahedronSupport": "prox conjugate",
}

CVXPY = {
    "PermutahedronSupport": (
        (4,),
        lambda cp, x: (-cp.sum(x) + 1.5 * cp.sum_largest(x, 3) + 1.5 * cp.max(x), []),
    ),
    "MonotoneCone": ((5,), lambda cp, x: (0, [cp.diff(x) >= 0])),
    "Permutahedron": (
        (4,),
        lambda cp, x: (
            0,
            [cp.sum_largest(x, 1) <= 2, cp.sum_largest(x, 2) <= 2.5, cp.sum_largest(x, 3) <= 3, cp.sum(x) == 2],
        ),
    ),
}
