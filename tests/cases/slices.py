"""Instances of the functions of slices."""

from __future__ import annotations

from cases.contract import Case
from optsci import L1, L2, Huber, Sliced, SquaredL2

CASES = [
    Case("Sliced", lambda t: Sliced([L1(0.7), L2(0.5)], [2, 3]), ((5,), (2, 5)), coupled=True),
    Case("Sliced, smooth", lambda t: Sliced([Huber(0.7), SquaredL2(0.7)], [1, 1]), ((2,), (3, 2))),
]

METHODS = {
    "Sliced": "prox",
    "Sliced, smooth": "grad prox lipschitz",
}

CVXPY = {
    "Sliced": ((5,), lambda cp, x: (0.7 * cp.norm1(x[:2]) + 0.5 * cp.norm2(x[2:]), [])),
}

PYPROXIMAL = {
    "Sliced": ((5,), lambda pp: pp.VStack([pp.L1(0.7), pp.Euclidean(0.5)], nn=[2, 3])),
}
