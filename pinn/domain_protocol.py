"""What a domain is: an open set with a signed distance, positive inside.

Problems, losses and random walks see domains through `Domain` only. The functions here are the methods that all domains
share, written in terms of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from optsci._tensor import as_tensor, require_floating

from .sampling import UnitPoints, require_bounded, require_count, uniform

TINY = 1e-36  # added under roots: their derivatives are finite at 0, and the root moves by 1e-18 at most


class Domain(Protocol):
    """An open set of R^d, and what problems, losses and random walks ask of it.

    Points are tensors (n, d), or what `as_tensor` takes. Distances are positive inside.
    """

    def __hash__(self) -> int:
        """Equal domains share what is compiled and estimated."""
        ...

    @property
    def dim(self) -> int:
        """The dimension d."""
        ...

    @property
    def lower(self) -> tuple[float, ...]:
        """Lower corner of a box that contains the domain; -inf where it is unbounded."""
        ...

    @property
    def upper(self) -> tuple[float, ...]:
        """The upper corner."""
        ...

    @property
    def volume(self) -> float:
        """The d-dimensional measure."""
        ...

    @property
    def boundary_measure(self) -> float:
        """The (d-1)-dimensional measure of the boundary; the number of end points for d = 1."""
        ...

    def formula(self, xp: Any) -> Callable[[Any], Any]:
        """Return the signed distance x (d, n) -> (n,) by ``xp``, which is NumPy, also for Numba, or torch."""
        ...

    def distance(self, points: Tensor, /) -> Tensor:
        """Return the signed distances (n, 1), with derivatives."""
        ...

    def contains(self, points: Tensor, /) -> Tensor:
        """Return (n,) booleans: whether the points lie inside, not on the boundary."""
        ...

    def sample(
        self,
        n: int,
        seed: int,
        *,
        points: UnitPoints = uniform,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Return uniform points (n, d) of the domain, made of those that ``points`` spreads in the unit cube."""
        ...

    def sample_boundary(
        self,
        n: int,
        seed: int,
        *,
        points: UnitPoints = uniform,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return uniform points (n, d) of the boundary, and the inward unit normals (n, d) there."""
        ...

    def project(self, points: Tensor, /) -> Tensor:
        """Return the nearest points (n, d) of the boundary."""
        ...

    def level(self, points: Tensor, /) -> Tensor:
        """Return (n, 1): smooth, positive inside, 0 on the boundary, negative outside; compositions combine it."""
        ...

    def vanishing(self, points: Tensor, /) -> Tensor:
        """Return (n, 1), smooth and positive inside, 0 on the boundary: for ``u = lift + vanishing * net``."""
        ...


def points_of(points: Any, dim: int) -> Tensor:
    """Return points as a tensor (n, dim): a tensor as it is, lists in double precision.

    >>> points_of([[1, 2]], 2).dtype
    torch.float64
    >>> points_of(torch.zeros(4, 3), 2)
    Traceback (most recent call last):
    ValueError: points must have shape (n, 2), got (4, 3)
    """
    x = points if isinstance(points, Tensor) else as_tensor(np.asarray(points), "points")
    if x.dim() != 2 or x.shape[1] != dim:
        raise ValueError(f"points must have shape (n, {dim}), got {tuple(x.shape)}")
    if not isinstance(points, Tensor) and not np.issubdtype(np.asarray(points).dtype, np.floating):
        x = x.double()
    require_floating(x, of="points")
    return x


def signed_distance(domain: Domain, points: Any) -> Tensor:
    """Return the domain's formula at points (n, d), as (n, 1)."""
    return domain.formula(torch)(points_of(points, domain.dim).T)[:, None]


def inside(domain: Domain, points: Any) -> Tensor:
    """Return (n,) booleans: where the distance is positive."""
    return signed_distance(domain, points)[:, 0] > 0


def interior_points(
    domain: Any,
    n: int,
    seed: int,
    *,
    points: UnitPoints = uniform,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> Tensor:
    """Return ``n`` uniform points (n, d) of the domain, each made of one of the unit cube.

    They are rounded to ``dtype`` at last: in single precision one in some million falls on the boundary.
    """
    require_count(n)
    return domain._inside(n, seed, points).to(device, dtype)


def boundary_points(
    domain: Any,
    n: int,
    seed: int,
    *,
    points: UnitPoints = uniform,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> tuple[Tensor, Tensor]:
    """Return ``n`` uniform points (n, d) of the boundary, and the inward unit normals (n, d) there."""
    require_count(n)
    require_bounded(domain)
    x, normals = domain._on_boundary(n, seed, points)
    return x.to(device, dtype), normals.to(device, dtype)


@lru_cache(maxsize=256)
def compiled(domain: Domain) -> Any:
    """Return the signed distance as a Numba function x (d, n) -> (n,), the same for equal domains.

    Arrays of single precision are worked on in single precision. What it is worth is the loop around it: kernels take
    it as an argument and call it on a few points at a time.

    >>> from optsci.pinn import Ball
    >>> compiled(Ball(dim=2))(np.array([[0.0, 0.6], [0.0, 0.8]])).round(12) + 0.0
    array([1., 0.])
    """
    import numba

    return numba.njit(domain.formula(np), error_model="numpy", nogil=True)


def newton_projection(domain: Domain, points: Any, steps: int = 30) -> Tensor:
    """Follow the gradient of the signed distance to the boundary: x <- x - f grad f / ||grad f||^2, without a graph.

    On the boundary to rounding where f is smooth; the nearest point of it only up to the square of the distance times
    the curvature, and not where the gradient jumps on the way.
    """
    x = points_of(points, domain.dim).detach()
    for _ in range(steps):
        value, gradient = value_and_gradient(domain.distance, x)
        x = x - value * gradient / (gradient.square().sum(1, keepdim=True) + TINY)
    return x


def value_and_gradient(f: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Return f(x) (n, 1) and its gradients (n, d), both outside of any graph."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value = f(x)
        (gradient,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), gradient
