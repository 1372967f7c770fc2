r"""Control of Poisson's equation as a function with a prox, by networks.

.. math:: \min_u\ \tfrac12 \|y - y_d\|^2 + \tfrac\alpha2 \|u\|^2 + g(u), \qquad
   -\Delta y = u \ \text{in } \Omega, \quad y = 0 \ \text{on } \partial \Omega

`EllipticControl` optimises, then approximates: with the centre v and the step s of the prox, networks solve

.. math:: -\Delta y = u, \qquad -\Delta p = y - y_d, \qquad u = \frac{v - s p}{1 + s \alpha}, \qquad p = 0 \ \text{on }
   \partial \Omega

with :math:`p = -\sqrt\alpha D N`: N is the network, D is 0 on the boundary, and without g the control is
:math:`D N / \sqrt\alpha`.  The adjoint equation weighs :math:`s / (1 + s \alpha)`, the slope of u in -p: so the
system is skew-symmetric in y and :math:`p \sqrt{s / (1 + s \alpha)}`, up to the Laplacians.

`EllipticCompromise` approximates, then optimises: networks for y and u minimise the mean of the squares of
:math:`-\Delta y - u`, :math:`y - y_d` and :math:`\sqrt{\alpha + 1/s}\,(u - v / (1 + s \alpha))`, in which the equation
has the weight of the data.

Source: Y. Song, X. Yuan, H. Yue, arXiv 2302.08309, for the method.
"""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor, nn

from optsci._tensor import require_positive

from ..ansatz import BoundaryAnsatz
from ..domain_protocol import Domain
from ..equations import Equation, Field, Fields
from ..losses import Loss
from ..problems import Coefficient
from .subproblem import Subproblem, largest_gradient, nodal_values, nodes_in, require_zero

CHECKED = 128  # points of the boundary at which a state is looked at


def EllipticControl(
    domain: Domain,
    nodes: Any,
    state: nn.Module,
    control: nn.Module,
    *,
    target: Coefficient | Tensor,
    alpha: float,
    **inner: Any,
) -> Subproblem:
    r"""The smooth half of the control of Poisson's equation, by its optimality system.

    Args:
        domain: of any dimension d.
        nodes: (n, d) in the domain, where the control has its values and the equations are asked for.
        state: y, 0 on the boundary, such as ``BoundaryAnsatz(MLP(2, [32, 32]), 0.0, domain.vanishing)``.  The factor
            ``domain.distance`` has kinks, and so has y, that no node sees: they are a control that costs nothing, and
            the result is another one.  It is let through with a warning.
        control: N, a network.
        target: y_d; a number, a function of x as of `Problem`, or values at the nodes, (n,) or (n, 1).
        alpha: cost of the control, positive.
        inner: ``inner_steps``, ``trainer`` and ``tolerance`` of `Subproblem`.

    With N networks of P parameters in all, a Gauss-Newton step costs :math:`n P \min(n, P)`: for large ones give a
    ``trainer`` such as ``lambda u, loss, last: lbfgs(u, loss)``.

    >>> import torch
    >>> from optsci import L1, Box, admm, solve
    >>> from optsci.pinn import MLP, UnitSquare
    >>> domain = UnitSquare()
    >>> x = domain.sample(50, seed=0)
    >>> y = BoundaryAnsatz(MLP(2, [8], 1), 0.0, domain.vanishing)
    >>> f = EllipticControl(domain, x, y, MLP(2, [8], 1), target=1.0, alpha=1e-3, inner_steps=9)
    >>> u = solve(admm(f, 1e-2 * L1() + Box(-1, 1), torch.zeros_like(x[:, :1]), rho=1e-2), max_iter=2).state.z
    >>> u.shape, bool(u.abs().max() <= 1)
    (torch.Size([50, 1]), True)
    """
    x, y_d = posed(domain, nodes, target, alpha)
    require_zero(state, "state", domain.sample_boundary(CHECKED, 0)[0].to(x))
    warn_of_kinks(domain, state)
    adjoint = BoundaryAnsatz(control, 0.0, domain.vanishing)  # times the root of alpha
    fields = Fields(y=state, q=adjoint)

    def both(u: Any) -> tuple[nn.Module, nn.Module]:
        return u.y, u.q

    root = float(alpha) ** 0.5

    def gradient_condition(q: Tensor, v: Tensor, step: float) -> Tensor:
        return (v + step * root * q) / (1 + step * alpha)

    def loss(v: Tensor, step: float) -> Loss:
        def state_equation(x: Tensor, y: Field, q: Field) -> Tensor:
            return -y.laplacian - gradient_condition(q.value, v, step)

        def adjoint_equation(x: Tensor, y: Field, q: Field) -> Tensor:
            return root * q.laplacian - (y.value - y_d)

        return Equation(x, both, state_equation) + Equation(x, both, adjoint_equation, step / (1 + step * alpha))

    return Subproblem(x, fields, loss, lambda v, step: gradient_condition(adjoint(x), v, step), **inner)


def EllipticCompromise(
    domain: Domain,
    nodes: Any,
    state: nn.Module,
    control: nn.Module,
    *,
    target: Coefficient | Tensor,
    alpha: float,
    **inner: Any,
) -> Subproblem:
    """The same by one sum of mean squares of the equation, the data and the centre; see `EllipticControl`.

    The measure of error is the largest entry of the gradient.  The loss is not zero at its minimum: take several times
    more nodes than parameters, or the networks will follow all equations at the nodes and none between them.

    Args:
        domain: as of `EllipticControl`.
        nodes: (n, d).
        state: y, 0 on the boundary.
        control: u, a network.
        target: y_d.
        alpha: positive.
        inner: as of `EllipticControl`.
    """
    x, y_d = posed(domain, nodes, target, alpha)
    require_zero(state, "state", domain.sample_boundary(CHECKED, 0)[0].to(x))
    warn_of_kinks(domain, state)
    fields = Fields(y=state, u=control)

    def loss(v: Tensor, step: float) -> Loss:
        return (
            Equation(x, lambda f: (f.y, f.u), lambda x, y, u: -y.laplacian - u.value)
            + Equation(x, lambda f: (f.y,), lambda x, y: y.value - y_d)
            + Equation(x, lambda f: (f.u,), lambda x, u: u.value - v / (1 + step * alpha), alpha + 1 / step)
        )

    return Subproblem(x, fields, loss, lambda v, step: control(x), **{"error": largest_gradient, **inner})


def posed(domain: Domain, nodes: Any, target: Any, alpha: float) -> tuple[Tensor, Tensor]:
    """Return the nodes and the target at them, after making sure of all arguments."""
    require_positive(alpha, "alpha")
    x = nodes_in(nodes, domain)
    return x, nodal_values(target, "target", x)


def warn_of_kinks(domain: Domain, state: nn.Module) -> None:
    """Warn of the factor of which y has kinks."""
    if isinstance(state, BoundaryAnsatz) and state.distance == domain.distance:
        warnings.warn(
            "state has the factor domain.distance, whose kinks inside act on y like sources that no node sees: "
            "the control will be wrong; take domain.vanishing",
            stacklevel=3,
        )
