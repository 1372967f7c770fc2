"""The pruners everybody compares with: magnitude, Wanda, SparseGPT.  Each is ``problem -> weights``.

Sources: Wanda, Sun et al., ICLR 2024, arXiv 2306.11695.  SparseGPT, Frantar and Alistarh, ICML 2023, arXiv 2301.00774.
None of them refits the weights that stay after its mask is complete: :func:`optsci.compress.refit` does, for any of
them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from optsci.functions import NM, Sparsity
from optsci.linalg import damped_cholesky

from .constraints import Pattern, Unstructured, require_pattern
from .layer_problem import LayerProblem, with_live_diagonal


def magnitude(problem: LayerProblem, *, sparsity: Pattern) -> Tensor:
    """Keep the weights of largest ``|W_ij|``; change none of them.  Returns (m, n)."""
    require_pattern(sparsity)
    return problem.weight * sparsity.mask(problem.weight.abs())


def wanda(problem: LayerProblem, *, sparsity: Pattern) -> Tensor:
    """Keep the weights of largest ``|W_ij| * ||X*_j||``; change none of them.  Returns (m, n)."""
    require_pattern(sparsity)
    return problem.weight * sparsity.mask(problem.weight.abs() * problem.channel_energy.sqrt())


def sparsegpt(problem: LayerProblem, *, sparsity: Unstructured | NM, damping: float = 0.01, block: int = 128) -> Tensor:
    r"""One sweep over the columns; what a column loses is made up for by the columns after it.

    With ``H = G + damping * mean(diag G) I`` and ``H^{-1} = U^T U`` (``U`` upper triangular), column ``j`` drops the
    weights of small ``V_ij^2 / U_jj^2`` and the rest of the row moves by ``-e_i U_{j,j+1:}``, ``e_i = (dropped V_ij)
    / U_jj``.

    An unstructured mask is chosen for ``block`` columns at a time over all rows (the authors' scope: the number of
    zeros is not the same in every row); an N:M mask at the first column of every group.

    Args:
        problem: where its dense target differs from ``W X*`` the sweep starts from the unconstrained minimiser.
        sparsity: ``Unstructured`` (its fraction; ``by_row`` does not apply) or ``NM``.
        damping: relative to the mean of the diagonal; raised tenfold until the factorisation succeeds.
        block: columns per mask and per lazy update.

    Returns:
        (m, n) weights with exactly the zeros asked for.

    Raises:
        NotPositiveDefiniteError: the Gram matrix of the named layer stays singular (too few calibration tokens).
    """
    rows, columns = problem.weight.shape
    if not isinstance(sparsity, Unstructured | NM):
        raise TypeError(f"sparsity must be Unstructured or NM: masks are chosen block by block, got {sparsity!r}")
    if isinstance(sparsity, NM):
        sparsity.mask(problem.weight[:1])  # refuses a width that the pattern does not divide
        block = max(sparsity.m, block - block % sparsity.m)  # no group lies across two blocks
    if block < 1:
        raise ValueError(f"block must be at least 1, got {block!r}")
    weights = problem.unconstrained(damping).clone()
    dead = problem.channel_energy == 0
    weights[:, dead] = 0
    hessian = with_live_diagonal(problem.gram)
    factor, _ = damped_cholesky(hessian, damping, name=f"the Gram matrix of {problem.name}")
    upper = torch.linalg.cholesky(torch.cholesky_inverse(factor), upper=True)

    for start in range(0, columns, block):
        stop = min(start + block, columns)
        part, u = weights[:, start:stop], upper[start:stop, start:stop]  # `part` is a view: written in place
        keep = torch.ones_like(part, dtype=torch.bool)
        lost = torch.zeros_like(part)
        if isinstance(sparsity, Unstructured):
            zeros = round(sparsity.fraction * rows * stop) - round(sparsity.fraction * rows * start)
            keep = Sparsity(part.numel() - zeros).mask((part / u.diagonal()).abs())
        for j in range(stop - start):
            if isinstance(sparsity, NM) and j % sparsity.m == 0:
                group = slice(j, j + sparsity.m)
                keep[:, group] = sparsity.mask((part[:, group] / u.diagonal()[group]).abs())
            lost[:, j] = part[:, j] * ~keep[:, j] / u[j, j]
            part[:, j] *= keep[:, j]
            part[:, j + 1 :].addr_(lost[:, j], u[j, j + 1 :], alpha=-1)
        weights[:, stop:].addmm_(lost, upper[start:stop, stop:], alpha=-1)
    return weights
