"""The problems of ``optsci pinn``, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..named_problems import (
    double_well_committor,
    four_holes,
    ground_state,
    mueller_brown_committor,
    sine_poisson,
    well_committor,
    well_exit,
)
from ..problems import Problem


class Named(NamedTuple):
    """A problem, and one line about it."""

    make: Callable[[], Problem]
    about: str
    weight: float = 1.0  # of boundary values and labels; that of the equation is 1


PROBLEMS = {
    "sine-poisson": Named(sine_poisson, "Poisson's equation in the unit square, u = sin(2 pi x1) sin(2 pi x2)"),
    "ground-state": Named(ground_state, "Schroedinger's equation with a harmonic potential, in the disk"),
    "well-exit": Named(well_exit, "the mean time to leave a potential well: a constant has hardly any residual"),
    "well-committor": Named(well_committor, "by which end a well is left: any constant has hardly any residual"),
    "double-well-committor": Named(double_well_committor, "from one well to the other, in ten dimensions"),
    "mueller-brown-committor": Named(
        mueller_brown_committor, "from minimum to minimum of Mueller and Brown's energy", 1e6
    ),
    "four-holes": Named(four_holes, "Laplace's equation in a square with four holes (PINNacle, Poisson 2d-C)", 1e3),
}


def named(name: str) -> Named:
    """What the name stands for.

    Raises:
        ValueError: there is none.
    """
    if name not in PROBLEMS:
        raise ValueError(f"PROBLEM must be one of {', '.join(PROBLEMS)}, not {name!r}")
    return PROBLEMS[name]
