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
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from .counter import gaussian
from .descent import descend, fits_kernels, stacked, write_back
from .rank_growth import adaptive_subspace
from .second_moment import directions, finish_pass, one_pass, second_moment, squares, subspace
from .settings import Due, Rule, Scales, Settings, Where, dense, scales_of
from .tiles import Numbers, padded, pass_in_tiles


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
        M: averages of the gradients, or of the updates, in the type of the computation; or None.
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
        return *_one_by_one(W, G, M, Q, U, rank, settings, rule, where), rank
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
    descend(W, M, P, sizes, settings, where)
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
        M: averages of the gradients, or of the updates, or None.
        V: second moments, (m, n).
        settings: see there.
        where: which tensors.
    """
    scales, averages = scales_of(settings, where.step), None if settings.average_updates else M
    grads, moments = stacked(G).to(V[0].dtype), stacked(V)
    top = grads if averages is None else _averaged(averages, grads, settings, scales)
    moments.mul_(settings.b2)
    P, sizes = torch.empty_like(moments), moments.new_zeros(len(moments), dtype=torch.float64)
    if fits_kernels(moments, grads, top, P):
        from ._kernels.passes import moment_and_update

        v, g, t, p, totals = (x.numpy() for x in (moments, grads, top, P, sizes))
        moment_and_update(v, g, t, v.dtype.type(scales.fresh), v.dtype.type(scales.eps), p, totals)
    else:
        moments.addcmul_(grads, grads, value=scales.fresh)
        torch.div(top, torch.sqrt(moments, out=P).add_(scales.eps), out=P)
        sizes.add_(squares(P))
    write_back(V, moments)
    (sizes,) = where.total(sizes)
    descend(W, M, P, sizes, settings, where)


def _averaged(M: Sequence[Tensor], grads: Tensor, settings: Settings, scales: Scales) -> Tensor:
    """The averages of gradients, updated, as a stack."""
    averages = stacked(M).mul_(settings.b1).add_(grads, alpha=scales.new)
    write_back(M, averages)
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
    rank: Tensor,
    settings: Settings,
    rule: Rule,
    where: Where,
) -> tuple[Tensor, Tensor]:
    """The factors after a pass; what is small is done for all matrices together."""
    X = _start(U, rank, rule, where)
    scales, averages = scales_of(settings, where.step), None if settings.average_updates else M
    k, averaged = Q.shape[-1], averages is not None
    past, start, Q = padded(settings.b2 * U), padded(X), Q.contiguous()
    # Without a clip the size of the whole update need not be known before the weights move.
    at_once = settings.clip == math.inf and (M is None or averaged) and W[0].dtype is Q.dtype and fits_kernels(*W)
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
            size = sizes[b : b + 1]
            if settings.clip < math.inf:
                (size,) = where.total(size)
            one = where._replace(indices=where.indices[b : b + 1])
            descend(W[b : b + 1], None if M is None else M[b : b + 1], P[None], size, settings, one)
    gram, products, sizes = where.total(torch.bmm(Y.mT, Y), products[:, :k].mT, sizes)
    newQ, newU = finish_pass(Y, gram, products, where.total)
    found = newU.isfinite().all((-2, -1)) & newU.any(-1).any(-1) & U.any(-1).any(-1)
    for b in ((sizes > 0) & ~found).nonzero().flatten().tolist():  # no past, or a jump by orders of magnitude
        i = slice(b, b + 1)
        V = second_moment(Q[i], U[i], G[b].to(Q.dtype)[None], settings.b2)
        one = where._replace(indices=where.indices[i])
        q, u, _ = _fresh(V, k, rank[i], settings, rule, one, Due.REFRESH)
        newQ[i], newU[i] = (functional.pad(factor, (0, k - factor.shape[-1])) for factor in (q, u))
    return newQ, newU
