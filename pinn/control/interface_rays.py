r"""Quadrature on rays from the center of a star-shaped interface, and fluxes with a given divergence along them.

.. math::

   F = -\frac{e_r}{r}\, c(r), \qquad c(r) = \int_0^r q\, s\, \mathrm ds \ \text{in } \Omega_-, \qquad
   c(r) = \int_0^r q\, s\, \mathrm ds - \kappa\, j \ \text{in } \Omega_+

has :math:`-\nabla \cdot F = q` on either side and :math:`[F \cdot n] = j` on :math:`\Gamma = \{r = \rho(\theta)\}`, as
:math:`e_r \cdot n = \rho/\kappa` with the speed :math:`\kappa = \sqrt{\rho^2 + \rho'^2}` of the curve.  Points lie by
Gauss's rule along either part of a ray, so that c is found to the order of that rule from values at the points alone,
and by Gauss's rule over the angle, between the angles of the corners of the domain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..balls import Ball
from ..domains import Box
from ..level_sets import Star
from ..numpy_on_torch import on_tensors
from .interface_values import Sides
from .interfaces import Interface

WHOLE = (-math.pi, math.pi)


@dataclass(frozen=True, eq=False)
class Rays:
    """The parts of m rays on one side of an interface, with k points each."""

    x: Tensor
    """(m k, 2), those of a ray one after the other"""
    area: Tensor
    """(m k,), of which a point stands for"""
    offset: Tensor
    """(m k, 2), x less the center"""
    length: Tensor
    """(m, 1), of the parts of the rays"""
    along: Tensor
    """(k, k): values at the points of (0, 1) to the integrals from 0 to them"""
    whole: Tensor
    """(k,): to the integral from 0 to 1"""

    def integrals(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Return the integrals of q r dr, q (m k, 1), from the start of a ray to its points (m, k) and end (m, 1)."""
        m, k = len(self.length), len(self.whole)
        qr = (q * self.offset.norm(dim=1, keepdim=True)).reshape(m, k)
        return self.length * (qr @ self.along.T), self.length * (qr @ self.whole)[:, None]


class StarRays(NamedTuple):
    """Rays through both sides of an interface, and where they cross it."""

    inside: Rays
    outside: Rays
    on: Tensor  # (m, 2), points of the interface
    speed: Tensor  # (m, 1), length of the interface per angle


def star_rays(interface: Interface, rays: int, each: int, *, between: tuple[float, float] = WHOLE) -> StarRays:
    """Return points on rays from the center of the part inside.

    Args:
        interface: elliptic, of a `Ball` or a `Star` in a `Box` of two dimensions.
        rays: m, about; at least 8.
        each: k, points inside and as many outside on every ray; at least 2.
        between: the least and the greatest angle; all unless given.  A sector of a problem that is symmetric about its
            sides is enough.

    Raises:
        ValueError: another interface, too few points, or angles that are not a sector.

    >>> from optsci.pinn.control import circle_control
    >>> where = star_rays(circle_control().problem.equation.interface, 48, 4)
    >>> round(float(where.inside.area.sum()) / math.pi, 6), round(float(where.outside.area.sum()) + math.pi / 4, 6)
    (0.25, 4.0)
    """
    box, shape = interface.domain, interface.inside
    if interface.horizon is not None or not isinstance(box, Box) or box.dim != 2 or not isinstance(shape, Ball | Star):
        raise ValueError(f"interface must be elliptic, of a Ball or a Star in a Box of two dimensions, got {interface}")
    if rays < 8 or each < 2:
        raise ValueError(f"rays must be at least 8 and each at least 2, got {rays} and {each}")
    first, last = between
    if not first < last <= first + 2 * math.pi + 1e-9 or not -math.pi <= first <= math.pi:
        raise ValueError(f"between must be two angles of a sector, the first in [-pi, pi], got {between}")
    center = np.array(shape.center)
    if not (box.lower < center).all() or not (center < box.upper).all():
        raise ValueError(f"the center of inside must lie in the domain, got {center.tolist()}")
    angle, share = over_panels(corners(box, center, first, last), rays)
    rho, speed = curve(shape, angle)
    ray = np.stack((np.cos(angle), np.sin(angle)), 1)
    end = to_the_sides(box, center, ray)
    s, weight = gauss(0.0, 1.0, each)
    along = primitives(s)

    def part(a: Any, b: Any) -> Rays:
        r = a[:, None] + (b - a)[:, None] * s
        offset = (r[:, :, None] * ray[:, None]).reshape(-1, 2)
        area = (share[:, None] * weight * (b - a)[:, None] * r).reshape(-1)
        return Rays(*map(torch.from_numpy, (center + offset, area, offset, (b - a)[:, None], along, weight)))

    on = torch.from_numpy(center + rho[:, None] * ray)
    return StarRays(part(0 * rho, rho), part(rho, end), on, torch.from_numpy(speed)[:, None])


def radial_flux(where: StarRays, density: Sides, jump: Tensor | float = 0.0) -> Sides:
    r"""Return F with :math:`-\nabla \cdot F = q` and :math:`[F \cdot n] = j`, (m k, 2) on either side.

    Args:
        where: the rays.
        density: q at their points, (m k, 1) on either side.
        jump: j where they cross the interface, (m, 1) or a number.
    """
    to_inside, before = where.inside.integrals(density.inside)
    to_outside, _ = where.outside.integrals(density.outside)
    c = Sides(to_inside, before - where.speed * jump + to_outside)

    def flux(part: Rays, c: Tensor) -> Tensor:
        return -part.offset * c.reshape(-1, 1) / part.offset.square().sum(1, keepdim=True)

    return Sides(flux(where.inside, c.inside), flux(where.outside, c.outside))


def curve(shape: Ball | Star, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The radius at angles, and the length of the curve per angle."""
    if isinstance(shape, Ball):
        return np.full_like(angle, shape.radius), np.full_like(angle, shape.radius)
    angle = np.mod(angle + math.pi, 2 * math.pi) - math.pi
    rho = np.asarray(shape.radius(angle))
    t = torch.from_numpy(angle).requires_grad_()
    slope = torch.autograd.grad(on_tensors(shape.radius)(t).sum(), t)[0].numpy()
    return rho, np.hypot(rho, slope)


def corners(box: Box, center: np.ndarray, first: float, last: float) -> np.ndarray:
    """The ends of a sector, and the angles of corners of a box between them."""
    x = np.array([(a, b) for a in (box.lower[0], box.upper[0]) for b in (box.lower[1], box.upper[1])]) - center
    turned = np.arctan2(x[:, 1], x[:, 0])
    angle = first + np.mod(turned - first, 2 * math.pi)
    return np.unique(np.concatenate(([first], angle[(angle > first) & (angle < last)], [last])))


def over_panels(edges: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """About n points and weights, by Gauss's rule in every interval between edges."""
    width = np.diff(edges)
    counts = np.maximum(np.rint(n * width / width.sum()).astype(int), 2)
    rules = [gauss(a, b, count) for a, b, count in zip(edges, edges[1:], counts, strict=False)]
    angle, share = (np.concatenate(part) for part in zip(*rules, strict=True))
    return angle, share


def to_the_sides(box: Box, center: np.ndarray, ray: np.ndarray) -> np.ndarray:
    """How far the sides of a box are along rays from a center, (m,)."""
    room = np.where(ray > 0, np.array(box.upper) - center, center - np.array(box.lower))
    return (room / np.maximum(np.abs(ray), 1e-300)).min(1)


def gauss(a: float, b: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss's rule of n points in (a, b)."""
    x, w = np.polynomial.legendre.leggauss(n)
    return (a + b) / 2 + (b - a) / 2 * x, (b - a) / 2 * w


def primitives(s: np.ndarray) -> np.ndarray:
    """From values at Gauss's points of (0, 1), the integrals from 0 to them of the polynomial through these values."""
    n, legendre = len(s), np.polynomial.legendre
    integrals = [legendre.legval(2 * s - 1, legendre.legint(row, lbnd=-1) / 2) for row in np.eye(n)]
    return np.stack(integrals, 1) @ np.linalg.inv(legendre.legvander(2 * s - 1, n - 1))
