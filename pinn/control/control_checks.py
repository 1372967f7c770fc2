r"""What a control-to-state map, its adjoint and a reduced gradient have to satisfy, as numbers.

.. math:: \langle S u, p \rangle = \langle u, S^* p \rangle, \qquad
          J(u + t v) - J(u) - t \langle J'(u), v \rangle = O(t^2)

The first is what the step sizes of primal-dual methods rest on, and holds up to rounding where the adjoint is the
transpose of the discrete map; the discretised adjoint equation is in general only near to that.  The second is the
test of Taylor: a wrong gradient shows the slope 1.

Source: R. Herzog, K. Kunisch, GAMM-Mitteilungen 33 (2010) 163, section 2 (discretise, then optimise).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from optsci.linalg import lanczos_bound
from optsci.linear_maps import Adjoint

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class OperatorPair:
    """A linear map and its adjoint, two functions, as an operator.

    Args:
        S: (n,) -> (m,).
        adjoint: (m,) -> (n,).
        shape: (m, n).
        like: a tensor of the dtype and device of the vectors; double precision on the CPU if None.

    Example:
        >>> OperatorPair(lambda u: 2 * u, lambda p: 2 * p, (5, 5)).norm() < 2.02
        True
    """

    S: Map
    adjoint: Map
    shape: tuple[int, int]
    like: Tensor | None = None

    def __call__(self, u: Tensor) -> Tensor:
        return self.S(u)

    @property
    def T(self) -> Adjoint:
        return Adjoint(self, self.adjoint)

    def norm(self, steps: int = 30) -> float:
        """Return the largest singular value, or 1 % more, by Lanczos steps.

        They are those of power iteration with nothing forgotten; each takes a product of both maps.
        """
        like = torch.zeros(1, dtype=torch.float64) if self.like is None else self.like
        square = lanczos_bound(lambda v: self.adjoint(self.S(v)), like.new_zeros(self.shape[1]), steps=steps)
        return math.sqrt(max(square, 0.0))


def transpose_gap(S: Map, adjoint: Map, u: Tensor, p: Tensor) -> float:
    r"""Return by how much S and an adjoint fail to be that of each other, for a pair of vectors.

    .. math:: |\langle S u, p \rangle - \langle u, S^* p \rangle|
              \,\big/\, \tfrac12 (\|S u\| \|p\| + \|u\| \|S^* p\|)

    Args:
        S: u -> y.
        adjoint: p -> q.
        u: (n,); a random one shows what is wrong almost surely.
        p: (m,).

    >>> transpose_gap(lambda u: u.cumsum(0), lambda p: p.cumsum(0), torch.ones(2), torch.tensor([1.0, 0.0])) > 0.1
    True
    """
    y, q = S(u), adjoint(p)
    size = 0.5 * (y.norm() * p.norm() + u.norm() * q.norm())
    return float((y @ p - u @ q).abs() / torch.where(size > 0, size, 1.0))


def derivative_gap(S: Map, adjoint: Map, u: Tensor, v: Tensor, p: Tensor, *, step: float = 1e-4) -> float:
    r"""Return the `transpose_gap` of the derivative of S along v, by a central difference, and an adjoint at u.

    Args:
        S: u -> y, nonlinear.
        adjoint: p -> S'(u)^* p.
        u: (n,), where S is linearised.
        v: (n,), the direction.
        p: (m,).
        step: the difference is that of ``u + step v`` and ``u - step v``; its error is of the order of step squared.

    >>> u = torch.tensor([1.0, 2.0], dtype=torch.float64)
    >>> derivative_gap(torch.square, lambda p: 2 * u * p, u, torch.ones_like(u), torch.ones_like(u)) < 1e-10
    True
    """
    return transpose_gap(lambda d: (S(u + step * d) - S(u - step * d)) / (2 * step), adjoint, v, p)


def taylor_remainders(J: Map, gradient: Tensor, u: Tensor, v: Tensor, steps: Sequence[float]) -> list[float]:
    r"""Return :math:`|J(u + t v) - J(u) - t \langle g, v \rangle|` for every t.

    Args:
        J: u -> 0-d.
        gradient: g, (n,), that of J at u.
        u: (n,).
        v: (n,), the direction.
        steps: values of t.

    >>> x = torch.tensor([1.0], dtype=torch.float64)
    >>> [round(r, 12) for r in taylor_remainders(lambda x: x.square().sum(), 2 * x, x, x, [0.1, 0.01])]
    [0.01, 0.0001]
    """
    value, slope = J(u), gradient @ v
    return [float((J(u + t * v) - value - t * slope).abs()) for t in steps]


def taylor_slope(J: Map, gradient: Tensor, u: Tensor, v: Tensor, steps: Sequence[float] = (0.03, 0.01, 0.003)) -> float:
    """Return the slope of the logarithm of `taylor_remainders` over that of t, by least squares: 2 for a gradient.

    >>> x = torch.tensor([1.0], dtype=torch.float64)
    >>> round(taylor_slope(lambda x: x.exp().sum(), x.exp(), x, x), 1)
    2.0
    >>> round(taylor_slope(lambda x: x.exp().sum(), 1.1 * x.exp(), x, x), 1)
    0.9
    """
    remainders = taylor_remainders(J, gradient, u, v, steps)
    return float(np.polyfit(np.log(steps), np.log(remainders), 1)[0])


def gradient_of(S: Any, y_d: float | Tensor, u: Tensor) -> Tensor:
    """Return the gradient of half the squared distance of S(u) from the target, S'(u)^T (S(u) - y_d).

    Args:
        S: a `SolutionMap`.
        y_d: (m,), or a number.
        u: (n,).

    >>> from optsci.pinn.control import EllipticMap
    >>> S, u = EllipticMap(4), torch.ones(9, dtype=torch.float64)
    >>> torch.equal(gradient_of(S, 0.0, u), S.T(S(u)))
    True
    """
    y = S(u)
    return (S.linearised(u, y) if hasattr(S, "linearised") else S).T(y - y_d)
