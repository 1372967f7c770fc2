r"""Functions whose gradient jumps at an interface, by the form of the function and not by a loss.

.. math:: y = g + h\, N(x, \varphi(x))

with h = 0 on the boundary of the domain and nowhere else, g with the boundary values, and :math:`\varphi` of an
`Interface`: continuous, with a normal derivative that jumps.  So y takes its boundary values exactly, and is continuous
across :math:`\Gamma` with :math:`[\partial_n y] = h\, \partial_z N\, [\partial_n \varphi]`.  A jump of the value is
that of g, which may be given for every side.  The jump of the flux remains a condition for a loss.

Every side is a function of its own, smooth across the interface: ``u.inside`` and ``u.outside`` are `BoundaryAnsatz`
on the same network, from which one-sided derivatives come, and the Jacobians of `optsci.pinn.fused`.

`DiscontinuityCapturing` is the soft version to compare with, N(x, -1) inside and N(x, 1) outside: boundary values
and jumps of the value are left to the loss.

Source: arXiv 2308.06709, algorithms 1 and 2, by the formulas of its public code.  Departure: g that carries a jump of
the value.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..ansatz import BoundaryAnsatz, jet_of
from ..derivatives import Jet, Solution
from ..features import side_by_side
from .interface_values import Coefficient, Sides, values_at
from .interfaces import Interface, require_kink


class Beside(nn.Module):
    """The points with a function of them as a further coordinate, x -> (x, z(x)).

    Args:
        z: a number, or (n, d) -> (n, 1).

    >>> Beside(-1.0)(torch.zeros(2, 2)).tolist()
    [[0.0, 0.0, -1.0], [0.0, 0.0, -1.0]]
    """

    def __init__(self, z: Coefficient) -> None:
        super().__init__()
        self.z = z

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, values_at(self.z, x)), 1)

    def jet(self, of: Jet) -> Jet:
        """Carry a jet through the further coordinate."""
        return side_by_side(of, jet_of(self.z, of))


class InterfaceAnsatz(nn.Module):
    r"""y = g + h N(x, phi(x)): boundary values and continuity across an interface, whatever the network.

    Args:
        net: N, (n, d + 1) -> (n, 1); features before an `MLP` in an ``nn.Sequential``.
        lift: g, a number or a function (n, d) -> (n, 1); or `Sides` of them, whose difference on the interface is the
            jump of the value.
        distance: h, (n, d) -> (n, 1).
        interface: with its :math:`\varphi`.
        phi: `Sides` of other branches than those of the interface, as of learned ones: numbers, or functions.
        tolerance: by how much those branches may differ on the interface, relative to their size: learned ones do.

    Raises:
        ValueError: the branches of ``phi`` differ on the interface by more, or are not finite, or their normal
            derivatives are the same somewhere on it, so that nothing has a kink there.

    Modules among lift, distance and phi are trained with the network: freeze those that shall stay as they are.

    >>> from optsci.pinn import MLP, Ball, Box
    >>> square = Box((-1, -1), (1, 1))
    >>> circle = Interface(square, Ball(radius=0.5))
    >>> y = InterfaceAnsatz(MLP(3, [8], 1), 1.0, square.vanishing, circle)
    >>> x, _ = circle.on_interface(9, seed=0)
    >>> bool((y.outside(x) - y.inside(x)).abs().max() < 1e-12)
    True
    """

    def __init__(
        self,
        net: nn.Module,
        lift: Coefficient | Sides,
        distance: Solution,
        interface: Interface,
        phi: Sides | None = None,
        tolerance: float = 1e-9,
    ) -> None:
        super().__init__()
        if phi is not None:
            require_kink(interface, phi, tolerance)
        lifts = lift if isinstance(lift, Sides) else Sides(lift, lift)
        z = phi or Sides(interface.branch, 1.0)
        stages = list(net) if type(net) is nn.Sequential else [net]  # flat, as the Jacobians by formulas want them
        self.inside = BoundaryAnsatz(nn.Sequential(Beside(z.inside), *stages), lifts.inside, distance)
        self.outside = BoundaryAnsatz(nn.Sequential(Beside(z.outside), *stages), lifts.outside, distance)
        self.interface = interface

    def forward(self, x: Tensor) -> Tensor:
        return self.interface.choose(x, self.inside, self.outside)


class DiscontinuityCapturing(nn.Module):
    """N(x, -1) inside of an interface and N(x, 1) outside: values and gradients may jump.

    Args:
        net: N, (n, d + 1) -> (n, 1).
        interface: where it jumps.
    """

    def __init__(self, net: nn.Module, interface: Interface) -> None:
        super().__init__()
        self.inside = nn.Sequential(Beside(-1.0), net)
        self.outside = nn.Sequential(Beside(1.0), net)
        self.interface = interface

    def forward(self, x: Tensor) -> Tensor:
        return self.interface.choose(x, self.inside, self.outside)
