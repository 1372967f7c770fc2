r"""Folded concave penalties: an l1 norm near 0, ever flatter beyond, so that large entries are less biased.

.. math:: \operatorname{prox}_{s g}(v) = \operatorname*{argmin}_t \; g(t) + \tfrac{1}{2 s} (t - v)^2

**None of them is convex**: the prox is a global minimiser of its scalar problem for every step, but an algorithm that
runs on it finds a stationary point. Where two minimisers tie, the one of smaller magnitude is returned.

The prox is the best of the minimisers on the pieces, or of 0 and a stationary point. Every class names its source.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from optsci._tensor import positive_scalar, require_step
from optsci.functions.calculus import scaled


@dataclass(frozen=True, eq=False)
class MCP:
    r"""``sum_i`` of ``weight |x_i| - x_i^2/(2 gamma)``, constant from ``gamma weight`` on; **not convex**.

    .. math:: \operatorname{prox}_{s g}(v) = \frac{\operatorname{sgn}(v) (|v| - s w)_+}{1 - s/\gamma} \text{ for }
              |v| \le \gamma w, \text{ else } v \qquad (s < \gamma)

    For steps of gamma and more it is a hard threshold at :math:`w \sqrt{s \gamma}`.

    Args:
        weight: ``w``, positive; a float or a 0-d tensor.
        gamma: how slowly the penalty flattens, positive.

    Raises:
        ValueError: ``weight`` or ``gamma`` is not positive.

    Reference: C.-H. Zhang, Ann. Statist. 38 (2010) 894.

    >>> MCP()(torch.tensor([5.0, 0.0])), MCP().prox(torch.tensor([5.0, 2.0, 0.5]), 1.0)
    (tensor(1.5000), tensor([5.0000, 1.5000, 0.0000]))
    """

    weight: float | Tensor = 1.0
    gamma: float | Tensor = 3.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", positive_scalar(self.weight, "weight"))
        object.__setattr__(self, "gamma", positive_scalar(self.gamma, "gamma"))

    def __call__(self, x: Tensor) -> Tensor:
        return self._penalty(x.abs()).sum()

    def _penalty(self, r: Tensor) -> Tensor:
        inner = r.clamp(max=self.gamma * self.weight)
        return self.weight * inner - inner.square() / (2 * self.gamma)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """The better of the minimisers on the curved and on the flat part."""
        require_step(step, x)
        r, end = x.abs(), self.gamma * self.weight
        curvature = 1 - step / self.gamma * torch.ones_like(x)
        convex = curvature > 0
        inner = (r - step * self.weight).clamp(min=0) / torch.where(convex, curvature, 1.0)
        return _best(x, step, self._penalty, torch.where(convex, inner.clamp(max=end), 0 * r), r.clamp(min=end))

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class SCAD:
    r"""``sum_i`` of the smoothly clipped absolute deviation of ``x_i``; **not convex**.

    .. math:: g(t) = \begin{cases} w |t| & |t| \le w \\ (2 a w |t| - t^2 - w^2) / (2 (a - 1)) & |t| \le a w \\
              w^2 (a + 1) / 2 & \text{else} \end{cases}

    The prox is the best of the minimisers on the three parts: a soft threshold, a steeper line, the identity.

    Args:
        weight: ``w``, positive; a float or a 0-d tensor.
        a: where the penalty is constant, in weights; greater than 2.

    Raises:
        ValueError: ``weight`` is not positive, or ``a`` not greater than 2.

    Reference: J. Fan and R. Li, J. Amer. Statist. Assoc. 96 (2001) 1348.

    >>> SCAD()(torch.tensor([5.0, 1.0])), SCAD().prox(torch.tensor([5.0, 1.5, 0.5]), 1.0)
    (tensor(3.3500), tensor([5.0000, 0.5000, 0.0000]))
    """

    weight: float | Tensor = 1.0
    a: float = 3.7

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", positive_scalar(self.weight, "weight"))
        if not 2 < self.a < math.inf:
            raise ValueError(f"a must be finite and greater than 2, got {self.a!r}")

    def __call__(self, x: Tensor) -> Tensor:
        return self._penalty(x.abs()).sum()

    def _penalty(self, r: Tensor) -> Tensor:
        w, a = self.weight, self.a
        curved = (2 * a * w * r - r.square() - w * w) / (2 * (a - 1))
        flat = w * w * (a + 1) / 2 + 0 * r
        return torch.where(r <= w, w * r, torch.where(r <= a * w, curved, flat))

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """The best of the minimisers on the three parts."""
        require_step(step, x)
        r, w, a = x.abs(), self.weight, self.a
        linear = (r - step * w).clamp(min=0).clamp(max=w)
        slope = (a - 1 - step) * torch.ones_like(x)
        convex = slope > 0
        curved = ((a - 1) * r - a * w * step) / torch.where(convex, slope, 1.0)
        curved = torch.where(convex, curved.clamp(min=w).clamp(max=a * w), linear)
        return _best(x, step, self._penalty, linear, curved, r.clamp(min=a * w))

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class LogSum:
    r"""``weight * sum_i log(1 + |x_i| / epsilon)``; **not convex**.

    .. math:: r = \tfrac12 \bigl(|v| - \epsilon + \sqrt{(|v| + \epsilon)^2 - 4 l}\bigr), \qquad l = s w

    is the prox with the sign of v where the root is real, r positive and better than 0; else the prox is 0.

    Args:
        weight: ``w``, positive; a float or a 0-d tensor.
        epsilon: scale below which it is nearly an l1 norm, positive.

    Raises:
        ValueError: ``weight`` or ``epsilon`` is not positive.

    Reference: E. Candès, M. Wakin and S. Boyd, J. Fourier Anal. Appl. 14 (2008) 877.

    >>> LogSum()(torch.tensor([0.0])), LogSum().prox(torch.tensor([3.0, 0.5]), 1.0)
    (tensor(0.), tensor([2.7321, 0.0000]))
    """

    weight: float | Tensor = 1.0
    epsilon: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", positive_scalar(self.weight, "weight"))
        object.__setattr__(self, "epsilon", positive_scalar(self.epsilon, "epsilon"))

    def __call__(self, x: Tensor) -> Tensor:
        return self._penalty(x.abs()).sum()

    def _penalty(self, r: Tensor) -> Tensor:
        return self.weight * (r / self.epsilon).log1p()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """The better of 0 and the larger stationary point."""
        require_step(step, x)
        r = x.abs()
        width = 2 * (step * self.weight * torch.ones_like(x)).sqrt()
        real = ~(r + self.epsilon <= width)  # NaN passes
        low = torch.where(real, r + self.epsilon - width, 1.0)
        root = (r - self.epsilon + low.sqrt() * (r + self.epsilon + width).sqrt()) / 2  # no square overflows
        return _best(x, step, self._penalty, 0 * r, torch.where(real, root, 0.0).clamp(min=0))

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class CappedL1:
    r"""``weight * sum_i min(|x_i|, cap)``; **not convex**.

    .. math:: \operatorname{prox}_{s g}(v) = \operatorname{sgn}(v) \cdot \text{the better of }
              \min(c, (|v| - s w)_+) \text{ and } \max(c, |v|)

    Args:
        weight: ``w``, positive; a float or a 0-d tensor.
        cap: c, positive.

    Raises:
        ValueError: ``weight`` or ``cap`` is not positive.

    Reference: T. Zhang, J. Mach. Learn. Res. 11 (2010) 1081.

    >>> CappedL1()(torch.tensor([5.0, -0.5])), CappedL1().prox(torch.tensor([5.0, 1.2]), 1.0)
    (tensor(1.5000), tensor([5.0000, 0.2000]))
    """

    weight: float | Tensor = 1.0
    cap: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", positive_scalar(self.weight, "weight"))
        object.__setattr__(self, "cap", positive_scalar(self.cap, "cap"))

    def __call__(self, x: Tensor) -> Tensor:
        return self._penalty(x.abs()).sum()

    def _penalty(self, r: Tensor) -> Tensor:
        return self.weight * r.clamp(max=self.cap)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """The better of the minimisers on the two parts."""
        require_step(step, x)
        r = x.abs()
        shrunk = (r - step * self.weight).clamp(min=0).clamp(max=self.cap)
        return _best(x, step, self._penalty, shrunk, r.clamp(min=self.cap))

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class TransformedL1:
    r"""``weight * sum_i (a + 1) |x_i| / (a + |x_i|)``, between the count of nonzeros and the l1 norm; **not convex**.

    .. math:: r = \tfrac23 (a + |v|) \cos\tfrac\varphi3 - \tfrac23 a + \tfrac13 |v|, \qquad
              \varphi = \arccos\Bigl(1 - \frac{27 l a (a + 1)}{2 (a + |v|)^3}\Bigr), \qquad l = s w

    is the prox with the sign of v where it exists and is better than 0; else the prox is 0.

    Args:
        weight: ``w``, positive; a float or a 0-d tensor.
        a: positive; small is near the count, large near the l1 norm.

    Raises:
        ValueError: ``weight`` or ``a`` is not positive.

    Reference: S. Zhang and J. Xin, Math. Program. 169 (2018) 307.

    >>> TransformedL1()(torch.tensor([1.0, 0.0])), TransformedL1().prox(torch.tensor([1.0, 0.0]), 1.0)
    (tensor(1.), tensor([0., 0.]))
    """

    weight: float | Tensor = 1.0
    a: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", positive_scalar(self.weight, "weight"))
        object.__setattr__(self, "a", positive_scalar(self.a, "a"))

    def __call__(self, x: Tensor) -> Tensor:
        return self._penalty(x.abs()).sum()

    def _penalty(self, r: Tensor) -> Tensor:
        return self.weight * (self.a + 1) * r / (self.a + r)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """The better of 0 and the stationary point of largest magnitude."""
        require_step(step, x)
        r, a = x.abs(), self.a
        cosine = 1 - 27 * step * self.weight * a * (a + 1) / (2 * (a + r).pow(3))
        real = ~(cosine <= -1)  # NaN passes
        third = torch.arccos(torch.where(real, cosine, 0.0)) / 3
        root = 2 / 3 * (a + r) * torch.cos(third) - 2 / 3 * a + r / 3
        return _best(x, step, self._penalty, 0 * r, torch.where(real, root, 0.0).clamp(min=0))

    __rmul__ = scaled


def _best(v: Tensor, step: float | Tensor, penalty: Callable[[Tensor], Tensor], *candidates: Tensor) -> Tensor:
    """The candidate magnitude, in ascending order, of the smallest objective; ties go to the smaller one."""
    r = v.abs()
    best = candidates[0]
    value = penalty(best) + (best - r).square() / (2 * step)
    for candidate in candidates[1:]:
        other = penalty(candidate) + (candidate - r).square() / (2 * step)
        better = ~(value <= other)  # of NaN, too
        best, value = torch.where(better, candidate, best), torch.where(better, other, value)
    return v.sign() * best
