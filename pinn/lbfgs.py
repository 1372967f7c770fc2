r"""L-BFGS with a strong Wolfe search: the finish after Adam, for a loss that stays the same.

.. math::

   \theta_{k+1} = \theta_k - \alpha_k H_k g_k, \qquad
   H_{k+1} = (I - \rho s y^\top) H_k (I - \rho y s^\top) + \rho s s^\top, \quad \rho = 1 / y^\top s

with s, y the last changes of parameters and gradient, :math:`H_k` starting from :math:`(s^\top y / y^\top y)\, I` and
applied by recursion over the last pairs.  Directions and inner products are in double precision whatever the network's.
A pair of too little curvature is left out, a trial at which the loss is not finite shortens the step, and every end
leaves u at its best iterate.

Source: Nocedal and Wright, Numerical Optimization (2nd ed., 2006), Algorithms 7.4 and 7.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .line_search import ROUNDING, Trial, strong_wolfe
from .parameter_vectors import EachStep, Ended, Objective, require_trained, set_vector, to_vector, value_and_gradient


class LBFGSState(NamedTuple):
    """A step of ``lbfgs``."""

    x: Any  # u, at the iterate
    residual: Tensor  # largest entry of the gradient there
    loss: Tensor  # there
    steps: int  # so far
    evaluations: int  # of loss and gradient, so far
    gradient: Tensor  # (P,) there, double
    moves: Tensor  # (m, P) s, oldest first, double
    changes: Tensor  # (m, P) y
    reason: Ended | None = None  # why this is the last state


def lbfgs(u: Any, loss: Objective, *, memory: int = 50, start: LBFGSState | None = None) -> Iterator[LBFGSState]:
    r"""Limited-memory BFGS; the loss falls in every step.

    Args:
        u: a module, trained in place; double precision goes many digits further than single.
        loss: u -> 0-d tensor, always the same; for new points start anew.
        memory: pairs that are kept, at least 1; each takes two vectors of parameters.
        start: a state to go on from; u holds its parameters.

    The residual is the largest entry of the gradient.  The last state has a ``reason`` where the algorithm ended by
    itself; the status of ``solve`` is then ``EXHAUSTED``.

    Raises:
        ValueError: ``memory`` is below 1, or the loss at the start is not finite.
        TypeError: the loss changes from step to step.

    Reference: Nocedal and Wright (2006), Algorithms 7.4 and 7.5.

    Example:
        >>> import optsci
        >>> from optsci.pinn import Ball, Boundary, MLP, Poisson, Residual
        >>> problem = Poisson(Ball(dim=2), source=4.0)
        >>> u, loss = MLP(2, [8], 1), Residual(problem, 50) + Boundary(problem, 20)
        >>> run = optsci.solve(lbfgs(u, loss), tol=1e-3, max_iter=200)
        >>> run.status.name, bool(loss(u) < 1e-2)
        ('CONVERGED', True)
    """
    require_trained(u, loss, start, of=LBFGSState)
    if isinstance(loss, EachStep):
        raise TypeError("loss must be the same at every step for lbfgs, not EachStep: its pairs compare gradients")
    if not isinstance(memory, Integral) or memory < 1:
        raise ValueError(f"memory must be a positive integer, got {memory!r}")
    dtype = to_vector(u).dtype
    rounding = ROUNDING if dtype is torch.float64 else 10 * torch.finfo(dtype).eps

    def evaluate(theta: Tensor) -> tuple[Tensor, Tensor]:
        set_vector(u, theta)
        value, gradient = value_and_gradient(u, loss)
        return value.double(), gradient.double()

    def search(theta: Tensor, state: LBFGSState, direction: Tensor, step: float) -> tuple[Trial | None, int, bool]:
        """Return the step, how often the loss was called, and whether it was finite anywhere."""
        calls, finite = 0, False

        def phi(alpha: float) -> Trial:
            nonlocal calls, finite
            value, gradient = evaluate(theta + alpha * direction)
            calls += 1
            finite = finite or bool(value.isfinite() & gradient.isfinite().all())
            return Trial(alpha, float(value), float(gradient @ direction), (value, gradient))

        origin = Trial(0.0, float(state.loss), float(state.gradient @ direction))
        found = strong_wolfe(phi, origin, step, rounding=rounding) if origin.slope < 0 else None
        return found, calls, finite

    def iterate(theta: Tensor, state: LBFGSState) -> Iterator[LBFGSState]:
        while True:
            if not state.residual > 0:
                yield state._replace(reason=Ended.STATIONARY)
                return
            direction = -two_loops(state.gradient, state.moves, state.changes)
            step = 1.0 if len(state.moves) else min(1.0, 1 / float(state.gradient.abs().sum()))
            found, calls, finite = search(theta, state, direction, step)
            state = state._replace(evaluations=state.evaluations + calls)
            if found is None or at_rounding(state, found, rounding):
                set_vector(u, theta)
                if len(state.moves):  # the pairs mislead: once more along the gradient
                    state = state._replace(moves=state.moves[:0], changes=state.changes[:0])
                    continue
                yield state._replace(reason=Ended.NO_LOWER_LOSS if finite else Ended.NOT_FINITE)
                return
            value, gradient = found.memory
            # The move that the network's precision made of it, which in single precision is another one.
            set_vector(u, theta + found.step * direction)
            there = to_vector(u).double()
            moves, changes = remember(state, there - theta, gradient - state.gradient, memory)
            theta = there
            state = LBFGSState(
                u, gradient.abs().max(), value, state.steps + 1, state.evaluations, gradient, moves, changes
            )
            yield state

    theta = to_vector(u).double()
    if start is None:
        value, gradient = evaluate(theta)
        if not (value.isfinite() and gradient.isfinite().all()):
            raise ValueError(f"loss must be finite at the start, with its gradient, got {float(value)}")
        empty = theta.new_zeros((0, len(theta)))
        start = LBFGSState(u, gradient.abs().max(), value, 0, 1, gradient, empty, empty)
    return iterate(theta, start)


def at_rounding(state: LBFGSState, found: Trial, rounding: float) -> bool:
    """Whether a step has lowered neither the loss, beyond rounding, nor the largest entry of the gradient."""
    value, gradient = found.memory
    return bool(value >= state.loss - rounding * state.loss.abs() and gradient.abs().max() >= state.residual)


def two_loops(gradient: Tensor, moves: Tensor, changes: Tensor) -> Tensor:
    """Return H g, Algorithm 7.4; the gradient itself without pairs.

    >>> s, y = torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0]])  # a curvature of 1/2
    >>> two_loops(torch.tensor([3.0, 1.0]), s, y)
    tensor([6., 2.])
    """
    if not len(moves):
        return gradient
    rho = 1 / (moves * changes).sum(1)
    q, a = gradient.clone(), gradient.new_zeros(len(moves))
    for i in reversed(range(len(moves))):
        a[i] = rho[i] * (moves[i] @ q)
        q = torch.addcmul(q, -a[i], changes[i])
    q = q / (rho[-1] * changes[-1].square().sum())
    for i in range(len(moves)):
        q = torch.addcmul(q, a[i] - rho[i] * (changes[i] @ q), moves[i])
    return q


def remember(state: LBFGSState, move: Tensor, change: Tensor, memory: int) -> tuple[Tensor, Tensor]:
    """Append a pair, unless its curvature is no more than rounding, and drop the oldest beyond the memory."""
    curvature = move @ change
    if not curvature > torch.finfo(move.dtype).eps * change.square().sum():
        return state.moves, state.changes
    moves = torch.cat((state.moves, move[None]))[-memory:]
    return moves, torch.cat((state.changes, change[None]))[-memory:]
