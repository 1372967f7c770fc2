r"""Linear operators of images, plans and batches: they take tensors of any batch, in the shape that they have.

.. math:: \nabla : \mathbb{R}^{H \times W} \to \mathbb{R}^{2 \times H \times W}, \qquad
          P \mapsto (P \mathbf 1, P^\top \mathbf 1)

``shape`` counts scalars, as for a matrix; leading dimensions beyond those an operator names are a batch.

Reference: A. Chambolle, J. Math. Imaging Vis. 20 (2004) 89 (differences of an image, and their norm).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from optsci._tensor import as_tensor, require_fit, require_floating


@dataclass(frozen=True)
class Gradient:
    """Forward differences of an image along both dimensions, 0 at the far borders.

    ``A(x)`` takes (..., H, W) to (..., 2, H, W).

    Args:
        image: (H, W).

    Raises:
        ValueError: a size is not positive.

    >>> Gradient((2, 2))(torch.tensor([[1.0, 2.0], [4.0, 8.0]]))
    tensor([[[3., 6.],
             [0., 0.]],
    <BLANKLINE>
            [[1., 0.],
             [4., 0.]]])
    """

    image: tuple[int, int]

    def __post_init__(self) -> None:
        if len(self.image) != 2 or min(self.image) < 1:
            raise ValueError(f"image must be (H, W), both positive, got {self.image!r}")

    def __call__(self, x: Tensor) -> Tensor:
        _require_last(x, self.image, "x")
        down = torch.nn.functional.pad(x.diff(dim=-2), (0, 0, 0, 1))
        right = torch.nn.functional.pad(x.diff(dim=-1), (0, 1))
        return torch.stack([down, right], dim=-3)

    @property
    def T(self) -> Adjoint:
        return Adjoint(self, self._divergence)

    def _divergence(self, y: Tensor) -> Tensor:
        _require_last(y, (2, *self.image), "y")
        down, right = y[..., 0, :-1, :], y[..., 1, :, :-1]
        pad = torch.nn.functional.pad
        # The adjoint of a difference: what left an entry minus what reached it.
        vertical = pad(down, (0, 0, 1, 0)) - pad(down, (0, 0, 0, 1))
        return vertical + pad(right, (1, 0)) - pad(right, (0, 1))

    @property
    def shape(self) -> tuple[int, int]:
        count = math.prod(self.image)
        return 2 * count, count

    def norm(self) -> float:
        """Return the largest singular value, exactly; less than the square root of 8."""
        return math.sqrt(sum(4 * math.cos(math.pi / (2 * n)) ** 2 for n in self.image))


@dataclass(frozen=True)
class Marginals:
    """Sums over the rows and the columns of a plan, one after the other.

    ``A(P)`` takes (..., m, n) to (..., m + n): the m sums of rows, then the n sums of columns.

    Args:
        m: rows of the plan.
        n: columns.

    Raises:
        ValueError: a size is not positive.

    >>> Marginals(2, 2)(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([3., 7., 4., 6.])
    """

    m: int
    n: int

    def __post_init__(self) -> None:
        if min(self.m, self.n) < 1:
            raise ValueError(f"m and n must be positive, got m = {self.m} and n = {self.n}")

    def __call__(self, x: Tensor) -> Tensor:
        _require_last(x, (self.m, self.n), "x")
        return torch.cat([x.sum(-1), x.sum(-2)], -1)

    @property
    def T(self) -> Adjoint:
        return Adjoint(self, self._spread)

    def _spread(self, y: Tensor) -> Tensor:
        _require_last(y, (self.m + self.n,), "y")
        return y[..., : self.m, None] + y[..., None, self.m :]

    @property
    def shape(self) -> tuple[int, int]:
        return self.m + self.n, self.m * self.n

    def norm(self) -> float:
        """Return the largest singular value, ``sqrt(m + n)``."""
        return math.sqrt(self.m + self.n)


@dataclass(frozen=True, eq=False)
class Diagonal:
    """Multiplication entry by entry, ``A(x) = d * x``; a mask of zeros and ones keeps what was observed.

    Args:
        d: a tensor that x broadcasts with and keeps its shape.

    >>> Diagonal([1.0, 0.0])(torch.tensor([3.0, 4.0]))
    tensor([3., 0.])
    """

    d: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "d", as_tensor(self.d, "d"))

    def __call__(self, x: Tensor) -> Tensor:
        _require_last(x, tuple(self.d.shape), "x")
        require_fit(self.d, x, "d")
        return self.d * x

    @property
    def T(self) -> Diagonal:
        return self

    @property
    def shape(self) -> tuple[int, int]:
        return self.d.numel(), self.d.numel()

    def norm(self) -> float:
        """Return the largest magnitude."""
        return float(self.d.detach().abs().max()) if self.d.numel() else 0.0


@dataclass(frozen=True, eq=False)
class BatchMatrix:
    """A matrix for each problem of a batch: ``A(x)`` takes x (B, n) to (B, m), the i-th row by the i-th matrix.

    Args:
        entries: (B, m, n); for one matrix in common, ``A.expand(B, m, n)``.

    Raises:
        ValueError: ``entries`` is empty or has not three dimensions.

    >>> A = BatchMatrix([[[3.0, 4.0]], [[0.0, 1.0]]])
    >>> A(torch.ones(2, 2)), A.shape, A.norms(), A.norm()
    (tensor([[7.],
            [1.]]), (2, 4), tensor([[5.],
            [1.]]), 5.0)
    """

    entries: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", as_tensor(self.entries, "A"))
        if self.entries.dim() != 3 or self.entries.numel() == 0:
            raise ValueError(f"A must be a batch of matrices (B, m, n), not of shape {tuple(self.entries.shape)}")

    def __call__(self, x: Tensor) -> Tensor:
        batch, _, n = self.entries.shape
        _require_last(x, (batch, n), "x")
        require_floating(x)
        return (self.entries @ x[..., None])[..., 0]

    @property
    def T(self) -> BatchMatrix:
        return BatchMatrix(self.entries.mT)

    @property
    def shape(self) -> tuple[int, int]:
        batch, m, n = self.entries.shape
        return batch * m, batch * n

    def norm(self) -> float:
        """Return the largest singular value of all."""
        return float(self._norms.max())

    def norms(self) -> Tensor:
        """Return the largest singular value of each matrix, (B, 1): a step ``1 / A.norms()**2`` has one a problem.

        Half precision is computed in float32. The result is a constant: no gradient flows through it.
        """
        return self._norms.to(self.entries.dtype)

    @cached_property
    def _norms(self) -> Tensor:
        A = self.entries.detach()
        A = A.to(torch.promote_types(A.dtype, torch.float32))
        if not A.isfinite().all():
            raise ValueError("A holds NaN or infinite entries")
        # Powers of 2, by which nothing is rounded and no square overflows.
        exponent = torch.frexp(A.abs().amax((-2, -1))).exponent
        wide = torch.ldexp(A if A.shape[-2] <= A.shape[-1] else A.mT, -exponent[:, None, None])
        square = torch.linalg.eigvalsh(wide @ wide.mT)[:, -1].clamp(min=0)
        return torch.ldexp(square.sqrt(), exponent)[:, None]


@dataclass(frozen=True)
class Identity:
    """The identity of R^n; ``shape`` is (n, n), and x any tensor.

    >>> Identity(2)(torch.tensor([3.0, 4.0]))
    tensor([3., 4.])
    """

    n: int

    def __call__(self, x: Tensor) -> Tensor:
        return x

    @property
    def T(self) -> Identity:
        return self

    @property
    def shape(self) -> tuple[int, int]:
        return self.n, self.n

    def norm(self) -> float:
        """Return 1."""
        return 1.0


@dataclass(frozen=True, eq=False)
class Adjoint:
    """The adjoint of an operator, whose products are a function; ``T`` is the operator again.

    Args:
        of: the operator.
        product: what the adjoint does to y.

    >>> Adjoint(Identity(2), lambda y: y).shape
    (2, 2)
    """

    of: Any
    product: Callable[[Tensor], Tensor]

    def __call__(self, y: Tensor) -> Tensor:
        return self.product(y)

    @property
    def T(self) -> Any:
        return self.of

    @property
    def shape(self) -> tuple[int, int]:
        m, n = self.of.shape
        return n, m

    def norm(self) -> float:
        """Return that of the operator."""
        return self.of.norm()


def _require_last(x: Tensor, shape: tuple[int, ...], name: str) -> None:
    if x.shape[x.dim() - len(shape) :] != shape or x.dim() < len(shape):
        raise ValueError(f"{name} must end in the shape {shape}, got {tuple(x.shape)}")
