"""Instances of sums of smooth functions."""

from __future__ import annotations

from cases.contract import Case, gaussian, gram
from optsci import Autodiff, Huber, LeastSquares, LogisticLoss, Quadratic, SmoothSum

CASES = [
    Case(
        "SmoothSum", lambda t: SmoothSum(LeastSquares(gaussian(t, 6, 4), gaussian(t, 6)), Quadratic(gram(t))), ((4,),)
    ),
    Case("SmoothSum by +", lambda t: Huber(0.7) + LogisticLoss(0.6), ((), (3,), (2, 3))),
    Case("SmoothSum without a constant", lambda t: Huber(0.7) + Autodiff(lambda x: x.cos().sum()), ((3,),)),
]

METHODS = {
    "SmoothSum": "grad lipschitz",
    "SmoothSum without a constant": "grad",
}
