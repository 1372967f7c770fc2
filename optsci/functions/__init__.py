"""Functions as values: callable, with whichever of grad, prox, conjugate and lipschitz they honestly have."""

from optsci.functions.calculus import Conjugate, MoreauEnvelope, Scaled, SeparableSum, Translated
from optsci.functions.indicators import NM, Box, Nonnegative, Sparsity
from optsci.functions.isotonic import MonotoneCone, Permutahedron
from optsci.functions.losses import Autodiff, LeastSquares, Logistic, Quadratic
from optsci.functions.norms import L1, ElasticNet, GroupL2, SquaredL2, WeightedL1
from optsci.functions.simplex import L1Ball, LInf, Max, Simplex
from optsci.functions.sorted_norms import SLOPE, SquaredL1, SumLargest
from optsci.functions.total_variation import FusedLasso, TotalVariation1D

__all__ = [
    "L1",
    "NM",
    "SLOPE",
    "Autodiff",
    "Box",
    "Conjugate",
    "ElasticNet",
    "FusedLasso",
    "GroupL2",
    "L1Ball",
    "LInf",
    "LeastSquares",
    "Logistic",
    "Max",
    "MonotoneCone",
    "MoreauEnvelope",
    "Nonnegative",
    "Permutahedron",
    "Quadratic",
    "Scaled",
    "SeparableSum",
    "Simplex",
    "Sparsity",
    "SquaredL1",
    "SquaredL2",
    "SumLargest",
    "TotalVariation1D",
    "Translated",
    "WeightedL1",
]
