"""Instances of the rules."""

from __future__ import annotations

import numpy as np

from cases.contract import Case, gaussian, gram
from optsci import (
    L1,
    Box,
    Conjugate,
    ElasticNet,
    GroupL2,
    MoreauEnvelope,
    Nonnegative,
    Quadratic,
    Sparsity,
    SquaredL2,
    Translated,
)

CASES = [
    Case("Scaled", lambda t: 0.3 * ElasticNet(0.7, 0.6)),
    Case("Scaled by a tensor", lambda t: t(0.3) * SquaredL2()),
    Case("Scaled twice", lambda t: 2 * (0.3 * Quadratic(gram(t), gaussian(t, 4))), ((4,), (3, 4)), coupled=True),
    Case("Scaled indicator", lambda t: 3 * Nonnegative(), indicator=True),
    Case("Translated", lambda t: Translated(L1(0.7), t([0.0, 1.0, -2.0])), ((3,), (2, 3))),
    Case("Translated by a number", lambda t: Translated(0.4 * SquaredL2(), 0.7)),
    Case("Translated Sparsity", lambda t: Translated(Sparsity(1), 0.7), ((3,), (2, 3)), False, True, True),
    Case("Conjugate of SquaredL2", lambda t: Conjugate(SquaredL2(0.6))),
    Case("Conjugate of ElasticNet", lambda t: Conjugate(ElasticNet(0.7, 0.6))),
    Case("Conjugate of a conjugate", lambda t: Conjugate(Conjugate(L1(0.7)))),
    Case("MoreauEnvelope of L1", lambda t: MoreauEnvelope(L1(0.7), 0.8)),
    Case(
        "MoreauEnvelope of a set",
        lambda t: MoreauEnvelope(Box(-1, 1), 0.8),
        without={"test_lipschitz_constant_is_the_best": "flat inside the set, 0 among the points"},
    ),
    Case("MoreauEnvelope of groups", lambda t: MoreauEnvelope(GroupL2(0.7), t(0.8)), coupled=True),
]  # fmt: skip

METHODS = {
    "Conjugate": "prox conjugate",
    "MoreauEnvelope": "grad prox lipschitz",
}

CVXPY = {
    "Scaled": ((5,), lambda cp, x: (0.21 * cp.norm1(x) + 0.09 * cp.sum_squares(x), [])),
    "Translated": ((3,), lambda cp, x: (0.7 * cp.norm1(x - [0, 1, -2]), [])),
    "Conjugate of ElasticNet": ((5,), lambda cp, x: (cp.sum_squares(cp.pos(cp.abs(x) - 0.7)) / 1.2, [])),
    "MoreauEnvelope of L1": ((5,), lambda cp, x: (cp.sum(cp.huber(x, 0.56)) / 1.6, [])),
}

PYPROXIMAL = {
    "Translated": ((3,), lambda pp: pp.L1(0.7, g=np.array([0.0, 1.0, -2.0]))),
    "Scaled by a tensor": ((5,), lambda pp: 0.3 * pp.L2()),
}
