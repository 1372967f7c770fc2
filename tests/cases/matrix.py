"""Instances of the functions of singular values and of eigenvalues."""

from __future__ import annotations

import numpy as np
import torch

from cases.contract import Case, hard_threshold
from optsci import (
    L2,
    PSD,
    EigenFunction,
    KyFan,
    L2Ball,
    NegativeLogDet,
    Nuclear,
    NuclearBall,
    Rank,
    RankBall,
    Schatten,
    Spectral,
    SpectralBall,
    SpectralFunction,
    SquaredL2,
    Stiefel,
)

SHAPES = ((1, 2), (3, 2), (2, 3, 3))
SQUARE = ((1, 1), (2, 2), (2, 3, 3))


def symmetric(x):
    return (x + x.mT) / 2


def definite(x):
    return x @ x.mT + torch.eye(x.shape[-1], dtype=x.dtype)


THIN = {"test_prox_agrees_with_brute_force": "no point of a grid is an orthogonal matrix"}

CASES = [
    Case("Nuclear", lambda t: Nuclear(0.8), SHAPES, coupled=True),
    Case("SpectralBall", lambda t: SpectralBall(1.5), ((1, 1), *SHAPES[1:]), True, True, True, exact=False),
    Case("Spectral", lambda t: Spectral(0.8), SHAPES, coupled=True),
    Case("NuclearBall", lambda t: NuclearBall(t(1.5)), ((1, 1), *SHAPES[1:]), True, True, True, exact=False),
    Case("KyFan", lambda t: KyFan(0.8, 2), SHAPES, coupled=True),
    Case("Schatten 1", lambda t: Schatten(0.8, 1), SHAPES, coupled=True),
    Case("Schatten 3/2", lambda t: Schatten(0.8, 1.5), SHAPES, coupled=True),
    Case("Schatten 2", lambda t: Schatten(0.8, 2), SHAPES, coupled=True),
    Case("Schatten 3", lambda t: Schatten(0.8, 3), SHAPES, coupled=True),
    Case("SpectralFunction of SquaredL2", lambda t: SpectralFunction(SquaredL2(0.6)), SHAPES, coupled=True),
    Case("SpectralFunction of L2Ball", lambda t: SpectralFunction(L2Ball(1.5)), SHAPES[1:], True, True, True, False),
    Case("EigenFunction of SquaredL2", lambda t: EigenFunction(SquaredL2(0.6)), SQUARE, coupled=True, points=symmetric),
    Case("EigenFunction of L2", lambda t: EigenFunction(L2(0.8)), SQUARE, coupled=True, points=symmetric),
    Case("Rank", lambda t: Rank(0.8), SHAPES, convex=False, coupled=True),
    Case("RankBall", lambda t: RankBall(1), SHAPES, False, True, True, exact=False),
    Case("RankBall of rank 0", lambda t: RankBall(0), SHAPES, False, True, True, exact=False),
    Case("Stiefel", lambda t: Stiefel(), ((1, 1), (3, 2), (2, 2, 3)), False, True, True, exact=False, without=THIN),
    Case("PSD", lambda t: PSD(), SQUARE, True, True, True, exact=False, points=symmetric),
    Case("NegativeLogDet", lambda t: NegativeLogDet(0.8), SQUARE, coupled=True, points=symmetric, interior=definite),
]  # fmt: skip

METHODS = {
    "Nuclear": "prox conjugate",
    "SpectralBall": "prox conjugate lmo",
    "Spectral": "prox conjugate",
    "NuclearBall": "prox conjugate lmo",
    "KyFan": "prox",
    "Rank": "prox",
    "RankBall": "prox",
    "Stiefel": "prox",
    "PSD": "prox",
    "NegativeLogDet": "grad prox",
    "Schatten": "prox conjugate",
    "SpectralFunction": "grad prox conjugate lipschitz",
    "SpectralFunction of L2Ball": "prox conjugate lmo",
    "EigenFunction": "grad prox conjugate lipschitz",
    "EigenFunction of L2": "prox conjugate",
}

CVXPY = {
    "Nuclear": ((3, 2), lambda cp, x: (0.8 * cp.normNuc(x), [])),
    "Spectral": ((3, 2), lambda cp, x: (0.8 * cp.sigma_max(x), [])),
    "SpectralBall": ((3, 2), lambda cp, x: (0, [cp.sigma_max(x) <= 1.5])),
    "NuclearBall": ((3, 2), lambda cp, x: (0, [cp.normNuc(x) <= 1.5])),
    "KyFan": (
        (
            3,
            3,
        ),  # singular values of x are the positive eigenvalues of the symmetric matrix with x and x^T off the diagonal
        lambda cp, x: (
            0.8 * cp.lambda_sum_largest(cp.bmat([[np.zeros((3, 3)), x], [x.T, np.zeros((3, 3))]]), 2),
            [],
        ),
    ),
    "Schatten 1": ((3, 2), lambda cp, x: (0.8 * cp.normNuc(x), [])),
    "Schatten 2": ((3, 2), lambda cp, x: (0.8 * cp.sum_squares(x), [])),
    "SpectralFunction of L2Ball": ((3, 2), lambda cp, x: (0, [cp.norm(x, "fro") <= 1.5])),
    "EigenFunction of L2": ((2, 2), lambda cp, x: (0.8 * cp.norm(x, "fro"), [x == x.T])),
    "PSD": ((2, 2), lambda cp, x: (0, [x >> 0, x == x.T])),
    "NegativeLogDet": ((2, 2), lambda cp, x: (-0.8 * cp.log_det(x), [x == x.T])),
}

PYPROXIMAL = {
    "Nuclear": ((3, 2), lambda pp: pp.Nuclear((3, 2), sigma=0.8)),
    "NuclearBall": ((3, 2), lambda pp: pp.NuclearBall((3, 2), 1.5, maxiter=200, xtol=1e-14)),
    "Schatten 2": ((3, 2), lambda pp: pp.SingularValuePenalty((3, 2), pp.L2(sigma=1.6))),
    "Rank": ((3, 2), lambda pp: pp.SingularValuePenalty((3, 2), hard_threshold(pp, 0.8))),
    "SpectralFunction of L2Ball": ((3, 2), lambda pp: pp.SingularValuePenalty((3, 2), pp.EuclideanBall(0, 1.5))),
}
