"""Partial differential equations: domains, elliptic problems, and labels by the formula of Feynman and Kac."""

if __name__ != "optsci.pinn":
    raise ImportError(f"this folder is the package optsci.pinn; `import {__name__}` would make a second copy")

from .ansatz import BoundaryAnsatz
from .balls import Annulus, Ball
from .checkpoints import load_checkpoint, save_checkpoint
from .committors import Committor, Complement
from .conditioning import (
    Extremes,
    KernelSpectrum,
    SpectralDensity,
    function_spectrum,
    hessian_density,
    hessian_extremes,
    kernel_spectrum,
)
from .conditioning_operator import Legendre, OperatorCondition, Sines, operator_condition
from .cut_grids import GridFunction
from .derivatives import Jet, divergence, generator, gradient, hessian, laplacian
from .domain_algebra import Composition, Operation, difference, intersection, union
from .domain_protocol import Domain, compiled
from .domains import Box, HalfSpace, Interval, UnitSquare
from .energies import Energy, double_well, harmonic, mueller_brown
from .equations import Coupled, Equation, Field, Fields
from .features import FourierFeatures, PeriodicFeatures
from .feynman_kac import Labels, labels
from .jacobians import jacobian_operator, parameters, residual_jacobian
from .lbfgs import LBFGSState, lbfgs
from .level_sets import LevelSet, Star
from .levenberg_marquardt import GaussNewtonState, gauss_newton
from .losses import Boundary, Data, Loss, Neumann, Periodic, Residual, Robin, Rows, Squares, sketched
from .multilevel import Multilevel
from .natural_gradient import NaturalGradientState, natural_gradient
from .networks import MLP, cosine, sine, tanh
from .one_dimensional import interval_committor, interval_exit_time, passage_time, radial_committor
from .parameter_vectors import EachStep
from .polygons import Polygon, l_shape
from .problems import MeanExitTime, Poisson, Problem, Schroedinger
from .random_walks import EulerMaruyama, Exit, WalkOnSpheres
from .reference import finite_differences
from .resampling import rad, rar
from .sampling import latin_hypercube, sobol, uniform
from .schedules import cosine_decay, exponential_decay
from .training import AdamState, adam
from .weighting import gradient_norm_weights, moving_average, ntk_trace_weights, self_adaptive, weighted

__all__ = [
    "MLP",
    "AdamState",
    "Annulus",
    "Ball",
    "Boundary",
    "BoundaryAnsatz",
    "Box",
    "Committor",
    "Complement",
    "Composition",
    "Coupled",
    "Data",
    "Domain",
    "EachStep",
    "Energy",
    "Equation",
    "EulerMaruyama",
    "Exit",
    "Extremes",
    "Field",
    "Fields",
    "FourierFeatures",
    "GaussNewtonState",
    "GridFunction",
    "HalfSpace",
    "Interval",
    "Jet",
    "KernelSpectrum",
    "LBFGSState",
    "Labels",
    "Legendre",
    "LevelSet",
    "Loss",
    "MeanExitTime",
    "Multilevel",
    "NaturalGradientState",
    "Neumann",
    "Operation",
    "OperatorCondition",
    "Periodic",
    "PeriodicFeatures",
    "Poisson",
    "Polygon",
    "Problem",
    "Residual",
    "Robin",
    "Rows",
    "Schroedinger",
    "Sines",
    "SpectralDensity",
    "Squares",
    "Star",
    "UnitSquare",
    "WalkOnSpheres",
    "adam",
    "compiled",
    "cosine",
    "cosine_decay",
    "difference",
    "divergence",
    "double_well",
    "exponential_decay",
    "finite_differences",
    "function_spectrum",
    "gauss_newton",
    "generator",
    "gradient",
    "gradient_norm_weights",
    "harmonic",
    "hessian",
    "hessian_density",
    "hessian_extremes",
    "intersection",
    "interval_committor",
    "interval_exit_time",
    "jacobian_operator",
    "kernel_spectrum",
    "l_shape",
    "labels",
    "laplacian",
    "latin_hypercube",
    "lbfgs",
    "load_checkpoint",
    "moving_average",
    "mueller_brown",
    "natural_gradient",
    "ntk_trace_weights",
    "operator_condition",
    "parameters",
    "passage_time",
    "rad",
    "radial_committor",
    "rar",
    "residual_jacobian",
    "save_checkpoint",
    "self_adaptive",
    "sine",
    "sketched",
    "sobol",
    "tanh",
    "uniform",
    "union",
    "weighted",
]
