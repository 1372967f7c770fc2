r"""Linear algebra that says when it fails: damped Cholesky, conjugate gradients by rows, largest eigenvalue.

.. math:: L L^\top = H + \delta \, \operatorname{mean}(\operatorname{diag} H) \, I, \qquad
          A_{SS} x_S = b_S, \qquad \lambda_{\max}(H)

Sources: Hestenes and Stiefel, J. Res. Nat. Bur. Standards 49 (1952) 409 (conjugate gradients); Kuczyński and
Woźniakowski, SIAM J. Matrix Anal. Appl. 13 (1992) 1094 (Lanczos from a random start).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optsci._tensor import as_tensor, require_fit

Matvec = Callable[[Tensor], Tensor]


class NotPositiveDefiniteError(ValueError):
    """A Cholesky factorisation failed with every damping tried; ``dampings`` holds them."""

    def __init__(self, message: str, dampings: tuple[float, ...]):
        super().__init__(message)
        self.dampings = dampings


def damped_cholesky(H: Any, damping: float = 0.01, *, name: str = "H") -> tuple[Tensor, float]:
    r"""Lower Cholesky factor of :math:`H + \delta \operatorname{mean}(\operatorname{diag} H) I`.

    Where that fails, the damping :math:`\delta` is multiplied by 10 (0 is followed by 1e-8), up to 1.

    Args:
        H: (..., n, n) symmetric, of which the lower triangle is read. A batch shares one damping.
        damping: the first damping tried, non-negative; relative to the mean of the diagonal.
        name: what to call H in an error.

    Returns:
        The factor (..., n, n), and the damping that it took.

    Raises:
        NotPositiveDefiniteError: if no damping was enough; the sentence lists those tried.

    Example:
        >>> L, damping = damped_cholesky([[1.0, 1.0], [1.0, 1.0]])
        >>> damping, L @ L.mT
        (0.01, tensor([[1.0100, 1.0000],
                [1.0000, 1.0100]]))
    """
    H = as_tensor(H, name)
    if H.ndim < 2 or H.shape[-1] != H.shape[-2] or H.numel() == 0:
        raise ValueError(f"{name} must be square and not empty, not of shape {tuple(H.shape)}")
    if not damping >= 0:
        raise ValueError(f"damping must be non-negative, not {damping!r}")
    if not H.isfinite().all():
        raise ValueError(f"{name} holds NaN or infinite entries")
    scale = H.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    identity = torch.eye(H.shape[-1], dtype=H.dtype, device=H.device)
    tried: list[float] = []
    while not tried or damping <= 1:
        factor, info = torch.linalg.cholesky_ex(H + damping * scale * identity)
        if not info.any():
            return factor, damping
        tried.append(damping)
        damping = 10 * damping or 1e-8
    listed = ", ".join(f"{d:.3g}" for d in tried)
    raise NotPositiveDefiniteError(
        f"{name} is not positive definite: Cholesky failed with damping {listed}, "
        f"relative to the mean of its diagonal, {scale.mean().item():.3g}",
        tuple(tried),
    )


class CGState(NamedTuple):
    """An iteration of ``conjugate_gradient``."""

    x: Tensor  # (..., n) iterate
    residual: Tensor  # largest ||r_i|| / ||b_i|| over the rows
    r: Tensor  # (..., n) b - A x on the support, by recurrence


def conjugate_gradient(
    matvec: Matvec,
    b: Any,
    x0: Any = None,
    *,
    mask: Any = None,
    preconditioner: Any = None,
) -> Iterator[CGState]:
    r"""Solve :math:`A x_i = b_i` for all rows at once, A symmetric positive definite, alpha and beta by row.

    With a mask, row i solves :math:`A_{SS} x_S = b_S` on its own support S and is 0 elsewhere. The solution
    is reached after n iterations but for rounding; rows that have arrived stay where they are. Where A is
    singular, a row also stays once the curvature along p is rounding error, :math:`\langle p, A p \rangle \le
    \epsilon \|A\| \|p\|^2`: any longer and it would drift off in the null space. The largest
    :math:`\langle p, A p \rangle / \|p\|^2` so far, of all rows, stands for :math:`\|A\|`; with a preconditioner M,
    :math:`\|p\|^2` is :math:`\langle p, M^{-1} p \rangle`.

    Args:
        matvec: (..., n) -> (..., n), A applied to every row; for a matrix, ``lambda x: x @ A``.
        b: (..., n), right-hand sides in rows.
        x0: start, like b; not modified. None is zero.
        mask: bool, broadcasts to b; the supports.
        preconditioner: positive, broadcasts to b; stands for the inverse of A as ``1/diag(A)`` does. Or a function
            of rows with a method ``inverse``, like ``NystromPreconditioner``; then there is no mask.

    The residual is the largest ``||b_i - A x_i|| / ||b_i||`` over the rows (not divided where ``b_i`` is 0).

    Reference: Hestenes and Stiefel (1952).

    Example:
        >>> import optsci
        >>> A = torch.tensor([[2.0, 1.0], [1.0, 3.0]])
        >>> optsci.solve(conjugate_gradient(lambda x: x @ A, [[3.0, 4.0], [0.0, 0.0]])).x.round(decimals=4)
        tensor([[1., 1.],
                [0., 0.]])
    """
    if not callable(matvec):
        raise TypeError(f"matvec must be a function such as `lambda x: x @ A`, not {type(matvec).__name__}")
    b = as_tensor(b, "b")
    x0 = torch.zeros_like(b) if x0 is None else as_tensor(x0, "x0", like=b)
    if x0.shape != b.shape:
        raise ValueError(f"x0 must have the shape {tuple(b.shape)} of b, not {tuple(x0.shape)}")
    if mask is not None:
        mask = mask if isinstance(mask, Tensor) else torch.tensor(mask, device=b.device)
        if mask.dtype is not torch.bool:
            raise TypeError(f"mask must be bool, not {mask.dtype}")
        require_fit(mask, b, "mask", of="b")
        mask = mask.to(b.dtype)  # once, not in every product
    if callable(preconditioner):
        if mask is not None:
            raise ValueError("mask must be None with a preconditioner that is a function: it would leave the support")
    elif preconditioner is not None:
        preconditioner = as_tensor(preconditioner, "preconditioner", like=b)
        require_fit(preconditioner, b, "preconditioner", of="b")

    def keep(v: Tensor) -> Tensor:
        return v if mask is None else v * mask

    def precondition(r: Tensor) -> Tensor:
        if callable(preconditioner):
            return preconditioner(r)
        return r if preconditioner is None else r * preconditioner

    def square(p: Tensor) -> Tensor:
        if callable(preconditioner):
            return _inner(p, preconditioner.inverse(p))
        return _inner(p, p if preconditioner is None else p / preconditioner)

    def iterate(x: Tensor) -> Iterator[CGState]:
        norm = keep(b).norm(dim=-1)
        norm = torch.where(norm > 0, norm, 1.0)
        r = keep(b - matvec(x))
        p = z = precondition(r)
        rho = _inner(r, z)
        largest, moving = b.new_zeros(()), torch.ones_like(rho, dtype=torch.bool)
        while True:
            q = keep(matvec(p))
            curvature, length = _inner(p, q), square(p)
            largest = torch.maximum(largest, _ratio(curvature, length).detach().max())
            moving = moving & (curvature > torch.finfo(b.dtype).eps * largest * length)
            alpha = torch.where(moving, _ratio(rho, curvature), 0.0)
            x = x + alpha * p
            r = r - alpha * q
            z = precondition(r)
            rho, rho_old = _inner(r, z), rho
            p = z + _ratio(rho, rho_old) * p
            yield CGState(x, (r.norm(dim=-1) / norm).max(), r)

    return iterate(keep(x0))


def largest_eigenvalue(H: Any) -> float:
    """Largest eigenvalue of H (n, n), symmetric positive semidefinite: a Lipschitz constant.

    Exact up to n = 1024; above that the upper estimate of ``lanczos_bound``. Half precision is computed in float32.

    Example:
        >>> largest_eigenvalue([[2.0, 0.0], [0.0, 3.0]])
        3.0
    """
    H = as_tensor(H, "H").detach()
    if H.ndim != 2 or H.shape[0] != H.shape[1] or H.numel() == 0:
        raise ValueError(f"H must be a square matrix, not of shape {tuple(H.shape)}")
    if not H.isfinite().all():
        raise ValueError("H holds NaN or infinite entries")
    require_symmetric(H, "H")
    H = H.to(torch.promote_types(H.dtype, torch.float32))
    if H.shape[0] <= 1024:
        return torch.linalg.eigvalsh(H)[-1].item()
    return lanczos_bound(lambda v: H @ v, H[0])


def require_symmetric(H: Tensor, name: str) -> None:
    """Refuse a square matrix that differs from its transpose by more than rounding.

    Example:
        >>> require_symmetric(torch.tensor([[1.0, 2.0], [0.0, 1.0]]), "H")
        Traceback (most recent call last):
        ValueError: H must be symmetric, got entries that differ from their mirror by up to 2
    """
    asymmetry = float((H - H.mT).detach().abs().max())
    if asymmetry > 100 * torch.finfo(H.dtype).eps * float(H.detach().abs().max()):
        raise ValueError(f"{name} must be symmetric, got entries that differ from their mirror by up to {asymmetry:g}")


def lanczos_bound(matvec: Matvec, like: Tensor, *, steps: int = 100) -> float:
    r"""1.01 times the largest Ritz value of a symmetric positive semidefinite operator.

    The largest Ritz value of k Lanczos steps is at most the largest eigenvalue. Whatever the spectrum, it is
    smaller by more than a fraction :math:`\varepsilon` for at most
    :math:`1.65 \sqrt n \, e^{-(2k - 1)\sqrt{\varepsilon}}` of all starts: with 100 steps and n up to 50 000
    the margin fails for one start in a million. The start is random, and always the same.

    Args:
        matvec: (n,) -> (n,).
        like: (n,), of the length, dtype and device that the operator takes.
        steps: products with the operator; the basis is kept orthogonal in full.

    Reference: Kuczyński and Woźniakowski (1992).

    Example:
        >>> round(lanczos_bound(lambda v: 2 * v, torch.zeros(5)), 4)
        2.02
    """
    n, steps = like.numel(), min(steps, like.numel())
    start = torch.randn(n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    v = _unit(start).to(like)
    basis = like.new_zeros(steps, n)
    T = like.new_zeros(steps + 1, steps + 1)
    for k in range(steps):
        basis[k] = v
        Av = matvec(v).detach()
        T[k, k] = Av @ v
        w = Av - basis.mT @ (basis @ Av)
        T[k, k + 1] = T[k + 1, k] = w.norm()
        exhausted = w.norm() <= 100 * torch.finfo(w.dtype).eps * Av.norm()  # w is rounding error
        w = _unit(w)
        w = _unit(w - basis.mT @ (basis @ w))  # orthogonal to working precision, however small w was
        v = torch.where(exhausted, 0.0, w)
    return 1.01 * torch.linalg.eigvalsh(T[:steps, :steps])[-1].item()


def _unit(v: Tensor) -> Tensor:
    return v / v.norm().clamp(min=torch.finfo(v.dtype).tiny)


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=-1, keepdim=True)


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """Return a/b where b > 0, else 0: a row that has converged would give 0/0, also in the backward pass."""
    positive = b > 0
    return torch.where(positive, a / torch.where(positive, b, 1.0), 0.0)
