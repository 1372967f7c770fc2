"""Functions as values: callable, with whichever of grad, prox, conjugate and lipschitz they honestly have."""

from optsci.functions.affine_sets import Affine, Graph, Halfspace, Hyperplane, Hyperslab
from optsci.functions.box_section import BoxSection
from optsci.functions.calculus import Conjugate, MoreauEnvelope, Scaled, SeparableSum, Translated
from optsci.functions.composition import AffineComposition, Epicomposition, Precomposed, TightFrame
from optsci.functions.cones import ExponentialCone, Nonpositive, PolarCone, SecondOrderCone
from optsci.functions.cross_entropy import CrossEntropy
from optsci.functions.discrete_sets import Binary, Codebook, SparseSimplex
from optsci.functions.distances import Distance, SquaredDistance
from optsci.functions.euclidean import L2, CubedL2, L2Ball, L2Sphere
from optsci.functions.folded_concave import MCP, SCAD, CappedL1, LogSum, TransformedL1
from optsci.functions.groups import GroupL2, GroupL2Ball, SparseGroup, SparseGroupBall
from optsci.functions.indicators import NM, Box, BoxSupport, Nonnegative, Sparsity
from optsci.functions.intersection import Intersection
from optsci.functions.isotonic import MonotoneCone, Permutahedron, PermutahedronSupport
from optsci.functions.k_support import KSupport, LargestL2Ball, SquaredKSupport, SquaredLargestL2
from optsci.functions.linear import Linear, NonnegativeL1, Zero
from optsci.functions.logarithmic import Entropy, KullbackLeibler, NegativeLog, Power
from optsci.functions.losses import Autodiff, LeastSquares, Logistic, Quadratic
from optsci.functions.lq_penalties import L0, GroupL0, LHalf, LTwoThirds
from optsci.functions.matrix import KyFan, Nuclear, NuclearBall, Schatten, Spectral, SpectralBall
from optsci.functions.minimum import PointwiseMinimum
from optsci.functions.norms import L1, ElasticNet, SquaredL2, WeightedL1
from optsci.functions.perspective import Perspective, QuadraticOverLinear
from optsci.functions.polytopes import Birkhoff, CappedSimplex, TransportPolytope
from optsci.functions.rank import Rank, RankBall, Stiefel
from optsci.functions.scalar_losses import (
    EpsilonInsensitive,
    Hinge,
    Huber,
    LogisticLoss,
    Pinball,
    SquaredHinge,
    SumPositive,
)
from optsci.functions.semidefinite import PSD, NegativeLogDet
from optsci.functions.simplex import L1Ball, LInf, Max, Simplex
from optsci.functions.slices import Sliced
from optsci.functions.smooth_sum import SmoothSum
from optsci.functions.sorted_norms import SLOPE, SLOPEBall, SquaredL1, SumLargest
from optsci.functions.spectral import EigenFunction, SpectralFunction
from optsci.functions.sums import Regularized, Restricted, Tilted
from optsci.functions.total_variation import FusedLasso, TotalVariation1D
from optsci.functions.total_variation_2d import TotalVariation2D

__all__ = [
    "L0",
    "L1",
    "L2",
    "MCP",
    "NM",
    "PSD",
    "SCAD",
    "SLOPE",
    "Affine",
    "AffineComposition",
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
    "CrossEntropy",
    "CubedL2",
    "Distance",
    "EigenFunction",
    "ElasticNet",
    "Entropy",
    "Epicomposition",
    "EpsilonInsensitive",
    "ExponentialCone",
    "FusedLasso",
    "Graph",
    "GroupL0",
    "GroupL2",
    "GroupL2Ball",
    "Halfspace",
    "Hinge",
    "Huber",
    "Hyperplane",
    "Hyperslab",
    "Intersection",
    "KSupport",
    "KullbackLeibler",
    "KyFan",
    "L1Ball",
    "L2Ball",
    "L2Sphere",
    "LHalf",
    "LInf",
    "LTwoThirds",
    "LargestL2Ball",
    "LeastSquares",
    "Linear",
    "LogSum",
    "Logistic",
    "LogisticLoss",
    "Max",
    "MonotoneCone",
    "MoreauEnvelope",
    "NegativeLog",
    "NegativeLogDet",
    "Nonnegative",
    "NonnegativeL1",
    "Nonpositive",
    "Nuclear",
    "NuclearBall",
    "Permutahedron",
    "PermutahedronSupport",
    "Perspective",
    "Pinball",
    "PointwiseMinimum",
    "PolarCone",
    "Power",
    "Precomposed",
    "Quadratic",
    "QuadraticOverLinear",
    "Rank",
    "RankBall",
    "Regularized",
    "Restricted",
    "SLOPEBall",
    "Scaled",
    "Schatten",
    "SecondOrderCone",
    "SeparableSum",
    "Simplex",
    "Sliced",
    "SmoothSum",
    "SparseGroup",
    "SparseGroupBall",
    "SparseSimplex",
    "Sparsity",
    "Spectral",
    "SpectralBall",
    "SpectralFunction",
    "SquaredDistance",
    "SquaredHinge",
    "SquaredKSupport",
    "SquaredL1",
    "SquaredL2",
    "SquaredLargestL2",
    "Stiefel",
    "SumLargest",
    "SumPositive",
    "TightFrame",
    "Tilted",
    "TotalVariation1D",
    "TotalVariation2D",
    "TransformedL1",
    "Translated",
    "TransportPolytope",
    "WeightedL1",
    "Zero",
]
