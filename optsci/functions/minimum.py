r"""The pointwise minimum of functions, whose prox is the best of theirs.

.. math:: f(x) = \min_i f_i(x)

For minima over z and over i may be taken in either order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optsci.functions.calculus import scaled
from optsci.protocols import require


@dataclass(frozen=True, eq=False, init=False)
class PointwiseMinimum:
    r"""``min_i f_i(x)``; **not convex**.

    .. math:: \operatorname{prox}_{s f}(x) = \text{the best of } \operatorname{prox}_{s f_i}(x)

    Of equally good ones it is that of the first function. For example, the minimum of the indicators of two sets is
    that of their union.

    Args:
        functions: one or more, with a prox.

    Raises:
        TypeError: one has no prox.
        ValueError: no function at all.

    >>> from optsci import Box
    >>> union = PointwiseMinimum(Box(0, 1), Box(3, 4))
    >>> union.prox(torch.tensor([1.5]), 1.0), union.prox(torch.tensor([2.5]), 1.0)
    (tensor([1.]), tensor([3.]))
    """

    functions: tuple[Any, ...]

    def __init__(self, *functions: Any) -> None:
        if not functions:
            raise ValueError("PointwiseMinimum needs at least one function, got none")
        for k, f in enumerate(functions):
            require(f, "prox", by="PointwiseMinimum", name=f"functions[{k}]")
        object.__setattr__(self, "functions", functions)

    def __call__(self, x: Tensor) -> Tensor:
        return torch.stack([f(x) for f in self.functions]).min()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """The best of the proxes."""
        best, value = x, None
        for f in self.functions:
            p = f.prox(x, step)
            objective = f(p) + ((p - x).square() / (2 * step)).sum()
            if value is None:
                best, value = p, objective
            else:
                better = objective < value
                best, value = torch.where(better, p, best), torch.where(better, objective, value)
        return best

    __rmul__ = scaled
