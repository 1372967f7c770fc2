"""Instances of the sums, distances and compositions."""

from __future__ import annotations

import numpy as np
import torch

from cases.contract import Case, gaussian, operator
from optsci import (
    L1,
    L2,
    AffineComposition,
    Box,
    Distance,
    Epicomposition,
    Huber,
    L2Ball,
    LogisticLoss,
    Nonnegative,
    PointwiseMinimum,
    Precomposed,
    Regularized,
    Restricted,
    Sliced,
    SquaredDistance,
    SquaredL2,
    TightFrame,
    Tilted,
)


def frame(t):
    """Two orthogonal rows of norm 3/2 in four dimensions."""
    return 1.5 * torch.linalg.qr(gaussian(t, 4, 2)).Q.T


FRAME = frame(lambda data: data).numpy()

KINK = {"test_lipschitz_constant_is_the_best": "flat inside the set, 0 among the points"}
RANGE = {
    "test_prox_agrees_with_brute_force": "the grid misses the range of L",
    "test_prox_with_a_tiny_step_stays_in_the_domain_and_its_value_falls_with_the_step": "rounding leaves the range",
}

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
    Case("Distance", lambda t: Distance(Box(-0.5, 1), 0.7), ((1,), (2,), (3, 4)), coupled=True),
    Case("Distance to a ball", lambda t: Distance(L2Ball(1.2), 0.7), ((4,),), coupled=True),
    Case("SquaredDistance", lambda t: SquaredDistance(Box(-0.5, 1), 0.7), ((1,), (2,), (3, 4)), without=KINK),
    Case(
        "PointwiseMinimum",
        lambda t: PointwiseMinimum(L1(2.0), Tilted(SquaredL2(0.5), 0.2)),
        ((1,), (2,), (4,)),
        convex=False,
        coupled=True,
    ),
    Case("Sliced", lambda t: Sliced([L1(0.7), L2(0.5)], [2, 3]), ((5,), (2, 5)), coupled=True),
    Case("Sliced, smooth", lambda t: Sliced([Huber(0.7), SquaredL2(0.7)], [1, 1]), ((2,), (3, 2))),
    Case("Precomposed", lambda t: Precomposed(L1(0.7), -2.0, 0.5), ((), (3,))),
    Case("Precomposed, smooth", lambda t: Precomposed(LogisticLoss(0.7), t([2.0, -1.0]), 0.0), ((2,), (3, 2))),
    Case("TightFrame", lambda t: TightFrame(L1(0.7), frame(t), 2.25), ((4,),), coupled=True),
    Case("TightFrame, smooth", lambda t: TightFrame(SquaredL2(0.7), frame(t), 2.25), ((4,),), coupled=True),
    Case("Epicomposition", lambda t: Epicomposition(L1(0.7), frame(t).T, 2.25), ((4,),), coupled=True, without=RANGE),
    Case(
        "AffineComposition",
        lambda t: AffineComposition(Huber(0.7, 5.0), gaussian(t, 6, 4), gaussian(t, 6)),
        ((4,),),
        coupled=True,
    ),
    Case(
        "AffineComposition of one number",
        lambda t: AffineComposition(LogisticLoss(0.7), gaussian(t, 6, 4)),
        ((4,),),
        coupled=True,
    ),
]

METHODS = {
    "Tilted": "prox conjugate",
    "Tilted, smooth": "grad prox lipschitz",
    "Regularized": "prox",
    "Regularized, smooth": "grad prox lipschitz",
    "Restricted": "prox",
    "Distance": "prox",
    "SquaredDistance": "grad prox lipschitz",
    "PointwiseMinimum": "prox",
    "Sliced": "prox",
    "Sliced, smooth": "grad prox lipschitz",
    "Precomposed": "prox",
    "Precomposed, smooth": "grad prox lipschitz",
    "TightFrame": "prox",
    "TightFrame, smooth": "grad prox lipschitz",
    "Epicomposition": "prox",
    "AffineComposition": "grad lipschitz",
}

CVXPY = {
    "Tilted": ((3,), lambda cp, x: (0.7 * cp.norm1(x) + [0.3, -1, 2] @ x, [])),
    "Regularized": ((2,), lambda cp, x: (0.7 * cp.norm1(x) + 0.3 * cp.sum_squares(x - [0.3, -1]), [])),
    "Restricted": ((5,), lambda cp, x: (0.7 * cp.norm1(x), [x >= -0.5, x <= 1])),
    "Distance": ((2,), lambda cp, x: (0.7 * cp.norm2(cp.pos(cp.maximum(x - 1, -0.5 - x))), [])),
    "Distance to a ball": ((4,), lambda cp, x: (0.7 * cp.pos(cp.norm2(x) - 1.2), [])),
    "SquaredDistance": ((2,), lambda cp, x: (0.35 * cp.sum_squares(cp.pos(cp.maximum(x - 1, -0.5 - x))), [])),
    "Sliced": ((5,), lambda cp, x: (0.7 * cp.norm1(x[:2]) + 0.5 * cp.norm2(x[2:]), [])),
    "Precomposed": ((3,), lambda cp, x: (0.7 * cp.norm1(0.5 - 2 * x), [])),
    "TightFrame": ((4,), lambda cp, x: (0.7 * cp.norm1(FRAME @ x), [])),
}

PYPROXIMAL = {
    "Sliced": ((5,), lambda pp: pp.VStack([pp.L1(0.7), pp.Euclidean(0.5)], nn=[2, 3])),
    "TightFrame": (
        (4,),
        lambda pp: pp.Orthogonal(pp.L1(0.7), operator(FRAME), partial=True, b=np.zeros(2), alpha=2.25),
    ),
    "Precomposed": ((3,), lambda pp: pp.L1(0.7).precomposition(-2.0, 0.5)),
    "Tilted": ((3,), lambda pp: pp.L1(0.7).affine_addition(np.array([0.3, -1.0, 2.0]))),
}
