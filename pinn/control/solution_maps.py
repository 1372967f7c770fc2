r"""Control-to-state maps of linear equations as operators, ``S(u)`` and ``S.T(p)``: the exact transpose of each other.

.. math::

   \text{elliptic:} \quad & -\Delta y = u, \qquad y = 0 \text{ on the boundary of } (0, 1)^d, \\
   \text{parabolic:} \quad & y_t - \Delta y = u, \qquad y = 0 \text{ on the boundary}, \quad y(0) = 0

On a grid of N intervals a side, with the scheme of 2 d + 1 points and implicit Euler steps

.. math:: \frac{y^m - y^{m-1}}{\Delta t} + A y^m = u^m, \qquad m = 1, \dots, M

Vectors are the values at the nodes inside, u at :math:`t_1, \dots, t_M` one time after another.  The transpose runs the
same steps from the last to the first: :math:`\langle S u, p \rangle = \langle u, S^\top p \rangle` up to rounding,
which the steps of primal-dual methods rest on.  A is diagonal in sines, and so a solve is two sine transforms.

All nodes have the same quadrature weight, ``S.weight``.  In objectives such as :math:`\tfrac12 \|S u - y_d\|^2 +
\tfrac\alpha2 \|u\|^2 + \rho \|u\|_1` it is a common factor: plain sums over the nodes have the minimiser, the prox and
the operator norm of the weighted ones, which are those of :math:`L^2` as the grid is refined.

The scheme is of second order in the spacing and of first order in the time step.

Source: U. Trottenberg, C. Oosterlee, A. Schüller, Multigrid (2001), section 1.3 (the sines).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral

import numpy as np
import torch
from scipy.fft import dstn
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

from optsci._tensor import require_finite, require_floating, require_positive
from optsci.linear_maps import Adjoint

FEWEST = 2  # intervals a side


@dataclass(frozen=True)
class EllipticMap:
    r"""The solution of :math:`-\Delta y = u` with y = 0 on the boundary of the unit cube.

    Args:
        cells: N, intervals a side; there are n = (N - 1)^dim nodes inside.
        dim: 1, 2 or 3.

    Raises:
        ValueError: fewer than 2 cells, or another dimension.

    Example:
        >>> S = EllipticMap(64)
        >>> S.shape, round(1e3 * S.norm() ** 2, 6)
        ((3969, 3969), 2.567526)
    """

    cells: int
    dim: int = 2

    def __post_init__(self) -> None:
        require_count(self.cells, "cells", FEWEST)
        if self.dim not in (1, 2, 3):
            raise ValueError(f"dim must be 1, 2 or 3, got {self.dim!r}")

    def __call__(self, u: Tensor) -> Tensor:
        return on_numpy(lambda v: sines(sines(v.reshape(self._grid)) / self.eigenvalues), u, self.shape[1], "u")

    @property
    def T(self) -> EllipticMap:
        """The map itself: its matrix is symmetric."""
        return self

    @property
    def shape(self) -> tuple[int, int]:
        n = (self.cells - 1) ** self.dim
        return n, n

    def norm(self) -> float:
        r"""Return the largest singular value, which tends to :math:`1 / (d \pi^2)`."""
        return float(1 / self.eigenvalues.min())

    def hessian(self, u: Tensor, y: Tensor, p: Tensor) -> Callable[[Tensor], Tensor]:
        """Return v -> S.T(S(v)), the second derivative of half the squared distance of S(u) from a target."""
        return lambda v: self.T(self(v))

    @property
    def points(self) -> Tensor:
        """The nodes inside, (n, dim)."""
        return grid_points(self.cells, self.dim)

    @property
    def weight(self) -> float:
        """The quadrature weight of a node, h^dim."""
        return self.cells**-self.dim

    @cached_property
    def eigenvalues(self) -> np.ndarray:
        """Those of A, on the grid of frequencies."""
        return laplacian_eigenvalues(self.cells, self.dim)

    @property
    def _grid(self) -> tuple[int, ...]:
        return (self.cells - 1,) * self.dim


@dataclass(frozen=True)
class HeatMap:
    r"""The solution of :math:`y_t - \Delta y = u` with y = 0 at first and on the boundary, by implicit Euler steps.

    Args:
        cells: N, intervals a side; there are n = (N - 1)^dim nodes inside.
        steps: M, time steps; vectors have M n entries, those of the first time first.
        final: T, the last time.
        dim: 1, 2 or 3, of the unit cube.

    Raises:
        ValueError: fewer than 2 cells or 1 step, T not positive, or another dimension.

    Example:
        >>> S = HeatMap(cells=8, steps=5)
        >>> u, p = torch.ones(245), torch.linspace(0, 1, 245)
        >>> bool(abs(S(u) @ p - u @ S.T(p)) < 1e-6 * S(u).norm() * p.norm())
        True
    """

    cells: int
    steps: int
    final: float = 1.0
    dim: int = 2

    def __post_init__(self) -> None:
        EllipticMap(self.cells, self.dim)  # refuses what it refuses
        require_count(self.steps, "steps", 1)
        require_positive(self.final, "final")

    def __call__(self, u: Tensor) -> Tensor:
        return on_numpy(lambda v: self._march(v.reshape(self._grid)), u, self.shape[1], "u")

    @property
    def T(self) -> Adjoint:
        """The same steps from the last time to the first."""
        return Adjoint(self, self._backward)

    def _backward(self, p: Tensor) -> Tensor:
        return on_numpy(lambda v: self._march(v.reshape(self._grid)[::-1])[::-1], p, self.shape[0], "p")

    @property
    def shape(self) -> tuple[int, int]:
        n = self.steps * (self.cells - 1) ** self.dim
        return n, n

    def norm(self) -> float:
        r"""Return the largest singular value: that of the steps in the slowest sine.

        With :math:`\lambda` the eigenvalue of that sine it tends to :math:`(\lambda^2 + w^2)^{-1/2}`, where w between
        :math:`\pi / (2 T)` and :math:`\pi / T` has :math:`w \cos w T + \lambda \sin w T = 0`.
        """
        return self._norm

    @cached_property
    def _norm(self) -> float:
        growth = (
            1 + self.time_step * self.eigenvalues.min()
        )  # the inverse, times dt, has it on and -1 below the diagonal
        diagonal = np.full(self.steps, growth**2 + 1)
        diagonal[0] -= 1
        beside = np.full(self.steps - 1, -growth)
        least = eigh_tridiagonal(diagonal, beside, eigvals_only=True, select="i", select_range=(0, 0))[0]
        return float(self.time_step / math.sqrt(least))

    def hessian(self, u: Tensor, y: Tensor, p: Tensor) -> Callable[[Tensor], Tensor]:
        """Return v -> S.T(S(v)), the second derivative of half the squared distance of S(u) from a target."""
        return lambda v: self.T(self(v))

    @property
    def points(self) -> Tensor:
        """The nodes inside at every time, (M n, dim + 1), the time last."""
        return space_time_points(self.cells, self.steps, self.final, self.dim)

    @property
    def weight(self) -> float:
        """The quadrature weight of a node at a time, dt h^dim."""
        return self.time_step * self.cells**-self.dim

    @property
    def time_step(self) -> float:
        """T / M."""
        return self.final / self.steps

    @cached_property
    def eigenvalues(self) -> np.ndarray:
        """Those of A, on the grid of frequencies."""
        return laplacian_eigenvalues(self.cells, self.dim)

    @property
    def _grid(self) -> tuple[int, ...]:
        return (self.steps, *(self.cells - 1,) * self.dim)

    def _march(self, u: np.ndarray) -> np.ndarray:
        axes = tuple(range(1, self.dim + 1))
        y = self.time_step * sines(u, axes)
        decay = 1 / (1 + self.time_step * self.eigenvalues)
        y[0] *= decay
        for m in range(1, self.steps):
            y[m] = decay * (y[m] + y[m - 1])
        return sines(y, axes)


def on_numpy(function: Callable[[np.ndarray], np.ndarray], x: Tensor, size: int, name: str) -> Tensor:
    """Return the function of a vector of this size, computed in double precision, like the vector.

    >>> on_numpy(np.cumsum, torch.ones(3), 3, "u")
    tensor([1., 2., 3.])
    >>> on_numpy(np.cumsum, torch.ones(3), 4, "u")
    Traceback (most recent call last):
    ValueError: u must have the shape (4,), one value a node, got (3,)
    """
    return torch.from_numpy(np.ascontiguousarray(function(numpy_vector(x, size, name)).reshape(-1))).to(x)


def numpy_vector(x: Tensor, size: int, name: str) -> np.ndarray:
    """Return a finite vector of this size as an array in double precision."""
    require_vector(x, size, name)
    require_finite(x, name)
    return x.detach().cpu().double().numpy()


def require_vector(x: Tensor, size: int, name: str) -> None:
    """Refuse what is not a vector of this size."""
    if not isinstance(x, Tensor) or x.shape != (size,):
        found = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"{name} must have the shape ({size},), one value a node, got {found}")
    require_floating(x, of=name)


def require_count(count: int, name: str, fewest: int) -> None:
    """Refuse what is not a whole number, or too small.

    >>> require_count(1, "cells", 2)
    Traceback (most recent call last):
    ValueError: cells must be a whole number and at least 2, got 1
    """
    if not isinstance(count, Integral) or count < fewest:
        raise ValueError(f"{name} must be a whole number and at least {fewest}, got {count!r}")


def sines(values: np.ndarray, axes: tuple[int, ...] | None = None) -> np.ndarray:
    """Return the orthonormal sine transform, its own inverse."""
    return dstn(values, type=1, axes=axes, norm="ortho")


def laplacian_eigenvalues(cells: int, dim: int) -> np.ndarray:
    r"""Return :math:`\sum_i (2 N \sin(k_i \pi / (2 N)))^2` on the grid of the :math:`k_i = 1, \dots, N - 1`.

    >>> bool(abs(laplacian_eigenvalues(64, 2).min() - 2 * np.pi**2) < 0.01)
    True
    """
    along = (2 * cells * np.sin(np.arange(1, cells) * np.pi / (2 * cells))) ** 2
    return sum(np.meshgrid(*[along] * dim, indexing="ij", sparse=True), start=np.zeros((1,) * dim))


def grid_points(cells: int, dim: int) -> Tensor:
    """Return the nodes inside of the unit cube, (n, dim), the last coordinate running fastest."""
    along = torch.arange(1, cells, dtype=torch.float64) / cells
    return torch.stack(torch.meshgrid(*[along] * dim, indexing="ij"), dim=-1).reshape(-1, dim)


def space_time_points(cells: int, steps: int, final: float, dim: int) -> Tensor:
    """Return the nodes inside at the times T/M, …, T, (M n, dim + 1), the time last."""
    x = grid_points(cells, dim)
    t = torch.arange(1, steps + 1, dtype=torch.float64) * (final / steps)
    return torch.cat((x.repeat(steps, 1), t.repeat_interleave(len(x))[:, None]), dim=1)


def heat_norm(final: float = 1.0, dim: int = 2) -> float:
    r"""Return the norm of the solution map of the heat equation itself, :math:`(\lambda^2 + w^2)^{-1/2}`.

    Args:
        final: T, positive.
        dim: of the unit cube, :math:`\lambda = d \pi^2`.

    >>> abs(heat_norm() / HeatMap(cells=64, steps=256).norm() - 1) < 0.002
    True
    """
    from scipy.optimize import brentq

    require_positive(final, "final")
    decay = dim * math.pi**2
    w = brentq(
        lambda w: w * math.cos(w * final) + decay * math.sin(w * final),
        math.pi / (2 * final),
        math.pi / final,
        xtol=1e-14,
        rtol=1e-14,
    )
    return 1 / math.hypot(decay, w)
