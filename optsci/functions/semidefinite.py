r"""Symmetric positive semidefinite matrices: the cone and its barrier.

.. math:: g(X) = -w \log \det X, \qquad \{X : X \succeq 0\}

Of ``x`` the symmetric part is read; what returns is symmetric. A matrix is the last two dimensions; the ones
before them are a batch, whose values are summed.

Reference: A. S. Lewis, Convex Analysis on the Hermitian Matrices, SIAM J. Optim. 6 (1996) 164-177.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from optsci._tensor import as_scalar, require_positive, require_step
from optsci.functions.calculus import scaled
from optsci.functions.indicators import _indicator
from optsci.functions.spectral import _symmetric, eigen_prox, eigenvalues, map_eigenvalues, spectral_slack


@dataclass(frozen=True, eq=False)
class NegativeLogDet:
    r"""``-weight * log det x`` of positive definite matrices, infinite elsewhere.

    .. math:: \operatorname{prox}_{s g}(x) = Q \operatorname{diag}
              \Bigl(\tfrac12 \bigl(w_i + \sqrt{w_i^2 + 4 s l}\bigr)\Bigr) \, Q^T, \qquad \nabla g(x) = -l \, x^{-1}

    for a weight ``l`` and the eigenvalues ``w_i``.

    Args:
        weight: ``l``, positive; a float or a 0-d tensor.

    Raises:
        ValueError: ``weight`` is not a positive, finite number; ``x`` is not a square matrix; or ``step``
            varies within a matrix.

    Reference: J. Friedman, T. Hastie and R. Tibshirani, Sparse Inverse Covariance Estimation with the Graphical
    Lasso, Biostatistics 9 (2008) 432-441, whose problem it enters.

    >>> g = NegativeLogDet()
    >>> g(2 * torch.eye(2)), g(-torch.eye(2))
    (tensor(-1.3863), tensor(inf))
    >>> g.prox(torch.zeros(2, 2), 4.0)
    tensor([[2., 0.],
            [0., 2.]])
    """

    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        weight = as_scalar(self.weight, "weight")
        require_positive(weight, "weight")
        object.__setattr__(self, "weight", weight)

    def __call__(self, x: Tensor) -> Tensor:
        w = eigenvalues(x)
        outside = w <= 0
        logs = torch.where(outside, 1, w).log().sum()
        return (-self.weight * logs).masked_fill(outside.any(), torch.inf)

    def grad(self, x: Tensor) -> Tensor:
        """``-weight * x^-1``, where ``x`` is positive definite."""
        return -self.weight * torch.linalg.inv_ex(_symmetric(x)).inverse

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Raises the eigenvalues above 0; ``step`` may differ from matrix to matrix."""
        return eigen_prox(lambda w, t: _positive_root(w, t * self.weight), x, step)

    __rmul__ = scaled


@dataclass(frozen=True)
class PSD:
    r"""Indicator of the positive semidefinite matrices.

    .. math:: \operatorname{prox}(x) = Q \operatorname{diag}(\max(w_i, 0)) \, Q^T

    Membership allows for the rounding of eigenvalues.

    Raises:
        ValueError: ``x`` is not a square matrix.

    Reference: N. J. Higham, Computing a Nearest Symmetric Positive Semidefinite Matrix, Linear Algebra Appl. 103
    (1988) 103-118.

    >>> PSD().prox(torch.tensor([[3.0, 0.0], [0.0, -4.0]]), 1.0)
    tensor([[3., 0.],
            [0., 0.]])
    """

    def __call__(self, x: Tensor) -> Tensor:
        w = eigenvalues(x)
        if w.numel() == 0:
            return x.new_zeros(())
        return _indicator((w >= -spectral_slack(x) * w.abs().amax(-1, keepdim=True)).all(), x)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection of the symmetric part, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        return map_eigenvalues(lambda w: w.clamp(min=0), x, lambda w: (w >= 0).all(-1))

    __rmul__ = scaled


def _positive_root(w: Tensor, t: float | Tensor) -> Tensor:
    """Positive root z of ``z - t/z = w``; for negative w without the difference that would cancel."""
    t = torch.as_tensor(t, dtype=w.dtype, device=w.device)
    total = w.abs() + torch.hypot(w, 2 * t.sqrt())
    return torch.where(w < 0, 2 * t / total, total / 2)
