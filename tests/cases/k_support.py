"""Instances of the squared k-support norm."""

from __future__ import annotations

from cases.contract import Case
from optsci import SquaredKSupport

CASES = [
    Case("SquaredKSupport", lambda t: SquaredKSupport(0.7, 2), ((1,), (2,), (5,), (2, 3, 4)), coupled=True),
    Case("SquaredKSupport of one", lambda t: SquaredKSupport(t(0.7), 1), ((2,), (5,)), coupled=True),
]

METHODS = {"SquaredKSupport": "prox"}
