r"""State and adjoint of an interface control problem as minimisers of energies, by Gauss-Newton steps by turns.

.. math::

   E_y(v) &= \int \tfrac12 B\, |\nabla v|^2 - (f + u)\, v + \int_\Gamma (g_1 + w)\, v, \qquad v = h_0 \text{ on }
   \partial\Omega, \ [v] = g_0, \\
   E_p(v) &= \int \tfrac12 B\, |\nabla v|^2 - (y - y_d)\, v, \qquad v = 0 \text{ on } \partial\Omega, \ [v] = 0,

with the control u of the domain, or w of the interface, that belongs to the adjoint.  Their derivatives are the weak
forms of the state and the adjoint equation: the minimisers have :math:`[B \partial_n y] = g_1 + w` and
:math:`[B \partial_n p] = 0` without a term for it.  With any flux F such that :math:`-\nabla \cdot F = q` on either
side and :math:`[F \cdot n] = j`, where q and j are what multiplies v in :math:`\Omega` and on :math:`\Gamma`,

.. math::

   \int \bigl|\sqrt B\, \nabla v - F/\sqrt B\bigr|^2 = 2 E(v) + \text{const} = \int B\, |\nabla (v - y)|^2 +
   \text{const}

by parts: a sum of squares for `gauss_newton`, and up to a constant the squared error in the energy norm
:math:`\|v\|_B^2 = \int B\, |\nabla v|^2`.  F is found along rays (`interface_rays`), hence for star-shaped interfaces.

Why energies: where :math:`\Gamma` has the radius of curvature a, the solution has second derivatives of the order 1/a
on an area of the order a², about :math:`\Gamma`.  Squares of the equation, :math:`(B \Delta v + q)^2`, weigh what a
network misses there by 1/a² more than what it misses elsewhere, and trade errors of the whole domain for them.  The
energy sees first derivatives, which stay bounded, and no jump of the flux.

The constant is not 0, so a fall of the sum on the training points may be a gain of their quadrature error.  Hence
`energy_rounds` judges every step by other rays, and keeps what lowers the energy on those.

Source: the Ritz method; W. E, B. Yu, The Deep Ritz method, arXiv 1710.00211, for networks.  Prager and Synge, Quart.
Appl. Math. 5 (1947), for the squares.  Ours: F along rays, and Gauss-Newton steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from numbers import Integral
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..equations import Equation, Field, Fields
from ..levenberg_marquardt import gauss_newton
from ..losses import Loss
from ..parameter_vectors import require_trained, set_vector, to_vector
from .interface_ansatz import InterfaceAnsatz
from .interface_control import Problem, Transmission
from .interface_rays import Rays, StarRays, radial_flux
from .interface_values import Sides, values_at

MORE = 10.0  # damping after a turn that was taken back


class EnergyState(NamedTuple):
    """A round of `energy_rounds`."""

    x: Fields  # y and p
    residual: Tensor  # the larger of both fractions of the squared energy norm, by which the held-out energies fell
    loss: Tensor  # the held-out sums of squares of y and p, 2 E + const
    falls: tuple[float, float]  # those of y and of p; 0 where a turn was taken back
    damping: tuple[float | None, float | None]  # of the next steps of y and p
    steps: int  # of Gauss and Newton, kept or not


def energy(equation: Transmission, where: StarRays, density: Sides, jump: Tensor | float = 0.0) -> Loss:
    r"""Return :math:`\int |\sqrt B \nabla v - F/\sqrt B|^2`, a loss of v with ``inside`` and ``outside``.

    Args:
        equation: with B.
        where: the points.
        density: q at the points of either side, (n, 1).
        jump: j where the rays cross the interface, (m, 1) or a number.

    Up to a constant, and for v with the same boundary values and the same jump of the value, it is
    :math:`\int B |\nabla v|^2 - 2 q v + 2 \int_\Gamma j\, v`.
    """
    total: Loss | None = None
    for part, b, flux, side in zip(
        where[:2], equation.diffusion, radial_flux(where, density, jump), (inside, outside), strict=True
    ):
        for i in range(2):
            term = Equation(part.x, side, misfit(i, b, flux), part.area * len(part.x))
            total = term if total is None else total + term
    assert total is not None
    return total


def inside(v: Any) -> tuple[Any]:
    """Return the branch inside, as the one function of an equation."""
    return (v.inside,)


def outside(v: Any) -> tuple[Any]:
    """Return that outside."""
    return (v.outside,)


def misfit(i: int, b: float, flux: Tensor) -> Callable[[Tensor, Field], Tensor]:
    """A component of sqrt(B) grad v - F / sqrt(B)."""
    return lambda x, v: b**0.5 * v.gradient[:, i : i + 1] - flux[:, i : i + 1] / b**0.5


def state_energy(problem: Problem, where: StarRays, p: InterfaceAnsatz) -> Loss:
    r"""Return :math:`2 E_y` + const as a loss of y, with the control that belongs to an adjoint.

    Args:
        problem: elliptic.
        where: the points.
        p: the adjoint, as it is now.
    """
    equation = problem.equation

    def load(part: Rays, side: Any) -> Tensor:
        return values_at(equation.source, part.x) + problem.force(part.x, side(part.x))

    with torch.no_grad():
        q = Sides(load(where.inside, p.inside), load(where.outside, p.outside))
        jump = values_at(equation.flux_jump, where.on) + problem.flux(where.on, p.outside(where.on))
    return energy(equation, where, q, jump)


def adjoint_energy(problem: Problem, where: StarRays, y: InterfaceAnsatz) -> Loss:
    r"""Return :math:`2 E_p` + const as a loss of p.

    Args:
        problem: elliptic.
        where: the points.
        y: the state, as it is now.
    """

    def load(part: Rays, side: Any) -> Tensor:
        return side(part.x) - values_at(problem.target, part.x)

    with torch.no_grad():
        q = Sides(load(where.inside, y.inside), load(where.outside, y.outside))
    return energy(problem.equation, where, q)


def energy_rounds(
    problem: Problem, u: Fields, where: StarRays, held_out: StarRays, *, steps: int = 4
) -> Iterator[EnergyState]:
    """Lower the energies of y and p by turns, as far as they fall on points that the steps do not see.

    A round is some Gauss-Newton steps of y with the control that p gives, then as many of p with that y.  A turn after
    which its energy on the points held out has not fallen is taken back, and the next one starts with more damping.

    Args:
        problem: elliptic.
        u: ``Fields(y=…, p=…)`` of `interface_state` and `interface_adjoint`, trained in place.
        where: the points of the steps.
        held_out: points of another number of rays, and of points on each: Gauss's rules of different orders have none
            in common, but for middles.
        steps: of Gauss and Newton in a turn, at most; at least 1.

    The residual of a round is the larger of both falls on the points held out, as fractions of the squared energy norm.
    It is no bound of the error: a fall of r in a round says that the relative error in the energy norm was at least
    about the root of r before it.  It is 0 where both turns were taken back: more steps would fit the points.

    The alternation ends where the control depends little enough on itself, as with a large cost alpha: from a state to
    its adjoint, to its control, to its state must be a contraction.

    >>> from optsci import solve
    >>> from optsci.pinn import MLP
    >>> from optsci.pinn.control import circle_control, interface_adjoint, interface_state, square_bubble, star_rays
    >>> known = circle_control()
    >>> equation = known.problem.equation
    >>> u = Fields(
    ...     y=interface_state(equation, MLP(3, [12], seed=0), known.lift, square_bubble),
    ...     p=interface_adjoint(equation, MLP(3, [12], seed=1), square_bubble),
    ... )
    >>> rays = star_rays(equation.interface, 24, 8)
    >>> run = solve(energy_rounds(known.problem, u, rays, star_rays(equation.interface, 20, 7)), tol=1e-5, max_iter=9)
    >>> x = equation.interface.domain.sample(500, 0)
    >>> bool((u.p(x) - known.adjoint(x)).norm() < 0.05 * known.adjoint(x).norm())
    True
    """
    if not isinstance(steps, Integral) or steps < 1:
        raise ValueError(f"steps must be a positive integer, got {steps!r}")
    y, p = u.get_submodule("y"), u.get_submodule("p")
    for v in (y, p):
        require_trained(v)
    taken, mu = 0, [None, None]
    nothing = Sides(*(part.x.new_zeros(len(part.x), 1) for part in held_out[:2]))
    squared_norm = energy(problem.equation, held_out, nothing)
    turns = ((y, state_energy, p), (p, adjoint_energy, y))
    while True:
        falls, left = [0.0, 0.0], 0.0
        for i, (v, of, other) in enumerate(turns):
            loss, judge = of(problem, where, other), of(problem, held_out, other)
            before, kept = judged(judge, v), to_vector(v)
            damping = mu[i]
            for k, state in enumerate(gauss_newton(v, loss, damping=damping), 1):
                damping, taken = state.damping, taken + 1
                if k == steps or state.reason is not None:
                    break
            after = judged(judge, v)
            if after < before:
                falls[i], mu[i] = (before - after) / judged(squared_norm, v), damping
            else:
                set_vector(v, kept)
                mu[i] = MORE * damping if damping else None  # shorter steps in the next round
            left += min(before, after)
        residual = torch.tensor(max(falls), dtype=held_out.on.dtype)
        yield EnergyState(u, residual, residual.new_tensor(left), (falls[0], falls[1]), (mu[0], mu[1]), taken)


def judged(loss: Loss, v: Any) -> float:
    """The value of a loss without its gradient."""
    with torch.no_grad():
        return float(loss(v))
