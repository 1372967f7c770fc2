r"""State and adjoint of a control problem with an interface, whose conditions hold by their form.

.. math:: y = g + h\, N_y(x, \varphi), \quad p = h\, N_p(x, \varphi), \qquad \text{in time:} \quad
   y = g + t\, h\, N_y(x, t, \varphi), \quad p = (T - t)\, h\, N_p(x, t, \varphi)

Data that contradict each other are refused before any training: a lift g without the boundary values, a factor h that
is not 0 on the boundary.  What learned g, h and :math:`\varphi` leave is measured by `violations`.

Source: arXiv 2308.06709, algorithm 2, by its public code.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..derivatives import Solution
from .interface_ansatz import InterfaceAnsatz
from .interface_control import CHECKED, Transmission, points_of_domain
from .interface_values import Coefficient, Sides, require_finite_at, values_at
from .interfaces import Interface

INNER = 2048  # points of the domain at which a distance is looked at
FEW = 3  # of them where it may vanish
VANISHED = 1e-9  # of its largest value: what counts as 0 there


def interface_state(
    equation: Transmission,
    net: nn.Module,
    lift: Coefficient | Sides | None = None,
    distance: Solution | None = None,
    *,
    phi: Sides | None = None,
    tolerance: float = 1e-9,
) -> InterfaceAnsatz:
    r"""Return y = g + h N(x, phi), or g + t h N(x, t, phi) in time.

    Args:
        equation: with the data that y takes exactly.
        net: N, (n, d + 1) -> (n, 1).
        lift: g, or `Sides` with the jump of the value; None: the boundary values, where they are a number.
        distance: h, of points in space; None: ``domain.vanishing``.
        phi: as of `InterfaceAnsatz`.
        tolerance: by how much lift and distance may miss boundary values, jump and initial values, and the branches of
            phi each other: learned ones do.

    Raises:
        ValueError: they miss them by more; the sentence says where.
    """
    h = equation.interface.domain.vanishing if distance is None else distance
    if lift is None and callable(equation.boundary):
        raise ValueError("lift must be a smooth function with the boundary values, which are a function, got None")
    g = equation.boundary if lift is None else lift
    require_distance(equation.interface, h, tolerance)
    require_lift(equation, g if isinstance(g, Sides) else Sides(g, g), tolerance)
    return InterfaceAnsatz(net, g, in_time(equation.interface, h, lambda t: t), equation.interface, phi, tolerance)


def interface_adjoint(
    equation: Transmission,
    net: nn.Module,
    distance: Solution | None = None,
    *,
    phi: Sides | None = None,
    tolerance: float = 1e-9,
) -> InterfaceAnsatz:
    """Return p = h N(x, phi), or (T - t) h N(x, t, phi) in time; arguments as of `interface_state`."""
    interface = equation.interface
    h = interface.domain.vanishing if distance is None else distance
    require_distance(interface, h, tolerance)
    left = in_time(interface, h, lambda t: (interface.horizon or 0.0) - t)
    return InterfaceAnsatz(net, 0.0, left, interface, phi, tolerance)


def in_time(interface: Interface, h: Solution, factor: Solution) -> Solution:
    """Return h of the coordinates in space, times a factor of time where there is one."""
    d = interface.domain.dim
    return h if interface.horizon is None else lambda x: factor(x[:, d:]) * h(x[:, :d])


class Violations(NamedTuple):
    """By how much a state misses its boundary values and its jump on the interface."""

    boundary: float  # root mean square over the boundary
    boundary_most: float  # largest
    jump: float  # root mean square over the interface
    jump_most: float  # largest


def violations(y: Any, boundary: Coefficient = 0.0, value_jump: Coefficient = 0.0, n: int = 2000) -> Violations:
    """Measure what a constraint is worth, at n points each that no training has seen.

    Args:
        y: `InterfaceAnsatz` or `DiscontinuityCapturing`.
        boundary: the boundary values.
        value_jump: the jump of the value.
        n: points.
    """
    edge, (on, _) = y.interface.on_boundary(n, 7), y.interface.on_interface(n, 7)
    with torch.no_grad():
        missed = y.outside(edge) - values_at(boundary, edge)
        jump = y.outside(on) - y.inside(on) - values_at(value_jump, on)
    return Violations(
        float(missed.square().mean().sqrt()),
        float(missed.abs().max()),
        float(jump.square().mean().sqrt()),
        float(jump.abs().max()),
    )


def require_distance(interface: Interface, h: Solution, tolerance: float) -> None:
    """Refuse a distance that is not 0 on the boundary, or 0 on a part of the domain, or of two signs."""
    d = interface.domain.dim
    on, x = interface.on_boundary(CHECKED, 0)[:, :d], interface.domain.sample(INNER, 0)
    value, within = (require_finite_at(h, where, "distance").detach() for where in (on, x))
    worst = value.abs().argmax()
    if value.abs().max() > tolerance:
        raise ValueError(f"distance must be 0 on the boundary, got {float(value[worst]):g} at {on[worst].tolist()}")
    one_sign = (within > -tolerance).all() or (within < tolerance).all()
    size = within.abs()
    if not one_sign or size.median() <= tolerance:
        raise ValueError(f"distance must not be 0 in the domain, got values from {within.min():g} to {within.max():g}")
    # Not by the tolerance: a learned distance may be as small as that near the boundary, and be right.
    none = (size <= VANISHED * size.max())[:, 0]
    if none.sum() > FEW:
        raise ValueError(
            f"distance must not be 0 in the domain, it vanishes at {int(none.sum())} of {INNER} points inside, "
            f"one of them {x[none][0].tolist()}"
        )


def require_lift(equation: Transmission, lift: Sides, tolerance: float) -> None:
    """Refuse a lift that misses the boundary values, the jump of the value or the initial values."""
    interface = equation.interface
    boundary, (on, _) = interface.on_boundary(CHECKED, 0), interface.on_interface(CHECKED, 0)
    outside = require_finite_at(lift.outside, boundary, "lift").detach()
    require_same(outside, values_at(equation.boundary, boundary), boundary, "lift", "the boundary values", tolerance)
    jump = (values_at(lift.outside, on) - values_at(lift.inside, on)).detach()
    require_same(jump, values_at(equation.value_jump, on), on, "the jump of lift", "value_jump", tolerance)
    if interface.horizon is not None:
        first = points_of_domain(interface).clone()
        first[:, -1] = 0
        value = interface.choose(first, *lift).detach()
        require_same(value, values_at(equation.initial, first), first, "lift", "the initial values", tolerance)


def require_same(got: Tensor, wanted: Tensor, x: Tensor, name: str, of: str, tolerance: float) -> None:
    """Refuse values that differ."""
    error = (got - wanted).abs()
    worst = error.argmax()
    if not error.max() <= tolerance * max(1.0, float(wanted.abs().max())):
        raise ValueError(
            f"{name} must have {of}, got {float(got[worst]):g} instead of {float(wanted[worst]):g} at "
            f"{x[worst].tolist()}"
        )
