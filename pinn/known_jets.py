r"""Functions that stay fixed at points that stay fixed: their derivatives are found once for a whole training.

.. math:: u = g + D\, N(z(x)), \qquad \ell[f](x_i) = \tfrac12 \sum_j \sum_k \sigma_{jk}^2\, \partial_{kk} f(x_i)
   + b \cdot \nabla f(x_i)

In an equation between such functions only N and the drift b change from step to step; lift g, distance D and features z
have the same values and derivatives at its points in all of them.  The columns of sigma lie along coordinates there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from .ansatz import BoundaryAnsatz, jet_of
from .derivatives import Jet, Solution, has_jet, start
from .equations import Coupled
from .losses import Loss


class KnownJet(nn.Module):
    """A function f whose values and derivatives at points are known; at others it is f itself.

    Args:
        f: (n, d) -> (n, k).
        points: (n, d).
        axes: the coordinates along which there may be second derivatives.  Every column of a jet lies along a
            coordinate, and ``second`` counts nothing of columns along others.

    >>> x = torch.tensor([[1.0, 2.0]])
    >>> f = KnownJet(lambda x: x[:, :1] ** 2 * x[:, 1:], x, (0, 1))
    >>> columns = 2**0.5 * torch.eye(2)[:, None]
    >>> f.jet(start(x, columns, torch.ones(1, 2))).second.round(decimals=3)  # the Laplacian, and 4 + 1 of the drift
    tensor([[9.]])
    """

    def __init__(self, f: Solution, points: Tensor, axes: tuple[int, ...]) -> None:
        super().__init__()
        self.f, self.points = f, points
        unit, zero = torch.eye(points.shape[1]).to(points), torch.zeros_like(points)
        with torch.enable_grad():
            along = [jet_of(f, start(points, zero[None][:0], e.expand_as(points))) for e in unit]
            twice = [jet_of(f, start(points, e.expand_as(points)[None], zero)) for e in unit[list(axes)]]
        self.trained = any(part.requires_grad for found in (*along, *twice) for part in found)
        self.value = along[0].value
        self.slopes = torch.stack([found.second for found in along])  # (d, n, k)
        self.curvatures = torch.zeros_like(self.slopes)  # (d, n, k), the second derivative along every coordinate
        self.curvatures[list(axes)] = 2 * torch.stack([found.second for found in twice])

    @torch.no_grad()
    def holds(self) -> bool:
        """Whether f has the values at the points that it had."""
        return torch.equal(self.f(self.points), self.value)

    def forward(self, x: Tensor) -> Tensor:
        return self.f(x)

    def jet(self, of: Jet) -> Jet:
        """Return the jet at the points; carry another one through f."""
        if of.value is not self.points:
            return jet_of(self.f, of)
        return Jet(
            self.value,
            torch.einsum("mnd,dnk->mnk", of.slopes, self.slopes),
            torch.einsum("nd,dnk->nk", of.second, self.slopes)
            + 0.5 * torch.einsum("mnd,dnk->nk", of.slopes.square(), self.curvatures),
        )


Key = tuple[int, ...]  # the ids of functions that follow each other


def with_known_jets(loss: Loss, u: Any) -> Loss:
    """Return the loss of this u, with what is fixed around its networks in every `Coupled` equation found once.

    Where such a function has other values later on, as one that depends on u may, it is differentiated anew as before.

    >>> from optsci.pinn import MLP, Equation
    >>> x = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None]
    >>> u = BoundaryAnsatz(MLP(1, [4], 1), lambda x: x**3, lambda x: x * (1 - x))
    >>> loss = Equation(x, lambda u: (u,), lambda x, u: u.laplacian - u.value)
    >>> bool((with_known_jets(loss, u)(u) - loss(u)).abs() < 1e-12)
    True
    """
    return Loss(tuple(known_around(term, u) if isinstance(term, Coupled) else term for term in loss.terms))


def known_around(term: Coupled, u: Any) -> Coupled:
    """Return the equation with the same functions, the fixed ones in them known at its points."""
    known: dict[Key, KnownJet] = {}  # which hold the functions, so that no other one gets the same id
    for v in term.functions(u):
        for key, f in around(v):
            if key not in known:
                known[key] = KnownJet(f, term.points, term.axes)

    def fields(u: Any) -> list[Solution]:
        current = {key: found for key, found in known.items() if not found.trained and found.holds()}
        return [substituted(v, current) for v in term.fields(u)]

    return replace(term, fields=fields)


def around(v: Solution) -> Iterator[tuple[Key, Solution]]:
    """Yield the functions around the network in v that carry jets of the points themselves, under their keys."""
    if not (type(v) in (BoundaryAnsatz, nn.Sequential) and has_jet(v)):
        return
    if isinstance(v, BoundaryAnsatz):
        yield from (((id(f),), f) for f in (v.lift, v.distance) if callable(f))
    if features := stages(v)[:-1]:
        yield key_of(features), nn.Sequential(*features)


def substituted(v: Solution, known: dict[Key, KnownJet]) -> Solution:
    """Return v with known functions in the places of those that it has."""
    if not (type(v) in (BoundaryAnsatz, nn.Sequential) and has_jet(v)):
        return v
    *features, network = stages(v)
    found = known.get(key_of(features))
    if not isinstance(v, BoundaryAnsatz):
        return nn.Sequential(found, network) if found else v
    net = nn.Sequential(found, network) if found else v.net
    return BoundaryAnsatz(net, known.get((id(v.lift),), v.lift), known.get((id(v.distance),), v.distance))


def stages(v: Any) -> list[Any]:
    """Return the modules with jets that follow each other in v, or in the network of v; the network alone at least."""
    net = v.net if type(v) is BoundaryAnsatz else v
    return list(net) if type(net) is nn.Sequential and has_jet(net) and len(net) else [net]


def key_of(features: list[Any]) -> Key:
    """Return what tells one row of functions from another."""
    return tuple(map(id, features))
