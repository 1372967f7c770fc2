r"""Shapes given by a function, whose distance is known only up to a bound: star-shaped ones and level sets.

.. math::

   \Omega = \{x : h(x) > 0\}, \qquad |h(x) - h(y)| \le K \|x - y\|
   \quad\Rightarrow\quad \frac{|h(x)|}{K} \le \operatorname{dist}(x, \partial \Omega)

``distance`` is h/K: of the right sign, 0 on the boundary, 1-Lipschitz, and never above the true distance. So walk on
spheres stays inside with it as radius, and takes smaller steps than it could; a shift of the boundary (Euler-Maruyama)
must not use it as the distance itself.

The functions are written with NumPy (``np.cos``); `numpy_on_torch` runs them on tensors, Numba compiles them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .balls import center_of, length
from .domain_algebra import difference, intersection, union
from .domain_protocol import (
    TINY,
    boundary_points,
    inside,
    newton_projection,
    points_of,
    signed_distance,
    value_and_gradient,
)
from .domains import Box, Coordinates
from .numpy_on_torch import constants_of, on_tensors, under_numba
from .sampling import UnitPoints, by_rejection, estimated_volume, in_box, sobol

ANGLES = 2**14  # at which a radius function is looked at
SHELL = 0.01  # half the thickness, in shortest sides of the box, of the shell that stands for a level surface
SHELL_POINTS = 2**17  # Sobol points of the box behind the surface of a level set
CHECKED = 256  # points at which what is claimed of a level function is checked
SLACK = 1 + 1e-6  # what rounding may add to a Lipschitz constant


@dataclass(frozen=True, init=False)
class Star:
    r"""The plane domain ``|x - center| < radius(angle)``, the angle in [-pi, pi] of ``x - center``.

    Args:
        radius: angles (n,) -> (n,), positive and periodic, written with NumPy.
        lipschitz: a bound of its derivative.
        center: (2,); None is the origin.

    Raises:
        ValueError: ``radius`` is not finite, positive or periodic, or steeper than ``lipschitz``.

    ``distance`` is a lower bound: with :math:`p(x) = |x|/\rho(\text{angle})`, it is
    :math:`(1 - p)/K, K = \sqrt{1 + (\text{lipschitz}/\rho_0)^2}/\rho_0`, exact for a disk, where :math:`\rho_0` is a
    lower bound of the radius; it has a kink at the centre. ``vanishing`` is :math:`(1 - p^4) \rho_0/4`, twice
    differentiable where the radius function is. ``sample_boundary`` is uniform in arc length, of 16384 angles;
    ``project`` as of `LevelSet`.

    >>> flower = Star(lambda angle: 1 + 0.3 * np.cos(5 * angle), lipschitz=1.5)
    >>> flower.contains([[1.2, 0.0], [-1.2, 0.0]]).tolist()
    [True, False]
    >>> round(flower.volume / np.pi, 6)
    1.045
    """

    radius: Callable[[Any], Any]
    lipschitz: float
    center: tuple[float, ...]

    def __init__(self, radius: Callable[[Any], Any], lipschitz: float, center: Coordinates | None = None) -> None:
        object.__setattr__(self, "radius", radius)
        object.__setattr__(self, "lipschitz", _bound(lipschitz))
        object.__setattr__(self, "center", center_of(center, 2))
        rho, slope = self._table[1:]
        if not (np.isfinite(rho).all() and self._least > 0):
            raise ValueError(f"radius must be finite and positive for all angles, got {rho.min()}")
        if abs(rho[-1] - rho[0]) > 1e-9 * rho[0]:
            raise ValueError(f"radius must be periodic, got {rho[0]} at -pi and {rho[-1]} at pi")
        if np.abs(slope).max() > self.lipschitz * SLACK + 1e-12:
            raise ValueError(f"lipschitz must bound the derivative of radius, {np.abs(slope).max()}, got {lipschitz}")

    @property
    def dim(self) -> int:
        return 2

    @property
    def lower(self) -> tuple[float, ...]:
        return tuple(c - self._greatest for c in self.center)

    @property
    def upper(self) -> tuple[float, ...]:
        return tuple(c + self._greatest for c in self.center)

    @property
    def volume(self) -> float:
        return float(math.pi * (self._table[1][1:] ** 2).mean())

    @property
    def boundary_measure(self) -> float:
        return float(self._arc[-1])

    def formula(self, xp: Any) -> Callable[[Any], Any]:
        radius = under_numba(self.radius) if xp is np else on_tensors(self.radius)
        constants = constants_of(xp, np.array([*self.center, 1.0, 1 / self._steepest, TINY, TINY**0.5]))

        def distance(x: Any) -> Any:
            c = constants(x)
            across, up = x[0] - c[0], x[1] - c[1]
            size = xp.sqrt(across * across + up * up + c[4])
            return c[3] * (c[2] - size / radius(xp.arctan2(up, across + c[5])))

        return distance

    def _on_boundary(self, n: int, seed: int, points: UnitPoints) -> tuple[Tensor, Tensor]:
        angle = np.interp(points(n, 1, seed)[:, 0].numpy() * self._arc[-1], self._arc, self._table[0])
        rho, slope = _with_derivative(self.radius, angle)
        cos, sin = np.cos(angle), np.sin(angle)
        x = np.array(self.center) + np.stack((rho * cos, rho * sin), 1)
        inward = np.stack((-slope * sin - rho * cos, slope * cos - rho * sin), 1)  # the tangent, a quarter turn on
        inward = inward / np.hypot(rho, slope)[:, None]
        return torch.from_numpy(x), torch.from_numpy(inward)

    def project(self, points: Any) -> Tensor:
        return nearest_by_gradient(self, points)

    def level(self, points: Any) -> Tensor:
        gauge = 1 - self._steepest * self.distance(points)
        return 0.25 * self._least * (1 - gauge.square().square())

    @cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Angles, radii there, and derivatives."""
        angle = np.linspace(-math.pi, math.pi, ANGLES + 1)
        return angle, *_with_derivative(self.radius, angle)

    @cached_property
    def _arc(self) -> np.ndarray:
        """The length of the boundary up to each of the angles, by the trapezoidal rule."""
        angle, rho, slope = self._table
        speed = np.hypot(rho, slope)
        return np.concatenate(([0.0], np.cumsum(0.5 * (speed[1:] + speed[:-1]) * np.diff(angle))))

    @property
    def _least(self) -> float:
        """A lower bound of the radius, as certain as the Lipschitz bound."""
        return float(self._table[1].min() - self.lipschitz * math.pi / ANGLES)

    @property
    def _greatest(self) -> float:
        return float(self._table[1].max() + self.lipschitz * math.pi / ANGLES)

    @property
    def _steepest(self) -> float:
        """The Lipschitz constant of |x|/radius(angle)."""
        return math.hypot(1, self.lipschitz / self._least) / self._least

    distance = signed_distance
    contains = inside
    sample = by_rejection
    sample_boundary = boundary_points
    vanishing = level
    __or__ = union
    __and__ = intersection
    __sub__ = difference


@dataclass(frozen=True, init=False)
class LevelSet:
    """The points of a box where a function is positive.

    Args:
        function: x (d, n) -> (n,), components first (``x[0]``), written with NumPy.
        lipschitz: positive; a Lipschitz constant of the function on the box and around it.
        lower: (d,) lower corner of a box that contains the set.
        upper: (d,) the upper corner.

    Raises:
        ValueError: as of `Box`; or at one of 256 points the gradient is longer than ``lipschitz``, or the function
            positive on the faces of the box, or not finite.

    ``distance`` is the function over ``lipschitz``, a lower bound; ``vanishing`` is that, too, as smooth as it is.
    ``boundary_measure`` and ``sample_boundary`` stand on a shell about the boundary, 1 % of the shortest side thick on
    both sides: uniform up to the square of thickness times curvature, the measure to about 1 %. ``project`` follows
    the gradient, then slides along the boundary while that shortens the way: to rounding on the boundary, and as near
    as the nearest point of it to about 1e-6, where the distance is below half the radius of curvature.

    >>> ellipse = LevelSet(lambda x: 1 - x[0] ** 2 / 4 - x[1] ** 2, 2.5, lower=(-2.1, -1.1), upper=(2.1, 1.1))
    >>> ellipse.contains([[1.9, 0.0], [0.0, 1.05]]).tolist()
    [True, False]
    >>> abs(ellipse.volume / (2 * np.pi) - 1) < 1e-3
    True
    """

    function: Callable[[Any], Any]
    lipschitz: float
    lower: tuple[float, ...]
    upper: tuple[float, ...]

    def __init__(
        self, function: Callable[[Any], Any], lipschitz: float, lower: Coordinates, upper: Coordinates
    ) -> None:
        box = Box(lower, upper)
        object.__setattr__(self, "function", function)
        object.__setattr__(self, "lipschitz", length(lipschitz, "lipschitz"))
        object.__setattr__(self, "lower", box.lower)
        object.__setattr__(self, "upper", box.upper)
        x = torch.cat((box.sample(CHECKED, 0, points=sobol), box.sample_boundary(CHECKED, 0, points=sobol)[0]))
        value, gradient = value_and_gradient(self.distance, x)
        if not (value.isfinite().all() and gradient.isfinite().all()):
            wrong = x[~(value.isfinite() & gradient.isfinite().all(1, keepdim=True))[:, 0]][0]
            raise ValueError(f"function must be finite with its gradient, which fails at {wrong.tolist()}")
        steepest = self.lipschitz * float(gradient.norm(dim=1).max())
        if steepest > self.lipschitz * SLACK:
            raise ValueError(f"lipschitz must bound the gradient of function, of length {steepest}, got {lipschitz}")
        if value[CHECKED:].max() > 0:
            there = x[CHECKED:][value[CHECKED:].argmax()]
            raise ValueError(f"lower and upper must contain the set, but function is positive at {there.tolist()}")

    @property
    def dim(self) -> int:
        return len(self.lower)

    @property
    def volume(self) -> float:
        return estimated_volume(self)

    @property
    def boundary_measure(self) -> float:
        return _shell_measure(self)

    def formula(self, xp: Any) -> Callable[[Any], Any]:
        function = under_numba(self.function) if xp is np else on_tensors(self.function)
        constants = constants_of(xp, np.array([1 / self.lipschitz]))

        def distance(x: Any) -> Any:
            c = constants(x)
            return c[0] * function(x)

        return distance

    def _on_boundary(self, n: int, seed: int, points: UnitPoints) -> tuple[Tensor, Tensor]:
        drawn = 32 * n + 1024
        while True:
            near = self._near(points(drawn, self.dim, seed))
            if len(near) >= n:
                break
            if drawn >= max(SHELL_POINTS, 1000 * n):
                raise ValueError(f"{self} has no boundary to speak of: {len(near)} of {drawn} points are near it")
            drawn *= 2
        x = newton_projection(self, near[:n], steps=10)
        gradient = value_and_gradient(self.distance, x)[1]
        return x, gradient / gradient.norm(dim=1, keepdim=True)

    def project(self, points: Any) -> Tensor:
        return nearest_by_gradient(self, points)

    def _near(self, unit: Tensor) -> Tensor:
        """Those of the points of the box that lie in the shell, by the distance |f|/|grad f| to first order."""
        x = in_box(self.lower, self.upper, unit)
        value, gradient = value_and_gradient(self.distance, x)
        return x[value[:, 0].abs() < self._thickness * gradient.norm(dim=1)]

    @property
    def _thickness(self) -> float:
        return SHELL * min(b - a for a, b in zip(self.lower, self.upper, strict=True))

    distance = signed_distance
    contains = inside
    sample = by_rejection
    sample_boundary = boundary_points
    level = signed_distance
    vanishing = signed_distance
    __or__ = union
    __and__ = intersection
    __sub__ = difference


def nearest_by_gradient(domain: Star | LevelSet, points: Any, slides: int = 20) -> Tensor:
    """Return points of the boundary, near the nearest ones: Newton steps, then slides along the tangent plane.

    A slide is a step of gradient descent on the boundary for the squared way from x: along the tangential part g of
    x - y, and back to the boundary. Steps are those of Barzilai and Borwein; one that does not shorten the way is
    undone, and tried again at half the length.
    """
    x = points_of(points, domain.dim).detach()
    y, g = _foot(domain, x, newton_projection(domain, x))
    step = torch.ones_like(x[:, :1])
    for _ in range(slides):
        trial, trial_g = _foot(domain, x, newton_projection(domain, y + step * g, 4))
        shorter = (x - trial).norm(dim=1, keepdim=True) < (x - y).norm(dim=1, keepdim=True)
        moved = trial - y
        bent = -(moved * (trial_g - g)).sum(1, keepdim=True)
        secant = moved.square().sum(1, keepdim=True) / bent.clamp(min=TINY)
        step = torch.where(shorter, torch.where(bent > 0, secant, step), 0.5 * step)
        y, g = torch.where(shorter, trial, y), torch.where(shorter, trial_g, g)
    return y


def _foot(domain: Star | LevelSet, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """A boundary point y, and the part of x - y that is tangential there."""
    gradient = value_and_gradient(domain.distance, y)[1]
    normal = gradient / gradient.norm(dim=1, keepdim=True).clamp(min=TINY**0.5)
    return y, x - y - ((x - y) * normal).sum(1, keepdim=True) * normal


@lru_cache(maxsize=256)
def _shell_measure(domain: LevelSet) -> float:
    """The volume of the shell over its thickness."""
    near = len(domain._near(sobol(SHELL_POINTS, domain.dim, seed=0)))
    return Box(domain.lower, domain.upper).volume * near / SHELL_POINTS / (2 * domain._thickness)


def _with_derivative(radius: Callable[[Any], Any], angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rho, slope = value_and_gradient(on_tensors(radius), torch.from_numpy(angle))
    return rho.numpy(), slope.numpy()


def _bound(lipschitz: float) -> float:
    """A Lipschitz constant, which for a disk is 0."""
    return 0.0 if lipschitz == 0 else length(lipschitz, "lipschitz")
