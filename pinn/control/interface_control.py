r"""Optimal control of equations whose coefficient jumps at an interface.

.. math::

   \min \tfrac12 \|y - y_d\|^2 + \tfrac\alpha2 \|u\|^2, \quad u_a \le u \le u_b, \qquad
   y_t - \nabla \cdot (B \nabla y) = f + u \ \text{in}\ \Omega_\pm, \quad
   [y] = g_0, \ [B \partial_n y] = g_1 \ \text{on}\ \Gamma, \quad y = h_0 \ \text{on}\ \partial\Omega

with :math:`[v] = v_+ - v_-`, n pointing out of :math:`\Omega_-`, and no :math:`y_t` in an elliptic problem.  With the
adjoint

.. math::

   -p_t - \nabla \cdot (B \nabla p) = y - y_d, \qquad [p] = [B \partial_n p] = 0, \qquad p = 0 \ \text{on}\
   \partial\Omega \text{ and at } t = T

the control is :math:`u = P(-p/\alpha)`, P the projection on the box (`DistributedControl`): the box holds exactly, and
there is no network for u.  A control of the interface, :math:`[B \partial_n y] = g_1 + u` instead of u in the
equation, is :math:`u = P(+p/\alpha)` (`FluxControl`), because the weak form is
:math:`\int B \nabla y \cdot \nabla v = \int f v - \int_\Gamma (g_1 + u) v`.

What is left are equations of y and p, see `interface_equations`.

Source: arXiv 2308.06709, by the formulas of its public code.  Departure: the sign of the control of the interface,
which is :math:`-p/\alpha` in that code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from optsci._tensor import as_scalar

from .interface_values import Coefficient, require_finite_at, values_at
from .interfaces import Interface

CHECKED = 256  # points at which data are looked at


@dataclass(frozen=True, eq=False)
class Transmission:
    r"""The state equation: :math:`y_t - \nabla \cdot (B \nabla y) = f`, with jumps; in time where the interface is.

    Args:
        interface: :math:`\Gamma`.
        diffusion: B inside and outside, two positive numbers.
        source: f, a number or (n, d) -> (n, 1).
        boundary: :math:`h_0`, likewise.
        value_jump: :math:`g_0`, likewise.
        flux_jump: :math:`g_1`, likewise.
        initial: y at time 0, likewise; only where the interface has a horizon.

    Raises:
        ValueError: B is not two positive numbers, or a coefficient not finite or not a column, or there are initial
            values without a time.
    """

    interface: Interface
    diffusion: tuple[float, float]
    source: Coefficient = 0.0
    boundary: Coefficient = 0.0
    value_jump: Coefficient = 0.0
    flux_jump: Coefficient = 0.0
    initial: Coefficient = 0.0

    def __post_init__(self) -> None:
        if not two_positive(self.diffusion):
            raise ValueError(f"diffusion must be two positive numbers, inside and outside, got {self.diffusion}")
        x = points_of_domain(self.interface)
        require_finite_at(self.source, x, "source")
        require_finite_at(self.boundary, self.interface.on_boundary(CHECKED, 0), "boundary")
        on = self.interface.on_interface(CHECKED, 0)[0]
        require_finite_at(self.value_jump, on, "value_jump")
        require_finite_at(self.flux_jump, on, "flux_jump")
        first = require_finite_at(self.initial, x, "initial")
        if self.interface.horizon is None and (callable(self.initial) or (first != 0).any()):
            raise ValueError(
                f"initial needs a time, got {self.initial}: give the interface a horizon, or leave initial out"
            )


class Problem(Protocol):
    """A control problem: where its control acts, as a function of the adjoint."""

    @property
    def equation(self) -> Transmission:
        """The state equation."""
        ...

    @property
    def target(self) -> Coefficient:
        """The target y_d."""
        ...

    def force(self, x: Tensor, p: Tensor) -> Tensor:
        """Return the control in the equation, (n, 1)."""
        ...

    def flux(self, x: Tensor, p: Tensor) -> Tensor:
        """Return the control on the interface, (n, 1)."""
        ...


@dataclass(frozen=True, eq=False)
class DistributedControl:
    r"""A control in the equation, :math:`u = \operatorname{clip}(-p/\alpha, u_a, u_b)`.

    Args:
        equation: the state equation.
        target: :math:`y_d`, a number or (n, d) -> (n, 1).
        alpha: the cost of the control, positive.
        lower: :math:`u_a`, likewise; none unless given.
        upper: :math:`u_b`, likewise.

    Raises:
        ValueError: alpha is not positive, or lower above upper somewhere, or lower inf or upper -inf, or the target
            not finite.
    """

    equation: Transmission
    target: Coefficient
    alpha: float
    lower: Coefficient = -math.inf
    upper: Coefficient = math.inf

    def __post_init__(self) -> None:
        require_control(self, points_of_domain(self.equation.interface))

    def control(self, x: Tensor, p: Tensor) -> Tensor:
        """Return u at points, from the values of the adjoint there, (n, 1)."""
        return clip(-p / self.alpha, self.lower, self.upper, x)

    force = control

    def flux(self, x: Tensor, p: Tensor) -> Tensor:
        return torch.zeros_like(p)


@dataclass(frozen=True, eq=False)
class FluxControl:
    r"""A control of the flux jump, :math:`[B \partial_n y] = g_1 + u`, :math:`u = \operatorname{clip}(p/\alpha, a, b)`.

    Args:
        equation: the state equation.
        target: :math:`y_d`, a number or (n, d) -> (n, 1).
        alpha: the cost of the control, positive.
        lower: a, likewise; none unless given.
        upper: b, likewise.

    Raises:
        ValueError: as of `DistributedControl`, on the interface.
    """

    equation: Transmission
    target: Coefficient
    alpha: float
    lower: Coefficient = -math.inf
    upper: Coefficient = math.inf

    def __post_init__(self) -> None:
        require_control(self, self.equation.interface.on_interface(CHECKED, 0)[0])

    def control(self, x: Tensor, p: Tensor) -> Tensor:
        """Return u at points of the interface, from the values of the adjoint there, (n, 1)."""
        return clip(p / self.alpha, self.lower, self.upper, x)

    flux = control

    def force(self, x: Tensor, p: Tensor) -> Tensor:
        return torch.zeros_like(p)


def clip(value: Tensor, lower: Coefficient, upper: Coefficient, x: Tensor) -> Tensor:
    """Return values in the box of their points."""
    return torch.minimum(torch.maximum(value, values_at(lower, x)), values_at(upper, x))


def two_positive(b: Any) -> bool:
    """Whether these are two finite positive numbers.

    >>> two_positive((1.0, 10.0)), two_positive((1.0, 0.0)), two_positive(1.0)
    (True, False, False)
    """
    try:
        inner, outer = b
        return all(math.isfinite(one) and one > 0 for one in (inner, outer))
    except (TypeError, ValueError):  # not two, or no numbers
        return False


def points_of_domain(interface: Interface) -> Tensor:
    """Return points on both sides, where data are looked at."""
    return torch.cat(interface.sample(CHECKED, 0))


def require_control(problem: DistributedControl | FluxControl, x: Tensor) -> None:
    """Refuse a cost that is not positive, a box that holds no finite control, and data that are not finite."""
    alpha = float(as_scalar(problem.alpha, "alpha"))
    if not (math.isfinite(alpha) and alpha > 0):
        raise ValueError(f"alpha must be finite and positive, got {problem.alpha}")
    require_finite_at(problem.target, points_of_domain(problem.equation.interface), "target")
    lower, upper = values_at(problem.lower, x), values_at(problem.upper, x)
    wrong = ~(lower <= upper)[:, 0]
    if wrong.any():
        a, b = float(lower[wrong][0]), float(upper[wrong][0])
        raise ValueError(f"lower must be at most upper, got {a:g} and {b:g} at {x[wrong][0].tolist()}")
    for name, bound, never in (("lower", lower, math.inf), ("upper", upper, -math.inf)):
        at = (bound == never)[:, 0]
        if at.any():
            raise ValueError(f"{name} must not be {never}, or no control is allowed, got that at {x[at][0].tolist()}")
