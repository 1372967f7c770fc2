r"""Linear operators made of others: one after another, and one below another; differences of a sequence.

.. math:: (A B)^\top = B^\top A^\top, \qquad
          \begin{pmatrix} A_1 \\ A_2 \end{pmatrix}^{\!\top} \begin{pmatrix} y_1 \\ y_2 \end{pmatrix}
          = A_1^\top y_1 + A_2^\top y_2

Their ``norm()`` is an upper bound made of the norms of the parts, so that steps derived from it are safe.

Reference: G. H. Golub and C. F. Van Loan, Matrix Computations, 4th ed., Johns Hopkins 2013, section 2.3 (bounds).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optsci.linear_maps import Adjoint
from optsci.operators import as_operator


@dataclass(frozen=True, eq=False)
class Composition:
    """``A(B(x))``, first B and then A.

    Args:
        A: (m, k) matrix or operator.
        B: (k, n) matrix or operator.

    Raises:
        ValueError: A takes another number of scalars than B gives.

    >>> AB = Composition([[1.0, 1.0]], [[1.0, 0.0], [0.0, 2.0]])
    >>> AB(torch.ones(2)), AB.T(torch.ones(1)), AB.shape, AB.norm() >= 5**0.5
    (tensor([3.]), tensor([1., 2.]), (1, 2), True)
    """

    A: Any
    B: Any

    def __post_init__(self) -> None:
        A, B = as_operator(self.A), as_operator(self.B)
        if A.shape[1] != B.shape[0]:
            raise ValueError(f"A must take the {B.shape[0]} scalars that B gives, but it takes {A.shape[1]}")
        object.__setattr__(self, "A", A)
        object.__setattr__(self, "B", B)

    def __call__(self, x: Tensor) -> Tensor:
        return self.A(self.B(x))

    @property
    def T(self) -> Composition:
        return Composition(self.B.T, self.A.T)

    @property
    def shape(self) -> tuple[int, int]:
        return self.A.shape[0], self.B.shape[1]

    def norm(self) -> float:
        """Return ``A.norm() * B.norm()``, an upper bound of the largest singular value."""
        return self.A.norm() * self.B.norm()


@dataclass(frozen=True, eq=False, init=False)
class Stack:
    """``A_1(x), A_2(x), ...`` joined along the first dimension: the rows of one operator below those of another.

    Args:
        operators: (m_i, n) matrices or operators, which give vectors (m_i,) or columns (m_i, k).

    Raises:
        ValueError: no operator at all, they take different numbers of scalars, one gives no vectors, or y has
            another length.

    >>> A = Stack([[1.0, 1.0]], [[1.0, 0.0], [0.0, 2.0]])
    >>> A(torch.ones(2)), A.T(torch.ones(3)), A.shape
    (tensor([2., 1., 2.]), tensor([2., 3.]), (3, 2))
    """

    operators: tuple[Any, ...]

    def __init__(self, *operators: Any) -> None:
        if not operators:
            raise ValueError("Stack needs at least one operator, got none")
        parts = tuple(as_operator(A) for A in operators)
        widths = [A.shape[1] for A in parts]
        if len(set(widths)) > 1:
            raise ValueError(f"operators must take equally many scalars, got {widths}")
        object.__setattr__(self, "operators", parts)

    def __call__(self, x: Tensor) -> Tensor:
        values = [A(x) for A in self.operators]
        for A, value in zip(self.operators, values, strict=True):
            if value.dim() == 0 or value.shape[0] != A.shape[0]:
                raise ValueError(
                    f"operators must give vectors, {type(A).__name__} gives shape {tuple(value.shape)}, "
                    f"not {A.shape[0]} in the first dimension"
                )
        return torch.cat(values)

    @property
    def T(self) -> Adjoint:
        return Adjoint(self, self._gather)

    def _gather(self, y: Tensor) -> Tensor:
        sizes = [A.shape[0] for A in self.operators]
        if y.dim() == 0 or y.shape[0] != sum(sizes):
            raise ValueError(f"y must have a first dimension of {sum(sizes)}, got shape {tuple(y.shape)}")
        parts = [A.T(part) for A, part in zip(self.operators, y.split(sizes), strict=True)]
        return torch.stack(parts).sum(0)

    @property
    def shape(self) -> tuple[int, int]:
        return sum(A.shape[0] for A in self.operators), self.operators[0].shape[1]

    def norm(self) -> float:
        """Return the root of the sum of the squared norms, an upper bound of the largest singular value."""
        return math.hypot(*(A.norm() for A in self.operators))


@dataclass(frozen=True)
class Difference:
    """Differences of neighbours, (..., n) to (..., n - 1).

    Args:
        n: length, at least 2.

    Raises:
        ValueError: ``n`` is below 2, or x or y has another length.

    >>> Difference(3)(torch.tensor([1.0, 2.0, 4.0])), Difference(3).T(torch.tensor([1.0, 2.0]))
    (tensor([1., 2.]), tensor([-1., -1.,  2.]))
    """

    n: int

    def __post_init__(self) -> None:
        if self.n < 2:
            raise ValueError(f"n must be at least 2, got {self.n}")

    def __call__(self, x: Tensor) -> Tensor:
        _require_length(x, self.n, "x")
        return x.diff(dim=-1)

    @property
    def T(self) -> Adjoint:
        return Adjoint(self, self._adjoint)

    def _adjoint(self, y: Tensor) -> Tensor:
        _require_length(y, self.n - 1, "y")
        pad = torch.nn.functional.pad
        return pad(y, (1, 0)) - pad(y, (0, 1))

    @property
    def shape(self) -> tuple[int, int]:
        return self.n - 1, self.n

    def norm(self) -> float:
        """Return the largest singular value, ``2 cos(pi/(2 n))``, exactly."""
        return 2 * math.cos(math.pi / (2 * self.n))


def _require_length(x: Tensor, length: int, name: str) -> None:
    if x.dim() == 0 or x.shape[-1] != length:
        raise ValueError(f"{name} must have a last dimension of {length}, got shape {tuple(x.shape)}")
