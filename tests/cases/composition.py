"""Instances of the functions of a linear map."""

from __future__ import annotations

import numpy as np
import torch

from cases.contract import Case, gaussian, operator
from optsci import L1, AffineComposition, Epicomposition, Huber, LogisticLoss, Precomposed, SquaredL2, TightFrame


def frame(t):
    """Two orthogonal rows of norm 3/2 in four dimensions."""
    return 1.5 * torch.linalg.qr(gaussian(t, 4, 2)).Q.T


FRAME = frame(lambda data: data).numpy()

RANGE = {
    "test_prox_agrees_with_brute_force": "the grid misses the range of L",
    "test_prox_with_a_tiny_step_stays_in_the_domain_and_its_value_falls_with_the_step": "rounding leaves the range",
}

CASES = [
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
    "Precomposed": "prox",
    "Precomposed, smooth": "grad prox lipschitz",
    "TightFrame": "prox",
    "TightFrame, smooth": "grad prox lipschitz",
    "Epicomposition": "prox",
    "AffineComposition": "grad lipschitz",
}

CVXPY = {
    "Precomposed": ((3,), lambda cp, x: (0.7 * cp.norm1(0.5 - 2 * x), [])),
    "TightFrame": ((4,), lambda cp, x: (0.7 * cp.norm1(FRAME @ x), [])),
}

PYPROXIMAL = {
    "TightFrame": (
        (4,),
        lambda pp: pp.Orthogonal(pp.L1(0.7), operator(FRAME), partial=True, b=np.zeros(2), alpha=2.25),
    ),
    "Precomposed": ((3,), lambda pp: pp.L1(0.7).precomposition(-2.0, 0.5)),
}
