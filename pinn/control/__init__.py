"""Optimal control of partial differential equations, and inverse problems: nonsmooth, and with exact constraints."""

from .burgers import BurgersCompromise, BurgersControl
from .elliptic import EllipticCompromise, EllipticControl
from .inverse_potential import (
    InversePotential,
    InversePotentialCompromise,
    PotentialData,
    potential_data,
    potential_prior,
)
from .one_dimensional_reference import (
    BurgersReference,
    GaussNewtonPotential,
    burgers_objective,
    burgers_reduced,
    burgers_reference,
    burgers_state,
)
from .subproblem import InnerSolve, Subproblem, Summable, largest_gradient, root_mean_square, warm_gauss_newton

__all__ = [
    "BurgersCompromise",
    "BurgersControl",
    "BurgersReference",
    "EllipticCompromise",
    "EllipticControl",
    "GaussNewtonPotential",
    "InnerSolve",
    "InversePotential",
    "InversePotentialCompromise",
    "PotentialData",
    "Subproblem",
    "Summable",
    "burgers_objective",
    "burgers_reduced",
    "burgers_reference",
    "burgers_state",
    "largest_gradient",
    "potential_data",
    "potential_prior",
    "root_mean_square",
    "warm_gauss_newton",
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
