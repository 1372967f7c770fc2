r"""The square of the k-support norm, between those of the l1 norm and of the Euclidean one.

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

from optsci._tensor import as_scalar, require_nonnegative, require_step
from optsci.functions.calculus import scaled


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
        weight = as_scalar(self.weight, "weight")
        require_nonnegative(weight, "weight")
        object.__setattr__(self, "weight", weight)
        if not isinstance(self.k, Integral) or self.k < 1:
            raise ValueError(f"k must be a whole number, at least 1, got {self.k!r}")

    def __call__(self, x: Tensor) -> Tensor:
        k = min(self.k, x.shape[-1])
        u = x.abs().sort(dim=-1, descending=True).values
        tails = u.flip(-1).cumsum(-1).flip(-1)[..., :k]  # the sums of u_j and all after it
        left = torch.arange(k, 0, -1, dtype=x.dtype, device=x.device)
        # Large entries pay their square; those after them share what is left of k, in proportion to their size.
        large = (u[..., : k - 1] * left[1:] > tails[..., 1:]).sum(-1, keepdim=True)
        own = torch.where(torch.arange(x.shape[-1], device=x.device) < large, u, 0).square().sum(-1, keepdim=True)
        shared = tails.gather(-1, large).square() / (k - large)
        return self.weight / 2 * (own + shared).sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Shrink the large entries, threshold the others; ``step`` may differ from vector to vector."""
        require_step(step, x[..., :1])
        n, k = x.shape[-1], min(self.k, x.shape[-1])
        scale = torch.zeros_like(x[..., :1]) + step * self.weight
        positive = torch.where(scale > 0, scale, 1)
        u = x.abs()
        # As beta falls, theta_i leaves 0 at u_i / scale and reaches 1 at u_i / (1 + scale).
        ends, order = torch.cat([u / positive, u / (1 + positive)], -1).sort(dim=-1, descending=True, stable=True)
        entered, full = (order < n).cumsum(-1), (order >= n).cumsum(-1)
        sums = torch.cat([u, -u], -1).gather(-1, order).cumsum(-1)
        short = full * ends + sums - positive * (entered - full) * ends <= k * ends
        last = (short.long().cumprod(-1).sum(-1, keepdim=True) - 1).clamp(min=0)
        between = entered.gather(-1, last) - full.gather(-1, last)
        slope = torch.where(between > 0, k - full.gather(-1, last) + positive * between, 1)
        beta = torch.where(between > 0, sums.gather(-1, last) / slope, ends.gather(-1, last))
        shrunk = torch.where(u <= positive * beta, 0, x - x.sign() * positive * beta)
        p = torch.where(u >= (1 + positive) * beta, x / (1 + positive), shrunk)
        return torch.where(scale > 0, p, x)

    __rmul__ = scaled
