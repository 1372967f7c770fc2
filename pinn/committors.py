r"""The committor: the probability to reach a set B before a set A.

.. math::

   \tfrac12\, a : \nabla^2 q + b \cdot \nabla q = 0 \quad\text{outside of A and B}, \qquad
   q = 0 \text{ on } \partial A, \quad q = 1 \text{ on } \partial B, \qquad q(x) = \mathbb P_x(\tau_B < \tau_A)

In a box whose faces reflect, where they do not lie in A or B.  For overdamped Langevin dynamics in an energy V at the
inverse temperature beta, b is -grad V and a is 2/beta.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .domain_algebra import difference, intersection, union
from .domain_protocol import Domain, compiled, inside, points_of, signed_distance
from .domains import Box
from .problems import Coefficient, Problem
from .sampling import UnitPoints, by_rejection, uniform

FACE_POINTS = 2**10  # at which a face of the box is asked whether it lies in A or B
ROUNDING = 1e-9  # that such a point may lie outside of them, times the diagonal of the box


def Committor(
    A: Domain,
    B: Domain,
    box: Box,
    drift: Coefficient = 0.0,
    diffusion: Coefficient = 1.0,
    exact: Callable[[Tensor], Tensor] | None = None,
) -> Problem:
    r"""The problem of the probability q to reach B before A, :math:`dX = b\,dt + \sigma\,dW` in a box.

    Args:
        A: where q is 0, for example a :class:`Ball`, a :class:`HalfSpace` or the :class:`Complement` of a ball.
        B: where q is 1; A and B do not meet.
        box: X stays in it.  Faces that lie in A or B are never reached; the others reflect.
        drift: b.
        diffusion: a.
        exact: q, where it is known: points (n, d) -> (n, 1).

    Raises:
        ValueError: A and B meet in the box, or one of them has no boundary there, or as of :class:`Problem`.

    >>> from optsci.pinn import Ball, HalfSpace
    >>> slab = Committor(HalfSpace((1.0, 0.0), -1.0), HalfSpace((-1.0, 0.0), -1.0), Box((-1, -2), (1, 2)))
    >>> slab.generator
    'a : Hess u / 2 = 0'
    >>> ring = Committor(Ball(radius=0.5), Complement(Ball(radius=2.0)), Box((-2, -2), (2, 2)))
    >>> ring.reflecting is None, ring.domain.contains([[1.0, 0.0], [0.2, 0.0]]).tolist()
    (True, [True, False])
    """
    for name, part in (("A", A), ("B", B)):
        if part.dim != box.dim:
            raise ValueError(f"{name} must have the dimension {box.dim} of the box, got {part.dim}")
    x = box.sample(FACE_POINTS, 0)
    both = A.contains(x) & B.contains(x)
    if both.any():
        raise ValueError(f"A and B must not meet, but {x[both][0].tolist()} is in both")
    lower, upper, covered = _moved_faces(A, B, box)
    free = intersection(Complement(A), Complement(B))
    domain, reflecting = (intersection(box, free), None) if covered else (free, Box(lower, upper))
    problem = Problem(
        domain, drift=drift, diffusion=diffusion, boundary=Nearer(A, B), exact=exact, reflecting=reflecting
    )
    at_boundary = problem.values("boundary", problem.sample_boundary(FACE_POINTS, 0)[0])
    for name, value in (("A", 0.0), ("B", 1.0)):
        if not (at_boundary == value).any():
            raise ValueError(f"the boundary of {name} must lie in the box {box}, no point of it does")
    return problem


def _moved_faces(A: Domain, B: Domain, box: Box) -> tuple[list[float], list[float], bool]:
    """The box with the faces that lie in A or B moved away from it; whether all do.

    A path that steps over the boundary of A or B is seen there, and not folded back at a face.
    """
    corners = [list(box.lower), list(box.upper)]
    rounding = ROUNDING * math.dist(box.lower, box.upper)
    spread, covered = box.sample(FACE_POINTS, 0), []
    for axis in range(box.dim):
        side = box.upper[axis] - box.lower[axis]
        for corner, outward in zip(corners, (-1, 1), strict=True):
            x = spread.clone()
            x[:, axis] = (box.lower if outward < 0 else box.upper)[axis]
            within = torch.maximum(A.distance(x), B.distance(x)) >= -rounding
            covered.append(bool(within.all()))
            corner[axis] += outward * 0.5 * side * covered[-1]
    return corners[0], corners[1], all(covered)


@dataclass(frozen=True)
class Nearer:
    """The function of x that is 1 where B is nearer than A, and 0 elsewhere: on their boundaries the one of B."""

    A: Domain
    B: Domain

    def formula(self, xp: Any) -> Callable[[Any], Any]:
        """Return the function x (d, n) -> (n,) by ``xp``, as domains do."""
        f, g = (compiled(part) if xp is np else part.formula(xp) for part in (self.A, self.B))

        def nearer(x: Any) -> Any:
            return (g(x) > f(x)) * 1.0

        return nearer

    def __call__(self, x: Any) -> Any:
        points = torch.as_tensor(np.asarray(x).T)  # by torch: what is compiled takes seconds once
        return (signed_distance(self.B, points) > signed_distance(self.A, points))[:, 0].to(points).numpy()


@dataclass(frozen=True, repr=False)
class Complement:
    """The points outside of a domain, which is unbounded: for intersections, and as a set of a :class:`Committor`.

    >>> from optsci.pinn import Ball
    >>> Complement(Ball(dim=2)).distance([[3.0, 0.0], [0.0, 0.0]]).tolist()
    [[2.0], [-1.0]]
    >>> (Box((-1, -1), (1, 1)) & Complement(Ball(dim=2))).contains([[0.9, 0.9], [0.0, 0.0]]).tolist()
    [True, False]
    """

    domain: Domain

    def __repr__(self) -> str:
        return f"Complement({self.domain})"

    @property
    def dim(self) -> int:
        return self.domain.dim

    @property
    def lower(self) -> tuple[float, ...]:
        return (-math.inf,) * self.dim

    @property
    def upper(self) -> tuple[float, ...]:
        return (math.inf,) * self.dim

    @property
    def volume(self) -> float:
        return math.inf

    @property
    def boundary_measure(self) -> float:
        return self.domain.boundary_measure

    def formula(self, xp: Any) -> Callable[[Any], Any]:
        f = compiled(self.domain) if xp is np else self.domain.formula(xp)

        def distance(x: Any) -> Any:
            return -f(x)

        return distance

    def sample_boundary(
        self,
        n: int,
        seed: int,
        *,
        points: UnitPoints = uniform,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> tuple[Tensor, Tensor]:
        x, normals = self.domain.sample_boundary(n, seed, points=points, dtype=dtype, device=device)
        return x, -normals

    def facing(self, lower: tuple[float, ...], upper: tuple[float, ...]) -> Any:
        """Return a bounded piece of the boundary that holds all of it inside the box, where it is unbounded."""
        return self.domain.facing(lower, upper)  # type: ignore[attr-defined]  # half-spaces have it

    def project(self, points: Any) -> Tensor:
        return self.domain.project(points_of(points, self.dim))

    def level(self, points: Any) -> Tensor:
        return -self.domain.level(points_of(points, self.dim))

    distance = signed_distance
    contains = inside
    sample = by_rejection
    vanishing = level
    __or__ = union
    __and__ = intersection
    __sub__ = difference
