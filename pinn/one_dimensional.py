r"""Exact committors and mean exit times of Langevin dynamics in one dimension, by quadrature.

With :math:`L = -V' \partial_x + \tfrac1\beta \partial_x^2` on (a, b):

.. math::

   \text{committor:} \quad & q(x) = \frac{I(x)}{I(b)}, \qquad I(x) = \int_a^x e^{\beta V(y)} dy, \\
   \text{exit at either end:} \quad & T(x) = \beta (1 - q(x)) \int_a^x I(y) e^{-\beta V(y)} dy
   + \beta q(x) \int_x^b (I(b) - I(y)) e^{-\beta V(y)} dy, \\
   \text{reflected at a, exit at b:} \quad & T(x) = \beta \int_x^b e^{\beta V(y)} \int_a^y e^{-\beta V(z)} dz\, dy

All terms are positive, and the inner integrals are kept as logarithms: nothing cancels, and nothing overflows that is
not itself too large.  The interval is cut into panels on each of which beta V changes by about 2 at most; a panel has
16 Gauss points, and the result is the polynomial through its values there.

The functions returned take points (n, 1) to (n, 1), have derivatives by autograd, are constant outside of the interval,
and serve as ``exact`` of a problem.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.polynomial import legendre
from torch import Tensor

from .balls import Annulus
from .domain_protocol import points_of
from .domains import Box

ORDER = 16  # Gauss points of a panel
PANELS, MOST_PANELS = 256, 2**17
PROBES = 4096  # intervals over which the steepness of the energy is looked at

Energy = Callable[[Any], Any]
Solution = Callable[[Any], Tensor]


class Panels(NamedTuple):
    """Panels of one length that cover an interval, and an exponent at their Gauss points."""

    lower: float
    upper: float
    phi: np.ndarray  # (panels, ORDER)

    @property
    def half(self) -> float:
        return 0.5 * (self.upper - self.lower) / len(self.phi)


def interval_committor(energy: Energy, beta: float, interval: Box) -> Solution:
    """Return the probability to leave the interval at its upper end.

    Args:
        energy: V, x (1, n) -> (n,), as in `energies`.
        beta: the inverse temperature, positive.
        interval: a box of dimension 1.

    Raises:
        ValueError: the interval has another dimension, beta is not positive, or the energy not finite or too steep.

    >>> from optsci.pinn import Interval, harmonic
    >>> q = interval_committor(harmonic, beta=1.0, interval=Interval(-1.0, 2.0))
    >>> round(q([[0.5]]).item(), 10)
    0.2897763443
    """
    panels = _panels(_on_line(energy, beta), *_ends(interval))
    return _piecewise(panels, _committor(panels))


def interval_exit_time(energy: Energy, beta: float, interval: Box) -> Solution:
    """Return the mean time to leave the interval, at either end.

    The arguments, and what is refused, are those of `interval_committor`.

    >>> from optsci.pinn import Interval, harmonic
    >>> T = interval_exit_time(harmonic, beta=2.0, interval=Interval(-1.0, 1.0))
    >>> round(T([[0.0]]).item(), 10)
    1.4452456134
    """
    panels = _panels(_on_line(energy, beta), *_ends(interval))
    below, above = _log_integral(panels, panels.phi), _log_integral_above(panels, panels.phi)
    left = _integral(panels, np.exp(below - panels.phi))
    right = _integral_above(panels, np.exp(above - panels.phi))
    total = np.logaddexp(below, above)
    return _piecewise(panels, beta * (np.exp(above - total) * left + np.exp(below - total) * right))


def passage_time(energy: Energy, beta: float, wall: float, target: float) -> Solution:
    """Return the mean time to reach the target, of a process that is reflected at the wall on its other side.

    Args:
        energy: V, x (1, n) -> (n,), as in `energies`.
        beta: the inverse temperature, positive.
        wall: where the process is reflected, above or below the target.
        target: the time there is 0.

    Raises:
        ValueError: wall and target are equal, beta is not positive, or the energy not finite or too steep.

    >>> from optsci.pinn import double_well
    >>> T = passage_time(double_well, beta=3.0, wall=-2.5, target=1.0)
    >>> round(T([[-1.0]]).item(), 9)
    26.640087798
    """
    if not (np.isfinite([wall, target]).all() and wall != target):
        raise ValueError(f"wall and target must be two numbers, got wall = {wall} and target = {target}")
    panels = _panels(_on_line(energy, beta), min(wall, target), max(wall, target))
    if wall < target:
        reached = _log_integral(panels, -panels.phi)
        return _piecewise(panels, beta * _integral_above(panels, np.exp(reached + panels.phi)))
    reached = _log_integral_above(panels, -panels.phi)
    return _piecewise(panels, beta * _integral(panels, np.exp(reached + panels.phi)))


def radial_committor(energy: Energy, beta: float, shell: Annulus) -> Solution:
    r"""Return the probability to leave a shell at the outer sphere, for an energy that depends on the radius only.

    .. math:: q(r) = \int_a^r s^{1-d} e^{\beta V(s)} ds \Big/ \int_a^b s^{1-d} e^{\beta V(s)} ds

    Args:
        energy: V, x (d, n) -> (n,), asked along the first axis from the centre of the shell.
        beta: the inverse temperature, positive.
        shell: between the spheres of radius a and b.

    Raises:
        ValueError: as of `interval_committor`.

    >>> from optsci.pinn import Annulus, harmonic
    >>> q = radial_committor(harmonic, beta=1.0, shell=Annulus(inner=0.5, outer=2.0, dim=2))
    >>> round(q([[0.6, 0.8]]).item(), 10)
    0.2888099449
    """
    along_axis = _on_line(energy, beta, shell.center)
    panels = _panels(lambda r: along_axis(r) - (shell.dim - 1) * np.log(r), shell.inner, shell.outer)
    of_radius = _piecewise(panels, _committor(panels))

    def q(points: Any) -> Tensor:
        x = points_of(points, shell.dim)
        return of_radius((x - x.new_tensor(shell.center)).norm(dim=1, keepdim=True))

    return q


def _on_line(energy: Energy, beta: float, origin: tuple[float, ...] = (0.0,)) -> Callable[[np.ndarray], np.ndarray]:
    """Beta V along the first axis from a point: (n,) -> (n,)."""
    if not (np.isfinite(beta) and beta > 0):
        raise ValueError(f"beta must be a positive number, got {beta}")

    def phi(s: np.ndarray) -> np.ndarray:
        x = np.repeat(np.array(origin)[:, None], len(s), 1)
        x[0] += s
        value = beta * np.broadcast_to(np.asarray(energy(x), dtype=np.float64), s.shape)
        if not np.isfinite(value).all():
            raise ValueError(f"energy must be finite, it is not at {x[:, ~np.isfinite(value)][:, 0].tolist()}")
        return value

    return phi


def _ends(interval: Box) -> tuple[float, float]:
    if interval.dim != 1:
        raise ValueError(f"interval must have dimension 1, got {interval}")
    return interval.lower[0], interval.upper[0]


def _panels(phi: Callable[[np.ndarray], np.ndarray], lower: float, upper: float) -> Panels:
    steepest = np.abs(np.diff(phi(np.linspace(lower, upper, PROBES + 1)))).max() * PROBES
    count = max(PANELS, int(np.ceil(0.5 * steepest)))
    if count > MOST_PANELS:
        raise ValueError(
            f"energy is too steep: beta V has a slope of {steepest / (upper - lower):.3g} between {lower} and {upper}"
        )
    edges = np.linspace(lower, upper, count + 1)
    centers, half = 0.5 * (edges[1:] + edges[:-1]), 0.5 * (upper - lower) / count
    points = centers[:, None] + half * NODES
    return Panels(lower, upper, phi(points.ravel()).reshape(points.shape))


def _committor(panels: Panels) -> np.ndarray:
    below, above = _log_integral(panels, panels.phi), _log_integral_above(panels, panels.phi)
    return np.exp(below - np.logaddexp(below, above))


def _integral(panels: Panels, f: np.ndarray) -> np.ndarray:
    """The integral of a function from the lower end, at all nodes."""
    whole = panels.half * f @ WEIGHTS
    before = np.concatenate(([0.0], np.cumsum(whole)[:-1]))
    return before[:, None] + panels.half * f @ FROM_LEFT.T


def _integral_above(panels: Panels, f: np.ndarray) -> np.ndarray:
    """The integral to the upper end; the nodes are symmetric, so it is that of the mirrored function."""
    return _integral(panels, f[::-1, ::-1])[::-1, ::-1]


def _log_integral(panels: Panels, phi: np.ndarray) -> np.ndarray:
    """The logarithm of the integral of exp(phi) from the lower end, at all nodes."""
    top = phi.max(1, keepdims=True)
    f = panels.half * np.exp(phi - top)
    whole = np.logaddexp.accumulate(top[:, 0] + np.log(f @ WEIGHTS))
    before = np.concatenate(([-np.inf], whole[:-1]))
    return np.logaddexp(before[:, None], top + np.log(f @ FROM_LEFT.T))


def _log_integral_above(panels: Panels, phi: np.ndarray) -> np.ndarray:
    return _log_integral(panels, phi[::-1, ::-1])[::-1, ::-1]


def _piecewise(panels: Panels, values: np.ndarray) -> Solution:
    """The function that is on every panel the polynomial through the values at its nodes."""
    coefficients = torch.from_numpy(values @ TO_LEGENDRE.T)

    def u(points: Any) -> Tensor:
        x = points_of(points, 1)
        place = (x[:, 0].double().clamp(panels.lower, panels.upper) - panels.lower) / (2 * panels.half)
        k = place.detach().long().clamp(max=len(values) - 1)
        s = 2 * (place - k) - 1
        c = coefficients.to(x.device)[k]  # (n, ORDER)
        previous, current, total = torch.ones_like(s), s, c[:, 0] + c[:, 1] * s
        for j in range(1, ORDER - 1):
            previous, current = current, ((2 * j + 1) * s * current - j * previous) / (j + 1)
            total = total + c[:, j + 1] * current
        return total[:, None].to(x.dtype)

    return u


def _rule() -> tuple[np.ndarray, ...]:
    """Gauss points and weights on (-1, 1), the integrals from -1 to them, and the matrix to Legendre coefficients."""
    nodes, weights = legendre.leggauss(ORDER)
    P = legendre.legvander(nodes, ORDER)  # (nodes, degrees)
    j = np.arange(ORDER)
    to_legendre = (2 * j[:, None] + 1) / 2 * P[:, :ORDER].T * weights
    integrals = np.empty((ORDER, ORDER))
    integrals[:, 0] = nodes + 1
    integrals[:, 1:] = (P[:, 2:] - P[:, : ORDER - 1]) / (2 * j[1:] + 1)
    return nodes, weights, integrals @ to_legendre, to_legendre


NODES, WEIGHTS, FROM_LEFT, TO_LEGENDRE = _rule()
