"""Optimal control of partial differential equations, and inverse problems: nonsmooth, and with exact constraints."""

from .subproblem import InnerSolve, Subproblem, Summable, largest_gradient, root_mean_square, warm_gauss_newton

__all__ = ["InnerSolve", "Subproblem", "Summable", "largest_gradient", "root_mean_square", "warm_gauss_newton"]
from .burgers_map import BurgersMap
from .nonlinear_maps import BilinearHeatMap, SemilinearHeatMap
from .semismooth_newton import ControlCost, SemismoothNewtonState, SolutionMap, control_objective, semismooth_newton
from .solution_maps import EllipticMap, HeatMap, heat_norm

__all__ = [
    "BilinearHeatMap",
    "BurgersMap",
    "ControlCost",
    "EllipticMap",
    "HeatMap",
    "SemilinearHeatMap",
    "SemismoothNewtonState",
    "SolutionMap",
    "control_objective",
    "heat_norm",
    "semismooth_newton",
]
