r"""Jacobians of the residuals of a loss in the parameters of u: what Gauss-Newton steps and spectra are made of.

.. math:: J = \partial r / \partial \theta, \qquad \nabla_\theta \sum_i r_i^2 = 2 J^\top r

Rows of `Rows` on an `MLP`, alone or inside of `BoundaryAnsatz` or behind features, are written out
(`optsci.pinn.fused`), and so are those of `Coupled` equations of such functions, by the chain rule; all others are
found by automatic differentiation of the residuals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from optsci.linalg import lanczos_bound

from .equations import Coupled
from .fused import residuals_and_jacobian, weights_of
from .losses import Loss, Rows, Term

CHUNK = 32  # rows that automatic differentiation finds at once


def parameters(u: nn.Module) -> list[Tensor]:
    """Return the trained parameters of u, in the order of all flat vectors here.

    >>> from optsci.pinn import MLP
    >>> sum(p.numel() for p in parameters(MLP(2, [8], 1)))
    33
    """
    return [p for p in u.parameters() if p.requires_grad]


def residual_jacobian(u: nn.Module, loss: Loss) -> tuple[Tensor, Tensor]:
    """Return the residuals r (N,) with ``loss(u) = r.square().sum()``, and J = dr/d(parameters), (N, P).

    >>> from optsci.pinn import MLP, Ball, Poisson, Residual
    >>> r, J = residual_jacobian(MLP(2, [8], 1), Residual(Poisson(Ball(dim=2)), 10))
    >>> r.shape, J.shape
    (torch.Size([10]), torch.Size([10, 33]))
    """
    require_terms(loss)
    found = [jacobian_of_term(u, term) for term in loss.terms]
    if len(found) == 1:
        return found[0]
    residuals, jacobians = zip(*found, strict=True)
    return torch.cat(residuals), torch.cat(jacobians)


def require_terms(loss: Any) -> None:
    """Refuse a function of u that does not say of which residuals it is the sum of squares."""
    if not isinstance(loss, Loss):
        raise TypeError(f"loss must be a Loss, such as Residual(problem, 100), got {type(loss).__name__}")


def jacobian_of_term(u: nn.Module, term: Term) -> tuple[Tensor, Tensor]:
    """Return the residuals of a term, and their Jacobian."""
    if isinstance(term, Rows):
        found = term.on_network(u)
        if found is not None and list(map(id, weights_of(found[0]))) == list(map(id, parameters(u))):
            return residuals_and_jacobian(*found)
    if isinstance(term, Coupled) and (parts := jacobian_of_equation(u, term)) is not None:
        return parts
    return jacobian_by_autograd(u, term)


def jacobian_of_equation(u: nn.Module, term: Coupled) -> tuple[Tensor, Tensor] | None:
    """Return them by the chain rule, or None where a function in the equation is no `MLP` with formulas around it."""
    linear = term.linearised(u)
    if linear is None:
        return None
    trained, end = {}, 0
    for p in parameters(u):
        trained[id(p)] = slice(end, end := end + p.numel())
    residuals, conditions = linear
    jacobian = residuals.new_zeros(len(residuals), end)
    for network, condition in conditions:
        weights = weights_of(network)
        if any(p.requires_grad and id(p) not in trained for p in weights):
            raise ValueError("fields must be functions whose parameters are those of u, one of them is not part of u")
        _, found = residuals_and_jacobian(network, condition)
        for p, columns in zip(weights, found.split([p.numel() for p in weights], 1), strict=True):
            if id(p) in trained:
                jacobian[:, trained[id(p)]] += columns
    return residuals, jacobian


def jacobian_by_autograd(u: nn.Module, term: Term) -> tuple[Tensor, Tensor]:
    """Return the same by reverse differentiation of many residuals at once: slower, and for any u and term."""
    trained, residuals, jacobians = parameters(u), [], []
    for piece in pieces(term):
        with torch.enable_grad():
            r = piece.residuals(u)
        residuals.append(r.detach())
        if not r.requires_grad:
            jacobians.append(r.new_zeros(len(r), sum(p.numel() for p in trained)))
            continue
        for unit in torch.eye(len(r), dtype=r.dtype, device=r.device).split(CHUNK):
            parts = torch.autograd.grad(r, trained, unit, is_grads_batched=True, retain_graph=True, allow_unused=True)
            jacobians.append(  # a parameter of other terms has no part
                torch.cat(
                    [
                        r.new_zeros(len(unit), p.numel()) if part is None else part.reshape(len(unit), -1)
                        for p, part in zip(trained, parts, strict=True)
                    ],
                    1,
                )
            )
    return torch.cat(residuals), torch.cat(jacobians)


def pieces(term: Term) -> Iterator[Term]:
    """Split rows, whose residuals know nothing of the other points: else the work would grow with their square."""
    if not isinstance(term, Rows):
        yield term
        return
    for i in range(0, len(term.points), CHUNK):
        yield term.part(slice(i, i + CHUNK))


@dataclass(frozen=True, eq=False)
class Products:
    """A linear map given by its products, an `optsci.protocols.Operator`."""

    matvec: Callable[[Tensor], Tensor]
    rmatvec: Callable[[Tensor], Tensor]
    shape: tuple[int, int]
    like: Tensor
    """a tensor of the precision and on the device of the products"""

    def __call__(self, x: Tensor) -> Tensor:
        return self.matvec(x)

    @property
    def T(self) -> Products:
        return Products(self.rmatvec, self.matvec, self.shape[::-1], self.like)

    def norm(self) -> float:
        """Return the `lanczos_bound` of the largest singular value."""
        return self._norm

    @cached_property
    def _norm(self) -> float:
        short = self if self.shape[1] <= self.shape[0] else self.T
        return math.sqrt(lanczos_bound(lambda v: short.T(short(v)), self.like.new_zeros(short.shape[1])))


def jacobian_operator(u: nn.Module, loss: Loss) -> tuple[Tensor, Products]:
    r"""Return the residuals r (N,), and J as an operator, v (P,) -> J v (N,), without its entries.

    For more points and parameters than a matrix has room for.  The graph of the residuals is kept: a product with
    :math:`J^\top` is one pass back, one with J is two derivatives of :math:`w \mapsto J^\top w`.  Both are at the
    parameters that u has now; after u was trained torch refuses them.

    >>> from optsci.pinn import MLP, Ball, Poisson, Residual
    >>> u, loss = MLP(2, [8], 1), Residual(Poisson(Ball(dim=2)), 10)
    >>> r, J = jacobian_operator(u, loss)
    >>> bool(torch.allclose(J.T(r), residual_jacobian(u, loss)[1].T @ r))
    True
    """
    require_terms(loss)
    trained = parameters(u)
    with torch.enable_grad():
        r = loss.residuals(u)
        weight = torch.zeros_like(r, requires_grad=True)
        parts = torch.autograd.grad(r, trained, weight, create_graph=True, materialize_grads=True)
        adjoint = torch.cat([part.flatten() for part in parts])

    def matvec(v: Tensor) -> Tensor:
        (product,) = torch.autograd.grad(adjoint, weight, v, retain_graph=True)
        return product

    def rmatvec(w: Tensor) -> Tensor:
        parts = torch.autograd.grad(r, trained, w, retain_graph=True, materialize_grads=True)
        return torch.cat([part.flatten() for part in parts])

    residuals = r.detach()
    return residuals, Products(matvec, rmatvec, (len(r), len(adjoint)), residuals)
