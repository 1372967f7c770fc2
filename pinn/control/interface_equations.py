r"""The optimality system of an interface control problem as a sum of squares of ``Fields(y=…, p=…)``.

.. math::

   \Delta y + \frac{f + u - y_t}{B} = 0, \qquad \Delta p + \frac{y - y_d + p_t}{B} = 0 \ \text{in}\ \Omega_\pm, \qquad
   [B \partial_n y] = g_1, \quad [B \partial_n p] = 0 \ \text{on}\ \Gamma

with u, or the control of the interface, a function of p: see `interface_control`.  Nothing else is left for those y and
p of `interface_fields`; `soft_constraints` are what `DiscontinuityCapturing` needs besides.

Source: arXiv 2308.06709.  Departures: the equations inside and outside have points of their own; Gauss-Newton steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral
from typing import Any, NamedTuple

from torch import Tensor

from ..equations import Equation, Field
from ..losses import Loss
from .interface_control import Problem, Transmission
from .interface_values import values_at
from .interfaces import Interface


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
