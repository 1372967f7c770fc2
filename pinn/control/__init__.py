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
]
