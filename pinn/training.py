r"""Training by first-order steps: Adam.

.. math::

   m_k &= \beta_1 m_{k-1} + (1 - \beta_1) g_k, \qquad v_k = \beta_2 v_{k-1} + (1 - \beta_2) g_k^2, \\
   \theta_k &= \theta_{k-1} - \eta_k \, \frac{m_k / (1 - \beta_1^k)}{\sqrt{v_k / (1 - \beta_2^k)} + \varepsilon}

Every training algorithm is a generator of states, for `optsci.solve`.  ``state.x`` is u itself, trained in place, and
a state holds all the memory there is: ``start=state`` goes on from it, to the last bit as if nothing had been between.

Source: Kingma and Ba, Adam, arXiv 1412.6980, Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .parameter_vectors import EachStep, Objective, at_step, require_trained, set_vector, to_vector, value_and_gradient
from .schedules import Schedule


class AdamState(NamedTuple):
    """A step of ``adam``."""

    x: Any  # u, after the step
    residual: Tensor  # largest entry of the gradient, before the step
    loss: Tensor  # before the step
    steps: int  # so far
    mean: Tensor  # (P,) m, the running mean of the gradients
    square: Tensor  # (P,) v, of their squares


def adam(
    u: Any,
    loss: Objective | EachStep,
    *,
    lr: float | Schedule = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    start: AdamState | None = None,
) -> Iterator[AdamState]:
    r"""Adam, for the first thousands of steps, and for losses on fresh points.

    Args:
        u: a module, trained in place.
        loss: u -> 0-d tensor, any function of u; or :class:`EachStep`.
        lr: the learning rate, positive; or a function of the number of steps so far, such as ``cosine_decay``.
        betas: of the running means, each from 0 to below 1.
        eps: positive.
        start: a state to go on from; u holds its parameters.

    The residual is the largest entry of the gradient, before the step: zero where the loss is stationary. With points
    that change it does not tend to zero.

    Example:
        >>> import optsci
        >>> from optsci.pinn import Ball, Boundary, MLP, Poisson, Residual
        >>> problem = Poisson(Ball(dim=2), source=4.0)
        >>> u, loss = MLP(2, [8], 1), Residual(problem, 50) + Boundary(problem, 20)
        >>> before = loss(u).item()
        >>> run = optsci.solve(adam(u, loss, lr=1e-2), max_iter=20)
        >>> run.x is u, loss(u).item() < before
        (True, True)
    """
    require_trained(u, loss, start, of=AdamState)
    if not callable(lr) and not lr > 0:
        raise ValueError(f"lr must be positive or a function of the number of steps, got {lr!r}")
    if not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"betas must be from 0 to below 1, got {betas}")
    if not eps > 0:
        raise ValueError(f"eps must be positive, got {eps}")
    rate: Callable[[int], float] = lr if callable(lr) else lambda k: lr

    def iterate(k: int, m: Tensor, v: Tensor) -> Iterator[AdamState]:
        while True:
            value, g = value_and_gradient(u, at_step(loss, k))
            theta, m, v = adam_step(to_vector(u), g, m, v, k + 1, rate(k), betas, eps)
            set_vector(u, theta)
            k += 1
            yield AdamState(u, g.abs().max(), value, k, m, v)

    zero = torch.zeros_like(to_vector(u))
    return iterate(0, zero, zero) if start is None else iterate(start.steps, start.mean, start.square)


def adam_step(
    theta: Tensor, g: Tensor, m: Tensor, v: Tensor, k: int, lr: float, betas: tuple[float, float], eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return theta, m and v after step k = 1, 2, …; see the formula of this module.

    >>> one, zero = torch.ones(1), torch.zeros(1)
    >>> adam_step(one, one, zero, zero, 1, 0.5, (0.9, 0.999), 1e-8)[0]
    tensor([0.5000])
    """
    m = torch.lerp(m, g, 1 - betas[0])
    v = torch.addcmul(betas[1] * v, g, g, value=1 - betas[1])
    denominator = v.sqrt() / (1 - betas[1] ** k) ** 0.5 + eps
    return torch.addcdiv(theta, m, denominator, value=-lr / (1 - betas[0] ** k)), m, v
