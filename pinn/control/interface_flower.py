r"""Networks for the flower of `flower_control`: even in the first coordinate, and with its level function at hand.

.. math:: v = h\, N(x_1^2, x_2, \min(\psi, 0), \psi), \qquad h = (x_1^2 - 1)(x_2^2 - 1), \qquad
   \psi = 4\, (r - \rho(\theta))\, \frac{r^3}{r^3 + a^3}

The problem is symmetric about the axis :math:`x_1 = 0`, so its solution is a function of :math:`x_1^2`, and points of
one half, ``HALF``, are enough.  :math:`\psi` tells the network where the petals are; it is smooth at the center
(`smooth_star`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..ansatz import jet_of
from ..derivatives import Jet, Solution
from ..equations import Fields
from ..features import side_by_side
from ..level_sets import Star
from ..networks import MLP
from .interface_control import DistributedControl
from .interface_fields import interface_adjoint, interface_state
from .interface_phi import smooth_star
from .interface_problems import square_bubble
from .interface_values import Sides

HALF = (-math.pi / 2, math.pi / 2)
STEEP = 4.0  # psi varies by about 1 from the center to the interface
SMALL = 0.005  # scale of the adjoint's network at first: the size of p, as the target can nearly be met


class Petals(nn.Module):
    """Features of points of the plane with a further coordinate z: (x, z) -> (x_1^2, x_2, z, psi(x)).

    Args:
        psi: (n, 2) -> (n, 1), even in x_1.
    """

    def __init__(self, psi: Solution) -> None:
        super().__init__()
        self.psi = psi

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x[:, :1].square(), x[:, 1:], self.psi(x[:, :2])), 1)

    def jet(self, of: Jet) -> Jet:
        """Carry a jet through the features."""
        rest = Jet(*(part[..., 1:] for part in of))
        squared = jet_of(lambda x: x[:, :1].square(), of)
        return side_by_side(squared, rest, jet_of(lambda x: self.psi(x[:, :2]), of))


def flower_fields(problem: DistributedControl, widths: Sequence[int] = (20, 20), seed: int = 0) -> Fields:
    """Return ``Fields(y=…, p=…)`` with boundary values and continuity by form.

    Args:
        problem: `flower_control`.
        widths: of the hidden layers of either network.
        seed: of the networks.

    Raises:
        ValueError: the interface is not that of a `Star`.

    >>> from optsci.pinn.control import flower_control
    >>> u = flower_fields(flower_control(), (8,))
    >>> x = torch.tensor([[0.3, 0.4], [-0.3, 0.4]], dtype=torch.float64)
    >>> bool(torch.allclose(*u.y(x)))
    True
    """
    equation, star = problem.equation, problem.equation.interface.inside
    if not isinstance(star, Star):
        raise ValueError(f"problem must have an interface around a Star, such as flower_control, got {star}")
    phi = smooth_star(star)

    def psi(x: Tensor) -> Tensor:
        return STEEP * (phi(x) - 1)

    y, p = (
        nn.Sequential(Petals(psi), MLP(4, widths, 1, seed=2 * seed + k, scale=scale))
        for k, scale in enumerate((1.0, SMALL))
    )
    kink = Sides(psi, 0.0)
    return Fields(
        y=interface_state(equation, y, 0.0, square_bubble, phi=kink),
        p=interface_adjoint(equation, p, square_bubble, phi=kink),
    )
