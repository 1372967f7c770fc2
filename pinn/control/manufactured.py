r"""Control problems whose solution is known: for orders of convergence, and to start with.

A state y and an adjoint state p are chosen, 0 on the boundary; the control follows from the optimality condition, and
the source f and the target y_d are what the two equations then need:

.. math::

   \text{elliptic:} \quad & -\Delta y = u + f, && -\Delta p = y - y_d, && u = \Phi(-p), \\
   \text{parabolic:} \quad & y_t - \Delta y = u + f, && -p_t - \Delta p = y - y_d, && u = \Phi(-p), \\
   \text{bilinear:} \quad & y_t - \Delta y + u y = f, && -p_t - \Delta p + u p = y - y_d, && u = \Phi(y p)

with :math:`\Phi` of `semismooth_newton`.  The bounds, and the set where u is 0, are active in all of them.  The
elliptic and the parabolic S are linear in u + f: control u for the target :math:`y_d - S f`.

Source: the bilinear problem is that of the public code of arXiv:2409.14417 (TianyouZeng/PDOL-optimal-control); the
others are ours.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from torch import Tensor

from optsci._tensor import as_finite

from .newton_control import ControlCost

LINEAR_ELLIPTIC = ControlCost(alpha=1e-3, rho=2e-3, lower=-3.0, upper=5.0)
LINEAR_PARABOLIC = ControlCost(alpha=0.01, rho=0.02, lower=-3.0, upper=5.0)
BILINEAR = ControlCost(alpha=0.01, rho=0.01, lower=-1.0, upper=2.0)


class Manufactured(NamedTuple):
    """A control problem and its solution, at points."""

    u: Tensor  # (n,) the optimal control
    y: Tensor  # (n,) its state
    p: Tensor  # (n,) its adjoint state, driven by y - y_d
    f: Tensor  # (n,) source
    y_d: Tensor  # (n,) target
    cost: ControlCost


def sparse_target(points: Any) -> Tensor:
    r"""Return :math:`e^{2 x_1} \sin(2 \pi x_1) \sin(2 \pi x_2) / 6`, (n,), the target of sparse elliptic control.

    With alpha = 1e-5, rho = 1e-3 and the box of -30 to 30, no solution in closed form.

    Args:
        points: (n, 2).

    >>> sparse_target([[0.25, 0.25]]).mul(6).log()
    tensor([0.5000], dtype=torch.float64)
    """
    x = _columns(points, 2)
    return (2 * x[0]).exp() * (2 * math.pi * x[0]).sin() * (2 * math.pi * x[1]).sin() / 6


def sparse_elliptic(points: Any, cost: ControlCost = LINEAR_ELLIPTIC) -> Manufactured:
    r"""Return y = sin(pi x_1) sin(pi x_2) and p = 0.01 sin(2 pi x_1) sin(2 pi x_2), and the rest.

    Args:
        points: (n, 2) in the unit square.
        cost: of the control, with alpha > 0.

    >>> from optsci.pinn.control import EllipticMap
    >>> exact = sparse_elliptic(EllipticMap(8).points)
    >>> exact.u.min().item(), exact.u.max().item(), int((exact.u == 0).sum())
    (-3.0, 5.0, 13)
    """
    x = _columns(points, 2)
    y = _waves(x, 1, 1)
    p = 0.01 * _waves(x, 2, 2)
    u = cost.minimiser(p)
    return Manufactured(u, y, p, 2 * math.pi**2 * y - u, y - 8 * math.pi**2 * p, cost)


def sparse_parabolic(points: Any, cost: ControlCost = LINEAR_PARABOLIC) -> Manufactured:
    r"""Return y = t sin(pi x_1) sin(pi x_2) and p = 0.1 (1 - t) sin(2 pi x_1) sin(2 pi x_2), and the rest.

    Args:
        points: (n, 3), in the unit square and the times from 0 to 1, last.
        cost: of the control, with alpha > 0.

    >>> exact = sparse_parabolic([[0.25, 0.25, 0.5]])
    >>> exact.u
    tensor([-3.], dtype=torch.float64)
    """
    x = _columns(points, 3)
    t, wave, twice = x[2], _waves(x, 1, 1), _waves(x, 2, 2)
    y, p = t * wave, 0.1 * (1 - t) * twice
    u = cost.minimiser(p)
    f = wave + 2 * math.pi**2 * y - u
    return Manufactured(u, y, p, f, y - (0.1 * twice + 8 * math.pi**2 * p), cost)


def bilinear_parabolic(points: Any, cost: ControlCost = BILINEAR) -> Manufactured:
    r"""Return the problem of the control of a coefficient, for `BilinearHeatMap`.

    .. math:: y = 5 \sqrt\rho\, t \sin(3 \pi x_1) \sin(\pi x_2), \qquad
              p = 5 \sqrt\rho\, (1 - t) \sin(\pi x_1) \sin(\pi x_2)

    Args:
        points: (n, 3), in the unit square and the times from 0 to 1, last.
        cost: of the control, with alpha > 0 and rho > 0.

    >>> exact = bilinear_parabolic([[0.5, 0.5, 0.5]])
    >>> exact.y, exact.p, exact.u
    (tensor([-0.2500], dtype=torch.float64), tensor([0.2500], dtype=torch.float64), tensor([-1.], dtype=torch.float64))
    """
    x = _columns(points, 3)
    scale = 5 * math.sqrt(cost.rho)
    t, wave, thrice = x[2], scale * _waves(x, 1, 1), scale * _waves(x, 3, 1)
    y, p = t * thrice, (1 - t) * wave
    u = cost.minimiser(-y * p)
    f = thrice + 10 * math.pi**2 * y + u * y
    return Manufactured(u, y, p, f, y - (wave + 2 * math.pi**2 * p + u * p), cost)


def _waves(x: list[Tensor], first: int, second: int) -> Tensor:
    return (first * math.pi * x[0]).sin() * (second * math.pi * x[1]).sin()


def _columns(points: Any, dim: int) -> list[Tensor]:
    x = as_finite(points, "points").double() if not isinstance(points, Tensor) else as_finite(points, "points")
    if x.dim() != 2 or x.shape[1] != dim:
        raise ValueError(f"points must have the shape (n, {dim}), got {tuple(x.shape)}")
    return list(x.unbind(1))
