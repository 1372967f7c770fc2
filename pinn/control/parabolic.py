r"""Sparse control of the heat equation, by ADMM-PINN: *optimise, then approximate*.

.. math::

   \min_u \tfrac12 \|y - y_d\|^2 + \tfrac\alpha2 \|u\|^2 + \rho \|u\|_1 \quad \text{with} \quad a \le u \le b, \qquad
   y_t - \Delta y = u + f \text{ in } (0, 1)^2 \times (0, T), \quad y = 0 \text{ at } t = 0 \text{ and on the boundary}

The smooth half, with the cost :math:`\alpha`, has the prox :math:`u = (v - s p) / (1 + s \alpha)`, where

.. math::

   y_t - \Delta y = \frac{v - s p}{1 + s \alpha} + f, \qquad -p_t - \Delta p = y - y_d, \quad p(T) = 0, \quad
   p = 0 \text{ on the boundary}

and the other half is a soft threshold and a clip, a `ControlCost` with :math:`\alpha = 0`.  Initial, final and boundary
values are exact: y = t D(x) times a network and p = (T - t) D(x) times another, where
:math:`D = 16 x_1 (1 - x_1) x_2 (1 - x_2)`.  Both equations hold at the nodes of the control, in the mean square.  At
the end :math:`u = \Phi(-p) = \operatorname{clip}(\operatorname{soft}(-p, \rho) / \alpha)`, which gives u anywhere.

Sources: Y. Song, X. Yuan, H. Yue, arXiv 2302.08309 (the splitting); G. Stadler, Comput. Optim. Appl. 44 (2009) 159
(:math:`\Phi`).  Departure: Gauss-Newton steps for Adam and L-BFGS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from optsci._tensor import as_finite, require_finite, require_positive

from ..ansatz import BoundaryAnsatz
from ..domains import Box
from ..equations import Equation, Field, Fields
from ..losses import Loss, column_of
from ..networks import MLP
from .newton_control import ControlCost
from .subproblem import Subproblem, require_zero


def heat_fields(hidden: Sequence[int] = (64,), *, final: float = 1.0, scale: float = 1.0, seed: int = 0) -> Fields:
    """Return networks y and p with exact initial, final and boundary values.

    Args:
        hidden: widths of the hidden layers of each.
        final: T.
        scale: size of p; that of y is 1.
        seed: of the weights.
    """
    domain = space_time(final)

    def on_the_sides(x: Tensor) -> Tensor:
        return 16 * x[:, :1] * (1 - x[:, :1]) * x[:, 1:2] * (1 - x[:, 1:2])

    def net(scale: float, seed: int) -> MLP:
        found = MLP(3, hidden, box=domain, scale=scale, seed=seed)
        random = torch.Generator().manual_seed(seed)
        for entries in (found.weights[0], found.biases[0]):  # zero biases would be a network of odd functions
            entries.data.copy_(torch.randn(entries.shape, generator=random, dtype=torch.float64))
        return found

    return Fields(
        y=BoundaryAnsatz(net(1.0, 2 * seed), 0.0, lambda x: x[:, 2:] * on_the_sides(x)),
        p=BoundaryAnsatz(net(scale, 2 * seed + 1), 0.0, lambda x: (final - x[:, 2:]) * on_the_sides(x)),
    )


def heat_subproblem(
    nodes: Any, fields: Fields, source: Any, target: Any, alpha: float, *, final: float = 1.0, **options: Any
) -> Subproblem:
    r"""Return :math:`\tfrac12 \|y - y_d\|^2 + \tfrac\alpha2 \|u\|^2` as a function of u at nodes, by networks.

    Args:
        nodes: (n, 3), inside of space and time, the time last; both equations are asked there.
        fields: networks y and p, as `heat_fields` makes them.
        source: f at the nodes, (n,) or (n, 1), or a number.
        target: :math:`y_d`, likewise.
        alpha: at least 0.
        final: T.
        options: of `Subproblem`: ``inner_steps``, ``trainer``, ``tolerance``.

    Raises:
        ValueError: a node is outside, a source or target is not finite or of another shape, alpha is negative.

    >>> import optsci
    >>> from dataclasses import replace
    >>> from optsci.pinn.control import sparse_parabolic
    >>> x = space_time(1.0).sample(100, 0)
    >>> exact = sparse_parabolic(x)
    >>> f = heat_subproblem(x, heat_fields([8], scale=0.1), exact.f, exact.y_d, exact.cost.alpha, inner_steps=2)
    >>> steps = optsci.admm(f, replace(exact.cost, alpha=0.0), torch.zeros_like(exact.u), rho=exact.cost.alpha)
    >>> optsci.solve(steps, max_iter=2).state.z.shape
    torch.Size([100])
    """
    domain = space_time(final)
    x = as_finite(nodes, "nodes")
    if x.dim() != 2 or x.shape[1] != 3 or len(x) == 0:
        raise ValueError(f"nodes must be (n, 3), at least one, got {tuple(x.shape)}")
    outside = ~(domain.distance(x)[:, 0] > 0)
    if outside.any():
        raise ValueError(
            f"nodes must lie in (0, 1)^2 x (0, {final:g}), {int(outside.sum())} of {len(x)} do not: "
            f"{x[outside][0].tolist()}"
        )
    f, y_d = column_of(source, "source", x), column_of(target, "target", x)
    ControlCost(alpha)  # refuses what it refuses
    sides, first, last = x.clone(), x.clone(), x.clone()
    sides[:, 0], first[:, 2], last[:, 2] = 0.0, 0.0, final
    for name, end, at in (("y", first, "t = 0"), ("p", last, f"t = {final:g}")):
        require_zero(fields.get_submodule(name), f"field {name}", sides)
        require_zero(fields.get_submodule(name), f"field {name}", end, at)

    def control(v: Tensor, step: float) -> Tensor:
        return (v - step * fields.get_submodule("p")(x)) / (1 + step * alpha)

    def loss(v: Tensor, step: float) -> Loss:
        def heat(x: Tensor, y: Field, p: Field) -> Tensor:
            return y.gradient[:, 2:] - y.laplacian - (v - step * p.value) / (1 + step * alpha) - f

        def backward(x: Tensor, y: Field, p: Field) -> Tensor:
            return -p.gradient[:, 2:] - p.laplacian - y.value + y_d

        both = [Equation(x, lambda u: (u.y, u.p), equation, axes=(0, 1)) for equation in (heat, backward)]
        return both[0] + both[1]

    return Subproblem(x, fields, loss, control, **options)


def optimal_control(cost: ControlCost, fields: Fields) -> Callable[[Tensor], Tensor]:
    r"""Return :math:`u = \Phi(-p)` of the adjoint network, a function of points (n, 3) -> (n, 1), inside its box."""

    def control(x: Tensor) -> Tensor:
        with torch.no_grad():
            return cost.minimiser(fields.get_submodule("p")(x))

    return control


def space_time(final: float) -> Box:
    """Return the unit square times (0, T)."""
    require_positive(final, "final")
    require_finite(float(final), "final")
    return Box((0.0, 0.0, 0.0), (1.0, 1.0, float(final)))
