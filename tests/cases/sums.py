"""Instances of the sums whose prox is known."""

from __future__ import annotations

import numpy as np

from cases.contract import Case
from optsci import L1, Box, Huber, Nonnegative, Regularized, Restricted, Tilted

CASES = [
    Case(
        "Tilted",
        lambda t: Tilted(L1(0.7), t([0.3, -1.0, 2.0])),
        ((3,), (2, 3)),
        without={"test_fenchel_equality_at_a_prox": "a rounding error leaves the domain of the conjugate"},
    ),
    Case("Tilted, smooth", lambda t: Tilted(Huber(0.7), 0.4), ((), (3,))),
    Case("Regularized", lambda t: Regularized(L1(0.7), 0.6, t([0.3, -1.0])), ((2,), (3, 2))),
    Case("Regularized, smooth", lambda t: Regularized(Huber(0.7), 0.6, 0.4), ((), (3,))),
    Case("Restricted", lambda t: Restricted(L1(0.7), Box(-0.5, 1))),
    Case("Restricted to a half", lambda t: Restricted(Tilted(L1(0.7), 0.3), Nonnegative()), ((2,), (3, 4))),
]

METHODS = {
    "Tilted": "prox conjugate",
    "Tilted, smooth": "grad prox lipschitz",
    "Regularized": "prox",
    "Regularized, smooth": "grad prox lipschitz",
    "Restricted": "prox",
}

CVXPY = {
    "Tilted": ((3,), lambda cp, x: (0.7 * cp.norm1(x) + [0.3, -1, 2] @ x, [])),
    "Regularized": ((2,), lambda cp, x: (0.7 * cp.norm1(x) + 0.3 * cp.sum_squares(x - [0.3, -1]), [])),
    "Restricted": ((5,), lambda cp, x: (0.7 * cp.norm1(x), [x >= -0.5, x <= 1])),
}

PYPROXIMAL = {
    "Tilted": ((3,), lambda pp: pp.L1(0.7).affine_addition(np.array([0.3, -1.0, 2.0]))),
}
