r"""A piecewise constant potential found from noisy values of the state, as a function with a prox.

.. math:: \min_u\ \tfrac12 \|y - y_d\|^2 + \gamma\, \mathrm{TV}(u) + \iota_{u \ge a}, \qquad
   -\nu y'' + u y = f \ \text{on } (0, 1), \quad y(0) = y(1) = 0

`InversePotential` optimises, then approximates: with the centre v and the step s of the prox, networks solve

.. math:: -\nu y'' + u y = f, \qquad -\nu p'' + u p = y - y_d, \qquad u = v + s\, y\, p, \qquad p(0) = p(1) = 0.

The second equation weighs s, for the accuracy of u is what counts.

Noise in the data is no right side that a network can follow.  Its adjoint is put aside: with :math:`\tilde y` the least
squares fit of the data by the first sines, and G the Green's function of :math:`-\nu\, d^2/dx^2`,

.. math:: p = q + r, \qquad r = G (\tilde y - y_d), \qquad -\nu q'' + u (q + r) = y - \tilde y,

where q is the network and r a table at the nodes, by the trapezoidal rule; on equal nodes that is the inverse of second
differences.

`InversePotentialCompromise` approximates, then optimises: networks for y and u minimise the mean of the squares of
:math:`-\nu y'' + u y - f`, :math:`y - y_d` and :math:`(u - v) / \sqrt s`.

The norm is that of the vector of nodal values, :math:`|w|^2 = \sum_i w_i^2`, and :math:`\mathrm{TV}(u) = \sum_i
|u_{i+1} - u_i|`, as in the authors' code; in norms of :math:`L^2`, on nodes with the distance h, :math:`\gamma` is
:math:`h \gamma`.  The nonsmooth half is `potential_prior`, whose prox is exact.  The whole problem is not convex.

Source: Y. Song, X. Yuan, H. Yue, arXiv 2302.08309; data and weights of the authors' code.  Departures: an exact prox of
the total variation (theirs smooths its own output), noise relative to the data (theirs scales with the spacing).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from optsci import Box, Restricted, TotalVariation1D
from optsci._tensor import require_nonnegative, require_positive

from ..domains import Interval
from ..equations import Equation, Field, Fields
from ..losses import Loss
from ..problems import Coefficient
from .one_dimensional_reference import GaussNewtonPotential
from .subproblem import Subproblem, largest_gradient, nodal_values, nodes_in, require_zero

ENDS = ((0.0,), (1.0,))

SINES = 12  # that fit the smooth part of the data


class PotentialData(NamedTuple):
    """A made-up measurement."""

    nodes: Tensor  # (n, 1), equally spaced in [0, 1]
    potential: Tensor  # (n,) the truth
    state: Tensor  # (n,) without noise
    data: Tensor  # (n,) with noise
    noise: float  # standard deviation


def potential_data(cells: int = 100, *, nu: float = 0.005, noise: float = 0.005, seed: int = 0) -> PotentialData:
    r"""The state of u = 0.2, 1 between 1/4 and 3/4, with f = sin(2 pi x), and normal noise at n = cells + 1 nodes.

    Args:
        cells: a multiple of 4, that the jumps are at nodes.  There the truth has the mean of both sides.
        nu: positive.
        noise: standard deviation relative to the root mean square of the state at the nodes, at least 0; 0.005 is what
            the authors' code amounts to.
        seed: of the noise.

    The state is found on a grid 32 times as fine, and so differs from the state of a coarse one.

    >>> measured = potential_data(20, noise=0.01)
    >>> round(measured.noise / float(measured.state.square().mean().sqrt()), 12)
    0.01
    """
    require_nonnegative(noise, "noise")
    if cells < 4 or cells % 4:
        raise ValueError(f"cells must be a positive multiple of 4, got {cells!r}")

    def potential(x: np.ndarray) -> np.ndarray:
        return 0.6 + 0.4 * np.sign(np.round(0.25 - np.abs(x - 0.5), 12))

    fine = np.linspace(0, 1, 32 * cells + 1)
    exact = GaussNewtonPotential(np.zeros(len(fine)), sine, nu).state(potential(fine)[1:-1])
    y = torch.from_numpy(np.pad(exact, 1)[::32].copy())
    x = torch.linspace(0, 1, cells + 1, dtype=torch.float64)
    deviation = noise * float(y.square().mean().sqrt())
    random = torch.Generator().manual_seed(seed)
    disturbed = y + deviation * torch.randn(len(y), generator=random, dtype=torch.float64)
    return PotentialData(x[:, None], torch.from_numpy(potential(x.numpy())), y, disturbed, deviation)


def sine(x: Any) -> Any:
    """The right side f of the authors, sin(2 pi x), of coordinates (n,) or (1, n)."""
    return np.sin(2 * np.pi * np.reshape(x, -1))


def potential_prior(gamma: float = 1e-4, lower: float = 0.1, upper: float = math.inf) -> Restricted:
    r"""Return :math:`\gamma \sum_i |u_{i+1} - u_i|` on :math:`a \le u \le b`, of vectors (n,).

    Its prox is that of the total variation, clipped: that one acts by levels, and a clip cuts the levels off.

    >>> potential_prior(1.0).prox(torch.tensor([1.0, 2.0, -4.0]), 0.5)
    tensor([1.2500, 1.2500, 0.1000])
    """
    return Restricted(TotalVariation1D(gamma), Box(lower, upper))


def InversePotential(
    nodes: Any,
    data: Any,
    state: nn.Module,
    adjoint: nn.Module,
    *,
    source: Coefficient | Tensor = sine,
    nu: float = 0.005,
    **inner: Any,
) -> Subproblem:
    r"""The smooth half of the inverse potential problem, by its optimality system.

    Args:
        nodes: (n, 1) in [0, 1], where y was measured and u has its values; the ends may be among them.
        data: y_d, (n,) or (n, 1).
        state: y, 0 at both ends, such as ``BoundaryAnsatz(MLP(1, [30, 30]), 0.0, Interval(0, 1).vanishing)``.
        adjoint: q, likewise.  It is small: a ``scale`` of its network of 0.05 suits the authors' problem.
        source: f; a number, a function of x as of `Problem`, or values at the nodes.
        nu: positive.
        inner: ``inner_steps``, ``trainer`` and ``tolerance`` of `Subproblem`.

    >>> from optsci import admm, solve
    >>> from optsci.pinn import MLP, BoundaryAnsatz
    >>> measured = potential_data(20)
    >>> y, p = (BoundaryAnsatz(MLP(1, [8], seed=i), 0.0, Interval(0.0, 1.0).vanishing) for i in range(2))
    >>> f = InversePotential(measured.nodes, measured.data, y, p, inner_steps=9)
    >>> start = torch.full_like(measured.data, 0.5)
    >>> bool(solve(admm(f, potential_prior(), start, rho=0.1), max_iter=2).state.z.min() >= 0.1)
    True
    """
    x, y_d, f = posed(nodes, data, source, nu)
    smooth, r = set_aside(x, y_d, nu)
    require_zero(state, "state", x.new_tensor(ENDS))
    require_zero(adjoint, "adjoint", x.new_tensor(ENDS))
    fields = Fields(y=state, q=adjoint)

    def both(u: Any) -> tuple[nn.Module, nn.Module]:
        return u.y, u.q

    def loss(v: Tensor, step: float) -> Loss:
        def state_equation(x: Tensor, y: Field, q: Field) -> Tensor:
            return -nu * y.laplacian + (v + step * y.value * (q.value + r)) * y.value - f

        def adjoint_equation(x: Tensor, y: Field, q: Field) -> Tensor:
            p = q.value + r
            return -nu * q.laplacian + (v + step * y.value * p) * p - (y.value - smooth)

        return Equation(x, both, state_equation) + Equation(x, both, adjoint_equation, step)

    return Subproblem(x, fields, loss, lambda v, step: v + step * state(x) * (adjoint(x) + r), **inner)


def InversePotentialCompromise(
    nodes: Any,
    data: Any,
    state: nn.Module,
    potential: nn.Module,
    *,
    source: Coefficient | Tensor = sine,
    nu: float = 0.005,
    **inner: Any,
) -> Subproblem:
    """The same by one sum of mean squares of the equation, the data and the centre; see `InversePotential`.

    The measure of error is the largest entry of the gradient.  On few nodes see `EllipticCompromise`.

    Args:
        nodes: (n, 1).
        data: y_d.
        state: y, 0 at both ends.
        potential: u, a network.
        source: f.
        nu: positive.
        inner: as of `InversePotential`.
    """
    x, y_d, f = posed(nodes, data, source, nu)
    require_zero(state, "state", x.new_tensor(ENDS))
    fields = Fields(y=state, u=potential)

    def loss(v: Tensor, step: float) -> Loss:
        return (
            Equation(x, lambda g: (g.y, g.u), lambda x, y, u: -nu * y.laplacian + u.value * y.value - f)
            + Equation(x, lambda g: (g.y,), lambda x, y: y.value - y_d)
            + Equation(x, lambda g: (g.u,), lambda x, u: u.value - v, 1 / step)
        )

    return Subproblem(x, fields, loss, lambda v, step: potential(x), **{"error": largest_gradient, **inner})


def set_aside(x: Tensor, y_d: Tensor, nu: float) -> tuple[Tensor, Tensor]:
    """Return a smooth part of the data, and the adjoint r of the rest, both (n, 1)."""
    modes = torch.sin(torch.pi * x * torch.arange(1, min(SINES, len(x) // 2) + 1).to(x))
    smooth = modes @ torch.linalg.lstsq(modes, y_d).solution
    order = x[:, 0].argsort()
    ends = torch.cat((x.new_zeros(1), x[order, 0], x.new_ones(1)))
    weight = torch.empty_like(x)
    weight[order, 0] = (ends[2:] - ends[:-2]) / 2
    green = torch.minimum(x, x.T) * (1 - torch.maximum(x, x.T)) / nu
    return smooth, green @ (weight * (smooth - y_d))


def posed(nodes: Any, data: Any, source: Any, nu: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the nodes, the data and the source at them, after making sure of all arguments."""
    require_positive(nu, "nu")
    x = nodes_in(nodes, Interval(0.0, 1.0))
    return x, nodal_values(data, "data", x), nodal_values(source, "source", x)
