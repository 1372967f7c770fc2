r"""The quantizers everybody compares with: round to nearest, GPTQ, weighted k-means.  Each is ``problem -> Quantized``.

.. math:: \min_{T, Q} \|V X^* - W X\|_F^2, \qquad V_{ij} = T_{i, Q_{ij}}

Round to nearest and GPTQ have evenly spaced values between the smallest and the largest weight of a row, with no
clipping and no groups; k-means places them freely.

Sources: GPTQ, Frantar et al., ICLR 2023, arXiv 2210.17323.  The weights of k-means, after SqueezeLLM, Kim et al., ICML
2024, arXiv 2306.07629, with the diagonal of ``G`` in place of its Fisher information.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from optsci.linalg import damped_cholesky

from .code_steps import kmeans_codebook, nearest_codes
from .codebook import Quantized
from .layer_problem import LayerProblem, with_live_diagonal

Order = Callable[[Tensor], Tensor]


def round_to_nearest(problem: LayerProblem, *, bits: int = 4) -> Quantized:
    """Every weight becomes the nearest value of the evenly spaced grid of its row.

    Args:
        problem: where its dense target differs from ``W X*`` the unconstrained minimiser is what is rounded.
        bits: N, 1 to 8.

    >>> import torch
    >>> from optsci.compress import GramAccumulator
    >>> stats = GramAccumulator(); stats.add(torch.eye(4))
    >>> round_to_nearest(stats.problem(torch.tensor([[0.0, 1.0, 1.9, 3.0]])), bits=2).weights
    tensor([[0., 1., 2., 3.]])
    """
    check_bits(bits)
    weights = problem.unconstrained()
    codebook = uniform_grid(weights, bits)
    return Quantized(nearest_codes(weights, codebook), codebook)


def gptq(
    problem: LayerProblem, *, bits: int = 4, damping: float = 0.01, block: int = 128, order: Order | None = None
) -> Quantized:
    r"""One sweep over the columns; what rounding a column changes is made up for by the columns after it.

    With ``H = G + damping * mean(diag G) I`` and ``H^{-1} = U^T U`` (``U`` upper triangular), column ``j`` is rounded
    to the grid of its row and the rest of the row moves by ``-e_i U_{j,j+1:}``, ``e_i = (rounding error) / U_jj``.

    Args:
        problem: where its dense target differs from ``W X*`` the sweep starts from the unconstrained minimiser.
        bits: N, 1 to 8.
        damping: relative to the mean of the diagonal; raised tenfold until the factorisation succeeds.
        block: columns per lazy update.
        order: function of ``G`` that says in which order the columns are taken, such as :func:`descending_energy`;
            None takes them as they are.

    Raises:
        NotPositiveDefiniteError: the Gram matrix of the named layer stays singular (too few calibration tokens).

    >>> import torch
    >>> from optsci.compress import GramAccumulator
    >>> stats = GramAccumulator(); stats.add(torch.eye(4))
    >>> gptq(stats.problem(torch.tensor([[0.0, 1.0, 1.9, 3.0]])), bits=2).weights
    tensor([[0., 1., 2., 3.]])
    """
    check_bits(bits)
    if block < 1:
        raise ValueError(f"block must be at least 1, got {block!r}")
    weights = problem.unconstrained(damping)
    n = weights.shape[1]
    codebook = uniform_grid(weights, bits)
    dead = problem.channel_energy == 0
    places = torch.arange(n, device=weights.device) if order is None else order(problem.gram)
    hessian = with_live_diagonal(problem.gram)[places][:, places]
    factor, _ = damped_cholesky(hessian, damping, name=f"the Gram matrix of {problem.name}")
    upper = torch.linalg.cholesky(torch.cholesky_inverse(factor), upper=True)

    columns = weights.masked_fill(dead, 0).T[places].contiguous()  # (n, m): a column of the layer lies in one piece
    low, step = codebook[:, 0], (codebook[:, -1] - codebook[:, 0]) / (2**bits - 1)
    step = torch.where(step > 0, step, 1.0)  # a constant row
    codes = torch.empty_like(columns)
    for start in range(0, n, block):
        stop = min(start + block, n)
        part, u = columns[start:stop], upper[start:stop, start:stop]  # `part` is a view: written in place
        errors = torch.empty_like(part)
        for j in range(stop - start):
            codes[start + j] = ((part[j] - low) / step).round_().clamp_(0, 2**bits - 1)
            errors[j] = (part[j] - (low + step * codes[start + j])) / u[j, j]
            part[j + 1 :].addr_(u[j, j + 1 :], errors[j], alpha=-1)
        columns[stop:].addmm_(upper[start:stop, stop:].T, errors, alpha=-1)
    restored = torch.empty_like(codes).index_copy_(0, places, codes)
    return Quantized(restored.T.contiguous().to(torch.uint8), codebook)


def weighted_kmeans(problem: LayerProblem, *, bits: int = 4, iterations: int = 30) -> Quantized:
    """Values by k-means in every row, with the mean squares of the inputs as weights; every weight takes the nearest.

    Args:
        problem: where its dense target differs from ``W X*`` the unconstrained minimiser is what is clustered.
        bits: N, 1 to 8.
        iterations: Lloyd's iterations from the quantiles of the row.

    >>> import torch
    >>> from optsci.compress import GramAccumulator
    >>> stats = GramAccumulator(); stats.add(torch.eye(4))
    >>> weighted_kmeans(stats.problem(torch.tensor([[0.0, 0.25, 1.75, 2.0]])), bits=1).weights
    tensor([[0.1250, 0.1250, 1.8750, 1.8750]])
    """
    check_bits(bits)
    if iterations < 0:
        raise ValueError(f"iterations must be at least 0, got {iterations!r}")
    weights = problem.unconstrained()
    codebook = kmeans_codebook(weights, energy_weights(problem.gram), bits=bits, iterations=iterations)
    return Quantized(nearest_codes(weights, codebook), codebook)


def ascending_energy(gram: Tensor) -> Tensor:
    """Columns from the smallest mean square of the input to the largest, (n,)."""
    return gram.diagonal().argsort(stable=True)


def descending_energy(gram: Tensor) -> Tensor:
    """Columns from the largest mean square of the input to the smallest, (n,): the "act-order" of GPTQ."""
    return gram.diagonal().argsort(stable=True, descending=True)


def energy_weights(gram: Tensor) -> Tensor:
    """Mean squares of the inputs over the largest one, (n,); a little more than 0 for inputs that are always 0."""
    energy = gram.diagonal()
    return energy / torch.where(energy.max() > 0, energy.max(), 1.0) + 1e-12


def uniform_grid(weights: Tensor, bits: int) -> Tensor:
    """Evenly spaced values (m, 2^bits) from the smallest to the largest weight of every row."""
    low, high = weights.aminmax(dim=1, keepdim=True)
    step = (high - low) / (2**bits - 1)
    return low + step * torch.arange(2**bits, dtype=weights.dtype, device=weights.device)


def check_bits(bits: int) -> None:
    """Refuse what is no number of bits of a code."""
    if not isinstance(bits, int) or isinstance(bits, bool):
        raise TypeError(f"bits must be an integer, got {bits!r}")
    if not 1 <= bits <= 8:
        raise ValueError(f"bits must lie in 1..8, got {bits!r}")
