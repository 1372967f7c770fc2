r"""The k-support norm, between the l1 norm and the Euclidean one, its square, and the ball of its dual norm.

.. math:: \|x\|_k^{2} = \min_{0 \le \theta \le 1, \; \sum_i \theta_i \le k} \sum_i \frac{x_i^2}{\theta_i}

Its unit ball is the convex hull of the vectors with at most ``k`` nonzeros and Euclidean norm at most 1. Vectors run
along the last dimension; leading dimensions are a batch whose values are added.

Reference: A. Argyriou, R. Foygel and N. Srebro, Sparse prediction with the k-support norm, NIPS 2012, arXiv 1204.5043.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

from optsci._tensor import nonnegative_scalar, require_floating, require_step
from optsci.functions._root import decreasing_root
from optsci.functions.calculus import scaled
from optsci.functions.euclidean import _slack
from optsci.functions.indicators import Box, _indicator


@dataclass(frozen=True, eq=False)
class SquaredKSupport:
    r"""``weight/2 * ||x||_k^2``, the k-support norm squared; the squared l1 norm for ``k = 1``, l2 for ``k = n``.

    .. math:: \operatorname{prox}_{s g}(x)_i = \frac{\theta_i x_i}{\theta_i + s w}, \qquad
        \theta_i = \min((|x_i| / \beta - s w)_+, 1), \qquad \sum_i \theta_i = k

    Args:
        weight: ``w``, at least 0; a float or a 0-d tensor.
        k: at least 1; beyond the number of entries it is that number.

    Raises:
        ValueError: ``weight`` is negative, not finite, or not a single number; ``k`` is not such a number; or
            ``step`` varies within a vector.

    Reference: A. Argyriou, R. Foygel and N. Srebro, NIPS 2012, arXiv 1204.5043.

    >>> g = SquaredKSupport(1.0, 2)
    >>> g(torch.tensor([4.0, 2.0, 1.0])), g.prox(torch.tensor([4.0, 2.0, 1.0]), 1.0)
    (tensor(12.5000), tensor([2., 1., 0.]))
    """

    weight: float | Tensor
    k: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", nonnegative_scalar(self.weight, "weight"))
        _require_count(self.k)

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight / 2 * _squared_norm(x, self.k).sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Shrink the large entries, threshold the others; ``step`` may differ from vector to vector."""
        require_step(step, x[..., :1])
        scale = torch.zeros_like(x[..., :1]) + step * self.weight
        return torch.where(scale > 0, _shrunk(x, torch.where(scale > 0, scale, 1), self.k), x)

    @property
    def conjugate(self) -> SquaredLargestL2 | Box:
        """The sum of the ``k`` largest squares over ``2 weight``; the indicator of 0 where the weight is 0."""
        return SquaredLargestL2(1 / self.weight, self.k) if self.weight > 0 else Box(0, 0)

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class KSupport:
    r"""``weight * ||x||_k``, the k-support norm; the l1 norm for ``k = 1``, the Euclidean one for ``k = n``.

    .. math:: \operatorname{prox}_{s g}(x) = p(\lambda) = \operatorname{prox}_{\lambda \|\cdot\|_k^2 / 2}(x), \qquad
        \lambda \, \|p(\lambda)\|_k = s w

    and 0 where no :math:`\lambda` satisfies the equation. It is solved by bisections and secants in a fixed number.

    Args:
        weight: ``w``, at least 0; a float or a 0-d tensor.
        k: at least 1; beyond the number of entries it is that number.

    Raises:
        ValueError: ``weight`` is negative, not finite, or not a single number; ``k`` is not such a number; or
            ``step`` varies within a vector.

    Reference: A. Argyriou, R. Foygel and N. Srebro, NIPS 2012, arXiv 1204.5043.

    >>> g = KSupport(1.0, 2)
    >>> g(torch.tensor([4.0, 2.0, 1.0])), g.prox(torch.tensor([4.0, 2.0, 1.0]), 5.0)
    (tensor(5.), tensor([0., 0., 0.]))
    """

    weight: float | Tensor
    k: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", nonnegative_scalar(self.weight, "weight"))
        _require_count(self.k)

    def __call__(self, x: Tensor) -> Tensor:
        zero = (x == 0).all(-1, keepdim=True)  # the square root has no derivative there
        squares = _squared_norm(torch.where(zero, 1, x), self.k)
        return self.weight * torch.where(zero, 0, squares.sqrt()).sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """``x`` less its projection on a ball of the dual norm; ``step`` may differ from vector to vector."""
        require_step(step, x[..., :1])
        u = x.double()  # what is left of u is small, where u may be large
        radius = torch.zeros_like(u[..., :1]) + step * self.weight
        within, x_left, scale = _excess(u, radius, self.k)
        return torch.where(within, 0, torch.where(radius == 0, u, _shrunk(x_left, scale, self.k))).to(x.dtype)

    @property
    def conjugate(self) -> LargestL2Ball:
        """Indicator of the vectors whose ``k`` largest entries have a Euclidean norm of at most ``weight``."""
        return LargestL2Ball(self.weight, self.k)

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class LargestL2Ball:
    r"""Indicator of ``(sum of the k largest squares)^(1/2) <= radius``, the ball of the norm dual to the k-support one.

    .. math:: \operatorname{prox}(x) = x - \operatorname{prox}_{r \|\cdot\|_k}(x)

    with the prox of KSupport, that of a norm. The ball of the largest magnitude for ``k = 1``, the Euclidean one for
    ``k = n``. Membership allows for the rounding of a norm.

    Args:
        radius: ``r``, at least 0; a float or a 0-d tensor.
        k: at least 1; beyond the number of entries it is that number.

    Raises:
        ValueError: ``radius`` is negative, not finite, or not a single number; or ``k`` is not such a number.

    Reference: A. Argyriou, R. Foygel and N. Srebro, NIPS 2012, arXiv 1204.5043.

    >>> LargestL2Ball(5.0, 2)(torch.tensor([4.0, 3.0, 3.0])), LargestL2Ball(1.0, 1).prox(torch.tensor([4.0, 0.5]), 1.0)
    (tensor(0.), tensor([1.0000, 0.5000]))
    """

    radius: float | Tensor
    k: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius", nonnegative_scalar(self.radius, "radius"))
        _require_count(self.k)

    def __call__(self, x: Tensor) -> Tensor:
        norms = _largest_norm(x, self.k)
        return _indicator((norms <= self.radius * (1 + _slack(x, -1))).all(), x)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        u = x.double()
        radius = torch.zeros_like(u[..., :1]) + self.radius
        within, x_left, scale = _excess(u, radius, self.k)
        return torch.where(within, u, torch.where(radius == 0, 0 * u, _removed(x_left, scale, self.k))).to(x.dtype)

    def lmo(self, d: Tensor) -> Tensor:
        """``-radius`` times a subgradient of the k-support norm at ``d``; 0 where ``d`` is 0."""
        zero = (d == 0).all(-1, keepdim=True)
        d = torch.where(zero, 1, d)
        d = d / d.detach().abs().amax(-1, keepdim=True)  # no square vanishes or overflows
        _, large, shared = _shares(d, self.k)
        rank = d.abs().argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
        z = torch.where(rank < large, d, d.sign() * shared)
        return torch.where(zero, 0, -self.radius * z / _squared_norm(d, self.k).sqrt())

    @property
    def conjugate(self) -> KSupport:
        """``radius`` times the k-support norm."""
        return KSupport(self.radius, self.k)

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class SquaredLargestL2:
    r"""``weight/2 * (sum of the k largest squares)``, the conjugate of the squared k-support norm.

    .. math:: \operatorname{prox}_{s g}(x) = x - \operatorname{prox}_{\|\cdot\|_k^2 / (2 s w)}(x)

    with the prox of SquaredKSupport. The square of the largest magnitude for ``k = 1``, of the Euclidean norm for
    ``k = n``.

    Args:
        weight: ``w``, at least 0; a float or a 0-d tensor.
        k: at least 1; beyond the number of entries it is that number.

    Raises:
        ValueError: ``weight`` is negative, not finite, or not a single number; ``k`` is not such a number; or
            ``step`` varies within a vector.

    Reference: A. Argyriou, R. Foygel and N. Srebro, NIPS 2012, arXiv 1204.5043.

    >>> g = SquaredLargestL2(1.0, 1)
    >>> g(torch.tensor([4.0, 3.0, 1.0])), g.prox(torch.tensor([4.0, 3.0, 1.0]), 1.0)
    (tensor(8.), tensor([2.3333, 2.3333, 1.0000]))
    """

    weight: float | Tensor
    k: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", nonnegative_scalar(self.weight, "weight"))
        _require_count(self.k)

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight / 2 * x.abs().topk(min(self.k, x.shape[-1]), dim=-1).values.square().sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Lowers the largest entries; ``step`` may differ from vector to vector."""
        require_step(step, x[..., :1])
        scale = torch.zeros_like(x[..., :1]) + step * self.weight
        return torch.where(scale > 0, _removed(x, 1 / torch.where(scale > 0, scale, 1), self.k), x)

    @property
    def conjugate(self) -> SquaredKSupport | Box:
        """``||u||_k^2 / (2 weight)``; the indicator of 0 where the weight is 0."""
        return SquaredKSupport(1 / self.weight, self.k) if self.weight > 0 else Box(0, 0)

    __rmul__ = scaled


def _require_count(k: int) -> None:
    if not isinstance(k, Integral) or k < 1:
        raise ValueError(f"k must be a whole number, at least 1, got {k!r}")


def _largest_norm(x: Tensor, k: int) -> Tensor:
    """Euclidean norm (..., 1) of the ``k`` largest entries, the dual norm."""
    require_floating(x)
    largest = x.abs().topk(min(k, x.shape[-1]), dim=-1).values
    return torch.linalg.vector_norm(largest, dim=-1, keepdim=True)


def _shares(x: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sorted magnitudes; how many (..., 1) pay their square; and the share of each place that is left of ``k``.

    Large entries pay their square; those after them share what is left of k, in proportion to their size.
    """
    k = min(k, x.shape[-1])
    u = x.abs().sort(dim=-1, descending=True).values
    tails = u.flip(-1).cumsum(-1).flip(-1)[..., :k]  # the sums of u_j and all after it
    left = torch.arange(k, 0, -1, dtype=x.dtype, device=x.device)
    large = (u[..., : k - 1] * left[1:] > tails[..., 1:]).sum(-1, keepdim=True)
    return u, large, tails.gather(-1, large) / (k - large)


def _squared_norm(x: Tensor, k: int) -> Tensor:
    """The square (..., 1) of the k-support norm."""
    u, large, shared = _shares(x, k)
    own = torch.where(torch.arange(x.shape[-1], device=x.device) < large, u, 0).square().sum(-1, keepdim=True)
    return own + shared.square() * (min(k, x.shape[-1]) - large)


def _shrunk(x: Tensor, scale: Tensor, k: int) -> Tensor:
    """The prox of ``scale/2 ||.||_k^2`` for a positive scale (..., 1)."""
    beta = _level(x, scale, k)
    shrunk = torch.where(x.abs() <= scale * beta, 0, x - x.sign() * scale * beta)
    return torch.where(x.abs() >= (1 + scale) * beta, x / (1 + scale), shrunk)


def _removed(x: Tensor, scale: Tensor, k: int) -> Tensor:
    """``x`` less that prox, without the difference, in which large entries would lose it."""
    level = scale * _level(x, scale, k)
    return x.sign() * torch.maximum(torch.minimum(x.abs(), level), scale / (1 + scale) * x.abs())


def _level(x: Tensor, scale: Tensor, k: int) -> Tensor:
    """The beta (..., 1) of that prox, by a search over its sorted breakpoints."""
    n, k = x.shape[-1], min(k, x.shape[-1])
    u = x.abs()
    # As beta falls, theta_i leaves 0 at u_i / scale and reaches 1 at u_i / (1 + scale).
    ends, order = torch.cat([u / scale, u / (1 + scale)], -1).sort(dim=-1, descending=True, stable=True)
    entered, full = (order < n).cumsum(-1), (order >= n).cumsum(-1)
    sums = torch.cat([u, -u], -1).gather(-1, order).cumsum(-1)
    short = full * ends + sums - scale * (entered - full) * ends <= k * ends
    last = (short.long().cumprod(-1).sum(-1, keepdim=True) - 1).clamp(min=0)
    between = entered.gather(-1, last) - full.gather(-1, last)
    slope = torch.where(between > 0, k - full.gather(-1, last) + scale * between, 1)
    return torch.where(between > 0, sums.gather(-1, last) / slope, ends.gather(-1, last))


def _excess(x: Tensor, radius: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Whether ``x`` lies in the ball of the dual norm; and if not, x and the scale of the squared norm's prox.

    Where it does, or the radius is 0, some other point and its scale are returned.
    """
    size = _largest_norm(x, k)
    within = size <= radius
    settled = within | (radius == 0)
    x, radius = torch.where(settled, 1, x), torch.where(settled, 0.5, radius)
    with torch.no_grad():
        size = _largest_norm(x, k)
        # ||p|| lies between the dual norm of p, at least that of x less the radius, and ||x||.
        low, high = (size - radius) / radius, _squared_norm(x, k).sqrt() / radius
    # What the prox removes lies on the sphere of the dual norm. In the inverse of the scale the equation is nearly
    # linear, and linear for k = 1 and k = n.

    def short(inverse: Tensor) -> Tensor:
        return 1 - radius / _largest_norm(_removed(x, 1 / inverse, k), k)

    inverse = decreasing_root(short, low, high, steps=32)
    return within, x, 1 / torch.maximum(inverse, low / 2)
