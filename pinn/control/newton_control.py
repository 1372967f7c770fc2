r"""Semismooth Newton for box constraints and an l1 term: the reference for controls of partial differential equations.

.. math:: \min_u \; \tfrac12 \|S(u) - y_d\|^2 + \tfrac\alpha2 \|u\|^2 + \rho \|u\|_1
          \quad \text{with} \quad a \le u \le b

The norms are sums over the nodes; a quadrature weight common to all nodes changes nothing but the value.  A solution
is a zero of

.. math:: F(u) = u - \Phi(-q(u)), \qquad q(u) = S'(u)^\top (S(u) - y_d), \qquad
          \Phi(v) = \min\Bigl(\max\Bigl(\frac{\operatorname{soft}(v, \rho)}{\alpha}, a\Bigr), b\Bigr)

The generalised derivative of :math:`\Phi` is :math:`1/\alpha` on the set I where it moves, :math:`|q| > \rho` and no
bound, and 0 elsewhere.  So a Newton step d is -F outside of I, and inside

.. math:: (\alpha + H_{II}) d_I = -\alpha F_I - (H d)_I \text{ with d outside of I}, \qquad H = q'(u)

by conjugate gradients: H is compact, and few directions differ from :math:`\alpha`.  A step is halved until it lowers
the least norm of F so far.  If six halvings do not, the lowest objective is taken among these steps, projected on the
box, and a proximal gradient step, which alone would converge.  Near a solution no step is halved, and the convergence
is superlinear; full steps alone would cycle for small :math:`\alpha`.

Sources: M. Hintermüller, K. Ito, K. Kunisch, SIAM J. Optim. 13 (2002) 865; G. Stadler, Comput. Optim. Appl. 44 (2009)
159 (the l1 term).  The step with fewer unknowns, and the globalisation, are ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

import optsci
from optsci._tensor import as_finite, require_nonnegative, require_positive
from optsci.linalg import conjugate_gradient

HALVINGS = 6  # of a Newton step that does not lower the norm of F
DECREASE = 0.1  # of what its linearisation promises that a step must lower it by


class SolutionMap(Protocol):
    """A control-to-state map with two derivatives; `EllipticMap` and `BurgersMap`, for example."""

    def __call__(self, u: Tensor, /) -> Tensor:
        """Return the state y of a control, both (n,)."""
        ...

    def linearised(self, u: Tensor, y: Tensor, /) -> Any:
        """Return the derivative at u, whose state is y, as an operator; linear maps need not have this."""
        ...

    def hessian(self, u: Tensor, y: Tensor, p: Tensor, /) -> Callable[[Tensor], Tensor]:
        """Return the derivative of q(u) = S'(u)^T (S(u) - y_d), v -> q'(u) v, for p = y - y_d."""
        ...


@dataclass(frozen=True)
class ControlCost:
    r"""The function :math:`\tfrac\alpha2 \|u\|^2 + \rho \|u\|_1` on a box, infinite outside; it has a prox.

    Args:
        alpha: at least 0; positive for `semismooth_newton`.
        rho: at least 0.
        lower: a, may be -inf.
        upper: b, may be inf.

    Raises:
        ValueError: alpha or rho is negative, or a exceeds b.

    Example:
        >>> cost = ControlCost(alpha=1.0, rho=0.5, lower=-1.0, upper=2.0)
        >>> cost.prox(torch.tensor([-9.0, 0.4, 1.5, 9.0]), 1.0)
        tensor([-1.0000,  0.0000,  0.5000,  2.0000])
    """

    alpha: float
    rho: float = 0.0
    lower: float = -math.inf
    upper: float = math.inf

    def __post_init__(self) -> None:
        require_nonnegative(self.alpha, "alpha")
        require_nonnegative(self.rho, "rho")
        optsci.Box(self.lower, self.upper)  # refuses an empty box

    def __call__(self, u: Tensor) -> Tensor:
        return self.as_sum(u)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        r"""Return clip(soft(x, step rho) / (1 + step alpha)): exact, for it is one convex function of every entry."""
        return self.as_sum.prox(x, step)

    @cached_property
    def as_sum(self) -> Any:
        """The same as a sum of functions of the core."""
        return optsci.SquaredL2(self.alpha) + (optsci.L1(self.rho) + self.box)

    @property
    def box(self) -> optsci.Box:
        """The indicator of the box."""
        return optsci.Box(self.lower, self.upper)

    def minimiser(self, q: Tensor) -> Tensor:
        r"""Return :math:`\Phi(-q) = \operatorname{argmin}_u \langle q, u \rangle + \text{cost}(u)`, for alpha > 0."""
        soft = -q.sign() * (q.abs() - self.rho).clamp(min=0)
        return (soft / self.alpha).clamp(self.lower, self.upper)

    def moves(self, q: Tensor) -> Tensor:
        """Return where the minimiser moves with q, bool: neither 0 by the l1 term, nor at a bound."""
        free = self.minimiser(q)
        return (q.abs() > self.rho) & (free > self.lower) & (free < self.upper)


class SemismoothNewtonState(NamedTuple):
    """An iteration of ``semismooth_newton``."""

    x: Tensor  # Phi(-q), (n,): in the box, and exactly 0 where the l1 term makes it; u_k at a solution
    residual: Tensor  # ||F(u_k)|| / max(sqrt(n), ||u_k||)
    y: Tensor  # S(u_k)
    q: Tensor  # S'(u_k)^T (y - y_d)
    step: float  # share of the Newton step that was taken to u_k; 0 where none lowered the norm of F


def semismooth_newton(
    S: Any, y_d: Any, u0: Any, *, cost: ControlCost, accuracy: float = 1e-10
) -> Iterator[SemismoothNewtonState]:
    r"""Minimise :math:`\tfrac12 \|S(u) - y_d\|^2 + \text{cost}(u)` to the last digits.

    Args:
        S: a `SolutionMap`; of a linear one, an operator with ``hessian``, the derivative is the map itself.
        y_d: (n,), the target, or a number.
        u0: (n,) start, projected on the box; not modified.
        cost: with alpha > 0.
        accuracy: of the conjugate gradients, relative to the right-hand side.

    The residual is ``||F(u)|| / max(sqrt(n), ||u||)``, zero exactly at a stationary point; for a linear S, the
    solution.  Of a nonlinear S a local minimiser is found, from nearby.

    Raises:
        ValueError: alpha is not positive, data are not finite, or the shapes do not fit.

    Reference: Hintermüller, Ito and Kunisch (2002), section 4; Stadler (2009), section 4.

    Example:
        >>> from optsci.pinn.control import EllipticMap
        >>> S = EllipticMap(8)
        >>> y_d = S(torch.full((49,), 9.0, dtype=torch.float64))
        >>> cost = ControlCost(alpha=1e-6, lower=0.0, upper=2.0)
        >>> run = optsci.solve(semismooth_newton(S, y_d, torch.zeros_like(y_d), cost=cost), tol=1e-12)
        >>> run.status.name, run.x.unique()
        ('CONVERGED', tensor([2.], dtype=torch.float64))
    """
    require_positive(cost.alpha, "cost.alpha")
    require_positive(accuracy, "accuracy")
    u0 = as_finite(u0, "u0")
    if u0.shape != (S.shape[1],):
        raise ValueError(f"u0 must have the shape ({S.shape[1]},) that S takes, got {tuple(u0.shape)}")
    y_d = as_finite(y_d, "y_d", like=u0)
    if y_d.dim() and y_d.shape != (S.shape[0],):
        raise ValueError(
            f"y_d must have the shape ({S.shape[0]},) that S gives, or be a number, got {tuple(y_d.shape)}"
        )

    def at(u: Tensor) -> Point:
        y = S(u)
        q = derivative(S, u, y).T(y - y_d)
        return Point(u, y, q, u - cost.minimiser(q))

    def iterate(now: Point) -> Iterator[SemismoothNewtonState]:
        share, best, s = 1.0, now.F.norm(), 1 / cost.alpha
        while True:
            u, y, q, F = now
            yield SemismoothNewtonState(cost.minimiser(q), _size(F) / _size(u).clamp(min=1), y, q, share)
            best = torch.minimum(best, F.norm())
            d = newton_step(S.hessian(u, y, y - y_d), F, cost.moves(q), cost.alpha, accuracy)
            for share in (0.5**k for k in range(HALVINGS + 1)):
                now = at(u + share * d)
                if now.F.norm() <= (1 - DECREASE * share) * best or not F.any():
                    break
            else:
                share = 0.0
                new, s = _descend(S, y_d, cost, u, d, 4 * s)
                now = at(new)

    return iterate(at(cost.box.prox(u0, 1.0)))


class Point(NamedTuple):
    """A control, its state, the gradient of the tracking term and the residual."""

    u: Tensor
    y: Tensor
    q: Tensor
    F: Tensor


def newton_step(
    H: Callable[[Tensor], Tensor], F: Tensor, moves: Tensor, alpha: float, accuracy: float = 1e-10
) -> Tensor:
    """Return d with d = -F outside of ``moves``, and alpha d + H d = -alpha F inside.

    >>> newton_step(lambda v: v, torch.ones(2), torch.tensor([True, False]), 1.0)
    tensor([-0.5000, -1.0000])
    """
    d = torch.where(moves, 0.0, -F)
    if not moves.any():
        return d
    b = -alpha * F - H(d)
    steps = conjugate_gradient(lambda v: alpha * v + H(v), b, mask=moves)
    inside = optsci.solve(steps, tol=accuracy, max_iter=1000).x
    return d + inside


def derivative(S: Any, u: Tensor, y: Tensor) -> Any:
    """Return S'(u) as an operator: ``S.linearised(u, y)`` where S has it, else S itself, which is linear."""
    return S.linearised(u, y) if hasattr(S, "linearised") else S


def control_objective(S: Any, y_d: float | Tensor, cost: Any, u: Tensor) -> Tensor:
    """Return half the squared distance of S(u) from the target plus the cost, 0-d, as sums over the nodes.

    >>> from optsci.pinn.control import EllipticMap
    >>> control_objective(EllipticMap(4), 2.0, ControlCost(1.0), torch.zeros(9))
    tensor(18.)
    """
    return 0.5 * (S(u) - y_d).square().sum() + cost(u)


def _descend(S: Any, y_d: Any, cost: ControlCost, u: Tensor, d: Tensor, s: float) -> tuple[Tensor, float]:
    """Return the lowest of projected Newton steps and a proximal gradient step, and the length of the latter."""

    def value(v: Tensor) -> float:
        return float(control_objective(S, y_d, cost, v))

    start = cost.box.prox(u, 1.0)
    y = S(start)
    q, before = derivative(S, start, y).T(y - y_d), value(start)
    while True:
        new = cost.prox(start - s * q, s)
        move = float((new - start).square().sum())
        if value(new) <= before - 1e-4 / s * move or not move > 0:
            break
        s = s / 4
    return min([new, *(cost.box.prox(u + 0.5**k * d, 1.0) for k in range(HALVINGS + 1))], key=value), s


def _size(x: Tensor) -> Tensor:
    """Root mean square."""
    return x.norm() / math.sqrt(x.numel())
