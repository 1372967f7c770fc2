r"""Optimal control of equations whose coefficient jumps at an interface, by their optimality systems.

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

What is left is a sum of squares of y and p, `optimality_system`, without constraints for those of `interface_fields`;
`soft_constraints` are those that `DiscontinuityCapturing` needs besides.

Source: arXiv 2308.06709, by the formulas of its public code.  Departures: the sign of the control of the interface,
which is :math:`-p/\alpha` in that code; the equations inside and outside have points of their own; Gauss-Newton steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from optsci._tensor import as_scalar

from ..equations import Equation, Field
from ..losses import Loss
from .interfaces import Coefficient, Interface, require_finite_at, values_at

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


class InterfacePoints(NamedTuple):
    """Where the equations are asked for."""

    inside: Tensor  # (n-, d)
    outside: Tensor  # (n+, d)
    interface: Tensor  # (m, d)
    normals: Tensor  # (m, d), out of the part inside
    boundary: Tensor  # (k, d)


def interface_points(interface: Interface, n: int, on: int, seed: int) -> InterfacePoints:
    """Return n points, half of them inside, and ``on`` each of the interface and the boundary, evenly spread.

    Solutions often vary most inside, which is the smaller part: by its area it would get few points.

    Args:
        interface: where they lie about.
        n: points in the domain, at least 2, one for each side.
        on: points of the interface, and of the boundary, at least 1.
        seed: of the points.

    Raises:
        TypeError: n or on is not an integer.
        ValueError: n is less than 2, or on less than 1.
    """
    for name, count, least in (("n", n, 2), ("on", on, 1)):
        if not isinstance(count, Integral):
            raise TypeError(f"{name} must be an integer, a number of points, got {count!r}")
        if count < least:
            raise ValueError(f"{name} must be at least {least}, got {count}")
    half, share = n // 2, interface.share
    drawn = interface.sample(math.ceil(1.2 * max(half / share, (n - half) / (1 - share))) + 16, seed)
    sides = (drawn.inside[:half], drawn.outside[: n - half])
    return InterfacePoints(*sides, *interface.on_interface(on, seed + 1), interface.on_boundary(on, seed + 2))


def optimality_system(
    problem: Problem, where: InterfacePoints, *, flux_weight: float = 1.0, adjoint_weight: float = 1.0
) -> Loss:
    r"""Return the optimality system of a control problem as a loss of ``Fields(y=…, p=…)``.

    Args:
        problem: `DistributedControl` or `FluxControl`.
        where: the points.
        flux_weight: of the jumps of the flux.
        adjoint_weight: of `adjoint_equations`, where that of `state_equations` is 1.
    """
    first = state_equations(problem, where, flux_weight)
    return first + adjoint_weight * adjoint_equations(problem, where, flux_weight)


def state_equations(problem: Problem, where: InterfacePoints, flux_weight: float = 1.0) -> Loss:
    r"""Return the mean squares of the state equation and its jump of the flux, with the control that p gives.

    .. math:: \Delta y + \frac{f + u - y_t}{B}, \qquad [B \partial_n y] - g_1 - w

    One of u and w is the control, and the other one 0.  The mean over the domain is that of its parts by their
    shares of the area, however many points each of them has.

    Together with `adjoint_equations` they determine y and p; by turns, each with the network of the other one frozen,
    where alpha is not small.
    """
    equation, interface = problem.equation, problem.equation.interface

    def inner_equation(b: float) -> Callable[..., Tensor]:
        def residual(x: Tensor, y: Field, p: Field) -> Tensor:
            return y.laplacian + (values_at(equation.source, x) + problem.force(x, p.value) - rate(interface, y)) / b

        return residual

    def jump(x: Tensor, inside: Field, outside: Field, p: Field) -> Tensor:
        wanted = values_at(equation.flux_jump, x) + problem.flux(x, p.value)
        return flux_jump(equation, where, inside, outside) - wanted

    return on_both_sides(equation, where, inner_equation, lambda side: lambda u: (side(u.y), side(u.p))) + Equation(
        where.interface, lambda u: (u.y.inside, u.y.outside, u.p.inside), jump, flux_weight
    )


def adjoint_equations(problem: Problem, where: InterfacePoints, flux_weight: float = 1.0) -> Loss:
    r"""Return the mean squares of the adjoint equation and its jump of the flux; see `state_equations`.

    .. math:: \Delta p + \frac{y - y_d + p_t}{B}, \qquad [B \partial_n p]
    """
    equation, interface = problem.equation, problem.equation.interface

    def inner_equation(b: float) -> Callable[..., Tensor]:
        def residual(x: Tensor, p: Field, y: Field) -> Tensor:
            return p.laplacian + (y.value - values_at(problem.target, x) + rate(interface, p)) / b

        return residual

    def jump(x: Tensor, inside: Field, outside: Field) -> Tensor:
        return flux_jump(equation, where, inside, outside)

    return on_both_sides(equation, where, inner_equation, lambda side: lambda u: (side(u.p), side(u.y))) + Equation(
        where.interface, lambda u: (u.p.inside, u.p.outside), jump, flux_weight
    )


def on_both_sides(
    equation: Transmission, where: InterfacePoints, residual: Callable[[float], Any], fields: Callable[[Any], Any]
) -> Loss:
    """The mean square over the domain of residual(B), of functions of either side."""
    (inner, outer), interface = equation.diffusion, equation.interface
    share, axes = interface.share, interface.axes
    return Equation(where.inside, fields(lambda v: v.inside), residual(inner), share, axes=axes) + Equation(
        where.outside, fields(lambda v: v.outside), residual(outer), 1 - share, axes=axes
    )


def flux_jump(equation: Transmission, where: InterfacePoints, inside: Field, outside: Field) -> Tensor:
    r"""Return :math:`[B \partial_n v]` at the points of the interface, (m, 1)."""
    inner, outer = equation.diffusion
    return (where.normals * (outer * outside.gradient - inner * inside.gradient)).sum(1, keepdim=True)


def soft_constraints(
    problem: Problem, where: InterfacePoints, *, boundary_weight: float = 1.0, jump_weight: float = 1.0
) -> Loss:
    """Return boundary values and jumps of the values as a loss of ``Fields(y=…, p=…)``, for a soft version.

    Args:
        problem: elliptic.
        where: the points.
        boundary_weight: of y and p on the boundary.
        jump_weight: of their jumps on the interface.
    """
    equation = problem.equation
    on, boundary = where.interface, where.boundary
    if equation.interface.horizon is not None:
        raise ValueError(
            f"problem must be elliptic, as soft conditions are, got the horizon {equation.interface.horizon:g}"
        )

    def jump(x: Tensor, y_in: Field, y_out: Field) -> Tensor:
        return y_out.value - y_in.value - values_at(equation.value_jump, x)

    return (
        Equation(boundary, lambda u: (u.y.outside,), lambda x, y: y.value - values_at(equation.boundary, x))
        + Equation(boundary, lambda u: (u.p.outside,), lambda x, p: p.value)
    ) * boundary_weight + (
        Equation(on, lambda u: (u.y.inside, u.y.outside), jump)
        + Equation(on, lambda u: (u.p.inside, u.p.outside), lambda x, p_in, p_out: p_out.value - p_in.value)
    ) * jump_weight


def rate(interface: Interface, of: Field) -> Tensor | float:
    """Return the derivative in time, which an elliptic problem has none of."""
    return 0.0 if interface.horizon is None else of.gradient[:, -1:]


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
