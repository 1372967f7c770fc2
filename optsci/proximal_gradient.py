r"""Proximal gradient methods: minimise F = f + g, f with an L-Lipschitz gradient, g with a prox.

.. math::

    x_k &= \operatorname{prox}_{s g} (y_k - s \nabla f(y_k)), \qquad s \le 1/L, \\
    y_{k+1} &= x_k + \frac{t_k - 1}{t_{k+1}} (x_k - x_{k-1}), \qquad y_1 = x_0, \; t_1 = 1.

What tells the variants apart is the sequence t, given as a map ``t -> t_next`` (``momentum``), and when it begins anew
(``restart``): both are in ``optsci.momentum``. The rates hold for convex f and g, with :math:`R = \|x_0 - x^*\|`.

Residuals measure moves as those of the usual step, 1/L: a shorter step moves less, and its moves are magnified by what
it is shorter, lest they pass for convergence. Where f does not tell its L, the step given is taken for the usual one.

Sources: Beck and Teboulle, SIAM J. Imaging Sci. 2 (2009) 183 (ISTA, FISTA, backtracking) and IEEE Trans.
Image Process. 18 (2009) 2419 (monotone FISTA); O'Donoghue and Candès, Found. Comput. Math. 15 (2015) 715
(restart); Chambolle and Dossal, J. Optim. Theory Appl. 166 (2015) 968; Nesterov, Introductory Lectures on
Convex Optimization (2004).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optsci._tensor import (
    as_coefficient,
    as_scalar,
    as_tensor,
    broadcasts,
    instance_norm,
    require_fit,
    require_positive,
)
from optsci.momentum import Momentum, Restart, nesterov
from optsci.protocols import require, require_value


class ISTAState(NamedTuple):
    """An iteration of ``ista``."""

    x: Tensor  # x_k
    residual: Tensor  # max(1, 1/(L step)) ||x_{k-1} - x_k|| / max(1, ||x_k||)


class FISTAState(NamedTuple):
    """An iteration of ``fista``."""

    x: Tensor  # x_k
    residual: Tensor  # max(1, 1/(L step)) ||y_k - x_k|| / max(1, ||x_k||)
    y: Tensor  # y_{k+1}, the extrapolated point
    t: Tensor  # t_{k+1}


class MonotoneFISTAState(NamedTuple):
    """An iteration of ``monotone_fista``."""

    x: Tensor  # x_k, the better of z and x_{k-1}
    residual: Tensor  # max(1, 1/(L step)) ||y_k - z|| / max(1, ||z||)
    y: Tensor  # y_{k+1}
    t: Tensor  # t_{k+1}
    z: Tensor  # proximal gradient step from y_k
    objective: Tensor  # F(x_k)


class BacktrackingState(NamedTuple):
    """A trial of ``backtracking_fista``."""

    x: Tensor  # last accepted point
    residual: Tensor  # c ||y - x|| / max(1, ||x||) of the last accepted trial; 1 before the first
    y: Tensor  # extrapolated point of the next trial
    t: Tensor  # t of the next trial
    step: Tensor  # step of this trial
    accepted: Tensor  # 0-d bool: this trial satisfied the quadratic upper bound


def ista(f: Any, g: Any, x0: Any, *, step: float | Tensor | None = None, batch_dims: int = 0) -> Iterator[ISTAState]:
    r"""Iterative shrinkage-thresholding: :math:`x_{k+1} = \operatorname{prox}_{s g}(x_k - s \nabla f(x_k))`.

    :math:`F(x_k) - F^* \le L R^2 / (2 k)` for every k. With a non-convex g, F still does not rise.

    Args:
        f: has ``grad``, and ``lipschitz`` where the step is to be derived.
        g: has ``prox``.
        x0: start, any shape; not modified.
        step: positive, at most 1/L; a number or a tensor that broadcasts to x. None: ``1/f.lipschitz()``.
        batch_dims: how many leading dimensions of x0 count problems that run side by side, each with a residual of
            its own; f and g must be sums over them, as those of this library are.

    The residual is ``c ||x_{k-1} - x_k|| / max(1, ||x_k||)``, ``c = max(1, 1/(L step))``,
    1 where f has no ``lipschitz``.

    Reference: Beck and Teboulle (2009), Theorem 3.1.

    Example:
        >>> import optsci
        >>> f, g = optsci.LeastSquares([[2.0, 0.0], [0.0, 1.0]], [2.0, 3.0]), optsci.L1(1.0)
        >>> optsci.solve(ista(f, g, [0.0, 0.0])).x
        tensor([0.7500, 2.0000])
    """
    x0, step, c = _start_measured("ista", f, g, x0, step)
    require_batch_dims(batch_dims, x0)

    def iterate(x: Tensor) -> Iterator[ISTAState]:
        while True:
            x_new = g.prox(x - step * f.grad(x), step)
            residual = _residual(x, x_new, batch_dims, c)
            x = x_new
            yield ISTAState(x, residual)

    return iterate(x0)


def fista(
    f: Any,
    g: Any,
    x0: Any,
    *,
    step: float | Tensor | None = None,
    momentum: Momentum = nesterov,
    restart: Restart | None = None,
    batch_dims: int = 0,
) -> Iterator[FISTAState]:
    r"""Fast iterative shrinkage-thresholding: :math:`F(x_k) - F^* \le 2 L R^2 / (k + 1)^2` for every k.

    All of it is differentiable in whatever f and g are made of; a derived step counts as a constant.

    Args:
        f: has ``grad``, and ``lipschitz`` where the step is to be derived.
        g: has ``prox``.
        x0: start, any shape; not modified.
        step: positive, at most 1/L; a number or a tensor that broadcasts to x. None: ``1/f.lipschitz()``.
        momentum: the map ``t -> t_next``: ``nesterov``, ``chambolle_dossal(a)``, ``strongly_convex(q)``,
            ``no_momentum`` or your own.
        restart: a test ``(y, x_new, x) -> bool tensor``, after which t is 1 and the momentum begins anew:
            ``gradient_restart``, ``function_restart(f, g)`` or your own. In a batch it is asked for every problem.
        batch_dims: how many leading dimensions of x0 count problems that run side by side, each with a residual of
            its own; f and g must be sums over them, as those of this library are.

    The residual is ``c ||y_k - x_k|| / max(1, ||x_k||)``, zero exactly when ``y_k`` is a minimiser, with the
    c of ``ista``.

    Reference: Beck and Teboulle (2009), Theorem 4.4.

    Example:
        >>> import optsci
        >>> f, g = optsci.LeastSquares([[2.0, 0.0], [0.0, 1.0]], [2.0, 3.0]), optsci.L1(1.0)
        >>> optsci.solve(fista(f, g, [0.0, 0.0], restart=optsci.gradient_restart)).x
        tensor([0.7500, 2.0000])
    """
    x0, step, c = _start_measured("fista", f, g, x0, step)
    require_batch_dims(batch_dims, x0)
    _require_function(momentum, "momentum", "nesterov")
    if restart is not None:
        _require_function(restart, "restart", "gradient_restart")
        for _ in range(batch_dims):
            restart = torch.vmap(restart)
    batch = x0.shape[:batch_dims]
    each = (*batch, *[1] * (x0.dim() - batch_dims)) if batch else ()  # the shape in which t meets x

    def iterate(x: Tensor) -> Iterator[FISTAState]:
        y, t = x, x.new_ones(each)
        while True:
            x_new = g.prox(y - step * f.grad(y), step)
            residual = _residual(y, x_new, batch_dims, c)
            if restart is not None:
                t = torch.where(restart(y, x_new, x).reshape(each), 1.0, t)
            t_next = momentum(t)
            y = x_new + (t - 1) / t_next * (x_new - x)
            x, t = x_new, t_next
            yield FISTAState(x, residual, y, t)

    return iterate(x0)


def monotone_fista(
    f: Any, g: Any, x0: Any, *, step: float | Tensor | None = None, momentum: Momentum = nesterov
) -> Iterator[MonotoneFISTAState]:
    r"""FISTA whose objective never rises, with the bound of ``fista``: x moves to z only if that is no worse.

    .. math::

        x_k &= \operatorname{argmin} \{F(z_k), F(x_{k-1})\}, \\
        y_{k+1} &= x_k + \frac{t_k}{t_{k+1}} (z_k - x_k) + \frac{t_k - 1}{t_{k+1}} (x_k - x_{k-1}).

    Args:
        f: has a value and ``grad``, and ``lipschitz`` where the step is to be derived.
        g: has a value and ``prox``.
        x0: start, any shape; not modified.
        step: positive, at most 1/L; a number or a tensor that broadcasts to x. None: ``1/f.lipschitz()``.
        momentum: the map ``t -> t_next``.

    The residual is ``c ||y_k - z_k|| / max(1, ||z_k||)``, with the c of ``ista``.

    Reference: Beck and Teboulle, IEEE Trans. Image Process. 18 (2009) 2419, section V.

    Example:
        >>> import optsci
        >>> f, g = optsci.LeastSquares([[2.0, 0.0], [0.0, 1.0]], [2.0, 3.0]), optsci.L1(1.0)
        >>> optsci.solve(monotone_fista(f, g, [0.0, 0.0])).x
        tensor([0.7500, 2.0000])
    """
    x0, step, c = _start_measured("monotone_fista", f, g, x0, step)
    require_value("monotone_fista", f=f, g=g)
    _require_function(momentum, "momentum", "nesterov")

    def iterate(x: Tensor) -> Iterator[MonotoneFISTAState]:
        y, t, objective = x, x.new_ones(()), f(x) + g(x)
        while True:
            z = g.prox(y - step * f.grad(y), step)
            residual = _residual(y, z, magnified=c)
            objective_z = f(z) + g(z)
            better = objective_z <= objective
            x_new = torch.where(better, z, x)
            objective = torch.where(better, objective_z, objective)
            t_next = momentum(t)
            y = x_new + t / t_next * (z - x_new) + (t - 1) / t_next * (x_new - x)
            x, t = x_new, t_next
            yield MonotoneFISTAState(x, residual, y, t, z, objective)

    return iterate(x0)


def backtracking_fista(
    f: Any, g: Any, x0: Any, *, step: float = 1.0, shrink: float = 0.5, momentum: Momentum = nesterov
) -> Iterator[BacktrackingState]:
    r"""FISTA for an unknown L: every state is one trial of a step, and where it is too long the step shrinks.

    A trial :math:`z = \operatorname{prox}_{s g}(y - s \nabla f(y))`, :math:`d = z - y`, is accepted if

    .. math::

        f(z) - f(y) - \langle \nabla f(y), d \rangle \le \frac{\|d\|^2}{2 s}
        \quad\text{or}\quad \langle \nabla f(z) - \nabla f(y), d \rangle \le \frac{\|d\|^2}{2 s}.

    The first is the published test. It drowns in rounding once d is about the square root of the machine
    precision, and would then shrink the step for ever; the second implies it if f is convex, and does not
    cancel.

    :math:`F(x_k) - F^* \le 2 L R^2 / (\mathtt{shrink}\,(k + 1)^2)` after k accepted trials, for a first step
    of at least ``shrink/L``.

    Args:
        f: has a value and ``grad``; convex.
        g: has ``prox``.
        x0: start, any shape; not modified.
        step: the first step tried, positive; steps never grow: begin with a long one.
        shrink: factor of the step after a rejected trial, between 0 and 1.
        momentum: the map ``t -> t_next``.

    The residual is ``c ||y - z|| / max(1, ||z||)`` at the last accepted trial: a rejected one cannot pass for
    convergence. After a rejection the step is about as long as it may be, and c is 1; before, it is
    ``max(1, 1/step)`` or, where f tells an L above 1, ``max(1, 1/(L step))``.

    Reference: Beck and Teboulle (2009), section 4 and Theorem 4.4.

    Example:
        >>> import optsci
        >>> f, g = optsci.LeastSquares([[2.0, 0.0], [0.0, 1.0]], [2.0, 3.0]), optsci.L1(1.0)
        >>> optsci.solve(backtracking_fista(f, g, [0.0, 0.0], step=10.0)).x
        tensor([0.7500, 2.0000])
    """
    x0, step = _start("backtracking_fista", f, g, x0, as_scalar(step, "step"))
    require_value("backtracking_fista", f=f)
    _require_function(momentum, "momentum", "nesterov")
    if not 0 < shrink < 1:
        raise ValueError(f"shrink must lie between 0 and 1, not {shrink!r}")

    usual = 1 / max(1.0, known_constant(f)) if step < 1 else 1.0

    def iterate(x: Tensor) -> Iterator[BacktrackingState]:
        y, t, residual = x, x.new_ones(()), x.new_ones(())
        s = step * x.new_ones(())
        c = magnification(s, usual)
        while True:
            gradient = f.grad(y)
            v = y - s * gradient
            z = g.prox(v, s)
            d = z - y
            allowed = _inner(d, d) / (2 * s)
            by_value = f(z) - f(y) - _inner(gradient, d) <= allowed
            by_gradient = _inner(f.grad(z) - gradient, d) <= allowed
            accepted = (by_value | by_gradient) & (allowed < math.inf)  # infinite on both sides proves nothing
            lost = z.isnan().any() & ~v.isinf().any()  # NaN that a shorter step would not mend
            residual = torch.where(accepted | lost, _residual(y, z, magnified=c), residual)
            t_next = momentum(t)
            y = torch.where(accepted, z + (t - 1) / t_next * (z - x), y)
            x = torch.where(accepted, z, x)
            t = torch.where(accepted, t_next, t)
            yield BacktrackingState(x, residual, y, t, s, accepted)
            s, c = torch.where(accepted, s, shrink * s), torch.where(accepted, c, 1.0)

    return iterate(x0)


def _start(by: str, f: Any, g: Any, x0: Any, step: Any) -> tuple[Tensor, Any]:
    """Check the arguments when the algorithm is called, not when its first state is drawn."""
    require(f, "grad", by=by, name="f")
    require(g, "prox", by=by, name="g")
    if step is None:
        require(f, "lipschitz", by=by, name="f")
        L = float(f.lipschitz())
        if not 0 < L < math.inf:
            raise ValueError(f"f.lipschitz() must be positive and finite, not {L!r}; pass step=")
        step = 1 / L
    if isinstance(x0, list | tuple) and any(isinstance(block, Tensor) for block in x0):
        raise TypeError(f"x0 must be one tensor, not a {type(x0).__name__} of tensors: {by} takes no blocks")
    like = getattr(f, "like", None)
    x0 = as_tensor(x0, "x0", like=like)
    if like is not None and not broadcasts(like.shape, x0.shape):
        raise ValueError(f"x0 has shape {tuple(x0.shape)}, but f takes {tuple(like.shape)}")
    step = as_coefficient(step, "step")
    require_positive(step, "step")
    require_fit(step, x0, "step", of="x0")
    return x0, step


def _start_measured(by: str, f: Any, g: Any, x0: Any, step: Any) -> tuple[Tensor, Any, Any]:
    """Check the arguments likewise, and return what moves are multiplied with in the residual, too."""
    derived = step is None
    x0, step = _start(by, f, g, x0, step)
    L = 0.0 if derived else known_constant(f)
    return x0, step, magnification(step, 1 / L) if L else 1.0


def known_constant(f: Any) -> float:
    """Return the Lipschitz constant that f tells, 0 where it has none."""
    L = float(f.lipschitz()) if callable(getattr(f, "lipschitz", None)) else 0.0
    return L if 0 < L < math.inf else 0.0


def magnification(step: float | Tensor, usual: float | Tensor = 1.0) -> Any:
    """Return ``max(1, usual/step)``, which makes of a move with a short step one with the usual step.

    Example:
        >>> magnification(0.25), magnification(4.0), magnification(torch.tensor([0.25, 4.0]), 0.5)
        (4.0, 1.0, tensor([2., 1.]))
    """
    ratio = usual / (step.detach() if isinstance(step, Tensor) else step)
    return ratio.clamp(min=1) if isinstance(ratio, Tensor) else max(1.0, ratio)


def require_batch_dims(batch_dims: int, x0: Tensor) -> None:
    """Refuse a number of batch dimensions that x0 does not have.

    Example:
        >>> require_batch_dims(3, torch.zeros(4, 5))
        Traceback (most recent call last):
        ValueError: batch_dims must lie between 0 and the 2 dimensions of x0, not 3
    """
    if not isinstance(batch_dims, int) or not 0 <= batch_dims <= x0.dim():
        raise ValueError(f"batch_dims must lie between 0 and the {x0.dim()} dimensions of x0, not {batch_dims!r}")


def _require_function(function: Any, name: str, example: str) -> None:
    if not callable(function):
        raise TypeError(f"{name} must be a function such as {example}, not {function!r}")


def _residual(y: Tensor, x: Tensor, batch_dims: int = 0, magnified: float | Tensor = 1.0) -> Tensor:
    return instance_norm(magnified * (y - x), batch_dims) / instance_norm(x, batch_dims).clamp(min=1)


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum()
