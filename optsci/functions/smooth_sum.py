r"""Sums of smooth functions, which keep their gradients.

.. math:: \nabla (f_1 + f_2 + \dots) = \nabla f_1 + \nabla f_2 + \dots, \qquad L \le L_1 + L_2 + \dots

Reference: A. Beck, First-Order Methods in Optimization, SIAM 2017, chapter 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optsci.functions.calculus import added, scaled
from optsci.protocols import require


@dataclass(frozen=True, eq=False, init=False)
class SmoothSum:
    r"""``f_1(x) + f_2(x) + ...`` of smooth functions.

    .. math:: \nabla (f_1 + f_2 + \dots) = \nabla f_1 + \nabla f_2 + \dots, \qquad L \le L_1 + L_2 + \dots

    It has no prox: that of a sum is not made of those of its parts.

    Args:
        functions: one or more, with ``grad``; and ``lipschitz``, where the sum is to have it.

    Raises:
        TypeError: one has no gradient.
        ValueError: no function at all.

    >>> from optsci import Huber, LeastSquares
    >>> f = LeastSquares([[2.0]], [1.0]) + Huber()
    >>> f(torch.tensor([1.0])), f.grad(torch.tensor([1.0])), f.lipschitz()
    (tensor(1.), tensor([3.]), 5.0)
    """

    functions: tuple[Any, ...]

    def __init__(self, *functions: Any) -> None:
        if not functions:
            raise ValueError("SmoothSum needs at least one function, got none")
        for k, f in enumerate(functions):
            require(f, "grad", by="SmoothSum", name=f"functions[{k}]")
        object.__setattr__(self, "functions", functions)

    def __call__(self, x: Tensor) -> Tensor:
        return torch.stack([f(x) for f in self.functions]).sum()

    def grad(self, x: Tensor) -> Tensor:
        """Sum of the gradients, of the shape of ``x``."""
        return torch.stack([f.grad(x) for f in self.functions]).sum(0)

    @property
    def lipschitz(self) -> Any:
        """``lipschitz() = sum_i f_i.lipschitz()``."""
        constants = [f.lipschitz for f in self.functions]
        return lambda: sum(lipschitz() for lipschitz in constants)

    @property
    def like(self) -> Tensor:
        """That of the first function that has one."""
        for f in self.functions:
            if hasattr(f, "like"):
                return f.like
        raise AttributeError("no function of this SmoothSum says what x is like")

    __add__ = added
    __rmul__ = scaled
