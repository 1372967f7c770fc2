r"""Where a control is at a bound of its box, or zero: exactly, for a prox and a projection make it so.

.. math:: \{ u = a \}, \qquad \{ u = 0 \}, \qquad \{ u = b \}
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from torch import Tensor

from optsci._tensor import as_finite


class ActiveSets(NamedTuple):
    """Three disjoint sets of nodes, booleans of the shape of u."""

    lower: Tensor  # u = a
    zero: Tensor  # u = 0, and no bound
    upper: Tensor  # u = b, and not a

    def shares(self) -> dict[str, float]:
        """Return the part of all nodes that each of them holds.

        >>> active_sets([-1.0, 0.0, 0.5, 2.0], -1.0, 2.0).shares()
        {'lower': 0.25, 'zero': 0.25, 'upper': 0.25}
        """
        return {name: float(held.double().mean()) for name, held in self._asdict().items()}


def active_sets(u: Any, lower: float | Tensor = -math.inf, upper: float | Tensor = math.inf) -> ActiveSets:
    """Return the active sets of a control.

    Args:
        u: values at nodes, any shape.
        lower: a, a number or values of the shape of u.
        upper: b, likewise.

    >>> active_sets([0.0, 0.1], 0.0).lower
    tensor([ True, False])
    """
    u = as_finite(u, "u")
    at_lower = u == lower
    at_upper = (u == upper) & ~at_lower
    return ActiveSets(at_lower, (u == 0) & ~at_lower & ~at_upper, at_upper)
