"""Instances of the Euclidean norm and its relatives."""

from __future__ import annotations

from cases.contract import Case
from optsci import L2, CubedL2, GroupL2, GroupL2Ball, L2Ball, L2Sphere, SparseGroup, SparseGroupBall

VECTORS = ((1,), (2,), (5,), (2, 3, 4))
THIN = {"test_prox_agrees_with_brute_force": "no point of a grid lies on a sphere; a test of its own goes round it"}

CASES = [
    Case("L2", lambda t: L2(0.8), VECTORS, coupled=True),
    Case("L2 of weight 0", lambda t: L2(0), VECTORS, coupled=True),
    Case("L2Ball", lambda t: L2Ball(1.5), ((1,), (5,), (2, 3, 4)), indicator=True, coupled=True, exact=False),
    Case("L2Ball of radius 0", lambda t: L2Ball(0), VECTORS, indicator=True, coupled=True, exact=False),
    Case("L2Sphere", lambda t: L2Sphere(1.5), VECTORS, False, True, True, exact=False, without=THIN),
    Case("GroupL2", lambda t: GroupL2(0.8), coupled=True),
    Case("GroupL2 by column", lambda t: GroupL2(0.8, dim=0), coupled=True),
    Case("GroupL2 of slices", lambda t: GroupL2(0.8, dim=(0, -1)), ((3, 4), (2, 3, 4)), coupled=True),
    Case("GroupL2Ball", lambda t: GroupL2Ball(t(1.5), dim=0), ((1, 2), (3, 4)), True, True, True, exact=False),
    Case("SparseGroup", lambda t: SparseGroup(0.5, 0.8), VECTORS, coupled=True),
    Case(
        "SparseGroupBall",
        lambda t: SparseGroupBall(t(0.5), 0.8),
        ((1,), (5,), (2, 3, 4)),
        indicator=True,
        coupled=True,
        exact=False,
    ),
    Case("CubedL2", lambda t: CubedL2(0.6), VECTORS, coupled=True),
]  # fmt: skip

METHODS = {
    "L2": "prox conjugate",
    "L2Ball": "prox conjugate lmo",
    "L2Sphere": "prox",
    "GroupL2": "prox conjugate",
    "GroupL2Ball": "prox conjugate lmo",
    "SparseGroup": "prox conjugate",
    "SparseGroupBall": "prox conjugate lmo",
    "CubedL2": "grad prox",
}

CVXPY = {
    "SparseGroupBall": ((5,), lambda cp, x: (0, [cp.norm2(cp.pos(cp.abs(x) - 0.5)) <= 0.8])),
    "L2": ((5,), lambda cp, x: (0.8 * cp.norm2(x), [])),
    "L2Ball": ((5,), lambda cp, x: (0, [cp.norm2(x) <= 1.5])),
    "GroupL2": ((3, 4), lambda cp, x: (0.8 * cp.sum(cp.norm2(x, axis=1)), [])),
    "GroupL2Ball": ((3, 4), lambda cp, x: (0, [cp.norm2(x, axis=0) <= 1.5])),
    "SparseGroup": ((5,), lambda cp, x: (0.5 * cp.norm1(x) + 0.8 * cp.norm2(x), [])),
    "CubedL2": ((5,), lambda cp, x: (0.6 * cp.power(cp.norm2(x), 3), [])),
}

PYPROXIMAL = {
    "L2": ((5,), lambda pp: pp.Euclidean(sigma=0.8)),
    "L2Ball": ((5,), lambda pp: pp.EuclideanBall(0, 1.5)),
    "GroupL2 by column": ((3, 4), lambda pp: pp.L21(ndim=3, sigma=0.8)),
    "SparseGroup": ((5,), lambda pp: pp.L21_plus_L1(sigma=1.3, rho=0.5 / 1.3)),
}
