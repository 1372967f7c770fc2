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
from optsci.functions.losses import Autodiff, LeastSquares, Logistic, Quadratic
from optsci.functions.norms import L1, ElasticNet, SquaredL2, WeightedL1

__all__ = [
    "L1",
    "L2",
    "NM",
    "Affine",
    "Autodiff",
    "Binary",
    "Box",
    "BoxSection",
    "BoxSupport",
    "Codebook",
    "Conjugate",
    "CubedL2",
    "ElasticNet",
    "ExponentialCone",
    "Graph",
    "GroupL2",
    "GroupL2Ball",
    "Halfspace",
    "Hyperplane",
    "Hyperslab",
    "L2Ball",
    "L2Sphere",
    "LeastSquares",
    "Linear",
    "Logistic",
    "MoreauEnvelope",
    "Nonnegative",
    "NonnegativeL1",
    "Nonpositive",
    "PolarCone",
    "Quadratic",
    "Scaled",
    "SecondOrderCone",
    "SeparableSum",
    "SparseGroup",
    "SparseSimplex",
    "Sparsity",
    "SquaredL2",
    "Translated",
    "WeightedL1",
    "Zero",
]
