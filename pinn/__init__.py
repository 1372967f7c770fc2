"""Partial differential equations: domains, elliptic problems, and labels by the formula of Feynman and Kac."""

if __name__ != "optsci.pinn":
    raise ImportError(f"this folder is the package optsci.pinn; `import {__name__}` would make a second copy")

from .balls import Annulus, Ball
from .domain_algebra import Composition, Operation, difference, intersection, union
from .domain_protocol import Domain, compiled
from .domains import Box, HalfSpace, Interval, UnitSquare
from .energies import Energy, double_well, harmonic, mueller_brown
from .feynman_kac import EulerMaruyama, Exit, Labels, WalkOnSpheres, labels
from .level_sets import LevelSet, Star
from .one_dimensional import interval_committor, interval_exit_time, passage_time, radial_committor
from .polygons import Polygon, l_shape
from .problems import MeanExitTime, Poisson, Problem, Schroedinger
from .sampling import latin_hypercube, sobol, uniform

__all__ = [
    "Annulus",
    "Ball",
    "Box",
    "Composition",
    "Domain",
    "Energy",
    "EulerMaruyama",
    "Exit",
    "HalfSpace",
    "Interval",
    "Labels",
    "LevelSet",
    "MeanExitTime",
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
    "double_well",
    "harmonic",
    "intersection",
    "interval_committor",
    "interval_exit_time",
    "l_shape",
    "labels",
    "latin_hypercube",
    "mueller_brown",
    "passage_time",
    "radial_committor",
    "sobol",
    "uniform",
    "union",
]
