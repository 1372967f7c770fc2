"""Functions as values: callable, with whichever of grad, prox, conjugate and lipschitz they honestly have."""

from optsci.functions.affine_sets import Affine, Graph, Halfspace, Hyperplane, Hyperslab
from optsci.functions.box_section import BoxSection
from optsci.functions.calculus import Conjugate, MoreauEnvelope, Scaled, SeparableSum, Translated
from optsci.functions.cones import ExponentialCone, Nonpositive, PolarCone, SecondOrderCone
from optsci.functions.discrete_sets import Binary, Codebook, SparseSimplex
from optsci.functions.indicators import NM, Box, BoxSupport, Nonnegative, Sparsity
from optsci.functions.intersection import Intersection
from optsci.functions.losses import Autodiff, LeastSquares, Logistic, Quadratic
from optsci.functions.norms import L1, ElasticNet, GroupL2, SquaredL2, WeightedL1
from optsci.functions.polytopes import Birkhoff, CappedSimplex, TransportPolytope

__all__ = [
    "L1",
    "NM",
    "Affine",
    "Autodiff",
    "Binary",
    "Birkhoff",
    "Box",
    "BoxSection",
    "BoxSupport",
    "CappedSimplex",
    "Codebook",
    "Conjugate",
    "ElasticNet",
    "ExponentialCone",
    "Graph",
    "GroupL2",
    "Halfspace",
    "Hyperplane",
    "Hyperslab",
    "Intersection",
    "LeastSquares",
    "Logistic",
    "MoreauEnvelope",
    "Nonnegative",
    "Nonpositive",
    "PolarCone",
    "Quadratic",
    "Scaled",
    "SecondOrderCone",
    "SeparableSum",
    "SparseSimplex",
    "Sparsity",
    "SquaredL2",
    "Translated",
    "TransportPolytope",
    "WeightedL1",
]
