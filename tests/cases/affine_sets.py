"""Instances of the sets cut out by linear equations and inequalities."""

from __future__ import annotations

import numpy as np
import torch

from cases.contract import Case, array, gaussian, operator
from optsci import Affine, BoxSection, Graph, Halfspace, Hyperplane, Hyperslab

A_RANK = ((1.0, 2, 0, -1), (0, 1, 1, 3), (1, 3, 1, 2))  # the third row is the sum of the others


def _cases() -> list[Case]:
    def case(name, make, *shapes):
        return Case(name, make, shapes, indicator=True, coupled=True, exact=False)

    return [
        case("Halfspace", lambda t: Halfspace(t([1.0, -2.0]), 0.5), (2,), (3, 2), (0, 2)),
        case("Halfspace, 4-d", lambda t: Halfspace(t([1.0, -2.0, 0.0, 0.3]), t(-1.0)), (4,), (2, 3, 4)),
        case("Hyperplane", lambda t: Hyperplane(t([1.0, -2.0, 0.5]), 0.7), (3,), (2, 3)),
        case("Hyperplane through 0", lambda t: Hyperplane(t([1.0, 1.0, 1.0, 1.0]), 0.0), (4,), (3, 4)),
        case("Hyperslab", lambda t: Hyperslab(t([1.0, 0.5]), -1.0, 0.7), (2,), (3, 2)),
        case("Hyperslab of one plane", lambda t: Hyperslab(t([1.0, 0.5, -1.0]), 0.2, t(0.2)), (3,), (2, 3)),
        case("Affine", lambda t: Affine(gaussian(t, 2, 5), t([1.0, -0.5])), (5,), (3, 5), (2, 3, 5)),
        case("Affine of rank 2", lambda t: Affine(t(A_RANK), t([1.0, 2.0, 3.0])), (4,), (2, 4)),
        case("Graph, wide", lambda t: Graph(gaussian(t, 2, 3)), (5,), (3, 5)),
        case("Graph, tall", lambda t: Graph(gaussian(t, 3, 2)), (5,), (2, 1, 5), (0, 5)),
        case("BoxSection", lambda t: BoxSection(-1, 2, t([1.0, -2.0, 0.5, 0.0]), 0.7), (4,), (2, 3, 4)),
        case("BoxSection of ones", lambda t: BoxSection(0, 1, t([1.0] * 5), 2.0), (5,), (3, 5)),
        case(
            "BoxSection without some bounds",
            lambda t: BoxSection(t([-torch.inf, 0.0, -1.0]), t([1.0, torch.inf, 1.0]), t([1.0, 2.0, -1.0]), t(0.5)),
            (3,),
            (4, 3),
        ),
        case("BoxSection of one point", lambda t: BoxSection(0, 1, t([1.0, 2.0, 1.0]), 4.0), (3,), (2, 3)),
    ]


CASES = _cases()

METHODS = dict.fromkeys(("Halfspace", "Hyperplane", "Hyperslab", "Affine", "Graph", "BoxSection"), "prox")

CVXPY = {
    "Halfspace": ((2,), lambda cp, x: (0, [x[0] - 2 * x[1] <= 0.5])),
    "Hyperplane": ((3,), lambda cp, x: (0, [x[0] - 2 * x[1] + 0.5 * x[2] == 0.7])),
    "Hyperslab": ((2,), lambda cp, x: (0, [x[0] + 0.5 * x[1] <= 0.7, x[0] + 0.5 * x[1] >= -1])),
    "BoxSection": ((4,), lambda cp, x: (0, [x >= -1, x <= 2, x[0] - 2 * x[1] + 0.5 * x[2] == 0.7])),
    "BoxSection of ones": ((5,), lambda cp, x: (0, [x >= 0, x <= 1, cp.sum(x) == 2])),
    "Affine": ((5,), lambda cp, x: (0, [array(2, 5) @ x == [1.0, -0.5]])),
    "Graph, tall": ((5,), lambda cp, x: (0, [array(3, 2) @ x[:2] == x[2:]])),
}

PYPROXIMAL = {
    "Halfspace": ((2,), lambda pp: pp.HalfSpace(np.array([1.0, -2.0]), 0.5)),
    "Hyperplane": ((3,), lambda pp: pp.AffineSet(operator([[1.0, -2.0, 0.5]]), np.array([0.7]), 100)),
    "Affine": ((5,), lambda pp: pp.AffineSet(operator(array(2, 5)), np.array([1.0, -0.5]), 100)),
}
