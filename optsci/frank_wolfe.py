r"""Linearise one part of the objective and minimise the rest exactly: no prox, and no projection.

.. math::

    v_k = \operatorname*{argmin}_{v \in C} \langle \nabla f(x_k), v \rangle, \quad
    x_{k+1} = x_k + \gamma_k (v_k - x_k) \quad \text{(Frank-Wolfe)}, \qquad
    x_{k+1} = \operatorname*{argmin}_x f(x) - \langle \nabla h(x_k), x \rangle \quad \text{(DCA for f - h)}.

Sources: Frank and Wolfe, Naval Res. Logist. Quart. 3 (1956) 95; Jaggi, Revisiting Frank-Wolfe, ICML 2013; Pham Dinh
and Le Thi, Acta Math. Vietnam. 22 (1997) 289 (DCA).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optsci._tensor import as_tensor
from optsci.protocols import require
from optsci.proximal_gradient import _inner, _residual

StepRule = Callable[[int, Tensor, Tensor], Any]  # (k, gap, v - x) -> number or 0-d tensor, from 0 to 1


class FrankWolfeState(NamedTuple):
    """An iteration of ``frank_wolfe``."""

    x: Tensor  # x_k, in C; the first state holds x0
    residual: Tensor  # <grad f(x_k), x_k - v>, at least F(x_k) - F* for convex f
    v: Tensor  # the extreme point that x moves to next


class DCAState(NamedTuple):
    """An iteration of ``dca``."""

    x: Tensor  # x_k
    residual: Tensor  # ||x_{k-1} - x_k|| / max(1, ||x_k||)


def open_loop(k: int, gap: Tensor, d: Tensor) -> float:
    """The step 2/(k + 2) of ``frank_wolfe``: no constant is needed, and x0 is forgotten at once.

    Example:
        >>> open_loop(0, torch.ones(()), torch.ones(2)), open_loop(2, torch.ones(()), torch.ones(2))
        (1.0, 0.5)
    """
    return 2 / (k + 2)


def short_step(L: float) -> StepRule:
    r"""The step :math:`\min(1, \text{gap} / (L \|v - x\|^2))` of ``frank_wolfe``: f never rises.

    Args:
        L: a Lipschitz constant of the gradient of f, such as ``f.lipschitz()``.

    Example:
        >>> short_step(2.0)(0, torch.tensor(1.0), torch.tensor([1.0, 1.0]))
        tensor(0.2500)
    """
    if not 0 < L < math.inf:
        raise ValueError(f"L must be finite and positive, got {L!r}")

    def step(k: int, gap: Tensor, d: Tensor) -> Tensor:
        square = L * _inner(d, d)
        return torch.where(square > 0, gap / torch.where(square > 0, square, 1.0), 0.0).clamp(0, 1)

    return step


def frank_wolfe(f: Any, C: Any, x0: Any, *, step: StepRule = open_loop) -> Iterator[FrankWolfeState]:
    r"""Conditional gradient: minimise f over C by moves towards extreme points, with a certificate.

    For convex f, :math:`f(x_k) - f^* \le 2 C_f / (k + 2)` for k at least 1, where
    :math:`C_f \le L \operatorname{diam}(C)^2` is the curvature constant; for ``short_step`` with
    :math:`L \operatorname{diam}(C)^2` in its place. x_k is a mean of x0 and at most k extreme points.

    Args:
        f: has ``grad``.
        C: a compact convex set with ``lmo(d)``, a minimiser of ``<d, v>`` over it.
        x0: start, in C; not modified.
        step: a map ``(k, gap, v - x) -> step``: ``open_loop``, ``short_step(L)`` or your own.

    The residual is the Frank-Wolfe gap :math:`\max_{v \in C} \langle \nabla f(x_k), x_k - v \rangle`, a bound on
    :math:`f(x_k) - f^*`, and not relative to anything: choose ``tol`` in units of f.

    Reference: Jaggi (2013), Theorem 1.

    Example:
        >>> import optsci
        >>> class Interval:
        ...     def lmo(self, d):
        ...         return -d.sign()
        >>> f = optsci.Translated(optsci.SquaredL2(), torch.tensor([3.0, -2.0]))
        >>> optsci.solve(frank_wolfe(f, Interval(), [0.0, 0.0])).x
        tensor([ 1., -1.])
    """
    require(f, "grad", by="frank_wolfe", name="f")
    require(C, "lmo", by="frank_wolfe", name="C")
    if not callable(step):
        raise TypeError(f"step must be a function such as open_loop, not {step!r}")
    x0 = as_tensor(x0, "x0", like=getattr(f, "like", None))

    def iterate(x: Tensor) -> Iterator[FrankWolfeState]:
        k = 0
        while True:
            gradient = f.grad(x)
            v = C.lmo(gradient)
            d = v - x
            gap = -_inner(gradient, d)
            yield FrankWolfeState(x, gap, v)
            x = x + step(k, gap, d) * d
            k += 1

    return iterate(x0)


def dca(solve_convex: Callable[[Tensor, Tensor], Tensor], h: Any, x0: Any) -> Iterator[DCAState]:
    r"""Difference of convex functions: minimise f - h, with h replaced by its linearisation.

    .. math:: x_{k+1} = \operatorname*{argmin}_x f(x) - \langle \nabla h(x_k), x \rangle

    The objective never rises, as h lies above its linearisation; where f or h is mu-strongly convex it falls by at
    least :math:`\frac{\mu}{2} \|x_{k+1} - x_k\|^2`. The limits are critical points: the gradient of h is
    a subgradient of f.

    Args:
        solve_convex: ``(u, x) -> argmin_z f(z) - <u, z>``: u a tensor like x, and x the last iterate, a warm start.
            With ``||x||^2 / (2 s)`` added to f and to h it is ``lambda u, x: f.prox(x + s * u, s)``, u of h alone.
        h: has ``grad``; convex.
        x0: start, any shape; not modified.

    The residual is ``||x_{k-1} - x_k|| / max(1, ||x_k||)``, zero exactly at a critical point.

    Reference: Pham Dinh and Le Thi (1997).

    Example:
        >>> import optsci
        >>> h = optsci.Autodiff(lambda x: x.abs().sum())  # x^2/2 - |x|: minima at -1 and 1
        >>> optsci.solve(dca(lambda u, x: u, h, [0.3, -0.2])).x
        tensor([ 1., -1.])
    """
    if not callable(solve_convex):
        raise TypeError(f"solve_convex must be a function such as `lambda u, x: …`, not {solve_convex!r}")
    require(h, "grad", by="dca", name="h")
    x0 = as_tensor(x0, "x0", like=getattr(h, "like", None))

    def iterate(x: Tensor) -> Iterator[DCAState]:
        while True:
            x_new = solve_convex(h.grad(x), x)
            residual = _residual(x, x_new)
            x = x_new
            yield DCAState(x, residual)

    return iterate(x0)
