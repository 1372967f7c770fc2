"""Optimal control of partial differential equations, and inverse problems: nonsmooth, and with exact constraints."""

from .burgers_map import BurgersMap
from .control_checks import (
    OperatorPair,
    derivative_gap,
    gradient_of,
    taylor_remainders,
    taylor_slope,
    transpose_gap,
)
from .control_sets import ActiveSets, active_sets
from .manufactured import (
    Manufactured,
    bilinear_parabolic,
    sparse_elliptic,
    sparse_parabolic,
    sparse_target,
)
from .nonlinear_maps import BilinearHeatMap, SemilinearHeatMap
from .pinn_solution_map import TrainedEllipticMap, optimality_gap
from .plots import (
    plot_control_images,
    plot_control_lines,
    plot_decay,
    plot_differences,
    plot_images,
    plot_lines,
)
from .primal_dual_control import (
    PrimalDualControlState,
    nonlinear_primal_dual,
    primal_dual,
    strong_convexity,
    tuned_steps,
)
from .semismooth_newton import (
    ControlCost,
    SemismoothNewtonState,
    SolutionMap,
    control_objective,
    semismooth_newton,
)
from .solution_maps import EllipticMap, HeatMap, heat_norm, space_time_points

__all__ = [
    "ActiveSets",
    "BilinearHeatMap",
    "BurgersMap",
    "ControlCost",
    "EllipticMap",
    "HeatMap",
    "Manufactured",
    "OperatorPair",
    "PrimalDualControlState",
    "SemilinearHeatMap",
    "SemismoothNewtonState",
    "SolutionMap",
    "TrainedEllipticMap",
    "active_sets",
    "bilinear_parabolic",
    "control_objective",
    "derivative_gap",
    "gradient_of",
    "heat_norm",
    "nonlinear_primal_dual",
    "optimality_gap",
    "plot_control_images",
    "plot_control_lines",
    "plot_decay",
    "plot_differences",
    "plot_images",
    "plot_lines",
    "primal_dual",
    "semismooth_newton",
    "space_time_points",
    "sparse_elliptic",
    "sparse_parabolic",
    "sparse_target",
    "strong_convexity",
    "taylor_remainders",
    "taylor_slope",
    "transpose_gap",
    "tuned_steps",
]
