"""Partial differential equations: domains, elliptic problems, and labels by the formula of Feynman and Kac."""

if __name__ != "optsci.pinn":
    raise ImportError(f"this folder is the package optsci.pinn; `import {__name__}` would make a second copy")

from .balls import Annulus, Ball
from .derivatives import Jet, generator, gradient, laplacian
from .domain_algebra import Composition, Operation, difference, intersection, union
from .domain_protocol import Domain, compiled
from .domains import Box, HalfSpace, Interval, UnitSquare
from .feynman_kac import EulerMaruyama, Exit, Labels, WalkOnSpheres, labels
from .gauss_newton import GaussNewtonState, gauss_newton
from .jacobians import parameters, residual_jacobian
from .lbfgs import LBFGSState, lbfgs
from .level_sets import LevelSet, Star
from .losses import Boundary, Data, Loss, Residual, Rows, Squares
from .natural_gradient import NaturalGradientState, natural_gradient
from .networks import MLP, sine, tanh
from .parameter_vectors import EachStep
from .polygons import Polygon, l_shape
from .problems import MeanExitTime, Poisson, Problem, Schroedinger
from .sampling import latin_hypercube, sobol, uniform
from .schedules import cosine_decay, exponential_decay
from .training import AdamState, adam

__all__ = [
    "MLP",
    "AdamState",
    "Annulus",
    "Ball",
    "Boundary",
    "Box",
    "Composition",
    "Data",
    "Domain",
    "EachStep",
    "EulerMaruyama",
    "Exit",
    "GaussNewtonState",
    "HalfSpace",
    "Interval",
    "Jet",
    "LBFGSState",
    "Labels",
    "LevelSet",
    "Loss",
    "MeanExitTime",
    "NaturalGradientState",
    "Operation",
    "Poisson",
    "Polygon",
    "Problem",
    "Residual",
    "Rows",
    "Schroedinger",
    "Squares",
    "Star",
    "UnitSquare",
    "WalkOnSpheres",
    "adam",
    "compiled",
    "cosine_decay",
    "difference",
    "exponential_decay",
    "gauss_newton",
    "generator",
    "gradient",
    "intersection",
    "l_shape",
    "labels",
    "laplacian",
    "latin_hypercube",
    "lbfgs",
    "natural_gradient",
    "parameters",
    "residual_jacobian",
    "sine",
    "sobol",
    "tanh",
    "uniform",
    "union",
]
