"""Instances of perspectives."""

from __future__ import annotations

import torch

from cases.contract import Case
from optsci import L2, ElasticNet, Perspective, QuadraticOverLinear, SquaredL2

SHAPES = ((2,), (4,), (2, 3, 4))


def above(x):
    """The points with a positive t."""
    return torch.cat([x[..., :-1], x[..., -1:].abs() + 0.5], -1)


CASES = [
    Case("Perspective of a square", lambda t: Perspective(SquaredL2(t(0.7))), ((2,), (2, 2, 3)), coupled=True),
    Case("Perspective of a norm", lambda t: Perspective(L2(0.7)), ((2,), (4,)), coupled=True),
    Case("Perspective of the elastic net", lambda t: Perspective(ElasticNet(0.3, 0.7)), ((4,),), coupled=True),
    Case("QuadraticOverLinear by 0.7", lambda t: QuadraticOverLinear(t(0.7)), SHAPES, coupled=True, interior=above),
]

METHODS = {
    "Perspective": "prox",
    "QuadraticOverLinear": "grad prox",
}

CVXPY = {
    "Perspective of a norm": ((4,), lambda cp, x: (0.7 * cp.norm2(x[:3]), [x[3] >= 0])),
    "Perspective of the elastic net": (
        (4,),
        lambda cp, x: (0.3 * cp.norm1(x[:3]) + 0.35 * cp.quad_over_lin(x[:3], x[3]), []),
    ),
    "QuadraticOverLinear by 0.7": ((4,), lambda cp, x: (0.35 * cp.quad_over_lin(x[:3], x[3]), [])),
}
