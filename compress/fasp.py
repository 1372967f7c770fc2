r"""FASP: drop the columns whose Wanda scores have the smallest sum, and restore the rest in closed form.

.. math:: \text{score}_j = \sum_i |W_{ij}| \, \|X^*_{j,:}\| = \|w_j\|_1 \sqrt{G_{jj}}

(per token, a constant factor apart from the sum over tokens).  Reference: FASP, arXiv 2501.09412.  Its full text was
not available to us: the score is as its public reviews describe it; the restoration,
:func:`optsci.compress.restore_columns`, is our own construction of the least-squares step they describe.
"""

from __future__ import annotations

from torch import Tensor

from .layer_problem import LayerProblem
from .units import keep_largest


def fasp_scores(problem: LayerProblem) -> Tensor:
    """(n,) ``||w_j||_1 sqrt(G_jj)``; 0 for a unit that is always 0, so that those go first."""
    return problem.weight.abs().sum(0) * problem.channel_energy.sqrt()


def fasp_select(problem: LayerProblem, count: int) -> Tensor:
    """The ``count`` units of largest FASP score, as ascending indices.

    >>> import torch
    >>> from optsci.compress import GramAccumulator
    >>> stats = GramAccumulator(); stats.add(torch.tensor([[1.0, 3.0, 0.0]]))
    >>> fasp_select(stats.problem(torch.tensor([[2.0, 1.0, 9.0]])), 2)
    tensor([0, 1])
    """
    return keep_largest(fasp_scores(problem), count)
