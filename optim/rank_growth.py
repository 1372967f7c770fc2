r"""A rank that follows the error of the approximation.

.. math:: k \leftarrow \min\bigl(k + f(\xi), k_{\max}\bigr) \quad\text{until}\quad
          \xi = \frac{\|V - Q U^\top\|_F}{\|V\|_F} \le \mathtt{tol}

Source: AS-RSI of Zhao et al., Adapprox, arXiv 2403.14958.  Its structure is from memory, and so are the constants of
``sigmoid_growth``, weakly: neither may be quoted as the paper's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real

from torch import Tensor

from .requirements import require_flag, require_functions, require_whole
from .second_moment import Total, Truncate, alone, relative_error, subspace


def sigmoid_growth(error: float, rank: int) -> int:
    r"""Many columns for a large error, few for a small one: :math:`200 / (1 + e^{2.5 - 10 \xi}) - 9`, at least 1.

    Constants from memory; only their signs are sure to make sense.

    Example:
        >>> [sigmoid_growth(error, 1) for error in (0.0, 0.1, 1.0)]
        [6, 27, 191]
    """
    return max(round(200 / (1 + math.exp(2.5 - 10 * error)) - 9), 1)


def doubling(error: float, rank: int) -> int:
    """Twice as many columns in every trial, whatever the error.

    Example:
        >>> doubling(0.5, 8)
        8
    """
    return rank


@dataclass(frozen=True)
class AdaptiveRank:
    """Every so often: start small, and add columns until the error is small.

    Each trial is an S-RSI of its own, and its error is looked at: a device is waited for, at those steps only.

    Args:
        tol: largest relative error of the second moment, in the Frobenius norm.
        start: the rank of the first trial.
        every: steps from one search to the next; between them the rank stays.
        growth: (error, rank) -> how many columns to add; less than 1 counts as 1.
        keep_width: keep factors as wide as the largest rank, zeros beyond the rank: shapes never change, which
            compilers and sharded checkpoints want. False makes them as narrow as the rank.

    Example:
        >>> AdaptiveRank(tol=0.1, growth=doubling).growth(1.0, 4)
        4
    """

    tol: float = 1e-2
    start: int = 1
    every: int = 10
    growth: Callable[[float, int], int] = sigmoid_growth
    keep_width: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.tol, Real) or isinstance(self.tol, bool) or not self.tol >= 0:
            raise ValueError(f"tol must be a number, at least 0, got {self.tol!r}")
        require_whole(self.start, "start")
        require_whole(self.every, "every")
        require_functions(growth=self.growth)
        require_flag(self.keep_width, "keep_width")

    def __repr__(self) -> str:
        growth = getattr(self.growth, "__name__", self.growth)
        return (
            f"AdaptiveRank(tol={self.tol}, start={self.start}, every={self.every}, "
            f"growth={growth}, keep_width={self.keep_width})"
        )


def adaptive_subspace(
    A: Tensor,
    rule: AdaptiveRank,
    limit: int,
    start: Callable[[int], Tensor],
    *,
    oversample: int = 5,
    sweeps: int = 5,
    truncate: Truncate,
    total: Total = alone,
) -> tuple[Tensor, Tensor, float]:
    """AS-RSI: factors of the smallest rank tried with an error up to ``rule.tol``, or of rank ``limit``, and the error.

    Args:
        A: (1, m, n).
        rule: the search.
        limit: the largest rank.
        start: r -> (1, n, r), Gaussian.
        oversample: columns of a trial beyond its rank, cut again.
        sweeps: of every trial.
        truncate: :func:`~optsci.optim.second_moment.columns` or :func:`~optsci.optim.second_moment.svd`.
        total: see :mod:`optsci.optim.second_moment`.

    Example:
        >>> import torch
        >>> from optsci.optim.second_moment import columns
        >>> A = torch.diag(torch.tensor([4.0, 3.0, 0.0, 0.0, 0.0]))[None]
        >>> seed = torch.Generator().manual_seed(0)
        >>> rule = AdaptiveRank(growth=lambda error, rank: 1)
        >>> Q, U, error = adaptive_subspace(
        ...     A, rule, 5, lambda r: torch.randn(1, 5, r, generator=seed), oversample=1, truncate=columns)
        >>> Q.shape[-1], error < 1e-3
        (2, True)
    """
    rank = min(int(rule.start), limit)
    while True:
        X = start(rank + oversample)
        Q, U = truncate(*subspace(A, X, sweeps=sweeps, total=total), rank)
        error = float(relative_error(A, Q, U, total))
        if not error > rule.tol or rank >= limit:  # a NaN ends the search, too
            return Q, U, error
        rank = min(rank + max(int(rule.growth(error, rank)), 1), limit)
