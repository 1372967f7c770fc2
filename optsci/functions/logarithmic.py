r"""Convex functions of positive numbers, and powers: barriers, entropies, the Poisson loss, :math:`|x|^q`.

.. math:: \operatorname{prox}_{s f}(v)_i = \arg\min_t l \, \varphi(t) + \tfrac12 (t - v_i)^2, \quad l = s w

Roots are written so that nothing cancels, for entries of either sign and any size.

Reference: A. Beck, First-Order Methods in Optimization, SIAM 2017, chapter 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optsci._tensor import as_coefficient, positive_scalar, require_fit, require_nonnegative, require_step
from optsci.functions.calculus import added, scaled


@dataclass(frozen=True, eq=False)
class NegativeLog:
    r"""``-weight * sum_i log(x_i)``, the logarithmic barrier of the positive numbers.

    .. math:: \operatorname{prox}_{s f}(v) = \tfrac12 \bigl(v + \sqrt{v^2 + 4 l}\bigr), \qquad l = s w

    Args:
        weight: positive; a float or a 0-d tensor.

    Raises:
        ValueError: ``weight`` is not positive.

    >>> NegativeLog()(torch.tensor([1.0, -1.0])), NegativeLog().prox(torch.tensor([1.5]), 1.0)
    (tensor(inf), tensor([2.]))
    """

    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", positive_scalar(self.weight, "weight"))

    def __call__(self, x: Tensor) -> Tensor:
        inside = x > 0
        return torch.where(inside, -self.weight * torch.where(inside, x, 1.0).log(), _outside(x)).sum()

    def grad(self, x: Tensor) -> Tensor:
        """``-weight / x``, for positive x."""
        return -self.weight / x

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Positive root of ``p^2 - x p = step * weight``."""
        require_step(step, x)
        return _positive_root(x, step * self.weight)

    __add__ = added
    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class KullbackLeibler:
    r"""``weight * sum_i (x_i - b_i log x_i)``, the Poisson loss of the rates x for the counts b.

    .. math:: \operatorname{prox}_{s f}(v) = \tfrac12 \bigl(v - l + \sqrt{(v - l)^2 + 4 l b}\bigr), \qquad l = s w

    Up to a constant it is the Kullback-Leibler divergence of b from x. Where b is 0 it is x, for nonnegative x.

    Args:
        counts: b, at least 0; a number, or a tensor that broadcasts to ``x``.
        weight: positive; a float or a 0-d tensor.

    Raises:
        ValueError: a count is negative, or does not broadcast to ``x``; or ``weight`` is not positive.

    >>> f = KullbackLeibler([2.0, 0.0])
    >>> f(torch.tensor([1.0, 3.0])), f.prox(torch.tensor([2.0, 0.5]), 1.0)
    (tensor(4.), tensor([2., 0.]))
    """

    counts: Any
    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        counts = as_coefficient(self.counts, "counts")
        require_nonnegative(counts, "counts")
        object.__setattr__(self, "counts", counts)
        object.__setattr__(self, "weight", positive_scalar(self.weight, "weight"))

    def __call__(self, x: Tensor) -> Tensor:
        require_fit(self.counts, x, "counts")
        inside = x >= 0
        counts = torch.zeros_like(x) + self.counts
        values = self.weight * (x - torch.xlogy(counts, torch.where(inside, x, 1.0)))
        return torch.where(inside | x.isnan(), values, torch.inf).sum()

    def grad(self, x: Tensor) -> Tensor:
        """``weight (1 - b / x)``, for positive x."""
        require_fit(self.counts, x, "counts")
        return self.weight * (1 - self.counts / x)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Nonnegative root of ``p^2 - (x - l) p = l b``."""
        require_step(step, x)
        require_fit(self.counts, x, "counts")
        size = step * self.weight
        return _positive_root(x - size, size * self.counts)

    __add__ = added
    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class Entropy:
    r"""``weight * sum_i x_i log(x_i)``, the negative entropy, for nonnegative x.

    .. math:: \operatorname{prox}_{s f}(v) = l \, W\bigl(e^{v/l - 1}/l\bigr), \qquad l = s w

    with Lambert's function W, of which only the logarithm is computed: no size of v/l overflows.

    Args:
        weight: positive; a float or a 0-d tensor.

    Raises:
        ValueError: ``weight`` is not positive.

    >>> Entropy()(torch.tensor([1.0, 0.0])), Entropy().prox(torch.tensor([2.0]), 1.0)
    (tensor(0.), tensor([1.]))
    """

    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", positive_scalar(self.weight, "weight"))

    def __call__(self, x: Tensor) -> Tensor:
        inside = x >= 0
        nonnegative = torch.where(inside, x, 1.0)
        return torch.where(inside, self.weight * torch.xlogy(nonnegative, nonnegative), _outside(x)).sum()

    def grad(self, x: Tensor) -> Tensor:
        """``weight (log(x) + 1)``, for positive x."""
        return self.weight * (x.log() + 1)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Root of ``p + l log(p) + l = x``, by Newton's method for its logarithm."""
        require_step(step, x)
        size = step * self.weight * torch.ones_like(x)
        c = x / size - 1 - size.log()
        fixed = c.detach()
        # exp(u) + u = c; both starts lie above the root, from where Newton's method falls monotonically.
        u = torch.where(fixed > 1, fixed.clamp(min=1).log(), fixed)
        for _ in range(12):
            u = u - (u.exp() + u - fixed) / (u.exp() + 1)
        u = u - (u.exp() + u - c) / (u.exp() + 1)  # the last step carries the derivative
        return size * u.exp()

    __add__ = added
    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class Power:
    r"""``weight * sum_i |x_i|^q`` for q greater than 1, the loss between absolute and squared errors, and beyond.

    .. math:: p = |\operatorname{prox}_{s f}(v)|: \quad p + l q \, p^{q-1} = |v|, \qquad l = s w

    by Newton's method for the logarithm of p, from above: it takes a few steps for any q.

    Args:
        weight: positive; a float or a 0-d tensor.
        q: greater than 1.

    Raises:
        ValueError: ``weight`` is not positive, or ``q`` not greater than 1.

    >>> Power(q=3.0)(torch.tensor([2.0, -1.0])), Power(q=3.0).prox(torch.tensor([4.0, 0.0, -4.0]), 1.0)
    (tensor(9.), tensor([ 1.,  0., -1.]))
    """

    weight: float | Tensor = 1.0
    q: float = 1.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", positive_scalar(self.weight, "weight"))
        if not 1 < self.q < torch.inf:
            raise ValueError(f"q must be finite and greater than 1, got {self.q!r}")

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight * x.abs().pow(self.q).sum()

    def grad(self, x: Tensor) -> Tensor:
        """``weight q |x|^(q - 1)`` with the sign of x."""
        return self.weight * self.q * x.sign() * x.abs().pow(self.q - 1)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Root of a scalar equation for every entry."""
        require_step(step, x)
        tiny = torch.finfo(x.dtype).tiny
        zero = x.abs() < tiny ** min(1.0, self.q - 1) if self.q < 2 else x == 0  # the result underflows, or is 0
        slope = step * self.weight * self.q * torch.ones_like(x)
        r = torch.where(zero, 1.0, x.abs())
        fixed_slope, fixed = slope.detach(), r.detach()
        # exp(y) + slope exp((q - 1) y) = r; at the start each of the terms is at most r, one of them r.
        y = torch.minimum(fixed.log(), (fixed / fixed_slope).log() / (self.q - 1))
        for _ in range(25):
            first, second = y.exp(), fixed_slope * ((self.q - 1) * y).exp()
            y = y - (first + second - fixed) / (first + (self.q - 1) * second)
        first, second = y.exp(), slope * ((self.q - 1) * y).exp()
        slopes = (first + (self.q - 1) * second).detach()
        y = y - (first + second - r) / slopes  # the last step carries the derivative
        return torch.where(zero, 0 * x, x.sign() * y.exp())

    @property
    def conjugate(self) -> Power:
        """``weight (q - 1) sum_i |u_i / (weight q)|^r`` with the exponent ``r = q/(q - 1)``."""
        r = self.q / (self.q - 1)
        return Power(self.weight * (self.q - 1) * (self.weight * self.q) ** -r, r)

    __add__ = added
    __rmul__ = scaled


def _positive_root(b: Tensor, c: Tensor | float) -> Tensor:
    """Larger root of ``p^2 - b p - c = 0`` for nonnegative c, without cancellation for negative b."""
    c = c * torch.ones_like(b)
    flat = (b == 0) & (c == 0)  # the square root has no derivative there
    none = c == 0
    width = torch.where(none, 0.0, 2 * torch.where(none, 1.0, c).sqrt())
    root = torch.hypot(torch.where(flat, 1.0, b), width)  # no square overflows
    negative = b < 0
    product = 2 * c / torch.where(negative, root - b, 1.0)
    return torch.where(flat, b.clamp(min=0), torch.where(negative, product, (b + root) / 2))


def _outside(x: Tensor) -> Tensor:
    """Infinity, but NaN where x is NaN."""
    return torch.where(x.isnan(), x, torch.inf)
