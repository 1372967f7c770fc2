r"""The step of a damped Gauss-Newton method, by the smaller of two systems of the same solution.

.. math::

   d = (J^\top J + \mu I)^{-1} J^\top r = J^\top (J J^\top + \mu I)^{-1} r, \qquad J \in \mathbb R^{N \times P}

A matrix of order min(N, P) is factored by Cholesky; where that fails, for :math:`\mu` is below the rounding errors of
the matrix, :math:`\mu` is multiplied by 10 until it does not.  Above `LARGEST_FACTORED` no such matrix is formed:
conjugate gradients on products with J, preconditioned by a randomised Nyström approximation.

Sources: Nocedal and Wright, Numerical Optimization (2nd ed., 2006), section 10.3; Frangella, Tropp and Udell, SIAM J.
Matrix Anal. Appl. 44 (2023) 718 (preconditioner).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from optsci.iteration import solve
from optsci.linalg import conjugate_gradient
from optsci.nystrom_approximation import NystromPreconditioner, nystrom

LARGEST_FACTORED = 5000  # order of a matrix that is formed and factored
SKETCH = 300  # columns of the sketch beyond that order
CG_TOLERANCE, CG_ITERATIONS = 1e-8, 200


@dataclass(frozen=True, eq=False)
class DampedSteps:
    """Steps d(mu) for one J and many dampings, all from one product J J' or J' J.

    Args:
        J: (N, P).
        largest: order of a matrix that is still factored.
        seed: of the sketch beyond it.

    >>> J, r = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), torch.tensor([2.0, 3.0, 1.0])
    >>> DampedSteps(J).solve(r, 0.0)
    (tensor([1., 3.]), 0.0)
    >>> DampedSteps(J).solve(r, 1.0)[0]
    tensor([0.8000, 1.5000])
    """

    J: Tensor
    largest: int = LARGEST_FACTORED
    seed: int = 0

    @cached_property
    def by_rows(self) -> bool:
        """Whether the system is J J' + mu, as there are fewer rows than parameters."""
        return self.J.shape[0] <= self.J.shape[1]

    @cached_property
    def gram(self) -> Tensor:
        """J J' or J' J, whichever is smaller."""
        return self.J @ self.J.mT if self.by_rows else self.J.mT @ self.J

    @cached_property
    def scale(self) -> float:
        """The mean eigenvalue of `gram`: the natural unit of mu."""
        return float(self.J.square().sum()) / min(self.J.shape)

    def solve(self, r: Tensor, mu: float) -> tuple[Tensor, float]:
        """Return d (P,) for residuals (N,), and the damping that it took, mu or more."""
        rows = r if self.by_rows else self.J.mT @ r
        if min(self.J.shape) > self.largest:
            mu = max(mu, torch.finfo(r.dtype).eps * self.scale)
            solution = self._iterated(rows, mu)
        else:
            factor, mu = self._factored(mu)
            solution = torch.cholesky_solve(rows[:, None], factor)[:, 0]
        return (self.J.mT @ solution if self.by_rows else solution), mu

    def _factored(self, mu: float) -> tuple[Tensor, float]:
        diagonal = self.gram.diagonal()
        while True:
            matrix = self.gram.clone()
            matrix.diagonal().copy_(diagonal + mu)
            factor, info = torch.linalg.cholesky_ex(matrix)
            if not info:
                return factor, mu
            if not mu <= self.scale * len(diagonal):  # even the trace was too little
                raise ValueError(f"the Jacobian holds NaN or infinite entries: no damping helps, {mu:g} was the last")
            mu = max(10 * mu, torch.finfo(matrix.dtype).eps * self.scale, torch.finfo(matrix.dtype).tiny)

    def _iterated(self, rows: Tensor, mu: float) -> Tensor:
        product = Gram(self.J if self.by_rows else self.J.mT)
        sketch = nystrom(
            product, min(SKETCH, len(rows)), generator=torch.Generator(self.J.device).manual_seed(self.seed)
        )
        return solve(
            conjugate_gradient(
                lambda x: product.rows(x) + mu * x, rows, preconditioner=NystromPreconditioner(sketch, mu)
            ),
            tol=CG_TOLERANCE,
            max_iter=CG_ITERATIONS,
        ).x


@dataclass(frozen=True, eq=False)
class Gram:
    """A A' as an operator on columns, by two products."""

    like: Tensor
    """A, (n, k), which also tells `nystrom` the precision"""

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.like), len(self.like)

    @property
    def T(self) -> Gram:
        return self

    def __call__(self, x: Tensor) -> Tensor:
        return self.like @ (self.like.mT @ x)

    def rows(self, x: Tensor) -> Tensor:
        return self(x[..., None])[..., 0]

    def norm(self) -> float:
        return float(self.like.norm()) ** 2
