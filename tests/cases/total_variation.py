"""Instances of total variation."""

from __future__ import annotations

from cases.contract import Case
from optsci import FusedLasso, TotalVariation1D

SHAPES = ((1,), (2,), (5,), (2, 3, 4))

CASES = [
    Case("TotalVariation1D", lambda t: TotalVariation1D(0.7), SHAPES, coupled=True),
    Case("TotalVariation1D with a tensor", lambda t: TotalVariation1D(t(0.2)), ((9,),), coupled=True),
    Case("FusedLasso", lambda t: FusedLasso(0.4, 0.7), SHAPES, coupled=True),
]

METHODS = {
    "TotalVariation1D": "prox",
    "FusedLasso": "prox",
}

CVXPY = {
    "TotalVariation1D": ((5,), lambda cp, x: (0.7 * cp.norm1(cp.diff(x)), [])),
    "FusedLasso": ((5,), lambda cp, x: (0.4 * cp.norm1(x) + 0.7 * cp.norm1(cp.diff(x)), [])),
}

PYPROXIMAL = {
    "TotalVariation1D": ((5,), lambda pp: pp.TV((5,), sigma=0.7, niter=200, rtol=0.0)),
}
