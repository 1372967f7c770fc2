r"""The control-to-state map of Burgers' equation, with exact derivatives of the discrete equation.

.. math:: -\nu y'' + y y' = u \text{ on } (0, 1), \qquad y = 0 \text{ at both ends}

by central differences D, second order in the spacing.  The derivative :math:`w = S'(u) v` solves
:math:`-\nu w'' + w D y + y D w = v`; the transpose of that matrix gives adjoints.  The reduced gradient
:math:`q(u) = S'(u)^\top (S(u) - y_d)` has the derivative

.. math:: q'(u) v = S'(u)^\top \bigl( w - z\, D w + D (w z) \bigr), \qquad z = S'(u)^\top (S(u) - y_d)

because D is skew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import solve_banded
from torch import Tensor

from optsci._tensor import require_positive
from optsci.operators import NumpyOperator

from .solution_maps import grid_points, numpy_vector, on_numpy, require_count

NEWTON_STEPS, ARRIVED = 60, 1e-13  # the last correction, relative
HALVINGS = 12  # of a Newton step that does not lower the residual


@dataclass(frozen=True)
class BurgersMap:
    r"""The solution of :math:`-\nu y'' + y y' = u` on (0, 1), y = 0 at both ends, by central differences.

    Args:
        cells: N intervals; there are N - 1 nodes inside.
        nu: the viscosity, positive.

    Raises:
        ValueError: fewer than 2 cells, or nu not positive.
        ArithmeticError: Newton's method finds no state.

    Example:
        >>> S = BurgersMap(200, nu=1 / 12)
        >>> x = S.points[:, 0]
        >>> y = (np.pi * x).sin()
        >>> u = np.pi**2 / 12 * y + np.pi * y * (np.pi * x).cos()
        >>> bool((S(u) - y).abs().max() < 1e-4)
        True
    """

    cells: int
    nu: float = 1 / 12

    def __post_init__(self) -> None:
        require_count(self.cells, "cells", 2)
        require_positive(self.nu, "nu")

    def __call__(self, u: Tensor) -> Tensor:
        return on_numpy(self._solve, u, self.shape[1], "u")

    def linearised(self, u: Tensor, y: Tensor) -> NumpyOperator:
        """Return the derivative at u; it depends on the state y alone."""
        bands = self._bands(numpy_vector(y, self.shape[0], "y"))
        mirrored = _transposed(bands)
        return NumpyOperator(
            lambda v: solve_banded((1, 1), bands, v), lambda p: solve_banded((1, 1), mirrored, p), self.shape
        )

    def hessian(self, u: Tensor, y: Tensor, p: Tensor) -> Callable[[Tensor], Tensor]:
        """Return v -> q'(u) v for p = y - y_d; the equation has the second derivative w D v + v D w."""
        L = self.linearised(u, y)
        z = L.T(p)

        def product(v: Tensor) -> Tensor:
            w = L(v)
            return L.T(w - z * self._slope(w) + self._slope(w * z))  # D is skew: D^T (w z) = -D (w z)

        return product

    @property
    def shape(self) -> tuple[int, int]:
        return self.cells - 1, self.cells - 1

    @property
    def points(self) -> Tensor:
        """The nodes inside, (n, 1)."""
        return grid_points(self.cells, 1)

    @property
    def weight(self) -> float:
        """The quadrature weight of a node, h."""
        return 1 / self.cells

    def _slope(self, y: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(y, (1, 1))
        return self.cells / 2 * (padded[2:] - padded[:-2])

    def _residual(self, y: np.ndarray, u: np.ndarray) -> np.ndarray:
        padded, N = np.pad(y, 1), self.cells
        second = N**2 * (padded[2:] - 2 * y + padded[:-2])
        return -self.nu * second + y * (N / 2) * (padded[2:] - padded[:-2]) - u

    def _bands(self, y: np.ndarray) -> np.ndarray:
        """The tridiagonal derivative of the equation, as ``solve_banded`` takes it."""
        padded, N = np.pad(y, 1), self.cells
        bands = np.zeros((3, len(y)))
        bands[0, 1:] = -self.nu * N**2 + N / 2 * y[:-1]
        bands[1] = 2 * self.nu * N**2 + N / 2 * (padded[2:] - padded[:-2])
        bands[2, :-1] = -self.nu * N**2 - N / 2 * y[1:]
        return bands

    def _solve(self, u: np.ndarray) -> np.ndarray:
        y = np.zeros(len(u))
        r = self._residual(y, u)
        for _ in range(NEWTON_STEPS):
            d = solve_banded((1, 1), self._bands(y), -r)
            size = np.linalg.norm(r)
            for t in 0.5 ** np.arange(HALVINGS):
                r = self._residual(y + t * d, u)
                if np.linalg.norm(r) < size:
                    break
            y = y + t * d
            if not np.abs(d).max() > ARRIVED * np.abs(y).max():
                return y
            if t < 1 and not np.linalg.norm(r) < size and np.abs(d).max() < 1e-9 * np.abs(y).max():
                return y  # the residual cannot be computed better
        raise ArithmeticError(
            f"Burgers' equation: Newton's method did not arrive in {NEWTON_STEPS} steps, "
            f"for a control of up to {np.abs(u).max():.3g} and nu = {self.nu:.3g}"
        )


def _transposed(bands: np.ndarray) -> np.ndarray:
    mirrored = np.zeros_like(bands)
    mirrored[0, 1:], mirrored[1], mirrored[2, :-1] = bands[2, :-1], bands[1], bands[0, 1:]
    return mirrored
