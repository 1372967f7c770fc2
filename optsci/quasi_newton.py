r"""Proximal quasi-Newton: minimise F = f + g by L-BFGS on the residual of a proximal gradient step.

.. math::

    T(w) &= \operatorname{prox}_{s g}(w - s \nabla f(w)), \qquad R(w) = w - T(w), \\
    \varphi(w) &= f(w) - \langle \nabla f(w), R(w) \rangle + \frac{\|R(w)\|^2}{2 s} + g(T(w)).

The forward-backward envelope :math:`\varphi` is continuous, has the minimisers of F and its least value, and
:math:`F(T(w)) \le \varphi(w) \le F(w)` for s < 1/L. So a line search on it may try any direction that makes R small.

Source: Stella, Themelis, Sopasakis and Patrinos, A simple and efficient algorithm for nonlinear model predictive
control, CDC 2017, arXiv 1709.06487 (PANOC).
"""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optsci._tensor import as_scalar, instance_norm
from optsci.protocols import require_value
from optsci.proximal_gradient import _inner, _start, known_constant, magnification


class PANOCState(NamedTuple):
    """A trial of ``panoc``."""

    x: Tensor  # T(w_k), the proximal gradient step from the last accepted point
    residual: Tensor  # c ||R(w_k)|| / max(1, ||x||)
    point: Tensor  # w_k, the last accepted point
    envelope: Tensor  # phi(w_k), at least F(x)
    tau: Tensor  # share of the quasi-Newton direction in this trial, 1, 1/2, ...; 0 for the first state
    accepted: Tensor  # 0-d bool: this trial was accepted


def panoc(f: Any, g: Any, x0: Any, *, step: float | Tensor | None = None, memory: int = 10) -> Iterator[PANOCState]:
    r"""L-BFGS with a prox (PANOC): for ill-conditioned f, and non-convex f as well.

    Every state is one trial, with one gradient of f and one prox:

    .. math:: w(\tau) = w_k - (1 - \tau) R(w_k) + \tau d_k, \qquad d_k = -H_k R(w_k),

    with H_k of L-BFGS on the last moves of w and of R. It is accepted if
    :math:`\varphi(w(\tau)) \le \varphi(w_k) - \frac{0.01}{s} \|R(w_k)\|^2`, or if R has become shorter while
    :math:`\varphi` is the same up to rounding; else :math:`\tau` halves. The limit :math:`\tau = 0` is the proximal
    gradient step, where the first test holds with room to spare, so every search ends, and R tends to 0.

    Args:
        f: has a value and ``grad``, and ``lipschitz`` where the step is to be derived.
        g: has a value and ``prox``; convex.
        x0: start, any shape; not modified.
        step: positive, at most 0.95/L for an L that holds everywhere, as a direction may lead far; a single number.
            None: ``0.95/f.lipschitz()``.
        memory: pairs that L-BFGS keeps, at least 1; each takes the memory of two x.

    The residual is ``c ||w_k - x|| / max(1, ||x||)`` at the last accepted point, zero exactly when it is a minimiser;
    ``c = max(1, 0.95/(L step))``, 1 where f has no ``lipschitz``: a short step does not pass for convergence.

    Reference: Stella, Themelis, Sopasakis and Patrinos, arXiv 1709.06487.

    Example:
        >>> import optsci
        >>> f, g = optsci.LeastSquares([[2.0, 0.0], [0.0, 1.0]], [2.0, 3.0]), optsci.L1(1.0)
        >>> optsci.solve(panoc(f, g, [0.0, 0.0])).x.round(decimals=4)
        tensor([0.7500, 2.0000])
    """
    derived = step is None
    x0, step = _start("panoc", f, g, x0, None if step is None else as_scalar(step, "step"))
    require_value("panoc", f=f, g=g)
    if not isinstance(memory, Integral) or memory < 1:
        raise ValueError(f"memory must be a positive integer, not {memory!r}")
    s = 0.95 * step if derived else step
    L = 0.0 if derived else known_constant(f)
    c = magnification(s, 0.95 / L) if L else 1.0

    def evaluate(w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """T(w), R(w) and phi(w)."""
        gradient = f.grad(w)
        x = g.prox(w - s * gradient, s)
        R = w - x
        return x, R, f(w) - _inner(gradient, R) + _inner(R, R) / (2 * s) + g(x)

    def iterate(w: Tensor) -> Iterator[PANOCState]:
        x, R, phi = evaluate(w)
        pairs = _Pairs(w.new_zeros(memory, w.numel()), w.new_zeros(memory, w.numel()), w.new_zeros(memory))
        tau = w.new_zeros(())
        yield PANOCState(x, c * _relative(R, x), w, phi, tau, tau == 0)
        d, tau = -R, w.new_ones(())
        while True:
            trial = w - (1 - tau) * R + tau * d
            x_new, R_new, phi_new = evaluate(trial)
            rounding = 10 * torch.finfo(phi.dtype).eps * phi.abs()
            falls = phi_new <= phi - 0.01 * _inner(R, R) / s
            shrinks = (phi_new <= phi + rounding) & (R_new.norm() < R.norm())
            lost = R.isnan().any()  # no trial from here could tell
            accepted = falls | shrinks | lost
            updated = _remember(pairs, (trial - w).flatten(), (R_new - R).flatten(), accepted)
            w, x, R = (torch.where(accepted, a, b) for a, b in ((trial, w), (x_new, x), (R_new, R)))
            phi, pairs = torch.where(accepted, phi_new, phi), updated
            yield PANOCState(x, c * _relative(R, x), w, phi, tau, accepted)
            d = -_inverse(pairs, R.flatten()).reshape(R.shape)
            tau = torch.where(accepted, 1.0, 0.5 * tau)

    return iterate(x0)


class _Pairs(NamedTuple):
    """What L-BFGS remembers, oldest first; rows of zeros are not yet in use."""

    S: Tensor  # (memory, n) moves of w
    Y: Tensor  # (memory, n) moves of R
    rho: Tensor  # (memory,) 1/<s, y>


def _remember(pairs: _Pairs, s: Tensor, y: Tensor, accepted: Tensor) -> _Pairs:
    """Append a pair, unless its curvature is not positive beyond rounding."""
    curvature = _inner(s, y)
    good = accepted & (curvature > 1e-10 * s.norm() * y.norm())
    rho = 1 / torch.where(good, curvature, 1.0)
    news = (s, y, rho)
    return _Pairs(
        *(torch.where(good, torch.cat([old[1:], new[None]]), old) for old, new in zip(pairs, news, strict=True))
    )


def _inverse(pairs: _Pairs, q: Tensor) -> Tensor:
    """The two loops of L-BFGS: H q. A row of zeros changes nothing."""
    alphas = []
    for s, y, rho in zip(*(part.flip(0) for part in pairs), strict=True):
        alpha = rho * _inner(s, q)
        q = q - alpha * y
        alphas.append(alpha)
    square = _inner(pairs.Y[-1], pairs.Y[-1])
    used = square > 0
    q = q * torch.where(used, _inner(pairs.S[-1], pairs.Y[-1]) / torch.where(used, square, 1.0), 1.0)
    for s, y, rho, alpha in zip(*pairs, reversed(alphas), strict=True):
        q = q + (alpha - rho * _inner(y, q)) * s
    return q


def _relative(R: Tensor, x: Tensor) -> Tensor:
    return instance_norm(R) / instance_norm(x).clamp(min=1)
