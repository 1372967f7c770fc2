r"""Losses: weighted squares of linear conditions on u at points.

.. math:: J(u) = \sum_t \lambda_t \frac1{N_t} \sum_{i=1}^{N_t} w_i\,
   \bigl( \ell_i[u](x_i) + \kappa_i u(x_i) - y_i \bigr)^2, \qquad
   \ell[u] = \tfrac12\, \sigma\sigma^\top : \nabla^2 u + b \cdot \nabla u

The residual of an elliptic problem is such a condition, and so are Dirichlet, Neumann and Robin data and labels.  Every
term is a mean, so that the weights of terms compare whatever their numbers of points.  A loss is made by `Residual`,
`Boundary`, `Data`, …, added and multiplied: ``Residual(problem, x) + 10 * Boundary(problem, 400)``.  Its precision and
device are those of its points, and u has to share them.

Where u is an `MLP`, alone or inside of `BoundaryAnsatz` or behind features, the gradient of a term is found together
with its value, by formulas (`optsci.pinn.fused`); else by automatic differentiation of `Term.residuals`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from optsci._tensor import as_finite, as_tensor, nonnegative_scalar, require_finite, require_nonnegative

from .derivatives import Solution, generator
from .domain_protocol import points_of
from .fused import Condition, SumOfSquares, condition, weights_of
from .networks import MLP
from .problems import Problem, finite_values


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
        require_match(u, self.points)
        x = self.points
        value, second = (u(x), 0.0) if self.drift is None else generator(u, x, self.sigma, self.drift)
        found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        if found != (len(x), 1):
            raise ValueError(f"u must return ({len(x)}, 1) at points {tuple(x.shape)}, got {found}")
        return (self.weight.sqrt() * (second + self.zeroth * value - self.target))[:, 0]

    def value(self, u: Solution) -> Tensor:
        """Return the sum of the squared residuals, 0-d; with gradients enabled, its gradient is found along with it."""
        found = self.on_network(u) if torch.is_grad_enabled() else None
        if found is None:
            return self.residuals(u).square().sum()
        network, whole = found
        return SumOfSquares.apply(lambda: self.residuals(u).square().sum(), network, whole, *weights_of(network))

    def on_network(self, u: Solution) -> tuple[MLP, Condition] | None:
        """Return the network in u and the conditions on it; None where u is something else than `MLP` and formulas."""
        require_match(u, self.points)
        return condition(u, self.points, self.sigma, self.drift, self.zeroth, self.target, self.weight)

    def part(self, j: slice) -> Rows:
        """Return the rows of some points alone."""
        drift = None if self.drift is None else self.drift[j]
        return Rows(self.points[j], self.sigma[:, j], drift, self.zeroth[j], self.target[j], self.weight[j])

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
        return [term.value(u) if isinstance(term, Rows) else term.residuals(u).square().sum() for term in self.terms]

    def residuals(self, u: Any) -> Tensor:
        """Return r(u), (N,), with ``loss(u) = r.square().sum()``."""
        return torch.cat([term.residuals(u) for term in self.terms])

    def __add__(self, other: Loss) -> Loss:
        return Loss(self.terms + other.terms) if isinstance(other, Loss) else NotImplemented

    def __mul__(self, weight: float) -> Loss:
        if isinstance(weight, Loss):
            return NotImplemented
        if isinstance(weight, Tensor) and weight.requires_grad:
            raise ValueError("weight must be a constant: trained weights multiply what `loss.values(u)` returns")
        factor = float(nonnegative_scalar(weight, "weight"))
        return Loss(tuple(term.scaled(factor) for term in self.terms))

    __rmul__ = __mul__
    __array_ufunc__ = None  # an array on the left is refused as one on the right is


def Residual(
    problem: Problem, points: Any, weight: Any = 1.0, *, dtype: torch.dtype = torch.float64, device: Any = None
) -> Loss:
    r"""The mean square of :math:`\tfrac12 a : \nabla^2 u + b \cdot \nabla u - c u + f`.

    Args:
        problem: see :class:`Problem`.
        points: (n, d), or a number of them, drawn from the domain with seed 0.
        weight: of every point, (n,) or a number.
        dtype: of points that are drawn.
        device: of points that are drawn.

    Raises:
        ValueError: a point lies outside of the domain, or a coefficient is not finite at one, or the diffusion not
            positive definite.

    >>> from optsci.pinn import Ball, Poisson
    >>> problem = Poisson(Ball(dim=2), source=4.0)
    >>> Residual(problem, 100)(lambda x: 1 - x.square().sum(1, keepdim=True)).item() < 1e-20
    True
    """
    require_problem(problem)
    if isinstance(points, Integral):
        x = problem.sample(int(points), 0).to(device, dtype)
    else:
        x = finite_points(points, problem.domain.dim)
        require_inside(problem, x)
    factor, failed = torch.linalg.cholesky_ex(finite_values(problem, "diffusion", x))  # (n, d, d)
    if failed.any():
        raise ValueError(f"diffusion must be positive definite, is not at the point {x[failed != 0][0].tolist()}")
    return Loss(
        (
            Rows(
                x,
                factor.permute(2, 0, 1).contiguous(),
                finite_values(problem, "drift", x),
                -finite_values(problem, "killing", x),
                -finite_values(problem, "source", x),
                weights(weight, x),
            ),
        )
    )


def Boundary(
    problem: Problem, points: Any, weight: Any = 1.0, *, dtype: torch.dtype = torch.float64, device: Any = None
) -> Loss:
    """The mean square of u - g at points of the boundary, (n, d), or a number of them, drawn with seed 0.

    Points farther from the boundary than a hundredth of the diameter are refused; those of walls are not on it.
    """
    require_problem(problem)
    if isinstance(points, Integral):
        points = problem.sample_boundary(int(points), 0)[0].to(device, dtype)
    x = finite_points(points, problem.domain.dim)
    require_on_boundary(problem, x)
    return Data(x, finite_values(problem, "boundary", x), weight=weight)


def Data(points: Any, values: Any, stderr: Any = None, weight: Any = 1.0, *, floor: float = 0.0) -> Loss:
    r"""The mean square of u - y at points where values are known, with errors or without.

    Args:
        points: (n, d).
        values: y, (n, 1) or (n,), or a number.
        stderr: standard errors, (n, 1); a point weighs :math:`1 / (s_i^2 + \delta^2)`, normalised to mean 1.
        weight: further weights, (n,) or a number.
        floor: :math:`\delta`; unless given, the median of the standard errors, and their mean where that is 0: no point
            takes all the weight.
    """
    x = finite_points(points)
    y, w = column_of(values, "values", x), weights(weight, x)
    if stderr is not None:
        s = column_of(stderr, "stderr", x)
        if not (s >= 0).all():
            raise ValueError(f"stderr must be at least 0, got {float(s.min())}")
        require_nonnegative(floor, "floor")
        delta = floor or float(s.median()) or float(s.mean())
        accuracy = 1 / (s.square() + delta**2) if delta > 0 else torch.ones_like(s)
        w = w * accuracy / accuracy.mean()
    return Loss((Rows(x, x.new_zeros((0, *x.shape)), None, torch.ones_like(y), y, w),))


def Neumann(points: Any, normals: Any, values: Any = 0.0, weight: Any = 1.0) -> Loss:
    r"""The mean square of :math:`\nu \cdot \nabla u - y` at points with directions :math:`\nu`.

    With values 0 it is the condition at a reflecting wall, whichever way the normals point.

    Args:
        points: (n, d).
        normals: (n, d), for example those that ``domain.sample_boundary`` returns, which point inwards.
        values: y, (n, 1) or (n,), or a number.
        weight: (n,) or a number.

    >>> from optsci.pinn import Ball
    >>> Neumann(*Ball(dim=2).sample_boundary(9, 0), -2.0)(lambda x: x.square().sum(1, keepdim=True)).item() < 1e-20
    True
    """
    return Robin(points, normals, 0.0, values, weight)


def Robin(points: Any, normals: Any, alpha: Any, values: Any = 0.0, weight: Any = 1.0) -> Loss:
    r"""The mean square of :math:`\nu \cdot \nabla u + \alpha u - y`; arguments as of `Neumann`, alpha as the values.

    The usual condition has the outward normal, minus that of ``domain.sample_boundary``, and :math:`\alpha > 0`.
    """
    x = finite_points(points)
    along = as_finite(normals, "normals", like=x)
    if along.shape != x.shape:
        raise ValueError(f"normals must have the shape {tuple(x.shape)} of the points, got {tuple(along.shape)}")
    kappa, y = column_of(alpha, "alpha", x), column_of(values, "values", x)
    return Loss((Rows(x, x.new_zeros((0, *x.shape)), along, kappa, y, weights(weight, x)),))


def Periodic(points: Any, images: Any, weight: float = 1.0) -> Loss:
    """The mean square of u(points) - u(images), both (n, d), the images where the points are found again.

    `PeriodicFeatures` make u periodic with all its derivatives.
    """
    x = finite_points(points)
    y = finite_points(images, x.shape[1])
    if y.shape != x.shape:
        raise ValueError(f"images must have the shape {tuple(x.shape)} of the points, got {tuple(y.shape)}")
    return weight * Loss((Squares(lambda u: u(x) - u(y)),))


def sketched(loss: Loss, columns: int, seed: int) -> Loss:
    r"""The loss with :math:`\sigma V` for :math:`\sigma`, where V has few columns of random signs, scaled.

    The residuals keep their expected values (Hutchinson's estimator of a trace); their squares grow by the variance.
    For many dimensions, with other signs in every step.

    Args:
        loss: terms other than `Rows` stay as they are.
        columns: of V, with entries :math:`\pm 1 / \sqrt{\text{columns}}`; terms that have no more stay as they are.
        seed: of V, drawn for every point.
    """
    random = torch.Generator().manual_seed(seed)

    def sketch(term: Term) -> Term:
        if not isinstance(term, Rows) or len(term.sigma) <= columns:
            return term
        m, n, _ = term.sigma.shape
        signs = 2.0 * torch.randint(2, (n, m, columns), generator=random) - 1
        return replace(term, sigma=torch.einsum("mnd,nmk->knd", term.sigma, signs.to(term.sigma) / columns**0.5))

    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    return Loss(tuple(map(sketch, loss.terms)))


def weights(weight: Any, x: Tensor) -> Tensor:
    """Return w_i / n, (n, 1), of a number or n of them."""
    w = as_tensor(weight, "weight", like=x)
    if w.dim() and w.numel() != len(x):
        raise ValueError(f"weight must be a number or {len(x)} of them, one for every point, got {tuple(w.shape)}")
    if not ((w >= 0) & w.isfinite()).all():
        raise ValueError(f"weight must be finite and at least 0, got {float(w.min())}")
    return w.reshape(-1, 1).expand(len(x), 1) / len(x)


def finite_points(points: Any, dim: int | None = None) -> Tensor:
    """Return points (n, d), at least one and all finite."""
    x = points_of(points, max((1, *np.shape(points)[-1:])) if dim is None else dim)
    if len(x) == 0:
        raise ValueError("points must not be empty")
    require_finite(x, "points")
    return x


def column_of(values: Any, name: str, x: Tensor) -> Tensor:
    """Return finite values (n, 1): a number, n of them, or a column."""
    y = as_finite(values, name, like=x)
    if y.dim() and y.shape not in ((len(x),), (len(x), 1)):
        raise ValueError(f"{name} must be a number, ({len(x)},) or ({len(x)}, 1), got {tuple(y.shape)}")
    return y.reshape(-1, 1).expand(len(x), 1)


def require_inside(problem: Problem, x: Tensor) -> None:
    """Refuse points outside of the domain; those on the boundary, up to rounding, belong to it."""
    rounding = 16 * torch.finfo(x.dtype).eps * max(1.0, float(x.abs().max()))
    outside = ~(problem.region.distance(x)[:, 0] >= -rounding)
    if outside.any():
        raise ValueError(
            f"points must lie in the domain, {int(outside.sum())} of {len(x)} do not: {x[outside][0].tolist()}"
        )


def require_on_boundary(problem: Problem, x: Tensor) -> None:
    """Refuse points that were not meant for the boundary; chords of a curved one are near enough."""
    near = 0.01 * math.dist(problem.region.lower, problem.region.upper)
    away = ~(problem.domain.distance(x)[:, 0].abs() <= near)
    if away.any():
        raise ValueError(
            f"points must lie on the boundary, {int(away.sum())} of {len(x)} do not: {x[away][0].tolist()}"
        )


def require_problem(problem: Any) -> None:
    """Refuse a domain, or points, in its place."""
    if not isinstance(problem, Problem):
        raise TypeError(f"problem must be a Problem, such as Poisson(Ball(dim=2)), got {type(problem).__name__}")


def require_match(u: Any, x: Tensor) -> None:
    """Refuse a module of another precision or on another device than the points."""
    p = next(u.parameters(), None) if isinstance(u, nn.Module) else None
    if p is not None and (p.dtype, p.device) != (x.dtype, x.device):
        raise ValueError(
            f"u is {p.dtype} on {p.device}, the points of the loss are {x.dtype} on {x.device}: convert one"
        )
