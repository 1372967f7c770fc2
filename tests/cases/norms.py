"""Instances of the norms."""

from __future__ import annotations

import numpy as np

from cases.contract import Case
from optsci import L1, ElasticNet, SquaredL2, WeightedL1

CASES = [
    Case("L1", lambda t: L1(0.7)),
    Case("L1 of weight 0", lambda t: L1(0)),
    Case("L1 with a tensor weight", lambda t: L1(t(0.7))),
    Case("WeightedL1", lambda t: WeightedL1(t([0.0, 0.3, 1.0, 2.0])), ((4,), (3, 4), (2, 3, 4))),
    Case("WeightedL1 by row", lambda t: WeightedL1(t([[0.0], [0.3], [2.0]])), ((3, 4), (3, 1), (2, 3, 4))),
    Case("SquaredL2", lambda t: SquaredL2(0.6)),
    Case("SquaredL2 of weight 0", lambda t: SquaredL2(0)),
    Case("ElasticNet", lambda t: ElasticNet(0.7, 0.6)),
    Case("ElasticNet without ridge", lambda t: ElasticNet(0.7, 0)),
]  # fmt: skip

METHODS = {
    "L1": "prox conjugate",
    "WeightedL1": "prox conjugate",
    "SquaredL2": "grad prox conjugate lipschitz",
    "ElasticNet": "prox conjugate",
}

CVXPY = {
    "L1": ((5,), lambda cp, x: (0.7 * cp.norm1(x), [])),
    "WeightedL1": ((4,), lambda cp, x: (cp.abs(x) @ [0, 0.3, 1, 2], [])),
    "SquaredL2": ((5,), lambda cp, x: (0.3 * cp.sum_squares(x), [])),
    "ElasticNet": ((5,), lambda cp, x: (0.7 * cp.norm1(x) + 0.3 * cp.sum_squares(x), [])),
}

PYPROXIMAL = {
    "L1": ((5,), lambda pp: pp.L1(0.7)),
    "WeightedL1": ((4,), lambda pp: pp.L1(np.array([0.0, 0.3, 1.0, 2.0]))),
    "SquaredL2": ((5,), lambda pp: pp.L2(sigma=0.6)),
}
