r"""Constraints by penalties: :math:`\min f(x)` subject to :math:`c(x) = 0`, as a sequence of free problems.

.. math:: \min_x \; f(x) + \tfrac\rho2 \|c(x)\|^2, \qquad \min_x \; f(x) + \rho \|c(x)\|_1, \qquad
          \min_x \; f(x) + \langle y, c(x) \rangle + \tfrac\rho2 \|c(x)\|^2

What minimises a free problem is handed in: any function ``(x, …) -> x`` will do, a closed form, an inner ``solve``
from the last x, the training of a network. These generators hold what comes from outside it: multipliers and rho.

Sources: Nocedal and Wright, Numerical Optimization (2nd ed., 2006), chapter 17; Andreani, Birgin, Martínez and
Schuverdt, SIAM J. Optim. 18 (2007) 1286 (safeguards); He and Yuan, arXiv 2108.08554 (balanced).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optsci._tensor import as_finite, as_tensor
from optsci.protocols import require


class PenaltyState(NamedTuple):
    """A free problem of ``penalty_continuation``, solved."""

    x: Tensor  # minimiser with this rho
    residual: Tensor  # ||c(x)||
    rho: float  # the weight it was found with


class AugmentedState(NamedTuple):
    """A free problem of ``augmented_lagrangian``, solved."""

    x: Tensor  # minimiser with the multiplier and rho before this state
    residual: Tensor  # ||c(x)||
    y: Tensor  # multiplier, updated
    rho: Tensor  # 0-d, weight of the next problem


class BalancedState(NamedTuple):
    """An iteration of ``balanced_augmented_lagrangian``."""

    x: Tensor  # (n,) iterate
    residual: Tensor  # largest of ||A x - b||/max(1, ||b||) and the relative change in x
    y: Tensor  # (m,) multiplier


Constraint = Callable[[Tensor], Tensor]


def penalty_continuation(
    minimize: Callable[[Tensor, float], Any],
    constraint: Constraint,
    x0: Any,
    *,
    rho: float = 1.0,
    growth: float = 10.0,
) -> Iterator[PenaltyState]:
    r"""Minimise :math:`f(x) + \rho P(x)` for a growing weight rho, each time from the minimiser before.

    ``minimize`` holds the penalty. With :math:`P(x) = \tfrac12 \|c(x)\|^2` the constraint is violated by
    :math:`O(1/\rho)`; with the exact penalty :math:`P(x) = \|c(x)\|_1` not at all once rho exceeds the largest
    magnitude of the multipliers. Copy a variable and let c be the difference, and P may project the copy onto any
    set: penalty decomposition for sparsity, rank and codebooks.

    Args:
        minimize: ``(x, rho) -> x``, from the last minimiser to that of the next problem.
        constraint: ``c(x)``, what should become 0.
        x0: start; not modified.
        rho: the first weight, positive.
        growth: its factor from state to state, greater than 1.

    The residual is ``||c(x)||``.

    Raises:
        TypeError: ``minimize`` or ``constraint`` cannot be called.
        ValueError: ``rho`` is not positive, or ``growth`` not greater than 1.

    Reference: Nocedal and Wright (2006), frameworks 17.1 and 17.2.

    Example:
        The nearest point to 2 that is 0, by its closed form:

        >>> import optsci
        >>> steps = penalty_continuation(lambda x, rho: 2 / (1 + rho) * torch.ones(1), lambda x: x, [2.0])
        >>> optsci.solve(steps, tol=1e-3).state.rho
        10000.0
    """
    _require_functions(minimize=minimize, constraint=constraint)
    x0 = as_tensor(x0, "x0")
    _require_positive_number(rho, "rho")
    if not growth > 1:
        raise ValueError(f"growth must be greater than 1, got {growth!r}")

    def iterate(x: Tensor, rho: float) -> Iterator[PenaltyState]:
        while rho < math.inf:
            x = as_tensor(minimize(x, rho), "minimize(x, rho)", like=x)
            yield PenaltyState(x, constraint(x).norm(), rho)
            rho *= growth

    return iterate(x0, float(rho))


def augmented_lagrangian(
    minimize: Callable[[Tensor, Tensor, Tensor], Any],
    constraint: Constraint,
    x0: Any,
    *,
    y0: Any = None,
    rho: float = 1.0,
    growth: float = 10.0,
    progress: float = 0.5,
    bound: float = 1e8,
) -> Iterator[AugmentedState]:
    r"""Safeguarded augmented Lagrangian method, :math:`y_{k+1} = y_k + \rho_k c(x_{k+1})`.

    .. math:: x_{k+1} = \operatorname{argmin}_x \; f(x) + \langle y_k, c(x) \rangle + \tfrac{\rho_k}{2} \|c(x)\|^2

    The violation falls linearly, at a rate proportional to :math:`1/\rho`. Where it has not fallen by the factor
    ``progress``, rho grows; multipliers are kept within ``bound``.

    Args:
        minimize: ``(x, y, rho) -> x``, from the last minimiser to that of the next problem; rho is a 0-d tensor.
        constraint: ``c(x)``, what should become 0.
        x0: start; not modified.
        y0: multiplier to start from, of the shape of c(x); None is 0. A good one saves iterations.
        rho: the first weight, positive.
        growth: its factor where progress is too small, at least 1; 1 keeps it.
        progress: the factor by which the violation should fall, between 0 and 1.
        bound: largest magnitude of a multiplier.

    The residual is ``||c(x)||``.

    Raises:
        TypeError: ``minimize`` or ``constraint`` cannot be called.
        ValueError: a parameter is out of range.

    Reference: Andreani, Birgin, Martínez and Schuverdt (2007), Algorithm 3.1.

    Example:
        The nearest point to 2 that is 0; its multiplier is 2:

        >>> import optsci
        >>> steps = augmented_lagrangian(lambda x, y, rho: (2 - y) / (1 + rho), lambda x: x, [2.0])
        >>> optsci.solve(steps).state.y.round(decimals=4)
        tensor([2.])
    """
    _require_functions(minimize=minimize, constraint=constraint)
    x0 = as_tensor(x0, "x0")
    y0 = torch.zeros_like(constraint(x0)) if y0 is None else as_tensor(y0, "y0", like=x0)
    if y0.shape != constraint(x0).shape:
        raise ValueError(f"y0 must have the shape {tuple(constraint(x0).shape)} of c(x), got {tuple(y0.shape)}")
    _require_positive_number(rho, "rho")
    _require_positive_number(bound, "bound")
    if not growth >= 1:
        raise ValueError(f"growth must be at least 1, got {growth!r}")
    if not 0 < progress < 1:
        raise ValueError(f"progress must lie between 0 and 1, got {progress!r}")

    def iterate(x: Tensor, y: Tensor, rho: Tensor) -> Iterator[AugmentedState]:
        before = torch.full_like(rho, math.inf)
        while True:
            x = as_tensor(minimize(x, y, rho), "minimize(x, y, rho)", like=x)
            violation = constraint(x)
            y = (y + rho * violation).clamp(-bound, bound)
            size = violation.norm()
            rho = torch.where(size > progress * before, growth * rho, rho)
            before = size
            yield AugmentedState(x, size, y, rho)

    return iterate(x0, y0, x0.new_tensor(rho))


def balanced_augmented_lagrangian(
    f: Any, A: Any, b: Any, x0: Any, *, y0: Any = None, r: float = 1.0, delta: float = 1e-3
) -> Iterator[BalancedState]:
    r"""Balanced augmented Lagrangian method for :math:`\min f(x)` subject to :math:`A x = b`: a prox and a solve.

    .. math::

        x_{k+1} &= \operatorname{prox}_{f/r} (x_k + A^\top y_k / r), \\
        y_{k+1} &= y_k - (A A^\top / r + \delta I)^{-1} (A (2 x_{k+1} - x_k) - b).

    It converges for any positive r and delta, whatever the norm of A: the matrix is factorised once.

    Args:
        f: convex, has ``prox``.
        A: (m, n) matrix.
        b: (m,).
        x0: (n,) start; not modified.
        y0: (m,) multiplier to start from; None is 0.
        r: weight of the proximal term, positive.
        delta: positive.

    The residual is the larger of ``||A x - b|| / max(1, ||b||)`` and ``||x_{k+1} - x_k|| / max(1, ||x_{k+1}||)``.

    Raises:
        TypeError: f has no prox.
        ValueError: shapes disagree, or ``r`` or ``delta`` is not positive.

    Reference: He and Yuan, arXiv 2108.08554.

    Example:
        >>> import optsci
        >>> steps = balanced_augmented_lagrangian(optsci.L1(), [[1.0, 2.0]], [2.0], [0.0, 0.0])
        >>> optsci.solve(steps, tol=1e-6).x.round(decimals=4)
        tensor([0., 1.])
    """
    require(f, "prox", by="balanced_augmented_lagrangian", name="f")
    A = as_finite(A, "A")
    if A.dim() != 2 or A.numel() == 0:
        raise ValueError(f"A must be a matrix (m, n), got shape {tuple(A.shape)}")
    m, n = A.shape
    b, x0 = as_finite(b, "b", like=A), as_tensor(x0, "x0", like=A)
    y0 = A.new_zeros(m) if y0 is None else as_tensor(y0, "y0", like=A)
    for name, vector, length in (("b", b, m), ("x0", x0, n), ("y0", y0, m)):
        if vector.shape != (length,):
            raise ValueError(f"{name} must have the shape ({length},), as A is {m} x {n}, got {tuple(vector.shape)}")
    _require_positive_number(r, "r")
    _require_positive_number(delta, "delta")
    factor = torch.linalg.cholesky(A @ A.mT / r + delta * torch.eye(m, dtype=A.dtype, device=A.device))

    def iterate(x: Tensor, y: Tensor) -> Iterator[BalancedState]:
        while True:
            x, x_old = f.prox(x + A.mT @ y / r, 1 / r), x
            violation = A @ (2 * x - x_old) - b
            y = y - torch.cholesky_solve(violation[:, None], factor)[:, 0]
            feasibility = (A @ x - b).norm() / b.norm().clamp(min=1)
            yield BalancedState(x, torch.maximum(feasibility, (x - x_old).norm() / x.norm().clamp(min=1)), y)

    return iterate(x0, y0)


def _require_functions(**functions: Any) -> None:
    for name, function in functions.items():
        if not callable(function):
            raise TypeError(f"{name} must be a function, not {function!r}")


def _require_positive_number(value: float, name: str) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be finite and positive, got {value!r}")
