r"""Smooth functions that measure misfit: least squares, quadratics, the logistic loss, and any callable.

A function is a value: it may keep what it has computed from ``A`` or ``Q``, so build a new one when they
change.

Reference: A. Beck, First-Order Methods in Optimization, SIAM 2017, chapters 5 and 6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from optsci._tensor import as_coefficient, as_finite, require_finite, require_fit, require_floating, require_step
from optsci.functions.calculus import Prox, added, scaled
from optsci.linalg import largest_eigenvalue, require_symmetric
from optsci.linear_maps import BatchMatrix
from optsci.operators import Matrix, as_operator
from optsci.protocols import Operator


@dataclass(frozen=True, eq=False)
class LeastSquares:
    r"""``1/2 ||A x - b||^2``.

    .. math:: \nabla f(x) = A^T (A x - b), \qquad L = \|A\|^2, \qquad
              \operatorname{prox}_{s f}(x) = x - s \, (I + s A^T A)^{-1} A^T (A x - b)

    Where A is a matrix with fewer rows than columns the prox solves the smaller system of Woodbury's
    identity, :math:`(I + s A^T A)^{-1} A^T = A^T (I + s A A^T)^{-1}`. The Cholesky factor is kept for the
    last step given as a float; a step given as a tensor is differentiated through, and factorised every time.

    Args:
        A: (m, n) matrix, or a ``BatchMatrix`` (B, m, n), or another linear operator (then there is no ``prox``).
        b: (m,) for ``x`` (n,), or (m, k) for ``x`` (n, k): k problems side by side. For a ``BatchMatrix`` (B, m), for
            ``x`` (B, n); the step of the prox may then be a tensor (B, 1).

    Raises:
        ValueError: ``b`` has not the rows of ``A`` or disagrees in dtype or device, data are not finite, ``A
            x`` has not the shape of ``b``, or ``step`` is not a single number, nor one a problem of a batch.

    >>> f = LeastSquares([[1.0, 0.0], [0.0, 2.0]], [1.0, 2.0])
    >>> f(torch.zeros(2)), f.grad(torch.zeros(2)), f.lipschitz(), f.prox(torch.zeros(2), 0.5)
    (tensor(2.5000), tensor([-1., -4.]), 4.0, tensor([0.3333, 0.6667]))
    """

    A: Any
    b: Any

    def __post_init__(self) -> None:
        A, b = _operator_and_data(self.A, self.b, "b")
        object.__setattr__(self, "A", A)
        object.__setattr__(self, "b", b)

    def __call__(self, x: Tensor) -> Tensor:
        return self._residual(x).square().sum() / 2

    def grad(self, x: Tensor) -> Tensor:
        """``A^T (A x - b)``, of the shape of ``x``."""
        return self.A.T(self._residual(x))

    def lipschitz(self) -> float:
        """Lipschitz constant of the gradient, ``||A||^2``."""
        return self.A.norm() ** 2

    @property
    def prox(self) -> Prox:
        """``prox(x, step)``, of the shape of ``x``, where A is a matrix or a batch of them."""
        if not isinstance(self.A, Matrix | BatchMatrix):
            raise AttributeError("LeastSquares has no prox in this form: its A is an operator, not a matrix")
        return self._prox

    def _prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        require_step(step)
        residual, adjoint, solve = self._residual(x), self.A.T, self._resolvent
        m, n = self.A.shape
        return x - step * (solve(adjoint(residual), step) if n <= m else adjoint(solve(residual, step)))

    @cached_property
    def _resolvent(self) -> _Resolvent:
        A = self.A.entries
        return _Resolvent(A.mT @ A if A.shape[-1] <= A.shape[-2] else A @ A.mT)

    @property
    def like(self) -> Tensor:
        return _domain(self.A, self.b)

    def _residual(self, x: Tensor) -> Tensor:
        return _same_shape(self.A(x), self.b, "A x", "b") - self.b

    __add__ = added
    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class Quadratic:
    r"""``1/2 <x, Q x> - <c, x> + constant``, for a vector or for every row of a matrix, summed.

    .. math:: \nabla f(x) = x Q - c, \qquad L = \lambda_{\max}(Q), \qquad
              \operatorname{prox}_{s f}(x) = x - s \, (x Q - c) (I + s Q)^{-1}

    The matrix form is the layer problem of compression: with ``Q = X X^T``, ``c = Y X^T`` and ``constant =
    ||Y||^2/2`` it is ``1/2 ||W X - Y||^2`` in the rows of W. The Cholesky factor is kept for the last step
    given as a float; a step given as a tensor is differentiated through, and factorised every time.

    Args:
        Q: (n, n) symmetric positive semidefinite. Symmetry is checked; definiteness would take its
            eigenvalues.
        c: (n,), or (m, n) to give every row of ``x`` (m, n) its own; zero if None.
        constant: a number, so that the value means what one wants it to mean.

    Raises:
        ValueError: ``Q`` is not square or not symmetric, shapes, dtypes or devices disagree, data are not
            finite, ``step`` is not a single number, or ``I + step Q`` is not positive definite.

    >>> f = Quadratic([[2.0, 0.0], [0.0, 4.0]], [2.0, 4.0], constant=3.0)
    >>> f(torch.ones(2)), f.grad(torch.zeros(2)), f.lipschitz(), f.prox(torch.zeros(2), 0.5)
    (tensor(0.), tensor([-2., -4.]), 4.0, tensor([0.5000, 0.6667]))
    """

    Q: Any
    c: Any = None
    constant: float | Tensor = 0.0

    def __post_init__(self) -> None:
        Q = as_finite(self.Q, "Q")
        if Q.dim() != 2 or Q.shape[0] != Q.shape[1] or Q.numel() == 0:
            raise ValueError(f"Q must be a square matrix, got shape {tuple(Q.shape)}")
        require_symmetric(Q, "Q")
        c = Q.new_zeros(len(Q)) if self.c is None else as_finite(self.c, "c", like=Q)
        if c.dim() == 0 or c.shape[-1] != len(Q):
            raise ValueError(f"c must have a last dimension of {len(Q)}, as Q has, got shape {tuple(c.shape)}")
        constant = as_coefficient(self.constant, "constant")
        require_finite(constant, "constant")
        object.__setattr__(self, "Q", Q)
        object.__setattr__(self, "c", c)
        object.__setattr__(self, "constant", constant)

    def __call__(self, x: Tensor) -> Tensor:
        require_fit(self.c, x, "c")
        return ((x @ self.Q / 2 - self.c) * x).sum() + self.constant

    def grad(self, x: Tensor) -> Tensor:
        """``x Q - c``, of the shape of ``x``."""
        require_fit(self.c, x, "c")
        return x @ self.Q - self.c

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """``x - step (x Q - c) (I + step Q)^{-1}``, of the shape of ``x``; ``step`` is a single number."""
        require_step(step)
        columns = self.grad(x).reshape(-1, x.shape[-1]).mT
        return x - step * self._resolvent(columns, step).mT.reshape(x.shape)

    def lipschitz(self) -> float:
        """Lipschitz constant of the gradient, the largest eigenvalue of Q."""
        return self._lipschitz

    @property
    def like(self) -> Tensor:
        return self.c

    @cached_property
    def _lipschitz(self) -> float:
        return largest_eigenvalue(self.Q)

    @cached_property
    def _resolvent(self) -> _Resolvent:
        return _Resolvent(self.Q)

    __add__ = added
    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class Logistic:
    r"""``sum_i log(1 + exp(-y_i <a_i, x>))``, the logistic loss of a linear classifier.

    .. math:: \nabla f(x) = -A^T (y \cdot \sigma(-y \cdot A x)), \qquad L = \tfrac14 \|A\|^2, \qquad
              \sigma(t) = \frac{1}{1 + e^{-t}}

    Args:
        A: (m, n) matrix or linear operator; its rows ``a_i`` are instances.
        y: (m,) labels, each -1 or +1.

    Raises:
        ValueError: a label is neither -1 nor +1, ``y`` has not the rows of ``A``, data are not finite, or ``A
            x`` has not the shape of ``y``.

    >>> f = Logistic([[1.0, 0.0], [0.0, 2.0]], [1, -1])
    >>> f(torch.zeros(2)), f.grad(torch.zeros(2)), f.lipschitz()
    (tensor(1.3863), tensor([-0.5000,  1.0000]), 1.0)
    """

    A: Any
    y: Any

    def __post_init__(self) -> None:
        A, y = _operator_and_data(self.A, self.y, "y")
        wrong = y[y.abs() != 1]
        if len(wrong):
            raise ValueError(f"y must hold only -1 and +1, got {wrong[0].item():g}; 0/1 labels become 2*y - 1")
        object.__setattr__(self, "A", A)
        object.__setattr__(self, "y", y)

    def __call__(self, x: Tensor) -> Tensor:
        return -torch.nn.functional.logsigmoid(self._margins(x)).sum()

    def grad(self, x: Tensor) -> Tensor:
        """``-A^T (y sigmoid(-y A x))``, of the shape of ``x``."""
        return -self.A.T(self.y * torch.sigmoid(-self._margins(x)))

    def lipschitz(self) -> float:
        """Lipschitz constant of the gradient, ``||A||^2 / 4``."""
        return self.A.norm() ** 2 / 4

    @property
    def like(self) -> Tensor:
        return _domain(self.A, self.y)

    def _margins(self, x: Tensor) -> Tensor:
        return self.y * _same_shape(self.A(x), self.y, "A x", "y")

    __add__ = added
    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class Autodiff:
    """A callable as a smooth function: the gradient is computed by automatic differentiation.

    There is no ``lipschitz``: pass a step to the algorithm, or take one that finds its own.

    Args:
        f: ``tensor -> 0-d tensor``, differentiable by torch.

    Raises:
        TypeError: ``f`` cannot be called.

    >>> f = Autodiff(lambda x: (x ** 4).sum())
    >>> f(torch.tensor([1.0, 2.0])), f.grad(torch.tensor([1.0, 2.0]))
    (tensor(17.), tensor([ 4., 32.]))
    """

    f: Callable[[Tensor], Tensor]

    def __post_init__(self) -> None:
        if not callable(self.f):
            raise TypeError(f"f must be a function of a tensor, got {self.f!r}")

    def __call__(self, x: Tensor) -> Tensor:
        return self.f(x)

    def grad(self, x: Tensor) -> Tensor:
        """The gradient, of the shape of ``x``; itself differentiable."""
        require_floating(x)
        return torch.func.grad(self.f)(x)

    __add__ = added
    __rmul__ = scaled


class _Resolvent:
    """``(I + step H)^{-1}`` applied to columns, by Cholesky; the factor of the last float step is kept.

    With H (B, n, n), it is applied to rows (B, n), each with its own matrix, and its own step where that is (B, 1).
    """

    def __init__(self, H: Tensor) -> None:
        self.H = H
        self.last: tuple[float, Tensor] | None = None

    def __call__(self, columns: Tensor, step: float | Tensor) -> Tensor:
        right = columns[..., None] if self.H.dim() == 3 else columns.reshape(len(self.H), -1)
        return torch.cholesky_solve(right, self._factor(step)).reshape(columns.shape)

    def _factor(self, step: float | Tensor) -> Tensor:
        if self.last is not None and not isinstance(step, Tensor) and self.last[0] == step:
            return self.last[1]
        if isinstance(step, Tensor) and step.dim() > 0:
            if self.H.dim() == 2:
                raise ValueError(f"step must be a single number: all entries are coupled, got {tuple(step.shape)}")
            if step.shape not in ((len(self.H), 1), (1, 1), (1,)):
                raise ValueError(f"step must be a number or of shape {(len(self.H), 1)}, got {tuple(step.shape)}")
            step = step[..., None]
        identity = torch.eye(self.H.shape[-1], dtype=self.H.dtype, device=self.H.device)
        factor, info = torch.linalg.cholesky_ex(identity + step * self.H)
        if info.any():
            steps = torch.as_tensor(step).detach().flatten()
            wrong = steps[int(info.argmax())] if len(steps) > 1 else steps[0]
            raise ValueError(f"no prox: I + step H is not positive definite for step = {float(wrong):g}")
        if not isinstance(step, Tensor) and not factor.requires_grad:
            self.last = step, factor
        return factor


def _operator_and_data(A: Any, data: Any, name: str) -> tuple[Operator, Tensor]:
    A = as_operator(A)
    like = as_finite(A.entries, "A") if isinstance(A, Matrix | BatchMatrix) else None
    data = as_finite(data, name, like=like)
    if isinstance(A, BatchMatrix):
        if data.shape != A.entries.shape[:2]:
            raise ValueError(f"{name} must be of shape {tuple(A.entries.shape[:2])}, as A is, got {tuple(data.shape)}")
        return A, data
    if data.dim() == 0 or data.shape[0] != A.shape[0]:
        raise ValueError(f"{name} must have the {A.shape[0]} rows of A, got shape {tuple(data.shape)}")
    return A, data


def _domain(A: Operator, data: Tensor) -> Tensor:
    """A tensor like x, without its memory."""
    zero = data.detach().new_zeros(())
    if isinstance(A, BatchMatrix):
        return zero.expand(len(A.entries), A.entries.shape[2])
    return zero.expand(A.shape[1], *data.shape[1:])


def _same_shape(x: Tensor, data: Tensor, name: str, data_name: str) -> Tensor:
    if x.shape != data.shape:
        raise ValueError(f"{name} has shape {tuple(x.shape)}, but {data_name} has {tuple(data.shape)}")
    return x
