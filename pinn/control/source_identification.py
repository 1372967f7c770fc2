r"""ADMM-PINN for a source inside of a square: its prox by a network for the state and one for the adjoint.

.. math::

   -\Delta y + y = u 1_D, \quad \partial_n y = 0, \qquad -\Delta p + p = 0, \quad \partial_n p = y - y_d, \qquad
   u = v - s\, p \text{ on } D

is the optimality system of :math:`\operatorname{prox}_{s f}(v)` (`SourceProblem` derives its weights).  It is linear in
(y, p).  The prox is found in two ways, one after the other:

1. The first ``rounds`` proxes train all layers of both networks by a few Gauss-Newton steps, warm-started, for the
   source that belongs to them.
2. Then the hidden layers stay.  The last layers are least squares solutions of their own equation:
   :math:`y = \sum_k c_k \varphi_k` is linear in u, and p in y - y_d.  The two matrices, S from u to y at the data and P
   from those to p on D, are found once, and :math:`u = v - s P (S u - y_d)` is a small linear system
   (`BoundaryMisfit`): hundreds of outer iterations cost little more than the prox of the total variation.

Every network minimises the squares of *its* equation, and not both the sum of all squares.  For u jumps, and y does not
follow its Laplacian there: what is left of the equation of y is no small thing in :math:`L^2`, but orthogonal to the
images of all :math:`\varphi_k`, and :math:`y(x_i)` has an error of higher order (as in Aubin and Nitsche's argument).
In the sum of all squares p could lower what is left by bending in D, and does: u is then wrong in the first order.

The condition :math:`\partial_n y = 0` is exact: y is a network of :math:`\cos \pi x_1` and :math:`\cos \pi x_2`
(`NeumannFeatures`).  y_d is taken at the points given, with their lengths of boundary as weights.

Source: Y. Song, X. Yuan, H. Yue, arXiv 2302.08309, "optimise, then approximate".  Departures: total variation for the
denoising network, Gauss-Newton and least squares for Adam and L-BFGS, one least squares problem for every equation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..derivatives import Jet
from ..equations import Equation, Field, Fields
from ..jacobians import parameters, residual_jacobian
from ..losses import Loss
from ..networks import MLP, cosine, entrywise
from .solution_maps import require_count
from .source_problem import BoundaryMisfit, SourceProblem
from .subproblem import InnerSolve, Subproblem

COARSEST = 64  # points along the side of the square for the equation of y, at least
TINY = 1e-30  # squares of norms that are 0 stay denominators


class NeumannFeatures(nn.Module):
    r""":math:`x \mapsto \cos \pi x`, by entry: every function of it has no flux through the sides of the unit cube.

    And every smooth function without flux is, inside, a smooth function of it.

    >>> NeumannFeatures()(torch.tensor([[0.0, 0.5]])).round(decimals=6)
    tensor([[1., -0.]])
    """

    def forward(self, x: Tensor) -> Tensor:
        return (math.pi * x).cos()

    def jet(self, of: Jet) -> Jet:
        """Carry a jet through the cosines."""
        return entrywise(cosine, Jet(*(math.pi * part for part in of)))


def source_fields(
    width: int = 128, adjoint_width: int = 64, *, seed: int = 0, dtype: torch.dtype = torch.float64
) -> Fields:
    r"""Return networks y and p with one hidden layer, with weights and biases that spread over the square.

    Args:
        width: of y, a network of `NeumannFeatures`.
        adjoint_width: of p, a network of :math:`2 x - 1`.
        seed: of all weights.
        dtype: of weights and points.
    """
    random = torch.Generator().manual_seed(seed)
    y, p = MLP(2, [width], dtype=dtype, seed=seed), MLP(2, [adjoint_width], dtype=dtype, seed=seed + 1)
    p.middle, p.stretch = torch.full_like(p.middle, 0.5), torch.full_like(p.stretch, 2.0)
    for net, deviation in ((y, 2.0), (p, 1.0)):
        for entries in (net.weights[0], net.biases[0]):
            spread = deviation * torch.randn(entries.shape, generator=random, dtype=torch.float64)
            entries.data.copy_(spread)
    return Fields(y=nn.Sequential(NeumannFeatures(), y), p=p)


class SourceIdentification:
    r"""f of a `SourceProblem`, by networks: ``optsci.admm(f, problem.regulariser(gamma), u0, rho=…)``.

    Args:
        problem: the data.
        fields: networks y and p, as `source_fields` makes them: each an `MLP` behind features, or alone.
        rounds: proxes that train all layers; at least 0.
        inner_steps: Gauss-Newton steps of such a prox.
        adjoint_points: along a side of the grid for the equation of p, which is smooth.

    The equation of y is asked at the middles of the cells, continued over the square, or of parts of large cells.

    Attributes:
        misfit: `BoundaryMisfit` of S and P, for the hidden layers as they are.
        last: how the training of the last prox that trained ended; None before.  Its ``error`` is the root mean square
            of what is left of the equations, relative, which does not tend to 0, for u jumps; afterwards a prox is
            exact for the equations that the hidden layers make, and S and P are as good as `FiniteElements` say.

    >>> import optsci
    >>> from optsci.pinn.control import two_sources
    >>> problem = SourceProblem.two_sources(side=16, cells=8)
    >>> f = SourceIdentification(problem, source_fields(40, 30), rounds=2, inner_steps=3)
    >>> steps = optsci.admm(f, problem.regulariser(1e-4), torch.zeros(8, 8, dtype=torch.float64), rho=1e-3)
    >>> u = optsci.solve(steps, max_iter=200).state.z
    >>> bool((u - two_sources(8)).norm() < 0.1 * u.norm())
    True
    """

    def __init__(
        self,
        problem: SourceProblem,
        fields: Fields,
        *,
        rounds: int = 4,
        inner_steps: int = 4,
        adjoint_points: int = 24,
    ) -> None:
        if not isinstance(problem, SourceProblem):
            raise TypeError(f"problem must be a SourceProblem, got {type(problem).__name__}")
        for name, count, least in (("rounds", rounds, 0), ("adjoint_points", adjoint_points, 2)):
            require_count(count, name, least)
        self.problem, self.fields, self.rounds = problem, fields, rounds
        self.networks = {name: last_network(fields, name) for name in ("y", "p")}
        k = -(-COARSEST // (2 * problem.cells))
        k += k * problem.cells % 2  # so that lines of the grid bound D
        count = 2 * problem.cells * k
        self.x, self.x_adjoint = (midpoints(number, problem.points) for number in (count, adjoint_points))
        along = torch.arange(count // 2, device=self.x.device)
        self.inside = ((count // 4 + along)[:, None] * count + count // 4 + along).flatten()  # points of D among x
        self.cells = ((along // k)[:, None] * problem.cells + along // k).flatten()  # the cells that they belong to
        self.training = Subproblem(problem.centres, fields, self.loss, self.control, inner_steps=inner_steps)
        self.misfit = self.linear_misfit()

    @property
    def last(self) -> InnerSolve | None:
        return self.training.last

    def prox(self, v: Tensor, step: float | Tensor) -> Tensor:
        """Return the source of the optimality system with the centre v, (n, n); the first ones train."""
        if self.training.solves < self.rounds:
            u = self.training.prox(v.reshape(-1), step)
            if self.training.solves == self.rounds:
                self.misfit = self.linear_misfit()
            return u.reshape(v.shape)
        return self.misfit.prox(v, step)

    def state(self, u: Tensor) -> Tensor:
        """Give the last layer of y the solution for a source, (n, n), and return y at the data, (m,)."""
        A = self.of_last_layer("y", self.state_equation(u))
        coefficients = pseudoinverse(A) @ (self.at_points(u) / math.sqrt(len(self.x)))
        net = self.networks["y"]
        with torch.no_grad():
            net.weights[-1].copy_(coefficients[None, :-1])
            net.biases[-1].copy_(coefficients[-1:])
            return self.fields.get_submodule("y")(self.problem.points)[:, 0]

    def loss(self, v: Tensor, step: float) -> Loss:
        """Return what training lowers: the equations of y and p, relative, with the source and the data of the prox."""
        f = self.linear_misfit()
        u = f.prox(v.reshape(-1), step)
        r = f.residual(u)
        scale = 1 / (u.square().mean() / 4 + TINY), 1 / (self.problem.norm(r) ** 2 + TINY)
        return float(scale[0]) * self.state_equation(u) + float(scale[1]) * self.adjoint_equation(r)

    def control(self, v: Tensor, step: float) -> Tensor:
        """Return the source of the networks with their last layers at their solutions, (n^2, 1)."""
        return self.linear_misfit().prox(v, step)

    def state_equation(self, u: Tensor) -> Loss:
        """The mean square of -Lap y + y - u."""
        source = self.at_points(u)[:, None]
        return Equation(self.x, lambda f: (f.y,), lambda x, y: y.value - y.laplacian - source)

    def at_points(self, u: Tensor) -> Tensor:
        """Return the source at the points of the equation of y, 0 outside of D."""
        return u.new_zeros(len(self.x)).index_copy(0, self.inside, u.reshape(-1)[self.cells])

    def adjoint_equation(self, r: Tensor) -> Loss:
        """The mean square of -Lap p + p, and the squares of d_n p - r over the boundary."""
        normals, m = self.problem.normals, len(r)
        inside = Equation(self.x_adjoint, lambda f: (f.p,), lambda x, p: p.value - p.laplacian)

        def flux(x: Tensor, p: Field) -> Tensor:
            return (normals * p.gradient).sum(1) - r

        return inside + Equation(self.problem.points, lambda f: (f.p,), flux, m * self.problem.weights)

    def linear_misfit(self) -> BoundaryMisfit:
        """Return f with S and P by least squares in the last layers, for the hidden layers as they are."""
        problem, m = self.problem, len(self.problem.values)
        zero = problem.points.new_zeros(problem.cells**2)
        value = Equation(problem.points, lambda f: (f.y,), lambda x, y: y.value, float(m))
        A = self.of_last_layer("y", self.state_equation(zero))
        solution = pseudoinverse(A)[:, self.inside] / math.sqrt(len(self.x))
        of_cells = solution.new_zeros(len(solution), len(zero)).index_add(1, self.cells, solution)
        S = self.of_last_layer("y", value) @ of_cells
        value = Equation(problem.centres, lambda f: (f.p,), lambda x, p: p.value, float(len(zero)))
        A = self.of_last_layer("p", self.adjoint_equation(zero[:1].expand(m)))
        P = self.of_last_layer("p", value) @ pseudoinverse(A)[:, -m:] * problem.weights.sqrt()
        return BoundaryMisfit(problem, S, P)

    def of_last_layer(self, name: str, loss: Loss) -> Tensor:
        """Return the columns of the Jacobian that belong to the last layer, (rows, width + 1): it is linear in them."""
        net = self.networks[name]
        last = {id(net.weights[-1]), id(net.biases[-1])}
        sizes = [(p.numel(), id(p) in last) for p in parameters(self.fields)]
        chosen = torch.cat([torch.full((size,), of) for size, of in sizes])
        return residual_jacobian(self.fields, loss)[1][:, chosen]


def pseudoinverse(A: Tensor) -> Tensor:
    """Return that of a matrix, without the singular values that rounding decides."""
    U, s, V = torch.linalg.svd(A, full_matrices=False)
    kept = s > torch.finfo(s.dtype).eps ** (2 / 3) * s[0]
    return (V[kept].mT / s[kept]) @ U[:, kept].mT


def midpoints(count: int, like: Tensor) -> Tensor:
    """Return the middles of count x count cells of the unit square, the second coordinate running fastest."""
    along = (torch.arange(count, dtype=like.dtype, device=like.device) + 0.5) / count
    return torch.cartesian_prod(along, along)


def last_network(fields: Fields, name: str) -> MLP:
    """Return the network of a field, whose last layer is linear."""
    field = getattr(fields, name, None)
    net = field[-1] if type(field) is nn.Sequential else field
    if not isinstance(net, MLP):
        raise TypeError(f"fields must have an MLP {name}, alone or behind features, got {type(field).__name__}")
    return net
