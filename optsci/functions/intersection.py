r"""Indicator of the intersection of convex sets that can be projected on one after the other.

.. math:: y_i = x + q_i, \quad x \leftarrow P_{C_i}(y_i), \quad q_i \leftarrow y_i - x, \qquad i = 1, \dots, k, 1, \dots

Plain alternating projections find some point of the intersection, Dykstra's corrections q the nearest one.

Sources: R. L. Dykstra, An algorithm for restricted least squares regression, J. Amer. Statist. Assoc. 78 (1983)
837; J. P. Boyle and R. L. Dykstra, in: Advances in Order Restricted Statistical Inference, Springer 1986, 28.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from optsci._tensor import require_step
from optsci.functions.calculus import scaled
from optsci.protocols import require


@dataclass(frozen=True, eq=False, init=False)
class Intersection:
    r"""Indicator of the intersection of convex sets, such as a polyhedron of halfspaces and a box.

    .. math:: \operatorname{prox}(x) = \lim_j x_j \quad \text{of Dykstra's algorithm}

    The prox is that of **a fixed number of sweeps**, each of one projection a set, and therefore an
    approximation. For polyhedra the error falls linearly in the end, at a rate that gets worse as the angles
    between the sets get small, possibly after a long stall; for other sets it can fall more slowly. The last
    set holds exactly; when one of the others is violated by more than rounding, the value at the result is
    infinite: more ``sweeps`` are needed, or the intersection is empty.

    Args:
        sets: the indicators, convex; those without a tolerance, such as a box, last.
        sweeps: how many, at least 1.

    Raises:
        TypeError: a set has no prox.
        ValueError: no set at all; or ``sweeps`` is not a whole number, or smaller than 1.

    Reference: R. L. Dykstra, An algorithm for restricted least squares regression, J. Amer. Statist. Assoc. 78
    (1983) 837.

    >>> from optsci import Box, Halfspace
    >>> triangle = Intersection(Box(0, 1), Halfspace([1.0, 1.0], 1.0))
    >>> triangle.prox(torch.tensor([2.0, 0.5]), 1.0), triangle(torch.tensor([0.5, 0.25]))
    (tensor([1., 0.]), tensor(0.))
    """

    sets: tuple[Any, ...]
    sweeps: int

    def __init__(self, *sets: Any, sweeps: int = 200) -> None:
        if not sets:
            raise ValueError("Intersection needs at least one set, got none")
        for k, one in enumerate(sets):
            require(one, "prox", by="Intersection", name=f"sets[{k}]")
        if not isinstance(sweeps, Integral) or sweeps < 1:
            raise ValueError(f"sweeps must be a whole number, at least 1, got {sweeps!r}")
        object.__setattr__(self, "sets", sets)
        object.__setattr__(self, "sweeps", sweeps)

    def __call__(self, x: Tensor) -> Tensor:
        return torch.stack([one(x) for one in self.sets]).sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """The last point of Dykstra's algorithm, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        corrections = [torch.zeros_like(x) for _ in self.sets]
        for _ in range(self.sweeps):
            for k, one in enumerate(self.sets):
                y = x + corrections[k]
                x = one.prox(y, 1.0)
                corrections[k] = y - x
        return x

    __rmul__ = scaled
