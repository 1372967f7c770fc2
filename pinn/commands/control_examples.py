"""The examples of ``optsci control``, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .grid_examples import bilinear_heat, sparse_elliptic
from .outcome import Outcome


class Example(NamedTuple):
    """A function (seed, steps=…, progress=…) -> Outcome, and one line about it."""

    solve: Callable[..., Outcome]
    about: str


EXAMPLES = {
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
