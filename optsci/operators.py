r"""Linear operators: ``A(x)``, the adjoint ``A.T(y)``, ``A.shape``, the largest singular value ``A.norm()``.

.. math:: \|A\| = \max_x \|A x\| / \|x\|

Any object with these four is an operator (``optsci.protocols.Operator``); ``Matrix`` is the dense one, and
``NumpyOperator`` one whose products are functions of NumPy arrays.

Source: Golub and Van Loan, Matrix Computations (4th ed., 2013), section 7.3 (power iteration).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from optsci._tensor import as_tensor, require_floating
from optsci.linalg import lanczos_bound
from optsci.protocols import Operator


@dataclass(frozen=True, eq=False)
class Matrix:
    """The dense operator x -> A x.

    Args:
        entries: (m, n). ``A(x)`` takes x (n,) or columns (n, k), ``A.T(y)`` takes y (m,) or columns (m, k).

    Example:
        >>> A = Matrix([[1.0, 2.0], [0.0, 1.0], [0.0, 0.0]])
        >>> A(torch.ones(2)), A.T(torch.ones(3)), A.shape
        (tensor([3., 1., 0.]), tensor([1., 3.]), (3, 2))
    """

    entries: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", as_tensor(self.entries, "A"))
        if self.entries.ndim != 2 or self.entries.numel() == 0:
            raise ValueError(f"A must be a matrix (m, n), not of shape {tuple(self.entries.shape)}")

    def __call__(self, x: Tensor) -> Tensor:
        require_floating(x)
        return self.entries @ x

    @property
    def T(self) -> Matrix:
        return Matrix(self.entries.mT)

    @property
    def shape(self) -> tuple[int, int]:
        m, n = self.entries.shape
        return m, n

    def norm(self) -> float:
        """Return the largest singular value, or its ``lanczos_bound`` if both m and n exceed 1024.

        Half precision is computed in float32.
        """
        return self._norm

    @cached_property
    def _norm(self) -> float:
        A = self.entries.detach()
        A = A.to(torch.promote_types(A.dtype, torch.float32))
        largest = A.abs().max().item()
        if not math.isfinite(largest):
            raise ValueError("A holds NaN or infinite entries")
        if largest == 0:
            return 0.0
        scale = 2.0 ** math.frexp(largest)[1]  # so that no square overflows; a power of 2, so that nothing is rounded
        wide = (A if A.shape[0] <= A.shape[1] else A.mT) / scale
        if wide.shape[0] <= 1024:
            return scale * math.sqrt(torch.linalg.eigvalsh(wide @ wide.mT)[-1].item())
        return scale * math.sqrt(lanczos_bound(lambda v: wide @ (wide.mT @ v), wide[:, 0]))


@dataclass(frozen=True, eq=False)
class NumpyOperator:
    """A linear operator whose products are functions of NumPy arrays, as those of SciPy's ``LinearOperator`` are.

    Tensors travel by way of the CPU, and keep their dtype and device. There are no derivatives: torch refuses an
    x that requires them.

    Args:
        matvec: (n,) -> (m,), the product A x.
        rmatvec: (m,) -> (n,), the product with the adjoint.
        shape: ``(m, n)``.

    Example:
        >>> A = NumpyOperator(np.diff, lambda y: -np.diff(y, prepend=0, append=0), (2, 3))
        >>> A(torch.tensor([1.0, 2.0, 4.0])), A.T(torch.tensor([1.0, 2.0]))
        (tensor([1., 2.]), tensor([-1., -1.,  2.]))
    """

    matvec: Callable[[np.ndarray], Any]
    rmatvec: Callable[[np.ndarray], Any]
    shape: tuple[int, int]

    def __call__(self, x: Tensor) -> Tensor:
        if x.dim() == 2:
            return torch.stack([self(column) for column in x.mT], dim=1)
        return as_tensor(self.matvec(x.cpu().numpy()), "A x").to(x)

    @property
    def T(self) -> NumpyOperator:
        return NumpyOperator(self.rmatvec, self.matvec, self.shape[::-1])

    def norm(self) -> float:
        """Return the ``lanczos_bound`` of the largest singular value, computed in float64."""
        return self._norm

    @cached_property
    def _norm(self) -> float:
        short = self if self.shape[1] <= self.shape[0] else self.T
        return math.sqrt(lanczos_bound(lambda v: short.T(short(v)), torch.zeros(short.shape[1], dtype=torch.float64)))


def as_operator(A: Any) -> Operator:
    """Return an operator as it is; a tensor, an ndarray or nested lists as a ``Matrix``.

    What has ``matvec`` and ``rmatvec`` but no ``norm``, like SciPy's ``LinearOperator``, becomes a ``NumpyOperator``.

    Example:
        >>> as_operator([[3.0, 0.0], [0.0, 4.0]]).norm()
        4.0
    """
    if hasattr(A, "matvec") and hasattr(A, "rmatvec") and not hasattr(A, "norm"):
        return NumpyOperator(A.matvec, A.rmatvec, A.shape)
    return A if callable(A) and hasattr(A, "T") else Matrix(A)


class PowerState(NamedTuple):
    """An iteration of ``power_iteration``."""

    x: Tensor  # (n,) unit vector that tends to a leading right singular vector
    residual: Tensor  # ||A^T A v - s^2 v|| / s^2, v the vector before x
    norm: Tensor  # s = ||A v||, a lower bound of the largest singular value


def power_iteration(A: Any, x0: Any = None) -> Iterator[PowerState]:
    r"""Power iteration :math:`x_{k+1} = A^\top A x_k / \|A^\top A x_k\|`: the largest singular value of A.

    ``norm`` rises to it unless x0 is orthogonal to the leading right singular vectors; the error of x falls
    as :math:`(s_2/s_1)^{2k}`.

    Args:
        A: (m, n), an operator or a matrix.
        x0: (n,) start, not zero. None: a fixed pseudo-random vector; for an operator that is no ``Matrix``,
            of torch's default dtype on the CPU.

    The residual is ``||A^T A v - s^2 v|| / s^2`` with ``s = ||A v||``.

    Reference: Golub and Van Loan (2013), section 7.3.

    Example:
        >>> import optsci
        >>> optsci.solve(power_iteration([[3.0, 0.0], [0.0, 4.0]])).state.norm
        tensor(4.)
    """
    A = as_operator(A)
    x0 = _pseudo_random(A) if x0 is None else as_tensor(x0, "x0", like=A.entries if isinstance(A, Matrix) else None)
    if x0.shape != (A.shape[1],):
        raise ValueError(f"x0 must have the shape ({A.shape[1]},) that A takes, not {tuple(x0.shape)}")

    def iterate(x: Tensor) -> Iterator[PowerState]:
        while True:
            v = _unit(x)
            Av = A(v)
            x = A.T(Av)
            square = (Av * Av).sum()
            residual = (x - square * v).norm() / torch.where(square > 0, square, 1.0)
            yield PowerState(_unit(x), residual, square.sqrt())

    return iterate(x0)


def _pseudo_random(A: Operator) -> Tensor:
    start = torch.randn(A.shape[1], generator=torch.Generator().manual_seed(0))
    return start.to(A.entries) if isinstance(A, Matrix) else start


def _unit(v: Tensor) -> Tensor:
    norm = v.norm()
    return v / torch.where(norm > 0, norm, 1.0)
