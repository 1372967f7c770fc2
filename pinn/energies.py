r"""Energies V whose overdamped Langevin dynamics is metastable or solvable, and the forces :math:`-\nabla V`.

.. math::

   dX = -\nabla V(X)\, dt + \sqrt{2/\beta}\, dW

is the problem with ``drift=V.drift, diffusion=2 / beta``; beta is the inverse temperature.  Like all coefficients, V
and the drift take x with the components first, (d, n), and are written with NumPy: they run on arrays and under Numba,
V also on tensors (`numpy_on_torch.on_tensors`).

.. math::

   \text{double\_well} &= (x_1^2 - 1)^2 + 0.3 \sum_{i \ge 2} x_i^2, \qquad
   \text{harmonic} = \tfrac12 |x|^2, \\
   \text{mueller\_brown} &= \sum_{k=1}^4 A_k
   e^{a_k (x_1 - p_k)^2 + b_k (x_1 - p_k)(x_2 - q_k) + c_k (x_2 - q_k)^2}
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

# A, a, b, c, p, q of the four terms.
TERMS = (
    (-200.0, -1.0, 0.0, -10.0, 1.0, 0.0),
    (-100.0, -1.0, 0.0, -10.0, 0.0, 0.5),
    (-170.0, -6.5, 11.0, -6.5, -0.5, 1.5),
    (15.0, 0.7, 0.6, 0.7, -1.0, 1.0),
)


@dataclass(frozen=True)
class Energy:
    """An energy with its force: call it for V.

    >>> double_well(np.array([[0.0, 1.0], [0.0, 1.0]])).tolist()
    [1.0, 0.3]
    >>> double_well.drift(np.array([[0.5]])).tolist()
    [[1.5]]
    """

    value: Callable[[Any], Any]
    """V, x (d, n) -> (n,)"""
    drift: Callable[[Any], Any]
    """-grad V, x (d, n) -> (d, n)"""

    def __call__(self, x: Any) -> Any:
        return self.value(x)


def _double_well(x: Any) -> Any:
    well = x[0] * x[0] - 1.0
    value = well * well
    for i in range(1, len(x)):
        value = value + 0.3 * (x[i] * x[i])
    return value


def _double_well_drift(x: Any) -> Any:
    drift = -0.6 * x
    drift[0] = 4.0 * x[0] * (1.0 - x[0] * x[0])
    return drift


def _harmonic(x: Any) -> Any:
    value = 0.5 * (x[0] * x[0])
    for i in range(1, len(x)):
        value = value + 0.5 * (x[i] * x[i])
    return value


def _harmonic_drift(x: Any) -> Any:
    return -x


def _mueller_brown(x: Any) -> Any:
    value = 0.0 * x[0]
    for A, a, b, c, p, q in TERMS:
        across, up = x[0] - p, x[1] - q
        value = value + A * np.exp(a * across * across + b * across * up + c * up * up)
    return value


def _mueller_brown_drift(x: Any) -> Any:
    drift = 0.0 * x
    for A, a, b, c, p, q in TERMS:
        across, up = x[0] - p, x[1] - q
        term = A * np.exp(a * across * across + b * across * up + c * up * up)
        drift[0] -= term * (2.0 * a * across + b * up)
        drift[1] -= term * (b * across + 2.0 * c * up)
    return drift


double_well = Energy(_double_well, _double_well_drift)
"""Minima at -1 and 1, a barrier of height 1 at 0; in any dimension."""
harmonic = Energy(_harmonic, _harmonic_drift)
"""The drift -x, that of Ornstein and Uhlenbeck; in any dimension."""
mueller_brown = Energy(_mueller_brown, _mueller_brown_drift)
"""In the plane: minima near (-0.558, 1.441), (0.623, 0.028) and (-0.050, 0.467), with values -146.7, -108.2, -80.8."""
