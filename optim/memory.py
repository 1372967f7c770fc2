r"""How many numbers an optimizer keeps: of a model on any device, also on ``meta``, before anything is trained.

.. math:: 1 - \frac{N_M + \sum_{\text{factored}} k (m + n) + \sum_{\text{others}} \text{size}}{2 N}

is the saving against Adam's 2 N, with N parameters and N_M = N, or 0 without a first moment.  With k = 1 and with a
quarter of the smaller dimension this gives the published figures of Zhao et al., arXiv 2403.14958, to the digit; that
they count in this way, embeddings included, is inferred from that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from numbers import Integral
from typing import Any

from torch import Tensor

from .requirements import require_flag, require_functions, require_rank

Factored = Callable[[int, int, int], bool]


def saves_memory(m: int, n: int, rank: int) -> bool:
    """Whether factors of that rank are worth it: smaller than the matrix, which has at least 32 rows and columns.

    Example:
        >>> saves_memory(768, 768, 16), saves_memory(768, 768, 384), saves_memory(768, 3, 1)
        (True, False, False)
    """
    return min(m, n) >= 32 and rank * (m + n) < m * n


def matrix_shape(shape: Iterable[int]) -> tuple[int, int]:
    """A tensor as a matrix: its first dimension, and the others in one; a vector has one column.

    Example:
        >>> matrix_shape((64, 3, 7, 7)), matrix_shape((64,)), matrix_shape(())
        ((64, 147), (64, 1), (1, 1))
    """
    m, *others = (*shape,) or (1,)
    return m, math.prod(others)


def columns_of(shape: Iterable[int], rank: float, factored: Factored = saves_memory) -> int:
    """Columns of the factors of a tensor, 0 where its second moment is dense.

    Args:
        shape: of the tensor.
        rank: a whole number, or a share of the smaller dimension, below 1.
        factored: (m, n, columns) -> whether to factor.

    Example:
        >>> columns_of((3072, 768), 16), columns_of((3072, 768), 0.25), columns_of((768,), 16)
        (16, 192, 0)
    """
    shape = tuple(shape)
    m, n = matrix_shape(shape)
    least = min(m, n)
    k = min(int(rank), least) if isinstance(rank, Integral) else max(int(rank * least), 1)
    return k if len(shape) > 1 and least > 0 and factored(m, n, k) else 0


def state_numbers(
    parameters: Iterable[Any], rank: float, *, first_moment: bool = True, factored: Factored = saves_memory
) -> int:
    """Numbers that ``Adapprox`` keeps for these parameters, those of a rank or a step left out.

    Args:
        parameters: tensors, or pairs of a name and a tensor; shapes are all that is looked at, and a tied one counts
            once.
        rank: see ``columns_of``.
        first_moment: whether there is one.
        factored: see ``columns_of``.

    Raises:
        ValueError: the rank is out of range.
        TypeError: something is no tensor, or ``factored`` no function.

    Example:
        >>> import torch
        >>> state_numbers(torch.nn.Linear(768, 3072, device="meta").parameters(), 16, first_moment=False)
        64512
    """
    rank = require_rank(rank)
    require_flag(first_moment, "first_moment")
    require_functions(factored=factored)
    total = 0
    for p in _different(parameters):
        (m, n), k = matrix_shape(p.shape), columns_of(p.shape, rank, factored)
        total += first_moment * m * n + (k * (m + n) if k else m * n)
    return total


def saving(
    parameters: Iterable[Any], rank: float, *, first_moment: bool = True, factored: Factored = saves_memory
) -> float:
    """The share of Adam's state that ``Adapprox`` does without; arguments and errors as for ``state_numbers``.

    Raises:
        ValueError: there are no parameters, or only empty ones.

    Example:
        >>> import torch
        >>> f"{saving(torch.nn.Linear(768, 3072, device='meta').parameters(), 16):.2%}"
        '48.63%'
    """
    different = _different(parameters)
    kept = state_numbers(different, rank, first_moment=first_moment, factored=factored)
    whole = sum(p.numel() for p in different)
    if whole == 0:
        raise ValueError(f"parameters must have at least one number, got {len(different)} tensors with none")
    return 1 - kept / (2 * whole)


def _different(parameters: Any) -> list[Tensor]:
    """Every tensor once."""
    if isinstance(parameters, Tensor) or not isinstance(parameters, Iterable):
        raise TypeError(f"parameters must be tensors, as model.parameters() gives, got {type(parameters).__name__}")
    tensors = {}
    for item in parameters:
        p = item[1] if isinstance(item, tuple) and len(item) == 2 else item
        if not isinstance(p, Tensor):
            raise TypeError(f"parameters must be tensors, or pairs of a name and a tensor, got {item!r} among them")
        tensors[id(p)] = p
    return list(tensors.values())
