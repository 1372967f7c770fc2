"""Functions as values: callable, with whichever of grad, prox, conjugate and lipschitz they honestly have."""

from optsci.functions.calculus import Conjugate, MoreauEnvelope, Scaled, SeparableSum, Translated
from optsci.functions.indicators import NM, Box, Nonnegative, Sparsity
from optsci.functions.losses import Autodiff, LeastSquares, Logistic, Quadratic
from optsci.functions.norms import L1, ElasticNet, GroupL2, SquaredL2, WeightedL1
from optsci.functions.simplex import L1Ball, LInf, Max, Simplex

__all__ = [
    "L1",
    "NM",
    "Autodiff",
    "Box",
    "Conjugate",
    "ElasticNet",
    "GroupL2",
    "L1Ball",
    "LInf",
    "LeastSquares",
    "Logistic",
    "Max",
    "MoreauEnvelope",
    "Nonnegative",
    "Quadratic",
    "Scaled",
    "SeparableSum",
    "Simplex",
    "Sparsity",
    "SquaredL2",
    "Translated",
    "WeightedL1",
]
