r"""Lift, factor and auxiliary function as networks, trained first and then frozen, where no formulas are at hand.

.. math:: g \approx h_0 \ \text{on}\ \partial\Omega, \qquad h \approx 0 \ \text{on}\ \partial\Omega, \quad
   h \approx \hat h \ \text{in}\ \Omega, \qquad [\varphi] \approx 0, \quad \partial_n \varphi_+ \approx 0, \quad
   \partial_n \varphi_- \approx s \ \text{on}\ \Gamma

The constraints of the ansatz then hold as far as these do; `violations` says how far.

Source: arXiv 2308.06709, option II of its public code, losses and weights.  Departure: Gauss-Newton steps in place
of L-BFGS and Adam, small networks, and points on all of the boundary.
"""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from optsci.iteration import solve

from ..derivatives import Solution
from ..equations import Equation, Fields
from ..levenberg_marquardt import gauss_newton
from ..losses import Data, Loss
from ..networks import MLP
from .interface_ansatz import Beside
from .interface_values import Coefficient, Sides, values_at
from .interfaces import Interface

Module = TypeVar("Module", bound=nn.Module)
STEPS = 60  # of Gauss-Newton
INTERIOR_WEIGHT = 0.01  # of h inside, as in the paper's code


def learned_lift(interface: Interface, boundary: Coefficient, net: MLP, n: int = 400) -> MLP:
    """Return a network with the boundary values, up to what the fit leaves; frozen.

    Args:
        interface: whose domain it is for, elliptic.
        boundary: the boundary values.
        net: (n, d) -> (n, 1), trained in place.
        n: points on the boundary.
    """
    on = interface.on_boundary(n, 3)
    return fitted(net, Data(on, values_at(boundary, on)))


def learned_distance(interface: Interface, shape: Solution, net: MLP, n: int = 400) -> MLP:
    """Return a network that is 0 on the boundary and like a given function inside, up to the fit; frozen.

    Args:
        interface: whose domain it is for, elliptic.
        shape: the function that h is like, (n, d) -> (n, 1), not 0 inside.
        net: (n, d) -> (n, 1), trained in place.
        n: points on the boundary, and inside.
    """
    x = interface.domain.sample(n, 4)
    return fitted(net, Data(interface.on_boundary(n, 3), 0.0) + INTERIOR_WEIGHT * Data(x, shape(x)))


def learned_phi(interface: Interface, net: MLP, slope: float = 5.0, n: int = 400) -> Sides:
    """Return branches of an auxiliary function, N(x, -1) inside and N(x, 1) outside; frozen.

    Args:
        interface: elliptic.
        net: (n, d + 1) -> (n, 1), trained in place.
        slope: of the branch inside at the interface, along the normal; 0 for that outside.
        n: points on the interface.

    >>> from optsci.pinn import Ball, Box
    >>> circle = Interface(Box((-1, -1), (1, 1)), Ball(radius=0.5))
    >>> phi = learned_phi(circle, MLP(3, [8]), n=50)
    >>> x, _ = circle.on_interface(50, 0)
    >>> bool((phi.outside(x) - phi.inside(x)).abs().max() < 0.02)
    True
    """
    u = Fields(inside=nn.Sequential(Beside(-1.0), net), outside=nn.Sequential(Beside(1.0), net))
    x, normal = interface.on_interface(n, 5)
    fitted(
        u,
        Equation(x, lambda u: (u.inside, u.outside), lambda x, a, b: b.value - a.value)
        + Equation(x, lambda u: (u.outside,), lambda x, b: (normal * b.gradient).sum(1))
        + Equation(x, lambda u: (u.inside,), lambda x, a: (normal * a.gradient).sum(1) - slope),
    )
    return Sides(u.inside, u.outside)


def fitted(u: Module, loss: Loss) -> Module:
    """Train a module, and freeze it."""
    solve(gauss_newton(u, loss), tol=1e-14, max_iter=STEPS)
    return u.requires_grad_(False)
