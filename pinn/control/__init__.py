"""Optimal control of partial differential equations, and inverse problems: nonsmooth, and with exact constraints."""

from .interface_ansatz import DiscontinuityCapturing, InterfaceAnsatz
from .interface_control import (
    DistributedControl,
    FluxControl,
    Points,
    Transmission,
    adjoint_equations,
    optimality,
    points,
    soft_constraints,
    state_equations,
)
from .interface_fields import Violations, adjoint, state, violations
from .interface_learned import learned_distance, learned_lift, learned_phi
from .interface_problems import (
    Known,
    circle_control,
    circle_flux_control,
    flower_control,
    heat_control,
    moving_circle,
    square_bubble,
)
from .interface_reference import FittedSolution, fitted_finite_elements
from .interfaces import Interface, Sides, collar, level_interface, smooth_star

__all__ = [
    "DiscontinuityCapturing",
    "DistributedControl",
    "FittedSolution",
    "FluxControl",
    "Interface",
    "InterfaceAnsatz",
    "Known",
    "Points",
    "Sides",
    "Transmission",
    "Violations",
    "adjoint",
    "adjoint_equations",
    "circle_control",
    "circle_flux_control",
    "collar",
    "fitted_finite_elements",
    "flower_control",
    "heat_control",
    "learned_distance",
    "learned_lift",
    "learned_phi",
    "level_interface",
    "moving_circle",
    "optimality",
    "points",
    "smooth_star",
    "soft_constraints",
    "square_bubble",
    "state",
    "state_equations",
    "violations",
from .burgers_map import BurgersMap
from .control_checks import (
    OperatorPair,
    derivative_gap,
    gradient_of,
    taylor_remainders,
    taylor_slope,
    transpose_gap,
)
from .manufactured import (
    Manufactured,
    bilinear_parabolic,
    sparse_elliptic,
    sparse_parabolic,
    sparse_target,
)
from .nonlinear_maps import BilinearHeatMap, SemilinearHeatMap
from .pinn_solution_map import TrainedEllipticMap, optimality_gap
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
    "bilinear_parabolic",
    "control_objective",
    "derivative_gap",
    "gradient_of",
    "heat_norm",
    "nonlinear_primal_dual",
    "optimality_gap",
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
