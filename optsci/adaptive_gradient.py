r"""Proximal gradient methods that find their steps on the way: minimise F = f + g, f smooth, g with a prox.

.. math:: x_{k+1} = \operatorname{prox}_{s_k g} (y_k - s_k \nabla f(y_k)), \qquad s_k \text{ from the last moves.}

``greedy_fista`` steps beyond 1/L and puts itself right by restarts; the other two ask for no Lipschitz constant. As
their steps vary, the length of a move says nothing about its distance from a minimiser: their residual is

.. math:: \frac{\|u_k\|}{L_k \max(1, \|x_k\|)}, \qquad
          u_k = \frac{x_{k-1} - x_k}{s} + \nabla f(x_k) - \nabla f(x_{k-1}) \in \partial F(x_k),

with :math:`L_k \le L` the largest :math:`\|\nabla f(x_j) - \nabla f(x_{j-1})\| / \|x_j - x_{j-1}\|` so far: zero only
where x_k is optimal, and on the scale of a proximal gradient step of length 1/L_k.

Sources: Liang, Luo and Schönlieb, arXiv 1811.01430 (greedy FISTA); Malitsky and Mishchenko, arXiv 2308.02261 (adaptive
steps); Barzilai and Borwein, IMA J. Numer. Anal. 8 (1988) 141; Wright, Nowak and Figueiredo, IEEE Trans. Signal
Process. 57 (2009) 2479 (SpaRSA, their step with a prox).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from numbers import Integral
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optsci._tensor import as_scalar
from optsci.protocols import require_value
from optsci.proximal_gradient import _inner, _residual, _start


class GreedyFISTAState(NamedTuple):
    """An iteration of ``greedy_fista``."""

    x: Tensor  # x_k
    residual: Tensor  # ||y_{k-1} - x_k|| / max(1, ||x_k||)
    y: Tensor  # y_k, where the next step starts
    step: Tensor  # step of the next iteration


class AdaptiveState(NamedTuple):
    """An iteration of ``adaptive_proximal_gradient``."""

    x: Tensor  # x_k
    residual: Tensor  # ||u_k|| / (L_k max(1, ||x_k||)), u_k in the subdifferential of F at x_k
    step: Tensor  # the step that led to x_k


class BarzilaiBorweinState(NamedTuple):
    """A trial of ``barzilai_borwein``."""

    x: Tensor  # last accepted point
    residual: Tensor  # ||u|| / (L_k max(1, ||x||)) at the last accepted point; 1 before the first
    step: Tensor  # step of this trial
    accepted: Tensor  # 0-d bool: this trial was accepted
    objective: Tensor  # F(x)


def greedy_fista(
    f: Any, g: Any, x0: Any, *, step: float | Tensor | None = None, shrink: float = 0.96, safeguard: float = 1.0
) -> Iterator[GreedyFISTAState]:
    r"""FISTA with full momentum and a step beyond 1/L, held by restarts: often the fastest of the family.

    .. math::

        x_{k+1} &= \operatorname{prox}_{s g} (y_k - s \nabla f(y_k)), \\
        y_{k+1} &= x_{k+1} \text{ if } \langle y_k - x_{k+1}, x_{k+1} - x_k \rangle \ge 0,
        \text{ else } 2 x_{k+1} - x_k.

    Where a move is at least ``safeguard`` times as long as the first one, the step becomes
    ``max(shrink * step, 1/L)``.

    Args:
        f: has ``grad``, and ``lipschitz`` where the step is to be derived.
        g: has ``prox``.
        x0: start, any shape; not modified.
        step: from 1/L to 2/L; a number or a tensor that broadcasts to x. None: ``1.3/f.lipschitz()``. The step
            never shrinks below ``step/1.3``.
        shrink: factor of the step where the safeguard acts, between 0 and 1.
        safeguard: positive; the ratio of lengths at which it acts.

    The residual is ``||y_k - x_{k+1}|| / max(1, ||x_{k+1}||)``, zero exactly when ``y_k`` is a minimiser.

    Reference: Liang, Luo and Schönlieb, arXiv 1811.01430.

    Example:
        >>> import optsci
        >>> f, g = optsci.LeastSquares([[2.0, 0.0], [0.0, 1.0]], [2.0, 3.0]), optsci.L1(1.0)
        >>> optsci.solve(greedy_fista(f, g, [0.0, 0.0])).x.round(decimals=4)
        tensor([0.7500, 2.0000])
    """
    derived = step is None
    x0, step = _start("greedy_fista", f, g, x0, step)
    _require_fraction(shrink, "shrink")
    if not 0 < safeguard < math.inf:
        raise ValueError(f"safeguard must be positive and finite, not {safeguard!r}")
    first_step = 1.3 * step if derived else step

    def iterate(x: Tensor) -> Iterator[GreedyFISTAState]:
        y, s, first = x, first_step * x.new_ones(()), None
        shortest = s / 1.3
        while True:
            x_new = g.prox(y - s * f.grad(y), s)
            residual = _residual(y, x_new)
            move = x_new - x
            restart = _inner(y - x_new, move) >= 0
            if first is None:
                first = move.norm()
            else:
                s = torch.where(move.norm() >= safeguard * first, torch.maximum(shrink * s, shortest), s)
            y = torch.where(restart, x_new, x_new + move)
            x = x_new
            yield GreedyFISTAState(x, residual, y, s)

    return iterate(x0)


def adaptive_proximal_gradient(f: Any, g: Any, x0: Any, *, step: float | None = None) -> Iterator[AdaptiveState]:
    r"""Proximal gradient without a Lipschitz constant or a line search: the step follows the local curvature.

    With :math:`\ell_k = \|\nabla f(x_k) - \nabla f(x_{k-1})\| / \|x_k - x_{k-1}\|` and :math:`\theta_0 = 1/3`,

    .. math::

        s_k &= \min \left\{ s_{k-1} \sqrt{2/3 + \theta_{k-1}}, \;
        \frac{s_{k-1}}{\sqrt{(2 s_{k-1}^2 \ell_k^2 - 1)_+}} \right\}, \qquad \theta_k = s_k / s_{k-1}, \\
        x_{k+1} &= \operatorname{prox}_{s_k g}(x_k - s_k \nabla f(x_k)).

    x_k converges to a minimiser for convex f whose gradient is Lipschitz on bounded sets, g convex. One gradient and
    one prox an iteration, and no value of either function. The step stays where x does not move.

    Args:
        f: has ``grad``; convex.
        g: has ``prox``.
        x0: start, any shape; not modified.
        step: positive, the first step. One far too short only costs iterations to grow; one far too long throws x
            away before the second corrects it. None: 1/L for the L seen along the gradient at x0, which takes one
            more gradient.

    The residual is that of the module, of a subgradient of F at x_k.

    Reference: Malitsky and Mishchenko, arXiv 2308.02261.

    Example:
        >>> import optsci
        >>> f, g = optsci.LeastSquares([[2.0, 0.0], [0.0, 1.0]], [2.0, 3.0]), optsci.L1(1.0)
        >>> optsci.solve(adaptive_proximal_gradient(f, g, [0.0, 0.0])).x.round(decimals=4)
        tensor([0.7500, 2.0000])
    """
    x0, first = _start_without_constant("adaptive_proximal_gradient", f, g, x0, step)

    def iterate(x: Tensor) -> Iterator[AdaptiveState]:
        gradient = f.grad(x)
        s, theta = _first_step(f, x, gradient, first), x.new_full((), 1 / 3)
        largest = x.new_zeros(())
        while True:
            x_new = g.prox(x - s * gradient, s)
            gradient_new = f.grad(x_new)
            local = _curvature(x_new - x, gradient_new - gradient)
            largest = torch.maximum(largest, local)
            residual = _scaled_subgradient(x, x_new, gradient_new - gradient, s, largest)
            moved = (x_new != x).any()
            x, gradient = x_new, gradient_new
            yield AdaptiveState(x, residual, s)
            excess = 2 * (s * local) ** 2 - 1
            bounded = excess > 0
            by_curvature = torch.where(bounded, s / torch.where(bounded, excess, 1.0).sqrt(), math.inf)
            s_new = torch.where(moved, torch.minimum(s * (2 / 3 + theta).sqrt(), by_curvature), s)
            s, theta = s_new, s_new / s

    return iterate(x0)


def barzilai_borwein(
    f: Any, g: Any, x0: Any, *, step: float | None = None, memory: int = 10
) -> Iterator[BarzilaiBorweinState]:
    r"""Proximal gradient with spectral steps (SpaRSA): every state is one trial, and where it fails the step halves.

    A trial :math:`z = \operatorname{prox}_{s g}(x - s \nabla f(x))` is accepted if F falls below the largest of the
    last ``memory`` accepted values,

    .. math:: F(z) \le \max_{i < \mathtt{memory}} F(x_{k-i}) - \frac{0.01}{2 s} \|z - x\|^2,

    up to the rounding of F; the next step is then :math:`\langle d, d \rangle / \langle d, e \rangle` of
    :math:`d = z - x` and :math:`e = \nabla f(z) - \nabla f(x)`, or the same step where that is not positive. With
    ``memory=1`` F never rises, which is usually slower.

    Args:
        f: has a value and ``grad``.
        g: has a value and ``prox``.
        x0: start, any shape; not modified.
        step: positive, the first step tried. None: 1/L for the L seen along the gradient at x0.
        memory: number of accepted values that a new one is compared with, at least 1.

    The residual is that of the module, at the last accepted point: a rejected trial cannot pass for convergence.

    Reference: Wright, Nowak and Figueiredo, IEEE Trans. Signal Process. 57 (2009) 2479.

    Example:
        >>> import optsci
        >>> f, g = optsci.LeastSquares([[2.0, 0.0], [0.0, 1.0]], [2.0, 3.0]), optsci.L1(1.0)
        >>> optsci.solve(barzilai_borwein(f, g, [0.0, 0.0])).x.round(decimals=4)
        tensor([0.7500, 2.0000])
    """
    x0, first = _start_without_constant("barzilai_borwein", f, g, x0, step)
    require_value("barzilai_borwein", f=f, g=g)
    if not isinstance(memory, Integral) or memory < 1:
        raise ValueError(f"memory must be a positive integer, not {memory!r}")

    def iterate(x: Tensor) -> Iterator[BarzilaiBorweinState]:
        gradient, objective = f.grad(x), f(x) + g(x)
        s = _first_step(f, x, gradient, first)
        residual, largest = x.new_ones(()), x.new_zeros(())
        values = torch.cat([x.new_full((memory - 1,), -math.inf), objective.reshape(1)])
        while True:
            v = x - s * gradient
            z = g.prox(v, s)
            d, gradient_z, objective_z = z - x, f.grad(z), f(z) + g(z)
            e = gradient_z - gradient
            accepted = _falls(objective_z, values, 0.005 * _inner(d, d) / s)
            lost = z.isnan().any() & ~v.isinf().any()  # NaN that a shorter step would not mend
            largest = torch.where(accepted, torch.maximum(largest, _curvature(d, e)), largest)
            residual = torch.where(accepted | lost, _scaled_subgradient(x, z, e, s, largest), residual)
            values = torch.where(accepted, torch.cat([values[1:], objective_z.reshape(1)]), values)
            objective = torch.where(accepted, objective_z, objective)
            gradient = torch.where(accepted, gradient_z, gradient)
            x = torch.where(accepted, z, x)
            yield BarzilaiBorweinState(x, residual, s, accepted, objective)
            slope = _inner(d, e)
            spectral = torch.where(slope > 0, _inner(d, d) / torch.where(slope > 0, slope, 1.0), s)
            s = torch.where(accepted, spectral, 0.5 * s)

    return iterate(x0)


def _start_without_constant(by: str, f: Any, g: Any, x0: Any, step: Any) -> tuple[Tensor, Any]:
    """Check the arguments of an algorithm that derives its first step itself, where it is None."""
    x0, first = _start(by, f, g, x0, 1.0 if step is None else as_scalar(step, "step"))
    return x0, None if step is None else first


def _first_step(f: Any, x: Tensor, gradient: Tensor, step: Any) -> Tensor:
    """1/L for the L seen along the gradient, over a hundredth of the size of x; 1 where it is 0."""
    if step is not None:
        return step * x.new_ones(())
    norm = gradient.norm()
    d = -0.01 * x.norm().clamp(min=1) * gradient / torch.where(norm > 0, norm, 1.0)
    curvature = _curvature(d, f.grad(x + d) - gradient)
    return torch.where(curvature > 0, 1 / torch.where(curvature > 0, curvature, 1.0), 1.0)


def _curvature(d: Tensor, e: Tensor) -> Tensor:
    """``||e|| / ||d||``, and 0 where d is 0."""
    length = d.norm()
    return torch.where(length > 0, e.norm() / torch.where(length > 0, length, 1.0), torch.zeros_like(length))


def _scaled_subgradient(x: Tensor, z: Tensor, e: Tensor, s: Tensor, largest: Tensor) -> Tensor:
    """Subgradient of F at z = prox(x - s grad f(x)) by 1/L; where f is linear so far, by the step."""
    scale = torch.where(largest > 0, 1 / torch.where(largest > 0, largest, 1.0), s)
    return scale * ((x - z) / s + e).norm() / z.norm().clamp(min=1)


def _falls(value: Tensor, values: Tensor, decrease: Tensor) -> Tensor:
    """Whether the value lies far enough below the largest finite one; where none is finite, below infinity."""
    largest = torch.where(values < math.inf, values, -math.inf).max()
    rounding = 4 * torch.finfo(values.dtype).eps * largest.abs()
    return torch.where(largest > -math.inf, value <= largest - decrease + rounding, value < math.inf)


def _require_fraction(x: float, name: str) -> None:
    if not 0 < x < 1:
        raise ValueError(f"{name} must lie between 0 and 1, not {x!r}")
