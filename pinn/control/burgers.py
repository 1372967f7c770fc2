r"""Control of the stationary Burgers equation as a function with a prox, by networks for the state and the adjoint.

.. math:: \min_u\ \tfrac12 \|y - y_d\|^2 + \tfrac\alpha2 \|u\|^2 + g(u), \qquad
   -\nu y'' + y y' = u \ \text{on } (0, 1), \quad y(0) = y(1) = 0

`BurgersControl` optimises, then approximates: with the centre v and the step s of the prox, networks solve

.. math:: -\nu y'' + y y' = u, \qquad -\nu p'' - y p' = y - y_d, \qquad
   u = \frac{v - s p}{1 + s \alpha}, \qquad p(0) = p(1) = 0,

where the last equation, the gradient condition, is put into the first.  The second weighs :math:`s / (1 + s \alpha)`,
the slope of u in -p, for the accuracy of u is what counts.  `BurgersCompromise` approximates, then
optimises: networks for y and u minimise the mean of the squares of

.. math:: -\nu y'' + y y' - u, \qquad y - y_d, \qquad
   \sqrt{\alpha + \tfrac1s}\, \Bigl( u - \frac{v}{1 + s \alpha} \Bigr)

in which the equation has the weight of the data: its minimum is a compromise, off by several per cent.

Source: Y. Song, X. Yuan, H. Yue, arXiv 2302.08309; the compromise's rows are those of the authors' code.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from optsci._tensor import require_positive

from ..domains import Interval
from ..equations import Equation, Field, Fields
from ..losses import Loss
from ..problems import Coefficient
from .subproblem import Subproblem, largest_gradient, nodal_values, nodes_in, require_zero

ENDS = ((0.0,), (1.0,))


def BurgersControl(
    nodes: Any,
    state: nn.Module,
    adjoint: nn.Module,
    *,
    target: Coefficient | Tensor = 0.3,
    nu: float = 1 / 12,
    alpha: float = 0.1,
    **inner: Any,
) -> Subproblem:
    r"""The smooth half of Burgers control, by its optimality system.

    Args:
        nodes: (n, 1) in [0, 1], where the control has its values and the equations are asked for.
        state: y, 0 at both ends, such as ``BoundaryAnsatz(MLP(1, [30, 30]), 0.0, Interval(0, 1).vanishing)``.
        adjoint: p, likewise.
        target: y_d; a number, a function of x as of `Problem`, or values at the nodes, (n,) or (n, 1).
        nu: viscosity, positive.
        alpha: cost of the control, positive.
        inner: ``inner_steps``, ``trainer`` and ``tolerance`` of `Subproblem`.

    The networks minimise the sum of the mean squares of both equations; the root of it is the error of a prox.

    >>> import torch
    >>> from optsci import Box, admm, solve
    >>> from optsci.pinn import MLP, BoundaryAnsatz, Interval
    >>> x = torch.linspace(0, 1, 21, dtype=torch.float64)[:, None]
    >>> y, p = (BoundaryAnsatz(MLP(1, [8], seed=i), 0.0, Interval(0.0, 1.0).vanishing) for i in range(2))
    >>> f = BurgersControl(x, y, p)
    >>> u = solve(admm(f, Box(-1.0, 0.3), torch.zeros_like(x), rho=0.1), max_iter=2).state.z
    >>> f.last.met, bool(u.max() <= 0.3)
    (True, True)
    """
    x, y_d = posed(nodes, target, nu, alpha)
    require_zero(state, "state", x.new_tensor(ENDS))
    require_zero(adjoint, "adjoint", x.new_tensor(ENDS))
    fields = Fields(y=state, p=adjoint)

    def both(u: Any) -> tuple[nn.Module, nn.Module]:
        return u.y, u.p

    def gradient_condition(p: Tensor, v: Tensor, step: float) -> Tensor:
        return (v - step * p) / (1 + step * alpha)

    def loss(v: Tensor, step: float) -> Loss:
        def state_equation(x: Tensor, y: Field, p: Field) -> Tensor:
            return burgers(y, nu) - gradient_condition(p.value, v, step)

        def adjoint_equation(x: Tensor, y: Field, p: Field) -> Tensor:
            return -nu * p.laplacian - y.value * p.gradient - (y.value - y_d)

        return Equation(x, both, state_equation) + Equation(x, both, adjoint_equation, step / (1 + step * alpha))

    return Subproblem(x, fields, loss, lambda v, step: gradient_condition(adjoint(x), v, step), **inner)


def BurgersCompromise(
    nodes: Any,
    state: nn.Module,
    control: nn.Module,
    *,
    target: Coefficient | Tensor = 0.3,
    nu: float = 1 / 12,
    alpha: float = 0.1,
    **inner: Any,
) -> Subproblem:
    """The same by one sum of mean squares of the equation, the data and the centre; arguments as of `BurgersControl`.

    For problems without a known adjoint, and to compare: where the equation is only penalised, y is not the state of u.
    The measure of error is the largest entry of the gradient.  On few nodes see `EllipticCompromise`.

    Args:
        nodes: (n, 1).
        state: y, 0 at both ends.
        control: u, a network.
        target: y_d.
        nu: positive.
        alpha: positive.
        inner: as of `BurgersControl`.
    """
    x, y_d = posed(nodes, target, nu, alpha)
    require_zero(state, "state", x.new_tensor(ENDS))
    fields = Fields(y=state, u=control)

    def loss(v: Tensor, step: float) -> Loss:
        return (
            Equation(x, lambda f: (f.y, f.u), lambda x, y, u: burgers(y, nu) - u.value)
            + Equation(x, lambda f: (f.y,), lambda x, y: y.value - y_d)
            + Equation(x, lambda f: (f.u,), lambda x, u: u.value - v / (1 + step * alpha), alpha + 1 / step)
        )

    return Subproblem(x, fields, loss, lambda v, step: control(x), **{"error": largest_gradient, **inner})


def burgers(y: Field, nu: float) -> Tensor:
    """Return -nu y'' + y y', (n, 1)."""
    return -nu * y.laplacian + y.value * y.gradient


def posed(nodes: Any, target: Any, nu: float, alpha: float) -> tuple[Tensor, Tensor]:
    """Return the nodes and the target at them, after making sure of all arguments."""
    require_positive(nu, "nu")
    require_positive(alpha, "alpha")
    x = nodes_in(nodes, Interval(0.0, 1.0))
    return x, nodal_values(target, "target", x)
