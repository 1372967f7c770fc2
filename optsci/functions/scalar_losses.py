r"""Convex losses that act entry by entry: :math:`f(x) = w \sum_i \varphi(x_i)`.

.. math:: \operatorname{prox}_{s f}(v)_i = \arg\min_t l \, \varphi(t) + \tfrac12 (t - v_i)^2, \quad l = s w

For a loss of a linear model put them after it: ``AffineComposition(Huber(), A, b)``.

Reference: A. Beck, First-Order Methods in Optimization, SIAM 2017, chapter 6.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from optsci._tensor import as_float, nonnegative_scalar, positive_scalar, require_floating, require_step
from optsci.functions.calculus import added, scaled
from optsci.functions.indicators import Box


@dataclass(frozen=True, eq=False)
class Huber:
    r"""``weight * sum_i h(x_i)``, half the square up to ``delta``, and linear beyond.

    .. math:: \operatorname{prox}_{s f}(v) = \begin{cases} v / (1 + l) & |v| \le \delta (1 + l) \\
              v - l \delta \operatorname{sgn} v & \text{else} \end{cases}, \qquad l = s w

    Args:
        weight: at least 0; a float or a 0-d tensor.
        delta: where the quadratic ends, positive.

    Raises:
        ValueError: ``weight`` is negative, or ``delta`` not positive.

    Reference: P. J. Huber, Ann. Math. Statist. 35 (1964) 73.

    >>> Huber()(torch.tensor([0.5, 3.0])), Huber().prox(torch.tensor([1.0, 3.0]), 1.0)
    (tensor(2.6250), tensor([0.5000, 2.0000]))
    """

    weight: float | Tensor = 1.0
    delta: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", nonnegative_scalar(self.weight, "weight"))
        object.__setattr__(self, "delta", positive_scalar(self.delta, "delta"))

    def __call__(self, x: Tensor) -> Tensor:
        inner = x.clamp(min=-self.delta).clamp(max=self.delta)
        return self.weight * (inner * (x - inner / 2)).sum()

    def grad(self, x: Tensor) -> Tensor:
        """``weight`` times x clipped to ``delta``."""
        return self.weight * x.clamp(min=-self.delta).clamp(max=self.delta)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Shrunk where the result is in the quadratic part, shifted elsewhere."""
        require_step(step, x)
        size = step * self.weight
        return x - size * (x / (1 + size)).clamp(min=-self.delta).clamp(max=self.delta)

    def lipschitz(self) -> float:
        """Lipschitz constant of the gradient, ``weight``."""
        return as_float(self.weight)

    __add__ = added
    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class Hinge:
    r"""``weight * sum_i max(0, 1 - x_i)``, the loss of support vector machines at the margins x.

    .. math:: \operatorname{prox}_{s f}(v) = \begin{cases} v & v \ge 1 \\ \min(v + l, 1) & \text{else} \end{cases},
              \qquad l = s w

    Args:
        weight: at least 0; a float or a 0-d tensor.

    Raises:
        ValueError: ``weight`` is negative.

    Reference: C. Cortes and V. Vapnik, Mach. Learn. 20 (1995) 273.

    >>> Hinge()(torch.tensor([2.0, -1.0])), Hinge().prox(torch.tensor([2.0, 0.5, -1.0]), 1.0)
    (tensor(2.), tensor([2., 1., 0.]))
    """

    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", nonnegative_scalar(self.weight, "weight"))

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight * (1 - x).clamp(min=0).sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Up to the margin of 1, by at most ``step * weight``."""
        require_step(step, x)
        return torch.where(x >= 1, x, (x + step * self.weight).clamp(max=1))

    __add__ = added
    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class SquaredHinge:
    r"""``weight * sum_i max(0, 1 - x_i)^2``.

    .. math:: \operatorname{prox}_{s f}(v) = \begin{cases} v & v \ge 1 \\ (v + 2 l) / (1 + 2 l) & \text{else}
              \end{cases}, \qquad l = s w

    Args:
        weight: at least 0; a float or a 0-d tensor.

    Raises:
        ValueError: ``weight`` is negative.

    >>> SquaredHinge()(torch.tensor([2.0, -1.0])), SquaredHinge().prox(torch.tensor([2.0, -1.0]), 0.5)
    (tensor(4.), tensor([2., 0.]))
    """

    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", nonnegative_scalar(self.weight, "weight"))

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight * (1 - x).clamp(min=0).square().sum()

    def grad(self, x: Tensor) -> Tensor:
        """``-2 weight max(0, 1 - x)``."""
        return -2 * self.weight * (1 - x).clamp(min=0)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Towards the margin of 1."""
        require_step(step, x)
        size = 2 * step * self.weight
        return torch.where(x >= 1, x, (x + size) / (1 + size))

    def lipschitz(self) -> float:
        """Lipschitz constant of the gradient, ``2 weight``."""
        return 2 * as_float(self.weight)

    __add__ = added
    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class LogisticLoss:
    r"""``weight * sum_i log(1 + exp(-x_i))``, the logistic loss at the margins x.

    .. math:: p = \operatorname{prox}_{s f}(v): \quad p - v - \frac{l}{1 + e^p} = 0, \qquad l = s w

    by Newton's method, safeguarded in the bracket from v to v + l.

    Args:
        weight: at least 0; a float or a 0-d tensor.

    Raises:
        ValueError: ``weight`` is negative.

    >>> LogisticLoss()(torch.zeros(1)), LogisticLoss().prox(torch.tensor([0.0]), 2.0)
    (tensor(0.6931), tensor([0.6748]))
    """

    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", nonnegative_scalar(self.weight, "weight"))

    def __call__(self, x: Tensor) -> Tensor:
        require_floating(x)
        return -self.weight * torch.nn.functional.logsigmoid(x).sum()

    def grad(self, x: Tensor) -> Tensor:
        """``-weight / (1 + exp(x))``."""
        return -self.weight * torch.sigmoid(-x)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Root of a scalar equation for every entry."""
        require_step(step, x)
        size = step * self.weight * torch.ones_like(x)
        v, fixed = x.detach(), size.detach()
        low, high, p = v, v + fixed, v + fixed / 2
        for k in range(48):
            excess = p - v - fixed * torch.sigmoid(-p)
            low, high = torch.where(excess < 0, p, low), torch.where(excess < 0, high, p)
            newton = p - excess / (1 + fixed * torch.sigmoid(p) * torch.sigmoid(-p))
            bisected = (low + high) / 2  # every third time at least, so that no cycle goes on for long
            p = bisected if k % 3 == 2 else torch.where((newton > low) & (newton < high), newton, bisected)
        newton = p - (p - v - fixed * torch.sigmoid(-p)) / (1 + fixed * torch.sigmoid(p) * torch.sigmoid(-p))
        p = newton
        slope = 1 + fixed * torch.sigmoid(p) * torch.sigmoid(-p)
        return p - (p - x - size * torch.sigmoid(-p)) / slope  # the last step carries the derivative

    def lipschitz(self) -> float:
        """Lipschitz constant of the gradient, ``weight / 4``."""
        return as_float(self.weight) / 4

    __add__ = added
    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class Pinball:
    r"""``weight * sum_i max(q x_i, (q - 1) x_i)``, whose minimum over a constant is the q-quantile.

    .. math:: \operatorname{prox}_{s f}(v) = \begin{cases} v - l q & v > l q \\ v + l (1 - q) & v < -l (1 - q) \\
              0 & \text{else} \end{cases}, \qquad l = s w

    Args:
        weight: at least 0; a float or a 0-d tensor.
        quantile: q, between 0 and 1.

    Raises:
        ValueError: ``weight`` is negative, or ``quantile`` not between 0 and 1.

    Reference: R. Koenker and G. Bassett, Econometrica 46 (1978) 33.

    >>> Pinball(quantile=0.25)(torch.tensor([4.0, -4.0])), Pinball(quantile=0.25).prox(torch.tensor([4.0, -4.0]), 1.0)
    (tensor(4.), tensor([ 3.7500, -3.2500]))
    """

    weight: float | Tensor = 1.0
    quantile: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", nonnegative_scalar(self.weight, "weight"))
        if not 0 < self.quantile < 1:
            raise ValueError(f"quantile must lie between 0 and 1, got {self.quantile!r}")

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight * torch.maximum(self.quantile * x, (self.quantile - 1) * x).sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Soft threshold with two sides."""
        require_step(step, x)
        size = step * self.weight
        return x - x.clamp(min=-size * (1 - self.quantile)).clamp(max=size * self.quantile)

    @property
    def conjugate(self) -> Box:
        """Indicator of the box from ``-weight (1 - q)`` to ``weight q``."""
        return Box(-self.weight * (1 - self.quantile), self.weight * self.quantile)

    __add__ = added
    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class EpsilonInsensitive:
    r"""``weight * sum_i max(0, |x_i| - epsilon)``, the loss of support vector regression.

    .. math:: \operatorname{prox}_{s f}(v) = \begin{cases} v & |v| \le \epsilon \\
              \operatorname{sgn}(v) \max(\epsilon, |v| - l) & \text{else} \end{cases}, \qquad l = s w

    Args:
        weight: at least 0; a float or a 0-d tensor.
        epsilon: half the width of the tube that costs nothing, at least 0.

    Raises:
        ValueError: ``weight`` or ``epsilon`` is negative.

    Reference: V. Vapnik, The Nature of Statistical Learning Theory, Springer 1995.

    >>> f = EpsilonInsensitive(epsilon=1.0)
    >>> f(torch.tensor([0.5, -3.0])), f.prox(torch.tensor([0.5, -3.0, 1.5]), 1.0)
    (tensor(2.), tensor([ 0.5000, -2.0000,  1.0000]))
    """

    weight: float | Tensor = 1.0
    epsilon: float | Tensor = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", nonnegative_scalar(self.weight, "weight"))
        object.__setattr__(self, "epsilon", nonnegative_scalar(self.epsilon, "epsilon"))

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight * (x.abs() - self.epsilon).clamp(min=0).sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Soft threshold outside the tube, which it does not enter."""
        require_step(step, x)
        inside = x.clamp(min=-self.epsilon).clamp(max=self.epsilon)
        outside, size = x - inside, step * self.weight
        return inside + (outside - outside.clamp(min=-size).clamp(max=size))

    __add__ = added
    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class SumPositive:
    r"""``weight * sum_i max(0, x_i)``.

    .. math:: \operatorname{prox}_{s f}(v) = \begin{cases} v - l & v > l \\ \min(v, 0) & \text{else} \end{cases},
              \qquad l = s w

    Args:
        weight: at least 0; a float or a 0-d tensor.

    Raises:
        ValueError: ``weight`` is negative.

    >>> SumPositive()(torch.tensor([2.0, -1.0])), SumPositive().prox(torch.tensor([2.0, 0.5, -1.0]), 1.0)
    (tensor(2.), tensor([ 1.,  0., -1.]))
    """

    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", nonnegative_scalar(self.weight, "weight"))

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight * x.clamp(min=0).sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Positive entries fall by ``step * weight``, to 0 at the least."""
        require_step(step, x)
        return x - x.clamp(min=0).clamp(max=step * self.weight)

    @property
    def conjugate(self) -> Box:
        """Indicator of the box from 0 to ``weight``."""
        return Box(0, self.weight)

    __add__ = added
    __rmul__ = scaled
