"""Instances of the sets."""

from __future__ import annotations

import torch

from cases.contract import Case
from optsci import NM, Box, BoxSupport, Nonnegative, Sparsity

CASES = [
    Case("Box", lambda t: Box(-0.5, 1), indicator=True),
    Case("Box of one point", lambda t: Box(-1, -1), indicator=True),
    Case("Box with tensors", lambda t: Box(t([-1.0, 0, 1]), t([-1.0, 2, torch.inf])), ((3,), (2, 3)), indicator=True),
    Case("BoxSupport", lambda t: BoxSupport(-0.5, 1)),
    Case("BoxSupport with tensors", lambda t: BoxSupport(t([-1.0, 0, 1]), t([-1.0, 2, torch.inf])), ((3,), (2, 3))),
    Case("Nonnegative", lambda t: Nonnegative(), indicator=True),
    Case("Sparsity", lambda t: Sparsity(2), convex=False, indicator=True, coupled=True),
    Case("Sparsity by row", lambda t: Sparsity(2, by_row=True), convex=False, indicator=True, coupled=True),
    Case("Sparsity of none", lambda t: Sparsity(0), convex=False, indicator=True, coupled=True),
    Case("NM 2:4", lambda t: NM(2, 4), ((4,), (8,), (3, 4), (2, 3, 4)), False, True, True),
    Case("NM 1:3", lambda t: NM(1, 3), ((3,), (2, 6)), False, True, True),
]  # fmt: skip

METHODS = {
    "Box": "prox conjugate lmo",
    "Box with tensors": "prox conjugate",
    "BoxSupport": "prox conjugate",
    "Nonnegative": "prox conjugate",
    "Sparsity": "prox",
    "NM": "prox",
}

CVXPY = {
    "Box": ((5,), lambda cp, x: (0, [x >= -0.5, x <= 1])),
    "BoxSupport": ((5,), lambda cp, x: (cp.sum(cp.maximum(-0.5 * x, x)), [])),
    "Nonnegative": ((5,), lambda cp, x: (0, [x >= 0])),
}

PYPROXIMAL = {
    "Box": ((5,), lambda pp: pp.Box(-0.5, 1)),
    "Nonnegative": ((5,), lambda pp: pp.Box(lower=0)),
    "Sparsity": ((5,), lambda pp: pp.L0Ball(2)),
}
