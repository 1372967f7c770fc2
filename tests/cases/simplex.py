"""Instances of the simplex, the l1 ball, and their dual norms."""

from __future__ import annotations

from cases.contract import Case
from optsci import L1Ball, LInf, Max, Simplex

SHAPES = ((1,), (2,), (5,), (2, 3, 4))

EQUALITY = {"test_prox_agrees_with_brute_force": "a grid does not hit the plane of the simplex"}

CASES = [
    Case("Simplex", lambda t: Simplex(), SHAPES, True, True, True, False, without=EQUALITY),
    Case("Simplex with a tensor radius", lambda t: Simplex(t(2.5)), SHAPES, True, True, True, False, without=EQUALITY),
    Case("Max", lambda t: Max(0.7), SHAPES, coupled=True),
    Case("L1Ball", lambda t: L1Ball(1.3), SHAPES, indicator=True, coupled=True, exact=False),
    Case("LInf", lambda t: LInf(t(0.7)), SHAPES, coupled=True),
]  # fmt: skip

METHODS = {
    "Simplex": "prox conjugate lmo",
    "Max": "prox conjugate",
    "L1Ball": "prox conjugate lmo",
    "LInf": "prox conjugate",
}

CVXPY = {
    "Simplex": ((5,), lambda cp, x: (0, [x >= 0, cp.sum(x) == 1])),
    "Max": ((5,), lambda cp, x: (0.7 * cp.max(x), [])),
    "L1Ball": ((5,), lambda cp, x: (0, [cp.norm1(x) <= 1.3])),
    "LInf": ((5,), lambda cp, x: (0.7 * cp.norm_inf(x), [])),
}

PYPROXIMAL = {
    "Simplex": ((5,), lambda pp: pp.Simplex(5, 1.0, maxiter=200, xtol=1e-14)),
    "L1Ball": ((5,), lambda pp: pp.L1Ball(5, 1.3, maxiter=200, xtol=1e-14)),
}
