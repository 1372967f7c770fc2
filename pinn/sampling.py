"""Points of the unit cube, and from them points of domains and of their boundaries.

A rule ``(n, dim, seed) -> (n, dim)`` fills the unit cube: `uniform`, `sobol`, `latin_hypercube`, or your own.
Everything else is a map of such points that keeps volumes, so that what is evenly spread in the cube is so in the
domain. The seed alone decides: the same points on every machine and every device.

Reference: J. Matoušek, On the L2-discrepancy for anchored boxes, J. Complexity 14 (1998): the scrambling of `sobol`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from .domain_protocol import Domain

UnitPoints = Callable[[int, int, int], Tensor]

LEAST_FRACTION = 1e-4  # of its bounding box that a domain must fill for rejection
ESTIMATE_POINTS = 2**16  # Sobol points behind volumes that have no formula


def uniform(n: int, dim: int, seed: int) -> Tensor:
    """Return ``n`` independent uniform points of the unit cube, (n, dim), in double precision.

    >>> uniform(2, 3, seed=0).shape
    torch.Size([2, 3])
    """
    return torch.from_numpy(np.random.default_rng(seed).random((n, dim)))


def sobol(n: int, dim: int, seed: int) -> Tensor:
    """Return the first ``n`` points of a scrambled Sobol sequence: each is uniform, together they leave few gaps.

    The error of a mean of a smooth function falls nearly like 1/n, best where ``n`` is a power of 2.

    >>> x = sobol(256, 2, seed=0)
    >>> abs(float(x.prod(1).mean()) - 0.25) < 1e-3
    True
    """
    from scipy.stats import qmc

    sequence = qmc.Sobol(dim, scramble=True, seed=np.random.default_rng(seed))
    return torch.from_numpy(sequence.random_base2(max(n - 1, 0).bit_length())[:n])


def latin_hypercube(n: int, dim: int, seed: int) -> Tensor:
    """Return ``n`` points with exactly one in each of ``n`` slices of every axis.

    >>> x = latin_hypercube(4, 2, seed=0)
    >>> (4 * x).long().sort(0).values.T.tolist()
    [[0, 1, 2, 3], [0, 1, 2, 3]]
    """
    from scipy.stats import qmc

    return torch.from_numpy(qmc.LatinHypercube(dim, seed=np.random.default_rng(seed)).random(n))


def require_count(n: int) -> None:
    """Refuse a number of points that is not a positive integer.

    >>> require_count(0)
    Traceback (most recent call last):
    ValueError: n must be at least 1, got 0
    """
    if not isinstance(n, Integral):
        raise TypeError(f"n must be an integer, a number of points, got {n!r}")
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")


def require_bounded(domain: Domain) -> None:
    """Refuse a domain without a finite bounding box."""
    if not all(map(math.isfinite, (*domain.lower, *domain.upper))):
        raise ValueError(
            f"{domain} is unbounded and has no uniform points: intersect it with a Box, as in `domain & box`"
        )


def box_volume(lower: tuple[float, ...], upper: tuple[float, ...]) -> float:
    """Return the product of the sides."""
    return math.prod(b - a for a, b in zip(lower, upper, strict=True))


def in_box(lower: tuple[float, ...], upper: tuple[float, ...], unit: Tensor) -> Tensor:
    """Map points (n, d) of the unit cube to the box."""
    a, b = unit.new_tensor(lower), unit.new_tensor(upper)
    return a + (b - a) * unit


def by_rejection(
    domain: Domain,
    n: int,
    seed: int,
    *,
    points: UnitPoints = uniform,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> Tensor:
    """Return the first ``n`` points of the bounding box that lie in the domain, (n, d).

    More are drawn, from the start, until enough lie inside. Points are rounded to ``dtype`` first: all lie inside.

    Raises:
        ValueError: the domain is unbounded, or fills less than about 1e-4 of its bounding box.
    """
    require_count(n)
    require_bounded(domain)
    drawn = max(2 * n, 1024)
    while True:
        candidates = in_box(domain.lower, domain.upper, points(drawn, domain.dim, seed)).to(dtype)
        inside = candidates[domain.contains(candidates)]
        if len(inside) >= n:
            return inside[:n].to(device)
        fraction = len(inside) / drawn
        if drawn >= ESTIMATE_POINTS and fraction < LEAST_FRACTION:
            raise ValueError(
                f"{domain} fills {fraction:.1g} of its bounding box, too little to find points of it by rejection: "
                "give tighter bounds"
            )
        drawn = max(2 * drawn, min(math.ceil(1.1 * n / max(fraction, LEAST_FRACTION)), 64 * drawn))


@lru_cache(maxsize=256)
def estimated_volume(domain: Domain) -> float:
    """Return the volume by 65536 Sobol points of the bounding box; in the plane right to about three digits."""
    if not all(map(math.isfinite, (*domain.lower, *domain.upper))):
        return math.inf
    points = in_box(domain.lower, domain.upper, sobol(ESTIMATE_POINTS, domain.dim, seed=0))
    return box_volume(domain.lower, domain.upper) * float(domain.contains(points).double().mean())


def direction_columns(dim: int) -> int:
    """Return how many numbers of the unit interval `directions` needs for one unit vector of R^dim."""
    return 1 if dim <= 2 else dim


def directions(unit: Tensor, dim: int) -> Tensor:
    """Map points (n, direction_columns(dim)) of the unit cube to uniform unit vectors (n, dim).

    A sign in R^1, an angle in R^2, else normal deviates scaled to length 1.
    """
    if dim == 1:
        return torch.where(unit < 0.5, -1.0, 1.0).to(unit.dtype)
    if dim == 2:
        angle = 2 * math.pi * unit
        return torch.cat((angle.cos(), angle.sin()), 1)
    normal = torch.special.ndtri(unit.clamp(2.0**-54, 1 - 2.0**-53))
    return normal / normal.norm(dim=1, keepdim=True)


def shell_points(n: int, dim: int, seed: int, points: UnitPoints, hole: float) -> Tensor:
    """Return uniform points (n, dim) of the unit ball without the ball of radius ``hole``, in any dimension."""
    unit = points(n, 1 + direction_columns(dim), seed)
    radius = (hole**dim + (1 - hole**dim) * unit[:, :1]) ** (1 / dim)
    return radius * directions(unit[:, 1:], dim)


def sphere_measure(dim: int) -> float:
    """Return the surface measure of the unit sphere of R^dim; it is ``dim`` times the volume of the unit ball.

    >>> sphere_measure(1), round(sphere_measure(3) / math.pi, 12)
    (2.0, 4.0)
    """
    return 2 * math.exp(0.5 * dim * math.log(math.pi) - math.lgamma(0.5 * dim)) if dim > 1 else 2.0
