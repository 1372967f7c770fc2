r"""Reference solutions of control problems on (0, 1), by finite differences.

.. math::

   \text{Burgers control:}\quad & \min_{a \le u \le b}\ \tfrac12 \|y - y_d\|^2 + \tfrac\alpha2 \|u\|^2,
   \qquad -\nu y'' + y y' = u, \\
   \text{inverse potential:}\quad & \min_{u \ge a}\ \tfrac12 \|y - y_d\|^2 + \gamma\, \mathrm{TV}(u),
   \qquad -\nu y'' + u y = f,

both with y(0) = y(1) = 0, on N equal intervals with central differences, of second order.  The objective is
discretised first: gradients are exact for the discrete problem, and the adjoint matrix is the transpose.

With :math:`F(y) = \nu L y + y \odot D y` for the left side, the optimality system of Burgers control is

.. math:: F(y) = u, \qquad F'(y)^\top p = y - y_d, \qquad u = \min(\max(-p / \alpha, a), b)

and is solved by a semismooth Newton method, with the derivative :math:`-1/\alpha` of u where it is not clipped.

The inverse problem is solved by the core's ADMM with the exact prox of the total variation; its smooth half by
Gauss-Newton steps, damped until the objective falls,

.. math:: (S'^\top S' + \beta I)\, d = S'^\top (y - y_d) + \beta (u - v), \qquad S' = -A(u)^{-1} \operatorname{diag}(y).

Source: Y. Song, X. Yuan, H. Yue, arXiv 2302.08309, whose reference for Burgers is of first order (upwind differences);
M. Hintermueller, K. Ito, K. Kunisch, SIAM J. Optim. 13 (2003) 865 (semismooth Newton).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from optsci._tensor import as_finite, positive_scalar, require_positive

Values = Callable[[np.ndarray], Any]  # coordinates (n,) -> values there, or a number


class NewtonState(NamedTuple):
    """A step of ``burgers_newton``."""

    x: np.ndarray  # u at the N - 1 nodes inside
    residual: float  # largest entry of the optimality system, before the step
    y: np.ndarray  # state
    p: np.ndarray  # adjoint
    active: int  # nodes at a bound


class BurgersReference(NamedTuple):
    """A solution at all nodes, ends included, and the objective with the trapezoidal rule."""

    nodes: np.ndarray  # (N + 1,)
    u: np.ndarray
    y: np.ndarray
    p: np.ndarray
    objective: float


@dataclass(frozen=True)
class Grid:
    """N equal intervals of (0, 1), and differences at the N - 1 nodes inside, for functions that vanish at the ends.

    Args:
        cells: N, at least 4.
    """

    cells: int

    def __post_init__(self) -> None:
        if not isinstance(self.cells, Integral) or self.cells < 4:
            raise ValueError(f"cells must be an integer of at least 4, got {self.cells!r}")

    @property
    def nodes(self) -> np.ndarray:
        """All nodes, (N + 1,)."""
        return np.linspace(0, 1, self.cells + 1)

    @property
    def laplacian(self) -> Any:
        """The matrix of -d^2/dx^2, (N - 1, N - 1), sparse."""
        from scipy.sparse import diags_array

        n, h = self.cells - 1, 1 / self.cells
        return diags_array([-np.ones(n - 1), 2 * np.ones(n), -np.ones(n - 1)], offsets=[-1, 0, 1]) / h**2

    @property
    def derivative(self) -> Any:
        """The matrix of central differences, (N - 1, N - 1), sparse and antisymmetric."""
        from scipy.sparse import diags_array

        n, h = self.cells - 1, 1 / self.cells
        return diags_array([-np.ones(n - 1), np.ones(n - 1)], offsets=[-1, 1]) / (2 * h)

    def values(self, f: Values | float, name: str) -> np.ndarray:
        """A function or a number at all nodes."""
        found = np.asarray(f(self.nodes) if callable(f) else f, dtype=float)
        if found.ndim and found.shape != (self.cells + 1,):
            raise ValueError(f"{name} must give one value at each of {self.cells + 1} nodes, got shape {found.shape}")
        if not np.isfinite(found).all():
            raise ValueError(f"{name} must be finite at all nodes")
        return np.broadcast_to(found, (self.cells + 1,))


def burgers_reference(
    cells: int = 6400,
    *,
    target: Values | float = 0.3,
    nu: float = 1 / 12,
    alpha: float = 0.1,
    lower: float = -math.inf,
    upper: float = 0.3,
    tol: float = 1e-11,
) -> BurgersReference:
    """Solve Burgers control on a grid.

    Args:
        cells: N.
        target: y_d; a number, or a function of coordinates (n,).
        nu, alpha: positive.
        lower, upper: bounds a <= b of u.
        tol: of the largest entry of the optimality system, whose rounding grows as N^2.

    Raises:
        SolveError: Newton's method did not get there.

    >>> reference = burgers_reference(400)
    >>> round(reference.objective, 7)
    0.0105027
    """
    from optsci.iteration import solve

    grid = Grid(cells)
    run = solve(
        burgers_newton(grid, target=target, nu=nu, alpha=alpha, lower=lower, upper=upper), tol=tol, max_iter=50
    ).raise_if_failed()
    u, y, p = (np.pad(part, 1) for part in (run.x, run.state.y, run.state.p))
    u[[0, -1]] = np.clip(0.0, lower, upper)  # p is 0 at the ends
    return BurgersReference(grid.nodes, u, y, p, burgers_objective(grid, u, y, target=target, alpha=alpha))


def burgers_newton(
    grid: Grid,
    *,
    target: Values | float,
    nu: float,
    alpha: float,
    lower: float = -math.inf,
    upper: float = math.inf,
) -> Iterator[NewtonState]:
    """Semismooth Newton steps for Burgers control, from y = p = 0; arguments as of `burgers_reference`.

    The residual is the largest entry of the optimality system, divided by the size of the rows of the matrix.
    """
    from scipy.sparse import block_array, diags_array, eye_array
    from scipy.sparse.linalg import splu

    require_problem(nu, alpha, lower, upper)
    wanted = grid.values(target, "target")[1:-1]
    n, L, D = grid.cells - 1, nu * grid.laplacian, grid.derivative
    size = max(1.0, 4 * nu * grid.cells**2)

    def iterate() -> Iterator[NewtonState]:
        y, p = np.zeros(n), np.zeros(n)
        while True:
            u = np.clip(-p / alpha, lower, upper)
            free = (-p / alpha > lower) & (-p / alpha < upper)
            A = L + diags_array(y) @ D + diags_array(D @ y)
            rest = np.concatenate((L @ y + y * (D @ y) - u, A.T @ p - (y - wanted)))
            yield NewtonState(u, float(np.abs(rest).max()) / size, y, p, int(n - free.sum()))
            curvature = diags_array(p) @ D + D.T @ diags_array(p) - eye_array(n)
            matrix = block_array([[A, diags_array(free / alpha)], [curvature, A.T]], format="csc")
            step = splu(matrix).solve(rest)
            y, p = y - step[:n], p - step[n:]

    return iterate()


def burgers_state(u: Any, *, nu: float = 1 / 12, tol: float = 1e-12) -> np.ndarray:
    """Solve -nu y'' + y y' = u with values u (N + 1,) at equal nodes, by Newton's method; return y, (N + 1,).

    >>> y = burgers_state(np.full(101, 0.3))
    >>> round(float(y.max()), 3)
    0.405
    """
    from optsci.iteration import solve

    values = nodal(u, "u")
    grid = Grid(len(values) - 1)
    run = solve(_state_newton(grid, values[1:-1], nu), tol=tol, max_iter=50).raise_if_failed()
    return np.pad(run.x, 1)


def burgers_objective(
    grid: Grid, u: np.ndarray, y: np.ndarray, *, target: Values | float = 0.3, alpha: float = 0.1
) -> float:
    """Return 1/2 |y - y_d|^2 + alpha/2 |u|^2 by the trapezoidal rule, of values at all nodes."""
    density = 0.5 * (y - grid.values(target, "target")) ** 2 + 0.5 * alpha * u**2
    return float(np.trapezoid(density, dx=1 / grid.cells))


def burgers_reduced(
    u: Any, *, target: Values | float = 0.3, nu: float = 1 / 12, alpha: float = 0.1
) -> tuple[float, np.ndarray]:
    r"""Return the objective as a function of u alone, (N + 1,), and its gradient :math:`w \odot (\alpha u + p)`.

    The weights w of the trapezoidal rule make it the gradient in the nodal values; p is 0 at both ends.

    >>> value, gradient = burgers_reduced(np.zeros(101))
    >>> round(value, 3), gradient.shape
    (0.045, (101,))
    """
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import spsolve

    require_problem(nu, alpha)
    values = nodal(u, "u")
    grid = Grid(len(values) - 1)
    y = burgers_state(values, nu=nu)
    D = grid.derivative
    A = nu * grid.laplacian + diags_array(y[1:-1]) @ D + diags_array(D @ y[1:-1])
    p = np.pad(spsolve(A.T.tocsc(), (y - grid.values(target, "target"))[1:-1]), 1)
    weight = np.full(len(values), 1 / grid.cells)
    weight[[0, -1]] /= 2
    return burgers_objective(grid, values, y, target=target, alpha=alpha), weight * (alpha * values + p)


class StateStep(NamedTuple):
    """A step of Newton's method for the state."""

    x: np.ndarray  # y at the nodes inside
    residual: float  # largest entry of the equation, divided by the size of the rows of the matrix


def _state_newton(grid: Grid, u: np.ndarray, nu: float) -> Iterator[StateStep]:
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import splu

    require_positive(nu, "nu")
    L, D, y = nu * grid.laplacian, grid.derivative, np.zeros(grid.cells - 1)
    while True:
        rest = L @ y + y * (D @ y) - u
        yield StateStep(y, float(np.abs(rest).max()) / max(1.0, 4 * nu * grid.cells**2))
        y = y - splu((L + diags_array(y) @ D + diags_array(D @ y)).tocsc()).solve(rest)


@dataclass(frozen=True, eq=False)
class GaussNewtonPotential:
    r"""The smooth half of the inverse potential problem, :math:`u \mapsto \tfrac12 |y(u) - y_d|^2` in nodal values.

    Its prox takes Gauss-Newton steps on the grid of the data, halved until the objective falls, to rounding.

    Args:
        data: y_d at N + 1 equal nodes, (N + 1,); the values at the ends do not count.
        source: f, a number or a function of coordinates.
        nu: positive.

    >>> y = np.sin(np.pi * np.linspace(0, 1, 21))
    >>> f = GaussNewtonPotential(y, source=lambda x: np.sin(np.pi * x), nu=0.005)
    >>> f.prox(torch.full((21,), 0.5, dtype=torch.float64), 10.0).shape
    torch.Size([21])
    """

    data: Any
    source: Values | float
    nu: float = 0.005

    def __post_init__(self) -> None:
        positive_scalar(self.nu, "nu")
        object.__setattr__(self, "data", nodal(self.data, "data"))

    def bands(self, u: np.ndarray) -> np.ndarray:
        """Return A(u) for u at the nodes inside, by diagonals, (3, N - 1)."""
        c = self.nu * (len(u) + 1) ** 2
        return np.stack((np.full(len(u), -c), 2 * c + u, np.full(len(u), -c)))

    def state(self, u: np.ndarray) -> np.ndarray:
        """Return y at the nodes inside, for u there."""
        from scipy.linalg import solve_banded

        source = Grid(len(u) + 1).values(self.source, "source")[1:-1]
        return solve_banded((1, 1), self.bands(u), source)

    def slope(self, u: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return S'(u), (N - 1, N - 1), for u and its state y at the nodes inside."""
        from scipy.linalg import solve_banded

        return -solve_banded((1, 1), self.bands(u), np.diag(y))

    def __call__(self, u: Tensor) -> Tensor:
        """Return the value, 0-d, of u at all nodes."""
        y = self.state(u.detach().numpy()[1:-1])
        return u.new_tensor(0.5 * ((y - self.data[1:-1]) ** 2).sum())

    def prox(self, v: Tensor, step: float | Tensor) -> Tensor:
        """Return the control at all nodes, (N + 1,); at the ends, which no state feels, it is v."""
        from optsci.iteration import solve

        centre = as_finite(v, "v").detach().numpy()
        if centre.shape != self.data.shape:
            raise ValueError(f"v must have the shape {self.data.shape} of the data, got {centre.shape}")
        run = solve(self._steps(centre[1:-1], 1 / float(step)), tol=1e-10, max_iter=100)
        return torch.from_numpy(np.concatenate((centre[:1], run.x, centre[-1:]))).to(v)

    def _steps(self, v: np.ndarray, beta: float) -> Iterator[StateStep]:
        wanted, u = self.data[1:-1], v.copy()

        def objective(y: np.ndarray, w: np.ndarray) -> float:
            return 0.5 * ((y - wanted) ** 2).sum() + 0.5 * beta * ((w - v) ** 2).sum()

        y = self.state(u)
        while True:
            J = self.slope(u, y)
            gradient = J.T @ (y - wanted) + beta * (u - v)
            d = np.linalg.solve(J.T @ J + beta * np.eye(len(u)), gradient)
            yield StateStep(u, float(np.linalg.norm(d)))
            value, length = objective(y, u), 1.0
            while length > 1e-6:
                y = self.state(u - length * d)
                if objective(y, u - length * d) <= value:
                    break
                length /= 2
            u = u - length * d


def nodal(values: Any, name: str) -> np.ndarray:
    """Return finite values (N + 1,), at five nodes or more."""
    found = np.asarray(values, dtype=float)
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim != 1 or len(found) < 5:
        raise ValueError(f"{name} must hold values at five nodes or more, (N + 1,), got shape {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError(f"{name} must be finite, got {found[~np.isfinite(found)][0]}")
    return found


def require_problem(nu: float, alpha: float, lower: float = -math.inf, upper: float = math.inf) -> None:
    """Refuse coefficients that are not positive and bounds that leave no control."""
    require_positive(nu, "nu")
    require_positive(alpha, "alpha")
    if not lower <= upper:
        raise ValueError(f"lower must be at most upper, got lower={lower!r}, upper={upper!r}")
