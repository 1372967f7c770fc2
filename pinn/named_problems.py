r"""Problems with known solutions that tables, examples and the command line share.

Two on which plain residuals do well (`sine_poisson`, `ground_state`), three on which they do not: mean exit times and
committors of metastable diffusions (`well_exit`, `well_committor`), and a Laplace problem with four holes
(`four_holes`).  `double_well_committor` has a solution of one variable in any dimension, `mueller_brown_committor` is
the standard test of transition paths, without a formula for the solution.
"""

from __future__ import annotations

import math
from functools import reduce
from numbers import Integral
from typing import Any

import numpy as np
from torch import Tensor

from .balls import Ball
from .committors import Committor
from .domain_algebra import difference
from .domain_protocol import Domain
from .domains import Box, HalfSpace, Interval, UnitSquare
from .energies import double_well, harmonic, mueller_brown
from .one_dimensional import interval_committor, interval_exit_time
from .problems import MeanExitTime, Poisson, Problem, Schroedinger

OUTER, HOLES, RADIUS = 0.5, 0.3, 0.1  # of `four_holes`


def sine_poisson(k: int = 2) -> Problem:
    r""":math:`-\Delta u = 2 \pi^2 k^2 u` with :math:`u = \sin(k \pi x_1) \sin(k \pi x_2)` in the unit square.

    >>> import torch
    >>> round(sine_poisson(1).exact(torch.tensor([[0.5, 0.5]])).item(), 6)
    1.0
    """
    if not isinstance(k, Integral) or k < 1:
        raise ValueError(f"k must be a positive integer, or u is not 0 on the boundary, got {k}")
    frequency = k * math.pi

    def source(x: Any) -> Any:
        return 2 * frequency**2 * np.sin(frequency * x[0]) * np.sin(frequency * x[1])

    return Poisson(UnitSquare(), source=source, exact=lambda x: (frequency * x).sin().prod(1, keepdim=True))


def ground_state(omega: float = 1.0, dim: int = 2) -> Problem:
    r""":math:`u = e^{-\omega |x|^2 / 2}` in the unit ball, for :math:`V = \omega^2 |x|^2 / 2 - d\, \omega / 2`.

    The potential is negative around 0, and the expectation is finite.  Its variance in the disk is so up to an omega of
    about 1.8: labels of larger ones are of no use.
    """

    def potential(x: Any) -> Any:
        squares = x[0] * x[0]
        for i in range(1, len(x)):
            squares = squares + x[i] * x[i]
        return 0.5 * omega**2 * squares - 0.5 * omega * len(x)

    def boundary(x: Any) -> Any:
        squares = x[0] * x[0]
        for i in range(1, len(x)):
            squares = squares + x[i] * x[i]
        return np.exp(-0.5 * omega * squares)

    def exact(x: Tensor) -> Tensor:
        return (-0.5 * omega * x.square().sum(1, keepdim=True)).exp()

    return Schroedinger(Ball(dim=dim), potential=potential, boundary=boundary, exact=exact)


def well_exit(beta: float = 9.0) -> Problem:
    r"""The mean time in which :math:`dX = -X dt + \sqrt{2 / \beta}\, dW` leaves (-1, 1).

    It grows like :math:`e^{\beta / 2}`, and is nearly constant away from the ends: a constant has hardly any residual.

    >>> import torch
    >>> round(well_exit(2.0).exact(torch.zeros(1, 1)).item(), 6)
    1.445246
    """
    interval = Interval(-1.0, 1.0)
    exact = interval_exit_time(harmonic, beta, interval)
    return MeanExitTime(interval, drift=harmonic.drift, diffusion=2 / beta, exact=exact)


def well_committor(beta: float = 9.0, end: float = 1.15) -> Problem:
    r"""The probability that :math:`dX = -X dt + \sqrt{2 / \beta}\, dW` leaves (-1, end) at its upper end.

    Away from the ends it is nearly the same everywhere, and any constant has hardly any residual.
    """
    interval = Interval(-1.0, end)
    exact = interval_committor(harmonic, beta, interval)
    return Committor(HalfSpace((1.0,), -1.0), HalfSpace((-1.0,), -end), interval, harmonic.drift, 2 / beta, exact)


def double_well_committor(dim: int = 10, beta: float = 1.0, side: float = 2.0) -> Problem:
    r"""From :math:`\{x_1 \le -1\}` to :math:`\{x_1 \ge 1\}` in :math:`V = (x_1^2-1)^2 + 0.3 \sum_{i \ge 2} x_i^2`.

    The others of the d coordinates stay in (-side, side) and do not matter: the solution depends on :math:`x_1` alone.
    """
    if dim < 1:
        raise ValueError(f"dim must be at least 1, got {dim}")
    along = interval_committor(double_well, beta, Interval(-1.0, 1.0))
    first = (1.0,) + (0.0,) * (dim - 1)
    return Committor(
        HalfSpace(first, -1.0),
        HalfSpace(tuple(-c for c in first), -1.0),
        Box((-1.0,) + (-side,) * (dim - 1), (1.0,) + (side,) * (dim - 1)),
        double_well.drift,
        2 / beta,
        lambda x: along(x[:, :1]),
    )


def mueller_brown_committor(kT: float = 20.0) -> Problem:
    """From the disk around (-0.558, 1.441) to that around (0.623, 0.028) in Müller and Brown's energy.

    The box [-1.5, 1.2] x [-0.5, 2] reflects.  There is no formula for the solution: see `finite_differences`.
    """
    A, B = Ball(center=(-0.558, 1.441), radius=0.1), Ball(center=(0.623, 0.028), radius=0.1)
    return Committor(A, B, Box((-1.5, -0.5), (1.2, 2.0)), mueller_brown.drift, 2 * kT)


def four_holes() -> Problem:
    r""":math:`\Delta u = 0` in a square without four disks; u is 1 on the square's sides and 0 on the disks.

    The problem "Poisson 2d-C" of the benchmark PINNacle (arXiv 2306.08827): the square is (-1/2, 1/2)^2, the disks of
    radius 0.1 lie around (+-0.3, +-0.3).
    """
    centers = [(a, b) for a in (-HOLES, HOLES) for b in (-HOLES, HOLES)]
    disks: list[Domain] = [Ball(center=center, radius=RADIUS) for center in centers]
    square: Domain = Box((-OUTER, -OUTER), (OUTER, OUTER))

    def boundary(x: Any) -> Any:
        return 1.0 * (np.maximum(np.abs(x[0]), np.abs(x[1])) > HOLES + RADIUS + 0.5 * (OUTER - HOLES - RADIUS))

    return Poisson(reduce(difference, disks, square), boundary=boundary)


__all__ = [
    "double_well_committor",
    "four_holes",
    "ground_state",
    "mueller_brown_committor",
    "sine_poisson",
    "well_committor",
    "well_exit",
]
