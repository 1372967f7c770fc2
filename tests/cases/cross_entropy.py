"""Instances of the cross entropy."""

from __future__ import annotations

import torch

from cases.contract import Case
from optsci import CrossEntropy

MORE = {"test_lipschitz_constant_is_the_best": "at 0 only that of two classes curves most; of more, where two share"}

CASES = [
    Case("CrossEntropy", lambda t: CrossEntropy(torch.tensor([1, 0]), 0.7), ((2, 2), (3, 2, 2)), coupled=True),
    Case(
        "CrossEntropy of probabilities",
        lambda t: CrossEntropy(t([0.5, 0.0, 0.25, 0.25]), t(0.7)),
        ((4,), (2, 4)),
        coupled=True,
        without=MORE,
    ),
    Case("CrossEntropy of one label", lambda t: CrossEntropy(1), ((2,),), coupled=True),
]

METHODS = {"CrossEntropy": "grad prox lipschitz"}

CVXPY = {
    "CrossEntropy of probabilities": (
        (4,),
        lambda cp, x: (0.7 * (cp.log_sum_exp(x) - [0.5, 0, 0.25, 0.25] @ x), []),
    ),
}
