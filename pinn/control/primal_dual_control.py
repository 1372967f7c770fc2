r"""Primal-dual iteration for optimal control: one state and one adjoint solve an iteration, from any solver.

.. math:: \min_u \tfrac12 \|S(u) - y_d\|^2 + \theta(u)

With q an adjoint state, :math:`p \to S(u) - y_d` the dual variable, and the step of Chambolle and Pock in the core,

.. math::

   q &= S^* p, \qquad u_1 = \operatorname{prox}_{\tau \theta}(u - \tau q), \\
   p_1 &= \bigl(p + \sigma (S(2 u_1 - u) - y_d)\bigr) / (1 + \sigma), \\
   (u, p) &\leftarrow (u, p) + r\, \bigl((u_1, p_1) - (u, p)\bigr).

S and its adjoint are functions: finite differences, finite elements, networks and learned operators are exchanged for
each other.  For linear S, convex :math:`\theta` and r = 1 it converges if :math:`\tau \sigma \|S\|^2 < 4/3`, with r
up to 2 if the product is at most 1; steps beyond are refused.  Of a nonlinear S the adjoint is that of the
linearisation at S(u), and the condition is on the norm of that: convergence is local.

**Which steps.** Where they are not given, `primal_dual_steps` derives them from the norm of S and the strong convexity
of :math:`\theta`.

**How near.** With the strong convexity, a move (du, dp) bounds the distance from the solution,

.. math:: \|u_1 - u^*\|^2 \le \frac1{\alpha^2} \Bigl(\frac{\|du\|}{\tau} + \|S\| \|dp\|\Bigr)^2
          + \frac1\alpha \Bigl(\frac{\|dp\|}{\sigma} + \|S\| \|du\|\Bigr)^2,

for linear S with an exact adjoint; it costs nothing, and is a better end than a small move.  Norms are root mean
squares over the nodes, so that they do not depend on the grid.

Sources: Y. Song, X. Yuan, H. Yue, arXiv:2307.00296 (the enlarged steps for control, and learned operators); arXiv
2409.14417 (nonlinear equations); Chambolle and Pock, J. Math. Imaging Vis. 40 (2011) 120; He, Ma, Xu and Yuan, SIAM J.
Imaging Sci. 15 (2022) 1177 (4/3).  The bound of the distance is ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optsci._tensor import as_finite, require_positive
from optsci.functions import SquaredL2
from optsci.functions.calculus import Translated
from optsci.primal_dual import chambolle_pock_step
from optsci.protocols import require

from .control_checks import OperatorPair, derivative_gap, transpose_gap
from .primal_dual_steps import step_sizes, strong_convexity

Linearised = Callable[[Tensor], Any]


class PrimalDualControlState(NamedTuple):
    """An iteration of ``primal_dual`` or ``nonlinear_primal_dual``."""

    x: Tensor  # u_1, (n,): in the domain of theta, also with relaxation
    residual: Tensor  # the larger move of u and p, root mean squares, relative to what exceeds 1
    bound: Tensor  # of the root mean square of x minus solution; infinite without strong convexity, or nonlinear
    u: Tensor  # relaxed control, from which it goes on
    p: Tensor  # relaxed dual variable: tends to S(u) - y_d


def primal_dual(
    S: Callable[[Tensor], Tensor],
    adjoint: Callable[[Tensor], Tensor],
    theta: Any,
    y_d: Any,
    u0: Any,
    *,
    tau: float | None = None,
    sigma: float | None = None,
    norm: float | None = None,
    relaxation: float = 1.0,
    p0: Any = None,
    pair_tolerance: float | None = None,
) -> Iterator[PrimalDualControlState]:
    r"""Minimise :math:`\tfrac12 \|S u - y_d\|^2 + \theta(u)`, S linear, known by its products and those of its adjoint.

    Args:
        S: u (n,) -> y (m,), linear.
        adjoint: p (m,) -> q (n,), the adjoint: ``S.T`` of an operator.
        theta: has ``prox``: `ControlCost`, or any convex function of the core.
        y_d: (m,), the target.
        u0: (n,) start; not modified.
        tau: primal step. None: from sigma, with a product of 1.333, of 0.999 with relaxation.
        sigma: dual step. None: from tau; without either ``sqrt(alpha)/norm``, see `primal_dual_steps`; without strong
            convexity the root of the product over the norm.
        norm: of S. None: ``S.norm()`` where S has it, else by `OperatorPair`, 30 products with both maps.
        relaxation: r, between 0 and 2.
        p0: (m,) start of the dual variable. None: zero.
        pair_tolerance: a random pair must satisfy <S u, p> = <u, S* p> up to this, see `transpose_gap`. None: 1e-10, in
            single precision 1e-4. For a trained pair, which is not one exactly and not made for white noise, infinity,
            and a test of your own.

    The residual is the larger of ``|u_1 - u| / max(1, |u_1|)`` and the same of p, of root mean squares; what it says
    depends on the steps.  Better end at a small ``bound``: ``solve(…, stop=lambda s: s.bound < 1e-4)``.

    Raises:
        ValueError: the product of the steps and the squared norm is 4/3 or more, or above 1 with relaxation; the pair
            is not transposed; data are not finite or have the wrong shapes.

    Reference: arXiv:2307.00296; He, Ma, Xu and Yuan (2022).

    Example:
        >>> import optsci
        >>> from optsci.pinn.control import ControlCost, EllipticMap
        >>> S, cost = EllipticMap(8), ControlCost(alpha=1e-4, lower=0.0, upper=2.0)
        >>> y_d = S(torch.full((49,), 9.0, dtype=torch.float64))
        >>> optsci.solve(primal_dual(S, S.T, cost, y_d, torch.zeros_like(y_d))).x.unique()
        tensor([2.], dtype=torch.float64)
    """
    u0, y_d, p0 = _start(theta, y_d, u0, p0)
    generator = torch.Generator().manual_seed(0)
    u, p = (torch.randn(v.shape, generator=generator, dtype=torch.float64).to(v) for v in (u0, y_d))
    tolerance = (1e-10 if _is_double(u0) else 1e-4) if pair_tolerance is None else pair_tolerance
    if tolerance != math.inf:
        _require_pair(transpose_gap(S, adjoint, u, p), tolerance, "<S u, p> = <u, S* p>")
    pair = OperatorPair(S, adjoint, (len(y_d), len(u0)), u0)
    size = _norm(norm, S if hasattr(S, "norm") else pair)
    alpha = strong_convexity(theta)
    steps = step_sizes(tau, sigma, size, alpha, relaxation)
    return _iterate(lambda u: pair, theta, y_d, u0, p0, *steps, relaxation, alpha, size)


def nonlinear_primal_dual(
    S: Callable[[Tensor], Tensor],
    adjoint: Callable[[Tensor, Tensor, Tensor], Tensor],
    theta: Any,
    y_d: Any,
    u0: Any,
    *,
    tau: float | None = None,
    sigma: float | None = None,
    norm: float | None = None,
    relaxation: float = 1.0,
    p0: Any = None,
    pair_tolerance: float | None = None,
) -> Iterator[PrimalDualControlState]:
    r"""Minimise :math:`\tfrac12 \|S(u) - y_d\|^2 + \theta(u)`, S nonlinear.

    An iteration takes two state solves and one of the adjoint.

    Arguments are those of `primal_dual`, except

    Args:
        S: u (n,) -> y (m,).
        adjoint: (p, u, y) -> q (n,), the adjoint of S'(u) applied to p, where y = S(u):
            ``lambda p, u, y: S.linearised(u, y).T(p)`` of a `SolutionMap`.
        theta: has ``prox``.
        y_d: (m,), the target.
        u0: (n,) start; convergence is to a solution nearby.
        tau: primal step.
        sigma: dual step.
        norm: a bound of that of S'(u) along the way. None: the norm at u0, from differences of S: give it, or smaller
            steps, where the derivative grows.
        relaxation: r, between 0 and 2.
        p0: (m,) start of the dual variable. None: zero.
        pair_tolerance: as of `primal_dual`, of a difference of S and the adjoint at u0, see `derivative_gap`. None:
            1e-5, in single precision 1e-2.

    Reference: arXiv:2409.14417.

    Example:
        >>> import optsci
        >>> from optsci.pinn.control import BurgersMap, ControlCost
        >>> S, u0 = BurgersMap(20), torch.zeros(19, dtype=torch.float64)
        >>> adjoint = lambda p, u, y: S.linearised(u, y).T(p)
        >>> run = optsci.solve(nonlinear_primal_dual(S, adjoint, ControlCost(0.1, upper=0.3), 0.3 + u0, u0), tol=1e-8)
        >>> run.status.name, round(run.x.max().item(), 12)
        ('CONVERGED', 0.3)
    """
    u0, y_d, p0 = _start(theta, y_d, u0, p0)
    generator = torch.Generator().manual_seed(0)
    v, p = (torch.randn(w.shape, generator=generator, dtype=torch.float64).to(w) for w in (u0, y_d))

    def linearised(u: Tensor) -> OperatorPair:
        y = S(u)
        return OperatorPair(S, lambda p: adjoint(p, u, y), (len(y_d), len(u0)), u0)

    at_start = linearised(u0)
    step, tolerance = (1e-4, 1e-5) if _is_double(u0) else (1e-2, 1e-2)
    tolerance = tolerance if pair_tolerance is None else pair_tolerance
    if tolerance != math.inf:
        gap = derivative_gap(S, at_start.adjoint, u0, v, p, step=step)
        _require_pair(gap, tolerance, "<S'(u0) v, p> = <v, S'(u0)* p>")

    def along(v: Tensor) -> Tensor:
        return (S(u0 + step * v) - S(u0 - step * v)) / (2 * step)

    size = _norm(norm, OperatorPair(along, at_start.adjoint, at_start.shape, u0))
    alpha = strong_convexity(theta)
    steps = step_sizes(tau, sigma, size, alpha, relaxation)
    return _iterate(linearised, theta, y_d, u0, p0, *steps, relaxation, 0.0, size)


def _iterate(
    linearised: Linearised,
    theta: Any,
    y_d: Tensor,
    u: Tensor,
    p: Tensor,
    tau: float,
    sigma: float,
    relaxation: float,
    alpha: float,
    size: float,
) -> Iterator[PrimalDualControlState]:
    tracking = Translated(SquaredL2(1.0), y_d)
    while True:
        u1, p1 = chambolle_pock_step(theta, tracking, linearised(u), u, p, tau, sigma)
        du, dp = _size(u1 - u), _size(p1 - p) * math.sqrt(len(p) / len(u))  # the same scale as du, for the bound
        bound = du.new_full((), math.inf)
        if alpha > 0:
            bound = torch.hypot((du / tau + size * dp) / alpha, (dp / sigma + size * du) / math.sqrt(alpha))
        residual = torch.maximum(du / _size(u1).clamp(min=1), _size(p1 - p) / _size(p1).clamp(min=1))
        u, p = u + relaxation * (u1 - u), p + relaxation * (p1 - p)
        yield PrimalDualControlState(u1, residual, bound, u, p)


def _start(theta: Any, y_d: Any, u0: Any, p0: Any) -> tuple[Tensor, Tensor, Tensor]:
    require(theta, "prox", by="primal_dual", name="theta")
    u0 = as_finite(u0, "u0")
    y_d = as_finite(y_d, "y_d", like=u0)
    p0 = torch.zeros_like(y_d) if p0 is None else as_finite(p0, "p0", like=u0)
    for name, x in (("u0", u0), ("y_d", y_d)):
        if x.dim() != 1 or len(x) == 0:
            raise ValueError(f"{name} must be a vector, one value a node, got shape {tuple(x.shape)}")
    if p0.shape != y_d.shape:
        raise ValueError(f"p0 must have the shape {tuple(y_d.shape)} of y_d, got {tuple(p0.shape)}")
    return u0, y_d, p0


def _require_pair(gap: float, tolerance: float, rule: str) -> None:
    if not gap <= tolerance:
        raise ValueError(
            f"adjoint must be that of S, but {rule} fails by {gap:.2e} of its size for a random pair, "
            f"more than pair_tolerance={tolerance:g}: take the transpose of the discrete map"
        )


def _norm(norm: float | None, operator: Any) -> float:
    size = float(operator.norm() if norm is None else norm)
    require_positive(size, "norm")
    return size


def _is_double(x: Tensor) -> bool:
    return x.dtype == torch.float64


def _size(x: Tensor) -> Tensor:
    """Root mean square."""
    return x.norm() / math.sqrt(x.numel())
