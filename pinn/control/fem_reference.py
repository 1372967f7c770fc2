r"""Finite elements for the source problem: the state map that networks are compared with.

.. math:: \int \nabla y \cdot \nabla v + y v = \int u v \qquad \text{for all continuous, piecewise linear } v

on triangles of a regular mesh.  The map from the cells of a source to data is one factorisation and one solve for every
datum; its adjoint is the transpose, exactly.  With it the objective is quadratic plus total variation, and ADMM
(`optsci.admm` with `BoundaryMisfit`) has exact steps.  The states are of second order in the mesh width.

It needs scikit-fem, ``pip install "optsci[fem]"``.

Source: the reference of arXiv 2302.08309 is ADMM with the same elements and conjugate gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import splu
from torch import Tensor

from .solution_maps import require_count
from .source_problem import BoundaryMisfit, SourceProblem


@dataclass(frozen=True)
class FiniteElements:
    r"""Linear elements for :math:`-\Delta y + y = u` in the unit square with no flux through its boundary.

    Args:
        intervals: along a side, each square of the mesh two triangles.

    Raises:
        ValueError: fewer than 1 interval.
        ImportError: scikit-fem is not installed.
    """

    intervals: int = 64

    def __post_init__(self) -> None:
        require_count(self.intervals, "intervals", 1)

    @cached_property
    def basis(self) -> Any:
        """The elements, a basis of scikit-fem."""
        try:
            import skfem  # type: ignore[import-untyped]
        except ImportError as error:
            raise ImportError('finite elements need scikit-fem: pip install "optsci[fem]"') from error
        side = np.linspace(0, 1, self.intervals + 1)
        return skfem.Basis(skfem.MeshTri.init_tensor(side, side), skfem.ElementTriP1(), intorder=3)

    @cached_property
    def factors(self) -> Any:
        """The factorised matrix of the equation; it is symmetric."""
        import skfem
        from skfem.models.poisson import laplace, mass  # type: ignore[import-untyped]

        matrix = skfem.asm(laplace, self.basis) + skfem.asm(mass, self.basis)
        return splu(matrix.tocsc())

    def state(self, source: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Return the values of y at the nodes, ``basis.mesh.p`` (2, k), for a source that is a function of x (2, …)."""
        import skfem

        return self.factors.solve(skfem.LinearForm(lambda v, w: source(w.x) * v).assemble(self.basis))

    def state_map(self, problem: SourceProblem) -> Tensor:
        """Return S, (m, n^2), from the cells of a problem to the values at its points.

        Raises:
            ValueError: cells are not made of triangles of the mesh.
        """
        n = problem.cells
        if self.intervals % (2 * n) or self.intervals % 4:
            raise ValueError(
                f"intervals must be a multiple of {2 * n} and of 4, for {n} cells between 1/4 and 3/4, "
                f"got {self.intervals}"
            )
        at_points = self.basis.probes(problem.points.detach().cpu().double().numpy().T)
        adjoints = self.factors.solve(at_points.toarray().T)  # (k, m), A being symmetric
        return torch.from_numpy((self._loads(n).T @ adjoints).T.copy()).to(problem.points)

    def misfit(self, problem: SourceProblem) -> BoundaryMisfit:
        """Return f for a problem: what ADMM needs.

        >>> problem = SourceProblem.two_sources(side=8, cells=4)
        >>> f = FiniteElements(32).misfit(problem)
        >>> from optsci.pinn.control import two_sources
        >>> bool(problem.norm(f.residual(two_sources(4))) < 0.01 * problem.norm(problem.values))
        True
        """
        return BoundaryMisfit(problem, self.state_map(problem))

    def _loads(self, n: int) -> csr_matrix:
        """The integrals of the elements over the cells, (k, n^2)."""
        p, t = self.basis.mesh.p, self.basis.mesh.t
        place = np.floor((p[:, t].mean(1) - 0.25) * 2 * n).astype(int)  # of the triangles, by their middles
        inside = ((place >= 0) & (place < n)).all(0)
        cell = np.repeat((place[0] * n + place[1])[None, inside], 3, 0)
        third = np.full(cell.shape, 1 / (6 * self.intervals**2))
        return csr_matrix((third.ravel(), (t[:, inside].ravel(), cell.ravel())), shape=(p.shape[1], n * n))
