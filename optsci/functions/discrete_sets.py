r"""Indicators of sets of isolated values or of few supports: the projection is a choice, and not unique at ties.

.. math:: P_C(x)_i \in \operatorname*{argmin}_{c \in \text{levels}} |c - x_i|

Sources: A. Kyrillidis, S. Becker, V. Cevher and C. Koch, Sparse projections onto the simplex, ICML 2013 (arXiv
1206.1529) for the sparse simplex; the others are rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

from optsci._tensor import (
    as_coefficient,
    as_finite,
    as_scalar,
    as_tensor,
    euclidean_norm,
    require_entries,
    require_finite,
    require_fit,
    require_positive,
    require_step,
)
from optsci.functions.calculus import scaled
from optsci.functions.indicators import _indicator, _largest, _within


@dataclass(frozen=True, eq=False)
class Binary:
    r"""Indicator of the tensors whose every entry is one of two numbers, ``lower`` or ``upper``.

    .. math:: \operatorname{prox}(x)_i = \begin{cases} \text{lower} & x_i \le (\text{lower} + \text{upper}) / 2 \\
              \text{upper} & \text{else} \end{cases}

    **Not convex.** Half-way between both, the prox returns ``lower``. Its derivative is 0.

    Args:
        lower: a number, or a tensor that broadcasts to ``x``.
        upper: likewise, larger than ``lower``.

    Raises:
        ValueError: ``lower`` is not smaller than ``upper`` everywhere, a bound is not finite, does not broadcast
            to ``x``, or would change its dtype.

    Reference: S. Diamond, R. Takapoui and S. Boyd, A general system for heuristic minimization of convex
    functions over non-convex sets, Optim. Methods Softw. 33 (2018) 165.

    >>> Binary(-1, 1).prox(torch.tensor([-3.0, 0.0, 0.2]), 1.0)
    tensor([-1., -1.,  1.])
    """

    lower: float | Tensor = 0.0
    upper: float | Tensor = 1.0

    def __post_init__(self) -> None:
        lower, upper = as_coefficient(self.lower, "lower"), as_coefficient(self.upper, "upper")
        if isinstance(lower, Tensor) and isinstance(upper, Tensor):
            as_tensor(upper, "upper", like=lower)
        for name, bound in (("lower", lower), ("upper", upper)):
            require_finite(bound, name)
            object.__setattr__(self, name, bound)
        low, high = (torch.as_tensor(bound).detach().double().cpu() for bound in (lower, upper))
        low, high = torch.broadcast_tensors(low, high)
        wrong = ~(low < high)
        if wrong.any():
            raise ValueError(
                f"lower must be smaller than upper, got lower = {low[wrong][0].item()} and "
                f"upper = {high[wrong][0].item()}"
            )

    def __call__(self, x: Tensor) -> Tensor:
        self._require_fit(x)
        return _indicator(((x == self.lower) | (x == self.upper)).all(), x)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        self._require_fit(x)
        below = x - self.lower <= self.upper - x
        return _keep_nan(torch.where(below, self.lower, self.upper), x)

    def lmo(self, d: Tensor) -> Tensor:
        """The point of the set that minimises ``<d, z>``; ``upper`` where d is 0."""
        self._require_fit(d)
        return _keep_nan(torch.where(d > 0, self.lower, self.upper), d)

    def _require_fit(self, x: Tensor) -> None:
        require_fit(self.lower, x, "lower")
        require_fit(self.upper, x, "upper")

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class Codebook:
    r"""Indicator of the tensors whose every entry is one of the ``levels``.

    .. math:: \operatorname{prox}(x)_i = \operatorname*{argmin}_{c \in \text{levels}} |c - x_i|

    **Not convex.** Half-way between two levels, the prox returns the lower one. Its derivative is 0. Quantised
    weights are such tensors; the lattice of multiples of a number, cut to a range, is such a codebook.

    Args:
        levels: (k,) at least one number; sorted here.

    Raises:
        ValueError: ``levels`` is not a vector, is empty, or not finite; or would change the dtype of ``x``.

    Reference: Y. Bai, Y.-X. Wang and E. Liberty, ProxQuant: Quantized Neural Networks via Proximal Operators,
    ICLR 2019 (arXiv 1810.00861).

    >>> Codebook([-1.0, 0.0, 2.0]).prox(torch.tensor([-5.0, -0.5, 0.4, 1.0, 1.1]), 1.0)
    tensor([-1., -1.,  0.,  0.,  2.])
    """

    levels: Tensor

    def __post_init__(self) -> None:
        levels = as_finite(self.levels, "levels")
        if levels.dim() != 1 or not len(levels):
            raise ValueError(f"levels must be a vector of at least one number, got shape {tuple(levels.shape)}")
        object.__setattr__(self, "levels", levels.sort().values)

    def __call__(self, x: Tensor) -> Tensor:
        return _indicator((x == self._nearest(x)).all(), x)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        return _keep_nan(self._nearest(x), x)

    def lmo(self, d: Tensor) -> Tensor:
        """The point of the set that minimises ``<d, z>``; the highest level where d is 0."""
        require_fit(self.levels[:1], d, "levels")
        return _keep_nan(torch.where(d > 0, self.levels[0], self.levels[-1]), d)

    def codes(self, x: Tensor) -> Tensor:
        """Index of the nearest level for every entry, among the sorted levels; a tensor of integers."""
        if x.dim():
            require_fit(self.levels[:1], x, "levels")
        middles = self.levels[:-1] + (self.levels[1:] - self.levels[:-1]) / 2
        return torch.bucketize(x.detach(), middles.detach())

    def _nearest(self, x: Tensor) -> Tensor:
        return self.levels[self.codes(x)]

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class SparseSimplex:
    r"""Indicator of the vectors ``x >= 0, sum x = total`` with at most ``keep`` nonzeros.

    .. math:: \operatorname{prox}(x) = P_\Delta(x_S), \qquad S = \text{the \emph{keep} largest entries of } x

    **Not convex.** The prox is exact: the projection on the simplex of the largest entries. Where entries tie,
    those of lower index are kept. Vectors run along the last dimension, the leading ones are a batch; sums are
    compared with a tolerance of rounding.

    Args:
        keep: how many entries may be nonzero, at least 1.
        total: the sum, positive; a float or a 0-d tensor.

    Raises:
        ValueError: ``keep`` is not a whole number, or smaller than 1; ``total`` is not positive; or ``x`` has no
            entries along its last dimension.

    Reference: A. Kyrillidis, S. Becker, V. Cevher and C. Koch, Sparse projections onto the simplex, ICML 2013
    (arXiv 1206.1529).

    >>> SparseSimplex(2).prox(torch.tensor([0.5, 0.25, 1.0, 0.0]), 1.0)
    tensor([0.2500, 0.0000, 0.7500, 0.0000])
    """

    keep: int
    total: float | Tensor = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.keep, Integral) or self.keep < 1:
            raise ValueError(f"keep must be a whole number, at least 1, got {self.keep!r}")
        total = as_scalar(self.total, "total")
        require_positive(total, "total")
        object.__setattr__(self, "total", total)

    def __call__(self, x: Tensor) -> Tensor:
        require_entries(x)
        few = x.count_nonzero(-1) <= self.keep
        size = euclidean_norm(x, dim=-1)
        off = torch.maximum((-x).amax(-1), (x.sum(-1) - self.total).abs() / min(self.keep, x.shape[-1]) ** 0.5)
        return _indicator(few.all(), x) + _within(off, x, size, x.shape[-1])

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        require_entries(x)
        kept = _largest(x, self.keep)
        # Entries are compared with the largest, so that rounding is relative to what stays.
        x = x - x.detach().amax(-1, keepdim=True)
        largest = x.topk(min(self.keep, x.shape[-1]), dim=-1).values
        counts = torch.arange(1, largest.shape[-1] + 1, dtype=x.dtype, device=x.device)
        levels = (largest.cumsum(-1) - self.total) / counts
        positive = (largest > levels).sum(-1, keepdim=True).clamp(min=1)
        level = levels.gather(-1, positive - 1)
        # The difference of 0 keeps NaN.
        return torch.where(kept, (x - level).clamp(min=0), level - level)

    def lmo(self, d: Tensor) -> Tensor:
        """The corner that minimises ``<d, z>``: all weight on the smallest entry of ``d``."""
        require_entries(d)
        return torch.where(_largest(-d, 1), self.total, 0 * d)

    __rmul__ = scaled


def _keep_nan(values: Tensor, x: Tensor) -> Tensor:
    """A comparison hides NaN; and this way the derivative in ``x`` is 0, instead of none."""
    return torch.where(x.isnan(), x, values)
