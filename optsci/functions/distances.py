r"""Euclidean distances to a convex set C, made of the projection on it.

.. math:: \operatorname{dist}_C(x) = \min_{z \in C} \|x - z\|

Reference: A. Beck, First-Order Methods in Optimization, SIAM 2017, chapter 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optsci._tensor import as_float, as_scalar, require_nonnegative, require_step
from optsci.functions.calculus import added, scaled
from optsci.protocols import require


@dataclass(frozen=True, eq=False)
class Distance:
    r"""``weight`` times the Euclidean distance of x to a closed convex set.

    .. math:: \operatorname{prox}_{s g}(x) = x + \min\Bigl(1, \frac{s w}{\operatorname{dist}(x)}\Bigr)(P_C(x) - x)

    The distance is that of the whole tensor.

    Args:
        C: the indicator of the set; its prox is the projection.
        weight: ``w``, at least 0; a float or a 0-d tensor.

    Raises:
        TypeError: C has no prox.
        ValueError: ``weight`` is negative.

    >>> from optsci import Box
    >>> g = Distance(Box(0, 1))
    >>> g(torch.tensor([4.0, 5.0])), g.prox(torch.tensor([4.0, 5.0]), 1.0)
    (tensor(5.), tensor([3.4000, 4.2000]))
    """

    C: Any
    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        _set_set_and_weight(self, "Distance")

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight * torch.linalg.vector_norm(x - self.C.prox(x, 1.0))

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Towards the projection, by at most ``step * weight``."""
        require_step(step, x)
        away = x - self.C.prox(x, 1.0)
        square = away.square().sum()
        inside = square == 0
        length = torch.where(inside, 1.0, square).sqrt()
        fraction = torch.where(inside, 1.0, (step * self.weight / length).clamp(max=1.0))
        return x - fraction * away

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class SquaredDistance:
    r"""``weight/2`` times the squared distance of x to a closed convex set; smooth.

    .. math:: \operatorname{prox}_{s g}(x) = \frac{x + s w \, P_C(x)}{1 + s w}, \qquad
              \nabla g(x) = w (x - P_C(x)), \qquad L = w

    Args:
        C: the indicator of the set; its prox is the projection.
        weight: ``w``, at least 0; a float or a 0-d tensor.

    Raises:
        TypeError: C has no prox.
        ValueError: ``weight`` is negative.

    >>> from optsci import Box
    >>> g = SquaredDistance(Box(0, 1))
    >>> g(torch.tensor([3.0, 0.5])), g.grad(torch.tensor([3.0, 0.5])), g.prox(torch.tensor([3.0, 0.5]), 1.0)
    (tensor(2.), tensor([2., 0.]), tensor([2.0000, 0.5000]))
    """

    C: Any
    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        _set_set_and_weight(self, "SquaredDistance")

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight / 2 * (x - self.C.prox(x, 1.0)).square().sum()

    def grad(self, x: Tensor) -> Tensor:
        """``weight (x - P(x))``."""
        return self.weight * (x - self.C.prox(x, 1.0))

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Mean of x and its projection."""
        require_step(step, x)
        projection = self.C.prox(x, 1.0)
        return projection + (x - projection) / (1 + step * self.weight)

    def lipschitz(self) -> float:
        """Lipschitz constant of the gradient, ``weight``."""
        return as_float(self.weight)

    __add__ = added
    __rmul__ = scaled


def _set_set_and_weight(f: Any, by: str) -> None:
    require(f.C, "prox", by=by, name="C")
    weight = as_scalar(f.weight, "weight")
    require_nonnegative(weight, "weight")
    object.__setattr__(f, "weight", weight)
