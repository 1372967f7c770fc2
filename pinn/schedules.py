"""Learning rates that fall: functions of the number of steps so far."""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[int], float]  # steps so far -> learning rate


def cosine_decay(lr: float, steps: int, *, last: float = 0.0) -> Schedule:
    r"""From lr to ``last`` along half a cosine, and ``last`` after that.

    .. math:: \eta_k = \eta_{last} + \tfrac12 (\eta_0 - \eta_{last}) (1 + \cos(\pi k / n)), \qquad 0 \le k \le n

    Reference: Loshchilov and Hutter, SGDR, arXiv 1608.03983, equation 5.

    >>> rate = cosine_decay(1e-2, 100)
    >>> rate(0), round(rate(50), 12), rate(100), rate(1000)
    (0.01, 0.005, 0.0, 0.0)
    """
    _require_rate(lr, "lr")
    _require_steps(steps)
    return lambda k: last + 0.5 * (lr - last) * (1 + math.cos(math.pi * min(k, steps) / steps))


def exponential_decay(lr: float, factor: float, steps: int) -> Schedule:
    r"""Multiplied by ``factor`` in every ``steps`` steps, smoothly: :math:`\eta_k = \eta_0 \, c^{k / n}`.

    >>> rate = exponential_decay(1e-2, 0.5, 100)
    >>> rate(0), rate(200)
    (0.01, 0.0025)
    """
    _require_rate(lr, "lr")
    _require_steps(steps)
    if not 0 < factor <= 1:
        raise ValueError(f"factor must be above 0 and at most 1, got {factor}")
    return lambda k: lr * factor ** (k / steps)


def _require_rate(lr: float, name: str) -> None:
    if not 0 < lr < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {lr}")


def _require_steps(steps: int) -> None:
    if not steps >= 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
