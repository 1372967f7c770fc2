"""Instances of intersections."""

from __future__ import annotations

import numpy as np

from cases.contract import Case
from optsci import Box, Halfspace, Hyperplane, Intersection, Nonnegative

CASES = [
    Case(
        "Intersection of two halfspaces",
        lambda t: Intersection(Halfspace(t([1.0, 0.2]), 0.5), Halfspace(t([0.1, 1.0]), -0.3), sweeps=60),
        ((2,), (2, 2)),
        True,
        True,
        True,
        False,
    ),
    Case(
        "Intersection, the simplex",
        lambda t: Intersection(Hyperplane(t([1.0, 1.0, 1.0]), 1.0), Nonnegative(), sweeps=100),
        ((3,), (2, 3)),
        True,
        True,
        True,
        False,
    ),
    Case("Intersection of boxes", lambda t: Intersection(Box(-2, 1), Box(-1, 3), sweeps=3), ((3, 2),), True, True),
]

METHODS = {"Intersection": "prox"}

CVXPY = {
    "Intersection of two halfspaces": ((2,), lambda cp, x: (0, [x[0] + 0.2 * x[1] <= 0.5, 0.1 * x[0] + x[1] <= -0.3])),
    "Intersection, the simplex": ((3,), lambda cp, x: (0, [x >= 0, cp.sum(x) == 1])),
}

PYPROXIMAL = {
    "Intersection of two halfspaces": (
        (2,),
        lambda pp: pp.GenericIntersectionProx(
            [
                pp.projection.HalfSpaceProj(np.array([1.0, 0.2]), 0.5),
                pp.projection.HalfSpaceProj(np.array([0.1, 1.0]), -0.3),
            ],
            tol=1e-14,
        ),
    ),
}
