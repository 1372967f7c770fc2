r"""How labels improve the conditioning of the residual loss, on a fixed basis in one dimension: no network, no chance.

On the span of a basis :math:`\phi_1, \ldots, \phi_N`, orthonormal for the mean over an interval, the loss of residual,
boundary and label terms is a quadratic with the matrix

.. math::

   H_\gamma = \lambda_r L^* L + \lambda_b B^* B + \gamma P, \qquad
   P_{ij} = \frac1n \sum_k \phi_i(s_k) \phi_j(s_k)

with L the operator of the problem, :math:`L u = \tfrac12 a u'' + b u' - c u`, B the values at the two ends, both
squared and averaged, and P the labels at n points, or the identity where there are labels everywhere.  If
:math:`(1 - \delta) |v|^2 \le v^\top P v \le (1 + \delta) |v|^2`, then

.. math::

   \operatorname{cond} H_\gamma \le \frac{\Lambda + \gamma (1 + \delta)}{\lambda + \gamma (1 - \delta)}

where :math:`\lambda, \Lambda` are the extreme eigenvalues of :math:`H_0`: the smallest is tiny where the process is
metastable, and labels lift it.

:math:`H_\gamma = M^\top M` is never formed: its eigenvalues are the squares of the singular values of M, which has one
row for every point, so that condition numbers up to 1e25 or so are seen, and no eigenvalue comes out negative.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any, Protocol

import numpy as np
import torch
from numpy.polynomial import legendre

from .losses import finite_points, require_inside
from .problems import Problem

NODES = 600  # Gauss points of the interval


class Basis(Protocol):
    """Functions on (-1, 1), orthonormal for the mean."""

    size: int

    def __call__(self, s: np.ndarray, derivative: int) -> np.ndarray:
        """Return their derivatives of order 0, 1 or 2 at s (n,), as (n, size)."""
        ...


@dataclass(frozen=True)
class Legendre:
    """The polynomials of degree below ``size``, made orthonormal: of Legendre."""

    size: int

    def __post_init__(self) -> None:
        _check_size(self.size)

    def __call__(self, s: np.ndarray, derivative: int) -> np.ndarray:
        columns = [legendre.legval(s, legendre.legder(unit, derivative)) for unit in np.eye(self.size)]
        return np.stack(columns, 1) * np.sqrt(2 * np.arange(self.size) + 1)


@dataclass(frozen=True)
class Sines:
    """The first eigenfunctions of the second derivative that vanish at both ends."""

    size: int

    def __post_init__(self) -> None:
        _check_size(self.size)

    def __call__(self, s: np.ndarray, derivative: int) -> np.ndarray:
        k = 0.5 * np.pi * np.arange(1, self.size + 1)
        return np.sqrt(2) * k**derivative * np.sin(np.outer(s + 1, k) + 0.5 * np.pi * derivative)


@dataclass(frozen=True)
class OperatorCondition:
    """The extreme eigenvalues of H, and their ratio."""

    condition: float
    """largest over smallest; where that is below rounding, a lower bound of it"""
    smallest: float
    """where below rounding, an upper bound"""
    largest: float
    below_rounding: bool
    """whether the smallest eigenvalue cannot be told from 0 in double precision"""

    def __str__(self) -> str:
        return f"condition number {'above ' if self.below_rounding else ''}{self.condition:.2g}"


def operator_condition(
    problem: Problem,
    basis: Basis,
    *,
    label_weight: float = 0.0,
    residual_weight: float = 1.0,
    boundary_weight: float = 1.0,
    labels: Any = None,
) -> OperatorCondition:
    r"""Return the condition number of :math:`H_\gamma`.

    Args:
        problem: on an interval; its drift, diffusion and killing matter.
        basis: `Legendre` or `Sines` of some size, or another.
        label_weight: gamma, at least 0.
        residual_weight: lambda_r, at least 0.
        boundary_weight: lambda_b, at least 0.
        labels: points (n, 1); None stands for labels everywhere.

    Raises:
        ValueError: the problem is not one on an interval with a boundary at both ends, a weight is negative or not
            finite, or all are 0.

    A singular value below 600 roundings of the largest counts as no more than that: then ``below_rounding`` is set,
    ``smallest`` is a bound from above, and ``condition`` one from below.

    >>> from optsci.pinn import Interval, Poisson
    >>> found = operator_condition(Poisson(Interval(0.0, 1.0)), Sines(12), label_weight=1e4)
    >>> mu = (np.pi * np.array([1, 12])) ** 2
    >>> bool(np.isclose(found.condition, (mu[1] ** 2 + 1e4) / (mu[0] ** 2 + 1e4)))
    True
    """
    if problem.domain.dim != 1 or problem.reflecting is not None:
        raise ValueError(f"problem must be posed on an interval without walls, got {problem.domain}")
    weights = {"residual_weight": residual_weight, "boundary_weight": boundary_weight, "label_weight": label_weight}
    for name, weight in weights.items():
        if not (np.isfinite(weight) and weight >= 0):
            raise ValueError(f"{name} must be at least 0, got {weight}")
    if not any(weights.values()):
        raise ValueError("residual_weight, boundary_weight and label_weight must not all be 0")
    if basis.size > NODES:
        raise ValueError(f"basis must be of at most {NODES} functions, the nodes of the quadrature, got {basis.size}")
    lower, upper = problem.domain.lower[0], problem.domain.upper[0]
    half, middle = 0.5 * (upper - lower), 0.5 * (upper + lower)
    s, mass = legendre.leggauss(NODES)
    if not problem.domain.contains(torch.from_numpy(middle + half * s)[:, None]).all():
        raise ValueError(f"problem must be posed on one interval, without gaps, got {problem.domain}")
    rows = [np.sqrt(residual_weight * mass / 2)[:, None] * _operator(problem, basis, s, middle + half * s, half)]
    rows += [np.sqrt(boundary_weight / 2) * basis(np.array([-1.0, 1.0]), 0)]
    if labels is None:
        rows += [np.sqrt(label_weight) * np.eye(basis.size)]
    else:
        x = finite_points(labels, 1)
        require_inside(problem, x)
        at = (x[:, 0].detach().cpu().double().numpy() - middle) / half
        rows += [np.sqrt(label_weight / len(at)) * basis(at, 0)]
    singular = np.linalg.svd(np.concatenate(rows), compute_uv=False)
    floor = NODES * np.finfo(np.float64).eps * singular[0]
    largest, smallest = float(singular[0] ** 2), float(max(singular[-1], floor) ** 2)
    return OperatorCondition(largest / smallest, smallest, largest, bool(singular[-1] <= floor))


def _operator(problem: Problem, basis: Basis, s: np.ndarray, x: np.ndarray, half: float) -> np.ndarray:
    """L of the basis functions at the points x, which are s in (-1, 1): (n, size)."""
    points = torch.from_numpy(x)[:, None]
    a, b, c = (problem.values(name, points).numpy().reshape(-1, 1) for name in ("diffusion", "drift", "killing"))
    return 0.5 * a * basis(s, 2) / half**2 + b * basis(s, 1) / half - c * basis(s, 0)


def _check_size(size: int) -> None:
    if not isinstance(size, Integral) or size < 1:
        raise ValueError(f"size must be an integer of at least 1, got {size}")
