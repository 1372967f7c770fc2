"""The examples of ``optsci control``, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .grid_examples import bilinear_heat, sparse_elliptic
from .interface_examples import interface_circle, interface_flower, interface_flux, interface_heat, moving_interface
from .line_examples import burgers, inverse_potential
from .outcome import Outcome
from .plane_examples import elliptic, source, sparse_heat


class Example(NamedTuple):
    """A function (seed, steps=…, progress=…) -> Outcome, and one line about it."""

    solve: Callable[..., Outcome]
    about: str


EXAMPLES = {
    "interface-circle": Example(interface_circle, "a plate whose conductivity jumps at a circle: networks with a kink"),
    "interface-flower": Example(interface_flower, "the same with five petals, against fitted finite elements"),
    "interface-flux": Example(interface_flux, "a control of the flux across the circle, with a bound that varies"),
    "interface-heat": Example(interface_heat, "the heat equation with a jump of the conductivity at a circle"),
    "moving-interface": Example(moving_interface, "the same with a circle that moves"),
    "burgers": Example(burgers, "Burgers' equation with a bound: ADMM with networks against finite differences"),
    "inverse-potential": Example(inverse_potential, "a piecewise constant potential from noisy values of the state"),
    "elliptic": Example(elliptic, "Poisson's equation, sparse and bounded: ADMM with networks against a fine grid"),
    "source": Example(source, "a source inside of a square from values on its boundary, with total variation"),
    "sparse-heat": Example(sparse_heat, "sparse control of the heat equation in space and time, by ADMM with networks"),
    "sparse-elliptic": Example(
        sparse_elliptic, "sources of Poisson's equation, most of them zero: primal-dual against semismooth Newton"
    ),
    "bilinear-heat": Example(
        bilinear_heat, "a coefficient of the heat equation: primal-dual against semismooth Newton"
    ),
}


def example(name: str) -> Example:
    """What the name stands for.

    Raises:
        ValueError: there is none.
    """
    if name not in EXAMPLES:
        raise ValueError(f"EXAMPLE must be one of {', '.join(EXAMPLES)}, not {name!r}")
    return EXAMPLES[name]
