r"""Interfaces: closed curves and surfaces that split a domain, standing or moving in time.

.. math::

   \Omega = \Omega_- \cup \Gamma \cup \Omega_+, \qquad [v] = v_+ - v_-, \qquad
   \varphi = \begin{cases} 1 - w^m c + c\, (\psi + w)_+^m & \text{in } \Omega_- \\ 1 & \text{in } \Omega_+ \end{cases}

with a level function :math:`\psi`, negative in :math:`\Omega_-`, the part inside of :math:`\Gamma`.  The auxiliary
function :math:`\varphi` is continuous, smooth on either side, and its normal derivative jumps: a network that gets it
as a further input is continuous across :math:`\Gamma` with a gradient that may jump (`interface_ansatz`).

The part inside is a domain itself, so that its boundary has points and normals.  In time an interface may be carried
along a path, :math:`\Gamma(t) = \Gamma + c(t)`; points then have the time as their last coordinate.

Source: arXiv 2308.06709 and its public code, for the circle, :math:`\varphi = (r/r_0)^2`, and the flower, m = 3.
Departures: a general :math:`\varphi` needs no width, as :math:`1 - \ell/\max\ell` with the smooth level
:math:`\ell` of the domain inside; on a disk that is :math:`(r/r_0)^2`, too.  For stars :math:`1 + \psi`, made smooth
at the center, is the default: its second derivatives are smaller than those of a `collar`, the form of the paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from optsci._tensor import require_finite

from ..ansatz import column
from ..derivatives import Solution, gradient
from ..domain_protocol import Domain, points_of
from ..level_sets import LevelSet, Star
from ..sampling import UnitPoints, sobol
from .interface_phi import smooth_star
from .interface_values import Coefficient, Sides, require_finite_at, values_at

CHECKED = 4096  # points at which an interface is looked at
TIMES = 201  # and times, of a moving one
TOUCHING = 4.0  # in squares of the spacing of points over the size of the part inside: nearer than that is touching
EXACT = 1e-9  # what is 0, relative to the size of the part inside


@dataclass(frozen=True, eq=False)
class Interface:
    r"""The boundary of a domain inside of another one, and an auxiliary function with a kink there.

    Args:
        domain: :math:`\Omega`, bounded.
        inside: :math:`\Omega_-`, its closure in the domain, away from the boundary: `Ball`, `Star`, `LevelSet`, …; at
            time 0 of the path.
        phi: the branch of :math:`\varphi` inside, (n, d) -> (n, 1), 1 on the interface, where its normal derivative is
            not 0; outside it is 1.  None: `smooth_star` of a `Star`, else :math:`1 - \ell / \max \ell`.
        horizon: T; the points then have a time in [0, T] as a further, last coordinate.
        path: c, times (n, 1) -> (n, d) with c(0) = 0: the part inside at time t is shifted by c(t).

    Raises:
        ValueError: no point, or every point, of the domain lies inside: the interface is not in the domain; or it
            leaves the domain, or touches its boundary, as far as 4096 points tell; or ``phi`` is not 1 on it, or not
            finite, or its normal derivative is 0 somewhere on it; or ``path`` does not return (n, d), or is not finite,
            or not 0 at time 0.

    >>> from optsci.pinn import Ball, Box
    >>> circle = Interface(Box((-1, -1), (1, 1)), Ball(radius=0.5))
    >>> circle.psi(torch.tensor([[0.3, 0.3], [0.6, 0.8]], dtype=torch.float64)).round(decimals=6).tolist()
    [[-0.075736], [0.5]]
    >>> x, normal = circle.on_interface(5, seed=0)
    >>> bool(torch.allclose(normal, x / 0.5))
    True
    """

    domain: Domain
    inside: Domain
    phi: Solution | None = None
    horizon: float | None = None
    path: Callable[[Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        if self.domain.dim != self.inside.dim:
            raise ValueError(f"inside must have the dimension {self.domain.dim} of domain, got {self.inside.dim}")
        if self.horizon is not None and not (math.isfinite(self.horizon) and self.horizon > 0):
            raise ValueError(f"horizon must be finite and positive, got {self.horizon}")
        if self.path is not None and self.horizon is None:
            raise ValueError("horizon must be given with a path, the last time T, got None")
        self._require_path()
        self._require_in_domain()
        self._require_apart()
        self._require_kink()

    @property
    def dim(self) -> int:
        """The number of coordinates of points, with time."""
        return self.domain.dim + (self.horizon is not None)

    @property
    def axes(self) -> list[int]:
        """The coordinates in space."""
        return list(range(self.domain.dim))

    @property
    def measure(self) -> float:
        """The length, or area, of the interface."""
        return self.inside.boundary_measure

    @cached_property
    def share(self) -> float:
        """The part of the volume of the domain that lies inside."""
        return self.inside.volume / self.domain.volume

    def psi(self, x: Tensor) -> Tensor:
        """Return (n, 1): negative inside, 0 on the interface, positive outside."""
        return -self.inside.distance(self.at_rest(x))

    def contains(self, x: Tensor) -> Tensor:
        """Return (n, 1) booleans: whether points lie inside."""
        return self.psi(x) < 0

    def choose(self, x: Tensor, inside: Coefficient, outside: Coefficient) -> Tensor:
        """Return (n, 1): one function inside and another one outside; both are evaluated everywhere."""
        return torch.where(self.contains(x), values_at(inside, x), values_at(outside, x))

    def branch(self, x: Tensor) -> Tensor:
        """Return the branch of phi inside, (n, 1), at any points."""
        return self._phi(self.at_rest(x))

    def auxiliary(self, x: Tensor) -> Tensor:
        r"""Return :math:`\varphi`, (n, 1)."""
        return self.choose(x, self.branch, 1.0)

    def at_rest(self, x: Tensor) -> Tensor:
        """Return the points in space (n, d), as the domain inside at time 0 sees them."""
        d = self.domain.dim
        x = points_of(x, self.dim)
        return x[:, :d] if self.path is None else x[:, :d] - self.path(x[:, d:])

    def sample(self, n: int, seed: int, *, points: UnitPoints = sobol) -> Sides:
        """Return points (n-, dim) inside and (n+, dim) outside, n together, uniform in space and time."""
        x = self._with_times(self.domain.sample(n, seed, points=points), seed)
        within = self.contains(x)[:, 0]
        return Sides(x[within], x[~within])

    def on_interface(self, n: int, seed: int, *, points: UnitPoints = sobol) -> tuple[Tensor, Tensor]:
        """Return points (n, dim), uniform on the interface and in time, and unit normals out of the part inside.

        Every point stands for ``measure / n`` of the interface.  Normals have the component 0 in time.
        """
        x, inward = self.inside.sample_boundary(n, seed, points=points)
        x = self._with_times(x, seed)
        if self.path is not None:
            d = self.domain.dim
            x = torch.cat((x[:, :d] + self.path(x[:, d:]), x[:, d:]), 1)
        return x, torch.nn.functional.pad(-inward, (0, self.dim - self.domain.dim))

    def on_boundary(self, n: int, seed: int, *, points: UnitPoints = sobol) -> Tensor:
        """Return points (n, dim) of the boundary of the domain, uniform there and in time."""
        return self._with_times(self.domain.sample_boundary(n, seed, points=points)[0], seed)

    def at_time(self, t: float, x: Tensor) -> Tensor:
        """Return points in space (n, d) with a time, (n, dim)."""
        return x if self.horizon is None else torch.cat((x, x.new_full((len(x), 1), t)), 1)

    @cached_property
    def _phi(self) -> Solution:
        if self.phi is not None:
            return self.phi
        if isinstance(self.inside, Star):
            return smooth_star(self.inside)
        level = self.inside.level
        middle = 0.5 * torch.tensor([self.inside.lower, self.inside.upper], dtype=torch.float64).sum(0, keepdim=True)
        top = float(level(torch.cat((middle, self.inside.sample(CHECKED, 0, points=sobol)))).max())
        return lambda x: 1 - level(x) / top

    def _with_times(self, x: Tensor, seed: int) -> Tensor:
        """Points with times that are evenly spread, in random order."""
        if self.horizon is None:
            return x
        random = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(x), generator=random) + torch.rand(len(x), generator=random, dtype=x.dtype)
        return torch.cat((x, self.horizon * order[:, None] / len(x)), 1)

    @property
    def _size(self) -> float:
        """The longest side of the box around the part inside."""
        return max(b - a for a, b in zip(self.inside.lower, self.inside.upper, strict=True))

    def _require_path(self) -> None:
        if self.path is None:
            return
        t = torch.linspace(0, self.horizon or 0.0, TIMES, dtype=torch.float64)[:, None]
        shift, wanted = self.path(t), (TIMES, self.domain.dim)
        found = tuple(shift.shape) if isinstance(shift, Tensor) else type(shift).__name__
        if found != wanted:
            raise ValueError(f"path must return {wanted} at times {tuple(t.shape)}, got {found}")
        require_finite(shift, "path")
        if shift[0].abs().max() > EXACT * self._size:
            raise ValueError(f"path must be 0 at time 0, where inside is given, got {shift[0].tolist()}")

    def _require_kink(self) -> None:
        x, normal = self.on_interface(256, 0)
        value = column("phi", self.branch, x).detach()
        require_finite(value, "phi")
        if (value - 1).abs().max() > 1e-9:
            raise ValueError(f"phi must be 1 on the interface, got {value.flatten()[(value - 1).abs().argmax()]}")
        # Outside phi is 1: the jump is the derivative of the branch inside.
        require_steep((gradient(self.branch, x) * normal).sum(1).detach() * self._size, x, "a normal derivative inside")

    def _require_in_domain(self) -> None:
        x = self.domain.sample(CHECKED, 0, points=sobol)
        on = self.domain.sample_boundary(CHECKED // 4, 0, points=sobol)[0]
        for t in np.linspace(0, self.horizon or 0.0, 1 if self.path is None else TIMES):
            value, outer = self.psi(self.at_time(t, x)), self.psi(self.at_time(t, on))
            require_finite(value, "psi")
            when = "" if self.path is None else f" at time {t:g}"
            if not ((value < 0).any() and (value > 0).any()):
                sign = "positive" if value.max() > 0 else "negative"
                raise ValueError(
                    f"inside must have a boundary in the domain, its psi is {sign} at all {len(x)} points{when}"
                )
            if outer.min() <= 0:
                there = on[outer.argmin()].tolist()
                raise ValueError(
                    f"inside must lie in the domain, its closure contains the boundary point {there}{when}"
                )

    def _require_apart(self) -> None:
        x = self.inside.sample_boundary(CHECKED, 0, points=sobol)[0]
        # Where interface and boundary touch, points this far apart come as near as about the square of that.
        apart = (self.measure / CHECKED) ** (1 / max(self.domain.dim - 1, 1))
        least = TOUCHING * apart**2 / self._size
        for t in np.linspace(0, self.horizon or 0.0, 1 if self.path is None else TIMES):
            on = x if self.path is None else x + self.path(x.new_full((1, 1), t))
            gap = self.domain.distance(on)[:, 0]
            if gap.min() <= least:
                when = "" if self.path is None else f" at time {t:g}"
                raise ValueError(
                    "inside must not touch the boundary of the domain, got a point of the interface at the distance "
                    f"{float(gap.min()):.1e} from it, {on[gap.argmin()].tolist()}{when}: at least {least:.1e}"
                )


def require_kink(interface: Interface, phi: Sides, tolerance: float) -> None:
    """Refuse branches that do not meet on an interface up to a tolerance, or meet there without a kink."""
    x, normal = interface.on_interface(256, 0)
    inside, outside = (require_finite_at(branch, x, "phi").detach() for branch in phi)
    apart = (outside - inside).abs()[:, 0]
    worst = int(apart.argmax())
    if not apart[worst] <= tolerance * max(1.0, float(inside.abs().max())):
        raise ValueError(
            "phi must have the same values from both sides of the interface, got "
            f"{float(inside[worst]):g} inside and {float(outside[worst]):g} outside at {x[worst].tolist()}"
        )

    def jump(x: Tensor) -> Tensor:
        return values_at(phi.outside, x) - values_at(phi.inside, x) + 0 * x[:, :1]  # of x also where it is a number

    slope = (gradient(jump, x) * normal).sum(1).detach()
    require_steep(slope * interface._size, x, "a jump of the normal derivative")


def require_steep(slope: Tensor, x: Tensor, what: str) -> None:
    """Refuse a normal derivative that is 0 somewhere, times the size of the part inside."""
    flat = ~(slope.abs() > EXACT)
    if flat.any():
        raise ValueError(
            f"phi must have {what} that is not 0 on the interface, or nothing jumps there, got "
            f"{float(slope[flat][0]):g} at {x[flat][0].tolist()}, one of {int(flat.sum())} such points of {len(x)}"
        )


def level_interface(
    domain: Domain, psi: Callable[[Any], Any], lipschitz: float, *, horizon: float | None = None
) -> Interface:
    """Return the interface where a function vanishes.

    Args:
        domain: bounded.
        psi: x (d, n) -> (n,), components first, written with NumPy, negative inside and twice differentiable there.
        lipschitz: a bound of its gradient.
        horizon: as of `Interface`.

    >>> from optsci.pinn import Box
    >>> ellipse = level_interface(Box((-1, -1), (1, 1)), lambda x: x[0] ** 2 + 4 * x[1] ** 2 - 0.25, 9.0)
    >>> abs(ellipse.inside.volume - math.pi / 8) < 1e-3
    True
    >>> level_interface(Box((-1, -1), (1, 1)), lambda x: x[0] ** 2 + 1, 3.0)
    Traceback (most recent call last):
    ValueError: inside must have a boundary in the domain, its psi is positive at all 4096 points
    """
    return Interface(domain, LevelSet(lambda x: -psi(x), lipschitz, domain.lower, domain.upper), horizon=horizon)
