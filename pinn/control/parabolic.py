r"""Sparse control of the heat equation, by ADMM-PINN: *optimise, then approximate*.

.. math::

   \min_u \tfrac12 \|y - y_d\|^2 + \tfrac\alpha2 \|u\|^2 + \rho \|u\|_1 \quad \text{with} \quad a \le u \le b, \qquad
   y_t - \Delta y = u + f \text{ in } (0, 1)^2 \times (0, T), \quad y = 0 \text{ at } t = 0 \text{ and on the boundary}

The smooth half, with the cost :math:`\alpha`, has the prox :math:`u = (v - s p) / (1 + s \alpha)`, where

.. math::

   y_t - \Delta y = \frac{v - s p}{1 + s \alpha} + f, \qquad -p_t - \Delta p = y - y_d, \quad p(T) = 0, \quad
   p = 0 \text{ on the boundary}

and the other half is a soft threshold and a clip, ``problem.nonsmooth``.  Initial, final and boundary
values are exact: y = t D(x) times a network and p = (T - t) D(x) times another, where
:math:`D = 16 x_1 (1 - x_1) x_2 (1 - x_2)`.  Both equations hold at the nodes of the control, in the mean square.  At
the end :math:`u = \Phi(-p) = \operatorname{clip}(\operatorname{soft}(-p, \rho) / \alpha)`, which gives u anywhere.

Sources: Y. Song, X. Yuan, H. Yue, arXiv 2302.08309 (the splitting); G. Stadler, Comput. Optim. Appl. 44 (2009) 159
(:math:`\Phi`).  The example `sparse_heat` is ours: y and p are chosen, f and :math:`y_d` follow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

import optsci
from optsci._tensor import as_finite, require_finite, require_positive

from ..ansatz import BoundaryAnsatz
from ..domains import Box
from ..equations import Equation, Field, Fields
from ..losses import Loss
from ..networks import MLP
from ..problems import Coefficient, coefficient_values
from .semismooth_newton import ControlCost, semismooth_newton
from .solution_maps import HeatMap
from .subproblem import Subproblem


@dataclass(frozen=True, eq=False)
class HeatControl:
    r"""A control problem for the heat equation in the unit square.

    Args:
        source: f, a number or a function of points with the components first: x[0] and x[1] in space, x[2] is t.
        target: :math:`y_d`, likewise.
        alpha: positive.
        rho: at least 0.
        lower: a, may be -inf.
        upper: b, may be inf.
        final: T, positive.
        state: y, where it is known.
        adjoint: p, where it is known.

    Raises:
        ValueError: alpha or T is not positive, rho is negative, or a exceeds b.

    >>> HeatControl(0.0, 1.0, alpha=0.1, lower=1.0, upper=-1.0)
    Traceback (most recent call last):
    ValueError: lower must be at most upper, and some finite number lie between, got lower = 1.0 and upper = -1.0
    """

    source: Coefficient
    target: Coefficient
    alpha: float
    rho: float = 0.0
    lower: float = -math.inf
    upper: float = math.inf
    final: float = 1.0
    state: Coefficient | None = None
    adjoint: Coefficient | None = None

    def __post_init__(self) -> None:
        require_positive(self.alpha, "alpha")
        require_positive(self.final, "final")
        require_finite(float(self.final), "final")
        self.cost  # noqa: B018  (refuses what it refuses)

    @cached_property
    def domain(self) -> Box:
        """Space and time."""
        return Box((0.0, 0.0, 0.0), (1.0, 1.0, float(self.final)))

    @cached_property
    def cost(self) -> ControlCost:
        """All costs of the control, for `semismooth_newton`."""
        return ControlCost(self.alpha, self.rho, self.lower, self.upper)

    @cached_property
    def nonsmooth(self) -> Any:
        """What is left of them for the second half of ADMM: g, a function of the core."""
        return optsci.L1(self.rho) + optsci.Box(self.lower, self.upper)

    def values(self, name: str, points: Tensor) -> Tensor:
        """Return ``source``, ``target``, ``state`` or ``adjoint`` at points (n, 3), as (n, 1).

        Raises:
            ValueError: a value is not finite, or it is not known.
        """
        given = getattr(self, name)
        if given is None:
            raise ValueError(f"{name} is not known of this problem")
        found = coefficient_values(given, points.detach().cpu().double().numpy().T)
        column = np.broadcast_to(np.asarray(found, float), (len(points),)).copy()
        return as_finite(torch.from_numpy(column).to(points)[:, None], name)

    def control(self, points: Tensor) -> Tensor:
        """Return the optimal control at points (n, 3), as (n, 1), where the adjoint state is known."""
        return self.cost.minimiser(self.values("adjoint", points))


def sparse_heat() -> HeatControl:
    r"""Return a problem with a known solution whose control is 0 in places, and at both bounds in others.

    .. math::

       y = t \sin \pi x_1 \sin \pi x_2, \quad p = -\tfrac12 (1 - t) \sin 2\pi x_1 \sin \pi x_2, \quad \alpha = 0.02,
       \quad \rho = 0.1, \quad -6 \le u \le 10, \quad T = 1

    with :math:`u = \Phi(-p)`, :math:`f = y_t - \Delta y - u` and :math:`y_d = y + p_t + \Delta p`.

    >>> problem = sparse_heat()
    >>> x = torch.tensor([[0.25, 0.5, 0.0], [0.75, 0.5, 0.0], [0.25, 0.5, 0.9], [0.25, 0.5, 0.6]])
    >>> [round(u) for u in problem.control(x).flatten().tolist()]
    [10, -6, 0, 5]
    """
    alpha, rho, lower, upper = 0.02, 0.1, -6.0, 10.0

    def wave(x: Any, j: int) -> Any:
        return np.sin(j * np.pi * x[0]) * np.sin(np.pi * x[1])

    def state(x: Any) -> Any:
        return x[2] * wave(x, 1)

    def adjoint(x: Any) -> Any:
        return -0.5 * (1 - x[2]) * wave(x, 2)

    def source(x: Any) -> Any:
        p = adjoint(x)
        u = np.clip(-np.sign(p) * np.maximum(np.abs(p) - rho, 0) / alpha, lower, upper)
        return wave(x, 1) + 2 * np.pi**2 * state(x) - u

    def target(x: Any) -> Any:
        return state(x) + 0.5 * wave(x, 2) - 5 * np.pi**2 * adjoint(x)

    return HeatControl(source, target, alpha, rho, lower, upper, state=state, adjoint=adjoint)


def heat_fields(problem: HeatControl, hidden: Sequence[int] = (64,), *, scale: float = 1.0, seed: int = 0) -> Fields:
    """Return networks y and p with exact initial, final and boundary values.

    Args:
        problem: gives T.
        hidden: widths of the hidden layers of each.
        scale: size of p; that of y is 1.
        seed: of the weights.
    """

    def on_the_sides(x: Tensor) -> Tensor:
        return 16 * x[:, :1] * (1 - x[:, :1]) * x[:, 1:2] * (1 - x[:, 1:2])

    def net(scale: float, seed: int) -> MLP:
        found = MLP(3, hidden, box=problem.domain, scale=scale, seed=seed)
        random = torch.Generator().manual_seed(seed)
        for entries in (found.weights[0], found.biases[0]):  # zero biases would be a network of odd functions
            entries.data.copy_(torch.randn(entries.shape, generator=random, dtype=torch.float64))
        return found

    return Fields(
        y=BoundaryAnsatz(net(1.0, 2 * seed), 0.0, lambda x: x[:, 2:] * on_the_sides(x)),
        p=BoundaryAnsatz(net(scale, 2 * seed + 1), 0.0, lambda x: (problem.final - x[:, 2:]) * on_the_sides(x)),
    )


def heat_subproblem(problem: HeatControl, nodes: Any, fields: Fields, **options: Any) -> Subproblem:
    r"""Return :math:`\tfrac12 \|y - y_d\|^2 + \tfrac\alpha2 \|u\|^2` as a function of u at nodes, by networks.

    Args:
        problem: the data.
        nodes: (n, 3), inside of space and time; both equations are asked there.
        fields: networks y and p, as `heat_fields` makes them.
        options: of `Subproblem`: ``inner_steps``, ``trainer``, ``tolerance``.

    Raises:
        ValueError: a node is outside, or a source or target is not finite at one.

    ADMM with this and ``problem.nonsmooth`` solves the problem; x0 is (n, 1).
    """
    x = as_finite(nodes, "nodes")
    if x.dim() != 2 or x.shape[1] != 3 or len(x) == 0:
        raise ValueError(f"nodes must be (n, 3), at least one, got {tuple(x.shape)}")
    outside = ~(problem.domain.distance(x)[:, 0] > 0)
    if outside.any():
        raise ValueError(
            f"nodes must lie in (0, 1)^2 x (0, {problem.final:g}), {int(outside.sum())} of {len(x)} do not: "
            f"{x[outside][0].tolist()}"
        )
    f, y_d, alpha = problem.values("source", x), problem.values("target", x), problem.alpha

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


def optimal_control(problem: HeatControl, fields: Fields) -> Callable[[Tensor], Tensor]:
    r"""Return :math:`u = \Phi(-p)` of the adjoint network, a function of points (n, 3) -> (n, 1), inside its box."""

    def control(x: Tensor) -> Tensor:
        with torch.no_grad():
            return problem.cost.minimiser(fields.get_submodule("p")(x))

    return control


def heat_reference(problem: HeatControl, S: HeatMap, tol: float = 1e-9) -> optsci.Result:
    """Solve the problem on a grid: implicit Euler steps, five-point scheme, semismooth Newton.

    Args:
        problem: the data; its T must be that of S.
        S: the map, whose ``S.points`` are the nodes of the control.
        tol: see `semismooth_newton`.

    Returns:
        the run; ``run.x`` is the control (n,), ``run.state.y`` the state without the part of f.

    >>> problem, S = sparse_heat(), HeatMap(cells=8, steps=8)
    >>> u = heat_reference(problem, S).x
    >>> exact = problem.control(S.points)[:, 0]
    >>> bool((u - exact).norm() < 0.2 * exact.norm())
    True
    """
    if S.dim != 2 or S.final != problem.final:
        raise ValueError(f"S must be a HeatMap in 2 dimensions up to T = {problem.final:g}, got {S}")
    f, y_d = (problem.values(name, S.points)[:, 0] for name in ("source", "target"))
    steps = semismooth_newton(S, y_d - S(f), torch.zeros_like(f), cost=problem.cost)
    return optsci.solve(steps, tol=tol, max_iter=50)
