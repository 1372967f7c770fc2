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

What is left is a sum of squares of y and p, `optimality`, without constraints for those of `interface_fields`;
`soft_constraints` are those that `DiscontinuityCapturing` needs besides.

Source: arXiv 2308.06709, by the formulas of its public code.  Departures: the sign of the control of the interface,
which is :math:`-p/\alpha` in that code; the equations inside and outside have points of their own; Gauss-Newton steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from optsci._tensor import as_scalar

from ..derivatives import Solution
from ..equations import Equation, Field
from ..losses import Loss
from .interfaces import Coefficient, Interface, require_finite_at, values_at

CHECKED = 256  # points at which data are looked at


@dataclass(frozen=True, eq=False)
class Transmission:
    r"""The state equation: :math:`y_t - \nabla \cdot (B \nabla y) = f`, with jumps; in time where the interface is.

    Args:
        interface: :math:`\Gamma`.
        diffusion: B inside and outside, positive.
        source: f, a number or (n, d) -> (n, 1).
        boundary: :math:`h_0`, likewise.
        value_jump: :math:`g_0`, likewise.
        flux_jump: :math:`g_1`, likewise.
        initial: y at time 0, likewise.

    Raises:
        ValueError: a part of B is not positive, or a coefficient not finite or not a column.
    """

    interface: Interface
    diffusion: tuple[float, float]
    source: Coefficient = 0.0
    boundary: Coefficient = 0.0
    value_jump: Coefficient = 0.0
    flux_jump: Coefficient = 0.0
    initial: Coefficient = 0.0

    def __post_init__(self) -> None:
        if len(self.diffusion) != 2 or not all(math.isfinite(b) and b > 0 for b in self.diffusion):
            raise ValueError(f"diffusion must be two positive numbers, inside and outside, got {self.diffusion}")
        x = points_of_domain(self.interface)
        require_finite_at(self.source, x, "source")
        require_finite_at(self.boundary, self.interface.on_boundary(CHECKED, 0), "boundary")
        on = self.interface.on_interface(CHECKED, 0)[0]
        require_finite_at(self.value_jump, on, "value_jump")
        require_finite_at(self.flux_jump, on, "flux_jump")


class Problem(Protocol):
    """A control problem: where its control acts, as a function of the adjoint."""

    equation: Transmission
    target: Coefficient

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
        ValueError: alpha is not positive, or lower above upper somewhere, or a coefficient not finite.
    """

    equation: Transmission
    target: Coefficient
    alpha: float
    lower: Coefficient = field(default=-math.inf)
    upper: Coefficient = field(default=math.inf)

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
    lower: Coefficient = field(default=-math.inf)
    upper: Coefficient = field(default=math.inf)

    def __post_init__(self) -> None:
        require_control(self, self.equation.interface.on_interface(CHECKED, 0)[0])

    def control(self, x: Tensor, p: Tensor) -> Tensor:
        """Return u at points of the interface, from the values of the adjoint there, (n, 1)."""
        return clip(p / self.alpha, self.lower, self.upper, x)

    flux = control

    def force(self, x: Tensor, p: Tensor) -> Tensor:
        return torch.zeros_like(p)


class Points(NamedTuple):
    """Where the equations are asked for."""

    inside: Tensor  # (n-, d)
    outside: Tensor  # (n+, d)
    interface: Tensor  # (m, d)
    normals: Tensor  # (m, d), out of the part inside
    boundary: Tensor  # (k, d)


def points(interface: Interface, n: int, on: int, seed: int) -> Points:
    """Return n points of the domain and ``on`` each of the interface and the boundary, evenly spread."""
    where = interface.sample(n, seed)
    return Points(*where, *interface.on_interface(on, seed + 1), interface.on_boundary(on, seed + 2))


def optimality(problem: Problem, where: Points, *, flux_weight: float = 1.0, adjoint_weight: float = 1.0) -> Loss:
    r"""Return the optimality system of a control problem as a loss of ``Fields(y=…, p=…)``.

    The mean squares over the domain, and over the interface, of

    .. math::

       \Delta y + \frac{f + u - y_t}{B}, \qquad \Delta p + \frac{y - y_d + p_t}{B}, \qquad
       [B \partial_n y] - g_1, \qquad [B \partial_n p]

    where u is the control that the adjoint gives.

    Args:
        problem: `DistributedControl` or `FluxControl`.
        where: the points.
        flux_weight: of the jumps of the flux.
        adjoint_weight: of the equations of p.
    """
    equation, interface = problem.equation, problem.equation.interface
    total = len(where.inside) + len(where.outside)
    inner, outer = equation.diffusion
    loss = Loss(())
    for side, x, b in (("inside", where.inside, inner), ("outside", where.outside, outer)):

        def fields(u: Any, side: str = side) -> tuple[Solution, Solution]:
            return getattr(u.y, side), getattr(u.p, side)

        def state_equation(x: Tensor, y: Field, p: Field, b: float = b) -> Tensor:
            return y.laplacian + (values_at(equation.source, x) + problem.force(x, p.value) - rate(interface, y)) / b

        def adjoint_equation(x: Tensor, y: Field, p: Field, b: float = b) -> Tensor:
            return p.laplacian + (y.value - values_at(problem.target, x) + rate(interface, p)) / b

        share = len(x) / total
        loss = loss + Equation(x, fields, state_equation, share, axes=interface.axes)
        loss = loss + Equation(x, fields, adjoint_equation, adjoint_weight * share, axes=interface.axes)

    def along(of: Field) -> Tensor:
        return (where.normals * of.gradient).sum(1, keepdim=True)

    def flux_condition(x: Tensor, y_in: Field, y_out: Field, p: Field) -> Tensor:
        jump = outer * along(y_out) - inner * along(y_in)
        return jump - values_at(equation.flux_jump, x) - problem.flux(x, p.value)

    def adjoint_flux_condition(x: Tensor, p_in: Field, p_out: Field) -> Tensor:
        return outer * along(p_out) - inner * along(p_in)

    on = where.interface
    loss = loss + Equation(on, lambda u: (u.y.inside, u.y.outside, u.p.inside), flux_condition, flux_weight)
    return loss + Equation(
        on, lambda u: (u.p.inside, u.p.outside), adjoint_flux_condition, adjoint_weight * flux_weight
    )


def soft_constraints(
    problem: Problem, where: Points, *, boundary_weight: float = 1.0, jump_weight: float = 1.0
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
        raise ValueError("problem must be elliptic: soft conditions in time are not written here")

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


def points_of_domain(interface: Interface) -> Tensor:
    """Return points on both sides, where data are looked at."""
    return torch.cat(interface.sample(CHECKED, 0))


def require_control(problem: DistributedControl | FluxControl, x: Tensor) -> None:
    """Refuse a cost that is not positive, an empty box, and data that are not finite."""
    alpha = float(as_scalar(problem.alpha, "alpha"))
    if not (math.isfinite(alpha) and alpha > 0):
        raise ValueError(f"alpha must be finite and positive, got {problem.alpha}")
    require_finite_at(problem.target, points_of_domain(problem.equation.interface), "target")
    lower, upper = values_at(problem.lower, x), values_at(problem.upper, x)
    wrong = ~(lower <= upper)[:, 0]
    if wrong.any():
        a, b = float(lower[wrong][0]), float(upper[wrong][0])
        raise ValueError(f"lower must be at most upper, got {a:g} and {b:g} at {x[wrong][0].tolist()}")
