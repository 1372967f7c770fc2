r"""Control problems with an interface, most of them with a known solution, that tables, tests and examples share.

In :math:`\Omega = (-1, 1)^2` with the circle :math:`|x - c| = r_0 = 1/2`, and
:math:`Q = -5\,(|x - c|^2 - r_0^2)(x_1^2 - 1)(x_2^2 - 1)`:

.. math::

   p = \frac{Q}{B}, \quad u = P\Bigl(-\frac p\alpha\Bigr), \quad
   y = \frac{r^3}{B} + \Bigl(\frac1{b_-} - \frac1{b_+}\Bigr) r_0^3\, 1_{\Omega_+}, \quad
   f = -9 r - u, \quad y_d = y + \Delta Q

for elliptic problems (c = 0), and :math:`y = \cos(t - T)\, Q/B`, :math:`p = \sin(t - T)\, Q/B` in time, where the
circle may move.  All functions know on which side of the interface a point lies.

Source: examples 1 to 4 of the public code of arXiv 2308.06709.  `moving_circle` is ours: its factors
:math:`x_i^2 - 1` stay where they are, so that Q vanishes on the boundary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..balls import Ball
from ..derivatives import Solution
from ..domains import Box
from ..level_sets import Star
from .interface_control import DistributedControl, FluxControl, Transmission
from .interfaces import Interface

RADIUS = 0.5
HORIZON = math.pi / 2


@dataclass(frozen=True, eq=False)
class Known:
    """A control problem with its solution, functions (n, d) -> (n, 1)."""

    problem: DistributedControl | FluxControl
    state: Solution
    adjoint: Solution
    control: Solution
    lift: Solution | float
    """a smooth function with the boundary values of the state"""


def circle_control(diffusion: tuple[float, float] = (1.0, 10.0), bound: float = 1.0) -> Known:
    """Return example 1: a control of the whole domain, between -bound and bound; math.inf for none.

    >>> known = circle_control()
    >>> x = torch.tensor([[0.1, 0.0], [0.9, 0.9]], dtype=torch.float64)
    >>> known.control(x).round(decimals=6).tolist()
    [[-1.0], [0.024728]]
    """
    interface = Interface(square(), Ball(radius=RADIUS))
    state, lift = radial_state(interface, diffusion)
    adjoint = divided(bump, interface, diffusion)

    def control(x: Tensor) -> Tensor:
        return (-adjoint(x)).clamp(-bound, bound)

    equation = Transmission(interface, diffusion, source=lambda x: -9 * radius_of(x) - control(x), boundary=lift)
    problem = DistributedControl(equation, lambda x: state(x) + bump_laplacian(x), 1.0, -bound, bound)
    return Known(problem, state, adjoint, control, lift)


def flower_control(diffusion: tuple[float, float] = (1.0, 10.0)) -> DistributedControl:
    """Return example 2: an interface with five petals, without a known solution.

    >>> flower = flower_control().equation.interface
    >>> abs(flower.inside.volume - 0.27 * math.pi) < 1e-9
    True
    """
    flower = Star(lambda angle: 0.5 + 0.2 * np.sin(5 * angle), 1.0)
    interface = Interface(square(), flower)
    inner, outer = diffusion

    def source(x: Tensor) -> Tensor:
        return 2 * interface.choose(x, inner, outer) * (2 - x.square().sum(1, keepdim=True))

    def target(x: Tensor) -> Tensor:
        return (1 - x.square()).prod(1, keepdim=True)

    return DistributedControl(Transmission(interface, diffusion, source=source), target, 1.0, -1.0, 1.0)


def circle_flux_control(diffusion: tuple[float, float] = (1.0, 10.0)) -> Known:
    r"""Return example 3: a control of the interface, :math:`\sin 2 \pi x_1 \le u \le 1`.

    >>> known = circle_flux_control()
    >>> known.control(torch.tensor([[0.25, 3**0.5 / 4], [-0.5, 0.0]], dtype=torch.float64)).round(decimals=6).tolist()
    [[1.0], [0.0]]
    """
    interface = Interface(square(), Ball(radius=RADIUS))
    state, lift = radial_state(interface, diffusion)

    def lower(x: Tensor) -> Tensor:
        return (2 * math.pi * x[:, :1]).sin()

    def control(x: Tensor) -> Tensor:
        return lower(x).clamp(min=0)

    equation = Transmission(
        interface, diffusion, source=lambda x: -9 * radius_of(x), boundary=lift, flux_jump=lambda x: -control(x)
    )
    problem = FluxControl(equation, lambda x: state(x) + bump_laplacian(x), 1.0, lower, 1.0)
    return Known(problem, state, divided(bump, interface, diffusion), control, lift)


def heat_control(diffusion: tuple[float, float] = (1.0, 3.0)) -> Known:
    """Return example 4: a heat equation, whose circle stands still."""
    return in_time(Interface(square(), Ball(radius=RADIUS), horizon=HORIZON), (0.0, 0.0), diffusion)


def moving_circle(diffusion: tuple[float, float] = (1.0, 3.0), amplitude: float = 0.2) -> Known:
    """Return the heat equation with a circle whose center moves on another one.

    Args:
        diffusion: B inside and outside.
        amplitude: the center is (a cos t, a sin t).
    """

    def path(t: Tensor) -> Tensor:
        return amplitude * torch.cat((t.cos() - 1, t.sin()), 1)

    start = (amplitude, 0.0)
    return in_time(Interface(square(), Ball(start, RADIUS), horizon=HORIZON, path=path), start, diffusion)


def in_time(interface: Interface, center: tuple[float, float], diffusion: tuple[float, float]) -> Known:
    """Return the control problem of :math:`y = cos(t - T) Q / B` and :math:`p = sin(t - T) Q / B`; the center at 0."""

    def shifted(x: Tensor) -> Tensor:
        return interface.at_rest(x) - x.new_tensor(center)

    def phase(x: Tensor) -> Tensor:
        return x[:, 2:] - HORIZON

    def profile(x: Tensor) -> Tensor:
        return -5 * (shifted(x).square().sum(1, keepdim=True) - RADIUS**2) * wall(x)

    def profile_laplacian(x: Tensor) -> Tensor:
        S = shifted(x).square().sum(1, keepdim=True) - RADIUS**2
        cross = (2 * shifted(x) * wall_gradient(x)).sum(1, keepdim=True)
        return -5 * (S * wall_laplacian(x) + 2 * cross + 4 * wall(x))

    def profile_rate(x: Tensor) -> Tensor:
        if interface.path is None:
            return torch.zeros_like(x[:, :1])
        with torch.enable_grad():
            t = x[:, 2:].detach().requires_grad_()
            place = interface.path(t)
            velocity = torch.cat([torch.autograd.grad(part.sum(), t, retain_graph=True)[0] for part in place.T], 1)
        return 10 * (shifted(x) * velocity).sum(1, keepdim=True) * wall(x)

    def over(value: Tensor, x: Tensor) -> Tensor:
        return value / interface.choose(x, *diffusion)

    def state(x: Tensor) -> Tensor:
        return over(phase(x).cos() * profile(x), x)

    def adjoint(x: Tensor) -> Tensor:
        return over(phase(x).sin() * profile(x), x)

    def control(x: Tensor) -> Tensor:
        return (-adjoint(x)).clamp(-1, 1)

    def source(x: Tensor) -> Tensor:
        rate = over(phase(x).cos() * profile_rate(x) - phase(x).sin() * profile(x), x)
        return rate - phase(x).cos() * profile_laplacian(x) - control(x)

    def target(x: Tensor) -> Tensor:
        rate = over(phase(x).sin() * profile_rate(x) + phase(x).cos() * profile(x), x)
        return state(x) + rate + phase(x).sin() * profile_laplacian(x)

    problem = DistributedControl(Transmission(interface, diffusion, source), target, 1.0, -1.0, 1.0)
    return Known(problem, state, adjoint, control, 0.0)


def square() -> Box:
    """The domain of all problems here."""
    return Box((-1.0, -1.0), (1.0, 1.0))


def square_bubble(x: Tensor) -> Tensor:
    r""":math:`(x_1^2 - 1)(x_2^2 - 1)`, 0 on the boundary and 1 in the middle.

    >>> square_bubble(torch.zeros(1, 2)).item()
    1.0
    """
    return wall(x)


def radial_state(interface: Interface, diffusion: tuple[float, float]) -> tuple[Solution, Solution]:
    """The state of the elliptic problems, and a smooth function with its boundary values."""
    inner, outer = diffusion
    shift = (1 / inner - 1 / outer) * RADIUS**3

    def state(x: Tensor) -> Tensor:
        r = radius_of(x)
        return interface.choose(x, lambda _: r**3 / inner, lambda _: r**3 / outer + shift)

    def lift(x: Tensor) -> Tensor:
        return ((x.square().prod(1, keepdim=True) + 1) ** 1.5) / outer + shift

    return state, lift


def divided(profile: Solution, interface: Interface, diffusion: tuple[float, float]) -> Solution:
    """The function profile / B."""
    return lambda x: profile(x) / interface.choose(x, *diffusion)


def radius_of(x: Tensor) -> Tensor:
    """Return the length of x, (n, 1)."""
    return x.norm(dim=1, keepdim=True)


def bump(x: Tensor) -> Tensor:
    """Q of the elliptic problems."""
    return -5 * (x.square().sum(1, keepdim=True) - RADIUS**2) * wall(x)


def bump_laplacian(x: Tensor) -> Tensor:
    """Its Laplacian."""
    S = x.square().sum(1, keepdim=True) - RADIUS**2
    return -5 * (S * wall_laplacian(x) + 4 * (x * wall_gradient(x)).sum(1, keepdim=True) + 4 * wall(x))


def wall(x: Tensor) -> Tensor:
    """(x_1^2 - 1)(x_2^2 - 1)."""
    return (x[:, :1].square() - 1) * (x[:, 1:2].square() - 1)


def wall_gradient(x: Tensor) -> Tensor:
    """Its gradient in space."""
    a, b = x[:, :1], x[:, 1:2]
    return torch.cat((2 * a * (b.square() - 1), 2 * b * (a.square() - 1)), 1)


def wall_laplacian(x: Tensor) -> Tensor:
    """Its Laplacian."""
    return 2 * (x[:, :2].square() - 1).sum(1, keepdim=True)
