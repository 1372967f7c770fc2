r"""Norms and squared norms with their proximal operators.

.. math:: \operatorname{prox}_{s g}(x) = \operatorname*{argmin}_z \; g(z) + \tfrac{1}{2 s} \|z - x\|^2

Reference: A. Beck, First-Order Methods in Optimization, SIAM 2017, chapter 6.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch  # noqa: F401, the examples in the docstrings use it
from torch import Tensor

from optsci._tensor import as_float, as_tensor, nonnegative_scalar, require_fit, require_nonnegative, require_step
from optsci.functions.calculus import MoreauEnvelope, added, scaled
from optsci.functions.indicators import Box


@dataclass(frozen=True, eq=False)
class L1:
    r"""``weight * ||x||_1``, the sum of magnitudes; makes solutions sparse.

    .. math:: \operatorname{prox}_{s g}(x)_i = \operatorname{sgn}(x_i) \, (|x_i| - s w)_+

    Args:
        weight: ``w``, at least 0; a float or a 0-d tensor.

    Raises:
        ValueError: ``weight`` is negative, not finite, or not a single number.

    >>> g = L1(0.5)
    >>> g(torch.tensor([3.0, -1.0])), g.prox(torch.tensor([3.0, -1.0]), 2.0)
    (tensor(2.), tensor([2., 0.]))
    """

    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", nonnegative_scalar(self.weight, "weight"))

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight * x.abs().sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Soft threshold at ``step * weight``; ``step`` may differ from entry to entry."""
        return _soft_threshold(x, step, self.weight)

    @property
    def conjugate(self) -> Box:
        """Indicator of the box ``|u| <= weight``."""
        return Box(-self.weight, self.weight)

    __add__ = added
    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class WeightedL1:
    r"""``sum_i weights_i |x_i|``.

    .. math:: \operatorname{prox}_{s g}(x)_i = \operatorname{sgn}(x_i) \, (|x_i| - s w_i)_+

    Args:
        weights: ``w``, at least 0; a tensor that broadcasts to ``x``.

    Raises:
        ValueError: a weight is negative or not finite; or ``weights`` does not broadcast to ``x``, or would
            change its dtype.

    >>> g = WeightedL1([0.0, 1.0])
    >>> g(torch.tensor([3.0, -2.0])), g.prox(torch.tensor([3.0, -2.0]), 0.5)
    (tensor(2.), tensor([ 3.0000, -1.5000]))
    """

    weights: Tensor

    def __post_init__(self) -> None:
        weights = as_tensor(self.weights, "weights")
        require_nonnegative(weights, "weights")
        object.__setattr__(self, "weights", weights)

    def __call__(self, x: Tensor) -> Tensor:
        require_fit(self.weights, x, "weights")
        return (self.weights * x.abs()).sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Soft threshold at ``step * weights``; ``step`` may differ from entry to entry."""
        require_fit(self.weights, x, "weights")
        return _soft_threshold(x, step, self.weights)

    @property
    def conjugate(self) -> Box:
        """Indicator of the box ``|u| <= weights``."""
        return Box(-self.weights, self.weights)

    __add__ = added
    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class SquaredL2:
    r"""``weight/2 * ||x||^2``, the ridge penalty; smooth and, for a positive weight, strongly convex.

    .. math:: \operatorname{prox}_{s g}(x) = \frac{x}{1 + s w}, \qquad \nabla g(x) = w x, \qquad L = w

    Args:
        weight: ``w``, at least 0; a float or a 0-d tensor.

    Raises:
        ValueError: ``weight`` is negative, not finite, or not a single number.

    >>> g = SquaredL2(2.0)
    >>> g(torch.tensor([1.0, 2.0])), g.prox(torch.tensor([1.0, 2.0]), 0.5)
    (tensor(5.), tensor([0.5000, 1.0000]))
    """

    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", nonnegative_scalar(self.weight, "weight"))

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight / 2 * x.square().sum()

    def grad(self, x: Tensor) -> Tensor:
        """``weight * x``."""
        return self.weight * x

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """``x / (1 + step * weight)``; ``step`` may differ from entry to entry."""
        require_step(step, x)
        return x / (1 + step * self.weight)

    def lipschitz(self) -> float:
        """Lipschitz constant of the gradient, ``weight``."""
        return as_float(self.weight)

    @property
    def conjugate(self) -> SquaredL2 | Box:
        """``||u||^2 / (2 weight)``; the indicator of 0 where the weight is 0."""
        return SquaredL2(1 / self.weight) if self.weight > 0 else Box(0, 0)

    __add__ = added
    __radd__ = added  # to functions that do not add, such as balls
    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class ElasticNet:
    r"""``l1 * ||x||_1 + l2/2 * ||x||^2``: sparse solutions that keep correlated variables together.

    .. math:: \operatorname{prox}_{s g}(x)_i = \frac{\operatorname{sgn}(x_i) \, (|x_i| - s l_1)_+}{1 + s l_2}

    Args:
        l1: weight of the sum of magnitudes, at least 0; a float or a 0-d tensor.
        l2: weight of half the sum of squares, likewise.

    Raises:
        ValueError: a weight is negative, not finite, or not a single number.

    Reference: H. Zou and T. Hastie, J. R. Stat. Soc. B 67 (2005) 301-320.

    >>> g = ElasticNet(1.0, 2.0)
    >>> g(torch.tensor([2.0, -1.0])), g.prox(torch.tensor([2.0, -0.5]), 0.5)
    (tensor(8.), tensor([0.7500, 0.0000]))
    """

    l1: float | Tensor
    l2: float | Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "l1", nonnegative_scalar(self.l1, "l1"))
        object.__setattr__(self, "l2", nonnegative_scalar(self.l2, "l2"))

    def __call__(self, x: Tensor) -> Tensor:
        return self.l1 * x.abs().sum() + self.l2 / 2 * x.square().sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Soft threshold, then shrink; ``step`` may differ from entry to entry."""
        return _soft_threshold(x, step, self.l1) / (1 + step * self.l2)

    @property
    def conjugate(self) -> MoreauEnvelope | Box:
        """``sum_i (|u_i| - l1)_+^2 / (2 l2)``, the envelope of a box; the box itself where ``l2`` is 0."""
        box = L1(self.l1).conjugate
        return MoreauEnvelope(box, self.l2) if self.l2 > 0 else box

    __add__ = added
    __rmul__ = scaled


def _soft_threshold(x: Tensor, step: float | Tensor, weight: float | Tensor) -> Tensor:
    require_step(step, x)
    threshold = step * weight
    return x - x.clamp(min=-threshold).clamp(max=threshold)
