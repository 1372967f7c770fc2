"""Partial differential equations: so far the domains they are posed on."""

if __name__ != "optsci.pinn":
    raise ImportError(f"this folder is the package optsci.pinn; `import {__name__}` would make a second copy")

from .balls import Annulus, Ball
from .domain_algebra import Composition, Operation, difference, intersection, union
from .domain_protocol import Domain, compiled
from .domains import Box, HalfSpace, Interval, UnitSquare
from .level_sets import LevelSet, Star
from .polygons import Polygon, l_shape
from .sampling import latin_hypercube, sobol, uniform

__all__ = [
    "Annulus",
    "Ball",
    "Box",
    "Composition",
    "Domain",
    "HalfSpace",
    "Interval",
    "LevelSet",
    "Operation",
    "Polygon",
    "Star",
    "UnitSquare",
    "compiled",
    "difference",
    "intersection",
    "l_shape",
    "latin_hypercube",
    "sobol",
    "uniform",
    "union",
]
