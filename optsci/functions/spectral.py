r"""Functions of matrices through their singular values, or through the eigenvalues of symmetric ones.

.. math:: F(X) = f(\sigma(X)), \qquad \operatorname{prox}_{s F}(U \operatorname{diag}(\sigma) V^T)
          = U \operatorname{diag}(\operatorname{prox}_{s f}(\sigma)) \, V^T

A matrix is the last two dimensions; the ones before them are a batch, whose values are summed. A prox is
differentiable once, by divided differences of the vector prox: unlike the derivative of singular vectors these
stay finite where singular values repeat or vanish. A matrix with NaN or infinity anywhere yields NaN.

References: A. S. Lewis, The Convex Analysis of Unitarily Invariant Matrix Functions, J. Convex Anal. 2 (1995)
173-183; the same, Convex Analysis on the Hermitian Matrices, SIAM J. Optim. 6 (1996) 164-177.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from optsci._tensor import require_floating, require_step
from optsci.functions.calculus import Gradient, Prox, scaled


@dataclass(frozen=True, eq=False)
class SpectralFunction:
    r"""``f(singular values of x)`` for an ``f`` that ignores signs and order.

    .. math:: \operatorname{prox}_{s F}(U \operatorname{diag}(\sigma) V^T) =
              U \operatorname{diag}(\operatorname{prox}_{s f}(\sigma)) \, V^T

    It has those of ``grad``, ``prox``, ``conjugate``, ``lmo`` and ``lipschitz`` that ``f`` has. A set that
    compares without tolerance, such as Box, loses its boundary to the rounding of singular values.

    Args:
        f: a function of vectors along the last dimension, the same for all orders and signs of their entries.

    Raises:
        ValueError: ``x`` is not a matrix, or ``step`` varies within a matrix.

    Reference: A. S. Lewis, The Convex Analysis of Unitarily Invariant Matrix Functions, J. Convex Anal. 2
    (1995) 173-183.

    >>> from optsci import L1
    >>> trace_norm = SpectralFunction(L1())
    >>> trace_norm(torch.tensor([[3.0, 0.0], [0.0, -4.0]]))
    tensor(7.)
    """

    f: Any

    def __call__(self, x: Tensor) -> Tensor:
        return self.f(singular_values(x))

    @property
    def grad(self) -> Gradient:
        """``grad(x) = U diag(f.grad(singular values)) V^T``."""
        grad = self.f.grad
        return lambda x: map_singular_values(grad, x)

    @property
    def prox(self) -> Prox:
        """``prox(x, step) = U diag(f.prox(singular values, step)) V^T``; steps may differ between matrices."""
        prox = self.f.prox
        return lambda x, step: spectral_prox(prox, x, step)

    @property
    def lmo(self) -> Callable[[Tensor], Tensor]:
        """``lmo(d) = U diag(f.lmo(singular values)) V^T``."""
        lmo = self.f.lmo
        return lambda d: map_singular_values(lmo, d)

    @property
    def lipschitz(self) -> Callable[[], float]:
        """``lipschitz() = f.lipschitz()``."""
        return self.f.lipschitz

    @property
    def conjugate(self) -> SpectralFunction:
        """``f.conjugate(singular values)``."""
        return SpectralFunction(self.f.conjugate)

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class EigenFunction:
    r"""``f(eigenvalues of x)`` of symmetric matrices, for an ``f`` that ignores order.

    .. math:: \operatorname{prox}_{s F}(Q \operatorname{diag}(w) \, Q^T) =
              Q \operatorname{diag}(\operatorname{prox}_{s f}(w)) \, Q^T

    It has those of ``grad``, ``prox``, ``conjugate``, ``lmo`` and ``lipschitz`` that ``f`` has. Of ``x`` the
    symmetric part is read; what returns is symmetric.

    Args:
        f: a function of vectors along the last dimension, the same for all orders of their entries.

    Raises:
        ValueError: ``x`` is not a square matrix, or ``step`` varies within a matrix.

    Reference: A. S. Lewis, Convex Analysis on the Hermitian Matrices, SIAM J. Optim. 6 (1996) 164-177.

    >>> from optsci import Nonnegative
    >>> EigenFunction(Nonnegative()).prox(torch.tensor([[3.0, 0.0], [0.0, -4.0]]), 1.0)
    tensor([[3., 0.],
            [0., 0.]])
    """

    f: Any

    def __call__(self, x: Tensor) -> Tensor:
        return self.f(eigenvalues(x))

    @property
    def grad(self) -> Gradient:
        """``grad(x) = Q diag(f.grad(eigenvalues)) Q^T``."""
        grad = self.f.grad
        return lambda x: map_eigenvalues(grad, x)

    @property
    def prox(self) -> Prox:
        """``prox(x, step) = Q diag(f.prox(eigenvalues, step)) Q^T``; steps may differ between matrices."""
        prox = self.f.prox
        return lambda x, step: eigen_prox(prox, x, step)

    @property
    def lmo(self) -> Callable[[Tensor], Tensor]:
        """``lmo(d) = Q diag(f.lmo(eigenvalues)) Q^T``."""
        lmo = self.f.lmo
        return lambda d: map_eigenvalues(lmo, d)

    @property
    def lipschitz(self) -> Callable[[], float]:
        """``lipschitz() = f.lipschitz()``."""
        return self.f.lipschitz

    @property
    def conjugate(self) -> EigenFunction:
        """``f.conjugate(eigenvalues)``."""
        return EigenFunction(self.f.conjugate)

    __rmul__ = scaled


def singular_values(x: Tensor) -> Tensor:
    """Singular values (..., min(m, n)) of matrices (..., m, n), decreasing; differentiable once."""
    values: Tensor = _SVD.apply(_matrices(x))[1]
    return values


def eigenvalues(x: Tensor) -> Tensor:
    """Eigenvalues (..., n) of the symmetric part of matrices (..., n, n), increasing; differentiable once."""
    values: Tensor = _Eigh.apply(_symmetric(x))[1]
    return values


def map_singular_values(
    h: Callable[[Tensor], Tensor], x: Tensor, keep: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """``U diag(h(s)) V^T``, for an ``h`` that commutes with changes of order and sign.

    Where ``keep(s)`` (...,) is true, ``h`` is the identity nearby, and the matrix returns without rounding.
    """
    if _matrices(x).numel() == 0:
        return x.clone()
    U, s, Vh = _SVD.apply(x)
    h_s = h(s)
    with torch.no_grad():
        apart, gap = _apart(s, descending=True)
        pair = (h_s, s, h(apart), apart, gap)
        differences, sums = _divided(*pair, -1), _divided(*pair, 1)
        quotients = torch.diagonal(sums, dim1=-2, dim2=-1)
    out: Tensor = _Recompose.apply(x, h_s, U, Vh, differences, sums, quotients)
    return out if keep is None else torch.where(keep(s)[..., None, None], x, out)


def map_eigenvalues(h: Callable[[Tensor], Tensor], x: Tensor, keep: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """``Q diag(h(w)) Q^T`` of the symmetric part, for an ``h`` that commutes with changes of order; likewise."""
    x = _symmetric(x)
    if x.numel() == 0:
        return x
    Q, w, Qh = _Eigh.apply(x)
    h_w = h(w)
    with torch.no_grad():
        apart, gap = _apart(w, descending=False)
        differences = _divided(h_w, w, h(apart), apart, gap, -1)
    out: Tensor = _Recompose.apply(x, h_w, Q, Qh, differences, differences, 0 * w)
    out = (out + out.mT) / 2
    return out if keep is None else torch.where(keep(w)[..., None, None], x, out)


def spectral_prox(prox: Prox, x: Tensor, step: float | Tensor) -> Tensor:
    """``prox(s, step)`` of the singular values, one step a matrix: of the shape (..., 1, 1)."""
    step = _vector_step(step, _matrices(x))
    return map_singular_values(lambda s: prox(s, step), x)


def eigen_prox(prox: Prox, x: Tensor, step: float | Tensor) -> Tensor:
    """``prox(w, step)`` of the eigenvalues, likewise."""
    step = _vector_step(step, _symmetric(x))
    return map_eigenvalues(lambda w: prox(w, step), x)


def spectral_slack(x: Tensor) -> float:
    """Rounding to allow for in singular values and eigenvalues, relative to the largest."""
    return 64 * torch.finfo(x.dtype).eps * math.sqrt(x.shape[-2] * x.shape[-1])


class _SVD(torch.autograd.Function):
    """Thin SVD, whose values are differentiable; its vectors count as constants."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        finite = x.isfinite().all(-1).all(-1)[..., None]
        U, s, Vh = torch.linalg.svd(torch.where(finite[..., None], x, 0), full_matrices=False)  # raises on NaN
        return U, torch.where(finite, s, torch.nan), Vh

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        U, _, Vh = output
        ctx.mark_non_differentiable(U, Vh)
        ctx.save_for_backward(U, Vh)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _U: Tensor, slope: Tensor, _Vh: Tensor) -> Tensor:
        U, Vh = ctx.saved_tensors
        return (U * slope[..., None, :]) @ Vh


class _Eigh(_SVD):
    """Eigenvalues of symmetric matrices, likewise."""

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        finite = x.isfinite().all(-1).all(-1)[..., None]
        w, Q = torch.linalg.eigh(torch.where(finite[..., None], x, 0))
        return Q, torch.where(finite, w, torch.nan), Q.mT.clone()


class _Recompose(torch.autograd.Function):
    """``U diag(h) V^T`` with its derivative in ``x`` through the singular vectors.

    That in the singular values runs through ``h``. With ``Z = U^T dX V`` the rest is, off the diagonal,
    ``(h_i - h_j)/(s_i - s_j)`` times the symmetric part of Z and ``(h_i + h_j)/(s_i + s_j)`` times the
    antisymmetric one, and ``h_i/s_i`` outside the span of the vectors. The map is its own adjoint.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, h: Tensor, U: Tensor, Vh: Tensor, differences: Tensor, sums: Tensor, quotients: Tensor
    ) -> Tensor:
        return (U * h[..., None, :]) @ Vh

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs[2:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        U, Vh, differences, sums, quotients = ctx.saved_tensors
        left, right = U.mT @ slope, slope @ Vh.mT
        Z = left @ Vh.mT
        inside = differences * (Z + Z.mT) / 2 + sums * (Z - Z.mT) / 2
        diagonal = torch.diagonal(Z, dim1=-2, dim2=-1)
        inside = inside - torch.diag_embed(torch.diagonal(inside, dim1=-2, dim2=-1))
        below = ((right - U @ Z) * quotients[..., None, :]) @ Vh
        beside = (U * quotients[..., None, :]) @ (left - Z @ Vh)
        return U @ inside @ Vh + below + beside, diagonal, None, None, None, None, None


def _apart(w: Tensor, *, descending: bool) -> tuple[Tensor, Tensor]:
    """Sorted values pulled apart, so that all differ and none is 0 for sure, and the least gap between them."""
    largest = w.abs().amax(-1, keepdim=True)
    gap = torch.finfo(w.dtype).eps ** 0.5 * torch.where(largest == 0, 1, largest)
    ranks = torch.arange(1, w.shape[-1] + 1, device=w.device).to(w.dtype)
    return w + gap * (ranks.flip(0) if descending else ranks), gap


def _divided(h: Tensor, w: Tensor, h_apart: Tensor, apart: Tensor, gap: Tensor, sign: int) -> Tensor:
    """``(h_i + sign h_j) / (w_i + sign w_j)``; where that is close to 0/0, at the values pulled apart."""
    top, bottom = (v[..., :, None] + sign * v[..., None, :] for v in (h, w))
    close_top, close_bottom = (v[..., :, None] + sign * v[..., None, :] for v in (h_apart, apart))
    close = bottom.abs() < gap[..., None]
    top, bottom = torch.where(close, close_top, top), torch.where(close, close_bottom, bottom)
    return top / torch.where(bottom == 0, 1, bottom)  # 0/1 on the diagonal of the differences, which is not read


def _vector_step(step: float | Tensor, x: Tensor) -> float | Tensor:
    require_step(step, x[..., :1, :1])
    return step.squeeze(-1) if isinstance(step, Tensor) and step.dim() else step


def _matrices(x: Tensor) -> Tensor:
    if x.dim() < 2:
        raise ValueError(f"x must be a matrix or a batch of matrices, got shape {tuple(x.shape)}")
    require_floating(x)
    return x


def _symmetric(x: Tensor) -> Tensor:
    if x.dim() < 2 or x.shape[-1] != x.shape[-2]:
        raise ValueError(f"x must be a square matrix or a batch of them, got shape {tuple(x.shape)}")
    require_floating(x)
    return (x + x.mT) / 2
