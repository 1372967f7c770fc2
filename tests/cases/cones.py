"""Instances of the cones."""

from __future__ import annotations

from cases.contract import Case
from optsci import ExponentialCone, Nonpositive, PolarCone, SecondOrderCone

CASES = [
    Case("Nonpositive", lambda t: Nonpositive(), indicator=True),
    Case("SecondOrderCone", lambda t: SecondOrderCone(), ((1,), (2,), (4,), (2, 3), (0, 2)), True, True, True, False),
    Case("ExponentialCone", lambda t: ExponentialCone(), ((3,), (2, 3), (2, 4, 3), (0, 3)), True, True, True, False),
    Case("PolarCone, second order", lambda t: PolarCone(SecondOrderCone()), ((2,), (4,)), True, True, True, False),
    Case("PolarCone, exponential", lambda t: PolarCone(ExponentialCone()), ((3,), (2, 3)), True, True, True, False),
]  # fmt: skip

METHODS = dict.fromkeys(("Nonpositive", "SecondOrderCone", "ExponentialCone", "PolarCone"), "prox conjugate")

CVXPY = {
    "Nonpositive": ((5,), lambda cp, x: (0, [x <= 0])),
    "SecondOrderCone": ((4,), lambda cp, x: (0, [cp.SOC(x[0], x[1:])])),
    "ExponentialCone": ((3,), lambda cp, x: (0, [cp.ExpCone(x[0], x[1], x[2])])),
    "PolarCone, second order": ((4,), lambda cp, x: (0, [cp.SOC(-x[0], x[1:])])),
}

PYPROXIMAL = {
    "Nonpositive": ((5,), lambda pp: pp.Box(upper=0)),
}
