"""What is given at an interface: numbers and functions of points, and pairs of them for its two sides."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from optsci._tensor import as_finite, require_finite

from ..ansatz import column
from ..derivatives import Solution

Coefficient = float | Solution  # a number, or a function of points, (n, d) -> (n, 1)


class Sides(NamedTuple):
    """Points, or functions, or numbers, of the two sides of an interface."""

    inside: Any
    outside: Any


def values_at(f: Coefficient, x: Tensor) -> Tensor:
    """Return a number, or a function of points, at points, (n, 1)."""
    return column("coefficient", f, x) if callable(f) else x.new_full((len(x), 1), float(f))


def require_finite_at(f: Coefficient, x: Tensor, name: str) -> Tensor:
    """Return the values (n, 1) of a coefficient, refusing what is not finite or not a column."""
    value = column(name, f, x) if callable(f) else as_finite(f, name, like=x).expand(len(x), 1)
    require_finite(value, name)
    return value
