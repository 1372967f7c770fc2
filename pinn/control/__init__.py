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
from .interface_ansatz import DiscontinuityCapturing, InterfaceAnsatz
from .interface_control import (
    DistributedControl,
    FluxControl,
    InterfacePoints,
    Transmission,
    adjoint_equations,
    interface_points,
    optimality_system,
    soft_constraints,
    state_equations,
)
from .interface_fields import Violations, interface_adjoint, interface_state, violations
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
    "DiscontinuityCapturing",
    "DistributedControl",
    "EllipticMap",
    "FittedSolution",
    "FluxControl",
    "HeatMap",
    "Interface",
    "InterfaceAnsatz",
    "InterfacePoints",
    "Known",
    "Manufactured",
    "OperatorPair",
    "PrimalDualControlState",
    "SemilinearHeatMap",
    "SemismoothNewtonState",
    "Sides",
    "SolutionMap",
    "TrainedEllipticMap",
    "Transmission",
    "Violations",
    "adjoint_equations",
    "bilinear_parabolic",
    "circle_control",
    "circle_flux_control",
    "collar",
    "control_objective",
    "derivative_gap",
    "fitted_finite_elements",
    "flower_control",
    "gradient_of",
    "heat_control",
    "heat_norm",
    "interface_adjoint",
    "interface_points",
    "interface_state",
    "learned_distance",
    "learned_lift",
    "learned_phi",
    "level_interface",
    "moving_circle",
    "nonlinear_primal_dual",
    "optimality_gap",
    "optimality_system",
    "primal_dual",
    "semismooth_newton",
    "smooth_star",
    "soft_constraints",
    "space_time_points",
    "sparse_elliptic",
    "sparse_parabolic",
    "sparse_target",
    "square_bubble",
    "state_equations",
    "strong_convexity",
    "taylor_remainders",
    "taylor_slope",
    "transpose_gap",
    "tuned_steps",
    "violations",
]
