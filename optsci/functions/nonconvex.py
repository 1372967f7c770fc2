r"""Nonconvex penalties, entry by entry: sparser solutions than the l1 norm gives, with less bias.

.. math:: \operatorname{prox}_{s g}(v) = \operatorname*{argmin}_t \; g(t) + \tfrac{1}{2 s} (t - v)^2

**None of them is convex**: the prox is a global minimiser of its scalar problem for every step, but an algorithm that
runs on it finds a stationary point. Where two minimisers tie, the one of smaller magnitude is returned.

References: T. Zhang, J. Mach. Learn. Res. 11 (2010) 1081 (capped l1); Z. Xu, X. Chang, F. Xu and H. Zhang, IEEE Trans.
Neural Netw. Learn. Syst. 23 (2012) 1013 (half thresholding).
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
class L0:
    r"""``weight`` times the number of nonzeros of x; **not convex**.

    .. math:: \operatorname{prox}_{s g}(v) = \begin{cases} v & |v| > \sqrt{2 s w} \\ 0 & \text{else} \end{cases}

    Args:
        weight: ``w``, positive; a float or a 0-d tensor.

    Raises:
        ValueError: ``weight`` is not positive.

    Reference: T. Blumensath and M. Davies, J. Fourier Anal. Appl. 14 (2008) 629.

    >>> L0()(torch.tensor([3.0, 0.0])), L0().prox(torch.tensor([3.0, 1.0]), 1.0)
    (tensor(1.), tensor([3., 0.]))
    """

    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", positive_scalar(self.weight, "weight"))

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight * (x != 0).to(x.dtype).sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Hard threshold at ``sqrt(2 step weight)``; ties give 0."""
        require_step(step, x)
        return torch.where(x.square() <= 2 * step * self.weight, 0 * x, x)

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class GroupL0:
    r"""``weight`` times the number of rows of x that are not zero; **not convex**.

    .. math:: \operatorname{prox}_{s g}(v)_j = \begin{cases} v_j & \|v_j\| > \sqrt{2 s w} \\ 0 & \text{else} \end{cases}

    Rows run along the last dimension.

    Args:
        weight: ``w``, positive; a float or a 0-d tensor.

    Raises:
        ValueError: ``weight`` is not positive; or ``step`` varies within a row.

    >>> GroupL0()(torch.eye(2)), GroupL0().prox(torch.tensor([[3.0, 4.0], [1.0, 0.0]]), 1.0)
    (tensor(2.), tensor([[3., 4.],
            [0., 0.]]))
    """

    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", positive_scalar(self.weight, "weight"))

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight * (x != 0).any(-1).to(x.dtype).sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Hard threshold of rows; ties give 0."""
        squares = x.square().sum(-1, keepdim=True) if x.dim() else x.square()
        require_step(step, squares)
        return torch.where(squares <= 2 * step * self.weight, 0 * x, x)

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class LHalf:
    r"""``weight * sum_i |x_i|^(1/2)``; **not convex**.

    .. math:: \operatorname{prox}_{s g}(v) = \tfrac23 v \Bigl(1 + \cos\bigl(\tfrac{2 \pi}{3} - \tfrac23
              \arccos\bigl(\tfrac l4 (|v|/3)^{-3/2}\bigr)\bigr)\Bigr) \text{ for } |v| > \tfrac32 l^{2/3},
              \text{ else } 0, \qquad l = s w

    Args:
        weight: ``w``, positive; a float or a 0-d tensor.

    Raises:
        ValueError: ``weight`` is not positive.

    Reference: Z. Xu, X. Chang, F. Xu and H. Zhang, IEEE Trans. Neural Netw. Learn. Syst. 23 (2012) 1013.

    >>> LHalf()(torch.tensor([4.0, 0.0])), LHalf().prox(torch.tensor([1.0, 0.0]), 1.0)
    (tensor(2.), tensor([0., 0.]))
    """

    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", positive_scalar(self.weight, "weight"))

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight * x.abs().sqrt().sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Root of a cubic beyond the threshold, which gives 0 itself."""
        require_step(step, x)
        size = step * self.weight * torch.ones_like(x)
        small = x.abs() <= 1.5 * size.pow(2 / 3)
        r = torch.where(small, 3 * size.pow(2 / 3), x.abs())
        angle = torch.arccos(size / 4 * (r / 3).pow(-1.5))
        return torch.where(small, 0 * x, x.sign() * 2 / 3 * r * (1 + torch.cos(2 * math.pi / 3 - 2 / 3 * angle)))

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class LTwoThirds:
    r"""``weight * sum_i |x_i|^(2/3)``; **not convex**.

    .. math:: \operatorname{prox}_{s g}(v) = \operatorname{sgn}(v) \Bigl(\tfrac12 \bigl(A + \sqrt{2 |v| / A - A^2}\bigr)
              \Bigr)^3 \text{ for } |v| > 2 (2 l/3)^{3/4}, \text{ else } 0, \qquad l = s w

    with :math:`A = \tfrac{2}{\sqrt 3} (2 l)^{1/4} \cosh^{1/2}(c/3)` and
    :math:`c = \operatorname{arccosh}\bigl(\tfrac{27}{16} v^2 (2 l)^{-3/2}\bigr)`.

    Args:
        weight: ``w``, positive; a float or a 0-d tensor.

    Raises:
        ValueError: ``weight`` is not positive.

    >>> LTwoThirds()(torch.tensor([8.0, 0.0])), LTwoThirds().prox(torch.tensor([1.0, 0.0]), 1.0)
    (tensor(4.), tensor([0., 0.]))
    """

    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", positive_scalar(self.weight, "weight"))

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight * x.abs().pow(2 / 3).sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Root of a quartic beyond the threshold, which gives 0 itself."""
        require_step(step, x)
        double = 2 * step * self.weight * torch.ones_like(x)
        threshold = 2 * (double / 3).pow(0.75)
        small = x.abs() <= threshold
        large = x.abs() > 1e6 * threshold  # where the penalty is a perturbation, and its squares might overflow
        shifted = x.abs() - double / 3 * torch.where(large, x.abs(), 1.0).pow(-1 / 3)
        r = torch.where(small | large, 2 * threshold, x.abs())
        c = torch.arccosh(27 / 16 * r.square() * double.pow(-1.5))
        A = 2 / math.sqrt(3) * double.pow(0.25) * torch.cosh(c / 3).sqrt()
        root = ((A + (2 * r / A - A * A).clamp(min=0).sqrt()) / 2).pow(3)
        return torch.where(small, 0 * x, x.sign() * torch.where(large, shifted, root))

    __rmul__ = scaled


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
