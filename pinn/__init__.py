"""Partial differential equations: domains, elliptic problems, labels by the formula of Feynman and Kac, references."""

if __name__ != "optsci.pinn":
    raise ImportError(f"this folder is the package optsci.pinn; `import {__name__}` would make a second copy")

from .balls import Annulus, Ball
from .conditioning_operator import Legendre, OperatorCondition, Sines, operator_condition
from .cut_grids import GridFunction
from .domain_algebra import Composition, Operation, difference, intersection, union
from .domain_protocol import Domain, compiled
from .domains import Box, HalfSpace, Interval, UnitSquare
from .energies import Energy, double_well, harmonic, mueller_brown
from .feynman_kac import EulerMaruyama, Exit, Labels, WalkOnSpheres, labels
from .level_sets import LevelSet, Star
from .one_dimensional import interval_committor, interval_exit_time, passage_time, radial_committor
from .polygons import Polygon, l_shape
from .problems import MeanExitTime, Poisson, Problem, Schroedinger
from .reference import finite_differences
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
    "GridFunction",
    "HalfSpace",
    "Interval",
    "Labels",
    "Legendre",
    "LevelSet",
    "MeanExitTime",
    "Operation",
    "OperatorCondition",
    "Poisson",
    "Polygon",
    "Problem",
    "Schroedinger",
    "Sines",
    "Star",
    "UnitSquare",
    "WalkOnSpheres",
    "compiled",
    "difference",
    "double_well",
    "finite_differences",
    "harmonic",
    "intersection",
    "interval_committor",
    "interval_exit_time",
    "l_shape",
    "labels",
    "latin_hypercube",
    "mueller_brown",
    "operator_condition",
    "passage_time",
    "radial_committor",
    "sobol",
    "uniform",
    "union",
]
