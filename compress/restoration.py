r"""Restoration: the columns that stay make up for those that go, by one least-squares solve.

.. math::
    \min_V \; \tfrac12 \|V X^*_{M,:} - W X\|_F^2 + \tfrac\delta2 \|(V - W_{:,M}) D_{MM}^{1/2}\|_F^2,
    \qquad D = \operatorname{diag} G

M are the columns kept.  With ``X = X*`` and without damping this is ``V = W R_{:,M} R_{MM}^{-1}``, the normal equations
that FASP (arXiv 2501.09412) is understood to solve; with a dense target it is ``V = W C_{:,M} G_{MM}^{-1}``.

The damping is ours: relative to the energy of every channel, so that one with huge activations does not set it for
all others, and towards the dense weights, so that nothing shrinks and a removal that costs nothing changes nothing.
Few calibration tokens need much of it: a least-squares fit of a thousand columns to a few thousand correlated tokens
halves the error on them, and raises it on others.
"""

from __future__ import annotations

import torch
from torch import Tensor

from optsci.linalg import damped_cholesky

from .layer_problem import LayerProblem


def restore_columns(problem: LayerProblem, kept: Tensor, *, damping: float | None = None) -> Tensor:
    """The best weights (m, k) for the columns kept, if all others are removed.

    Their error on the calibration tokens is never above that of the dense columns themselves.

    Args:
        problem: the layer problem of the decision layer.
        kept: (k,) indices of columns.
        damping: ridge towards the dense weights, relative to every channel's energy; None for :func:`derived_damping`.

    Raises:
        NotPositiveDefiniteError: the Gram matrix of the named layer stays singular.

    >>> import torch
    >>> from optsci.compress import GramAccumulator
    >>> stats = GramAccumulator(); stats.add(torch.tensor([[1.0, 1.0], [2.0, 2.0]]))  # the two inputs are the same
    >>> restore_columns(stats.problem(torch.tensor([[3.0, 4.0]])), torch.tensor([1]), damping=0).round(decimals=4)
    tensor([[7.]])
    """
    damping = derived_damping(len(kept), problem.tokens) if damping is None else damping
    if not damping >= 0:
        raise ValueError(f"damping must be at least 0, got {damping!r}")
    start = problem.weight[:, kept].double()
    gram = problem.gram[kept][:, kept]
    residual = problem.weight.double() @ problem.cross[:, kept].double() - start @ gram.double()
    name = f"the Gram matrix of the columns kept of {problem.name}"
    return (start + ridge_correction(gram, residual, damping, name=name)).to(problem.weight.dtype)


def derived_damping(units: int, tokens: int) -> float:
    """``3 units / tokens``: about 0.01 for a calibration set of 128 windows of 2048 tokens, near 1 for a few thousand.

    A rule of thumb of ours, from the error on held-out text of two MLPs of one small model.
    """
    return 3 * units / tokens


def keep_columns(problem: LayerProblem, kept: Tensor) -> Tensor:
    """No restoration: the dense columns (m, k)."""
    return problem.weight[:, kept]


def widened(weights: Tensor, kept: Tensor, columns: int) -> Tensor:
    """(m, columns) weights that are ``weights`` (m, k) in the columns ``kept`` and 0 in the others."""
    wide = weights.new_zeros(len(weights), columns)
    wide[:, kept] = weights
    return wide


def ridge_correction(gram: Tensor, residual: Tensor, damping: float, *, name: str) -> Tensor:
    """``residual (G + damping diag(G))^-1`` (m, k) in float64; directions without inputs get 0.

    The factorisation runs in the variables that give ``G`` a unit diagonal.
    """
    energy = gram.diagonal().double()
    scale = torch.where(energy > 0, energy, 1.0).sqrt()
    unit = gram.double() / scale / scale[:, None]
    unit = unit + torch.diag((energy <= 0).double())
    rounding = 10 * torch.finfo(gram.dtype).eps  # of the entries of the Gram matrix
    factor, _ = damped_cholesky(unit, max(damping, rounding), name=name)
    return torch.cholesky_solve((residual.double() / scale).T, factor).T / scale
