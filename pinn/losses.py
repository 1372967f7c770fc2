r"""Losses: weighted squares of linear conditions on u at points.

.. math:: J(u) = \sum_t \lambda_t \frac1{N_t} \sum_{i=1}^{N_t} w_i\,
   \bigl( \ell_i[u](x_i) + \kappa_i u(x_i) - y_i \bigr)^2, \qquad
   \ell[u] = \tfrac12\, \sigma\sigma^\top : \nabla^2 u + b \cdot \nabla u

The residual of an elliptic problem is such a condition, and so are Dirichlet, Neumann and Robin data and labels.  Every
term is a mean, so that the weights of terms compare whatever their numbers of points.  A loss is made by `Residual`,
`Boundary`, `Data`, …, added and multiplied: ``Residual(problem, x) + 10 * Boundary(problem, 400)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from optsci._tensor import as_tensor

from .derivatives import Solution, generator
from .domain_protocol import points_of
from .problems import Problem


class Term(Protocol):
    """A sum of squares, of a function of u."""

    def residuals(self, u: Any) -> Tensor:
        """Return (n,), scaled such that the term is the sum of their squares."""
        ...

    def scaled(self, weight: float) -> Term:
        """Return the term times a weight."""
        ...


@dataclass(frozen=True, eq=False)
class Rows:
    """Conditions l[u] + kappa u = y at n points, weighted; see the formula of this module."""

    points: Tensor
    """(n, d)"""
    sigma: Tensor
    """(m, n, d), by columns; m = 0 where u is not differentiated twice"""
    drift: Tensor | None
    """b, (n, d); None where u is not differentiated at all"""
    zeroth: Tensor
    """kappa, (n, 1)"""
    target: Tensor
    """y, (n, 1)"""
    weight: Tensor
    """lambda w_i / n, (n, 1)"""

    def residuals(self, u: Solution) -> Tensor:
        """Return (n,), scaled such that the term is the sum of their squares."""
        if self.drift is None:
            applied = self.zeroth * u(self.points)
        else:
            value, second = generator(u, self.points, self.sigma, self.drift)
            applied = second + self.zeroth * value
        return (self.weight.sqrt() * (applied - self.target))[:, 0]

    def scaled(self, weight: float) -> Rows:
        return replace(self, weight=weight * self.weight)


@dataclass(frozen=True, eq=False)
class Squares:
    """Mean squares of any function of u, for conditions that are not linear."""

    function: Callable[[Any], Tensor]
    """u -> (n,) or (n, 1)"""
    weight: float = 1.0

    def residuals(self, u: Any) -> Tensor:
        """Return (n,), scaled such that the term is the sum of their squares."""
        value = self.function(u).flatten()
        return (self.weight / len(value)) ** 0.5 * value

    def scaled(self, weight: float) -> Squares:
        return replace(self, weight=weight * self.weight)


@dataclass(frozen=True, eq=False)
class Loss:
    """A sum of terms: a function of u, zero at the solution."""

    terms: tuple[Term, ...]

    def __call__(self, u: Any) -> Tensor:
        """Return the loss, 0-d."""
        return torch.stack(self.values(u)).sum()

    def values(self, u: Any) -> list[Tensor]:
        """Return every term, weighted, as 0-d tensors."""
        return [term.residuals(u).square().sum() for term in self.terms]

    def residuals(self, u: Any) -> Tensor:
        """Return r(u), (N,), with ``loss(u) = r.square().sum()``."""
        return torch.cat([term.residuals(u) for term in self.terms])

    def __add__(self, other: Loss) -> Loss:
        return Loss(self.terms + other.terms) if isinstance(other, Loss) else NotImplemented

    def __mul__(self, weight: float) -> Loss:
        if not weight >= 0:
            raise ValueError(f"the weight of a loss must be at least 0, got {weight}")
        return Loss(tuple(term.scaled(float(weight)) for term in self.terms))

    __rmul__ = __mul__


def Residual(problem: Problem, points: Any, weight: Any = 1.0) -> Loss:
    r"""The mean square of :math:`\tfrac12 a : \nabla^2 u + b \cdot \nabla u - c u + f`.

    Args:
        problem: see :class:`Problem`.
        points: (n, d), or a number of them, drawn from the domain with seed 0.
        weight: of every point, (n,) or a number.

    >>> from optsci.pinn import Ball, Poisson
    >>> problem = Poisson(Ball(dim=2), source=4.0)
    >>> Residual(problem, 100)(lambda x: 1 - x.square().sum(1, keepdim=True)).item() < 1e-20
    True
    """
    x = problem.domain.sample(points, 0) if isinstance(points, int) else points_of(points, problem.domain.dim)
    factor = torch.linalg.cholesky(problem.values("diffusion", x))  # (n, d, d)
    return Loss(
        (
            Rows(
                x,
                factor.permute(2, 0, 1).contiguous(),
                problem.values("drift", x),
                -problem.values("killing", x),
                -problem.values("source", x),
                weights(weight, x),
            ),
        )
    )


def Boundary(problem: Problem, points: Any, weight: Any = 1.0) -> Loss:
    """The mean square of u - g at points of the boundary, (n, d), or a number of them, drawn with seed 0."""
    x = problem.domain.sample_boundary(points, 0)[0] if isinstance(points, int) else points
    x = points_of(x, problem.domain.dim)
    return Data(x, problem.values("boundary", x), weight=weight)


def Data(points: Any, values: Any, stderr: Any = None, weight: Any = 1.0, *, floor: float = 0.0) -> Loss:
    r"""The mean square of u - y at points where values are known, with errors or without.

    Args:
        points: (n, d).
        values: y, (n, 1).
        stderr: standard errors, (n, 1); a point weighs :math:`1 / (s_i^2 + \delta^2)`, normalised to mean 1.
        weight: further weights, (n,) or a number.
        floor: :math:`\delta`; unless given, the median of the standard errors: no point takes all the weight.
    """
    x = as_tensor(points, "points")
    x = points_of(x, x.shape[-1])
    y = as_tensor(values, "values", like=x).reshape(len(x), 1)
    w = weights(weight, x)
    if stderr is not None:
        s = as_tensor(stderr, "stderr", like=x).reshape(len(x), 1)
        delta = floor or float(s.median())
        accuracy = 1 / (s.square() + delta**2) if delta > 0 else torch.ones_like(s)
        w = w * accuracy / accuracy.mean()
    return Loss((Rows(x, x.new_zeros((0, *x.shape)), None, torch.ones_like(y), y, w),))


def weights(weight: Any, x: Tensor) -> Tensor:
    """Return w_i / n, (n, 1), of a number or n of them."""
    w = as_tensor(weight, "weight", like=x)
    if w.dim() and w.numel() != len(x):
        raise ValueError(f"weight must be a number or {len(x)} of them, one for every point, got {tuple(w.shape)}")
    if not (w >= 0).all():
        raise ValueError(f"weight must be at least 0, got {float(w.min())}")
    return w.reshape(-1, 1).expand(len(x), 1) / len(x)
