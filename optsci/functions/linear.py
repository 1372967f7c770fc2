r"""Functions without curvature: 0, linear forms, and the sum on the nonnegative orthant.

.. math:: \operatorname{prox}_{s \langle c, \cdot \rangle}(x) = x - s c

Reference: A. Beck, First-Order Methods in Optimization, SIAM 2017, chapter 6.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from optsci._tensor import (
    as_coefficient,
    nonnegative_scalar,
    require_finite,
    require_fit,
    require_floating,
    require_step,
)
from optsci.functions.calculus import added, scaled
from optsci.functions.indicators import Box


@dataclass(frozen=True)
class Zero:
    r"""``0``, for an algorithm that wants a function where the problem has none.

    .. math:: \operatorname{prox}_{s g}(x) = x, \qquad \nabla g(x) = 0, \qquad L = 0

    >>> Zero()(torch.tensor([1.0, 2.0])), Zero().prox(torch.tensor([1.0, 2.0]), 0.5)
    (tensor(0.), tensor([1., 2.]))
    """

    def __call__(self, x: Tensor) -> Tensor:
        require_floating(x)
        return x.new_zeros(())

    def grad(self, x: Tensor) -> Tensor:
        """``0``, of the shape of ``x``."""
        require_floating(x)
        return 0 * x

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """A copy of ``x``."""
        require_step(step, x)
        return x.clone()

    def lipschitz(self) -> float:
        """Lipschitz constant of the gradient, 0."""
        return 0.0

    @property
    def conjugate(self) -> Box:
        """Indicator of 0."""
        return Box(0, 0)

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class Linear:
    r"""``<c, x>``, the linear form ``sum_i c_i x_i``.

    .. math:: \operatorname{prox}_{s g}(x) = x - s c, \qquad \nabla g(x) = c, \qquad L = 0

    Args:
        c: a number, or a tensor that broadcasts to ``x``.

    Raises:
        ValueError: ``c`` holds NaN or infinity, or does not broadcast to ``x``, or would change its dtype.

    >>> g = Linear([1.0, -2.0])
    >>> g(torch.tensor([3.0, 1.0])), g.prox(torch.tensor([3.0, 1.0]), 0.5)
    (tensor(1.), tensor([2.5000, 2.0000]))
    """

    c: float | Tensor

    def __post_init__(self) -> None:
        c = as_coefficient(self.c, "c")
        require_finite(c, "c")
        object.__setattr__(self, "c", c)

    def __call__(self, x: Tensor) -> Tensor:
        require_fit(self.c, x, "c")
        return (self.c * x).sum()

    def grad(self, x: Tensor) -> Tensor:
        """``c``, of the shape of ``x``."""
        require_fit(self.c, x, "c")
        return 0 * x + self.c

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """``x - step * c``; ``step`` may differ from entry to entry."""
        require_fit(self.c, x, "c")
        require_step(step, x)
        return x - step * self.c

    def lipschitz(self) -> float:
        """Lipschitz constant of the gradient, 0."""
        return 0.0

    @property
    def conjugate(self) -> Box:
        """Indicator of the point ``c``."""
        return Box(self.c, self.c)

    __add__ = added
    __radd__ = added  # to functions that do not add, such as balls
    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class NonnegativeL1:
    r"""``weight * sum_i x_i`` where ``x >= 0``, infinite elsewhere: sparse and nonnegative.

    .. math:: \operatorname{prox}_{s g}(x)_i = (x_i - s w)_+

    Args:
        weight: ``w``, at least 0; a float or a 0-d tensor.

    Raises:
        ValueError: ``weight`` is negative, not finite, or not a single number.

    >>> g = NonnegativeL1(0.5)
    >>> g(torch.tensor([3.0, 1.0])), g(torch.tensor([3.0, -1.0])), g.prox(torch.tensor([3.0, -1.0]), 2.0)
    (tensor(2.), tensor(inf), tensor([2., 0.]))
    """

    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", nonnegative_scalar(self.weight, "weight"))

    def __call__(self, x: Tensor) -> Tensor:
        return (self.weight * x.sum()).masked_fill((x < 0).any(), torch.inf)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Threshold from below; ``step`` may differ from entry to entry."""
        require_step(step, x)
        return (x - step * self.weight).clamp(min=0)

    @property
    def conjugate(self) -> Box:
        """Indicator of ``u <= weight``."""
        return Box(-torch.inf, self.weight)

    __add__ = added
    __rmul__ = scaled
