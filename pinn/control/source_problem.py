r"""A source inside of a square from values on its boundary, as an optimisation problem.

.. math::

   \min_u \tfrac12 \int_{\partial\Omega} (y - y_d)^2 + \gamma\, \mathrm{TV}(u), \qquad
   -\Delta y + y = u 1_D \text{ in } \Omega = (0, 1)^2, \quad \partial_n y = 0 \text{ on } \partial\Omega, \quad
   D = (\tfrac14, \tfrac34)^2

u is constant on the n x n square cells of D, of side h = 1/(2 n).  On the grid all is divided by the size of a cell:

.. math::

   f(u) = \frac1{2 h^2} \sum_i w_i\, (y(x_i) - d_i)^2, \qquad
   g(u) = \frac{\gamma}{h} \sum_{jk} \sqrt{(u_{j+1,k} - u_{jk})^2 + (u_{j,k+1} - u_{jk})^2}

with :math:`w_i` the length of boundary that belongs to the point :math:`x_i`.  So the penalty of ADMM on the nodal
values is that of the :math:`L^2(D)` norm, and the gradient of f is the adjoint state: with S the map from u to the
:math:`y(x_i)`,

.. math::

   \nabla f(u) = p = \frac1{h^2} S^\top W (S u - d), \qquad -\Delta p + p = 0, \quad
   \partial_n p = y - y_d \text{ on } \partial\Omega

The variation is the isotropic one, which does not know the axes, and counts jumps inside of D only.  The data tell only
the moments of u with solutions of :math:`-\Delta p + p = 0`: without a regulariser infinitely many u fit them.  The
truth of the paper (`two_sources`) has the least variation among those: with
:math:`c\, \varphi = (\cosh \frac14 - \cosh(x_1 - \frac12), 0)` there is a field of length 1 on the jump and less
elsewhere, without normal component on the boundary of D, whose divergence is such a p.  Hence the error of u falls
linearly with :math:`\gamma`.

Source: arXiv 2302.08309 and its public code, which has a denoising network in the place of the total variation.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from optsci._tensor import as_finite, as_float, positive_scalar, require_nonnegative
from optsci.functions.total_variation_2d import TotalVariation2D

from .solution_maps import require_count

ON_BOUNDARY = 1e-9  # how far a point of the boundary may be from it
MODES = 64  # of the exact map: the 64-th has decayed to e^-50 on the way to the boundary


@dataclass(frozen=True, eq=False)
class SourceProblem:
    """Values on the boundary of the unit square, and the cells of the source.

    Args:
        points: (m, 2), on the boundary, no corners.
        values: d, (m,), the values of y there.
        cells: n, along a side of D.

    Raises:
        ValueError: a point is not on the boundary, or in a corner, or occurs twice; a value is not finite; the shapes
            disagree; or there are fewer than 2 cells.

    >>> problem = SourceProblem([[0.0, 0.5], [0.3, 1.0]], [0.1, 0.2], cells=4)
    >>> problem.normals
    tensor([[-1.,  0.],
            [ 0.,  1.]])
    >>> SourceProblem([[0.25, 0.5]], [0.1])
    Traceback (most recent call last):
    ValueError: points must lie on the boundary of the unit square, 1 of 1 do not: [0.25, 0.5]
    """

    points: Any
    values: Any
    cells: int = 32

    def __post_init__(self) -> None:
        x = on_boundary(self.points)
        d = as_finite(self.values, "values", like=x)
        if d.shape != (len(x),):
            raise ValueError(f"values must be ({len(x)},), one for every point, got {tuple(d.shape)}")
        require_count(self.cells, "cells", 2)
        corner = sides_of(x) == 2
        if corner.any():
            raise ValueError(f"points must not be corners, where there is no normal, got {x[corner][0].tolist()}")
        object.__setattr__(self, "points", x)
        object.__setattr__(self, "values", d)
        if not (self.weights > 0).all():
            raise ValueError(f"points must be different, got {x[self.weights <= 0][0].tolist()} twice")

    @property
    def spacing(self) -> float:
        """h, the side of a cell."""
        return 0.5 / self.cells

    @cached_property
    def centres(self) -> Tensor:
        """The middles of the cells, (n^2, 2), the second coordinate running fastest."""
        along = 0.25 + self.spacing * (torch.arange(self.cells, dtype=self.points.dtype) + 0.5)
        return torch.cartesian_prod(along, along).to(self.points.device)

    @cached_property
    def normals(self) -> Tensor:
        """Outwards, (m, 2)."""
        x = self.points
        return ((x - 1).abs() <= ON_BOUNDARY).to(x) - (x.abs() <= ON_BOUNDARY).to(x)

    @cached_property
    def weights(self) -> Tensor:
        """The lengths of boundary nearest to every point, (m,), in all 4."""
        x, y = self.points.unbind(1)
        left, top = self.normals[:, 0] < 0, self.normals[:, 1] > 0
        along = torch.where(self.normals[:, 0] > 0, 1 + y, x)
        along = torch.where(top, 3 - x, torch.where(left, 4 - y, along))
        order = along.argsort()
        ahead = (along[order].roll(-1) - along[order]) % 4
        if len(x) == 1:
            return x.new_full((1,), 4.0)
        return torch.empty_like(along).scatter(0, order, (ahead + ahead.roll(1)) / 2)

    def norm(self, values: Tensor) -> Tensor:
        """Return the L2 norm of values at the points, (m,), over the boundary."""
        return (self.weights * values.square()).sum().sqrt()

    def regulariser(self, gamma: float, iterations: int = 200) -> TotalVariation2D:
        """Return g for the weight gamma, a function of images (n, n)."""
        return TotalVariation2D(gamma / self.spacing, iterations)

    def noisy(self, level: float, seed: int) -> SourceProblem:
        """Return the problem with normal noise of the L2 norm ``level`` times that of the data."""
        require_nonnegative(level, "level")
        noise = torch.randn(len(self.values), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        noise = noise.to(self.values)
        return replace(self, values=self.values + level * noise * (self.norm(self.values) / self.norm(noise)))

    @classmethod
    def two_sources(cls, side: int = 64, cells: int = 32) -> SourceProblem:
        """Return the problem of the paper, with exact data at the middles of ``side`` intervals of every side.

        >>> SourceProblem.two_sources(side=2).values.round(decimals=4)
        tensor([-0.6436, -0.6436, -0.8107, -0.8107, -0.6706, -0.7837, -0.6706, -0.7837],
               dtype=torch.float64)
        """
        require_count(side, "side", 1)
        s = (torch.arange(side, dtype=torch.float64) + 0.5) / side
        low, high = torch.zeros_like(s), torch.ones_like(s)
        x = torch.cat([torch.stack(pair, 1) for pair in ((low, s), (high, s), (s, low), (s, high))])
        return cls(x, boundary_map(x, 2) @ two_sources(2).flatten(), cells)


def two_sources(cells: int) -> Tensor:
    """Return the truth of the paper, (n, n): 3 where x_1 < 1/2, else -9.

    >>> two_sources(2)
    tensor([[ 3.,  3.],
            [-9., -9.]], dtype=torch.float64)
    """
    if not isinstance(cells, Integral) or cells < 2 or cells % 2:
        raise ValueError(f"cells must be even, so that the jump is between two of them, got {cells!r}")
    u = torch.full((cells, cells), 3.0, dtype=torch.float64)
    u[cells // 2 :] = -9
    return u


def on_boundary(points: Any) -> Tensor:
    """Return points (m, 2) as a tensor, refusing what does not lie on the boundary of the unit square."""
    x = as_finite(points, "points")
    if x.dim() != 2 or x.shape[1] != 2 or len(x) == 0:
        raise ValueError(f"points must be (m, 2), at least one, got {tuple(x.shape)}")
    away = (sides_of(x) == 0) | ((x < -ON_BOUNDARY) | (x > 1 + ON_BOUNDARY)).any(1)
    if away.any():
        raise ValueError(
            f"points must lie on the boundary of the unit square, {int(away.sum())} of {len(x)} do not: "
            f"{x[away][0].tolist()}"
        )
    return x


def sides_of(x: Tensor) -> Tensor:
    """Return on how many of the lines along the sides points lie, (m,)."""
    return (torch.minimum(x.abs(), (1 - x).abs()) <= ON_BOUNDARY).sum(1)


def boundary_map(points: Any, cells: int) -> Tensor:
    r"""Return the exact S, (m, n^2): values of y at points of the boundary, for sources 1 on one cell each.

    Cosines along the side of the point, and the solution of the ordinary differential equation
    :math:`-g'' + k^2 g = \delta` across it, which decays like :math:`e^{-k/4}` up to the boundary.

    Args:
        points: (m, 2), on the boundary.
        cells: n, at least 1.

    Raises:
        ValueError: a point is not on the boundary, or not finite, or there are no cells.

    >>> boundary_map([[0.5, 0.5]], 4)
    Traceback (most recent call last):
    ValueError: points must lie on the boundary of the unit square, 1 of 1 do not: [0.5, 0.5]
    """
    given = on_boundary(points)
    require_count(cells, "cells", 1)
    x = given.detach().cpu().double().numpy()
    edges = 0.25 + 0.5 / cells * np.arange(cells + 1)
    across = np.minimum(np.abs(x), np.abs(1 - x)).argmin(1)  # the coordinate that is constant along the side
    j = np.arange(MODES)
    k = np.sqrt(1 + (np.pi * j) ** 2)[:, None]
    # integrals of the Green's function at 0 over cells; that at 1 is its mirror image
    decay = np.diff(-np.sinh(k * (1 - edges)) / (k**2 * np.sinh(k)), axis=1)
    along = np.diff(np.sin(np.pi * np.outer(j, edges)), axis=1) / np.where(j > 0, np.pi * j, 1)[:, None]
    along[0] = np.diff(edges)
    at = np.take_along_axis(x, 1 - across[:, None], 1) * np.pi * j
    waves = np.where(j > 0, 2, 1) * np.cos(at)  # (m, modes)
    far = np.take_along_axis(x, across[:, None], 1)[:, 0] > 0.5
    both = np.stack(
        [np.einsum("mj,ja,jb->mab", waves, decay, along), np.einsum("mj,ja,jb->mab", waves, decay[:, ::-1], along)]
    )
    found = both[far.astype(int), np.arange(len(x))]
    found = np.where(across[:, None, None] == 0, found, found.transpose(0, 2, 1))
    return torch.from_numpy(found.reshape(len(x), -1)).to(given)


@dataclass(frozen=True, eq=False)
class BoundaryMisfit:
    r"""f for a given S: the misfit of a source, with its prox by one factorisation.

    .. math:: \operatorname{prox}_{s f}(v) = v - s P r, \qquad (I + s S P)\, r = S v - d, \qquad
       P = S^\top W / h^2 \text{ unless given}

    With another P, the map from data on the boundary to the adjoint state by some other approximation, it is the
    solution of the optimality system with these two maps.

    Args:
        problem: of m data and n^2 cells.
        state: S, (m, n^2).
        adjoint: P, (n^2, m).

    Sources are images (n, n), or vectors.

    >>> problem = SourceProblem.two_sources(side=8, cells=4)
    >>> f = BoundaryMisfit(problem, boundary_map(problem.points, 4))
    >>> bool(f(two_sources(4)) < 1e-20), bool((f.prox(two_sources(4), 9.0) - two_sources(4)).abs().max() < 1e-10)
    (True, True)
    """

    problem: SourceProblem
    state: Tensor
    adjoint: Tensor | None = None
    kept: dict[float, Any] = field(default_factory=dict, init=False, repr=False)  # the factors for the last step

    def __post_init__(self) -> None:
        m, n = len(self.problem.values), self.problem.cells**2
        S = as_finite(self.state, "state", like=self.problem.values)
        if S.shape != (m, n):
            raise ValueError(f"state must be ({m}, {n}), from cells to data, got {tuple(S.shape)}")
        P = S.T * self.problem.weights / self.problem.spacing**2 if self.adjoint is None else self.adjoint
        P = as_finite(P, "adjoint", like=S)
        if P.shape != (n, m):
            raise ValueError(f"adjoint must be ({n}, {m}), from data to cells, got {tuple(P.shape)}")
        object.__setattr__(self, "state", S)
        object.__setattr__(self, "adjoint", P)

    def __call__(self, u: Tensor) -> Tensor:
        return 0.5 * self.problem.norm(self.residual(u)) ** 2 / self.problem.spacing**2

    def residual(self, u: Tensor) -> Tensor:
        """Return S u - d, (m,)."""
        if u.numel() != self.state.shape[1]:
            n = self.problem.cells
            raise ValueError(f"u must be ({n}, {n}), a value on every cell, or a vector of them, got {tuple(u.shape)}")
        return self.state @ u.reshape(-1) - self.problem.values

    def prox(self, v: Tensor, step: float | Tensor) -> Tensor:
        """Return the source, of the shape of v."""
        s = as_float(positive_scalar(step, "step"))
        assert self.adjoint is not None
        if s not in self.kept:
            system = torch.eye(len(self.state), dtype=v.dtype, device=v.device) + s * self.state @ self.adjoint
            self.kept.clear()
            self.kept[s] = torch.linalg.lu_factor(system)
        r = torch.linalg.lu_solve(*self.kept[s], self.residual(v)[:, None])
        return v - s * (self.adjoint @ r).reshape(v.shape)
