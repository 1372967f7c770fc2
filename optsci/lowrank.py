r"""Randomised low rank: a Gaussian sketch finds the range of A, a small exact factorisation does the rest.

.. math:: Q = \operatorname{orth}\bigl((A A^\top)^q A \Omega\bigr), \qquad
          A \approx Q Q^\top A, \qquad \Omega \in \mathbb{R}^{n \times (k + p)} \text{ Gaussian}

A is a matrix or an operator that takes columns; nothing but products with it and its adjoint is used. Every function
takes a ``generator``: the same seed gives the same sketch.

Sources: Halko, Martinsson and Tropp, SIAM Rev. 53 (2011) 217 (range finder, bounds, posterior error); Musco and Musco,
NeurIPS 2015 (block Krylov).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optsci._tensor import as_tensor
from optsci.operators import as_operator
from optsci.protocols import Operator
from optsci.sketch import _checked, _gaussian, _like, _require_count, orthonormalize


class SVD(NamedTuple):
    """A truncated singular value decomposition, ``U @ diag(S) @ Vh``."""

    U: Tensor  # (m, k) orthonormal columns
    S: Tensor  # (k,) in decreasing order
    Vh: Tensor  # (k, n) orthonormal rows


def range_finder(
    A: Any, rank: int, *, oversample: int = 10, powers: int = 2, generator: torch.Generator | None = None
) -> Tensor:
    r"""Orthonormal Q (m, rank + oversample) whose range nearly holds that of A.

    With k = ``rank``, p = ``oversample`` at least 2 and q = ``powers`` the spectral error :math:`\|A - Q Q^\top A\|` is
    at most :math:`\bigl[1 + \sqrt{k/(p-1)} + \tfrac{e \sqrt{k+p}}{p} \sqrt{\min(m, n) - k}\bigr]^{1/(2q+1)} s_{k+1}`
    in the mean.

    Args:
        A: (m, n), a matrix or an operator.
        rank: how many singular directions are wanted, from 1 to min(m, n).
        oversample: columns of the sketch beyond the rank; cut where A has no more.
        powers: products with A and its adjoint after the first; every one sharpens the spectrum.
        generator: of the Gaussian sketch; None is torch's global one.

    Raises:
        ValueError: ``rank``, ``oversample`` or ``powers`` is out of range.

    Reference: Halko, Martinsson and Tropp (2011), Algorithm 4.4 and Corollary 10.10.

    Example:
        >>> A = torch.outer(torch.arange(4.0), torch.ones(3))
        >>> Q = range_finder(A, 1, oversample=0, generator=torch.Generator().manual_seed(0))
        >>> bool((A - Q @ (Q.T @ A)).norm() < 1e-5)
        True
    """
    A, columns = _checked(A, rank, oversample, powers)
    Y = A(_gaussian(A, columns, generator))
    for _ in range(powers):
        Y = A(orthonormalize(A.T(orthonormalize(Y))))
    return orthonormalize(Y)


def randomized_svd(
    A: Any, rank: int, *, oversample: int = 10, powers: int = 2, generator: torch.Generator | None = None
) -> SVD:
    r"""Truncated SVD of A from its ``range_finder``.

    Args:
        A: (m, n), a matrix or an operator.
        rank: number of singular triplets, from 1 to min(m, n).
        oversample: columns of the sketch beyond the rank.
        powers: see ``range_finder``, whose error it has, plus :math:`s_{k+1}` for the truncation.
        generator: of the Gaussian sketch; None is torch's global one.

    Raises:
        ValueError: ``rank``, ``oversample`` or ``powers`` is out of range.

    Reference: Halko, Martinsson and Tropp (2011), Algorithm 5.1 and section 9.4.

    Example:
        >>> svd = randomized_svd([[3.0, 0.0], [0.0, 4.0]], 1, generator=torch.Generator().manual_seed(0))
        >>> svd.S.round(decimals=4)
        tensor([4.])
    """
    A, _ = _checked(A, rank, oversample, powers)
    Q = range_finder(A, rank, oversample=oversample, powers=powers, generator=generator)
    return _truncate(Q, A.T(Q), rank)


def block_krylov_svd(
    A: Any, rank: int, *, oversample: int = 5, depth: int = 2, generator: torch.Generator | None = None
) -> SVD:
    r"""Truncated SVD of A from the block Krylov space :math:`[A \Omega, (A A^\top) A \Omega, \dots]`.

    With the same products as ``depth`` powers it keeps all of what they gave: a spectral error of
    :math:`(1 + \epsilon) s_{k+1}` takes a depth of order :math:`\log(n)/\sqrt\epsilon`, whatever the gaps, where powers
    take :math:`\log(n)/\epsilon`.

    Args:
        A: (m, n), a matrix or an operator.
        rank: number of singular triplets, from 1 to min(m, n).
        oversample: columns of every block beyond the rank.
        depth: products with A and its adjoint after the first.
        generator: of the Gaussian sketch; None is torch's global one.

    Raises:
        ValueError: ``rank``, ``oversample`` or ``depth`` is out of range.

    Reference: Musco and Musco (2015), Algorithm 2.

    Example:
        >>> svd = block_krylov_svd([[3.0, 0.0], [0.0, 4.0]], 1, generator=torch.Generator().manual_seed(0))
        >>> svd.S.round(decimals=4)
        tensor([4.])
    """
    A, columns = _checked(A, rank, oversample, depth, powers_name="depth")
    blocks, rows = [orthonormalize(A(_gaussian(A, columns, generator)))], []
    while True:
        rows.append(A.T(blocks[-1]))  # of the basis, so that its projection takes no product more than powers do
        room = min(A.shape) - sum(block.shape[1] for block in blocks)
        if len(blocks) > depth or room == 0:
            break
        basis = torch.cat(blocks, 1)
        W = A(rows[-1])[:, :room]
        W = orthonormalize(W - basis @ (basis.mT @ W))
        blocks.append(orthonormalize(W - basis @ (basis.mT @ W)))  # twice is enough
    return _truncate(torch.cat(blocks, 1), torch.cat(rows, 1), rank)


def subspace_iteration(
    A: Any,
    rank: int,
    *,
    oversample: int = 5,
    sweeps: int = 5,
    start: Any = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Streamlined subspace iteration: :math:`A \approx Q U^\top` without any small SVD.

    .. math:: Q = \operatorname{orth}(A U), \qquad U = A^\top Q

    The last U already is the right factor. The columns beyond ``rank`` are kept: cut them where memory counts.

    Args:
        A: (m, n), a matrix or an operator.
        rank: wanted rank, from 1 to min(m, n).
        oversample: columns beyond the rank.
        sweeps: how often both factors are renewed, at least 1; from a good ``start`` one is enough.
        start: (n, rank + oversample), the U of a similar matrix; None is Gaussian.
        generator: of that; None is torch's global one.

    Returns:
        Q (m, rank + oversample) with orthonormal columns, and U (n, rank + oversample).

    Raises:
        ValueError: ``rank``, ``oversample`` or ``sweeps`` is out of range, or ``start`` has another shape.

    Example:
        >>> A = torch.outer(torch.arange(4.0), torch.ones(3))
        >>> Q, U = subspace_iteration(A, 1, oversample=0, generator=torch.Generator().manual_seed(0))
        >>> bool((A - Q @ U.T).norm() < 1e-5)
        True
    """
    A, columns = _checked(A, rank, oversample, sweeps, powers_name="sweeps")
    if sweeps == 0:
        raise ValueError("sweeps must be at least 1, got 0")
    U = _gaussian(A, columns, generator) if start is None else as_tensor(start, "start", like=_like(A))
    if U.shape != (A.shape[1], columns):
        raise ValueError(f"start must have the shape {(A.shape[1], columns)}, got {tuple(U.shape)}")
    for _ in range(sweeps):
        Q = orthonormalize(A(U))
        U = A.T(Q)
    return Q, U


class RangeState(NamedTuple):
    """A block of ``adaptive_range``."""

    x: Tensor  # Q (m, l), orthonormal columns so far
    residual: Tensor  # bound of ||A - Q Q^T A|| over an estimate of ||A||
    B: Tensor  # (l, n), Q^T A


def adaptive_range(A: Any, *, block: int = 16, generator: torch.Generator | None = None) -> Iterator[RangeState]:
    r"""Range of A to a tolerance instead of a rank: Q grows by a block a state, ``A`` is near ``x @ B``.

    The next block of the sketch, :math:`y_i = (I - Q Q^\top) A \omega_i`, bounds the error of this one:

    .. math:: \|A - Q Q^\top A\| \le 10 \sqrt{2/\pi} \, \max_i \|y_i\|

    but for a probability of :math:`10^{-\mathtt{block}}`; it holds down to rounding, where a difference of Frobenius
    norms would end at the square root of the precision. Once Q spans all rows or columns of A the residual is 0.

    Args:
        A: (m, n), a matrix or an operator.
        block: columns a state; on a GPU take many.
        generator: of the sketch; None is torch's global one.

    The residual is that bound, divided by the largest norm of ``B`` seen in a block, an estimate of :math:`\|A\|`.

    Reference: Halko, Martinsson and Tropp (2011), section 4.4 and Lemma 4.1.

    Example:
        >>> import optsci
        >>> A = torch.outer(torch.arange(40.0), torch.ones(30))
        >>> optsci.solve(adaptive_range(A, block=4, generator=torch.Generator().manual_seed(0)), tol=1e-4).x.shape
        torch.Size([40, 4])
    """
    A, _ = _checked(A, 1, 0, 0)
    _require_count(block, "block", 1)

    def iterate(A: Operator) -> Iterator[RangeState]:
        sketch = A(_gaussian(A, block, generator))
        Q, B, scale = sketch[:, :0], sketch.new_zeros(0, A.shape[1]), sketch.new_zeros(())
        while Q.shape[1] < min(A.shape):
            room = min(A.shape) - Q.shape[1]
            new = orthonormalize(sketch[:, :room])
            new = orthonormalize(new - Q @ (Q.mT @ new))  # twice is enough
            rows = A.T(new).mT
            Q, B = torch.cat([Q, new], 1), torch.cat([B, rows])
            scale = torch.maximum(scale, torch.linalg.matrix_norm(rows, 2))
            sketch = A(_gaussian(A, block, generator))
            sketch = sketch - Q @ (Q.mT @ sketch)
            bound = 10 * math.sqrt(2 / math.pi) * sketch.norm(dim=0).max()
            bound = bound if Q.shape[1] < min(A.shape) else torch.zeros_like(bound)
            yield RangeState(Q, bound / torch.where(scale > 0, scale, 1.0), B)

    return iterate(A)


def posterior_error(A: Any, Q: Any, *, probes: int = 10, generator: torch.Generator | None = None) -> float:
    r"""Certified error of a basis: :math:`\|A - Q Q^\top A\|` is at most this, but for a probability of 10^-probes.

    Args:
        A: (m, n), a matrix or an operator.
        Q: (m, k) with orthonormal columns, such as a ``range_finder`` gives, or the U of an SVD.
        probes: Gaussian vectors tried.
        generator: of those; must not be in the state that Q was made with. None is torch's global one.

    Reference: Halko, Martinsson and Tropp (2011), equation 4.3.

    Example:
        >>> posterior_error(torch.eye(3), torch.eye(3)) < 1e-5
        True
    """
    A = as_operator(A)
    Q = as_tensor(Q, "Q", like=_like(A))
    _require_count(probes, "probes", 1)
    if Q.dim() != 2 or Q.shape[0] != A.shape[0]:
        raise ValueError(f"Q must have the {A.shape[0]} rows of A, got shape {tuple(Q.shape)}")
    Y = A(_gaussian(A, probes, generator))
    return 10 * math.sqrt(2 / math.pi) * (Y - Q @ (Q.mT @ Y)).norm(dim=0).max().item()


def _truncate(Q: Tensor, AtQ: Tensor, rank: int) -> SVD:
    """SVD of Q (A^T Q)^T = Q Q^T A, by way of a square as small as the sketch."""
    V, R = torch.linalg.qr(AtQ)
    U, S, Wh = torch.linalg.svd(R.mT, full_matrices=False)
    return SVD(Q @ U[:, :rank], S[:rank], Wh[:rank] @ V.mT)
