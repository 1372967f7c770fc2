r"""One function for every slice of x.

.. math:: f(x) = \sum_i f_i(x_{S_i})

Reference: A. Beck, First-Order Methods in Optimization, SIAM 2017, chapter 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optsci.functions.calculus import Gradient, Prox, scaled


@dataclass(frozen=True, eq=False, init=False)
class Sliced:
    r"""``sum_i f_i(x[..., slice_i])`` over disjoint slices of the last dimension that cover it.

    .. math:: \operatorname{prox}_{s f}(x)_{S_i} = \operatorname{prox}_{s f_i}(x_{S_i})

    As x is one tensor, every algorithm takes it.

    Args:
        functions: one a slice.
        sizes: lengths of the slices, in order.

    Raises:
        ValueError: there are not as many sizes as functions, a size is not positive, or x has another length.

    >>> from optsci import L1, Nonnegative
    >>> Sliced([L1(), Nonnegative()], [1, 2]).prox(torch.tensor([3.0, -1.0, 1.0]), 1.0)
    tensor([2., 0., 1.])
    """

    functions: tuple[Any, ...]
    sizes: tuple[int, ...]

    def __init__(self, functions: Sequence[Any], sizes: Sequence[int]) -> None:
        if len(functions) != len(sizes) or not functions:
            raise ValueError(f"sizes must be as many as functions, got {len(sizes)} and {len(functions)}")
        if any(size <= 0 for size in sizes):
            raise ValueError(f"sizes must be positive, got {list(sizes)}")
        object.__setattr__(self, "functions", tuple(functions))
        object.__setattr__(self, "sizes", tuple(sizes))

    def __call__(self, x: Tensor) -> Tensor:
        return torch.stack([f(part) for f, part in zip(self.functions, self._split(x), strict=True)]).sum()

    @property
    def grad(self) -> Gradient:
        """Gradients of the parts, side by side."""
        grads = [f.grad for f in self.functions]
        return lambda x: torch.cat([grad(part) for grad, part in zip(grads, self._split(x), strict=True)], -1)

    @property
    def prox(self) -> Prox:
        """Proxes of the parts, side by side; a step of many entries is cut like x."""
        proxes = [f.prox for f in self.functions]

        def sliced(x: Tensor, step: float | Tensor) -> Tensor:
            parts = self._split(x)
            wide = isinstance(step, Tensor) and step.dim() > 0 and step.shape[-1] > 1
            steps = self._split(step) if wide and isinstance(step, Tensor) else [step] * len(parts)
            return torch.cat([prox(part, s) for prox, part, s in zip(proxes, parts, steps, strict=True)], -1)

        return sliced

    @property
    def lipschitz(self) -> Any:
        """``lipschitz() = max_i f_i.lipschitz()``."""
        constants = [f.lipschitz for f in self.functions]
        return lambda: max(lipschitz() for lipschitz in constants)

    def _split(self, x: Tensor) -> Sequence[Tensor]:
        if x.dim() == 0 or x.shape[-1] != sum(self.sizes):
            raise ValueError(f"x must have a last dimension of {sum(self.sizes)}, got shape {tuple(x.shape)}")
        return x.split(self.sizes, dim=-1)

    __rmul__ = scaled
