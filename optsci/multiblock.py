r"""ADMM with many blocks: consensus, and linear constraints on several variables.

.. math::

    \min_x \sum_i f_i(x), \qquad\qquad \min_{x_1, \dots, x_N} \sum_i f_i(x_i)
    \;\text{ subject to }\; \sum_i A_i x_i = b.

With three blocks the direct sweep may diverge, so more than two need a correction.

Sources: Boyd et al., Found. Trends Mach. Learn. 3 (2011) 1, section 7 (consensus); Chen, He, Ye and Yuan, Math.
Program. 155 (2016) 57 (divergence); He, Tao and Yuan, SIAM J. Optim. 22 (2012) 313 (Gaussian back substitution).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optsci._tensor import as_scalar, as_tensor, require_positive
from optsci.splitting import same_shape, starting_point

Correction = Callable[
    [Sequence[Tensor], Sequence[Tensor], Tensor, Sequence[Tensor], Tensor], tuple[list[Tensor], Tensor]
]


class ConsensusState(NamedTuple):
    """An iteration of ``consensus_admm``."""

    x: Tensor  # the mean on which all agree
    residual: Tensor  # the larger of primal / max(1, ||x||) and dual / max(1, ||rho u||)
    locals: Tensor  # (N, ...) the point of each function
    u: Tensor  # (N, ...) scaled dual variables; their sum is zero
    primal: Tensor  # ||locals - x||
    dual: Tensor  # rho sqrt(N) ||x - x_old||


class MultiblockState(NamedTuple):
    """An iteration of ``multiblock_admm``."""

    x: tuple[Tensor, ...]  # one tensor a block
    residual: Tensor  # the larger of ||sum A_i x_i - b|| and of the moves ||A_i (x_i - x_i old)||
    u: Tensor  # scaled dual variable


class Block(NamedTuple):
    """One block of ``multiblock_admm``."""

    solve: Callable[[Tensor, Any], Tensor]  # (v, rho) -> argmin_x f(x) + rho/2 ||A x - v||^2
    A: Tensor  # (m, n_i), of full column rank where it is corrected


@dataclass(frozen=True)
class GaussianBackSubstitution:
    """Correct a sweep from the last block to the second; it converges for any number of convex blocks.

    Args:
        factor: of the move, above 0 and below 1.

    Reference: He, Tao and Yuan (2012).
    """

    factor: float = 0.9

    def __post_init__(self) -> None:
        if not 0 < self.factor < 1:
            raise ValueError(f"factor must lie between 0 and 1, not {self.factor!r}")

    def __call__(
        self, A: Sequence[Tensor], old: Sequence[Tensor], u_old: Tensor, new: Sequence[Tensor], u_new: Tensor
    ) -> tuple[list[Tensor], Tensor]:
        """Return the blocks and the dual variable to go on from."""
        moves: list[Tensor] = [self.factor * (b - a) for a, b in zip(old, new, strict=True)]
        for i in range(len(A) - 2, 0, -1):
            later = torch.stack([A[j] @ moves[j] for j in range(i + 1, len(A))]).sum(0)
            moves[i] = moves[i] - torch.linalg.lstsq(A[i], later.unsqueeze(1)).solution.squeeze(1)
        rest = [a + d for a, d in zip(old[1:], moves[1:], strict=True)]
        return [new[0], *rest], u_old + self.factor * (u_new - u_old)


@dataclass(frozen=True)
class Uncorrected:
    """Take the sweep as it is: for more than two blocks that may diverge."""

    def __call__(
        self, A: Sequence[Tensor], old: Sequence[Tensor], u_old: Tensor, new: Sequence[Tensor], u_new: Tensor
    ) -> tuple[list[Tensor], Tensor]:
        """Return the blocks and the dual variable to go on from."""
        return list(new), u_new


def consensus_admm(
    functions: Sequence[Any], x0: Any, *, rho: float | Tensor = 1.0, u0: Any = None
) -> Iterator[ConsensusState]:
    r"""Consensus ADMM for the sum of many functions: each moves its own copy of x, and the copies agree.

    .. math::

        x_i \leftarrow \operatorname{prox}_{f_i/\rho}(x - u_i), \quad
        x \leftarrow \operatorname{mean}_i (x_i + u_i), \quad u_i \leftarrow u_i + x_i - x.

    Args:
        functions: each has ``prox``.
        x0: start, any shape; not modified.
        rho: positive penalty.
        u0: (N, ...) start of u. None: zero.

    The residual is the larger of ``primal / max(1, ||x||)`` and ``dual / max(1, ||rho u||)``.

    Reference: Boyd et al. (2011), section 7.1.

    Example:
        >>> import optsci
        >>> b = [optsci.Translated(optsci.SquaredL2(1.0), torch.tensor([c])) for c in (1.0, 2.0, 6.0)]
        >>> optsci.solve(consensus_admm(b, [0.0])).x.abs().round(decimals=3)
        tensor([3.])
    """
    functions = list(functions)
    if not functions:
        raise ValueError("functions must hold at least one function, not none")
    x0 = starting_point("consensus_admm", x0, **{f"functions[{i}]": f for i, f in enumerate(functions)})
    like = x0.expand(len(functions), *x0.shape)
    u0 = torch.zeros_like(like) if u0 is None else same_shape(u0, like, "u0")
    rho = as_scalar(rho, "rho")
    require_positive(rho, "rho")

    def iterate(x: Tensor, u: Tensor) -> Iterator[ConsensusState]:
        while True:
            x_old = x
            points = torch.stack([f.prox(x - u_i, 1 / rho) for f, u_i in zip(functions, u, strict=True)])
            x = (points + u).mean(0)
            u = u + points - x
            primal, dual = (points - x).norm(), (rho * len(functions) ** 0.5 * (x - x_old)).norm()
            residual = torch.maximum(primal / x.norm().clamp(min=1), dual / (rho * u).norm().clamp(min=1))
            yield ConsensusState(x, residual, points, u, primal, dual)

    return iterate(x0, u0)


def multiblock_admm(
    blocks: Sequence[Block],
    x0: Sequence[Any],
    *,
    b: Any = 0.0,
    rho: float | Tensor = 1.0,
    u0: Any = None,
    correction: Correction | None = None,
) -> Iterator[MultiblockState]:
    r"""ADMM sweep over blocks with :math:`\sum_i A_i x_i = b`; more than two need a correction.

    Args:
        blocks: pairs ``Block(solve, A)``.
        x0: one start (n_i,) a block; not modified.
        b: (m,) or a number, the right side.
        rho: positive penalty.
        u0: (m,) start of the scaled dual variable. None: zero.
        correction: ``GaussianBackSubstitution()``, or ``Uncorrected()`` at your own risk. None: ``Uncorrected()``
            for one or two blocks, refused for more.

    The residual is the larger of ``||sum A_i x_i - b||`` after the sweep and the moves
    ``||A_i (x_i - x_i old)||`` of the iteration.

    Reference: He, Tao and Yuan (2012).
    """
    blocks = list(blocks)
    if len(blocks) != len(x0) or not blocks:
        raise ValueError(f"x0 must hold one start for each of the blocks, not {len(x0)} for {len(blocks)}")
    if correction is None and len(blocks) > 2:
        raise ValueError(
            f"ADMM may diverge with {len(blocks)} blocks: pass correction=GaussianBackSubstitution(), "
            "or Uncorrected() at your own risk"
        )
    correct: Correction = Uncorrected() if correction is None else correction
    A = [as_tensor(block.A, "A") for block in blocks]
    start = [as_tensor(x, f"x0[{i}]", like=A[i]) for i, x in enumerate(x0)]
    right = as_tensor(b, "b", like=A[0])
    zero = A[0] @ start[0] * 0 + right * 0
    u0 = zero if u0 is None else same_shape(u0, zero, "u0")
    rho = as_scalar(rho, "rho")
    require_positive(rho, "rho")

    def iterate(x: list[Tensor], u: Tensor) -> Iterator[MultiblockState]:
        while True:
            images = [A_i @ x_i for A_i, x_i in zip(A, x, strict=True)]
            new = []
            swept = list(images)
            for i, block in enumerate(blocks):
                others = torch.stack([image for j, image in enumerate(swept) if j != i] or [zero]).sum(0)
                new.append(block.solve(right - u - others, rho))
                swept[i] = A[i] @ new[i]
            violation = torch.stack(swept).sum(0) - right
            x, u = correct(A, x, u, new, u + violation)
            after = [A_i @ x_i for A_i, x_i in zip(A, x, strict=True)]
            moves = [(a - b).norm() for a, b in zip(after, images, strict=True)]
            yield MultiblockState(tuple(x), torch.stack([violation.norm(), *moves]).max(), u)

    return iterate(start, u0)
