r"""The second moment of Adam in low rank: the streamlined randomised subspace iteration, and its pursuit in one pass.

.. math:: V = \beta_2 \max(Q U^\top, 0) + (1 - \beta_2)\, G \circ G \approx Q' U'^\top, \qquad
          Q'^\top Q' = I, \quad U' = V^\top Q'

All matrices come in batches (B, m, n).  Rows may be shared among processes: ``total`` then adds up their parts, and
nothing of the size of V is ever sent.

Sources: Zhao et al., Adapprox, arXiv 2403.14958; known to us by its abstract, its reviews and summaries.  From memory:
the order of products and factorisations in ``subspace``, and that columns are simply cut.  Inferred: the formula of
``relative_error``.  Ours: that negative entries of the past count as zero, the cut by an SVD, and ``one_pass``.
The factorisation of sharded matrices is that of Fukaya et al., SIAM J. Sci. Comput. 42 (2020) A477.
``optsci.lowrank.subspace_iteration`` is the same iteration for one matrix or operator that a single process holds.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Total = Callable[..., tuple[Tensor, ...]]  # tensors to their sums over the processes that share the rows
Truncate = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]
COPIED = 1 << 18  # entries


def alone(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The sums over all processes, if there is only this one."""
    return tensors


def second_moment(Q: Tensor, U: Tensor, G: Tensor, b2: float) -> Tensor:
    r"""V, (B, m, n), at least (1 - b2) G*G.

    The factors may have negative entries; those of the product count as zero.  Hence
    :math:`|G| / \sqrt V \le 1 / \sqrt{1 - \beta_2}`, 31.6 for b2 = 0.999.

    Example:
        >>> Q, U = torch.tensor([[[1.0], [-1.0]]]), torch.ones(1, 2, 1)
        >>> second_moment(Q, U, torch.ones(1, 2, 2), 0.5)
        tensor([[[1.0000, 1.0000],
                 [0.5000, 0.5000]]])
    """
    return torch.bmm(Q, b2 * U.mT).clamp_(min=0).addcmul_(G, G, value=1 - b2)


def subspace(A: Tensor, start: Tensor, *, sweeps: int = 5, total: Total = alone) -> tuple[Tensor, Tensor]:
    r"""S-RSI: Q (B, m, r) orthonormal and U = A' Q (B, n, r), with A near Q U'.

    .. math:: Q = \operatorname{orth}(A U), \qquad U = A^\top Q, \qquad \text{repeated } \mathtt{sweeps} \text{ times}

    Args:
        A: (B, m, n).
        start: (B, n, r), Gaussian, or the U of a similar matrix.
        sweeps: at least 1.
        total: see the module.

    Example:
        >>> A = torch.outer(torch.arange(4.0), torch.ones(3))[None]
        >>> Q, U = subspace(A, torch.ones(1, 3, 1))
        >>> bool((A - Q @ U.mT).norm() < 1e-5)
        True
    """
    U = start
    for _ in range(sweeps):
        Q = orthonormal(torch.bmm(A, _over_norms(U)), total)
        (U,) = total(torch.bmm(A.mT, Q))
    return Q, U


def columns(Q: Tensor, U: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The first columns, as the paper cuts (from memory)."""
    return Q[..., :rank], U[..., :rank]


def svd(Q: Tensor, U: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The best approximation of Q U' of that rank, by an SVD of U: O(n r^2) more than ``columns``."""
    basis, R = torch.linalg.qr(U)
    X, S, Zh = torch.linalg.svd(R.nan_to_num(), full_matrices=False)  # which refuses NaN; the basis has it, too
    return Q @ Zh.mT[..., :rank], basis @ (X * S[..., None, :])[..., :rank]


def relative_error(A: Tensor, Q: Tensor, U: Tensor, total: Total = alone) -> Tensor:
    r"""The error of the factors, (B,), from norms alone.

    .. math:: \xi^2 = \frac{\|A - Q U^\top\|_F^2}{\|A\|_F^2} = 1 - \frac{\|U\|_F^2}{\|A\|_F^2}

    It needs Q orthonormal and U = A'Q, and still holds for the columns that ``columns`` or ``svd`` keep.  Where the
    difference is below 1e-6 in single precision it is rounding error, and the residual is formed.  0 where A is 0.

    Example:
        >>> A = torch.tensor([[[3.0, 0.0], [0.0, 4.0]]])
        >>> Q, U = columns(*subspace(A, torch.eye(2)[None]), 1)
        >>> (relative_error(A, Q, U) - (A - Q @ U.mT).norm() / 5).abs() < 1e-6
        tensor([True])
    """
    (whole,) = total(squares(A))
    left = 1 - squares(U) / torch.where(whole > 0, whole, 1.0)
    limit = 1e-6 if A.dtype == torch.float32 else 1e3 * torch.finfo(A.dtype).eps
    if bool((left < limit).any()):
        (explicit,) = total(squares(torch.baddbmm(A, Q, U.mT, alpha=-1)))
        left = torch.where(left < limit, explicit / torch.where(whole > 0, whole, 1.0), left)
    return torch.where(whole > 0, left, 0.0).clamp(min=0).sqrt()


def directions(U: Tensor, rank: Tensor | None, random: Callable[[], Tensor]) -> Tensor:
    """Columns of U over their squared norms, from which a pass starts: V X has columns of norms near 1 then.

    A column that is 0, or so small that its inverse is no number, becomes a random one, and 0 from the rank on.

    Args:
        U: (B, n, k).
        rank: (B,) or None, where all columns count.
        random: () -> (B, n, k), asked only if needed, as far as that can be known without waiting for a device.
    """
    norms = torch.linalg.vector_norm(U, dim=-2, keepdim=True, dtype=torch.float64)  # of squares: they leave float32
    dead = norms < 1e8 / torch.finfo(U.dtype).max
    safe = torch.where(dead, 1.0, norms)
    start = torch.where(dead, 0.0, U / safe / safe).to(U.dtype)
    if rank is not None:
        counts = torch.arange(U.shape[-1], device=U.device) < rank[:, None]
        dead = dead & counts[:, None]
    if torch.compiler.is_compiling() or U.device.type != "cpu" or bool(dead.any()):
        largest = torch.where(dead, 0.0, norms).amax(-1, keepdim=True)
        start = torch.where(dead, (random() / torch.where(largest > 0, largest, 1.0)).to(U.dtype), start)
    return start


def finish_pass(Y: Tensor, gram: Tensor, B: Tensor, total: Total = alone) -> tuple[Tensor, Tensor]:
    r"""Q and U = V'Q from Y = V X and B = V'Y, without V: the end of a pass over its rows.

    .. math:: Q = Y T^\top, \qquad U = B T^\top, \qquad T = (\text{Cholesky factor of } Y^\top Y)^{-1}

    in two rounds, the first one shifted and with columns of norm 1.  A column that depends on those before it, up to
    the root of a hundred roundings, becomes 0, with its column of U: the next pass starts it from a random direction.

    Args:
        Y: (B, m, k), here the rows of this process.
        gram: (B, k, k), Y'Y over all processes.
        B: (B, n, k) over all processes.
        total: see the module.
    """
    first = _whiten(gram, shift=100 * torch.finfo(Y.dtype).eps)
    Q = torch.bmm(Y, first.mT)
    (gram,) = total(torch.bmm(Q.mT, Q))
    good = gram.diagonal(dim1=-2, dim2=-1) > 0.5
    both = good[..., None] & good[..., None, :]
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    second = _whiten(torch.where(both, gram, identity), shift=0.0) * good[..., None, :]
    second = second * good[..., None]
    return torch.bmm(Q, second.mT), torch.bmm(B, torch.bmm(second, first).mT)


def one_pass(V: Tensor, start: Tensor, total: Total = alone) -> tuple[Tensor, Tensor]:
    """One sweep from ``directions``, where V is at hand; however large or small V is."""
    Y = _over_size(torch.bmm(V, start), total)
    gram, B = total(torch.bmm(Y.mT, Y), torch.bmm(V.mT, Y))
    return finish_pass(Y, gram, B, total)


def orthonormal(Y: Tensor, total: Total = alone) -> Tensor:
    """Orthonormal basis of the columns of Y (B, m, r); the rows may be shared.

    Householder's reflections where one process has all rows.  Otherwise Cholesky's factor of Y'Y, three times, the
    columns scaled to norm 1 and the factor shifted by a few units of rounding (Fukaya et al. 2020).
    """
    if total is alone:
        return torch.linalg.qr(Y).Q
    Y = _over_size(Y, total)
    for _ in range(3):
        (gram,) = total(torch.bmm(Y.mT, Y))
        Y = torch.bmm(Y, _whiten(gram, shift=4 * Y.shape[-1] * torch.finfo(Y.dtype).eps).mT)
    return Y


def _whiten(gram: Tensor, shift: float) -> Tensor:
    """T with T gram T' = I, up to the shift of the matrix whose diagonal is scaled to 1."""
    d = gram.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
    d = torch.where(d > 0, 1 / d, 1.0)
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    factor, _ = torch.linalg.cholesky_ex(gram * d[..., None] * d[..., None, :] + shift * identity)
    return torch.linalg.solve_triangular(factor, torch.diag_embed(d), upper=False)


def squares(A: Tensor) -> Tensor:
    """Sums of the squares in double precision, (B,); a processor would make a copy of A for it, so in parts there."""
    rows = max(COPIED // A.shape[-1], 1) if A.device.type == "cpu" else max(A.shape[-2], 1)
    parts = [torch.linalg.vector_norm(part, dim=(-2, -1), dtype=torch.float64) for part in A.split(rows, -2)]
    return torch.stack(parts).square().sum(0)


def _over_size(Y: Tensor, total: Total) -> Tensor:
    """Y over the sum of its absolute values, so that products of two entries are numbers, however large it is."""
    (size,) = total(Y.abs().sum((-2, -1), keepdim=True))
    return Y / torch.where(size > 0, size, 1.0)


def _over_norms(U: Tensor) -> Tensor:
    norms = torch.linalg.vector_norm(U, dim=-2, keepdim=True, dtype=torch.float64)
    return (U / torch.where(norms > 0, norms, 1.0)).to(U.dtype)
