r"""Step lengths along a direction, by values and slopes: the strong Wolfe conditions.

.. math::

   \varphi(\alpha) \le \varphi(0) + c_1 \alpha \varphi'(0), \qquad
   |\varphi'(\alpha)| \le c_2 |\varphi'(0)|

Near a minimum, where the difference of two values is rounding error, values say nothing any more, and slopes still do:
there the first condition is replaced by :math:`\varphi'(\alpha) \le (2 c_1 - 1) \varphi'(0)` with a value that has not
risen by more than rounding.

Sources: Nocedal and Wright, Numerical Optimization (2nd ed., 2006), Algorithms 3.5 and 3.6, and equation 3.59 (cubic
interpolation); Hager and Zhang, SIAM J. Optim. 16 (2005) 170, equation 4.1 (approximate Wolfe conditions).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

SUFFICIENT = 1e-4  # c1
CURVATURE = 0.9  # c2
ROUNDING = 1e-15  # relative rise of a value that may be rounding; single precision passes its own


class Trial(NamedTuple):
    """A step length that was tried."""

    step: float  # alpha
    value: float  # phi(alpha)
    slope: float  # phi'(alpha)
    memory: Any = None  # what the function wants to keep, such as the gradient


def strong_wolfe(
    phi: Callable[[float], Trial],
    origin: Trial,
    step: float,
    *,
    rounding: float = ROUNDING,
    evaluations: int = 30,
) -> Trial | None:
    r"""Find a step that satisfies the strong Wolfe conditions with c1 = 1e-4 and c2 = 0.9.

    Args:
        phi: alpha -> `Trial`; a value or slope that is not finite counts as too long a step.
        origin: the trial at 0, of negative slope.
        step: the first length tried, positive.
        rounding: the relative error of values.
        evaluations: the most that phi is called.

    Returns:
        The step; where none satisfies the conditions, the lowest one tried; None if none was lower than the origin.

    >>> def phi(a):
    ...     return Trial(a, (a - 3) ** 2, 2 * (a - 3))
    >>> strong_wolfe(phi, phi(0.0), 1.0).step
    1.0
    >>> strong_wolfe(phi, phi(0.0), 100.0).step
    3.0
    """
    if not origin.slope < 0:
        raise ValueError(f"origin must have a negative slope, got {origin.slope}")
    best, left = origin, evaluations

    def evaluate(alpha: float) -> Trial:
        nonlocal best, left
        left -= 1
        trial = phi(alpha)
        if not (math.isfinite(trial.value) and math.isfinite(trial.slope)):
            return Trial(alpha, math.inf, math.inf)
        if trial.value < best.value:
            best = trial
        return trial

    def too_high(trial: Trial, low: Trial) -> bool:
        """Whether a minimum lies before the trial, by its value."""
        if _same(trial.value, origin.value, rounding):
            return trial.slope > 0 and trial.slope > -CURVATURE * origin.slope
        return trial.value > origin.value + SUFFICIENT * trial.step * origin.slope or trial.value >= low.value

    def accepted(trial: Trial) -> bool:
        flat = abs(trial.slope) <= -CURVATURE * origin.slope
        if _same(trial.value, origin.value, rounding):
            return flat and trial.slope <= (2 * SUFFICIENT - 1) * origin.slope
        return flat and trial.value <= origin.value + SUFFICIENT * trial.step * origin.slope

    def zoom(low: Trial, high: Trial) -> Trial | None:
        """Shrink the interval, in which low is the lower end: Algorithm 3.6."""
        while left > 0 and abs(high.step - low.step) > 1e-16 * max(abs(high.step), abs(low.step)):
            trial = evaluate(_between(low, high))
            if accepted(trial):
                return trial
            if too_high(trial, low):
                high = trial
            else:
                if trial.slope * (high.step - low.step) >= 0:
                    high = low
                low = trial
        return None

    def bracket() -> Trial | None:
        """Lengthen the step until it has gone too far: Algorithm 3.5."""
        previous, alpha = origin, step
        while left > 0:
            trial = evaluate(alpha)
            if accepted(trial):
                return trial
            if too_high(trial, previous):
                return zoom(previous, trial)
            if trial.slope >= 0:
                return zoom(trial, previous)
            previous, alpha = trial, 2.5 * alpha
        return None

    return bracket() or (best if best is not origin else None)


def _same(a: float, b: float, rounding: float) -> bool:
    """Whether two values may differ by rounding alone."""
    return abs(a - b) <= rounding * abs(b)


def _between(low: Trial, high: Trial) -> float:
    """Return the minimiser of the cubic through both, at least a tenth of the interval from its ends."""
    width = high.step - low.step
    alpha = low.step + 0.5 * width
    if math.isfinite(high.value):
        d1 = low.slope + high.slope - 3 * (low.value - high.value) / (low.step - high.step)
        square = d1 * d1 - low.slope * high.slope
        if square >= 0:
            d2 = math.copysign(math.sqrt(square), width)
            denominator = high.slope - low.slope + 2 * d2
            if denominator != 0:
                alpha = high.step - width * (high.slope + d2 - d1) / denominator
    else:
        alpha = low.step + 0.1 * width  # values that are not finite: well away from them
    nearest, farthest = sorted((low.step + 0.1 * width, high.step - 0.1 * width))
    return min(max(alpha, nearest), farthest)
