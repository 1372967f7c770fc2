r"""Indicator functions of sets: 0 inside, infinite outside; the prox is a projection, whatever the step.

.. math:: \operatorname{prox}_{s \iota_C}(x) = P_C(x) = \operatorname*{argmin}_{z \in C} \|z - x\|

Reference: A. Beck, First-Order Methods in Optimization, SIAM 2017, chapter 6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from numbers import Integral

import numpy as np
import torch
from torch import Tensor

from optsci._tensor import as_coefficient, as_tensor, require_fit, require_floating, require_step
from optsci.functions.calculus import added, scaled


@dataclass(frozen=True, eq=False)
class Box:
    r"""Indicator of the box ``lower <= x <= upper``.

    .. math:: \operatorname{prox}(x) = \min(\max(x, \text{lower}), \text{upper})

    Args:
        lower: a number, or a tensor that broadcasts to ``x``; may be ``-inf``.
        upper: likewise; may be ``inf``.

    Raises:
        ValueError: ``lower`` exceeds ``upper`` somewhere, a bound is NaN, or leaves no finite number; or a
            bound does not broadcast to ``x``, or would change its dtype.

    >>> Box(-1, 2).prox(torch.tensor([-3.0, 0.5, 3.0]), 1.0)
    tensor([-1.0000,  0.5000,  2.0000])
    >>> Box(0, 1)(torch.tensor([0.5, 2.0]))
    tensor(inf)
    """

    lower: float | Tensor
    upper: float | Tensor

    def __post_init__(self) -> None:
        lower, upper = as_coefficient(self.lower, "lower"), as_coefficient(self.upper, "upper")
        if isinstance(lower, Tensor) and isinstance(upper, Tensor):
            as_tensor(upper, "upper", like=lower)
        low, high = (torch.as_tensor(bound, dtype=torch.float64) for bound in (lower, upper))
        low, high = torch.broadcast_tensors(low.detach().cpu(), high.detach().cpu())
        empty = ~((low <= high) & (low < torch.inf) & (high > -torch.inf))
        if empty.any():
            raise ValueError(
                f"lower must be at most upper, and some finite number lie between, "
                f"got lower = {low[empty][0].item()} and upper = {high[empty][0].item()}"
            )
        object.__setattr__(self, "lower", lower)
        object.__setattr__(self, "upper", upper)

    def __call__(self, x: Tensor) -> Tensor:
        self._require_fit(x)
        return _indicator(((x >= self.lower) & (x <= self.upper)).all(), x)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        self._require_fit(x)
        return x.clamp(min=self.lower).clamp(max=self.upper)

    @property
    def conjugate(self) -> BoxSupport:
        """The support function of the box."""
        return BoxSupport(self.lower, self.upper)

    @property
    def lmo(self) -> Callable[[Tensor], Tensor]:
        """``lmo(d)``: the corner that minimises ``<d, z>``, upper where d is 0; of boxes with finite bounds."""
        for name in ("lower", "upper"):
            if not torch.as_tensor(getattr(self, name)).isfinite().all():
                raise AttributeError(f"{self} has no lmo: {name} is not finite, and the minimum need not exist")
        return self._corner

    def _corner(self, d: Tensor) -> Tensor:
        self._require_fit(d)
        # The product keeps NaN and the graph; it is 0 otherwise.
        return torch.where(d > 0, self.lower, self.upper) + 0 * d

    def _require_fit(self, x: Tensor) -> None:
        require_fit(self.lower, x, "lower")
        require_fit(self.upper, x, "upper")

    __add__ = added
    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class BoxSupport:
    r"""``sum_i max(lower_i x_i, upper_i x_i)``, the support function of the box ``lower <= z <= upper``.

    .. math:: \operatorname{prox}_{s g}(x) = x - \min(\max(x, s \, \text{lower}), s \, \text{upper})

    Different prices for both signs: the magnitude for bounds -1 and 1, the pinball loss for q - 1 and q, the
    positive part for 0 and 1. An infinite bound forbids a sign.

    Args:
        lower: a number, or a tensor that broadcasts to ``x``; may be ``-inf``.
        upper: likewise, at least ``lower``; may be ``inf``.

    Raises:
        ValueError: as for `Box`.

    >>> g = BoxSupport(-1.0, 2.0)
    >>> g(torch.tensor([3.0, -4.0])), g.prox(torch.tensor([3.0, -4.0]), 0.5)
    (tensor(10.), tensor([ 2.0000, -3.5000]))
    """

    lower: float | Tensor
    upper: float | Tensor

    def __post_init__(self) -> None:
        box = Box(self.lower, self.upper)
        object.__setattr__(self, "lower", box.lower)
        object.__setattr__(self, "upper", box.upper)

    def __call__(self, x: Tensor) -> Tensor:
        require_fit(self.lower, x, "lower")
        require_fit(self.upper, x, "upper")
        # An infinite bound times 0 is 0 here.
        rising = torch.where(x > 0, self.upper * x, 0 * x)
        return torch.where(x < 0, self.lower * x, rising).sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """``x - clip(x, step * lower, step * upper)``; ``step`` may differ from entry to entry."""
        require_fit(self.lower, x, "lower")
        require_fit(self.upper, x, "upper")
        require_step(step, x)
        return x - x.clamp(min=_times(step, self.lower)).clamp(max=_times(step, self.upper))

    @property
    def conjugate(self) -> Box:
        """Indicator of the box."""
        return Box(self.lower, self.upper)

    __rmul__ = scaled


@dataclass(frozen=True)
class Nonnegative:
    r"""Indicator of the tensors without negative entries.

    .. math:: \operatorname{prox}(x) = \max(x, 0)

    >>> Nonnegative().prox(torch.tensor([-3.0, 0.5]), 1.0)
    tensor([0.0000, 0.5000])
    """

    def __call__(self, x: Tensor) -> Tensor:
        return _indicator((x >= 0).all(), x)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        return x.clamp(min=0)

    @property
    def conjugate(self) -> Box:
        """Indicator of the tensors without positive entries."""
        return Box(-torch.inf, 0)

    __add__ = added
    __rmul__ = scaled


@dataclass(frozen=True)
class Sparsity:
    r"""Indicator of the tensors with at most ``keep`` nonzeros: in all, or in every row.

    .. math:: \operatorname{prox}(x) = x \cdot \text{mask}(|x|)

    **Not convex.** The prox keeps the entries of largest magnitude (hard thresholding); where magnitudes tie,
    several points are nearest, and it returns the one that keeps the lower indices.

    Args:
        keep: how many entries may be nonzero; a count beyond their number allows everything.
        by_row: count in every row, that is along the last dimension, instead of in the whole tensor.

    Raises:
        ValueError: ``keep`` is not a whole number, or negative.

    >>> Sparsity(2).prox(torch.tensor([3.0, -1.0, 1.0]), 1.0)
    tensor([ 3., -1.,  0.])
    >>> Sparsity(1, by_row=True).mask(torch.tensor([[1.0, 2.0], [4.0, 3.0]])).tolist()
    [[False, True], [True, False]]
    """

    keep: int
    by_row: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.keep, Integral) or self.keep < 0:
            raise ValueError(f"keep must be a whole number, at least 0, got {self.keep!r}")

    def __call__(self, x: Tensor) -> Tensor:
        rows = x if self.by_row and x.dim() else x.flatten()
        return _indicator((rows.count_nonzero(-1) <= self.keep).all(), x)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        return torch.where(self.mask(x.abs()), x, 0)

    def mask(self, scores: Tensor) -> Tensor:
        """Boolean mask of exactly ``keep`` scores, the largest; ties go to the lower index."""
        rows = scores if self.by_row and scores.dim() else scores.flatten()
        return _largest(rows, self.keep).view_as(scores)

    __rmul__ = scaled


@dataclass(frozen=True)
class NM:
    r"""Indicator of the N:M pattern: at most ``n`` nonzeros in every ``m`` consecutive entries of a row.

    .. math:: \operatorname{prox}(x) = x \cdot \text{mask}(|x|)

    Rows run along the last dimension. ``n`` counts what is kept: NM(2, 4) is the 2:4 pattern of sparse tensor
    cores. **Not convex.** The prox keeps the ``n`` entries of largest magnitude in every group; where
    magnitudes tie, those of lower index.

    Args:
        n: entries kept in every group, from 0 to ``m``.
        m: length of a group, at least 1; it must divide the last dimension.

    Raises:
        ValueError: ``n`` or ``m`` is not such a number, or ``m`` does not divide the last dimension.

    Reference: A. Mishra et al., Accelerating Sparse Deep Neural Networks, arXiv 2104.08378.

    >>> NM(2, 4).prox(torch.tensor([4.0, 1.0, -2.0, 3.0]), 1.0)
    tensor([4., 0., 0., 3.])
    >>> NM(2, 4).mask(torch.ones(6))
    Traceback (most recent call last):
    ValueError: the pattern 2:4 needs a last dimension divisible by 4, got shape (6,)
    """

    n: int
    m: int

    def __post_init__(self) -> None:
        for name, value in (("n", self.n), ("m", self.m)):
            if not isinstance(value, Integral):
                raise ValueError(f"{name} must be a whole number, got {value!r}")
        if not (0 <= self.n <= self.m and self.m >= 1):
            raise ValueError(f"n must lie between 0 and m, and m be at least 1, got n = {self.n} and m = {self.m}")

    def __call__(self, x: Tensor) -> Tensor:
        return _indicator((self._groups(x).count_nonzero(-1) <= self.n).all(), x)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        return torch.where(self.mask(x.abs()), x, 0)

    def mask(self, scores: Tensor) -> Tensor:
        """Boolean mask of exactly ``n`` scores of every group, the largest; ties go to the lower index."""
        return _largest(self._groups(scores), self.n).view_as(scores)

    def _groups(self, x: Tensor) -> Tensor:
        if x.dim() == 0 or x.shape[-1] % self.m:
            raise ValueError(
                f"the pattern {self} needs a last dimension divisible by {self.m}, got shape {tuple(x.shape)}"
            )
        return x.unflatten(-1, (x.shape[-1] // self.m, self.m))

    def __str__(self) -> str:
        return f"{self.n}:{self.m}"

    __rmul__ = scaled


def _indicator(inside: Tensor, x: Tensor) -> Tensor:
    require_floating(x)
    return x.new_zeros(()).masked_fill(~inside, torch.inf)


def _times(step: float | Tensor, bound: float | Tensor) -> float | Tensor:
    """``step * bound``; an infinite bound stays, lest the gradient in the step be infinity times 0."""
    if not isinstance(bound, Tensor):
        return step * bound if isfinite(bound) else bound
    finite = bound.isfinite()
    return torch.where(finite, step * bound.masked_fill(~finite, 0), bound)


def _within(violation: Tensor, x: Tensor, scale: Tensor | float, count: int) -> Tensor:
    """Indicator of ``violation <= 64 eps sqrt(count) max(1, scale)``: rounding never puts a point on a boundary.

    Args:
        violation: distances from constraints, in the units of ``x``; at most 0 where one holds.
        x: the point; its dtype tells the rounding error.
        scale: the size of the entries of ``x``, broadcasting with ``violation``.
        count: how many entries of ``x`` a constraint adds up.
    """
    slack = 64 * torch.finfo(x.dtype).eps * max(count, 1) ** 0.5
    return _indicator((violation <= slack * torch.as_tensor(scale).clamp(min=1)).all(), x)


def _largest(scores: Tensor, count: int) -> Tensor:
    """Mask of the ``count`` largest scores along the last dimension; ties go to the lower index.

    NaN counts as the largest score, and is kept, whatever the count: a prox must not hide it.
    """
    if count == 0:
        return scores.isnan()
    if count >= scores.shape[-1]:
        return torch.ones_like(scores, dtype=torch.bool)
    # A threshold and a count of the ties takes half the time of a stable sort, a quarter on one long row.
    threshold = _smallest_kept(scores, count)
    above = ~(scores <= threshold)
    tied = scores == threshold
    room = count - above.sum(-1, keepdim=True)
    return above | (tied & (tied.cumsum(-1, dtype=torch.int32) <= room))


def _smallest_kept(scores: Tensor, count: int) -> Tensor:
    """The ``count``-th largest score along the last dimension, NaN above all numbers; the dimension stays.

    NumPy's partition is vectorised: on a processor it takes a tenth of the time of ``topk``.
    """
    if scores.device.type == "cpu" and scores.dtype in (torch.float32, torch.float64):
        try:
            values = scores.detach().numpy()
        except RuntimeError:  # a transform of torch.func, whose tensors have no memory of their own
            pass
        else:
            position = scores.shape[-1] - count
            kept = np.partition(values, position, axis=-1)[..., position : position + 1]
            return torch.from_numpy(np.ascontiguousarray(kept))
    return scores.topk(count, dim=-1, sorted=False).values.amin(-1, keepdim=True)
