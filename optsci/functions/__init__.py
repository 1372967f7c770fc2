"""Functions as values: callable, with whichever of grad, prox, conjugate and lipschitz they honestly have."""

from optsci.functions.affine_sets import Affine, Graph, Halfspace, Hyperplane, Hyperslab
from optsci.functions.box_section import BoxSection
from optsci.functions.calculus import Conjugate, MoreauEnvelope, Scaled, SeparableSum, Translated
from optsci.functions.cones import ExponentialCone, Nonpositive, PolarCone, SecondOrderCone
from optsci.functions.discrete_sets import Binary, Codebook, SparseSimplex
from optsci.functions.euclidean import L2, CubedL2, L2Ball, L2Sphere
from optsci.functions.groups import GroupL2, GroupL2Ball, SparseGroup
from optsci.functions.indicators import NM, Box, BoxSupport, Nonnegative, Sparsity
from optsci.functions.linear import Linear, NonnegativeL1, Zero
from optsci.functions.logarithmic import Entropy, KullbackLeibler, NegativeLog, Power
from optsci.functions.losses import Autodiff, LeastSquares, Logistic, Quadratic
from optsci.functions.nonconvex import L0, MCP, SCAD, CappedL1, GroupL0, LHalf, LogSum, LTwoThirds, TransformedL1
from optsci.functions.norms import L1, ElasticNet, SquaredL2, WeightedL1
from optsci.functions.scalar_losses import (
    EpsilonInsensitive,
    Hinge,
    Huber,
    LogisticLoss,
    Pinball,
    SquaredHinge,
    SumPositive,
)
from optsci.functions.matrix import KyFan, Nuclear, NuclearBall, Schatten, Spectral, SpectralBall
from optsci.functions.norms import L1, ElasticNet, SquaredL2, WeightedL1
from optsci.functions.rank import Rank, RankBall, Stiefel
from optsci.functions.semidefinite import PSD, NegativeLogDet
from optsci.functions.spectral import EigenFunction, SpectralFunction
from optsci.functions.intersection import Intersection
from optsci.functions.losses import Autodiff, LeastSquares, Logistic, Quadratic
from optsci.functions.norms import L1, ElasticNet, GroupL2, SquaredL2, WeightedL1
from optsci.functions.polytopes import Birkhoff, CappedSimplex, TransportPolytope
from optsci.functions.indicators import NM, Box, Nonnegative, Sparsity
from optsci.functions.isotonic import MonotoneCone, Permutahedron
from optsci.functions.losses import Autodiff, LeastSquares, Logistic, Quadratic
from optsci.functions.norms import L1, ElasticNet, GroupL2, SquaredL2, WeightedL1
from optsci.functions.simplex import L1Ball, LInf, Max, Simplex
from optsci.functions.sorted_norms import SLOPE, SquaredL1, SumLargest
from optsci.functions.total_variation import FusedLasso, TotalVariation1D

__all__ = [
    "L0",
    "L1",
    "L2",
    "MCP",
    "NM",
    "SCAD",
    "Affine",
    "PSD",
    "SLOPE",
    "Autodiff",
    "Binary",
    "Birkhoff",
    "Box",
    "BoxSection",
    "BoxSupport",
    "CappedL1",
    "CappedSimplex",
    "Codebook",
    "Conjugate",
    "CubedL2",
    "EigenFunction",
    "ElasticNet",
    "Entropy",
    "EpsilonInsensitive",
    "ExponentialCone",
    "Graph",
    "GroupL0",
    "GroupL2",
    "GroupL2Ball",
    "Halfspace",
    "Hinge",
    "Huber",
    "Hyperplane",
    "Hyperslab",
    "KullbackLeibler",
    "KyFan",
    "L2Ball",
    "L2Sphere",
    "LHalf",
    "LTwoThirds",
    "Intersection",
    "FusedLasso",
    "GroupL2",
    "L1Ball",
    "LInf",
    "LeastSquares",
    "Linear",
    "LogSum",
    "Logistic",
    "LogisticLoss",
    "Max",
    "MonotoneCone",
    "MoreauEnvelope",
    "NegativeLog",
    "Nonnegative",
    "NonnegativeL1",
    "Nonpositive",
    "Pinball",
    "PolarCone",
    "Power",
    "NegativeLogDet",
    "Nonnegative",
    "NonnegativeL1",
    "Nuclear",
    "NuclearBall",
    "Permutahedron",
    "Quadratic",
    "Rank",
    "RankBall",
    "Scaled",
    "SecondOrderCone",
    "Schatten",
    "SeparableSum",
    "SparseGroup",
    "SparseSimplex",
    "Sparsity",
    "SquaredHinge",
    "SquaredL2",
    "SumPositive",
    "TransformedL1",
    "Spectral",
    "SpectralBall",
    "SpectralFunction",
    "SquaredL2",
    "Stiefel",
    "Simplex",
    "Sparsity",
    "SquaredL1",
    "SquaredL2",
    "SumLargest",
    "TotalVariation1D",
    "Translated",
    "TransportPolytope",
    "WeightedL1",
    "Zero",
]
