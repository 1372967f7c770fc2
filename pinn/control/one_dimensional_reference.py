r"""Reference solutions of control problems on (0, 1), by finite differences.

.. math::

   \text{Burgers control:}\quad & \min_{a \le u \le b}\ \tfrac12 \|y - y_d\|^2 + \tfrac\alpha2 \|u\|^2,
   \qquad -\nu y'' + y y' = u, \\
   \text{inverse potential:}\quad & \min_{u \ge a}\ \tfrac12 \|y - y_d\|^2 + \gamma\, \mathrm{TV}(u),
   \qquad -\nu y'' + u y = f,

both with y(0) = y(1) = 0, on N equal intervals with central differences, of second order.  The objective is
discretised first: gradients are exact for the discrete problem.

Burgers control is `semismooth_newton` on a `BurgersMap`.  The inverse problem is solved by the core's ADMM with the
exact prox of the total variation; its smooth half by Gauss-Newton steps, halved until the objective falls,

.. math:: (S'^\top S' + \beta I)\, d = S'^\top (y - y_d) + \beta (u - v), \qquad S' = -A(u)^{-1} \operatorname{diag}(y)

with :math:`A(u)` the matrix of the equation.

Source: Y. Song, X. Yuan, H. Yue, arXiv 2302.08309, whose reference for Burgers is of first order (upwind differences).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from optsci._tensor import as_finite, positive_scalar, require_positive
from optsci.iteration import solve

from .burgers_map import BurgersMap
from .newton_control import ControlCost, control_objective, semismooth_newton

Values = Callable[[np.ndarray], Any]  # coordinates (n,) -> values there, or a number


class BurgersReference(NamedTuple):
    """A solution at all nodes, ends included, and the objective by the trapezoidal rule."""

    nodes: Tensor  # (N + 1, 1)
    u: Tensor  # (N + 1, 1)
    y: Tensor  # (N + 1, 1)
    p: Tensor  # (N + 1, 1), the adjoint
    objective: float


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
        cells: N, at least 2.
        target: y_d; a number, or a function of coordinates (n,).
        nu: viscosity, positive.
        alpha: cost of the control, positive.
        lower: bound of u from below.
        upper: bound of u from above.
        tol: of `semismooth_newton`.

    Raises:
        SolveError: Newton's method did not get there.

    >>> reference = burgers_reference(400)
    >>> round(reference.objective, 7)
    0.0105027
    """
    require_positive(alpha, "alpha")
    S, cost = BurgersMap(cells, nu), ControlCost(alpha, lower=lower, upper=upper)
    nodes = np.linspace(0, 1, cells + 1)
    wanted = torch.from_numpy(values_on(nodes, target, "target").copy())
    start = torch.zeros(cells - 1, dtype=torch.float64)
    run = solve(semismooth_newton(S, wanted[1:-1], start, cost=cost), tol=tol, max_iter=100).raise_if_failed()
    u, y, p = (torch.nn.functional.pad(part, (1, 1))[:, None] for part in (run.x, S(run.x), run.state.q))
    u[[0, -1]] = cost.minimiser(u.new_zeros(()))  # p is 0 at the ends
    ends = 0.25 * (wanted[0] ** 2 + wanted[-1] ** 2) + 0.25 * alpha * (u[0] ** 2 + u[-1] ** 2).sum()
    objective = (control_objective(S, wanted[1:-1], cost, run.x) + ends) / cells
    return BurgersReference(torch.from_numpy(nodes)[:, None], u, y, p, float(objective))


class PotentialStep(NamedTuple):
    """A Gauss-Newton step."""

    x: np.ndarray  # u at the nodes inside
    residual: float  # norm of the next step


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
        require_positive(self.nu, "nu")
        object.__setattr__(self, "data", nodal(self.data, "data"))

    def bands(self, u: np.ndarray) -> np.ndarray:
        """Return A(u) for u at the nodes inside, by diagonals, (3, N - 1)."""
        c = self.nu * (len(u) + 1) ** 2
        return np.stack((np.full(len(u), -c), 2 * c + u, np.full(len(u), -c)))

    def state(self, u: np.ndarray) -> np.ndarray:
        """Return y at the nodes inside, for u there."""
        from scipy.linalg import solve_banded

        source = values_on(np.linspace(0, 1, len(u) + 2), self.source, "source")
        return solve_banded((1, 1), self.bands(u), source[1:-1])

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
        centre = as_finite(v, "v").detach().numpy()
        if centre.shape != self.data.shape:
            raise ValueError(f"v must have the shape {self.data.shape} of the data, got {centre.shape}")
        beta = 1 / float(positive_scalar(step, "step"))
        run = solve(self._steps(centre[1:-1], beta), tol=1e-10, max_iter=100)
        if not run.residual <= 1e-6:  # its convergence is linear: the last digits may be missing
            raise ArithmeticError(f"Gauss-Newton did not find the prox: {run}")
        return torch.from_numpy(np.concatenate((centre[:1], run.x, centre[-1:]))).to(v)

    def _steps(self, v: np.ndarray, beta: float) -> Iterator[PotentialStep]:
        wanted, u = self.data[1:-1], v.copy()

        def objective(y: np.ndarray, w: np.ndarray) -> float:
            return 0.5 * ((y - wanted) ** 2).sum() + 0.5 * beta * ((w - v) ** 2).sum()

        y = self.state(u)
        while True:
            J = self.slope(u, y)
            gradient = J.T @ (y - wanted) + beta * (u - v)
            d = np.linalg.solve(J.T @ J + beta * np.eye(len(u)), gradient)
            yield PotentialStep(u, float(np.linalg.norm(d)))
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


def values_on(nodes: np.ndarray, f: Values | float, name: str) -> np.ndarray:
    """Return a function or a number at nodes (N + 1,), all finite."""
    found = np.asarray(f(nodes) if callable(f) else f, dtype=float)
    if found.shape not in ((), nodes.shape):
        raise ValueError(f"{name} must give one value at each of {len(nodes)} nodes, got shape {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError(f"{name} must be finite at all nodes, got {found[~np.isfinite(found)].flat[0]}")
    return np.broadcast_to(found, nodes.shape)
