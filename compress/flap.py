r"""FLAP: drop the units whose fluctuation matters least; their mean can go into a bias.

.. math:: \text{WIFV}_j = v_j \|w_j\|_2^2, \qquad b \mathrel{+}= W_{:,P} \, \mu_P

with mean ``mu`` and variance ``v`` of the inputs and P the units removed.  The score is exactly what the removal of
unit j alone costs after the best bias:

.. math:: \min_b E \|W_{:,P} x_P - b\|^2 = \operatorname{tr}(W_{:,P} \operatorname{Cov}(x_P) W_{:,P}^T)

Reference: FLAP, arXiv 2312.11983.  The published method standardises the scores of every layer and takes one threshold
for all of them, so that layers get different widths.  Here every layer keeps the same number, which a configuration of
transformers can say; standardisation would not change the order within a layer.  Mean and variance are those of all
tokens.

The bias is off unless asked for: the decision layers of LLaMA-like models have none, and stock transformers would not
load one.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from .layer_problem import LayerProblem
from .units import keep_largest


def flap_scores(problem: LayerProblem) -> Tensor:
    """(n,) WIFV, ``v_j ||w_j||^2``: mean squared error of the output without unit j, after the best bias."""
    variance = problem.channel_energy.double() - _mean(problem).square()
    return variance.clamp(min=0) * problem.weight.double().square().sum(0)


def flap_select(problem: LayerProblem, count: int) -> Tensor:
    """The ``count`` units of largest WIFV, as ascending indices.

    >>> import torch
    >>> from optsci.compress import GramAccumulator
    >>> stats = GramAccumulator(); stats.add(torch.tensor([[5.0, 1.0], [5.0, -1.0]]))
    >>> flap_select(stats.problem(torch.tensor([[1.0, 1.0]])), 1)  # the first input is large, but constant
    tensor([1])
    """
    return keep_largest(flap_scores(problem), count)


def mean_shift(problem: LayerProblem, kept: Tensor, weights: Tensor) -> Tensor:
    """(m,) the best change of the bias when the columns kept have the weights (m, k) and all others are gone.

    ``W mu - V mu_M``; for dense columns, ``V = W_M``, it is FLAP's ``W_P mu_P``.  The squared error falls by its
    squared norm.

    Raises:
        ValueError: the mean of the inputs is not known, or the target is that of other inputs (``X`` is not ``X*``).
    """
    mean = _mean(problem)
    if problem.cross is not problem.gram:
        raise ValueError(f"problem {problem.name} has a dense target, whose mean is not known: use Correction.NONE")
    shift = problem.weight.double() @ mean - weights.double() @ mean[kept]
    return shift.to(problem.weight.dtype)


def centred(problem: LayerProblem) -> LayerProblem:
    """The problem with a free bias, in which the bias is eliminated: its Gram matrix is the covariance of the inputs.

    Restored columns of this problem, and :func:`mean_shift` for the bias, are the least squares over weights and bias.
    """
    mean = _mean(problem)
    if problem.cross is not problem.gram:
        raise ValueError(f"problem {problem.name} has a dense target, whose mean is not known: use Correction.NONE")
    gram = (problem.gram.double() - mean.outer(mean)).to(problem.gram.dtype)
    energy = problem.energy - (problem.weight.double() @ mean).square().sum()
    return replace(problem, gram=gram, cross=gram, energy=energy, mean=torch.zeros_like(mean).to(gram))


def _mean(problem: LayerProblem) -> Tensor:
    if problem.mean is None:
        raise ValueError(f"problem {problem.name} does not know the mean of its inputs: make it by GramAccumulator")
    return problem.mean.double()
