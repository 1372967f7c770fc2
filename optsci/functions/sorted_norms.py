r"""Norms of sorted vectors: SLOPE, the square of the l1 norm, and the sum of the largest entries.

.. math:: g(x) = \sum_i w_i |x|_{(i)}, \qquad |x|_{(1)} \ge |x|_{(2)} \ge \dots

Vectors run along the last dimension; leading dimensions are a batch whose values are added.

Reference: M. Bogdan et al., SLOPE - Adaptive Variable Selection via Convex Optimization, Ann. Appl. Stat. 9 (2015).
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from optsci._tensor import as_tensor, nonnegative_scalar, require_fit, require_nonnegative, require_step
from optsci.functions.calculus import scaled
from optsci.functions.indicators import Box, _indicator
from optsci.functions.isotonic import decreasing_order, isotonic_regression
from optsci.functions.k_support import SquaredLargestL2


@dataclass(frozen=True, eq=False)
class SLOPE:
    r"""``sum_i weights_i |x|_(i)``, the sorted l1 norm (OWL): larger magnitudes pay larger weights.

    .. math:: \operatorname{prox}_{s g}(x)_\sigma = \operatorname{sgn}(x_\sigma) \Bigl( \operatorname*{argmin}_{
        z_1 \ge \dots \ge z_n} \|z - (|x|_\sigma - s w)\| \Bigr)_+, \qquad
        \sigma \text{ sorts } |x| \text{ decreasingly}

    Args:
        weights: ``w``, (n,), at least 0 and nonincreasing.

    Raises:
        ValueError: ``weights`` is no vector, or not like that; ``x`` does not have its length; or ``step``
            varies within a vector.

    Reference: M. Bogdan et al., Ann. Appl. Stat. 9 (2015).

    >>> g = SLOPE([2.0, 1.0])
    >>> g(torch.tensor([1.0, -3.0])), g.prox(torch.tensor([1.0, -3.0]), 0.5)
    (tensor(7.), tensor([ 0.5000, -2.0000]))
    """

    weights: Tensor

    def __post_init__(self) -> None:
        weights = as_tensor(self.weights, "weights")
        require_nonnegative(weights, "weights")
        if weights.dim() != 1:
            raise ValueError(f"weights must be a vector, got shape {tuple(weights.shape)}")
        rises = (weights[1:] > weights[:-1]).nonzero()
        if len(rises):
            k = int(rises[0])
            raise ValueError(f"weights must not increase, got {weights[k].item()} before {weights[k + 1].item()}")
        object.__setattr__(self, "weights", weights)

    def __call__(self, x: Tensor) -> Tensor:
        self._require_length(x)
        return (self.weights * x.abs().sort(dim=-1, descending=True).values).sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Isotonic regression of the sorted magnitudes; ``step`` may differ from vector to vector."""
        self._require_length(x)
        require_step(step, x[..., :1])
        magnitudes, weights = x.abs(), step * self.weights
        order = _leading_order(magnitudes, weights)
        z = -isotonic_regression(weights - magnitudes.gather(-1, order))
        return x.sign() * torch.zeros_like(x).scatter(-1, order, z.clamp(min=0))

    @property
    def conjugate(self) -> SLOPEBall:
        """Indicator of the ball of the dual norm, for the same weights."""
        return SLOPEBall(self.weights)

    def _require_length(self, x: Tensor) -> None:
        require_fit(self.weights, x, "weights")
        if x.shape[-1] != len(self.weights):
            raise ValueError(f"x must have {len(self.weights)} entries along its last dimension, got {tuple(x.shape)}")

    __rmul__ = scaled


OWL = SLOPE


@dataclass(frozen=True, eq=False)
class SLOPEBall:
    r"""Indicator of ``|x|_(1) + ... + |x|_(j) <= weights_1 + ... + weights_j`` for all j, the ball dual to SLOPE.

    .. math:: \operatorname{prox}(x) = x - \operatorname{prox}_{g}(x), \qquad g(x) = \textstyle\sum_i w_i |x|_{(i)}

    It is the convex hull of the signed permutations of the weights. The sums may be off by rounding,
    ``64 eps sum(weights) sqrt(n)``.

    Args:
        weights: ``w``, (n,), at least 0 and nonincreasing.

    Raises:
        ValueError: ``weights`` is no vector, or not like that; or ``x`` does not have its length.

    Reference: M. Bogdan et al., Ann. Appl. Stat. 9 (2015).

    >>> SLOPEBall([2.0, 1.0]).prox(torch.tensor([1.0, -3.0]), 1.0), SLOPEBall([2.0, 1.0]).lmo(torch.tensor([1.0, -3.0]))
    (tensor([ 1., -2.]), tensor([-1.,  2.]))
    """

    weights: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", SLOPE(self.weights).weights)

    def __call__(self, x: Tensor) -> Tensor:
        SLOPE(self.weights)._require_length(x)
        excess = (x.abs().sort(dim=-1, descending=True).values - self.weights).cumsum(-1)
        slack = 64 * torch.finfo(x.dtype).eps * self.weights.sum() * len(self.weights) ** 0.5
        return _indicator((excess <= slack).all(), x)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        SLOPE(self.weights)._require_length(x)
        order = decreasing_order(x.abs())
        u = x.abs().gather(-1, order).double()  # what is left of u is small, where u may be large
        kept = torch.minimum(u, u + isotonic_regression(self.weights - u))
        return x.sign() * torch.zeros_like(x).scatter(-1, order, kept.to(x.dtype))

    def lmo(self, d: Tensor) -> Tensor:
        """The weights, the largest for the largest magnitude of ``d`` and so on, with the signs of ``-d``."""
        SLOPE(self.weights)._require_length(d)
        order = d.abs().argsort(dim=-1, descending=True, stable=True)
        return -d.sign() * torch.zeros_like(d).scatter(-1, order, self.weights.expand_as(d))

    @property
    def conjugate(self) -> SLOPE:
        """The sorted l1 norm of the same weights."""
        return SLOPE(self.weights)

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class SquaredL1:
    r"""``weight/2 * ||x||_1^2``, the exclusive lasso of one group: sparse within the vector, never all 0.

    .. math:: \operatorname{prox}_{s g}(x)_i = \operatorname{sgn}(x_i) \, (|x_i| - \tau)_+, \qquad
        \tau = s w \sum_i (|x_i| - \tau)_+

    Args:
        weight: ``w``, at least 0; a float or a 0-d tensor.

    Raises:
        ValueError: ``weight`` is negative, not finite, or not a single number; or ``step`` varies within a
            vector.

    Reference: A. Beck, First-Order Methods in Optimization, SIAM 2017, section 6.8.

    >>> g = SquaredL1(1.0)
    >>> g(torch.tensor([3.0, -1.0])), g.prox(torch.tensor([3.0, -1.0]), 1.0)
    (tensor(8.), tensor([1.5000, 0.0000]))
    """

    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", nonnegative_scalar(self.weight, "weight"))

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight / 2 * x.abs().sum(-1).square().sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Soft threshold at a level of its own; ``step`` may differ from vector to vector."""
        require_step(step, x[..., :1])
        scale = step * self.weight
        u = x.abs().sort(dim=-1, descending=True).values
        count = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=x.device)
        levels = scale * u.cumsum(-1) / (1 + scale * count)
        active = (u > levels).sum(-1, keepdim=True).clamp(min=1)
        tau = levels.gather(-1, active - 1)
        return torch.where(x.abs() <= tau, 0, x - x.sign() * tau)

    @property
    def conjugate(self) -> SquaredLargestL2 | Box:
        """``max_i |u_i|^2 / (2 weight)``; the indicator of 0 where the weight is 0."""
        return SquaredLargestL2(1 / self.weight, 1) if self.weight > 0 else Box(0, 0)

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class SumLargest:
    r"""``weight`` times the sum of the ``k`` largest entries; the largest for ``k = 1``, all for ``k = n``.

    .. math:: \operatorname{prox}_{s g}(x) = x - u, \qquad u_i = \min((x_i - \nu)_+, s w), \qquad
        \sum_i u_i = s w k

    Args:
        weight: ``w``, at least 0; a float or a 0-d tensor.
        k: how many entries count, at least 1; beyond their number all do.

    Raises:
        ValueError: ``weight`` is negative, not finite, or not a single number; ``k`` is not such a number; or
            ``step`` varies within a vector.

    >>> g = SumLargest(1.0, 2)
    >>> g(torch.tensor([4.0, 2.0, 1.5])), g.prox(torch.tensor([4.0, 2.0, 1.5]), 1.0)
    (tensor(6.), tensor([3.0000, 1.2500, 1.2500]))
    """

    weight: float | Tensor
    k: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", nonnegative_scalar(self.weight, "weight"))
        if not isinstance(self.k, Integral) or self.k < 1:
            raise ValueError(f"k must be a whole number, at least 1, got {self.k!r}")

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight * x.topk(min(self.k, x.shape[-1]), dim=-1).values.sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """``x`` less its projection on a section of a box; ``step`` may differ from vector to vector."""
        require_step(step, x[..., :1])
        cap = step * self.weight
        # As nu falls, the sum of the u_i grows with slope 1 more at every x_i, 1 less at every x_i - cap.
        ends, order = torch.cat([x, x - cap], -1).sort(dim=-1, descending=True, stable=True)
        slopes = torch.where(order < x.shape[-1], 1, -1).cumsum(-1)
        growth = slopes[..., :-1] * (ends[..., :-1] - ends[..., 1:])
        sums = torch.cat([torch.zeros_like(growth[..., :1]), growth.cumsum(-1)], -1)
        wanted = cap * min(self.k, x.shape[-1])
        last = ((sums <= wanted).sum(-1, keepdim=True) - 1).clamp(min=0)
        slope = slopes.gather(-1, last).clamp(min=1)
        nu = ends.gather(-1, last) - (wanted - sums.gather(-1, last)) / slope
        return torch.where(x <= nu, x, torch.where(x - cap > nu, x - cap, nu))

    __rmul__ = scaled


def _leading_order(u: Tensor, weights: Tensor) -> Tensor:
    """Indices that sort decreasingly those entries which SLOPE may leave nonzero; the others follow as they are.

    Let c_j be the sum of the j largest entries less their weights. Past a maximum of c every pool has a mean of at
    most 0, in decreasing order and so in any: there the prox is 0, and those entries need no order. To sort values
    takes a quarter of the time that it takes to sort indices, and most entries are 0 at a useful weight.
    """
    if u.device.type != "cpu" or u.shape[-1] < _SHORT:
        return decreasing_order(u)
    order: Tensor = _LeadingOrder.apply(u, weights.expand(u.shape))
    return order


_SHORT = 4096  # below it the sort of the indices costs less than the detour


class _LeadingOrder(torch.autograd.Function):
    """Indices without a derivative."""

    @staticmethod
    def forward(u: Tensor, weights: Tensor) -> Tensor:
        n = u.shape[-1]
        rows = u.detach().reshape(-1, n).numpy()
        out = np.empty(rows.shape, np.int64)
        for row, w, order in zip(rows, weights.detach().reshape(-1, n).numpy(), out, strict=True):
            values = np.sort(row)
            sums = np.cumsum(values[::-1] - w, dtype=np.float64)
            # A cut too late does no harm, one too early would: allow for the rounding of the sums.
            top = sums.max()
            margin = n * np.finfo(np.float64).eps * max(top, -sums.min())
            reached = sums[::-1] >= max(top, 0.0) - margin  # from the end
            last = int(reached.argmax())
            least = values[last] if reached[last] else np.inf
            leading = row >= least
            head = np.flatnonzero(leading)
            order[: len(head)] = head[np.argsort(-row[head])]
            order[len(head) :] = np.flatnonzero(~leading)
        return torch.from_numpy(out).view(u.shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None]:
        return None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, int | None], u: Tensor, weights: Tensor) -> tuple[Tensor, int]:
        u, weights = (
            v.expand(info.batch_size, *v.shape) if dim is None else v.movedim(dim, 0)
            for v, dim in zip((u, weights), in_dims, strict=True)
        )
        return _leading_order(u, weights), 0
