r"""One step of Adapprox on a batch of matrices: tensors in, tensors out, no optimizer around.

.. math::

   V_t &= \beta_2 \max(Q_{t-1} U_{t-1}^\top, 0) + (1 - \beta_2)\, G_t \circ G_t, \qquad Q_t U_t^\top \approx V_t \\
   P_t &= s_t\, G_t / (\sqrt{V_t} + \epsilon), \qquad s_t = 1 / \max(1, \operatorname{RMS}(P)/d) \\
   M_t &= \beta_1 M_{t-1} + (1 - \beta_1) P_t, \qquad
   W_t = (1 - \eta\lambda) W_{t-1} - \eta\, \theta_t M_t

There is no correction of a bias: in the first steps, when V is small, the clip keeps the size of P.

Source: Zhao et al., Adapprox, arXiv 2403.14958, by a summary of its equations.  Inferred from a review: the denominator
is the dense V of this step (``dense``), not what its factors give (``low_rank``).  From memory, weakly: the guidance
:math:`\theta`.  Ours: everything about how V is passed over.

Between refreshes a step makes one pass over V, by strips of rows that stay in the cache: a strip is formed, used for
the update and for the products of the factors, and forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from .counter import gaussian, round_stochastically, uniform_bits
from .rank_growth import AdaptiveRank, adaptive_subspace
from .second_moment import Total, Truncate, alone, directions, finish_pass, one_pass, second_moment, subspace, svd

Denominator = Callable[[Tensor, Tensor, Tensor], Tensor]
STRIP = 1 << 18  # entries of V in cache at a time
ROUNDING = 1 << 30  # the random numbers of rounding are not those of the factors


def dense(V: Tensor, Q: Tensor, U: Tensor) -> Tensor:
    """The second moment as it is in this step: the past in low rank, the present exactly."""
    return V


def low_rank(V: Tensor, Q: Tensor, U: Tensor) -> Tensor:
    """The second moment as its factors give it, where that is positive.

    Elsewhere the gradient is divided by eps, and only the clip keeps the update small.
    """
    return torch.bmm(Q, U.mT).clamp_(min=0)


@dataclass(frozen=True)
class Rule:
    """How the second moment is approximated; the same for all parameters."""

    adapt: AdaptiveRank | None = None
    truncate: Truncate = svd
    denominator: Denominator = dense


class Due(Enum):
    """How the factors of a step are found."""

    PASS = "one pass from the last factors"
    REFRESH = "S-RSI from a Gaussian start"
    SEARCH = "S-RSI of the rank that the error asks for"


class Settings(NamedTuple):
    """What the parameters of a group share."""

    lr: float | Tensor
    b1: float
    b2: float
    eps: float
    weight_decay: float
    clip: float
    guidance: float | None
    oversample: int
    sweeps: int
    refresh_every: int
    maximize: bool
    stochastic_rounding: bool


class Where(NamedTuple):
    """Which matrices these are, where this process has a part of them."""

    indices: Tensor  # (B,) of the parameters
    step: Tensor  # 0-d, from 1
    numel: int  # of one whole matrix
    first_row: int = 0  # of the part here
    total: Total = alone


def update_matrices(
    W: Tensor,
    G: Tensor,
    M: Tensor | None,
    Q: Tensor,
    U: Tensor,
    rank: Tensor,
    settings: Settings,
    rule: Rule,
    where: Where,
    *,
    due: Due,
    width: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Step on matrices whose second moment is in low rank; W and M change in place.

    Args:
        W: (B, m, n), weights, of any floating type.
        G: (B, m, n), gradients.
        M: (B, m, n), average of the updates in the type of the computation, or None.
        Q: (B, m, k), 0 at first.
        U: (B, n, k), 0 at first.
        rank: (B,) int32, columns that count, where the rank adapts.
        settings: see there.
        rule: how V is approximated.
        where: which matrices.
        due: how the factors are to be found.
        width: columns of the factors; the largest rank where it adapts.  Then a batch in which something is due has
            one matrix.

    Returns:
        The new Q, U and rank.
    """
    G = G.to(Q.dtype)
    if due is not Due.PASS or rule.denominator is not dense:
        V = second_moment(Q, U, G, settings.b2)
        if due is not Due.PASS:
            Q, U, rank = _fresh(V, width, rank, settings, rule, where, due)
        else:
            Q, U = one_pass(V, _start(U, rank, rule, where), where.total)
        P = G / rule.denominator(V, Q, U).sqrt_().add_(settings.eps)
        (squares,) = where.total(P.square().sum((-2, -1), dtype=torch.float64))
    else:
        Q, U, P, squares = _pass_by_strips(G, Q, U, _start(U, rank, rule, where), settings, where.total)
    _descend(W, M, P, squares, settings, where)
    return Q, U, rank


def update_dense(W: Tensor, G: Tensor, M: Tensor | None, V: Tensor, settings: Settings, where: Where) -> None:
    """Step on tensors whose second moment is dense; W, M and V change in place.

    Args:
        W: (B, m, n), as G, M and V; a vector is a matrix of one column.
        G: gradients.
        M: average of the updates, or None.
        V: second moment.
        settings: see there.
        where: which tensors.
    """
    G = G.to(V.dtype)
    V.mul_(settings.b2)
    P, squares = torch.empty_like(V), V.new_zeros(len(V), dtype=torch.float64)
    _moment_pass(settings, G, P, squares)(V, slice(None))
    (squares,) = where.total(squares)
    _descend(W, M, P, squares, settings, where)


def _start(U: Tensor, rank: Tensor, rule: Rule, where: Where) -> Tensor:
    def random() -> Tensor:
        return gaussian(where.indices, where.step, U.shape[-2], U.shape[-1])

    return directions(U, None if rule.adapt is None else rank, random)


def _fresh(
    V: Tensor, width: int, rank: Tensor, settings: Settings, rule: Rule, where: Where, due: Due
) -> tuple[Tensor, Tensor, Tensor]:
    """Factors from Gaussian starts; of the rank that the error asks for, where it is time to ask."""
    shortest, n = min(where.numel // V.shape[-1], V.shape[-1]), V.shape[-1]

    def start(r: int) -> Tensor:
        return gaussian(where.indices, where.step, n, min(r, shortest)).to(V.dtype)

    more, sweeps, truncate, total = settings.oversample, settings.sweeps, rule.truncate, where.total
    if rule.adapt is None:
        return *truncate(*subspace(V, start(width + more), sweeps=sweeps, total=total), width), rank
    if due is Due.SEARCH:
        Q, U, _ = adaptive_subspace(
            V, rule.adapt, width, start, oversample=more, sweeps=sweeps, truncate=truncate, total=total
        )
    else:
        k = int(rank)
        Q, U = truncate(*subspace(V, start(k + more), sweeps=sweeps, total=total), k)
    rank = torch.full_like(rank, Q.shape[-1])
    if rule.adapt.keep_width:
        Q, U = (functional.pad(factor, (0, width - factor.shape[-1])) for factor in (Q, U))
    return Q, U, rank


def _pass_by_strips(
    G: Tensor, Q: Tensor, U: Tensor, X: Tensor, settings: Settings, total: Total
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The factors after a pass from the directions X, the update and the sums of its squares."""
    B, m, n = G.shape
    rows = min(max(STRIP // (B * n), 16) if G.device.type == "cpu" else m, m)
    P, Y, buffer = torch.empty_like(G), G.new_empty(B, m, X.shape[-1]), G.new_empty(B, rows, n)
    products, squares = torch.zeros_like(X), G.new_zeros(B, dtype=torch.float64)
    past = (settings.b2 * U).mT.contiguous()
    take = _moment_pass(settings, G, P, squares)
    for first in range(0, m, rows):
        strip = slice(first, first + rows)
        V = torch.bmm(Q[:, strip], past, out=buffer[:, : m - first])
        take(V, strip)
        y = torch.bmm(V, X, out=Y[:, strip])
        products.baddbmm_(V.mT, y)
    gram, products, squares = total(torch.bmm(Y.mT, Y), products, squares)
    return *finish_pass(Y, gram, products, total), P, squares


def _moment_pass(settings: Settings, G: Tensor, P: Tensor, squares: Tensor) -> Callable[[Tensor, slice], None]:
    """(V, rows) -> None: makes V from its decayed past and P of these rows, and adds up the squares of P."""
    fresh, eps = 1 - settings.b2, settings.eps
    if _fits_kernels(G, P):
        from ._kernels.passes import moment_and_update

        g, p, sums = G.numpy(), P.numpy(), squares.numpy()
        real = g.dtype.type
        a, b = real(fresh), real(eps)
        return lambda V, rows: moment_and_update(V.numpy(), g[:, rows], a, b, p[:, rows], sums)

    def by_pytorch(V: Tensor, rows: slice) -> None:
        g = G[:, rows]
        V.clamp_(min=0).addcmul_(g, g, value=fresh)
        P[:, rows] = g / V.sqrt().add_(eps)
        squares.add_(P[:, rows].square().sum((-2, -1), dtype=torch.float64))

    return by_pytorch


def _descend(W: Tensor, M: Tensor | None, P: Tensor, squares: Tensor, settings: Settings, where: Where) -> None:
    """Clip the update, average it, and take the step; W and M in place, P as a buffer."""
    lr, b1 = settings.lr, settings.b1
    scale = 1 / ((squares / where.numel).sqrt() / settings.clip).clamp(min=1)
    scale = (-scale if settings.maximize else scale).to(P.dtype)
    if settings.guidance is None and _fits_kernels(W, P, *([] if M is None else [M])):
        from ._kernels import passes

        real = P.numpy().dtype.type
        keep, rate = real(1 - float(lr) * settings.weight_decay), real(float(lr))
        if M is None:
            passes.plain_step(W.numpy(), P.numpy(), scale.numpy(), keep, rate)
        else:
            passes.averaged_step(W.numpy(), M.numpy(), P.numpy(), real(b1), scale.numpy(), keep, rate)
        return
    P.mul_(scale[:, None, None])
    step = P if M is None else M.lerp_(P, 1 - b1)
    if settings.guidance is not None:
        step = step * _guidance(P, step, settings.guidance, where.total)[:, None, None]
    new = W.to(P.dtype).mul_(1 - lr * settings.weight_decay)
    new = new.sub_(lr * step) if isinstance(lr, Tensor) else new.add_(step, alpha=-lr)
    if new is W:
        return
    if settings.stochastic_rounding and W.dtype is torch.bfloat16:
        bits = uniform_bits(where.indices ^ ROUNDING, where.step, new[0].numel(), where.first_row * new.shape[-1])
        new = round_stochastically(new, bits.view(new.shape))
    W.copy_(new)


def _guidance(P: Tensor, M: Tensor, largest: float, total: Total) -> Tensor:
    """1 / (1 - cos of the angle between P and M), between 1/2 and ``largest``, (B,)."""
    product, first, second = total(*((a * b).sum((-2, -1)) for a, b in ((P, M), (P, P), (M, M))))
    norms = (first * second).sqrt()
    cosine = torch.where(norms > 0, product / torch.where(norms > 0, norms, 1.0), 0.0)
    return (1 / (1 - cosine).clamp(min=torch.finfo(P.dtype).eps)).clamp(0.5, largest)  # rounding may pass 1


def _fits_kernels(*tensors: Tensor) -> bool:
    """Whether the passes of ``_kernels`` take these; a compiler fuses the PyTorch operations by itself."""
    dtype = tensors[0].dtype
    return not torch.compiler.is_compiling() and all(
        x.device.type == "cpu" and x.dtype is dtype and dtype in (torch.float32, torch.float64) and x.is_contiguous()
        for x in tensors
    )
