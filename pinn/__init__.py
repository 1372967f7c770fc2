"""Partial differential equations: domains, elliptic problems, and labels by the formula of Feynman and Kac."""

if __name__ != "optsci.pinn":
    raise ImportError(f"this folder is the package optsci.pinn; `import {__name__}` would make a second copy")

from .ansatz import BoundaryAnsatz
from .balls import Annulus, Ball
from .derivatives import Jet, divergence, generator, gradient, hessian, laplacian
from .domain_algebra import Composition, Operation, difference, intersection, union
from .domain_protocol import Domain, compiled
from .domains import Box, HalfSpace, Interval, UnitSquare
from .features import FourierFeatures, PeriodicFeatures
from .feynman_kac import EulerMaruyama, Exit, Labels, WalkOnSpheres, labels
from .jacobians import jacobian_operator, parameters, residual_jacobian
from .level_sets import LevelSet, Star
from .losses import Boundary, Data, Loss, Neumann, Periodic, Residual, Robin, Rows, Squares, sketched
from .networks import MLP, cosine, sine, tanh
from .polygons import Polygon, l_shape
from .problems import MeanExitTime, Poisson, Problem, Schroedinger
from .sampling import latin_hypercube, sobol, uniform

__all__ = [
    "MLP",
    "Annulus",
    "Ball",
    "Boundary",
    "BoundaryAnsatz",
    "Box",
    "Composition",
    "Data",
    "Domain",
    "EulerMaruyama",
    "Exit",
    "FourierFeatures",
    "HalfSpace",
    "Interval",
    "Jet",
    "Labels",
    "LevelSet",
    "Loss",
    "MeanExitTime",
    "Neumann",
    "Operation",
    "Periodic",
    "PeriodicFeatures",
    "Poisson",
    "Polygon",
    "Problem",
    "Residual",
    "Robin",
    "Rows",
    "Schroedinger",
    "Squares",
    "Star",
    "UnitSquare",
    "WalkOnSpheres",
    "compiled",
    "cosine",
    "difference",
    "divergence",
    "generator",
    "gradient",
    "hessian",
    "intersection",
    "jacobian_operator",
    "l_shape",
    "labels",
    "laplacian",
    "latin_hypercube",
    "parameters",
    "residual_jacobian",
    "sine",
    "sketched",
    "sobol",
    "tanh",
    "uniform",
    "union",
]
