"""Instances of the functions without curvature."""

from __future__ import annotations

import numpy as np

from cases.contract import Case
from optsci import Linear, NonnegativeL1, Zero

SHAPES = ((), (1,), (3,), (2, 3))

CASES = [
    Case("Zero", lambda t: Zero(), SHAPES),
    Case("Linear", lambda t: Linear(t([0.5, -1.0, 2.0])), ((3,), (2, 3))),
    Case("Linear with a number", lambda t: Linear(-0.7), SHAPES),
    Case("NonnegativeL1", lambda t: NonnegativeL1(0.7), SHAPES),
]  # fmt: skip

METHODS = {
    "Zero": "grad prox conjugate lipschitz",
    "Linear": "grad prox conjugate lipschitz",
    "NonnegativeL1": "prox conjugate",
}

CVXPY = {
    "Linear": ((3,), lambda cp, x: (0.5 * x[0] - x[1] + 2 * x[2], [])),
    "NonnegativeL1": ((3,), lambda cp, x: (0.7 * cp.sum(x), [x >= 0])),
}

PYPROXIMAL = {
    "Linear": ((3,), lambda pp: pp.Quadratic(b=np.array([0.5, -1.0, 2.0]))),
}
