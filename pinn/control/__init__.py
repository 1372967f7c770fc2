"""Optimal control of partial differential equations, and inverse problems: nonsmooth, and with exact constraints."""

from .burgers import BurgersCompromise, BurgersControl
from .burgers_map import BurgersMap
from .control_checks import OperatorPair, derivative_gap, gradient_of, taylor_remainders, taylor_slope, transpose_gap
from .control_sets import ActiveSets, active_sets
from .elliptic import EllipticCompromise, EllipticControl
from .fem_reference import FiniteElements
from .interface_ansatz import DiscontinuityCapturing, InterfaceAnsatz
from .interface_control import DistributedControl, FluxControl, Transmission
from .interface_energy import EnergyState, adjoint_energy, energy, energy_rounds, state_energy
from .interface_equations import (
    InterfacePoints,
    adjoint_equations,
    interface_points,
    optimality_system,
    soft_constraints,
    state_equations,
)
from .interface_fields import Violations, interface_adjoint, interface_state, violations
from .interface_flower import flower_fields
from .interface_learned import learned_distance, learned_lift, learned_phi
from .interface_phi import collar, smooth_star
from .interface_problems import (
    Known,
    circle_control,
    circle_flux_control,
    flower_control,
    heat_control,
    moving_circle,
    square_bubble,
)
from .interface_rays import Rays, StarRays, radial_flux, star_rays
from .interface_reference import FittedSolution, fitted_finite_elements
from .interface_values import Sides
from .interfaces import Interface, level_interface
from .inverse_potential import (
    InversePotential,
    InversePotentialCompromise,
    PotentialData,
    potential_data,
    potential_prior,
)
from .manufactured import Manufactured, bilinear_parabolic, sparse_elliptic, sparse_parabolic, sparse_target
from .newton_control import ControlCost, SemismoothNewtonState, SolutionMap, control_objective, semismooth_newton
from .nonlinear_maps import BilinearHeatMap, SemilinearHeatMap
from .one_dimensional_reference import BurgersReference, GaussNewtonPotential, burgers_reference
from .parabolic import heat_fields, heat_subproblem, optimal_control
from .pinn_solution_map import TrainedEllipticMap, optimality_gap
from .plots import plot_control_images, plot_control_lines, plot_decay, plot_differences, plot_images, plot_lines
from .primal_dual_control import PrimalDualControlState, nonlinear_primal_dual, primal_dual
from .primal_dual_steps import strong_convexity, tuned_steps
from .solution_maps import EllipticMap, HeatMap, heat_norm, space_time_points
from .source_identification import NeumannFeatures, SourceIdentification, source_fields
from .source_problem import BoundaryMisfit, SourceProblem, boundary_map, two_sources
from .subproblem import InnerSolve, Subproblem, Summable, largest_gradient, root_mean_square, warm_gauss_newton

__all__ = [
    "ActiveSets",
    "BilinearHeatMap",
    "BoundaryMisfit",
    "BurgersCompromise",
    "BurgersControl",
    "BurgersMap",
    "BurgersReference",
    "ControlCost",
    "DiscontinuityCapturing",
    "DistributedControl",
    "EllipticCompromise",
    "EllipticControl",
    "EllipticMap",
    "EnergyState",
    "FiniteElements",
    "FittedSolution",
    "FluxControl",
    "GaussNewtonPotential",
    "HeatMap",
    "InnerSolve",
    "Interface",
    "InterfaceAnsatz",
    "InterfacePoints",
    "InversePotential",
    "InversePotentialCompromise",
    "Known",
    "Manufactured",
    "NeumannFeatures",
    "OperatorPair",
    "PotentialData",
    "PrimalDualControlState",
    "Rays",
    "SemilinearHeatMap",
    "SemismoothNewtonState",
    "Sides",
    "SolutionMap",
    "SourceIdentification",
    "SourceProblem",
    "StarRays",
    "Subproblem",
    "Summable",
    "TrainedEllipticMap",
    "Transmission",
    "Violations",
    "active_sets",
    "adjoint_energy",
    "adjoint_equations",
    "bilinear_parabolic",
    "boundary_map",
    "burgers_reference",
    "circle_control",
    "circle_flux_control",
    "collar",
    "control_objective",
    "derivative_gap",
    "energy",
    "energy_rounds",
    "fitted_finite_elements",
    "flower_control",
    "flower_fields",
    "gradient_of",
    "heat_control",
    "heat_fields",
    "heat_norm",
    "heat_subproblem",
    "interface_adjoint",
    "interface_points",
    "interface_state",
    "largest_gradient",
    "learned_distance",
    "learned_lift",
    "learned_phi",
    "level_interface",
    "moving_circle",
    "nonlinear_primal_dual",
    "optimal_control",
    "optimality_gap",
    "optimality_system",
    "plot_control_images",
    "plot_control_lines",
    "plot_decay",
    "plot_differences",
    "plot_images",
    "plot_lines",
    "potential_data",
    "potential_prior",
    "primal_dual",
    "radial_flux",
    "root_mean_square",
    "semismooth_newton",
    "smooth_star",
    "soft_constraints",
    "source_fields",
    "space_time_points",
    "sparse_elliptic",
    "sparse_parabolic",
    "sparse_target",
    "square_bubble",
    "star_rays",
    "state_energy",
    "state_equations",
    "strong_convexity",
    "taylor_remainders",
    "taylor_slope",
    "transpose_gap",
    "tuned_steps",
    "two_sources",
    "violations",
    "warm_gauss_newton",
]
