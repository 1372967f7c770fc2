r"""Reference solutions of elliptic control problems with an interface: fitted finite elements, semismooth Newton.

On triangles no edge of which crosses the polygon :math:`\Gamma_h`, with hat functions v,

.. math::

   \int B \nabla y \cdot \nabla v = \int (f + u)\, v - \int_{\Gamma_h} (g_1 + w)\, v, \qquad
   \int B \nabla p \cdot \nabla v = \int (y - y_d)\, v,

where u = clip(-p/alpha, a, b) in the domain and w = 0 (`DistributedControl`), or u = 0 and w = clip(p/alpha, a, b)
(`FluxControl`): the control is not discretised, and what is exact in p is exact in u.  Both are of second order in the
mean square.  The equations are piecewise linear in (y, p); Newton's method with the derivative 0 where the box is
active ends exactly once the active quadrature points stay the same.

The mesh is the Delaunay triangulation of points on the interface and the boundary, about h apart, and of a lattice of
equilateral triangles, without what is closer than 0.75 h to those: then no circle
about an edge of the interface holds another point, and the edge is in the triangulation.

Sources: M. Hinze, Comput. Optim. Appl. 30 (2005) (controls by projection); M. Hintermüller, K. Ito, K. Kunisch, SIAM J.
Optim. 13 (2002) (semismooth Newton); Z. Chen, J. Zou, Numer. Math. 79 (1998) (fitted elements at interfaces).
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from optsci.iteration import solve

from ..balls import Ball
from ..domain_protocol import points_of
from ..domains import Box
from ..level_sets import Star
from .interface_control import DistributedControl, FluxControl
from .interface_values import Coefficient, values_at
from .interfaces import Interface

AWAY = 0.75  # least distance of lattice points from those of interface and boundary, in spacings: above 0.5 ** 0.5
MOST_STEPS, ENDED = 50, 1e-10  # of Newton's method, and its last relative step
TINIEST = 1e-300  # what steps are compared with where y and p are 0


class Mesh(NamedTuple):
    """Triangles that an interface does not cross."""

    points: np.ndarray  # (n, 2)
    triangles: np.ndarray  # (k, 3)
    inside: np.ndarray  # (k,), whether a triangle lies inside
    edges: np.ndarray  # (m, 2), of the interface
    delaunay: Any  # of scipy, with flat triangles of points of a side besides


class NewtonState(NamedTuple):
    """A step of the semismooth Newton method."""

    x: np.ndarray  # y and p at the nodes, one after the other
    residual: Tensor  # largest change of y and p, relative to the largest value
    active: int  # quadrature points where a bound holds


@dataclass(frozen=True, eq=False)
class FittedSolution:
    """State, adjoint and control by finite elements, functions (n, 2) -> (n, 1) without derivatives."""

    state: Callable[[Any], Tensor]
    adjoint: Callable[[Any], Tensor]
    control: Callable[[Any], Tensor]
    steps: int
    """of Newton's method"""
    nodes: int


def fitted_finite_elements(problem: DistributedControl | FluxControl, cells: int = 100) -> FittedSolution:
    """Solve an elliptic control problem in a rectangle by linear finite elements, to second order in the spacing.

    Args:
        problem: without a jump of the value.
        cells: the longest side of the rectangle over the spacing h; at least 8.

    Raises:
        ValueError: too few cells; a jump of the value; a problem in time, or another domain than a rectangle.
        ImportError: scikit-fem is missing.
        ArithmeticError: Newton's method does not end.

    >>> from optsci.pinn.control import circle_control
    >>> known = circle_control()
    >>> found = fitted_finite_elements(known.problem, cells=16)
    >>> x = known.problem.equation.interface.domain.sample(1000, 0)
    >>> bool((found.control(x) - known.control(x)).norm() < 0.05 * known.control(x).norm())
    True
    """
    fem = scikit_fem()
    equation, interface = problem.equation, problem.equation.interface
    if interface.horizon is not None or not isinstance(interface.domain, Box) or interface.domain.dim != 2:
        raise ValueError(f"problem must be elliptic in a Box of two dimensions, its domain is {interface.domain}")
    on = interface.on_interface(64, 0)[0]
    if not isinstance(interface.inside, Ball | Star):
        raise ValueError(f"inside must be a Ball or a Star, whose boundary has an order, got {interface.inside}")
    jump = values_at(equation.value_jump, on).abs()
    if jump.max() > 0:
        raise ValueError(
            f"problem must have the value_jump 0, y and p are continuous here, got up to {float(jump.max()):g}"
        )
    mesh = fitted_mesh(interface, cells)
    grid = fem.MeshTri(mesh.points.T.copy(), mesh.triangles.T.copy())
    basis = fem.Basis(grid, fem.ElementTriP1(), intorder=4)
    gamma = fem.FacetBasis(grid, fem.ElementTriP1(), facets=facets_of(grid, mesh.edges), intorder=4)

    def at(f: Coefficient, where: Any) -> np.ndarray:
        return at_quadrature(f, np.asarray(where.global_coordinates()))

    @fem.BilinearForm
    def stiffness(u: Any, v: Any, w: Any) -> Any:
        return w.b * (u.grad[0] * v.grad[0] + u.grad[1] * v.grad[1])

    @fem.BilinearForm
    def mass(u: Any, v: Any, w: Any) -> Any:
        return w.c * u * v

    @fem.LinearForm
    def load(v: Any, w: Any) -> Any:
        return w.f * v

    distributed = isinstance(problem, DistributedControl)
    place, sign = (basis, 1.0) if distributed else (gamma, -1.0)
    lower, upper = at(problem.lower, place), at(problem.upper, place)

    def acting(p: np.ndarray) -> Acting:
        wanted = -sign * np.asarray(place.interpolate(p)) / problem.alpha
        inactive = (wanted > lower) & (wanted < upper)
        force = sign * load.assemble(place, f=np.clip(wanted, lower, upper))
        return Acting(force, -mass.assemble(place, c=inactive / problem.alpha), int((~inactive).sum()))

    fixed = grid.boundary_nodes()
    y0 = np.zeros(len(mesh.points))
    y0[fixed] = values_at(equation.boundary, torch.from_numpy(mesh.points[fixed])).numpy()[:, 0]
    B = np.where(mesh.inside, *equation.diffusion)[:, None]
    system = System(
        stiffness.assemble(basis, b=B + 0 * basis.dx),
        mass.assemble(basis, c=1 + 0 * basis.dx),
        load.assemble(basis, f=at(equation.source, basis)) - load.assemble(gamma, f=at(equation.flux_jump, gamma)),
        load.assemble(basis, f=at(problem.target, basis)),
        np.setdiff1d(np.arange(len(mesh.points)), fixed),
        acting,
    )
    run = solve(newton(system, y0), tol=ENDED, max_iter=MOST_STEPS)
    if not run.residual <= ENDED:
        raise ArithmeticError(f"Newton's method has not ended after {run.iterations} steps: {run.status}")
    y, p = np.split(run.x, 2)
    state, adjoint = (interpolated(mesh, values) for values in (y, p))

    def control(x: Any) -> Tensor:
        x = points_of(x, 2)
        return problem.control(x, adjoint(x))

    return FittedSolution(state, adjoint, control, run.iterations, len(mesh.points))


class Acting(NamedTuple):
    """What the control that belongs to an adjoint does to the state equation."""

    force: np.ndarray  # (n,), its integrals against the hat functions
    slope: Any  # (n, n), their derivatives in the nodal values of p
    active: int  # quadrature points where a bound holds


class System(NamedTuple):
    """A y = F + force(p) and A p = M y - Yd at the free nodes."""

    A: Any  # stiffness, (n, n)
    M: Any  # mass, (n, n)
    F: np.ndarray  # (n,)
    Yd: np.ndarray  # (n,)
    free: np.ndarray  # nodes inside
    acting: Callable[[np.ndarray], Acting]


def newton(system: System, y: np.ndarray) -> Iterator[NewtonState]:
    """Semismooth Newton steps for y and p from boundary values of y on."""
    from scipy.sparse import bmat
    from scipy.sparse.linalg import splu

    A, M, F, Yd, free, acting = system
    n, x = len(F), np.concatenate((y, np.zeros_like(y)))
    unknown = np.concatenate((free, n + free))
    while True:
        y, p = np.split(x, 2)
        control = acting(p)
        r = np.concatenate((A @ y - F - control.force, A @ p - M @ y + Yd))
        J = bmat([[A, -control.slope], [-M, A]]).tocsr()[unknown][:, unknown].tocsc()
        step = np.zeros_like(x)
        step[unknown] = splu(J).solve(r[unknown])
        x = x - step
        change, size = float(np.abs(step).max()), float(np.abs(x).max())
        relative = change / max(size, TINIEST)  # 0 where both are: the solution is 0
        yield NewtonState(x, torch.tensor(relative, dtype=torch.float64), control.active)


def fitted_mesh(interface: Interface, cells: int) -> Mesh:
    """Triangulate a rectangle such that no edge crosses the interface.

    Args:
        interface: in a `Box` of two dimensions.
        cells: the longest side over the spacing of points.
    """
    from scipy.spatial import Delaunay, cKDTree

    if cells < 8:
        raise ValueError(f"cells must be at least 8, got {cells}")
    lower, upper = np.array(interface.domain.lower), np.array(interface.domain.upper)
    h = float((upper - lower).max() / cells)
    m = math.ceil(interface.measure / h)
    curve = interface.on_interface(m, 0, points=evenly)[0].numpy()
    rim = rectangle(lower, upper, h)
    height = h * 3**0.5 / 2
    rows = np.arange(lower[1], upper[1], height)
    lattice = np.concatenate(
        [
            np.stack((xs := np.arange(lower[0] + h * (j % 2) / 2, upper[0], h), 0 * xs + y), 1)
            for j, y in enumerate(rows)
        ]
    )
    near_rim = np.minimum(lattice - lower, upper - lattice).min(1)
    lattice = lattice[(cKDTree(curve).query(lattice)[0] > AWAY * h) & (near_rim > AWAY * h)]
    points = np.concatenate((curve, rim, lattice))
    delaunay = Delaunay(points)
    triangles = delaunay.simplices
    a, b, c = points[triangles].transpose(1, 0, 2)
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    triangles = triangles[np.abs(area) > 1e-9 * h**2]  # flat ones, of three points of a side
    edges = edges_along(triangles, m, cells)
    inside = interface.contains(torch.from_numpy(points[triangles].mean(1)))[:, 0].numpy()
    return Mesh(points, triangles, inside, edges, delaunay)


def edges_along(triangles: np.ndarray, m: int, cells: int) -> np.ndarray:
    """The edges of the interface, (m, 2), on which the first m points lie one after the other."""
    edges = np.sort(np.concatenate([triangles[:, pair] for pair in ((0, 1), (1, 2), (2, 0))]), 1)
    along = np.sort(np.stack((np.arange(m), (np.arange(m) + 1) % m), 1), 1)
    have = {(int(i), int(j)) for i, j in edges[(edges < m).all(1)]}
    missing = [pair for pair in map(tuple, along.tolist()) if pair not in have]
    if missing:
        raise ValueError(
            f"cells must be more than {cells}: {len(missing)} edges of the interface are too long for its curvature"
        )
    return along


def rectangle(lower: np.ndarray, upper: np.ndarray, h: float) -> np.ndarray:
    """Points of the sides of a rectangle, about h apart, with its corners."""
    counts = np.maximum(np.rint((upper - lower) / h).astype(int), 1)
    sides = []
    for axis, count in enumerate(counts):
        along = np.linspace(lower[axis], upper[axis], count + 1)
        for end in (lower[1 - axis], upper[1 - axis]):
            side = np.empty((count + 1, 2))
            side[:, axis], side[:, 1 - axis] = along, end
            sides.append(side)
    return np.unique(np.concatenate(sides), axis=0)


def evenly(n: int, dim: int, seed: int) -> Tensor:
    """A rule of points, one in the middle of each of n equal parts of an interval."""
    return ((torch.arange(n, dtype=torch.float64) + 0.5) / n)[:, None].expand(n, dim)


def facets_of(grid: Any, edges: np.ndarray) -> np.ndarray:
    """The numbers of edges (m, 2), of sorted nodes, in a grid."""
    n = grid.p.shape[1]
    all_keys = np.sort(grid.facets, 0).T @ np.array([n, 1])
    order = np.argsort(all_keys)
    return order[np.searchsorted(all_keys, edges @ np.array([n, 1]), sorter=order)]


def at_quadrature(f: Coefficient, where: np.ndarray) -> np.ndarray:
    """A coefficient at points (2, k, q), as (k, q)."""
    x = torch.from_numpy(where.reshape(2, -1).T.copy())
    return values_at(f, x).numpy().reshape(where.shape[1:])


def interpolated(mesh: Mesh, values: np.ndarray) -> Callable[[Any], Tensor]:
    """A finite element function, (n, 2) -> (n, 1); NaN outside of the domain."""
    from scipy.interpolate import LinearNDInterpolator

    inner = LinearNDInterpolator(mesh.delaunay, values)

    def at(x: Any) -> Tensor:
        x = points_of(x, 2)
        return x.new_tensor(inner(x.detach().cpu().numpy()))[:, None]

    return at


def scikit_fem() -> Any:
    """The package, or how to get it."""
    try:
        return importlib.import_module("skfem")
    except ImportError as error:
        raise ImportError('finite elements need scikit-fem: pip install "optsci[fem]"') from error
