r"""What randomised low rank is made of: Gaussian sketches of an operator, and orthonormal bases of tall matrices.

.. math:: A \Omega, \qquad \Omega \in \mathbb{R}^{n \times (k + p)} \text{ Gaussian}, \qquad
          Q = Y R^{-1}, \quad R^\top R = Y^\top Y

Source: Fukaya et al., SIAM J. Sci. Comput. 42 (2020) A477 (shifted CholeskyQR).
"""

from __future__ import annotations

from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from optsci._tensor import as_tensor
from optsci.operators import Matrix, as_operator
from optsci.protocols import Operator


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
