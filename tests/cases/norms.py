"""Instances of the norms."""

from __future__ import annotations

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
