"""Optimal control of partial differential equations, and inverse problems: nonsmooth, and with exact constraints."""

from .subproblem import InnerSolve, Subproblem, Summable, largest_gradient, root_mean_square, warm_gauss_newton

__all__ = ["InnerSolve", "Subproblem", "Summable", "largest_gradient", "root_mean_square", "warm_gauss_newton"]
