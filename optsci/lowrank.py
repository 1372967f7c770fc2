r"""Randomised low rank: a Gaussian sketch finds the range of A, a small exact factorisation does the rest.

.. math:: Q = \operatorname{orth}\bigl((A A^\top)^q A \Omega\bigr), \qquad
          A \approx Q Q^\top A, \qquad \Omega \in \mathbb{R}^{n \times (k + p)} \text{ Gaussian}

A is a matrix or an operator that takes columns; nothing but products with it and its adjoint is used. Every function
takes a ``generator``: the same seed gives the same sketch.

Sources: Halko, Martinsson and Tropp, SIAM Rev. 53 (2011) 217 (range finder, bounds, posterior error); Musco and Musco,
NeurIPS 2015 (block Krylov); Tropp, Yurtsever, Udell and Cevher, NeurIPS 2017 (stable Nyström); Frangella, Tropp and
Udell, SIAM J. Matrix Anal. Appl. 44 (2023) 718 (Nyström preconditioner); Fukaya et al., SIAM J. Sci. Comput. 42 (2020)
A477 (shifted CholeskyQR).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optsci._tensor import as_tensor
from optsci.operators import Matrix, as_operator
from optsci.protocols import Operator


class SVD(NamedTuple):
    """A truncated singular value decomposition, ``U @ diag(S) @ Vh``."""

    U: Tensor  # (m, k) orthonormal columns
    S: Tensor  # (k,) in decreasing order
    Vh: Tensor  # (k, n) orthonormal rows


class Eigen(NamedTuple):
    """A truncated eigendecomposition of a positive semidefinite matrix, ``U @ diag(values) @ U.T``."""

    U: Tensor  # (n, k) orthonormal columns
    values: Tensor  # (k,) in decreasing order, not negative


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


def nystrom(A: Any, rank: int, *, oversample: int = 10, generator: torch.Generator | None = None) -> Eigen:
    r"""Nyström approximation of a positive semidefinite A, in one product with A.

    .. math:: \hat A = (A \Omega) (\Omega^\top A \Omega)^{+} (A \Omega)^\top, \qquad
              \mathbb{E} \|A - \hat A\|_* \le \Bigl(1 + \frac{k}{p - 1}\Bigr) \sum_{j > k} \lambda_j

    computed with a shift of the size of rounding errors, which is taken off the eigenvalues again.

    Args:
        A: (n, n) symmetric positive semidefinite, a matrix or an operator.
        rank: rank of the result, from 1 to n.
        oversample: columns of the sketch beyond the rank.
        generator: of the Gaussian sketch; None is torch's global one.

    Raises:
        ValueError: A is not square, or not positive semidefinite as far as the sketch can see; or ``rank`` or
            ``oversample`` is out of range.

    Reference: Tropp, Yurtsever, Udell and Cevher (2017), Algorithm 3.

    Example:
        >>> nystrom([[3.0, 0.0], [0.0, 4.0]], 1, generator=torch.Generator().manual_seed(0)).values.round(decimals=4)
        tensor([4.])
    """
    A, columns = _checked(A, rank, oversample, 0)
    if A.shape[0] != A.shape[1]:
        raise ValueError(f"A must be square, got shape {tuple(A.shape)}")
    omega = orthonormalize(_gaussian(A, columns, generator))
    Y = A(omega)
    scale = Y.abs().max()
    if scale == 0:
        return Eigen(omega[:, :rank], Y.new_zeros(rank))
    Y = Y / scale  # so that no square overflows or vanishes
    shift = torch.finfo(Y.dtype).eps * Y.norm()
    Y = Y + shift * omega
    core = omega.mT @ Y
    factor, info = torch.linalg.cholesky_ex((core + core.mT) / 2)
    if info:
        raise ValueError("A must be positive semidefinite: Cholesky failed on its sketch")
    B = torch.linalg.solve_triangular(factor, Y.mT, upper=False).mT
    U, S, _ = torch.linalg.svd(B, full_matrices=False)
    return Eigen(U[:, :rank], scale * (S[:rank].square() - shift).clamp(min=0))


@dataclass(frozen=True, eq=False)
class NystromPreconditioner:
    r"""Preconditioner of :math:`A + \mu I` from a Nyström approximation of A.

    .. math:: P^{-1} = (\hat\lambda_k + \mu) \, U (\hat\Lambda + \mu I)^{-1} U^\top + (I - U U^\top)

    For ``conjugate_gradient(lambda x: x @ A + mu * x, b, preconditioner=...)``, whose rows it takes. A sketch of
    :math:`2 \lceil 1.5 \, d \rceil + 1` columns, d the trace of :math:`A (A + \mu I)^{-1}`, gives a condition number
    below 28 in the mean.

    Args:
        eigen: what ``nystrom`` returned for A.
        mu: positive.

    Raises:
        ValueError: ``mu`` is not positive.

    Reference: Frangella, Tropp and Udell (2023), equation 1.3 and Theorem 1.1.

    >>> precondition = NystromPreconditioner(Eigen(torch.eye(2)[:, :1], torch.tensor([3.0])), 1.0)
    >>> precondition(torch.ones(2))
    tensor([1., 1.])
    """

    eigen: Eigen
    mu: float

    def __post_init__(self) -> None:
        if not 0 < self.mu < math.inf:
            raise ValueError(f"mu must be finite and positive, got {self.mu!r}")

    def __call__(self, r: Tensor) -> Tensor:
        """Return ``P^{-1} r`` for every row."""
        U, values = self.eigen
        return r + (r @ U * ((values[-1] + self.mu) / (values + self.mu) - 1)) @ U.mT

    def inverse(self, r: Tensor) -> Tensor:
        """Return ``P r`` for every row."""
        U, values = self.eigen
        return r + (r @ U * ((values + self.mu) / (values[-1] + self.mu) - 1)) @ U.mT


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


def orthonormalize(Y: Any) -> Tensor:
    r"""Orthonormal basis (m, n) of the columns of Y, m at least n: CholeskyQR2, and Householder where that fails.

    Columns are scaled to norm 1, then :math:`Q = Y R^{-1}` with the Cholesky factor :math:`R^\top R = Y^\top Y` twice,
    as one product more than halves the time of Householder's on wide blocks. Where a factor does not exist, or Q
    is not orthonormal to a small multiple of the precision, Y is close to rank-deficient and Householder's
    reflections serve: they give a basis of n columns whatever Y is.

    Reference: Fukaya et al. (2020), section 2.

    Example:
        >>> Q = orthonormalize([[3.0, 1.0], [4.0, 1.0], [0.0, 1.0]])
        >>> bool((Q.T @ Q - torch.eye(2)).abs().max() < 1e-6)
        True
    """
    Y = as_tensor(Y, "Y")
    norms = Y.norm(dim=-2, keepdim=True)
    Q = Y / torch.where(norms > 0, norms, 1.0)
    identity = torch.eye(Y.shape[-1], dtype=Y.dtype, device=Y.device)
    failed = torch.zeros((), dtype=torch.bool, device=Y.device)
    for _ in range(2):
        factor, info = torch.linalg.cholesky_ex(Q.mT @ Q)
        failed = failed | (info > 0).any()
        Q = torch.linalg.solve_triangular(factor.mT, Q, upper=True, left=False)
    error = (Q.mT @ Q - identity).abs().max() if Q.numel() else Q.new_zeros(())
    if bool(failed | ~(error <= 100 * torch.finfo(Y.dtype).eps)):
        return torch.linalg.qr(Y).Q
    return Q


def _truncate(Q: Tensor, AtQ: Tensor, rank: int) -> SVD:
    """SVD of Q (A^T Q)^T = Q Q^T A, by way of a square as small as the sketch."""
    V, R = torch.linalg.qr(AtQ)
    U, S, Wh = torch.linalg.svd(R.mT, full_matrices=False)
    return SVD(Q @ U[:, :rank], S[:rank], Wh[:rank] @ V.mT)


def _gaussian(A: Operator, columns: int, generator: torch.Generator | None) -> Tensor:
    like = _like(A)
    dtype, device = (None, None) if like is None else (like.dtype, like.device)
    sketch_on = generator.device if generator is not None else device
    return torch.randn(A.shape[1], columns, generator=generator, dtype=dtype, device=sketch_on).to(device)


def _like(A: Operator) -> Tensor | None:
    """A tensor of the dtype and device of A; an operator that is no matrix works in torch's default dtype."""
    return A.entries if isinstance(A, Matrix) else getattr(A, "like", None)


def _checked(A: Any, rank: int, oversample: int, powers: int, powers_name: str = "powers") -> tuple[Operator, int]:
    A = as_operator(A)
    limit = min(A.shape)
    _require_count(rank, "rank", 1)
    if rank > limit:
        raise ValueError(f"rank must be at most {limit}, the smaller dimension of A, got {rank}")
    _require_count(oversample, "oversample", 0)
    _require_count(powers, powers_name, 0)
    return A, min(rank + oversample, limit)


def _require_count(value: int, name: str, least: int) -> None:
    if not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} must be a whole number, at least {least}, got {value!r}")
