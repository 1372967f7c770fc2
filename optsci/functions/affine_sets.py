r"""Indicators of sets cut out by linear equations and inequalities of vectors.

.. math:: P_C(x) = x - A^+ (A x - b) \quad \text{for} \quad C = \{x : A x = b\}

Vectors run along the last dimension, the leading ones are a batch: the value is 0 when every vector lies in the
set. A vector counts as inside when it violates a constraint by at most ``64 eps sqrt(n) max(1, ||x||)`` in
distance, for floating point cannot hit a hyperplane; the prox returns such vectors to rounding. Projections that
subtract are done twice: the second time removes the rounding error of a long way.

Reference: A. Beck, First-Order Methods in Optimization, SIAM 2017, chapter 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from optsci._tensor import as_finite, as_scalar, euclidean_norm, require_finite, require_fit, require_step
from optsci.functions.calculus import scaled
from optsci.functions.indicators import Box, _within


@dataclass(frozen=True, eq=False)
class Hyperslab:
    r"""Indicator of the slab ``lower <= <a, x> <= upper`` between two parallel hyperplanes.

    .. math:: \operatorname{prox}(x) = x - \frac{\langle a, x \rangle - \min(\max(\langle a, x \rangle,
              \text{lower}), \text{upper})}{\|a\|^2} \, a

    Args:
        a: (n,) the normal, not 0.
        lower: a number; may be ``-inf``.
        upper: a number, at least ``lower``; may be ``inf``.

    Raises:
        ValueError: ``a`` is not a vector, or 0, or not finite; ``lower`` exceeds ``upper``; or the last
            dimension of ``x`` is not n.

    Reference: H. H. Bauschke and P. L. Combettes, Convex Analysis and Monotone Operator Theory in Hilbert
    Spaces, 2nd ed., Springer 2017, chapter 29.

    >>> slab = Hyperslab([1.0, 1.0], -1.0, 2.0)
    >>> slab.prox(torch.tensor([[3.0, 1.0], [0.5, 0.5], [-3.0, 0.0]]), 1.0)
    tensor([[ 2.0000,  0.0000],
            [ 0.5000,  0.5000],
            [-2.0000,  1.0000]])
    """

    a: Tensor
    lower: float | Tensor
    upper: float | Tensor

    def __post_init__(self) -> None:
        lower, upper = as_scalar(self.lower, "lower"), as_scalar(self.upper, "upper")
        box = Box(lower, upper)
        object.__setattr__(self, "a", _normal(self.a))
        object.__setattr__(self, "lower", box.lower)
        object.__setattr__(self, "upper", box.upper)

    def __call__(self, x: Tensor) -> Tensor:
        return _slab(x, self.a, self.lower, self.upper)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        return _onto_slab(x, self.a, self.lower, self.upper)

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class Halfspace:
    r"""Indicator of the halfspace ``<a, x> <= b``.

    .. math:: \operatorname{prox}(x) = x - \frac{(\langle a, x \rangle - b)_+}{\|a\|^2} \, a

    Args:
        a: (n,) the outward normal, not 0.
        b: a number.

    Raises:
        ValueError: ``a`` is not a vector, or 0, or not finite; ``b`` is not a finite number; or the last
            dimension of ``x`` is not n.

    >>> half = Halfspace([1.0, 1.0], 2.0)
    >>> half.prox(torch.tensor([3.0, 1.0]), 1.0), half(torch.tensor([3.0, -3.0]))
    (tensor([2., 0.]), tensor(0.))
    """

    a: Tensor
    b: float | Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "a", _normal(self.a))
        object.__setattr__(self, "b", _number(self.b, "b"))

    def __call__(self, x: Tensor) -> Tensor:
        return _slab(x, self.a, -torch.inf, self.b)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        return _onto_slab(x, self.a, -torch.inf, self.b)

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class Hyperplane:
    r"""Indicator of the hyperplane ``<a, x> = b``.

    .. math:: \operatorname{prox}(x) = x - \frac{\langle a, x \rangle - b}{\|a\|^2} \, a

    Args:
        a: (n,) the normal, not 0.
        b: a number.

    Raises:
        ValueError: ``a`` is not a vector, or 0, or not finite; ``b`` is not a finite number; or the last
            dimension of ``x`` is not n.

    >>> plane = Hyperplane([1.0, 1.0], 2.0)
    >>> plane.prox(torch.tensor([3.0, 1.0]), 1.0), plane(torch.tensor([3.0, -3.0]))
    (tensor([2., 0.]), tensor(inf))
    """

    a: Tensor
    b: float | Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "a", _normal(self.a))
        object.__setattr__(self, "b", _number(self.b, "b"))

    def __call__(self, x: Tensor) -> Tensor:
        return _slab(x, self.a, self.b, self.b)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        return _onto_slab(x, self.a, self.b, self.b)

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class Affine:
    r"""Indicator of the solutions of ``A x = b``.

    .. math:: \operatorname{prox}(x) = x - A^+ (A x - b)

    The pseudo-inverse is computed at the first use and kept; rows of ``A`` may depend on each other.

    Args:
        A: (m, n) a matrix.
        b: (m,) the right-hand side.

    Raises:
        ValueError: ``A`` is not a matrix, ``b`` does not fit it, an entry is not finite, the system has no
            solution; or the last dimension of ``x`` is not n.

    >>> Affine([[1.0, 0.0], [0.0, 2.0]], [2.0, 4.0]).prox(torch.tensor([3.0, 1.0]), 1.0)
    tensor([2., 2.])
    >>> Affine([[1.0, 1.0], [2.0, 2.0]], [2.0, 5.0])
    Traceback (most recent call last):
    ValueError: A x = b has no solution: the best x leaves a residual of norm 0.447
    """

    A: Tensor
    b: Tensor

    def __post_init__(self) -> None:
        A = _matrix(self.A)
        b = as_finite(self.b, "b", like=A)
        if b.shape != A.shape[:1]:
            raise ValueError(f"b must have shape ({A.shape[0]},), as A has {A.shape[0]} rows, got {tuple(b.shape)}")
        object.__setattr__(self, "A", A)
        object.__setattr__(self, "b", b)
        residual = euclidean_norm(A @ (self._inverse @ b) - b).item()
        if residual > 1e3 * torch.finfo(A.dtype).eps * sum(A.shape) * max(euclidean_norm(b).item(), 1e-300):
            raise ValueError(f"A x = b has no solution: the best x leaves a residual of norm {residual:.3g}")

    def __call__(self, x: Tensor) -> Tensor:
        moved = euclidean_norm(self._correction(x), dim=-1)
        return _within(moved, x, euclidean_norm(x, dim=-1), x.shape[-1])

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        x = x - self._correction(x)
        return x - self._correction(x)

    @cached_property
    def _inverse(self) -> Tensor:
        return torch.linalg.pinv(self.A)

    def _correction(self, x: Tensor) -> Tensor:
        _require_vectors(x, self.A, "A")
        return (x @ self.A.mT - self.b) @ self._inverse.mT

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class Graph:
    r"""Indicator of the graph ``{(x, y) : A x = y}`` of a linear map.

    .. math:: \operatorname{prox}(x, y) = (z, A z), \qquad z = (I + A^\top A)^{-1} (x + A^\top y)

    A point is one vector, ``x`` followed by ``y``. The smaller of the Cholesky factors of ``I + A^T A`` and
    ``I + A A^T`` is computed at the first use and kept.

    Args:
        A: (m, n) a matrix; vectors have n + m entries.

    Raises:
        ValueError: ``A`` is not a matrix, or not finite; or the last dimension of ``x`` is not n + m.

    Reference: N. Parikh and S. Boyd, Block splitting for distributed optimization, Math. Program. Comput. 6
    (2014) 77.

    >>> Graph([[1.0, 1.0]]).prox(torch.tensor([1.0, 0.0, 4.0]), 1.0)
    tensor([2.0000, 1.0000, 3.0000])
    """

    A: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "A", _matrix(self.A))

    def __call__(self, x: Tensor) -> Tensor:
        moved = euclidean_norm(x - self.prox(x, 1.0), dim=-1)
        return _within(moved, x, euclidean_norm(x, dim=-1), x.shape[-1])

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        A, (m, n) = self.A, self.A.shape
        _require_length(x, n + m, A, "A")
        start, image = x[..., :n], x[..., n:]
        # Both are the same, by the identity of Woodbury.
        z = start - self._solve(start @ A.mT - image) @ A if m < n else self._solve(start + image @ A)
        return torch.cat([z, z @ A.mT], dim=-1)

    @cached_property
    def _factor(self) -> Tensor:
        A, (m, n) = self.A, self.A.shape
        gram = A @ A.mT if m < n else A.mT @ A
        return torch.linalg.cholesky(gram + torch.eye(min(m, n), dtype=A.dtype, device=A.device))

    def _solve(self, rows: Tensor) -> Tensor:
        flat = rows.reshape(-1, rows.shape[-1])
        return torch.cholesky_solve(flat.mT, self._factor).mT.reshape(rows.shape)

    __rmul__ = scaled


def _slab(x: Tensor, a: Tensor, lower: float | Tensor, upper: float | Tensor) -> Tensor:
    _require_vectors(x, a, "a")
    t, length = x @ a, euclidean_norm(a)
    return _within((t - t.clamp(min=lower).clamp(max=upper)).abs() / length, x, euclidean_norm(x, dim=-1), len(a))


def _onto_slab(x: Tensor, a: Tensor, lower: float | Tensor, upper: float | Tensor) -> Tensor:
    _require_vectors(x, a, "a")
    for _ in range(2):
        t = (x @ a).unsqueeze(-1)
        x = x - (t - t.clamp(min=lower).clamp(max=upper)) / a.square().sum() * a
    return x


def _normal(a: Tensor) -> Tensor:
    a = as_finite(a, "a")
    if a.dim() != 1:
        raise ValueError(f"a must be a vector, got shape {tuple(a.shape)}")
    if not a.detach().count_nonzero():
        raise ValueError("a must not be 0: a hyperplane needs a normal")
    return a


def _matrix(A: Tensor) -> Tensor:
    A = as_finite(A, "A")
    if A.dim() != 2:
        raise ValueError(f"A must be a matrix, got shape {tuple(A.shape)}")
    return A


def _number(x: float | Tensor, name: str) -> float | Tensor:
    number = as_scalar(x, name)
    require_finite(number, name)
    return number


def _require_vectors(x: Tensor, rows: Tensor, name: str) -> None:
    _require_length(x, rows.shape[-1], rows, name)


def _require_length(x: Tensor, length: int, rows: Tensor, name: str) -> None:
    if x.dim() == 0 or x.shape[-1] != length:
        raise ValueError(
            f"{name} of shape {tuple(rows.shape)} needs x of last dimension {length}, got shape {tuple(x.shape)}"
        )
    require_fit(rows.new_zeros(1), x, name)
