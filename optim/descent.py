"""The end of a step: an update becomes a change of the weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .counter import round_stochastically, uniform_bits
from .second_moment import Total
from .settings import Settings, Where, scales_of
from .tiles import in_turn, row_tiles

ROUNDING = 1 << 30  # the random numbers of rounding are not those of the factors
PART, PART_ON_PROCESSOR = 1 << 22, 1 << 16  # weights of another type that are stepped at a time


def descend(
    W: Sequence[Tensor],
    M: Sequence[Tensor] | None,
    P: Tensor,
    sizes: Tensor,
    settings: Settings,
    where: Where,
) -> None:
    """Clip the update, average it where updates are averaged, and take the step.

    Args:
        W: B weights (m, n), in place.
        M: averages of updates, in place; those of gradients are in P already, and they are left alone; or None.
        P: (B, m, n), quotients; a buffer.
        sizes: (B,), sums of the squares of P over all processes, looked at only for a clip.
        settings: see there.
        where: which matrices.
    """
    lr, b1, scales = settings.lr, settings.b1, scales_of(settings, where.step)
    averaged = M is not None and not settings.average_updates
    if averaged:
        M = None
    scale = torch.full_like(sizes, scales.size)
    if settings.clip < math.inf:
        scale /= (scales.size * (sizes / where.numel).sqrt() / settings.clip).clamp(min=1)
    scale = (-scale if settings.maximize and not averaged else scale).to(P.dtype)
    shrink = lr * settings.weight_decay
    if M is not None:
        lr = lr * scales.rate
    if settings.guidance is None and fits_kernels(P, *W, *(M or ())):
        _descend_in_tiles(W, M, P, scale, 1 - float(shrink), float(lr), b1)
        return
    P.mul_(scale[:, None, None])
    step = P
    if M is not None:
        averages = stacked(M)
        step = averages.lerp_(P, 1 - b1)
        write_back(M, averages)
    if settings.guidance is not None:
        step = step * _guidance(P, step, settings.guidance, where.total)[:, None, None]
    weights = stacked(W)
    (B, m, n), same = weights.shape, weights.dtype is P.dtype
    rows = max(m, 1) if same else max((PART_ON_PROCESSOR if P.device.type == "cpu" else PART) // (B * n), 1)
    for first in range(0, m, rows):
        part, move = weights[:, first : first + rows], step[:, first : first + rows]
        new = part.to(P.dtype).mul_(1 - shrink)
        new = new.sub_(lr * move) if isinstance(lr, Tensor) else new.add_(move, alpha=-lr)
        if settings.stochastic_rounding and part.dtype is torch.bfloat16:
            bits = uniform_bits(where.indices ^ ROUNDING, where.step, new[0].numel(), (where.first_row + first) * n)
            new = round_stochastically(new, bits.view(new.shape))
        if not same:
            part.copy_(new)
    write_back(W, weights)


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


def write_back(matrices: Sequence[Tensor], stack: Tensor) -> None:
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


def fits_kernels(*tensors: Tensor) -> bool:
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
