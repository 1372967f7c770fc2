"""Partial differential equations: domains, elliptic problems, and labels by the formula of Feynman and Kac."""

if __name__ != "optsci.pinn":
    raise ImportError(f"this folder is the package optsci.pinn; `import {__name__}` would make a second copy")

from .balls import Annulus, Ball
from .committors import Committor, Complement
from .domain_algebra import Composition, Operation, difference, intersection, union
from .domain_protocol import Domain, compiled
from .domains import Box, HalfSpace, Interval, UnitSquare
from .feynman_kac import Labels, labels
from .level_sets import LevelSet, Star
from .multilevel import Multilevel
from .polygons import Polygon, l_shape
from .problems import MeanExitTime, Poisson, Problem, Schroedinger
from .random_walks import EulerMaruyama, Exit, WalkOnSpheres
from .sampling import latin_hypercube, sobol, uniform

__all__ = [
    "Annulus",
    "Ball",
    "Box",
    "Committor",
    "Complement",
    "Composition",
    "Domain",
    "EulerMaruyama",
    "Exit",
    "HalfSpace",
    "Interval",
    "Labels",
    "LevelSet",
    "MeanExitTime",
    "Multilevel",
    "Operation",
    "Poisson",
    "Polygon",
    "Problem",
    "Schroedinger",
    "Star",
    "UnitSquare",
    "WalkOnSpheres",
    "compiled",
    "difference",
    "intersection",
    "l_shape",
    "labels",
    "latin_hypercube",
    "sobol",
    "uniform",
    "union",
]
