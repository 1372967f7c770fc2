r"""Indicators of convex cones of vectors, and of their polars.

.. math:: x = P_K(x) + P_{K^\circ}(x), \qquad \langle P_K(x), P_{K^\circ}(x) \rangle = 0

The conjugate of the indicator of a cone is that of its polar :math:`K^\circ = \{u : \langle u, z \rangle \le 0,
z \in K\}`, and the projection splits every vector into two orthogonal parts (Moreau). Vectors run along the last
dimension, the leading ones are a batch. A vector counts as inside when its distance from the cone is at most
``64 eps sqrt(n) max(1, ||x||)``.

References: J.-J. Moreau, C. R. Acad. Sci. Paris 255 (1962) 238; H. A. Friberg, Projection onto the exponential
cone: a univariate root-finding problem, Optim. Methods Softw. 38 (2023) 457.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import e, log
from typing import Any

import torch
from torch import Tensor

from optsci._tensor import euclidean_norm, require_step
from optsci.functions.calculus import scaled
from optsci.functions.indicators import Nonnegative, _indicator, _within
from optsci.protocols import require


@dataclass(frozen=True)
class Nonpositive:
    r"""Indicator of the tensors without positive entries.

    .. math:: \operatorname{prox}(x) = \min(x, 0)

    >>> Nonpositive().prox(torch.tensor([-3.0, 0.5]), 1.0)
    tensor([-3.,  0.])
    """

    def __call__(self, x: Tensor) -> Tensor:
        return _indicator((x <= 0).all(), x)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        return x.clamp(max=0)

    @property
    def conjugate(self) -> Nonnegative:
        """Indicator of the tensors without negative entries."""
        return Nonnegative()

    __rmul__ = scaled


@dataclass(frozen=True)
class SecondOrderCone:
    r"""Indicator of the second-order cone ``||x|| <= t`` of vectors ``(t, x)``.

    .. math:: \operatorname{prox}(t, x) = \begin{cases} (t, x) & \|x\| \le t \\ 0 & \|x\| \le -t \\
              \tfrac{t + \|x\|}{2} \, (1, x / \|x\|) & \text{else} \end{cases}

    The first entry of a vector is t. Also called the Lorentz cone, or the ice-cream cone.

    Raises:
        ValueError: ``x`` is a number, or has vectors without entries.

    Reference: F. Alizadeh and D. Goldfarb, Second-order cone programming, Math. Program. 95 (2003) 3.

    >>> SecondOrderCone().prox(torch.tensor([[1.0, 3.0, 4.0], [6.0, 3.0, 4.0], [-6.0, 3.0, 4.0]]), 1.0)
    tensor([[3.0000, 1.8000, 2.4000],
            [6.0000, 3.0000, 4.0000],
            [0.0000, 0.0000, 0.0000]])
    """

    def __call__(self, x: Tensor) -> Tensor:
        t, _, norm = self._split(x)
        # Half the excess is what the projection moves t, and x by as much.
        return _within(((norm - t) / 2**0.5).squeeze(-1), x, euclidean_norm(x, dim=-1), x.shape[-1])

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        t, rest, norm = self._split(x)
        inside, opposite = norm <= t, norm <= -t
        height = (t + norm) / 2
        # Where another case holds, a norm of 0 must not spoil the gradient.
        direction = rest / torch.where(inside | opposite, 1, norm)
        boundary = torch.cat([height, height * direction], dim=-1)
        return torch.where(inside, x, torch.where(opposite, 0, boundary))

    @property
    def conjugate(self) -> PolarCone:
        """Indicator of the polar cone, which is the opposite cone: ``||x|| <= -t``."""
        return PolarCone(self)

    @staticmethod
    def _split(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if x.dim() == 0 or x.shape[-1] == 0:
            raise ValueError(f"x must be a vector (t, x), or a batch of them, got shape {tuple(x.shape)}")
        t, rest = x[..., :1], x[..., 1:]
        return t, rest, euclidean_norm(rest, dim=-1, keepdim=True)

    __rmul__ = scaled


@dataclass(frozen=True)
class ExponentialCone:
    r"""Indicator of the exponential cone, the closure of ``s exp(r/s) <= t, s > 0`` of triples ``(r, s, t)``.

    .. math:: \operatorname{prox}(r, s, t) = \begin{cases} (r, s, t) & \text{inside} \\
              0 & r > 0, \; r e^{s/r} \le -e t \\ (r, 0, \max(t, 0)) & r \le 0, \; s \le 0 \\
              \sigma \, (\rho, 1, e^\rho) & \text{else} \end{cases}

    In the last case the ratio :math:`\rho` is the root of an increasing function; with d = rho^2 - rho + 1,

    .. math:: \sigma = \frac{(\rho - 1) r + s}{d}, \quad \mu = \frac{r - \rho s}{d}, \quad
              \sigma e^\rho - \mu e^{-\rho} = t, \quad \sigma, \mu \ge 0.

    Bisection to machine precision finds it, in as many steps for every triple; a step of Newton's method at the
    root carries the derivatives.

    Raises:
        ValueError: the last dimension of ``x`` is not 3.

    Reference: H. A. Friberg, Projection onto the exponential cone: a univariate root-finding problem, Optim.
    Methods Softw. 38 (2023) 457.

    >>> ExponentialCone().prox(torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, -1.0], [-1.0, -1.0, 2.0]]), 1.0)
    tensor([[ 0.,  1.,  2.],
            [ 0.,  0.,  0.],
            [-1.,  0.,  2.]])
    """

    def __call__(self, x: Tensor) -> Tensor:
        moved = euclidean_norm(x - self.prox(x, 1.0), dim=-1)
        return _within(moved, x, euclidean_norm(x, dim=-1), 3)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        if x.dim() == 0 or x.shape[-1] != 3:
            raise ValueError(f"x must hold triples (r, s, t) along its last dimension, got shape {tuple(x.shape)}")
        r, s, t = x.unbind(-1)
        ratio = r / torch.where(s > 0, s, 1)
        inside = ((s > 0) & (s * ratio.exp() <= t)) | ((s == 0) & (r <= 0) & (t >= 0))
        opposite = (r > 0) & (r * (s / torch.where(r > 0, r, 1)).exp() <= -e * t)
        face = (r <= 0) & (s <= 0)
        # Where another case holds, the root is sought for (1, 1, 1), which is of the last case.
        other = (inside | opposite | face).unsqueeze(-1)
        curved = _onto_curved_face(torch.where(other, 1, x))
        flat = torch.stack([r, torch.zeros_like(s), t.clamp(min=0)], dim=-1)
        p = torch.where(face.unsqueeze(-1), flat, torch.where(opposite.unsqueeze(-1), 0, curved))
        return torch.where(inside.unsqueeze(-1), x, p)

    @property
    def conjugate(self) -> PolarCone:
        """Indicator of the polar cone."""
        return PolarCone(self)

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class PolarCone:
    r"""Indicator of the polar of a closed convex cone, ``<x, z> <= 0`` for all z of the cone.

    .. math:: \operatorname{prox}(x) = x - P_K(x)

    Args:
        cone: the indicator of the cone K, with a prox.

    Raises:
        TypeError: ``cone`` has no prox.

    >>> PolarCone(SecondOrderCone()).prox(torch.tensor([1.0, 3.0, 4.0]), 1.0)
    tensor([-2.0000,  1.2000,  1.6000])
    """

    cone: Any

    def __post_init__(self) -> None:
        require(self.cone, "prox", by="PolarCone", name="cone")

    def __call__(self, x: Tensor) -> Tensor:
        moved = euclidean_norm(self.cone.prox(x, 1.0), dim=-1)
        return _within(moved, x, euclidean_norm(x, dim=-1), x.shape[-1])

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        x = x - self.cone.prox(x, 1.0)
        return x - self.cone.prox(x, 1.0)  # the rounding error of a long projection may leave the polar cone

    @property
    def conjugate(self) -> Any:
        """Indicator of the cone itself: it is the polar of its polar."""
        return self.cone

    __rmul__ = scaled


def _onto_curved_face(x: Tensor) -> Tensor:
    """Projection of triples beyond the curved boundary of the exponential cone on it."""
    size = x.detach().abs().amax(-1, keepdim=True)  # a cone is invariant to scaling, a root in exponentials is not
    size = torch.where(size > 0, size, 1)
    r, s, t = (x / size).unbind(-1)
    with torch.no_grad():
        low, high = _bracket(r.detach(), s.detach())
        for _ in range(2 + 8 * x.element_size()):
            middle = low + (high - low) / 2
            positive = _residual(middle, r, s, t) > 0
            low, high = torch.where(positive, low, middle), torch.where(positive, middle, high)
        rho = torch.where(r.isnan() | s.isnan() | t.isnan(), torch.nan, low + (high - low) / 2)
        slope = _slope(rho, r, s)
    # The value of rho stays, for bisection has found it: only the derivative is that of Newton's step.
    change = _residual(rho, r, s, t) / torch.where(slope > 0, slope, 1)
    rho = rho - (change - change.detach())
    sigma, mu = _coordinates(rho, r, s)
    # sigma e^rho = t + mu e^-rho at the root; of both forms the one without overflow, and a multiple of a vector of
    # the cone, so that rounding does not carry a short projection of a long vector off the cone.
    up, down = rho.clamp(max=0).exp(), (-rho.clamp(min=0)).exp()
    last = (t + mu * down).clamp(min=0)
    sigma, last = torch.where(rho > 0, last * down, sigma), torch.where(rho > 0, last, sigma * up)
    return torch.stack([sigma * rho, sigma, last], dim=-1) * size


def _coordinates(rho: Tensor, r: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    d = rho.square() - rho + 1
    return ((rho - 1) * r + s) / d, (r - rho * s) / d


def _bracket(r: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """Ends between which sigma and mu are positive, at most ``2 far`` apart: beyond ``far``, exp overflows twice."""
    largest = torch.finfo(r.dtype).max
    far, huge = 2 * log(largest), largest**0.5 / 4  # the square of a ratio must not overflow
    by_sigma = (1 - s / torch.where(r > 0, r, 1)).clamp(min=-huge).clamp(max=huge)  # for r > 0, sigma > 0 above it
    by_mu = (r / torch.where(s > 0, s, 1)).clamp(min=-huge).clamp(max=huge)  # for s > 0, mu > 0 below it
    low = torch.where(r > 0, torch.where(s > 0, by_sigma.clamp(min=-far), by_sigma), by_mu - far)
    high = torch.where(s > 0, torch.where(r > 0, by_mu.clamp(max=far), by_mu), by_sigma + far)
    return low, high


def _residual(rho: Tensor, r: Tensor, s: Tensor, t: Tensor) -> Tensor:
    """``h(rho) = sigma e^rho - mu e^-rho - t``, times ``e^-|rho|``, lest it overflow."""
    sigma, mu = _coordinates(rho, r, s)
    small = (-rho.abs()).exp()
    square = small * small
    return torch.where(rho > 0, sigma - mu * square, sigma * square - mu) - t * small


def _slope(rho: Tensor, r: Tensor, s: Tensor) -> Tensor:
    """``h'(rho)``, times the same."""
    sigma, mu = _coordinates(rho, r, s)
    d = rho.square() - rho + 1
    d_sigma = (r - (2 * rho - 1) * sigma) / d
    d_mu = (-s - (2 * rho - 1) * mu) / d
    up, down = (2 * rho.clamp(max=0)).exp(), (-2 * rho.clamp(min=0)).exp()
    return (sigma + d_sigma) * up + (mu - d_mu) * down
