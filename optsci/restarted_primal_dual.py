r"""PDHG that restarts: minimise f(x) + g(K x), at a linear rate where the problem is sharp, as linear programs are.

With z = (x, y), T the step of Chambolle and Pock, and the anchor :math:`z_0` the start of an epoch,

.. math:: z_{k+1} = \frac{k+1}{k+2} (2 T(z_k) - z_k) + \frac{1}{k+2} z_0.

T is firmly nonexpansive in :math:`\|z\|_P^2 = \|x\|^2/\tau - 2 \langle K x, y\rangle + \|y\|^2/\sigma`. An epoch ends,
and the next begins at :math:`T(z_k)`, when :math:`r_k = \|z_k - T(z_k)\|_P` says so.

Sources: Lu and Yang, arXiv:2407.16144 (restarted Halpern PDHG, with reflection); Applegate, Hinder, Lu and Lubin, Math.
Program. 201 (2023) 133 (restarts and sharpness); Applegate and others, PDLP, NeurIPS 2021 (the restart rule, the ratio
of the steps); Lieder, Optim. Lett. 15 (2021) 405 (the rate of Halpern's iteration). The first three are about linear
programs; the step, the norm and the rule know nothing of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optsci._tensor import nonnegative_scalar
from optsci.primal_dual import conjugate_prox, primal_dual_start, primal_dual_steps
from optsci.protocols import Operator

ENOUGH, SOME, LONG = 0.2, 0.8, 0.36  # when an epoch ends; as solvers of the PDLP family have them

Point = tuple[Tensor, Tensor, Tensor]  # x, y and K x


class RestartedState(NamedTuple):
    """An iteration of ``restarted_chambolle_pock``."""

    x: Tensor  # the x of T(z_k), a value of the prox of f
    residual: Tensor  # what a step moves and leaves undone, in x and y; see the docstring
    y: Tensor  # the y of T(z_k), of the shape of K x
    tau: Tensor  # primal step of this iteration
    sigma: Tensor  # dual step of this iteration
    restarts: Tensor  # 0-d: how many epochs have ended, this iteration included


def restarted_chambolle_pock(
    f: Any,
    g: Any,
    K: Any,
    x0: Any,
    *,
    y0: Any = None,
    tau: float | None = None,
    sigma: float | None = None,
    smoothing: float = 0.5,
) -> Iterator[RestartedState]:
    r"""Reflected Halpern PDHG with restarts for f(x) + g(K x): both by their prox, one K and one K.T an iteration.

    An epoch that began with :math:`r_0` ends at k > 0 if :math:`r_k \le 0.2\, r_0`, or
    :math:`r_k \le 0.8\, r_0` and :math:`r_k > r_{k-1}`, or k is at least 0.36 times the number of all iterations.
    Then the steps are balanced by what the epoch has moved, and keep their product:

    .. math:: \log \omega \leftarrow (1 - \theta) \log \omega
        + \theta \log \frac{\|\Delta y\|}{\|\Delta x\|}, \qquad \sigma/\tau = \omega^2.

    With constant steps :math:`r_k \le \|z_0 - z^*\|_P/(k + 1)` in every epoch, and where
    :math:`\operatorname{dist}_P(z, Z^*) \le \alpha \|z - T(z)\|_P` epochs of a length of order :math:`\alpha` reduce
    the distance by a constant factor: a linear rate with :math:`\alpha`, where that of ``chambolle_pock`` has
    :math:`\alpha^2`.

    Args:
        f: has ``prox``.
        g: has ``prox``, on the range of K.
        K: (m, n), an operator or a matrix.
        x0: (n,) or (n, k) start; not modified.
        y0: dual start, of the shape of K x. None: zero.
        tau: first primal step. None: from sigma, with ``tau sigma K.norm()**2 = 1``; without either ``1/K.norm()``.
        sigma: first dual step. None: from tau in the same way. ``tau sigma K.norm()**2`` must be at most 1.
        smoothing: theta, from 0, where the steps stay constant, to 1.

    With dx and dy the move from :math:`z_k` to :math:`T(z_k)`, the residual is the larger of
    ``||dx|| / min(max(1, ||x||), tau K.norm() max(1, ||y||))`` and
    ``||dy|| / min(max(1, ||y||), sigma K.norm() max(1, ||x||))``: the move, or the violation of the optimality
    conditions, ``||dx||/tau`` and ``||dy||/sigma``, relative to the size of what stands there. It is zero exactly
    at a saddle point.

    Reference: Lu and Yang, arXiv:2407.16144; Applegate and others, PDLP (2021).

    Example:
        >>> import optsci
        >>> f, g, K = optsci.NonnegativeL1(1.0), optsci.Box(2.0, 9.0), [[1.0, 2.0]]
        >>> optsci.solve(restarted_chambolle_pock(f, g, K, [0.0, 0.0])).x.round(decimals=3)
        tensor([0., 1.])
    """
    K, x0, y0 = primal_dual_start("restarted_chambolle_pock", f, g, K, x0, y0)
    first_tau, first_sigma, product = primal_dual_steps(tau, sigma, K)
    if not product <= 1 + 1e-9:
        raise ValueError(f"tau sigma K.norm()**2 must be at most 1, got {product:.6g}")
    theta = nonnegative_scalar(smoothing, "smoothing")
    if theta > 1:
        raise ValueError(f"smoothing must be at most 1, got {float(theta)!r}")
    size, mean_step = K.norm(), math.sqrt(first_tau * first_sigma)

    def iterate(x: Tensor, y: Tensor) -> Iterator[RestartedState]:
        number = torch.promote_types(x.dtype, torch.float32)  # half precision counts to 256
        log_weight = x.new_full((), math.log(first_sigma / first_tau) / 2, dtype=number)
        k = restarts = torch.zeros_like(log_weight)
        first = previous = torch.zeros_like(log_weight)
        z = anchor = (x, y, K(x))
        for total in count(1):
            tau, sigma = mean_step * (-log_weight).exp(), mean_step * log_weight.exp()
            z_new = _step(f, g, K, z, tau, sigma)
            dx, dy, dKx = (new - old for new, old in zip(z_new, z, strict=True))
            error = _norm(dx.detach(), dy.detach(), dKx.detach(), tau.detach(), sigma.detach())
            first = torch.where(k == 0, error, first)
            ends = (error <= ENOUGH * first) | ((error <= SOME * first) & (error > previous)) | (k >= LONG * total)
            ends, previous = ends & (k > 0), error
            restarts = restarts + ends
            residual = _residual(dx, dy, z_new, tau * size, sigma * size)
            yield RestartedState(z_new[0], residual, z_new[1], tau, sigma, restarts)
            log_weight = torch.where(ends, _balanced(log_weight, z_new, anchor, theta), log_weight)
            share = 1 / (k + 2)
            mean_x, mean_y, mean_Kx = (
                (1 - share) * (2 * new - old) + share * start for new, old, start in zip(z_new, z, anchor, strict=True)
            )
            z, anchor = _where(ends, z_new, (mean_x, mean_y, mean_Kx)), _where(ends, z_new, anchor)
            k = torch.where(ends, 0, k + 1)

    return iterate(x0, y0)


def _step(f: Any, g: Any, K: Operator, z: Point, tau: Tensor, sigma: Tensor) -> Point:
    """``chambolle_pock_step`` of a point whose K x is known: K is linear, and so are all means that make points."""
    x, y, Kx = z
    x_new = f.prox(x - tau * K.T(y), tau)
    Kx_new = K(x_new)
    return x_new, conjugate_prox(g, y + sigma * (2 * Kx_new - Kx), sigma), Kx_new


def _norm(dx: Tensor, dy: Tensor, dKx: Tensor, tau: Tensor, sigma: Tensor) -> Tensor:
    """``||(dx, dy)||_P``; rounding can make the square of a tiny one negative."""
    square = dx.square().sum() / tau + dy.square().sum() / sigma - 2 * (dKx * dy).sum()
    return square.clamp(min=0).sqrt().to(tau.dtype)


def _residual(dx: Tensor, dy: Tensor, z: Point, tau: Tensor, sigma: Tensor) -> Tensor:
    """The residual, for steps in units of ``1/K.norm()``."""
    x, y = z[0].norm().clamp(min=1), z[1].norm().clamp(min=1)
    return torch.maximum(dx.norm() / torch.minimum(x, tau * y), dy.norm() / torch.minimum(y, sigma * x))


def _balanced(log_weight: Tensor, z: Point, anchor: Point, smoothing: float | Tensor) -> Tensor:
    """The logarithm of the next ``sqrt(sigma/tau)``; the same if x or y moved by no more than rounding."""
    dx, dy = (z[0] - anchor[0]).norm(), (z[1] - anchor[1]).norm()
    eps = torch.finfo(dx.dtype).eps ** 0.75  # with eps itself, noise drove the steps apart once nothing else was left
    moved = (dx > eps * z[0].norm()) & (dy > eps * z[1].norm())
    ratio = torch.where(moved, dy, 1).log() - torch.where(moved, dx, 1).log()
    return torch.where(moved, (1 - smoothing) * log_weight + smoothing * ratio, log_weight)


def _where(condition: Tensor, z: Point, other: Point) -> Point:
    x, y, Kx = (torch.where(condition, a, b) for a, b in zip(z, other, strict=True))
    return x, y, Kx
