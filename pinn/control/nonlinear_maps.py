r"""Control-to-state maps of nonlinear parabolic equations, with exact derivatives of the discrete equations.

.. math::

   \text{semilinear:} \quad & y_t - \Delta y + g(y) = u, \\
   \text{bilinear:} \quad & y_t - \Delta y + u y = f, \qquad y = 0 \text{ on the boundary}, \quad y(0) = 0

by central differences and implicit Euler steps, with u at the new time.  ``S(u)`` is the state; ``S.linearised(u, y)``
its derivative at u, whose state is y, an operator with the exact transpose; ``S.hessian(u, y, p)`` the derivative of
the reduced gradient :math:`q(u) = S'(u)^\top (S(u) - y_d)`.

With E(y, u) = 0 the discrete equation, :math:`w = S'(u) v` solves :math:`E_y w = -E_u v`, and with
:math:`E_y^\top z = p = y - y_d`

.. math:: q = -E_u^\top z, \qquad q'(u) v = -E_u^\top E_y^{-\top} (w - (E_y' z)[w, v]) - (E_u' z)[w, v]

where primes are directional derivatives of :math:`E_y^\top z` and :math:`E_u^\top z` with z fixed.  Vectors and the
quadrature weight are those of `solution_maps`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.polynomial import Polynomial
from scipy.linalg import cho_solve_banded, cholesky_banded
from torch import Tensor

from optsci._tensor import as_finite
from optsci.operators import NumpyOperator

from .solution_maps import HeatMap, numpy_vector, on_numpy, require_vector

NEWTON_STEPS, ARRIVED = 60, 1e-13  # of the state equations; the last correction, relative

Hessian = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class SemilinearHeatMap:
    r"""The solution of :math:`y_t - \Delta y + g(y) = u`, y = 0 at first and on the boundary of the unit cube.

    Args:
        cells: N, intervals a side.
        steps: M, time steps; vectors have M (N - 1)^dim entries, those of the first time first.
        final: T, positive.
        reaction: g, a polynomial. The default is y (y - 1/4)(y + 1).
        dim: 1, 2 or 3.

    Raises:
        ValueError: too few cells or steps, T not positive, or another dimension.
        ArithmeticError: the steps are too long for g, or Newton's method finds no state.

    Example:
        >>> S = SemilinearHeatMap(cells=4, steps=3, reaction=Polynomial([0.0]))
        >>> from optsci.pinn.control import HeatMap
        >>> u = torch.ones(27, dtype=torch.float64)
        >>> bool((S(u) - HeatMap(cells=4, steps=3)(u)).abs().max() < 1e-14)
        True
    """

    cells: int
    steps: int
    final: float = 1.0
    reaction: Polynomial = field(default_factory=lambda: Polynomial.fromroots([-1.0, 0.0, 0.25]))
    dim: int = 2

    def __post_init__(self) -> None:
        _ = self.heat  # refuses what it refuses
        if not isinstance(self.reaction, Polynomial):
            raise TypeError(f"reaction must be a numpy Polynomial, got {type(self.reaction).__name__}")

    def __call__(self, u: Tensor) -> Tensor:
        return on_numpy(self._solve, u, self.shape[1], "u")

    def linearised(self, u: Tensor, y: Tensor) -> NumpyOperator:
        """Return the derivative at u; it depends on the state y alone."""
        steps = _Steps(self, self.reaction.deriv()(numpy_vector(y, self.shape[0], "y")))
        return NumpyOperator(steps.forward, steps.backward, self.shape)

    def hessian(self, u: Tensor, y: Tensor, p: Tensor) -> Hessian:
        """Return v -> q'(u) v for p = y - y_d."""
        L = self.linearised(u, y)
        curvature = torch.from_numpy(self.reaction.deriv(2)(numpy_vector(y, self.shape[0], "y"))).to(y) * L.T(p)

        def product(v: Tensor) -> Tensor:
            w = L(v)
            return L.T(w - curvature * w)

        return product

    @cached_property
    def heat(self) -> HeatMap:
        """The linear equation on the same grid."""
        return HeatMap(self.cells, self.steps, self.final, self.dim)

    @property
    def shape(self) -> tuple[int, int]:
        return self.heat.shape

    @property
    def points(self) -> Tensor:
        """The nodes inside at every time, (M n, dim + 1), the time last."""
        return self.heat.points

    @property
    def weight(self) -> float:
        """The quadrature weight of a node at a time, dt h^dim."""
        return self.heat.weight

    def _solve(self, u: np.ndarray) -> np.ndarray:
        slope, rate = self.reaction.deriv(), self.steps / self.final
        laplacian = _Bands(self)
        y, states = np.zeros(len(u) // self.steps), []
        for source in u.reshape(self.steps, -1):
            before = y
            for _ in range(NEWTON_STEPS):
                r = rate * (y - before) + laplacian.times(y) + self.reaction(y) - source
                d = cho_solve_banded((laplacian.factor(rate + slope(y)), True), r)
                y = y - d
                if not np.abs(d).max() > ARRIVED * np.abs(y).max():
                    break
            else:
                raise ArithmeticError(
                    f"the state equation: Newton's method did not arrive in {NEWTON_STEPS} steps: take more time steps"
                )
            states.append(y)
        return np.concatenate(states)


@dataclass(frozen=True, eq=False)
class BilinearHeatMap:
    r"""The solution of :math:`y_t - \Delta y + u y = f`, y = 0 at first and on the boundary of the unit cube.

    The control is a coefficient, so y is not linear in it.

    Args:
        cells: N, intervals a side.
        steps: M, time steps.
        f: the values at ``space_time_points``, (M (N - 1)^dim,), or a number.
        final: T, positive.
        dim: 1, 2 or 3.

    Raises:
        ValueError: too few cells or steps, T not positive, another dimension, or f of another shape or not finite.
        ArithmeticError: the control is so negative that the steps are too long.

    Example:
        >>> S = BilinearHeatMap(cells=4, steps=3, f=1.0)
        >>> from optsci.pinn.control import HeatMap
        >>> u = torch.zeros(27, dtype=torch.float64)
        >>> bool((S(u) - HeatMap(cells=4, steps=3)(u + 1)).abs().max() < 1e-14)
        True
    """

    cells: int
    steps: int
    f: Any
    final: float = 1.0
    dim: int = 2

    def __post_init__(self) -> None:
        _ = self.heat  # refuses what it refuses
        f = as_finite(self.f, "f").double()
        require_vector(f.expand(self.shape[0]) if f.dim() == 0 else f, self.shape[0], "f")
        object.__setattr__(self, "f", f.expand(self.shape[0]))

    def __call__(self, u: Tensor) -> Tensor:
        return on_numpy(lambda c: _Steps(self, c).forward(self.f.cpu().numpy()), u, self.shape[1], "u")

    def linearised(self, u: Tensor, y: Tensor) -> NumpyOperator:
        """Return the derivative at u, which solves the equation with the source -y v."""
        steps, state = _Steps(self, numpy_vector(u, self.shape[1], "u")), numpy_vector(y, self.shape[0], "y")
        return NumpyOperator(lambda v: steps.forward(-state * v), lambda p: -state * steps.backward(p), self.shape)

    def hessian(self, u: Tensor, y: Tensor, p: Tensor) -> Hessian:
        """Return v -> q'(u) v for p = y - y_d, where q = -y z."""
        steps = _Steps(self, numpy_vector(u, self.shape[1], "u"))
        solve = NumpyOperator(steps.forward, steps.backward, self.shape)
        z = solve.T(p)

        def product(v: Tensor) -> Tensor:
            w = solve(-y * v)
            return -y * solve.T(w - v * z) - w * z

        return product

    @cached_property
    def heat(self) -> HeatMap:
        """The linear equation on the same grid."""
        return HeatMap(self.cells, self.steps, self.final, self.dim)

    @property
    def shape(self) -> tuple[int, int]:
        return self.heat.shape

    @property
    def points(self) -> Tensor:
        """The nodes inside at every time, (M n, dim + 1), the time last."""
        return self.heat.points

    @property
    def weight(self) -> float:
        """The quadrature weight of a node at a time, dt h^dim."""
        return self.heat.weight


class _Bands:
    """A plus a diagonal, lower bands: (N - 1)^(dim - 1) of them below the diagonal."""

    def __init__(self, grid: Any) -> None:
        side, N = grid.cells - 1, grid.cells
        n = side**grid.dim
        self.lower = np.zeros((side ** (grid.dim - 1) + 1, n))
        self.lower[0] = 2 * grid.dim * N**2
        for axis in range(grid.dim):
            stride = side**axis
            inside = (np.arange(n) // stride) % side < side - 1  # the node has a neighbour up the axis
            self.lower[stride] -= N**2 * inside

    def factor(self, diagonal: np.ndarray) -> np.ndarray:
        bands = self.lower.copy()
        bands[0] += diagonal
        try:
            return cholesky_banded(bands, lower=True, overwrite_ab=True, check_finite=False)
        except np.linalg.LinAlgError as error:
            raise ArithmeticError(
                f"the time steps are too long: 1/dt plus the coefficient falls to {diagonal.min():.3g}"
            ) from error

    def times(self, y: np.ndarray) -> np.ndarray:
        total = self.lower[0] * y
        for stride in np.flatnonzero(self.lower.any(1))[1:]:
            below = self.lower[stride, :-stride]
            total[stride:] += below * y[:-stride]
            total[:-stride] += below * y[stride:]
        return total


class _Steps:
    """Implicit Euler steps of y_t - Laplace y + c y = s with all matrices factored, and their transpose."""

    def __init__(self, grid: Any, c: np.ndarray) -> None:
        self.rate, bands = grid.steps / grid.final, _Bands(grid)
        self.factors = [bands.factor(self.rate + row) for row in c.reshape(grid.steps, -1)]

    def forward(self, source: np.ndarray) -> np.ndarray:
        return self._march(source, slice(None))

    def backward(self, source: np.ndarray) -> np.ndarray:
        return self._march(source, slice(None, None, -1))

    def _march(self, source: np.ndarray, order: slice) -> np.ndarray:
        y, states = np.zeros(1), []
        for factor, s in zip(self.factors[order], source.reshape(len(self.factors), -1)[order], strict=True):
            y = cho_solve_banded((factor, True), s + self.rate * y, check_finite=False)
            states.append(y)
        return np.concatenate(states[order])
