r"""Gauss-Newton steps with damping: the sum of squares as if the residuals were linear in the parameters.

.. math::

   J^\top J\, d + \mu d = J^\top r, \qquad \theta_{k+1} = \theta_k - d, \qquad
   \varrho = \frac{\|r\|^2 - \|r(\theta_k - d)\|^2}{\|r\|^2 - \|r - J d\|^2}

with r the residuals, ``loss(u) = r.square().sum()``, and J their Jacobian.  A step is taken where the loss falls, and
the gain ratio :math:`\varrho` says how much to trust the model next: :math:`\mu` falls to a third where it is right,
and grows where it is not.

Source: Nielsen, Damping parameter in Marquardt's method, IMM-REP-1999-05, Technical University of Denmark, 1999.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .damped_steps import DampedSteps
from .jacobians import require_terms, residual_jacobian
from .known_jets import with_known_jets
from .losses import Loss
from .parameter_vectors import EachStep, Ended, at_step, require_trained, set_vector, to_vector, value_at


class GaussNewtonState(NamedTuple):
    """A step of ``gauss_newton``."""

    x: Any  # u, after the step
    residual: Tensor  # largest entry of the gradient of the loss, before the step
    loss: Tensor  # after the step
    steps: int  # so far
    damping: float  # mu of the next step
    growth: float  # factor of mu should that step fail
    gain: float  # the gain ratio of this step
    reason: Ended | None = None  # why this is the last state


def gauss_newton(
    u: Any, loss: Loss | EachStep, *, damping: float | None = None, start: GaussNewtonState | None = None
) -> Iterator[GaussNewtonState]:
    r"""Levenberg and Marquardt's method; the loss falls in every step.

    Each state is an accepted step: one Jacobian (N, P), one product of order min(N, P), and a factorisation for every
    damping tried.

    Args:
        u: a module, trained in place.
        loss: with ``residuals``; or :class:`EachStep` of such, for fresh points: a step then lowers its own loss.
        damping: :math:`\mu` of the first step, at least 0; 0 stays 0 as long as steps succeed.  None: 1e-3 times the
            mean eigenvalue of the smaller of J J' and J' J.
        start: a state to go on from; u holds its parameters.

    The residual is the largest entry of the gradient, before the step.  The last state has a ``reason`` where the
    algorithm ended by itself, and u is then at its best; the status of ``solve`` is ``EXHAUSTED``.

    Reference: Nielsen (1999), equations 2.2 and 2.4 to 2.5.

    Example:
        >>> import optsci
        >>> from optsci.pinn import MLP, Data
        >>> x = torch.linspace(0, 1, 20, dtype=torch.float64)[:, None]
        >>> run = optsci.solve(gauss_newton(MLP(1, [8], 1), Data(x, x.sin())), max_iter=30)
        >>> bool(run.state.loss < 1e-6)
        True
    """
    require_trained(u, loss, start, of=GaussNewtonState)
    if not isinstance(loss, EachStep):
        require_terms(loss)
    if damping is not None and not 0 <= damping < math.inf:
        raise ValueError(f"damping must be finite and at least 0, got {damping!r}")

    def iterate(k: int, mu: float | None, growth: float) -> Iterator[GaussNewtonState]:
        of_u = with_known_jets(loss, u) if isinstance(loss, Loss) else loss
        while True:
            now = at_step(of_u, k)
            theta = to_vector(u)
            r, J = residual_jacobian(u, now)
            before, largest = r.square().sum(), 2 * (J.mT @ r).abs().max()

            def end(reason: Ended) -> GaussNewtonState:
                set_vector(u, theta)  # noqa: B023  (called before the next pass)
                return GaussNewtonState(u, largest, before, k, mu or 0.0, growth, 0.0, reason)  # noqa: B023

            if not (r.isfinite().all() and J.isfinite().all()):
                yield end(Ended.NOT_FINITE)
                return
            if not largest > 0:
                yield end(Ended.STATIONARY)
                return
            steps = DampedSteps(J, seed=k)
            mu = 1e-3 * steps.scale if mu is None else mu
            while True:
                d, mu = steps.solve(r, mu)
                after = value_at(u, now, theta - d)
                predicted = before - (r - J @ d).square().sum()
                gain = float((before - after) / predicted)
                if after < before:
                    break
                if mu > steps.scale * len(theta) / torch.finfo(r.dtype).eps:
                    yield end(Ended.NO_LOWER_LOSS)
                    return
                mu, growth = max(mu * growth, 1e-12 * steps.scale), 2 * growth
            mu, growth, k = mu * max(1 / 3, 1 - (2 * gain - 1) ** 3), 2.0, k + 1
            yield GaussNewtonState(u, largest, after, k, mu, growth, gain)

    return iterate(0, damping, 2.0) if start is None else iterate(start.steps, start.damping, start.growth)
