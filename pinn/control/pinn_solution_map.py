r"""The control-to-state map of an elliptic equation by a trained network, and its adjoint by another.

.. math:: \min_{\text{weights}} \frac1n \sum_{i=1}^n \bigl(\Delta y(x_i) + u_i\bigr)^2, \qquad y = D N
          \text{ with } D = 0 \text{ on the boundary}

The control is known at the points alone, and so is the state that is returned.  Every call goes on from the network of
the last one, with a few Gauss-Newton steps: in an iteration that converges, less and less is left to do.

Two networks are not each other's transpose, and the iteration ends where they let it: judge the control by a solver
that is exact, such as `optimality_gap` with an `EllipticMap`.

Source: Y. Song, X. Yuan, H. Yue, arXiv:2307.00296 (solvers exchanged for learned operators); networks trained anew for
every control are ours.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

import optsci
from optsci._tensor import as_finite, require_finite, require_positive

from ..levenberg_marquardt import gauss_newton
from ..losses import Loss, Rows, finite_points
from .control_checks import gradient_of
from .solution_maps import require_count, require_vector


class TrainedEllipticMap:
    r"""The solution of :math:`-\Delta y = u` at points, by a network that is trained at every call.

    Args:
        network: y, (n, d) -> (n, 1), with y = 0 on the boundary by its form: a `BoundaryAnsatz`.  It is changed.  Its
            precision and device are those of all that is computed; a state has those of its u.
        points: (n, d), where u is known; more of them than the network has freedom to be wrong between.
        steps: Gauss-Newton steps of a call, at most.
        tol: a call ends where the root mean square of the equation's residual is this share of that of u, or less.

    Raises:
        ValueError: the network has nothing to train, points are not finite, steps or tol are not positive, or u has
            another shape.

    Example:
        >>> from optsci.pinn import MLP, BoundaryAnsatz, UnitSquare
        >>> square = UnitSquare()
        >>> network = BoundaryAnsatz(MLP(2, [10], 1, box=square), lift=0.0, distance=square.vanishing)
        >>> x = square.sample(200, seed=0)
        >>> S = TrainedEllipticMap(network, x, steps=20, tol=0.05)
        >>> y = (math.pi * x).sin().prod(1)
        >>> bool((S(2 * math.pi**2 * y) - y).norm() < 0.05 * y.norm())
        True
    """

    def __init__(self, network: nn.Module, points: Any, *, steps: int = 10, tol: float = 1e-4) -> None:
        if not isinstance(network, nn.Module):
            raise TypeError(f"network must be a module, such as a BoundaryAnsatz, got {type(network).__name__}")
        trained = [one for one in network.parameters() if one.requires_grad]
        if not trained:
            raise ValueError(f"network must have a parameter with requires_grad, and {type(network).__name__} has none")
        self.network, self.points = network, finite_points(points).to(trained[0])
        require_count(steps, "steps", 1)
        require_positive(tol, "tol")
        self.steps, self.tol = steps, tol
        self.damping: float | None = None
        self.residual = math.nan  # of the equation after the last call, a share of u

    def __call__(self, u: Tensor) -> Tensor:
        """Return the state at the points, (n,)."""
        x = self.points
        n, d = x.shape
        require_vector(u, n, "u")
        require_finite(u, "u")
        source = u.detach().to(x)[:, None]
        size = float(source.square().mean())
        if size == 0:
            return torch.zeros_like(u)
        laplacian = math.sqrt(2) * torch.eye(d, dtype=x.dtype, device=x.device)[:, None, :].expand(d, n, d)
        zero = torch.zeros_like(x[:, :1])
        loss = Loss((Rows(x, laplacian, torch.zeros_like(x), zero, -source, torch.full_like(zero, 1 / (n * size))),))
        run = optsci.solve(
            gauss_newton(self.network, loss, damping=self.damping),
            tol=None,
            max_iter=self.steps,
            stop=lambda s: s.loss <= self.tol**2,
        )
        self.damping, self.residual = run.state.damping, math.sqrt(float(run.state.loss))
        with torch.no_grad():
            return self.network(x)[:, 0].to(u)


def optimality_gap(S: Any, theta: Any, y_d: Any, u: Any, *, step: float = 1.0) -> float:
    r"""Return :math:`\|u - \operatorname{prox}_{s \theta}(u - s\, q(u))\| / \|u\|`, zero exactly at a stationary point.

    With the true solver it says what a control is worth that was found with an inexact one.

    Args:
        S: a `SolutionMap`, the true solver.
        theta: has ``prox``.
        y_d: (m,), or a number.
        u: (n,).
        step: s, positive; :math:`1/\alpha` makes it the residual of `semismooth_newton`, an estimate of the relative
            error of u.

    >>> from optsci.pinn.control import ControlCost, EllipticMap
    >>> S = EllipticMap(8)
    >>> optimality_gap(S, ControlCost(1.0, lower=1.0, upper=2.0), 0.0, torch.ones(49, dtype=torch.float64))
    0.0
    """
    require_positive(step, "step")
    u = as_finite(u, "u")
    y_d = as_finite(y_d, "y_d", like=u)
    moved = theta.prox(u - step * gradient_of(S, y_d, u), step)
    size = u.norm()
    return float((u - moved).norm() / torch.where(size > 0, size, 1.0))
