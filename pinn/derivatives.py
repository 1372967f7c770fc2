r"""Derivatives of functions u of points, and second-order operators in one forward pass.

.. math:: \ell\,[u] = \tfrac12\, \sigma \sigma^\top : \nabla^2 u + b \cdot \nabla u

The forward pass carries, through every layer, the values, their derivatives along the columns of sigma, and
:math:`\ell` of them: a `Jet`.  A layer is linear, where all three go through the matrix, or it is a function s applied
to every entry, where

.. math:: \ell\,[s(h)] = s'(h)\, \ell\,[h] + \tfrac12\, s''(h) \sum_i (\partial_{\sigma_i} h)^2.

For the Laplacian this is the forward Laplacian; that it takes any second-order operator follows from Itô's formula.
A function that has no method ``jet`` is differentiated twice by automatic differentiation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

Solution = Callable[[Tensor], Tensor]  # points (n, d) -> (n, k); a module, or a formula


class Jet(NamedTuple):
    """Values of k functions at n points, and what a second-order operator needs of them."""

    value: Tensor  # (n, k)
    slopes: Tensor  # (m, n, k), the derivatives along the m columns of sigma
    second: Tensor  # (n, k), the operator applied to the functions


def start(x: Tensor, sigma: Tensor, drift: Tensor) -> Jet:
    """Return the jet of the points themselves: x (n, d), sigma (m, n, d) by columns, drift (n, d)."""
    return Jet(x, sigma, drift)


def has_jet(u: Any) -> bool:
    """Whether u carries jets: it has a method ``jet``, or is an ``nn.Sequential`` of such modules.

    A class that has ``forward`` anew has inherited the jet of another function, and hooks change what is returned.
    """
    if isinstance(u, nn.Module) and (u._forward_hooks or u._forward_pre_hooks):
        return False
    if type(u) is nn.Sequential:
        return all(has_jet(part) for part in u)
    first = next((kind for kind in type(u).__mro__ if vars(kind).keys() & {"forward", "jet"}), None)
    return hasattr(u, "jet") and (first is None or "jet" in vars(first))


def jet(u: Any, of: Jet) -> Jet:
    """Carry a jet through u; see `has_jet`."""
    if not isinstance(u, nn.Sequential):
        return u.jet(of)
    for part in u:
        of = jet(part, of)
    return of


def generator(u: Solution, x: Tensor, sigma: Tensor, drift: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return u and :math:`\tfrac12 \sigma\sigma^\top : \nabla^2 u + b \cdot \nabla u` at points, both (n, 1).

    Args:
        u: (n, d) -> (n, 1).
        x: (n, d).
        sigma: (m, n, d), m columns of sigma at every point; m = 0 leaves the term of first order alone.
        drift: b, (n, d).

    >>> x = torch.tensor([[1.0, 2.0]])
    >>> columns = 2**0.5 * torch.eye(2)[:, None, :]
    >>> generator(lambda x: x[:, :1] ** 2 * x[:, 1:], x, columns, torch.zeros(1, 2))[1]
    tensor([[4.0000]], grad_fn=<AddBackward0>)
    """
    if has_jet(u):
        found = jet(u, start(x, sigma, drift))
        return found.value, found.second
    return by_autograd(u, x, sigma, drift)


def by_autograd(u: Solution, x: Tensor, sigma: Tensor, drift: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same by differentiating twice: slower, and for any u."""
    found = jet_by_autograd(u, start(x, sigma, drift))
    return found.value, found.second


def jet_by_autograd(f: Solution, of: Jet) -> Jet:
    """Carry a jet through any f, (n, d) -> (n, 1), by differentiating it twice."""
    with torch.enable_grad():
        x = of.value if of.value.requires_grad else of.value.detach().requires_grad_()
        value = f(x)
        slope = gradient_of(value, x)
        second, slopes = (slope * of.second).sum(1, keepdim=True), []
        for column in of.slopes:
            slopes.append((slope * column).sum(1, keepdim=True))
            second = second + 0.5 * (gradient_of(slopes[-1], x) * column).sum(1, keepdim=True)
    return Jet(value, torch.stack(slopes) if slopes else value.new_zeros((0, *value.shape)), second)


def gradient_of(value: Tensor, x: Tensor) -> Tensor:
    """Return the derivatives (n, d) of values (n, 1), each of its own point; zeros where there are none."""
    require_column(value, x)
    if not value.requires_grad:
        return torch.zeros_like(x)
    (slope,) = torch.autograd.grad(value.sum(), x, create_graph=True, allow_unused=True)
    return torch.zeros_like(x) if slope is None else slope


def require_column(value: Any, x: Tensor) -> None:
    """Refuse what is not (n, 1): a derivative would be that of a sum."""
    found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
    if found not in ((len(x), 1), (len(x),)):
        raise ValueError(f"u must return ({len(x)}, 1) at points {tuple(x.shape)}, got {found}")


def gradient(u: Solution, x: Tensor) -> Tensor:
    r""":math:`\nabla u` at points x (n, d), as (n, d).

    >>> gradient(lambda x: x.square().sum(1, keepdim=True), torch.tensor([[1.0, 2.0]])).detach()
    tensor([[2., 4.]])
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        return gradient_of(u(x), x)


def laplacian(u: Solution, x: Tensor) -> Tensor:
    r""":math:`\Delta u` at points x (n, d), as (n, 1).

    >>> laplacian(lambda x: x.square().sum(1, keepdim=True), torch.zeros(1, 3)).detach()
    tensor([[6.0000]])
    """
    d = x.shape[1]
    sigma = (2**0.5 * torch.eye(d, dtype=x.dtype, device=x.device))[:, None, :].expand(d, len(x), d)
    return generator(u, x, sigma, torch.zeros_like(x))[1]


def divergence(v: Solution, x: Tensor) -> Tensor:
    r""":math:`\nabla \cdot v` at points x (n, d), as (n, 1), of a field (n, d) -> (n, d).

    >>> divergence(lambda x: x * x, torch.tensor([[1.0, 2.0]])).detach()
    tensor([[6.]])
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        field = v(x)
        if field.shape != x.shape:
            raise ValueError(f"v must return {tuple(x.shape)}, the shape of its points, got {tuple(field.shape)}")
        parts = [gradient_of(part[:, None], x)[:, i] for i, part in enumerate(field.unbind(1))]
        return torch.stack(parts).sum(0)[:, None]


def hessian(u: Solution, x: Tensor) -> Tensor:
    r""":math:`\nabla^2 u` at points x (n, d), as (n, d, d).

    >>> hessian(lambda x: x[:, :1] * x[:, 1:], torch.tensor([[1.0, 2.0]])).detach()
    tensor([[[0., 1.],
             [1., 0.]]])
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        return torch.stack([gradient_of(part[:, None], x) for part in gradient_of(u(x), x).unbind(1)], 1)
