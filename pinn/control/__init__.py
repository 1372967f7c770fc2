"""Optimal control of partial differential equations, and inverse problems: nonsmooth, and with exact constraints."""

from .burgers import BurgersCompromise, BurgersControl
from .burgers_map import BurgersMap
from .control_checks import OperatorPair, derivative_gap, gradient_of, taylor_remainders, taylor_slope, transpose_gap
from .control_sets import ActiveSets, active_sets
from .elliptic import EllipticCompromise, EllipticControl
from .fem_reference import FiniteElements
from .inverse_potential import (
    InversePotential,
    InversePotentialCompromise,
    PotentialData,
    potential_data,
    potential_prior,
)
from .manufactured import Manufactured, bilinear_parabolic, sparse_elliptic, sparse_parabolic, sparse_target
from .nonlinear_maps import BilinearHeatMap, SemilinearHeatMap
from .one_dimensional_reference import (
    BurgersReference,
    GaussNewtonPotential,
    burgers_objective,
    burgers_reduced,
    burgers_reference,
    burgers_state,
)
from .parabolic import heat_fields, heat_subproblem, optimal_control
from .pinn_solution_map import TrainedEllipticMap, optimality_gap
from .plots import plot_control_images, plot_control_lines, plot_decay, plot_differences, plot_images, plot_lines
from .primal_dual_control import (
    PrimalDualControlState,
    nonlinear_primal_dual,
    primal_dual,
    strong_convexity,
    tuned_steps,
)
from .semismooth_newton import ControlCost, SemismoothNewtonState, SolutionMap, control_objective, semismooth_newton
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
    "EllipticCompromise",
    "EllipticControl",
    "EllipticMap",
    "FiniteElements",
    "GaussNewtonPotential",
    "HeatMap",
    "InnerSolve",
    "InversePotential",
    "InversePotentialCompromise",
    "Manufactured",
    "NeumannFeatures",
    "OperatorPair",
    "PotentialData",
    "PrimalDualControlState",
    "SemilinearHeatMap",
    "SemismoothNewtonState",
    "SolutionMap",
    "SourceIdentification",
    "SourceProblem",
    "Subproblem",
    "Summable",
    "TrainedEllipticMap",
    "active_sets",
    "bilinear_parabolic",
    "boundary_map",
    "burgers_objective",
    "burgers_reduced",
    "burgers_reference",
    "burgers_state",
    "control_objective",
    "derivative_gap",
    "gradient_of",
    "heat_fields",
    "heat_norm",
    "heat_subproblem",
    "largest_gradient",
    "nonlinear_primal_dual",
    "optimal_control",
    "optimality_gap",
    "plot_control_images",
    "plot_control_lines",
    "plot_decay",
    "plot_differences",
    "plot_images",
    "plot_lines",
    "potential_data",
    "potential_prior",
    "primal_dual",
    "root_mean_square",
    "semismooth_newton",
    "source_fields",
    "space_time_points",
    "sparse_elliptic",
    "sparse_parabolic",
    "sparse_target",
    "strong_convexity",
    "taylor_remainders",
    "taylor_slope",
    "transpose_gap",
    "tuned_steps",
    "two_sources",
    "warm_gauss_newton",
]
