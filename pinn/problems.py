r"""Elliptic problems of second order, and the diffusion that belongs to each.

.. math::

   \tfrac12\, a : \nabla^2 u + b \cdot \nabla u - c\, u = -f \quad\text{in } \Omega, \qquad
   u = g \quad\text{on } \partial\Omega

.. math::

   u(x) = \mathbb E\Bigl[ g(X_\tau)\, e^{-\int_0^\tau c(X_s) ds}
   + \int_0^\tau f(X_t)\, e^{-\int_0^t c(X_s) ds} dt \Bigr], \qquad
   dX = b\, dt + \sigma\, dW, \quad \sigma \sigma^\top = a, \quad X_0 = x

with :math:`\tau` the time at which X leaves :math:`\Omega` (Feynman and Kac).

A coefficient is a number (for b: d of them; for a: a number or a symmetric matrix), or a function of ``x`` with the
components first: ``x[0]``, ``x[1]``, … are arrays of n values.  It is written with NumPy and runs on arrays in losses
and, compiled by Numba, in random walks.  It returns n values, b returns (d, n), and a returns n values or (d, d, n).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from optsci._tensor import as_tensor

from .domain_algebra import SIDE, intersection
from .domain_protocol import Domain
from .domains import Box
from .sampling import UnitPoints, require_count, uniform

Coefficient = float | np.ndarray | Callable[[Any], Any]


@dataclass(frozen=True, eq=False)
class Problem:
    """An elliptic problem; see the formula of this module.

    Args:
        domain: where it is posed; may be unbounded where ``reflecting`` is not.
        drift: b; 0, d numbers, or a function x -> (d, n).
        diffusion: a; a number or a function x -> (n,) stands for that multiple of the identity; or (d, d), or a
            function x -> (d, d, n); positive definite.
        killing: c.
        source: f.
        boundary: g; called with points of the boundary, and by random walks nowhere else.
        exact: the solution, where it is known: points (n, d) -> (n, 1).
        reflecting: a box at whose faces X is reflected: the problem is posed in the part of the domain inside of it,
            u = g holds on the boundary of the domain, and on the faces the derivative of u along the reflection, the
            normal of the face, is 0.

    Raises:
        ValueError: a coefficient has a wrong shape, is not finite somewhere in the domain, or the diffusion is not
            symmetric and positive; the box has another dimension, or the domain is unbounded without one.
        TypeError: a coefficient is neither numbers nor a function; ``reflecting`` is no box.

    >>> from optsci.pinn import Ball
    >>> Problem(Ball(dim=2), source=1.0).generator
    'a : Hess u / 2 = -f'
    """

    domain: Domain
    drift: Coefficient = 0.0
    diffusion: Coefficient = 1.0
    killing: Coefficient = 0.0
    source: Coefficient = 0.0
    boundary: Coefficient = 0.0
    exact: Callable[[Tensor], Tensor] | None = None
    reflecting: Box | None = None

    def __post_init__(self) -> None:
        d = self.domain.dim
        if self.reflecting is not None:
            if not isinstance(self.reflecting, Box):
                raise TypeError(f"reflecting must be a Box or None, got {self.reflecting!r}")
            if self.reflecting.dim != d:
                raise ValueError(f"reflecting must have the dimension {d} of the domain, got {self.reflecting.dim}")
        inside = self.sample(8, 0).numpy().T
        on, _ = self.sample_boundary(8, 0)
        shapes: dict[str, list[tuple[int, ...]]] = {
            "drift": [(d,)],
            "diffusion": [(), (d, d)],
            "killing": [()],
            "source": [()],
            "boundary": [()],
        }
        for name, allowed in shapes.items():
            check_coefficient(name, getattr(self, name), on.numpy().T if name == "boundary" else inside, allowed)
        check_diffusion(self.values("diffusion", torch.from_numpy(inside.T)).numpy())

    @property
    def generator(self) -> str:
        """The equation, without the terms that are zero."""
        terms = ["a : Hess u / 2"]
        terms += ["b . grad u"] if not is_zero(self.drift) else []
        left = " + ".join(terms) + (" - c u" if not is_zero(self.killing) else "")
        return f"{left} = {'0' if is_zero(self.source) else '-f'}"

    @property
    def region(self) -> Domain:
        """Where u is sought: the domain, or its part inside of the reflecting box."""
        return self.domain if self.reflecting is None else intersection(self.domain, self.reflecting)

    def sample(self, n: int, seed: int, points: UnitPoints = uniform) -> Tensor:
        """Return uniform points (n, d) of the region."""
        return self.region.sample(n, seed, points=points)

    def sample_boundary(self, n: int, seed: int, points: UnitPoints = uniform) -> tuple[Tensor, Tensor]:
        """Return uniform points (n, d) of the boundary where u = g, and the inward unit normals (n, d) there."""
        if self.reflecting is None:
            return self.domain.sample_boundary(n, seed, points=points)
        return self._of_either(n, seed, points, walls=False)

    def sample_walls(self, n: int, seed: int, points: UnitPoints = uniform) -> tuple[Tensor, Tensor]:
        """Return uniform points (n, d) of the reflecting faces in the domain, and the inward unit normals there.

        Raises:
            ValueError: there are none.
        """
        if self.reflecting is None:
            raise ValueError("the problem has no walls: its `reflecting` is None")
        return self._of_either(n, seed, points, walls=True)

    def _of_either(self, n: int, seed: int, points: UnitPoints, walls: bool) -> tuple[Tensor, Tensor]:
        """The points of the boundary of the region that do, or do not, lie on that of the domain."""
        require_count(n)
        side = SIDE * math.dist(self.region.lower, self.region.upper)
        drawn = 2 * n + 64
        while True:
            x, normals = self.region.sample_boundary(drawn, seed, points=points)
            kept = (self.domain.distance(x)[:, 0].abs() > side) == walls
            if int(kept.sum()) >= n:
                return x[kept][:n], normals[kept][:n]
            if drawn > 2**16 and not kept.any():
                part = "reflecting" if walls else "absorbing"
                raise ValueError(f"no point of {drawn} on the boundary of {self.region} is {part}")
            drawn *= 4

    def relative_error(self, u: Callable[[Tensor], Tensor], n: int = 10_000, seed: int = 2**20) -> float:
        r"""The relative error :math:`\|u - u^*\| / \|u^*\|` in the mean square, at n uniform points of the region.

        Args:
            u: points (n, d) -> (n, 1); a module gets them in the precision and on the device of its parameters.
            n: how many points; the result has a relative error of about one in their root.
            seed: another one gives other points; unless given, one that no other function here has.

        Raises:
            ValueError: the exact solution is not known, or zero at all points, or u has not the shape (n, 1).

        >>> from optsci.pinn import Ball
        >>> problem = Poisson(Ball(dim=2), source=4.0, exact=lambda x: 1 - x.square().sum(1, keepdim=True))
        >>> round(problem.relative_error(lambda x: 1.01 * problem.exact(x)), 12)
        0.01
        """
        if self.exact is None:
            raise ValueError(
                "the exact solution of this problem is not known: give it as `exact`, points (n, d) -> (n, 1), for "
                "example a reference solution on a fine grid"
            )
        x = self.sample(n, seed)
        exact = as_tensor(self.exact(x), "exact").detach()
        value = as_tensor(evaluated(u, x), "u").to(exact)
        for name, found in (("exact", exact), ("u", value)):
            if found.shape != (n, 1):
                raise ValueError(
                    f"{name} must return (n, 1), got {tuple(found.shape)} at points of shape {(n, x.shape[1])}"
                )
        size = exact.square().mean().sqrt()
        if not size > 0:
            raise ValueError("exact is zero at all points: there is no error relative to it")
        return float((value - exact).square().mean().sqrt() / size)

    def values(self, name: str, points: Tensor) -> Tensor:
        """The values of a coefficient at points (n, d): (n, 1); of the drift (n, d), of the diffusion (n, d, d)."""
        x = points.detach().cpu().double().numpy().T
        d, n = x.shape
        value = np.asarray(coefficient_values(getattr(self, name), np.ascontiguousarray(x)), dtype=np.float64)
        if name == "drift":
            value = np.broadcast_to(value if value.ndim == 2 else np.reshape(value, (-1, 1)), (d, n)).T
        elif name == "diffusion":
            if value.ndim < 2:
                value = value * np.eye(d)[:, :, None]
            value = np.broadcast_to(value if value.ndim == 3 else value[:, :, None], (d, d, n)).transpose(2, 0, 1)
        else:
            value = np.broadcast_to(value, (n,))[:, None]
        return torch.from_numpy(value.copy()).to(points)


def Poisson(
    domain: Domain,
    source: Coefficient = 0.0,
    boundary: Coefficient = 0.0,
    exact: Callable[[Tensor], Tensor] | None = None,
) -> Problem:
    r""":math:`-\Delta u = f` in the domain, :math:`u = g` on its boundary: the diffusion is twice the identity.

    >>> from optsci.pinn import Ball
    >>> Poisson(Ball(dim=2), source=4.0).diffusion
    2.0
    """
    return Problem(domain, diffusion=2.0, source=source, boundary=boundary, exact=exact)


def Schroedinger(
    domain: Domain,
    potential: Coefficient,
    source: Coefficient = 0.0,
    boundary: Coefficient = 0.0,
    exact: Callable[[Tensor], Tensor] | None = None,
) -> Problem:
    r""":math:`-\tfrac12 \Delta u + V u = f` in the domain, :math:`u = g` on its boundary: the killing is V."""
    return Problem(domain, killing=potential, source=source, boundary=boundary, exact=exact)


def MeanExitTime(
    domain: Domain,
    drift: Coefficient = 0.0,
    diffusion: Coefficient = 1.0,
    exact: Callable[[Tensor], Tensor] | None = None,
    reflecting: Box | None = None,
) -> Problem:
    r"""The mean time after which :math:`dX = b\,dt + \sigma\,dW` leaves the domain: f = 1 and g = 0.

    >>> from optsci.pinn import Interval
    >>> problem = MeanExitTime(Interval(-1.0, 1.0), drift=lambda x: -x, diffusion=2.0)
    >>> problem.generator
    'a : Hess u / 2 + b . grad u = -f'
    """
    return Problem(domain, drift=drift, diffusion=diffusion, source=1.0, exact=exact, reflecting=reflecting)


def evaluated(u: Callable[[Tensor], Any], x: Tensor) -> Any:
    """Return u at points, without a graph; a module gets them in the precision and on the device of its parameters."""
    parameter = next(u.parameters(), None) if isinstance(u, torch.nn.Module) else None
    with torch.no_grad():
        return u(x if parameter is None else x.to(parameter))


def finite_values(problem: Problem, name: str, x: Tensor) -> Tensor:
    """Return a coefficient at points, refusing what is not finite there."""
    values = problem.values(name, x)
    finite = values.flatten(1).isfinite().all(1)
    if not finite.all():
        raise ValueError(f"{name} is not finite at the point {x[~finite][0].tolist()}")
    return values


def is_zero(coefficient: Coefficient) -> bool:
    """Whether it is a number, or numbers, all zero."""
    return not callable(coefficient) and not np.any(np.asarray(coefficient))


def coefficient_values(coefficient: Coefficient, x: np.ndarray) -> Any:
    """Its values at x (d, n), as it gives them."""
    return coefficient(x) if callable(coefficient) else coefficient


def check_coefficient(name: str, coefficient: Coefficient, x: np.ndarray, shapes: list[tuple[int, ...]]) -> None:
    """Refuse a coefficient that is no number or function, has a wrong shape, or is not finite at x (d, n)."""
    n = x.shape[1]
    if callable(coefficient):
        try:
            value = np.asarray(coefficient(np.ascontiguousarray(x)), dtype=np.float64)
        except Exception as error:
            raise ValueError(f"{name} fails at points x of shape {x.shape}: {type(error).__name__}: {error}") from error
        expected = [(*shape, n) for shape in shapes] + ([()] if () in shapes else [])
    else:
        try:
            value = np.asarray(coefficient, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{name} must be numbers or a function of x, got {type(coefficient).__name__}") from error
        expected = [*shapes, ()]
    if value.shape not in expected:
        wanted = " or ".join(map(str, expected))
        raise ValueError(f"{name} must have shape {wanted} at points x of shape {x.shape}, got {value.shape}")
    if not np.isfinite(value).all():
        raise ValueError(f"{name} is not finite in the domain: it is {value[~np.isfinite(value)][0]}")


def check_diffusion(matrices: np.ndarray) -> None:
    """Refuse matrices (n, d, d) that are not symmetric and positive definite."""
    if not np.allclose(matrices, matrices.transpose(0, 2, 1), rtol=1e-10, atol=0):
        raise ValueError("diffusion must be symmetric")
    smallest = float(np.linalg.eigvalsh(matrices).min())
    if not smallest > 0:
        raise ValueError(f"diffusion must be positive definite in the domain, has the eigenvalue {smallest:.3g}")
