r"""Natural gradients of the energy, by the kernel: Gauss-Newton directions of a batch, and a search along each.

.. math::

   d_k = \beta d_{k-1} + J^\top (J J^\top + \mu I)^{-1} (r - \beta J d_{k-1}), \qquad
   \theta_{k+1} = \theta_k - \eta_k d_k

with J the Jacobian of the residuals r, and :math:`\eta_k` the best of 1, 1/2, 1/4, …  For batches of few hundred
points, fewer than parameters, the kernel J J' is small and a step costs little more than a gradient; fresh points at
every step (:class:`EachStep`) make the batches cover the domain.

Sources: Müller and Zeinhofer, Achieving high accuracy with PINNs via energy natural gradients, ICML 2023, arXiv
2302.13163; Goldshlager, Abrahamsen and Lin, arXiv 2401.10190 (the momentum, SPRING).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .damped_steps import DampedSteps
from .jacobians import require_terms, residual_jacobian
from .losses import Loss
from .parameter_vectors import EachStep, Ended, at_step, require_trained, set_vector, to_vector, value_at

SMALLEST_STEP = 2.0**-20


class NaturalGradientState(NamedTuple):
    """A step of ``natural_gradient``."""

    x: Any  # u, after the step
    residual: Tensor  # largest entry of the gradient of the loss, before the step
    loss: Tensor  # after the step, on the points of this step
    steps: int  # so far
    step: float  # eta; 0 where no step lowered the loss
    damping: float  # mu that this step took
    direction: Tensor  # (P,) d, zero after a step of no length
    reason: Ended | None = None  # why this is the last state


def natural_gradient(
    u: Any,
    loss: Loss | EachStep,
    *,
    damping: float | Callable[[float], float] = 1e-8,
    momentum: float = 0.0,
    start: NaturalGradientState | None = None,
) -> Iterator[NaturalGradientState]:
    r"""Energy natural gradients with a search of the step length; fastest on small batches of fresh points.

    Args:
        u: a module, trained in place.
        loss: with ``residuals``; or :class:`EachStep` of such.
        damping: :math:`\mu` in units of the mean eigenvalue of J J', positive; or a function of the loss.  It is
            multiplied by 10 while Cholesky fails.  1e-8 suits batches of hundreds of points, as the search shortens the
            steps of the beginning; smaller batches take more, 1e-4.
        momentum: :math:`\beta`, from 0 to below 1; helps with noisy batches.
        start: a state to go on from; u holds its parameters.

    The residual is the largest entry of the gradient, before the step.  The last state has a ``reason`` where the
    algorithm ended by itself; the status of ``solve`` is then ``EXHAUSTED``.

    Example:
        >>> import optsci
        >>> from optsci.pinn import Boundary, EachStep, MLP, Poisson, Residual, Ball
        >>> problem = Poisson(Ball(dim=2), source=4.0)
        >>> x, on = problem.domain.sample, problem.domain.sample_boundary
        >>> loss = EachStep(lambda k: Residual(problem, x(20, seed=k)) + Boundary(problem, on(10, seed=k)[0]))
        >>> run = optsci.solve(natural_gradient(MLP(2, [16], 1), loss, damping=1e-4), max_iter=10)
        >>> bool(run.state.loss < 0.1)
        True
    """
    require_trained(u, loss, start, of=NaturalGradientState)
    if not isinstance(loss, EachStep):
        require_terms(loss)
    if not callable(damping) and not damping > 0:
        raise ValueError(f"damping must be positive or a function of the loss, got {damping!r}")
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be from 0 to below 1, got {momentum!r}")

    def iterate(k: int, d: Tensor) -> Iterator[NaturalGradientState]:
        while True:
            now = at_step(loss, k)
            theta = to_vector(u)
            r, J = residual_jacobian(u, now)
            before, largest = r.square().sum(), 2 * (J.mT @ r).abs().max()
            if not (before.isfinite() and largest.isfinite()):
                yield NaturalGradientState(u, largest, before, k, 0.0, 0.0, d, Ended.NOT_FINITE)
                return
            if not largest > 0 and not isinstance(loss, EachStep):
                yield NaturalGradientState(u, largest, before, k, 0.0, 0.0, d, Ended.STATIONARY)
                return
            steps = DampedSteps(J, seed=k)
            units = damping(float(before)) if callable(damping) else damping
            last = momentum * d
            if not units > 0:
                raise ValueError(f"damping must be positive at the loss {float(before):g}, got {units}")
            change, mu = steps.solve(r - J @ last if momentum else r, units * steps.scale)
            d = last + change
            eta, after = halvings(lambda eta: value_at(u, now, theta - eta * d), before)  # noqa: B023
            set_vector(u, theta - eta * d)
            k += 1
            if not eta:
                if not (isinstance(loss, EachStep) or last.any()):  # the next step would be the same one
                    yield NaturalGradientState(u, largest, before, k, eta, mu, d, Ended.NO_LOWER_LOSS)
                    return
                d = torch.zeros_like(d)
            yield NaturalGradientState(u, largest, after, k, eta, mu, d)

    zero = torch.zeros_like(to_vector(u))
    return iterate(0, zero) if start is None else iterate(start.steps, start.direction)


def halvings(phi: Callable[[float], Tensor], before: Tensor) -> tuple[float, Tensor]:
    """Return the first of 1, 1/2, 1/4, … after which phi rises again, and phi there; 0 where none is below ``before``.

    >>> halvings(lambda a: torch.tensor((a - 0.3) ** 2), torch.tensor(0.09))[0]
    0.25
    """
    best, lowest, eta = 0.0, before, 1.0
    while eta >= SMALLEST_STEP:
        value = phi(eta)
        if value < lowest:
            best, lowest = eta, value
        elif best:
            break
        eta /= 2
    return best, lowest
