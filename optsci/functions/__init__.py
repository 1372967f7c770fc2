"""Functions as values: callable, with whichever of grad, prox, conjugate and lipschitz they honestly have."""

from optsci.functions.calculus import Conjugate, MoreauEnvelope, Scaled, SeparableSum, Translated
from optsci.functions.euclidean import L2, CubedL2, L2Ball, L2Sphere
from optsci.functions.groups import GroupL2, GroupL2Ball, SparseGroup
from optsci.functions.indicators import NM, Box, Nonnegative, Sparsity
from optsci.functions.linear import Linear, NonnegativeL1, Zero
from optsci.functions.losses import Autodiff, LeastSquares, Logistic, Quadratic
from optsci.functions.matrix import KyFan, Nuclear, NuclearBall, Schatten, Spectral, SpectralBall
from optsci.functions.norms import L1, ElasticNet, SquaredL2, WeightedL1
from optsci.functions.rank import Rank, RankBall, Stiefel
from optsci.functions.semidefinite import PSD, NegativeLogDet
from optsci.functions.spectral import EigenFunction, SpectralFunction

__all__ = [
    "L1",
    "L2",
    "NM",
    "PSD",
    "Autodiff",
    "Box",
    "Conjugate",
    "CubedL2",
    "EigenFunction",
    "ElasticNet",
    "GroupL2",
    "GroupL2Ball",
    "KyFan",
    "L2Ball",
    "L2Sphere",
    "LeastSquares",
    "Linear",
    "Logistic",
    "MoreauEnvelope",
    "NegativeLogDet",
    "Nonnegative",
    "NonnegativeL1",
    "Nuclear",
    "NuclearBall",
    "Quadratic",
    "Rank",
    "RankBall",
    "Scaled",
    "Schatten",
    "SeparableSum",
    "SparseGroup",
    "Sparsity",
    "Spectral",
    "SpectralBall",
    "SpectralFunction",
    "SquaredL2",
    "Stiefel",
    "Translated",
    "WeightedL1",
    "Zero",
]
