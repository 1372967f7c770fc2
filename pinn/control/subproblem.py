r"""The smooth half of a control problem as a function with a prox, found by training networks.

.. math:: \operatorname{prox}_{s F \circ S}(v) = \operatorname{argmin}_u F(S(u)) + \frac1{2 s} \|u - v\|^2

S takes a control to the state of a differential equation.  In ``optsci.admm(f, g, x0, rho=…)`` a `Subproblem` is f,
g is any nonsmooth function of the core, v the centre :math:`z - \lambda/\rho` and :math:`s = 1/\rho`: that is the
method of ADMM-PINNs, with the core's iteration.  There are two ways to the prox:

- *optimise, then approximate*: the networks solve the optimality system, state and adjoint equation, from which u is
  eliminated by the gradient condition.  All its equations hold at once at the solution, whatever their weights.
- *approximate, then optimise*: the networks minimise one sum of mean squares, of the equation, of y - y_d and of u - v.
  The equation is only penalised: the minimum is a compromise that depends on the weights.  It needs no adjoint.

The norm is that of the vector of nodal values.  Where the nodes stand for equal cells of a domain :math:`\Omega`, F is
the objective divided by the size :math:`|\Omega| / n` of a cell; the costs of the control in it and the penalty are
divided by the same number, which therefore falls out of every soft threshold and every clip, and g is added in nodal
units as well.

The networks start where the last prox left them.  An inexact prox does not hurt the outer iteration as long as the
errors are summable (Eckstein and Bertsekas, Math. Program. 55 (1992), Theorem 8): the k-th inner solve trains until its
own measure of error is below :math:`C k^{-(1 + \delta)}` (`Summable`), or its steps are used up; `Subproblem.last`
says which.  The measure bounds the error of u up to the stability constant of the optimality system.

Source: Y. Song, X. Yuan, H. Yue, The ADMM-PINNs algorithmic framework for nonsmooth PDE-constrained optimization,
arXiv 2302.08309.  Departures: Gauss-Newton steps for Adam and L-BFGS, the rule of inexactness, exact proxes in g.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from optsci._tensor import as_finite, as_float, positive_scalar, require_positive
from optsci.iteration import Status, solve

from ..ansatz import column
from ..domain_protocol import Domain
from ..levenberg_marquardt import GaussNewtonState, gauss_newton
from ..losses import Loss, column_of, finite_points, require_match
from ..parameter_vectors import require_trained

Trainer = Callable[[nn.Module, Loss, Any], Iterator[Any]]
"""(networks, loss, last state of the solve before or None) -> states with ``loss``, as all training algorithms have."""


class InnerSolve(NamedTuple):
    """How the training for one prox ended."""

    status: Status  # STOPPED where the error fell below what was asked; else MAX_ITER, EXHAUSTED or NON_FINITE
    steps: int  # of the trainer
    error: float  # measure of error of the last state
    asked: float  # what the rule of inexactness asked for

    @property
    def met(self) -> bool:
        """Whether the solve is as accurate as the convergence of the outer iteration asks for."""
        return self.error <= self.asked


@dataclass(frozen=True)
class Summable:
    r"""The rule of inexactness :math:`k \mapsto \max(C\, k^{-(1 + \delta)}, \text{floor})`, k = 1, 2, ….

    Args:
        first: C, positive.
        delta: positive; then the errors are summable, down to the floor.
        floor: below which training cannot or need not get, at least 0.

    >>> rule = Summable(1e-2, delta=1.0)
    >>> [rule(k) for k in (1, 10)]
    [0.01, 0.0001]
    """

    first: float = 1e-2
    delta: float = 0.5
    floor: float = 0.0

    def __post_init__(self) -> None:
        for name in ("first", "delta"):
            require_positive(getattr(self, name), name)
        if not 0 <= self.floor < math.inf:
            raise ValueError(f"floor must be finite and at least 0, got {self.floor!r}")

    def __call__(self, k: int) -> float:
        """Return what the k-th inner solve is asked for."""
        return max(self.first * k ** -(1 + self.delta), self.floor)


def root_mean_square(state: Any) -> Tensor:
    """Return the root of the loss, the size of what is left of the equations: it tends to 0 for an optimality system.

    A measure of error for `Subproblem`.
    """
    return state.loss.sqrt()


def largest_gradient(state: Any) -> Tensor:
    """Return the largest entry of the gradient of the loss: it tends to 0 also where the loss does not.

    A measure of error for `Subproblem`, for losses that are a compromise.
    """
    return state.residual


def warm_gauss_newton(fields: nn.Module, loss: Loss, last: Any = None) -> Iterator[GaussNewtonState]:
    """Gauss-Newton steps that go on with the damping of the last solve: the trainer of `Subproblem` unless given.

    A step that failed to the end has a damping that forbids any other, hence the one before it is handed on.
    """
    damping = last.damping if isinstance(last, GaussNewtonState) else None
    for state in gauss_newton(fields, loss, damping=damping):
        if state.reason is not None and damping is not None:
            yield state._replace(damping=damping)
            return
        damping = state.damping
        yield state


@dataclass(eq=False)
class Subproblem:
    r"""A function :math:`F \circ S` of nodal values, known by its prox, which trains networks.

    `EllipticControl`, `BurgersControl` and others of this package return one.  To make another, say what its equations
    are, and how the control is read off its networks:

    Args:
        nodes: (n, d), where the control has its values.
        fields: all networks, as one module, such as ``Fields(y=…, p=…)``; trained in place.
        loss: (v, step) -> `Loss` of ``fields``, with v (n, 1) and ``step`` a positive float: the sum of mean squares
            of the optimality system with the centre v, or the compromise.
        control: (v, step) -> u, (n, 1), of ``fields`` as they are: the gradient condition solved for u, or a network at
            the nodes.  Called without gradients.
        inner_steps: largest number of training steps of a prox, at least 1.
        trainer: (fields, loss, last) -> states, see `Trainer`; `warm_gauss_newton` unless given.  Others are functions
            such as ``lambda u, loss, last: lbfgs(u, loss)``.
        tolerance: the rule of inexactness k -> error asked for in the k-th prox, such as `Summable`.
        error: state of the trainer -> its measure of error, `root_mean_square` or `largest_gradient`.

    A prox is not a pure function: it remembers the parameters of ``fields``, and

    Attributes:
        solves: how many proxes there have been.
        last: `InnerSolve`, how the last one ended; None before.  An outer iteration that converged while
            ``last.met`` is false has converged to the accuracy ``last.error``, not better.
        memory: the last state of the trainer, which the next training gets.

    >>> from optsci.pinn import MLP, Data
    >>> x = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None]
    >>> u = MLP(1, [6], 1)
    >>> zero = Subproblem(x, u, lambda v, step: Data(x, v), lambda v, step: u(x), tolerance=Summable(1e-4))
    >>> bool((zero.prox(x**2, 1.0) - x**2).abs().max() < 1e-3), zero.last.met  # the prox of 0 is v itself
    (True, True)
    """

    nodes: Tensor
    fields: nn.Module
    loss: Callable[[Tensor, float], Loss]
    control: Callable[[Tensor, float], Tensor]
    inner_steps: int = field(default=50, kw_only=True)
    trainer: Trainer = field(default=warm_gauss_newton, kw_only=True)
    tolerance: Callable[[int], float] = field(default=Summable(), kw_only=True)
    error: Callable[[Any], Tensor] = field(default=root_mean_square, kw_only=True)
    solves: int = field(default=0, init=False)
    last: InnerSolve | None = field(default=None, init=False)
    memory: Any = field(default=None, init=False)

    def __post_init__(self) -> None:
        require_trained(self.fields)
        if not isinstance(self.inner_steps, Integral) or self.inner_steps < 1:
            raise ValueError(f"inner_steps must be a positive integer, got {self.inner_steps!r}")
        for name in ("loss", "control", "trainer", "tolerance", "error"):
            if not callable(getattr(self, name)):
                raise TypeError(f"{name} must be a function, got {getattr(self, name)!r}")
        self.nodes = finite_points(self.nodes)

    def prox(self, v: Tensor, step: float | Tensor) -> Tensor:
        """Train, and return the control in the shape of v, and in the precision of the nodes.

        Args:
            v: nodal values, (n, 1), or (n,) as functions of sequences such as `optsci.TotalVariation1D` want them.  A
                start in single precision is promoted, and so is all that the outer iteration makes of it.
            step: positive, 1/rho.
        """
        centre = self._column(v)
        s = as_float(positive_scalar(step, "step"))
        loss = self.loss(centre, s)
        self.solves += 1
        asked = float(self.tolerance(self.solves))
        run = solve(  # its loop, for the outer iteration knows nothing of the inner one
            self.trainer(self.fields, loss, self.memory),
            tol=None,
            max_iter=self.inner_steps,
            stop=lambda state: self.error(state) <= asked,
        )
        self.memory = run.state
        self.last = InnerSolve(run.status, run.iterations, float(self.error(run.state)), asked)
        return self.read(v, s)

    def read(self, v: Tensor, step: float | Tensor) -> Tensor:
        """Return the control that the networks as they are stand for, at the centre v, without training."""
        with torch.no_grad():
            return self.control(self._column(v), as_float(step)).detach().reshape(v.shape)

    def _column(self, v: Tensor) -> Tensor:
        n = len(self.nodes)
        if not isinstance(v, Tensor) or v.shape not in ((n,), (n, 1)):
            found = tuple(v.shape) if isinstance(v, Tensor) else type(v).__name__
            raise ValueError(f"v must be a tensor ({n}, 1) or ({n},) of values at the nodes, got {found}")
        return as_finite(v, "v").detach().to(self.nodes).reshape(n, 1)


def nodes_in(nodes: Any, domain: Domain) -> Tensor:
    """Return nodes (n, d), finite, and in the domain or on its boundary."""
    x = finite_points(nodes, domain.dim)
    outside = domain.distance(x)[:, 0] < -1e-9 * math.dist(domain.lower, domain.upper)
    if outside.any():
        raise ValueError(
            f"nodes must lie in the domain, {int(outside.sum())} of {len(x)} do not: {x[outside][0].tolist()}"
        )
    return x


ROUNDING = 1e-6  # what a function that is 0 may have


def require_zero(function: Any, name: str, x: Tensor, where: str = "the boundary") -> None:
    """Refuse a module that is not 0 at points (n, d): the optimality system holds for no other."""
    require_match(function, x)
    with torch.no_grad():
        value = column(name, function, x)
    worst = int(value.abs().argmax())
    if not value.abs().max() <= ROUNDING:
        raise ValueError(
            f"{name} must be 0 on {where}, got {float(value[worst]):g} at {x[worst].tolist()}: "
            "let a BoundaryAnsatz with the lift 0 see to it"
        )


def nodal_values(given: Any, name: str, x: Tensor) -> Tensor:
    """Return finite values (n, 1) at points (n, d): of a number, of n values, or of a function as of `Problem`."""
    if callable(given):
        coordinates = np.ascontiguousarray(x.detach().cpu().double().numpy().T)
        given = np.array(np.broadcast_to(given(coordinates), (len(x),)), dtype=float)
        return column_of(torch.from_numpy(given).to(x), name, x)
    return column_of(given, name, x)
