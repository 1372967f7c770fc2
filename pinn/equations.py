r"""Equations that may couple several functions and be nonlinear, as losses.

.. math:: J(u) = \frac1n \sum_{i=1}^n w_i\, R\bigl(x_i,\, y, \nabla y, \Delta y,\, p, \nabla p, \Delta p, \dots\bigr)^2

R is linearised where the functions stand, point by point; what is left are linear conditions on each of them, whose
Jacobians are written out (`optsci.pinn.fused`):

.. math:: \mathrm dR = \sum_v \frac{\partial R}{\partial v}\, \mathrm dv + \frac{\partial R}{\partial \nabla v}
   \cdot \nabla \mathrm dv + \frac{\partial R}{\partial \Delta v}\, \Delta \mathrm dv, \qquad v \in \{y, p, \dots\}

So a system of equations is trained by `gauss_newton` at nearly the speed of a single linear one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .ansatz import jet_of
from .derivatives import Solution, start
from .fused import Condition, condition
from .losses import Loss, finite_points, require_match, weights
from .networks import MLP


class Field(NamedTuple):
    """What is known of one function at n points."""

    value: Tensor  # (n, 1)
    gradient: Tensor  # (n, d), with respect to all coordinates
    laplacian: Tensor  # (n, 1), over the coordinates that the equation names


class Fields(nn.Module):
    """Several functions as one u, each an attribute.

    >>> from optsci.pinn import MLP
    >>> u = Fields(y=MLP(2, [8], 1), p=MLP(2, [8], 1))
    >>> u.p(torch.zeros(3, 2, dtype=torch.float64)).shape
    torch.Size([3, 1])
    """

    def __init__(self, **functions: nn.Module) -> None:
        super().__init__()
        for name, function in functions.items():
            if not isinstance(function, nn.Module):
                raise TypeError(f"{name} must be a module, such as MLP(2, [8], 1), got {type(function).__name__}")
            setattr(self, name, function)


@dataclass(frozen=True, eq=False)
class Coupled:
    """Mean squares of an equation at n points; see the formula of this module."""

    points: Tensor
    """(n, d)"""
    fields: Callable[[Any], Sequence[Solution]]
    """u -> the functions in the equation"""
    residual: Callable[..., Tensor]
    """R: points and a `Field` for every function -> (n, 1) or (n,)"""
    axes: tuple[int, ...]
    """of the Laplacian"""
    weight: Tensor
    """lambda w_i / n, (n, 1)"""

    def residuals(self, u: Any) -> Tensor:
        """Return (n,), scaled such that the term is the sum of their squares."""
        return self.weighted([self.field(v) for v in self.functions(u)])

    def functions(self, u: Any) -> tuple[Solution, ...]:
        """Return the functions in the equation."""
        functions = tuple(self.fields(u))
        for v in functions:
            if not callable(v):
                raise TypeError(f"fields must return functions, as in lambda u: (u.y, u.p), got {type(v).__name__}")
            require_match(v, self.points)
        return functions

    def field(self, v: Solution) -> Field:
        """Return what the equation may ask of a function; a graph of its parameters, where that is enabled."""
        x, d = self.points, self.points.shape[1]
        unit = torch.eye(d, dtype=x.dtype, device=x.device)[:, None].expand(d, len(x), d)
        zero = torch.zeros_like(x)
        found = jet_of(v, start(x, 2**0.5 * unit[list(self.axes)], zero))
        slopes = dict(zip(self.axes, found.slopes / 2**0.5, strict=True))
        others = [i for i in range(d) if i not in slopes]
        if others:
            slopes.update(zip(others, jet_of(v, start(x, unit[others], zero)).slopes, strict=True))
        return Field(found.value, torch.cat([slopes[i] for i in range(d)], 1), found.second)

    def weighted(self, fields: Sequence[Field]) -> Tensor:
        """Return R of the fields, (n,), scaled."""
        r = self.residual(self.points, *fields)
        n = len(self.points)
        if not isinstance(r, Tensor) or r.shape not in ((n,), (n, 1)):
            found = tuple(r.shape) if isinstance(r, Tensor) else type(r).__name__
            raise ValueError(f"residual must return ({n}, 1) or ({n},), one number for every point, got {found}")
        return self.weight[:, 0].sqrt() * r.reshape(n)

    def linearised(self, u: Any) -> tuple[Tensor, list[tuple[MLP, Condition]]] | None:
        """Return the residuals (n,), and conditions on networks whose Jacobians add up to that of the residuals.

        None where a function is no `MLP` with fixed functions around it, or R has parameters itself.
        """
        functions = self.functions(u)
        with torch.no_grad():
            leaves = [Field(*(part.detach() for part in self.field(v))) for v in functions]
        flat = [part.requires_grad_() for field in leaves for part in field]
        with torch.enable_grad():
            r = self.weighted(leaves)
            if depends_on_others(r, flat):
                return None
            slopes = torch.autograd.grad(r.sum(), flat, allow_unused=True) if r.requires_grad else [None] * len(flat)
        x, d = self.points, self.points.shape[1]
        one, nothing = x.new_ones(len(x), 1), x.new_zeros(len(x), 1)
        columns = 2**0.5 * torch.eye(d, dtype=x.dtype, device=x.device)[list(self.axes)][:, None]
        conditions = []
        for v, of_value, of_gradient, of_laplacian in zip(
            functions, slopes[::3], slopes[1::3], slopes[2::3], strict=True
        ):
            sigma = columns.expand(-1, len(x), d) if of_laplacian is not None else x.new_zeros(0, len(x), d)
            drift = of_gradient if of_gradient is not None or of_laplacian is None else torch.zeros_like(x)
            found = condition(v, x, sigma, drift, nothing if of_value is None else of_value, nothing, one, of_laplacian)
            if found is None:
                return None
            conditions.append(found)
        return r.detach(), conditions

    def scaled(self, weight: float) -> Coupled:
        return replace(self, weight=weight * self.weight)


def depends_on_others(r: Tensor, own: Sequence[Tensor]) -> bool:
    """Whether r is a function of other tensors with gradients than these.

    >>> a, b = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    >>> depends_on_others(2 * a, [a]), depends_on_others(2 * a + b.detach(), [a]), depends_on_others(a * b, [a])
    (False, False, True)
    """
    known, seen = {*map(id, own)}, set()
    ahead: list[Any] = [r.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.name() == "torch::autograd::AccumulateGrad" and id(node.variable) not in known:
            return True
        ahead += [following for following, _ in node.next_functions]
    return False


def Equation(
    points: Any,
    fields: Callable[[Any], Sequence[Solution]],
    residual: Callable[..., Tensor],
    weight: Any = 1.0,
    *,
    axes: Sequence[int] | None = None,
) -> Loss:
    """The mean square of an equation between functions and their derivatives at points.

    Args:
        points: (n, d).
        fields: u -> the functions in the equation, ``lambda u: (u.y, u.p)``; modules with parameters of u, the same
            one more than once if need be.
        residual: ``(x, y, p, …) -> (n, 1)`` or (n,), of the points and a :class:`Field` for each function; written in
            torch, and point by point: the value at a point must not depend on what is known at the others.
        weight: of every point, (n,) or a number.
        axes: the coordinates over which ``laplacian`` sums; all unless given.  For an equation in space and time, those
            of space.

    Raises:
        ValueError: points or weights are not finite or of the wrong shape, or ``axes`` names no coordinates.

    A reaction and a diffusion, and their exact solution:

    >>> from optsci.pinn import Interval
    >>> x = Interval(0, 1).sample(20, seed=0)
    >>> loss = Equation(x, lambda u: (u,), lambda x, u: u.laplacian - 2 * u.value ** 3)
    >>> loss(lambda x: 1 / (1 + x)).item() < 1e-24
    True
    """
    x = finite_points(points)
    if not callable(fields) or not callable(residual):
        raise TypeError(
            f"fields and residual must be functions, got {type(fields).__name__} and {type(residual).__name__}"
        )
    d = x.shape[1]
    named = tuple(range(d) if axes is None else axes)
    if not named or len({*named}) < len(named) or not all(i in range(d) for i in named):
        raise ValueError(f"axes must be different coordinates out of 0 to {d - 1}, got {named}")
    return Loss((Coupled(x, fields, residual, named, weights(weight, x)),))
