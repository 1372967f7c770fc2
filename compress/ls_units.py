r"""LS units: remove one unit after the other, always the one whose loss the others make up for best.

.. math:: r_j = \frac{\|w'_j\|^2}{[G_{AA}^{-1}]_{jj}}

is what the least-squares error of the layer gains when unit j leaves the set A of units that are left, whose columns
``w'`` are those of the least squares on A.  (Optimal brain surgeon, on columns.)

After Greedy Output Approximation, arXiv 2407.19126, of which only a summary was available to us: all formulas here are
our own, and no faithfulness is claimed.  What one removal costs is exact; that a greedy sequence of them is best is not
true.
"""

from __future__ import annotations

import torch
from torch import Tensor

from optsci.linalg import damped_cholesky

from .layer_problem import LayerProblem, with_live_diagonal
from .restoration import derived_damping


def greedy_select(problem: LayerProblem, count: int, *, block: int = 1, damping: float | None = None) -> Tensor:
    """The ``count`` units that are left, as ascending indices.

    Takes ``n^3/3`` operations for the inverse and ``2 n (n + m)`` for every unit removed.

    Args:
        problem: the layer problem of the decision layer.
        count: units to keep.
        block: units removed at a time by the same scores; 1 is exact, more is faster.
        damping: ridge towards the dense weights, relative to every channel's energy; None for ``3 count / tokens``.

    Raises:
        NotPositiveDefiniteError: the Gram matrix of the named layer stays singular.

    >>> import torch
    >>> from optsci.compress import GramAccumulator
    >>> stats = GramAccumulator(); stats.add(torch.tensor([[1.0, 2.0, 0.0], [1.0, 2.0, 1.0]]))
    >>> greedy_select(stats.problem(torch.tensor([[5.0, 5.0, 5.0]])), 2, damping=0.01)  # of a pair, one goes
    tensor([1, 2])
    """
    n = problem.weight.shape[1]
    if not 1 <= count <= n:
        raise ValueError(f"count must lie in 1..{n}, the units of the layer, got {count!r}")
    if block < 1:
        raise ValueError(f"block must be at least 1, got {block!r}")
    damping = derived_damping(count, problem.tokens) if damping is None else damping
    scaled, _ = problem.damped(damping).scaled()
    gram = with_live_diagonal(scaled.gram.double())
    rounding = 10 * torch.finfo(problem.gram.dtype).eps
    factor, _ = damped_cholesky(gram, rounding, name=f"the Gram matrix of {problem.name}")
    inverse = torch.cholesky_inverse(factor)
    weights = torch.cholesky_solve((scaled.weight.double() @ scaled.cross.double()).T, factor).T
    left = torch.ones(n, dtype=torch.bool, device=gram.device)
    while (excess := int(left.sum()) - count) > 0:
        scores = weights.square().sum(0) / inverse.diagonal()
        scores = torch.where(left, scores, float("inf"))
        for j in scores.flip(0).argsort(stable=True)[: min(block, excess)].mul(-1).add(n - 1).tolist():
            row = inverse[j] / inverse[j, j]  # one unit after the other, whatever the block
            weights = weights - weights[:, j, None] * row
            inverse = inverse - inverse[j, :, None] * row
            inverse[j, j] = 1.0  # keeps the quotient finite; the row is 0 elsewhere
            left[j] = False
    return left.nonzero().squeeze(-1)
