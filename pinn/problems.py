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

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .domain_protocol import Domain

Coefficient = float | np.ndarray | Callable[[Any], Any]


@dataclass(frozen=True, eq=False)
class Problem:
    """An elliptic problem; see the formula of this module.

    Args:
        domain: where it is posed.
        drift: b; 0, d numbers, or a function x -> (d, n).
        diffusion: a; a number or a function x -> (n,) stands for that multiple of the identity; or (d, d), or a
            function x -> (d, d, n); positive definite.
        killing: c.
        source: f.
        boundary: g; called with points of the boundary, and by random walks nowhere else.
        exact: the solution, where it is known: points (n, d) -> (n, 1).

    Raises:
        ValueError: a coefficient has a wrong shape, is not finite somewhere in the domain, or the diffusion is not
            symmetric and positive.
        TypeError: a coefficient is neither numbers nor a function.

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

    def __post_init__(self) -> None:
        d = self.domain.dim
        inside = self.domain.sample(8, 0).numpy().T
        on, _ = self.domain.sample_boundary(8, 0)
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
) -> Problem:
    r"""The mean time after which :math:`dX = b\,dt + \sigma\,dW` leaves the domain: f = 1 and g = 0.

    >>> from optsci.pinn import Interval
    >>> problem = MeanExitTime(Interval(-1.0, 1.0), drift=lambda x: -x, diffusion=2.0)
    >>> problem.generator
    'a : Hess u / 2 + b . grad u = -f'
    """
    return Problem(domain, drift=drift, diffusion=diffusion, source=1.0, exact=exact)


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
