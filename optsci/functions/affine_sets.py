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

from optsci._tensor import as_finite, as_scalar, require_finite, require_fit
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
        residual = torch.linalg.vector_norm(A @ (self._inverse @ b) - b).item()
        if residual > 1e3 * torch.finfo(A.dtype).eps * sum(A.shape) * max(torch.linalg.vector_norm(b).item(), 1e-300):
            raise ValueError(f"A x = b has no solution: the best x leaves a residual of norm {residual:.3g}")

    def __call__(self, x: Tensor) -> Tensor:
        moved = torch.linalg.vector_norm(self._correction(x), dim=-1)
        return _within(moved, x, torch.linalg.vector_norm(x, dim=-1), x.shape[-1])

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
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
        moved = torch.linalg.vector_norm(x - self.prox(x, 1.0), dim=-1)
        return _within(moved, x, torch.linalg.vector_norm(x, dim=-1), x.shape[-1])

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
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


@dataclass(frozen=True, eq=False)
class BoxSection:
    r"""Indicator of the section ``<a, x> = b`` of the box ``lower <= x <= upper``.

    .. math:: \operatorname{prox}(x) = \min(\max(x - \nu a, \text{lower}), \text{upper})

    The scalar :math:`\nu` makes the equation hold. It is exact: a bisection over the sorted breakpoints, of
    which there are two an entry, finds which entries stay off their bounds, and a linear equation for these
    gives :math:`\nu`.

    Args:
        lower: a number, or a tensor that broadcasts to ``x``; may be ``-inf``.
        upper: likewise; may be ``inf``.
        a: (n,) the normal, not 0.
        b: a number.

    Raises:
        ValueError: a bound is not one of a `Box`; ``a`` is not a vector, or 0, or not finite; no point of the
            box satisfies the equation; or the last dimension of ``x`` is not n.

    Reference: P. Brucker, An O(n) algorithm for quadratic knapsack problems, Oper. Res. Lett. 3 (1984) 163.

    >>> BoxSection(0, 1, [1.0, 1.0, 1.0], 2.0).prox(torch.tensor([2.0, 0.5, 0.0]), 1.0)
    tensor([1.0000, 0.7500, 0.2500])
    """

    lower: float | Tensor
    upper: float | Tensor
    a: Tensor
    b: float | Tensor

    def __post_init__(self) -> None:
        box = Box(self.lower, self.upper)
        for name, value in (("lower", box.lower), ("upper", box.upper), ("a", _normal(self.a))):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "b", _number(self.b, "b"))
        least, most = self._range()
        b = torch.as_tensor(self.b).detach().double().cpu()
        slack = 64 * torch.finfo(self.a.dtype).eps * len(self.a) ** 0.5 * b.abs().clamp(min=1)
        if not ((least <= b + slack) & (b <= most + slack)).all():
            raise ValueError(
                f"no point of the box satisfies <a, x> = b: there <a, x> lies between {least.max().item():.6g} "
                f"and {most.min().item():.6g}, got b = {b.item():.6g}"
            )

    def __call__(self, x: Tensor) -> Tensor:
        _require_vectors(x, self.a, "a")
        scale = torch.linalg.vector_norm(x, dim=-1)
        off = torch.maximum(self.lower - x, x - self.upper).amax(-1)
        return _within(off, x, scale, 1) + _slab(x, self.a, self.b, self.b)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        _require_vectors(x, self.a, "a")
        require_fit(self.lower, x, "lower")
        require_fit(self.upper, x, "upper")
        return _onto_section(x, self.a, self.b, self.lower, self.upper)

    def _range(self) -> tuple[Tensor, Tensor]:
        """Return the least and the largest <a, x> in the box."""
        a = self.a.detach().double().cpu()
        low, high = (torch.as_tensor(bound).detach().double().cpu() for bound in (self.lower, self.upper))
        least = torch.where(a > 0, a * low, a * high).masked_fill(a == 0, 0)
        most = torch.where(a > 0, a * high, a * low).masked_fill(a == 0, 0)
        return least.sum(-1), most.sum(-1)

    __rmul__ = scaled


def _onto_section(x: Tensor, a: Tensor, b: float | Tensor, lower: float | Tensor, upper: float | Tensor) -> Tensor:
    """Projection on ``lower <= z <= upper, <a, z> = b``, where there is such a point."""
    low, high = (torch.as_tensor(bound, dtype=x.dtype, device=x.device).expand(x.shape) for bound in (lower, upper))
    near, far = torch.where(a > 0, high, low), torch.where(a > 0, low, high)  # bounds met at nu = -inf and inf
    # Entry i stays off its bounds while enter_i < nu < leave_i; one with a_i = 0 does not depend on nu.
    still = (a == 0) | torch.zeros_like(x, dtype=torch.bool)
    divisor = torch.where(a == 0, 1, a)
    with torch.no_grad():
        enter = ((x - near) / divisor).masked_fill(still, -torch.inf)
        leave = ((x - far) / divisor).masked_fill(still, torch.inf)
        breaks = torch.cat([enter, leave], dim=-1).sort(dim=-1).values
        k = torch.zeros_like(breaks[..., :1], dtype=torch.long)
        jump = 1 << max(breaks.shape[-1].bit_length() - 1, 0)
        while jump:  # the largest k whose breakpoint does not lie beyond nu
            ahead = (k + jump).clamp(max=breaks.shape[-1] - 1)
            nu = breaks.gather(-1, ahead)
            placed = torch.where(nu <= enter, near, torch.where(nu >= leave, far, x - nu * a))
            sums = (a * placed).masked_fill(still, 0).sum(-1, keepdim=True)
            k = torch.where(sums >= b, ahead, k)
            jump //= 2
        start = breaks.gather(-1, k)
        end = breaks.gather(-1, (k + 1).clamp(max=breaks.shape[-1] - 1))
        at_near, at_far = (enter >= end) & ~still, (leave <= start) & ~still
        free = ~(at_near | at_far | still)
    fixed = torch.where(at_near, near, torch.where(at_far, far, 0))
    squares = torch.where(free, a.square(), 0).sum(-1, keepdim=True)
    squares = torch.where(squares > 0, squares, 1)
    p = torch.where(free, x, fixed)
    for _ in range(2):  # the second time removes the rounding error of a long way
        excess = (a * torch.where(still, 0, p)).sum(-1, keepdim=True) - b
        p = torch.where(free, p - excess / squares * a, p)
    return torch.where(still, x, p).clamp(min=lower).clamp(max=upper)


def _slab(x: Tensor, a: Tensor, lower: float | Tensor, upper: float | Tensor) -> Tensor:
    _require_vectors(x, a, "a")
    t, length = x @ a, torch.linalg.vector_norm(a)
    return _within(
        (t - t.clamp(min=lower).clamp(max=upper)).abs() / length, x, torch.linalg.vector_norm(x, dim=-1), len(a)
    )


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
