r"""Alternating minimisation over blocks of variables.

.. math:: \min_{x, y} \; H(x, y) + f(x) + g(y), \qquad \min_x \; \tfrac12 \langle x, Q x \rangle - \langle c, x \rangle
          + \sum_i g_i(x_i)

``palm`` takes proximal gradient steps in turns, with the step of each block from its own Lipschitz constant;
``coordinate_descent`` minimises over one coordinate at a time, chosen by a rule.

Sources: Bolte, Sabach and Teboulle, Math. Program. 146 (2014) 459 (PALM); Pock and Sabach, SIAM J. Imaging Sci. 9
(2016) 1756 (iPALM); Nutini et al., ICML 2015 (greedy rules).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from optsci._tensor import as_finite, as_tensor
from optsci.linalg import require_symmetric
from optsci.protocols import require


class Coupling(Protocol):
    """A smooth function of two blocks, with a gradient and a Lipschitz constant of it for each."""

    def grad_x(self, x: Tensor, y: Tensor, /) -> Tensor:
        """Return the gradient in the first block."""
        ...

    def grad_y(self, x: Tensor, y: Tensor, /) -> Tensor:
        """Return the gradient in the second block."""
        ...

    def lipschitz_x(self, y: Tensor, /) -> Tensor | float:
        """Return a Lipschitz constant of ``x -> grad_x(x, y)``."""
        ...

    def lipschitz_y(self, x: Tensor, /) -> Tensor | float:
        """Return a Lipschitz constant of ``y -> grad_y(x, y)``."""
        ...


class PALMState(NamedTuple):
    """An iteration of ``palm``."""

    x: Tensor  # first block
    residual: (
        Tensor  # sqrt(||dx||^2 + ||dy||^2) / max(1, sqrt(||x||^2 + ||y||^2)), changes from the extrapolated points
    )
    y: Tensor  # second block


class CoordinateState(NamedTuple):
    """An update of one coordinate by ``coordinate_descent``."""

    x: Tensor  # (n,) iterate
    residual: Tensor  # largest change that a coordinate would still make, over max(1, largest entry)
    gradient: Tensor  # (n,) Q x - c, by recurrence
    coordinate: Tensor  # 0-d, the coordinate that moved


def palm(
    H: Coupling, f: Any, g: Any, x0: Any, y0: Any, *, gamma: float = 1.1, inertia: float = 0.0
) -> Iterator[PALMState]:
    r"""Proximal alternating linearised minimisation of :math:`H(x, y) + f(x) + g(y)`, neither need be convex.

    .. math::

        x_{k+1} &= \operatorname{prox}_{f / (\gamma L_1(y_k))}
                   \bigl(u - \nabla_x H(u, y_k) / (\gamma L_1(y_k))\bigr),
                   \qquad u = x_k + \beta (x_k - x_{k-1}), \\
        y_{k+1} &= \operatorname{prox}_{g / (\gamma L_2(x_{k+1}))}
                   \bigl(v - \nabla_y H(x_{k+1}, v) / (\gamma L_2(x_{k+1}))\bigr),
                   \qquad v = y_k + \beta (y_k - y_{k-1}).

    Without inertia the objective falls by at least
    :math:`\tfrac{\gamma - 1}{2} (L_1 \|x_{k+1} - x_k\|^2 + L_2 \|y_{k+1} - y_k\|^2)` a state. With it (iPALM) a
    descent is only guaranteed for a small inertia, together with a larger gamma.

    Args:
        H: has ``grad_x(x, y)``, ``grad_y(x, y)``, ``lipschitz_x(y)`` and ``lipschitz_y(x)``.
        f: has ``prox``.
        g: has ``prox``.
        x0: start of the first block, any shape; not modified.
        y0: start of the second.
        gamma: steps are 1/(gamma L); greater than 1.
        inertia: :math:`\beta`, from 0 to less than 1.

    The residual is the change in both blocks together, relative to their size if that exceeds 1.

    Raises:
        TypeError: H, f or g lacks a method.
        ValueError: ``gamma`` is not greater than 1, or ``inertia`` not in [0, 1).

    Reference: Bolte, Sabach and Teboulle (2014), section 3; Pock and Sabach (2016), Algorithm 1.

    Example:
        >>> import optsci
        >>> class Distance:
        ...     grad_x = staticmethod(lambda x, y: x - y)
        ...     grad_y = staticmethod(lambda x, y: y - x)
        ...     lipschitz_x = lipschitz_y = staticmethod(lambda other: 1.0)
        >>> nearest = palm(Distance(), optsci.Box(0, 1), optsci.Box(2, 3), [0.0], [3.0])
        >>> state = optsci.solve(nearest).state
        >>> state.x, state.y
        (tensor([1.]), tensor([2.]))
    """
    for method in ("grad_x", "grad_y", "lipschitz_x", "lipschitz_y"):
        require(H, method, by="palm", name="H")
    require(f, "prox", by="palm", name="f")
    require(g, "prox", by="palm", name="g")
    x0 = as_tensor(x0, "x0")
    y0 = as_tensor(y0, "y0", like=x0)
    if not gamma > 1:
        raise ValueError(f"gamma must be greater than 1, got {gamma!r}")
    if not 0 <= inertia < 1:
        raise ValueError(f"inertia must be at least 0 and less than 1, got {inertia!r}")

    def iterate(x: Tensor, y: Tensor) -> Iterator[PALMState]:
        x_old, y_old = x, y
        while True:
            u = x + inertia * (x - x_old)
            step = _step(gamma * H.lipschitz_x(y))
            x, x_old = f.prox(u - step * H.grad_x(u, y), step), x
            v = y + inertia * (y - y_old)
            step = _step(gamma * H.lipschitz_y(x))
            y, y_old = g.prox(v - step * H.grad_y(x, v), step), y
            change = (_square(x - u) + _square(y - v)).sqrt()
            yield PALMState(x, change / (_square(x) + _square(y)).sqrt().clamp(min=1), y)

    return iterate(x0, y0)


Rule = Callable[[Tensor, Tensor, Tensor], Tensor]  # (gradient, change, curvature) -> score of every coordinate


def greatest_change(gradient: Tensor, change: Tensor, curvature: Tensor) -> Tensor:
    """Gauss-Southwell-r: the coordinate whose minimisation moves it furthest.

    Example:
        >>> greatest_change(torch.zeros(2), torch.tensor([1.0, -2.0]), torch.ones(2))
        tensor([1., 2.])
    """
    return change.abs()


def greatest_scaled_change(gradient: Tensor, change: Tensor, curvature: Tensor) -> Tensor:
    r"""Gauss-Southwell-Lipschitz: the largest :math:`\sqrt{Q_{ii}} |d_i|`, the greatest progress of a smooth problem.

    Example:
        >>> greatest_scaled_change(torch.zeros(2), torch.tensor([1.0, -2.0]), torch.tensor([9.0, 1.0]))
        tensor([3., 2.])
    """
    return curvature.sqrt() * change.abs()


def coordinate_descent(
    Q: Any, c: Any, g: Any, x0: Any, *, rule: Rule | None = greatest_scaled_change
) -> Iterator[CoordinateState]:
    r"""Coordinate descent for :math:`\tfrac12 \langle x, Q x\rangle - \langle c, x\rangle + g(x)`, g separable.

    .. math:: x_i \leftarrow \operatorname{prox}_{g / Q_{ii}} \bigl(x_i - (Q x - c)_i / Q_{ii}\bigr)

    The gradient is kept up to date by one column of Q a state. The objective never rises. For g = 0 and Q at least
    :math:`\mu I` the scaled rule gains the factor :math:`1 - \mu / \sum_i Q_{ii}` a state, or more.

    Args:
        Q: (n, n) symmetric, with a positive diagonal.
        c: (n,).
        g: has an elementwise ``prox`` that takes a step for every entry; ``L1``, ``Box`` and their like.
        x0: (n,) start; not modified.
        rule: the scores of the coordinates, of which the best is minimised over; ``greatest_scaled_change``,
            ``greatest_change`` or your own. None goes through all in turn.

    The residual is the largest change that minimising over any one coordinate would make, relative to the largest
    entry of x if that exceeds 1: 0 exactly at a solution.

    Raises:
        ValueError: the diagonal of Q is not positive, or shapes disagree.

    Reference: Nutini et al. (2015), sections 4 and 8.

    Example:
        >>> import optsci
        >>> steps = coordinate_descent([[2.0, 1.0], [1.0, 2.0]], [3.0, 0.0], optsci.Nonnegative(), [0.0, 0.0])
        >>> optsci.solve(steps).x
        tensor([1.5000, 0.0000])
    """
    require(g, "prox", by="coordinate_descent", name="g")
    Q = as_finite(Q, "Q")
    if Q.dim() != 2 or Q.shape[0] != Q.shape[1] or Q.numel() == 0:
        raise ValueError(f"Q must be a square matrix, got shape {tuple(Q.shape)}")
    require_symmetric(Q, "Q")
    c, x0 = as_finite(c, "c", like=Q), as_tensor(x0, "x0", like=Q)
    for name, vector in (("c", c), ("x0", x0)):
        if vector.shape != Q.shape[:1]:
            raise ValueError(f"{name} must have the shape ({len(Q)},), as Q has rows, got {tuple(vector.shape)}")
    curvature = Q.diagonal()
    if not (curvature > 0).all():
        raise ValueError(f"Q must have a positive diagonal, got {curvature.min().item()}")

    def iterate(x: Tensor) -> Iterator[CoordinateState]:
        gradient, turn = Q @ x - c, torch.zeros((), dtype=torch.int64, device=Q.device)
        coordinates = torch.arange(len(Q), device=Q.device)
        while True:
            change = g.prox(x - gradient / curvature, 1 / curvature) - x
            residual = change.abs().max() / x.abs().max().clamp(min=1)
            i = turn if rule is None else rule(gradient, change, curvature).argmax()
            d = change.index_select(0, i[None])
            x = torch.where(coordinates == i, x + d, x)
            gradient = gradient + d * Q.index_select(1, i[None])[:, 0]
            turn = (turn + 1) % len(Q)
            yield CoordinateState(x, residual, gradient, i)

    return iterate(x0)


def _step(L: Any) -> Any:
    """1/L; where H does not depend on a block, any step serves, and 1 is one."""
    return (
        torch.where(L > 0, 1 / torch.where(L > 0, L, 1.0), 1.0) if isinstance(L, Tensor) else (1 / L if L > 0 else 1.0)
    )


def _square(v: Tensor) -> Tensor:
    return v.square().sum()
