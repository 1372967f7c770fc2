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
]
