r"""Weights of the terms of a loss, and of single points, from what the terms do to the parameters.

.. math:: J(u) = \sum_t \lambda_t J_t(u)

Each function looks at a loss once and returns weights for it; the loop that trains, weighs anew and goes on is the
user's::

    weights = torch.ones(2)
    for _ in range(10):
        run = solve(adam(u, weighted(loss, weights)), max_iter=500)
        weights = moving_average(weights, gradient_norm_weights(u, loss))

Sources: Wang, Sankaran, Wang and Perdikaris, arXiv 2308.08468 (gradient norms, moving average); Wang, Yu and
Perdikaris, arXiv 2007.14527 (traces of the kernel); McClenny and Braga-Neto, arXiv 2009.04544 (self-adaptive).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from optsci._tensor import require_nonnegative

from .jacobians import residual_jacobian
from .losses import Loss
from .parameter_vectors import require_trained, value_and_gradient


def weighted(loss: Loss, weights: Any) -> Loss:
    """Return the loss with every term times its weight, (T,).

    >>> from optsci.pinn import Ball, Boundary, Poisson, Residual
    >>> problem = Poisson(Ball(dim=2), source=4.0)
    >>> loss = weighted(Residual(problem, 50) + Boundary(problem, 20), [1.0, 10.0])
    """
    values = [float(w) for w in weights]
    if len(values) != len(loss.terms):
        raise ValueError(f"weights must be {len(loss.terms)} numbers, one for every term, got {len(values)}")
    for w in values:
        require_nonnegative(w, "weights")
    return Loss(tuple(term.scaled(w) for term, w in zip(loss.terms, values, strict=True)))


def gradient_norm_weights(u: Any, loss: Loss) -> Tensor:
    r"""Weights that make the gradients of all terms equally long, (T,).

    .. math:: \lambda_t = \sum_s \|\nabla J_s\| \,/\, \|\nabla J_t\|

    The terms are taken as they are: pass the loss before it was weighted. A term without gradient gets the weight 1.
    """
    require_trained(u)
    norms = [value_and_gradient(u, Loss((term,)))[1].norm() for term in loss.terms]
    return _shares(torch.stack(norms))


def ntk_trace_weights(u: Any, loss: Loss) -> Tensor:
    r"""Weights that make all terms fall equally fast at first, (T,): by the traces of their tangent kernels.

    .. math:: \lambda_t = \sum_s \operatorname{tr} K_s \,/\, \operatorname{tr} K_t, \qquad K_t = J_t J_t^\top

    with J_t the Jacobian of the scaled residuals of the term, so that traces are means over points.
    """
    require_trained(u)
    return _shares(torch.stack([residual_jacobian(u, Loss((term,)))[1].square().sum() for term in loss.terms]))


def moving_average(old: Any, new: Tensor, *, decay: float = 0.9) -> Tensor:
    """Return ``decay * old + (1 - decay) * new``: weights that do not jump.

    >>> moving_average([1.0, 1.0], torch.tensor([1.0, 11.0]))
    tensor([1., 2.])
    """
    if not 0 <= decay < 1:
        raise ValueError(f"decay must be from 0 to below 1, got {decay}")
    return torch.lerp(torch.as_tensor(old, dtype=new.dtype, device=new.device), new, 1 - decay)


def self_adaptive(weights: Tensor, residuals: Tensor, *, lr: float) -> Tensor:
    r"""Weights of points after a step of ascent, (n,): points that stay bad gain weight.

    .. math::

        \min_\theta \max_\lambda \sum_i \lambda_i^2 r_i^2, \qquad \lambda_i \leftarrow \lambda_i (1 + 2 \eta r_i^2)

    Args:
        weights: lambda, (n,); ones at first. The loss takes their squares, ``Residual(problem, x, weight=weights**2)``.
        residuals: r, (n,), without weights: ``Residual(problem, x).residuals(u)``.
        lr: eta, positive.

    >>> self_adaptive(torch.ones(2), torch.tensor([0.0, 2.0]), lr=0.5)
    tensor([1., 5.])
    """
    if not lr > 0:
        raise ValueError(f"lr must be positive, got {lr}")
    if weights.shape != residuals.shape:
        raise ValueError(
            f"weights must have the shape {tuple(residuals.shape)} of residuals, got {tuple(weights.shape)}"
        )
    return weights * (1 + 2 * lr * residuals.detach().square())


def _shares(sizes: Tensor) -> Tensor:
    """Return the sum over each size; 1 where it is 0."""
    return torch.where(sizes > 0, sizes.sum() / sizes, 1.0)
