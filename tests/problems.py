"""Problems with known solutions, for every solver that applies to their form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import optsci


@dataclass(frozen=True, eq=False)
class Composite:
    """min f + g with its solution."""

    f: Any
    g: Any
    x: Tensor  # x*
    data: tuple[Tensor, ...] = ()  # what f was made of

    @property
    def optimum(self) -> float:
        return self.objective(self.x)

    @property
    def start(self) -> Tensor:
        return torch.zeros_like(self.x)

    def objective(self, x: Tensor) -> float:
        return (self.f(x) + self.g(x)).item()

    def scale(self) -> float:
        """L R^2 from `start`."""
        return self.f.lipschitz() * self.x.square().sum().item()


def lasso(
    m: int = 200,
    n: int = 1000,
    nonzeros: int = 20,
    *,
    weight: float = 0.3,
    seed: int = 0,
    dtype=torch.float64,
) -> Composite:
    """Return a lasso with x* known exactly: Nesterov, Math. Program. 140 (2013) 125, section 6.

    Columns are scaled until the residual r = b - A x* satisfies A^T r in weight * subdifferential of |x*|_1:
    exactly on the support, with room to spare elsewhere, so that x* is the only solution.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    A, r = 2 * uniform(m, n) - 1, uniform(m)
    r = r / r.norm()
    correlation = A.T @ r
    support = correlation.abs().argsort(descending=True)[:nonzeros]
    wanted = (weight * uniform(n)).minimum(correlation.abs())
    wanted[support] = weight
    A = A * (wanted / correlation.abs())
    x = torch.zeros(n, dtype=torch.float64)
    x[support] = correlation[support].sign() * (0.1 + uniform(nonzeros))
    A, b, x = A.to(dtype), (A @ x + r).to(dtype), x.to(dtype)
    return Composite(optsci.LeastSquares(A, b), optsci.L1(weight), x, (A, b))


def ridge(n: int = 50, *, condition: float = 1e3, seed: int = 0) -> Composite:
    """Return a strongly convex quadratic, mu = 1 and L = condition, with g = 0 and x* known."""
    generator = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))
    eigenvalues = torch.logspace(0, torch.tensor(condition).log10().item(), n, dtype=torch.float64)
    Q = (basis * eigenvalues) @ basis.T
    Q = (Q + Q.T) / 2
    x = torch.randn(n, generator=generator, dtype=torch.float64)
    return Composite(optsci.Quadratic(Q, Q @ x), optsci.L1(0.0), x, (Q,))


def spd(n: int, *, condition: float = 100.0, seed: int = 0) -> Tensor:
    """Return a symmetric positive definite matrix with eigenvalues from 1 to `condition`."""
    return ridge(n, condition=condition, seed=seed).data[0]
