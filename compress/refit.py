r"""Least squares on a fixed support: the best values for the weights that a pruner kept.

.. math:: \min_V \tfrac12 \|V X^* - W X\|^2 \quad \text{with } V_{ij} = 0 \text{ wherever the pruner put } 0

Rows are independent: row i solves ``G_SS v_S = (W C)_iS`` on its own support S.  It composes with every pruner, and a
table that refits one method and not another compares the refit, not the methods.
"""

from __future__ import annotations

import torch
from torch import Tensor

from optsci.iteration import solve
from optsci.linalg import conjugate_gradient, damped_cholesky

from .layer_problem import LayerProblem


def refit(problem: LayerProblem, weights: Tensor, *, damping: float = 0.0, iterations: int = 30) -> Tensor:
    """Refit by conjugate gradients on all rows at once, in the variables that give the Gram matrix a unit diagonal.

    Starts from the weights given, so that the (damped) error never rises; stopping early stays closer to them.

    Args:
        problem: the layer problem.
        weights: (m, n); its zeros stay zero, its values are the start.
        damping: ridge towards the dense weights, relative to every channel's energy; it helps when there are few
            tokens.
        iterations: at most; ends earlier at a relative residual of 1e-6.

    Returns:
        (m, n) weights on the same support.
    """
    scaled, scale = problem.scaled()
    scaled = scaled.damped(damping)
    steps = conjugate_gradient(lambda v: v @ scaled.gram, scaled.target, weights * scale, mask=weights != 0)
    return solve(steps, tol=1e-6, max_iter=iterations, check_every=10).x / scale


def refit_exact(problem: LayerProblem, weights: Tensor, *, damping: float = 0.0) -> Tensor:
    """Refit by one Cholesky factorisation a row, in float64: the oracle, and the choice for small layers.

    Takes ``n^3/3`` operations a row, against ``iterations * 2 n^2`` of :func:`refit`.  What is solved for is the
    correction of the weights given: directions that the calibration tokens do not determine stay as they are.
    """
    scaled, scale = problem.scaled()
    scaled = scaled.damped(damping)
    gram, start = scaled.gram.double(), (weights * scale).double()
    residual = scaled.target.double() - start @ gram
    rounding = 10 * torch.finfo(problem.gram.dtype).eps  # of the entries of a Gram matrix with unit diagonal
    fitted = start.clone()
    for row, kept in enumerate(weights != 0):
        support = kept.nonzero().squeeze(-1)
        if support.numel():
            name = f"the Gram matrix of {problem.name}, row {row},"
            factor, _ = damped_cholesky(gram[support][:, support], rounding, name=name)
            fitted[row, support] += torch.cholesky_solve(residual[row, support, None], factor).squeeze(-1)
    return (fitted / scale.double()).to(weights.dtype)
