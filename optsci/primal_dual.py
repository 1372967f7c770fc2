r"""Primal-dual methods: minimise f(x) + g(K x), or f(x) + g(K x) + h(x) with h smooth; no linear solve with K.

.. math::

    x_{k+1} &= \operatorname{prox}_{\tau f}(x_k - \tau K^\top y_k), \\
    y_{k+1} &= \operatorname{prox}_{\sigma g^*}\big(y_k + \sigma K (x_{k+1} + \theta (x_{k+1} - x_k))\big).

The prox of the conjugate comes from that of g by Moreau's identity, ``prox_{s g*}(v) = v - s prox_{g/s}(v/s)``. The
functions come first, then the operator inside g, then the start.

Residuals measure the moves of x and y as those of the usual steps, ``1/K.norm()`` each (less where h asks for less):
those of a shorter step are magnified by what it is shorter, lest they pass for convergence.

Sources: Chambolle and Pock, J. Math. Imaging Vis. 40 (2011) 120; Condat, J. Optim. Theory Appl. 158 (2013) 460; Vu,
Adv. Comput. Math. 38 (2013) 667; Yan, J. Sci. Comput. 76 (2018) 1698 (PD3O); Malitsky and Pock, SIAM J. Optim. 28
(2018) 411 (line search); He, Ma, Xu and Yuan, SIAM J. Imaging Sci. 15 (2022) 1177 (steps up to 4/3).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optsci._tensor import require_positive
from optsci.linear_maps import BatchMatrix
from optsci.operators import Matrix, NumpyOperator, as_operator
from optsci.protocols import Operator, require
from optsci.proximal_gradient import magnification, require_batch_dims
from optsci.splitting import lipschitz, relative, require_between, same_shape, starting_point


class PrimalDualState(NamedTuple):
    """An iteration of a primal-dual method."""

    x: Tensor  # x_k
    residual: Tensor  # the larger of c ||x - x_old|| / max(1, ||x||) and d ||y - y_old|| / max(1, ||y||)
    y: Tensor  # y_k, of the shape of K x: tends to a subgradient of g at K x


class AcceleratedPrimalDualState(NamedTuple):
    """An iteration of ``accelerated_chambolle_pock``."""

    x: Tensor  # x_k
    residual: Tensor  # the larger of ||x - x_old|| / (tau max(1, ||x||)) and ||y - y_old|| / (sigma max(1, ||y||))
    y: Tensor  # y_k, of the shape of K x
    tau: Tensor  # primal step of the next iteration
    sigma: Tensor  # dual step of this and first of the next iteration


class AdaptivePrimalDualState(NamedTuple):
    """A trial of ``adaptive_chambolle_pock``."""

    x: Tensor  # last accepted point
    residual: Tensor  # that of the last accepted trial; 1 before the first
    y: Tensor  # last accepted dual point
    step: Tensor  # primal step of this trial
    accepted: Tensor  # 0-d bool: this trial passed


def chambolle_pock(
    f: Any,
    g: Any,
    K: Any,
    x0: Any,
    *,
    y0: Any = None,
    tau: float | None = None,
    sigma: float | None = None,
    theta: float = 1.0,
    batch_dims: int = 0,
) -> Iterator[PrimalDualState]:
    r"""The method of Chambolle and Pock (PDHG) for f(x) + g(K x): both by their prox.

    For ``theta = 1`` it converges if :math:`\tau \sigma \|K\|^2 < 4/3`, and no further. Up to 1, the mean of the
    first k iterates has the gap :math:`(\|x_0 - x\|^2/\tau + \|y_0 - y\|^2/\sigma)/(2 k)` and less, up to a cross term.

    Args:
        f: has ``prox``.
        g: has ``prox``, on the range of K.
        K: (m, n), an operator or a matrix.
        x0: (n,) or (n, k) start; not modified.
        y0: dual start, of the shape of K x. None: zero.
        tau: primal step. None: from sigma, with ``tau sigma K.norm()**2 = 1``; without either ``1/K.norm()``.
        sigma: dual step. None: from tau in the same way.
        theta: extrapolation, above 0 and at most 1; below 1, the product of the steps times ``K.norm()**2`` must be
            below ``4 theta (2 - theta)/(1 - 2 theta + 9 theta^2 - 4 theta^3)``.
        batch_dims: how many leading dimensions of x0 count problems that run side by side, each with a residual of
            its own; f and g must be sums over them, as those of this library are.
            K must keep these dimensions, as ``BatchMatrix`` and ``Gradient`` do.

    The residual is the larger of ``c ||x - x_old|| / max(1, ||x||)`` and ``d ||y - y_old|| / max(1, ||y||)``: zero
    exactly at a saddle point. ``c = max(1, 1/(tau K.norm()))``, and d likewise with sigma.

    Reference: Chambolle and Pock (2011), Algorithm 1; for theta below 1 arXiv:2604.06423.

    Example:
        >>> import optsci
        >>> f, g, K = optsci.SquaredL2(1.0), optsci.Box(2.0, 9.0), [[1.0, 1.0]]
        >>> optsci.solve(chambolle_pock(f, g, K, [0.0, 0.0])).x.round(decimals=3)
        tensor([1., 1.])
    """
    K, x0, y0 = primal_dual_start("chambolle_pock", f, g, K, x0, y0)
    require_batch_dims(batch_dims, x0)
    if batch_dims:
        _require_batch(K, x0, y0, batch_dims)
    if not 0 < theta <= 1:
        raise ValueError(f"theta must be above 0 and at most 1, got {theta!r}")
    tau, sigma, product = primal_dual_steps(tau, sigma, K)
    bound, rule = 4 / 3, "4/3"
    if theta < 1:
        bound = 4 * theta * (2 - theta) / (1 - 2 * theta + 9 * theta**2 - 4 * theta**3)
        rule = f"{bound:.6g} for theta={theta!r}"
    if not product < bound:
        raise ValueError(f"tau sigma K.norm()**2 must be below {rule}, got {product:.6g}")
    usual = 1 / (K.norms() if isinstance(K, BatchMatrix) else K.norm())
    c, d = magnification(tau, usual), magnification(sigma, usual)

    def iterate(x: Tensor, y: Tensor) -> Iterator[PrimalDualState]:
        while True:
            x_old, y_old = x, y
            x, y = chambolle_pock_step(f, g, K, x, y, tau, sigma, theta)
            yield PrimalDualState(x, _residual(c * (x - x_old), x, d * (y - y_old), y, batch_dims), y)

    return iterate(x0, y0)


def chambolle_pock_step(
    f: Any, g: Any, K: Operator, x: Tensor, y: Tensor, tau: float, sigma: float, theta: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Return the next x and y of ``chambolle_pock``; the steps are not checked."""
    x_new = f.prox(x - tau * K.T(y), tau)
    return x_new, conjugate_prox(g, y + sigma * K(x_new + theta * (x_new - x)), sigma)


def conjugate_prox(g: Any, v: Tensor, step: float | Tensor) -> Tensor:
    """Return the prox of the conjugate of g, by Moreau's identity."""
    return v - step * g.prox(v / step, 1 / step)


def accelerated_chambolle_pock(
    f: Any, g: Any, K: Any, x0: Any, *, strong_convexity: float, y0: Any = None, tau: float | None = None
) -> Iterator[AcceleratedPrimalDualState]:
    r"""The method of Chambolle and Pock for a strongly convex f: :math:`\|x_k - x^*\|^2 = O(1/k^2)`.

    Between the two proxes :math:`\theta = 1/\sqrt{1 + 2 \mu \tau}`, :math:`\tau \leftarrow \theta \tau`,
    :math:`\sigma \leftarrow \sigma/\theta`: the product of the steps stays :math:`1/\|K\|^2`.

    Args:
        f: has ``prox``; ``f - strong_convexity ||x||^2/2`` is convex.
        g: has ``prox``, on the range of K.
        K: (m, n), an operator or a matrix.
        x0: (n,) or (n, k) start; not modified.
        strong_convexity: mu, positive.
        y0: dual start, of the shape of K x. None: zero.
        tau: first primal step. None: ``1/K.norm()``.

    The residual is the larger of ``||x - x_old|| / (tau max(1, ||x||))`` and ``||y - y_old|| / (sigma max(1, ||y||))``:
    what shrinking steps leave undone must not pass for convergence.

    Reference: Chambolle and Pock (2011), Algorithm 2 and Theorem 2.

    Example:
        >>> import optsci
        >>> f, g, K = optsci.SquaredL2(1.0), optsci.Box(2.0, 9.0), [[1.0, 1.0]]
        >>> optsci.solve(accelerated_chambolle_pock(f, g, K, [0.0, 0.0], strong_convexity=1.0)).x.round(decimals=3)
        tensor([1., 1.])
    """
    K, x0, y0 = primal_dual_start("accelerated_chambolle_pock", f, g, K, x0, y0)
    require_positive(float(strong_convexity), "strong_convexity")
    first, other, _ = primal_dual_steps(tau, None, K)

    def iterate(x: Tensor, y: Tensor) -> Iterator[AcceleratedPrimalDualState]:
        tau, sigma = first * x.new_ones(()), other * x.new_ones(())
        while True:
            x_old, y_old, tau_old = x, y, tau
            x = f.prox(x - tau * K.T(y), tau)
            theta = 1 / (1 + 2 * strong_convexity * tau).sqrt()
            tau, sigma = theta * tau, sigma / theta
            y = conjugate_prox(g, y + sigma * K(x + theta * (x - x_old)), sigma)
            residual = torch.maximum(relative(x - x_old, x) / tau_old, relative(y - y_old, y) / sigma)
            yield AcceleratedPrimalDualState(x, residual, y, tau, sigma)

    return iterate(x0, y0)


def condat_vu(
    f: Any, g: Any, h: Any, K: Any, x0: Any, *, y0: Any = None, tau: float | None = None, sigma: float | None = None
) -> Iterator[PrimalDualState]:
    r"""The method of Condat and Vu for f(x) + g(K x) + h(x): h by its gradient, of Lipschitz constant L.

    .. math:: x_{k+1} = \operatorname{prox}_{\tau f}\big(x_k - \tau (\nabla h(x_k) + K^\top y_k)\big)

    and y as in ``chambolle_pock``; it converges for :math:`1/\tau - \sigma \|K\|^2 \ge L/2`.

    Args:
        f: has ``prox``.
        g: has ``prox``, on the range of K.
        h: has ``grad`` and ``lipschitz``.
        K: (m, n), an operator or a matrix.
        x0: (n,) or (n, k) start; not modified.
        y0: dual start, of the shape of K x. None: zero.
        tau: primal step. None: the largest allowed.
        sigma: dual step. None: ``1/K.norm()``.

    The residual is that of ``chambolle_pock``.

    Reference: Condat (2013), Algorithm 3.1; Vu (2013).

    Example:
        >>> import optsci
        >>> f, g, h, K = optsci.L1(0.0), optsci.Box(2.0, 9.0), optsci.SquaredL2(1.0), [[1.0, 1.0]]
        >>> optsci.solve(condat_vu(f, g, h, K, [0.0, 0.0])).x.round(decimals=3)
        tensor([1., 1.])
    """
    K, x0, y0 = primal_dual_start("condat_vu", f, g, K, x0, y0)
    require(h, "grad", by="condat_vu", name="h")
    L, square = lipschitz(h, "condat_vu", None), K.norm() ** 2
    s = _positive(1 / math.sqrt(square) if sigma is None else sigma, "sigma")
    t = _positive(1 / (L / 2 + s * square) if tau is None else tau, "tau")
    if not 1 / t - s * square >= L / 2 * (1 - 1e-9):
        raise ValueError(
            f"1/tau - sigma K.norm()**2 must be at least h.lipschitz()/2 = {L / 2:.6g}, got {1 / t - s * square:.6g}"
        )
    c, d = magnification(t, 1 / (L / 2 + K.norm())), magnification(s, 1 / K.norm())

    def iterate(x: Tensor, y: Tensor) -> Iterator[PrimalDualState]:
        while True:
            x_old, y_old = x, y
            x = f.prox(x - t * (h.grad(x) + K.T(y)), t)
            y = conjugate_prox(g, y + s * K(2 * x - x_old), s)
            yield PrimalDualState(x, _residual(c * (x - x_old), x, d * (y - y_old), y), y)

    return iterate(x0, y0)


def pd3o(
    f: Any, g: Any, h: Any, K: Any, x0: Any, *, y0: Any = None, tau: float | None = None, sigma: float | None = None
) -> Iterator[PrimalDualState]:
    r"""PD3O for f(x) + g(K x) + h(x): larger steps than ``condat_vu``, one gradient of h an iteration.

    .. math::

        y &\leftarrow \operatorname{prox}_{\sigma g^*}(y + \sigma K \bar x), \qquad
        x_{k+1} = \operatorname{prox}_{\tau f}\big(x_k - \tau (\nabla h(x_k) + K^\top y)\big), \\
        \bar x &= 2 x_{k+1} - x_k + \tau (\nabla h(x_k) - \nabla h(x_{k+1})).

    It converges for :math:`\tau < 2/L` and :math:`\tau \sigma \|K\|^2 \le 1`. With K = 1 and ``tau sigma = 1`` it is
    ``davis_yin``.

    Args:
        f: has ``prox``.
        g: has ``prox``, on the range of K.
        h: has ``grad`` and ``lipschitz``.
        K: (m, n), an operator or a matrix.
        x0: (n,) or (n, k) start; not modified.
        y0: dual start, of the shape of K x. None: zero.
        tau: primal step, below ``2/h.lipschitz()``. None: ``1/h.lipschitz()``.
        sigma: dual step. None: ``1/(tau K.norm()**2)``.

    The residual is that of ``chambolle_pock``.

    Reference: Yan (2018).

    Example:
        >>> import optsci
        >>> f, g, h, K = optsci.L1(0.0), optsci.Box(2.0, 9.0), optsci.SquaredL2(1.0), [[1.0, 1.0]]
        >>> optsci.solve(pd3o(f, g, h, K, [0.0, 0.0])).x.round(decimals=3)
        tensor([1., 1.])
    """
    K, x0, y0 = primal_dual_start("pd3o", f, g, K, x0, y0)
    require(h, "grad", by="pd3o", name="h")
    L = lipschitz(h, "pd3o", "tau" if tau is None else None)
    t, s, product = primal_dual_steps(1 / L if tau is None else tau, sigma, K)
    if not t * L < 2:
        raise ValueError(f"tau must be below 2/h.lipschitz() = {2 / L:.6g}, got {t!r}")
    if not product <= 1 + 1e-9:
        raise ValueError(f"tau sigma K.norm()**2 must be at most 1, got {product:.6g}")
    usual = 1 / K.norm()
    c = magnification(t, usual / max(1.0, L * usual))
    d = magnification(s, usual * min(1.0, L * usual) if L else usual)  # what belongs to tau = 1/L

    def iterate(x: Tensor, y: Tensor) -> Iterator[PrimalDualState]:
        x_bar, gradient = x, h.grad(x)
        while True:
            x_old, y_old, gradient_old = x, y, gradient
            y = conjugate_prox(g, y + s * K(x_bar), s)
            x = f.prox(x - t * (gradient + K.T(y)), t)
            gradient = h.grad(x)
            x_bar = 2 * x - x_old + t * (gradient_old - gradient)
            yield PrimalDualState(x, _residual(c * (x - x_old), x, d * (y - y_old), y), y)

    return iterate(x0, y0)


def adaptive_chambolle_pock(
    f: Any, g: Any, K: Any, x0: Any, *, y0: Any = None, step: float = 1.0, ratio: float = 1.0, shrink: float = 0.7
) -> Iterator[AdaptivePrimalDualState]:
    r"""The method of Chambolle and Pock without a norm of K: every state is one trial of a step.

    The step first grows, :math:`t = \tau \sqrt{1 + \theta}`, and after a rejected trial shrinks. With
    :math:`\theta = t/\tau`, :math:`\sigma = \beta t`, a dual move d is accepted if
    :math:`\sqrt{\beta}\, t \|K^\top d\| \le 0.99 \|d\|`.

    Args:
        f: has ``prox``.
        g: has ``prox``, on the range of K.
        K: (m, n), an operator or a matrix; its norm is not asked for.
        x0: (n,) or (n, k) start; not modified.
        y0: dual start, of the shape of K x. None: zero.
        step: the first primal step, positive.
        ratio: beta, dual over primal step, positive.
        shrink: factor of the step after a rejected trial, between 0 and 1.

    The residual is that of ``chambolle_pock`` at the last accepted trial. Until one is rejected, K.norm() might be
    anything, and ``c = max(1, 1/tau)``, ``d = max(1, 1/sigma)``.

    Reference: Malitsky and Pock (2018), Algorithm 1.

    Example:
        >>> import optsci
        >>> f, g, K = optsci.SquaredL2(1.0), optsci.Box(2.0, 9.0), [[1.0, 1.0]]
        >>> optsci.solve(adaptive_chambolle_pock(f, g, K, [0.0, 0.0], step=9.0)).x.round(decimals=3)
        tensor([1., 1.])
    """
    K, x0, y0 = primal_dual_start("adaptive_chambolle_pock", f, g, K, x0, y0, norm=False)
    step, beta = _positive(step, "step"), _positive(ratio, "ratio")
    mu = require_between(shrink, 0, 1, "shrink")

    def iterate(x_old: Tensor, y: Tensor) -> Iterator[AdaptivePrimalDualState]:
        tau = step * x_old.new_ones(())
        x = f.prox(x_old - tau * K.T(y), tau)
        t, residual = tau * math.sqrt(2), x.new_ones(())
        shown = x_old
        found = t.new_zeros(()) > 0  # a rejection has shown how long steps may be: tau is 1/(sqrt(beta) K.norm())
        c_found, d_found = (magnification(beta**power) for power in (-0.5, 0.5))
        while True:
            theta = t / tau
            y_new = conjugate_prox(g, y + beta * t * K(x + theta * (x - x_old)), beta * t)
            d = y_new - y
            accepted = (math.sqrt(beta) * t * K.T(d).norm() <= 0.99 * d.norm()) | d.isnan().any()
            found = found | ~accepted
            c = torch.where(found, c_found, magnification(tau))
            c_dual = torch.where(found, d_found, magnification(beta * t))
            residual = torch.where(accepted, _residual(c * (x - x_old), x, c_dual * d, y_new), residual)
            shown = torch.where(accepted, x, shown)
            x_next = f.prox(x - t * K.T(y_new), t)
            x_old, x = torch.where(accepted, x, x_old), torch.where(accepted, x_next, x)
            y = torch.where(accepted, y_new, y)
            yield AdaptivePrimalDualState(shown, residual, y, t, accepted)
            tau, t = torch.where(accepted, t, tau), torch.where(accepted, t * (1 + theta).sqrt(), mu * t)

    return iterate(x0, y0)


def primal_dual_start(
    by: str, f: Any, g: Any, K: Any, x0: Any, y0: Any, *, norm: bool = True
) -> tuple[Operator, Tensor, Tensor]:
    """Check what all have in common when the algorithm is called."""
    x0 = starting_point(by, x0, f=f)
    require(g, "prox", by=by, name="g")
    K = as_operator(K)
    if norm and not 0 < K.norm() < math.inf:
        raise ValueError(f"K.norm() must be positive and finite, not {K.norm()!r}")
    Kx = K(x0)
    return K, x0, torch.zeros_like(Kx) if y0 is None else same_shape(y0, Kx, "y0")


def primal_dual_steps(tau: float | None, sigma: float | None, K: Operator) -> tuple[float, float, float]:
    """Return both steps and tau sigma ||K||^2; what is missing makes that 1."""
    square = K.norm() ** 2
    t = None if tau is None else _positive(tau, "tau")
    s = None if sigma is None else _positive(sigma, "sigma")
    if t is None:
        t = 1 / math.sqrt(square) if s is None else 1 / (s * square)
    if s is None:
        s = 1 / (t * square)
    return t, s, t * s * square


def _require_batch(K: Operator, x0: Tensor, y0: Tensor, batch_dims: int) -> None:
    rule = f"K must keep the first batch_dims={batch_dims} dimensions of x"
    if isinstance(K, Matrix | NumpyOperator):
        raise ValueError(f"{rule}: a matrix acts on columns; take a BatchMatrix")
    if y0.shape[:batch_dims] != x0.shape[:batch_dims]:
        raise ValueError(f"{rule}: it takes {tuple(x0.shape)} to {tuple(y0.shape)}")


def _positive(x: Any, name: str) -> float:
    number = float(x)
    require_positive(number, name)
    return number


def _residual(dx: Tensor, x: Tensor, dy: Tensor, y: Tensor, batch_dims: int = 0) -> Tensor:
    return torch.maximum(relative(dx, x, batch_dims), relative(dy, y, batch_dims))
