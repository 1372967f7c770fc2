r"""Auxiliary functions of stars: 1 on the boundary, with a normal derivative there that is not 0, smooth inside.

.. math:: 1 + \psi \frac{r^3}{r^3 + a^3}, \qquad 1 - h + h\, (\psi + w)_+^m / w^m, \qquad
   \psi = r - \rho(\text{angle})

They are the branch inside of :math:`\varphi` of an `Interface`.

Source: arXiv 2308.06709 and its public code, for the second one with m = 3.  Departure: the first one, whose second
derivatives are smaller.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..derivatives import Solution
from ..domain_protocol import TINY
from ..level_sets import Star
from ..numpy_on_torch import on_tensors


def smooth_star(star: Star) -> Solution:
    r"""Return :math:`\varphi = 1 + \psi\, r^3 / (r^3 + a^3)` for :math:`\psi = r - \rho(\text{angle})`.

    With a half the least radius: near to :math:`1 + \psi`, and twice differentiable at the center, where that is not.

    >>> phi = smooth_star(Star(lambda angle: 0.5 + 0 * angle, 0.0))
    >>> phi(torch.tensor([[0.5, 0.0], [0.0, 0.25], [0.0, 0.0]], dtype=torch.float64)).round(decimals=6).tolist()
    [[1.0], [0.875], [1.0]]
    """
    reach = (0.5 * star._least) ** 3

    def phi(x: Tensor) -> Tensor:
        r, psi = radial(star, x)
        return (1 + psi * r**3 / (r**3 + reach))[:, None]

    return phi


def collar(star: Star, width: float | None = None, power: int = 3, height: float = 1.0) -> Solution:
    r"""Return :math:`\varphi = 1 - h + h\,((\psi + w)_+/w)^m`, for :math:`\psi = |x - c| - \rho(\text{angle})`.

    It varies in a collar of the width w inside of the boundary of a star, and is constant farther in.

    Args:
        star: the domain inside.
        width: w, at most the least radius; None is 9/10 of that.
        power: m, at least 3: with less the second derivatives jump at :math:`\psi = -w`.
        height: h = c w^m; the normal derivative jumps by h m / w.

    >>> phi = collar(Star(lambda angle: 0.5 + 0 * angle, 0.0))
    >>> phi(torch.tensor([[0.5, 0.0], [0.0, 0.1], [0.0, 0.0]], dtype=torch.float64)).round(decimals=6).tolist()
    [[1.0], [0.001372], [0.0]]
    """
    least = float(star._least)
    w = 0.9 * least if width is None else width
    if not 0 < w <= least:
        raise ValueError(f"width must be positive and at most the least radius {least:g}, got {width}")
    if power < 3:
        raise ValueError(f"power must be at least 3, or second derivatives jump inside, got {power}")
    if not (math.isfinite(height) and height != 0):
        raise ValueError(f"height must be finite and not 0, got {height}")

    def phi(x: Tensor) -> Tensor:
        _, psi = radial(star, x)
        return (1 - height + height * ((psi + w).clamp(min=0) / w) ** power)[:, None]

    return phi


def radial(star: Star, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distance r from the center and psi = r - rho(angle), both (n,)."""
    across, up = (x - x.new_tensor(star.center)).unbind(1)
    r = (across.square() + up.square() + TINY).sqrt()
    return r, r - on_tensors(star.radius)(torch.atan2(up, across + TINY**0.5))
