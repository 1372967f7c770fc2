"""Partial differential equations: domains, elliptic problems, and labels by the formula of Feynman and Kac."""

if __name__ != "optsci.pinn":
    raise ImportError(f"this folder is the package optsci.pinn; `import {__name__}` would make a second copy")

from .balls import Annulus, Ball
from .committors import Committor, Complement
from .derivatives import Jet, generator, gradient, laplacian
from .domain_algebra import Composition, Operation, difference, intersection, union
from .domain_protocol import Domain, compiled
from .domains import Box, HalfSpace, Interval, UnitSquare
from .feynman_kac import Labels, labels
from .jacobians import parameters, residual_jacobian
from .level_sets import LevelSet, Star
from .losses import Boundary, Data, Loss, Residual, Rows, Squares
from .multilevel import Multilevel
from .networks import MLP, sine, tanh
from .polygons import Polygon, l_shape
from .problems import MeanExitTime, Poisson, Problem, Schroedinger
from .random_walks import EulerMaruyama, Exit, WalkOnSpheres
from .sampling import latin_hypercube, sobol, uniform

__all__ = [
    "MLP",
    "Annulus",
    "Ball",
    "Boundary",
    "Box",
    "Committor",
    "Complement",
    "Composition",
    "Data",
    "Domain",
    "EulerMaruyama",
    "Exit",
    "HalfSpace",
    "Interval",
    "Jet",
    "Labels",
    "LevelSet",
    "Loss",
    "MeanExitTime",
    "Multilevel",
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
    "compiled",
    "difference",
    "generator",
    "gradient",
    "intersection",
    "l_shape",
    "labels",
    "laplacian",
    "latin_hypercube",
    "parameters",
    "residual_jacobian",
    "sine",
    "sobol",
    "tanh",
    "uniform",
    "union",
]
