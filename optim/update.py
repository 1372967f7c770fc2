r"""One step of Adapprox on a batch of matrices: tensors in, tensors out, no optimizer around.

.. math::

   V_t &= \beta_2 \max(Q_{t-1} U_{t-1}^\top, 0) + (1 - \beta_2)\, G_t \circ G_t, \qquad Q_t U_t^\top \approx V_t \\
   M_t &= \beta_1 M_{t-1} + (1 - \beta_1) G_t, \qquad
   \hat M_t = M_t / (1 - \beta_1^t), \quad \hat V_t = V_t / (1 - \beta_2^t) \\
   W_t &= (1 - \eta\lambda) W_{t-1} - \eta\, s_t\, \hat M_t / (\sqrt{\hat V_t} + \epsilon),
   \qquad s_t = 1 / \max(1, \operatorname{RMS}/d)

Where factors stand for the past, V counts as at least :math:`(1 - \beta_2) \hat M_t^2`, so that no entry of an update
exceeds :math:`1 / \sqrt{1 - \beta_2}`.  An exact V is that large by itself, if :math:`\beta_1 \le \beta_2`: the square
of an average is at most the average of squares.

The published step is another one, with ``average_updates`` and without ``bias_correction``:

.. math::

   P_t = s_t\, G_t / (\sqrt{V_t} + \epsilon), \qquad M_t = \beta_1 M_{t-1} + (1 - \beta_1) P_t, \qquad
   W_t = (1 - \eta\lambda) W_{t-1} - \eta\, \theta_t M_t

Source: Zhao et al., Adapprox, arXiv 2403.14958, by a summary of its equations.  Inferred from a review: the denominator
is the dense V of this step (``dense``), not what its factors give (``low_rank``).  From memory, weakly: the guidance
:math:`\theta`.  Ours: how V is passed over, the bound by M, and Adam's order of average and quotient.

Between refreshes a step makes one pass over V.  On a processor that is one matrix after the other and a few rows of V
at a time, which are formed, used for the update and for the products of the factors, and forgotten (``tiles``);
elsewhere matrices of one shape are stacked, and V is formed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from .counter import gaussian, round_stochastically, uniform_bits
from .rank_growth import AdaptiveRank, adaptive_subspace
from .second_moment import (
    Total,
    Truncate,
    alone,
    directions,
    finish_pass,
    one_pass,
    second_moment,
    squares,
    subspace,
    svd,
)
from .tiles import Numbers, in_turn, padded, pass_in_tiles, row_tiles

Denominator = Callable[[Tensor, Tensor, Tensor], Tensor]
ROUNDING = 1 << 30  # the random numbers of rounding are not those of the factors
PART, PART_ON_PROCESSOR = 1 << 22, 1 << 16  # weights of another type that are stepped at a time


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
    average_updates: bool
    bias_correction: bool
    guidance: float | None
    oversample: int
    sweeps: int
    refresh_every: int
    maximize: bool
    stochastic_rounding: bool


class Scales(NamedTuple):
    """What the settings come to in one step."""

    fresh: float  # weight of the squares of the gradient
    new: float  # weight of the gradient in its average, negative to climb
    guard: float  # share of the squares of that average which V has at least
    eps: float  # beside the root of V as it is kept, without a correction
    size: float  # of the quotient, for it to be the update
    rate: float  # of the average of updates


def scales_of(settings: Settings, step: int) -> Scales:
    """The corrections of bias, and where they go."""
    corrects = settings.bias_correction
    first, second = (1 - b**step if corrects else 1.0 for b in (settings.b1, settings.b2))
    of_updates = settings.average_updates or settings.b1 == 0
    new = 1 - settings.b1
    return Scales(
        1 - settings.b2,
        -new if settings.maximize else new,
        (1 - settings.b2) / first**2,
        settings.eps * math.sqrt(second),
        math.sqrt(second) / (1.0 if of_updates else first),
        1 / first if of_updates else 1.0,
    )


class Where(NamedTuple):
    """Which matrices these are, where this process has a part of them."""

    indices: Tensor  # (B,) of the parameters
    step: int  # from 1
    numel: int  # of one whole matrix
    first_row: int = 0  # of the part here
    total: Total = alone


def update_matrices(
    W: Sequence[Tensor],
    G: Sequence[Tensor],
    M: Sequence[Tensor] | None,
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
        W: B weights (m, n), of any floating type.
        G: gradients.
        M: averages of the updates in the type of the computation, or None.
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
    if due is Due.PASS and needs_no_stack(Q, rule):
        return *_one_by_one(W, G, M, Q, U, _start(U, rank, rule, where), settings, where), rank
    scales, averages = scales_of(settings, where.step), None if settings.average_updates else M
    grads = stacked(G).to(Q.dtype)
    V = second_moment(Q, U, grads, settings.b2)
    if due is Due.PASS:
        Q, U = one_pass(V, _start(U, rank, rule, where), where.total)
    else:
        Q, U, rank = _fresh(V, width, rank, settings, rule, where, due)
    below, top = rule.denominator(V, Q, U), grads
    if averages is not None:
        top = _averaged(averages, grads, settings, scales)
        torch.maximum(below, top.square().mul_(scales.guard), out=below)
    below.sqrt_().add_(scales.eps)
    P = torch.div(top, below, out=below)
    (sizes,) = where.total(squares(P))
    _descend(W, M if averages is None else None, P, sizes, settings, where, averaged=averages is not None)
    return Q, U, rank


def needs_no_stack(Q: Tensor, rule: Rule) -> bool:
    """Whether a pass takes one matrix after the other, on a processor, however many there are."""
    return rule.denominator is dense and Q.device.type == "cpu" and not torch.compiler.is_compiling()


def update_dense(
    W: Sequence[Tensor],
    G: Sequence[Tensor],
    M: Sequence[Tensor] | None,
    V: Sequence[Tensor],
    settings: Settings,
    where: Where,
) -> None:
    """Step on tensors whose second moment is dense; W, M and V change in place.

    Args:
        W: B weights (m, n); a vector is a matrix of one column.
        G: gradients.
        M: averages of the updates, or None.
        V: second moments, (m, n).
        settings: see there.
        where: which tensors.
    """
    scales, averages = scales_of(settings, where.step), None if settings.average_updates else M
    grads, moments = stacked(G).to(V[0].dtype), stacked(V)
    top = grads if averages is None else _averaged(averages, grads, settings, scales)
    moments.mul_(settings.b2)
    P, sizes = torch.empty_like(moments), moments.new_zeros(len(moments), dtype=torch.float64)
    if _fits_kernels(moments, grads, top, P):
        from ._kernels.passes import moment_and_update

        v, g, t, p, totals = (x.numpy() for x in (moments, grads, top, P, sizes))
        moment_and_update(v, g, t, v.dtype.type(scales.fresh), v.dtype.type(scales.eps), p, totals)
    else:
        moments.addcmul_(grads, grads, value=scales.fresh)
        torch.div(top, torch.sqrt(moments, out=P).add_(scales.eps), out=P)
        sizes.add_(squares(P))
    _write(V, moments)
    (sizes,) = where.total(sizes)
    _descend(W, M if averages is None else None, P, sizes, settings, where, averaged=averages is not None)


def _averaged(M: Sequence[Tensor], grads: Tensor, settings: Settings, scales: Scales) -> Tensor:
    """The averages of gradients, updated, as a stack."""
    averages = stacked(M).mul_(settings.b1).add_(grads, alpha=scales.new)
    _write(M, averages)
    return averages


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
        factors = truncate(*subspace(V, start(width + more), sweeps=sweeps, total=total), width)
        return *factors, torch.full_like(rank, width)
    if due is Due.SEARCH:
        Q, U, _ = adaptive_subspace(
            V, rule.adapt, width, start, oversample=more, sweeps=sweeps, truncate=truncate, total=total
        )
    else:
        k = min(int(rank), width)
        Q, U = truncate(*subspace(V, start(k + more), sweeps=sweeps, total=total), k)
    rank = torch.full_like(rank, Q.shape[-1])
    if rule.adapt.keep_width:
        Q, U = (functional.pad(factor, (0, width - factor.shape[-1])) for factor in (Q, U))
    return Q, U, rank


def _one_by_one(
    W: Sequence[Tensor],
    G: Sequence[Tensor],
    M: Sequence[Tensor] | None,
    Q: Tensor,
    U: Tensor,
    X: Tensor,
    settings: Settings,
    where: Where,
) -> tuple[Tensor, Tensor]:
    """The factors after a pass from the directions X; what is small is done for all matrices together."""
    scales, averages = scales_of(settings, where.step), None if settings.average_updates else M
    k, averaged = Q.shape[-1], averages is not None
    past, start, Q = padded(settings.b2 * U), padded(X), Q.contiguous()
    # Without a clip the size of the whole update need not be known before the weights move.
    at_once = settings.clip == math.inf and (M is None or averaged) and _fits_kernels(Q.new_empty(G[0].shape), *W)
    numbers = Numbers(scales.fresh, scales.eps, settings.b1, scales.new, scales.guard)
    if at_once:
        keep, rate = 1 - float(settings.lr) * settings.weight_decay, float(settings.lr) * scales.size
        numbers = numbers._replace(keep=keep, rate=-rate if settings.maximize and not averaged else rate)
    Y, products, P = torch.empty_like(Q), torch.empty_like(past), None if at_once else Q.new_empty(G[0].shape)
    sizes = torch.zeros(len(G), dtype=torch.float64)
    for b, g in enumerate(G):
        m = averages[b] if averages is not None else None
        g = g.to(Q.dtype).contiguous()
        to_move = W[b] if at_once else None
        products[b], sizes[b] = pass_in_tiles(g, m, to_move, Q[b], past[b], start[b], P, Y[b], numbers)
        if P is not None:
            (size,) = where.total(sizes[b : b + 1])
            one = where._replace(indices=where.indices[b : b + 1])
            rest = None if M is None or averaged else M[b : b + 1]
            _descend(W[b : b + 1], rest, P[None], size, settings, one, averaged=averaged)
    gram, products, sizes = where.total(torch.bmm(Y.mT, Y), products[:, :k].mT, sizes)
    newQ, newU = finish_pass(Y, gram, products, where.total)
    lost = (sizes > 0) & ~(newU.isfinite().all((-2, -1)) & newU.any(-1).any(-1))
    for b in lost.nonzero().flatten().tolist():  # a gradient that jumped by many orders of magnitude
        i = slice(b, b + 1)
        V = second_moment(Q[i], U[i], G[b].to(Q.dtype)[None], settings.b2)
        newQ[i], newU[i] = one_pass(V, X[i], where.total)
    return newQ, newU


def _descend(
    W: Sequence[Tensor],
    M: Sequence[Tensor] | None,
    P: Tensor,
    sizes: Tensor,
    settings: Settings,
    where: Where,
    *,
    averaged: bool,
) -> None:
    """Clip the update, average it where there is M, and take the step; W and M in place, P (B, m, n) as a buffer."""
    lr, b1, scales = settings.lr, settings.b1, scales_of(settings, where.step)
    scale = scales.size / (scales.size * (sizes / where.numel).sqrt() / settings.clip).clamp(min=1)
    scale = (-scale if settings.maximize and not averaged else scale).to(P.dtype)
    shrink = lr * settings.weight_decay
    if M is not None:
        lr = lr * scales.rate
    if settings.guidance is None and _fits_kernels(P, *W, *(M or ())):
        _descend_in_tiles(W, M, P, scale, 1 - float(shrink), float(lr), b1)
        return
    P.mul_(scale[:, None, None])
    step = P
    if M is not None:
        averages = stacked(M)
        step = averages.lerp_(P, 1 - b1)
        _write(M, averages)
    if settings.guidance is not None:
        step = step * _guidance(P, step, settings.guidance, where.total)[:, None, None]
    weights = stacked(W)
    (B, m, n), same = weights.shape, weights.dtype is P.dtype
    rows = m if same else max((PART_ON_PROCESSOR if P.device.type == "cpu" else PART) // (B * n), 1)
    for first in range(0, m, rows):
        part, move = weights[:, first : first + rows], step[:, first : first + rows]
        new = part.to(P.dtype).mul_(1 - shrink)
        new = new.sub_(lr * move) if isinstance(lr, Tensor) else new.add_(move, alpha=-lr)
        if settings.stochastic_rounding and part.dtype is torch.bfloat16:
            bits = uniform_bits(where.indices ^ ROUNDING, where.step, new[0].numel(), (where.first_row + first) * n)
            new = round_stochastically(new, bits.view(new.shape))
        if not same:
            part.copy_(new)
    _write(W, weights)


def _descend_in_tiles(
    W: Sequence[Tensor], M: Sequence[Tensor] | None, P: Tensor, scale: Tensor, keep: float, lr: float, b1: float
) -> None:
    from ._kernels import passes

    p, scales = P.numpy(), scale.numpy()
    real, tiles = p.dtype.type, row_tiles(*P.shape[1:])
    for b, weights in enumerate(W):
        w, average = weights.numpy(), None if M is None else M[b].numpy()

        def work(i: int, w: Any = w, average: Any = average, p: Any = p[b], s: Any = scales[b]) -> None:
            rows = tiles[i]
            if average is None:
                passes.plain_step(w[rows], p[rows], s, real(keep), real(lr))
            else:
                passes.averaged_step(w[rows], average[rows], p[rows], real(b1), s, real(keep), real(lr))

        in_turn(work, len(tiles))


def stacked(matrices: Sequence[Tensor]) -> Tensor:
    """(B, m, n): one matrix as it lies in memory, several as a copy."""
    return matrices[0][None] if len(matrices) == 1 else torch.stack(list(matrices))


def _write(matrices: Sequence[Tensor], stack: Tensor) -> None:
    """Into matrices, what was done to their stack, if that is not they."""
    for matrix, new in zip(matrices, stack, strict=True):
        if new.data_ptr() != matrix.data_ptr() or new.dtype is not matrix.dtype:
            matrix.copy_(new)


def _guidance(P: Tensor, M: Tensor, largest: float, total: Total) -> Tensor:
    """1 / (1 - cos of the angle between P and M), between 1/2 and ``largest``, (B,)."""
    product, first, second = total(*((a * b).sum((-2, -1)) for a, b in ((P, M), (P, P), (M, M))))
    norms = (first * second).sqrt()
    cosine = torch.where(norms > 0, product / torch.where(norms > 0, norms, 1.0), 0.0)
    return (1 / (1 - cosine).clamp(min=torch.finfo(P.dtype).eps)).clamp(0.5, largest)  # rounding may pass 1


def _fits_kernels(*tensors: Tensor) -> bool:
    """Whether the passes of ``_kernels`` take these matrices of one shape, which check nothing themselves."""
    dtype, shape = tensors[0].dtype, tensors[0].shape[-2:]
    return not torch.compiler.is_compiling() and all(
        x.device.type == "cpu"
        and x.dtype is dtype
        and dtype in (torch.float32, torch.float64)
        and x.is_contiguous()
        and x.shape[-2:] == shape
        for x in tensors
    )
