r"""Boundary conditions that hold exactly, because of the form of u.

.. math:: u = g + D\, N

with a lift g that has the values wanted on the boundary, and D that is 0 there and nowhere else.  Jets follow from

.. math:: \ell[f h] = f\, \ell[h] + h\, \ell[f] + \sum_i \partial_{\sigma_i} f\, \partial_{\sigma_i} h.

Source: Lagaris, Likas & Fotiadis, "Artificial neural networks for solving ordinary and partial differential equations"
(IEEE Trans. Neural Networks 9, 1998).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from optsci._tensor import as_scalar

from .derivatives import Jet, has_jet, jet, jet_by_autograd


class BoundaryAnsatz(nn.Module):
    r"""u = lift + distance * net: takes the values of the lift where the distance is 0, whatever the network.

    Args:
        net: N, (n, d) -> (n, 1).
        lift: g; a number, or a function of points, (n, d) -> (n, 1).
        distance: D, (n, d) -> (n, 1), such as ``domain.vanishing``, which is smooth inside; ``domain.distance`` has
            kinks where the nearest point of the boundary jumps, and u inherits them.

    Lift and distance are differentiated by automatic differentiation unless they carry jets themselves.  Modules among
    them are trained with the network: freeze those that shall stay as they are.

    >>> from optsci.pinn import MLP, Ball
    >>> disk = Ball(dim=2)
    >>> u = BoundaryAnsatz(MLP(2, [8], 1), lift=1.0, distance=disk.vanishing)
    >>> u(disk.sample_boundary(3, 0)[0]).detach().round(decimals=12)
    tensor([[1.],
            [1.],
            [1.]], dtype=torch.float64)
    """

    def __init__(
        self,
        net: nn.Module,
        lift: float | Callable[[Tensor], Tensor],
        distance: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__()
        if not callable(lift) and not math.isfinite(lift := float(as_scalar(lift, "lift"))):
            raise ValueError(f"lift must be finite, or a function of points, got {lift}")
        if not callable(distance):
            raise TypeError(f"distance must be a function of points, such as domain.vanishing, got {distance!r}")
        self.net, self.lift, self.distance = net, lift, distance

    def forward(self, x: Tensor) -> Tensor:
        lift = column("lift", self.lift, x) if callable(self.lift) else self.lift
        return lift + column("distance", self.distance, x) * column("net", self.net, x)

    def jet(self, of: Jet) -> Jet:
        """Carry a jet through the sum and the product."""
        g, D, N = jet_of(self.lift, of), jet_of(self.distance, of), jet_of(self.net, of)
        return Jet(
            g.value + D.value * N.value,
            g.slopes + D.value * N.slopes + D.slopes * N.value,
            g.second + D.value * N.second + D.second * N.value + (D.slopes * N.slopes).sum(0),
        )


def jet_of(f: float | Callable[[Tensor], Tensor], of: Jet) -> Jet:
    """Carry a jet through a number or a function; outside of any graph where neither it nor the jet is trained."""
    n, m = len(of.value), len(of.slopes)
    if not callable(f):
        return Jet(of.value.new_full((n, 1), f), of.value.new_zeros((m, n, 1)), of.value.new_zeros((n, 1)))
    if has_jet(f):
        return jet(f, of)
    with torch.enable_grad():
        trained = column(type(f).__name__, f, of.value).requires_grad or any(part.requires_grad for part in of)
    found = jet_by_autograd(f, of)
    return found if trained else Jet(*(part.detach() for part in found))


def column(name: str, f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return f(x), refusing what is not (n, 1)."""
    value = f(x)
    if value.shape != (len(x), 1):
        raise ValueError(f"{name} must return ({len(x)}, 1) at points {tuple(x.shape)}, got {tuple(value.shape)}")
    return value
