"""Finite differences: exactness, orders of convergence against closed forms, the maximum principle, known values."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import i0

from optsci.pinn import (
    Annulus,
    Ball,
    Box,
    HalfSpace,
    Interval,
    MeanExitTime,
    Poisson,
    Polygon,
    Problem,
    Star,
    UnitSquare,
    double_well,
    finite_differences,
    harmonic,
    interval_committor,
    interval_exit_time,
    l_shape,
    mueller_brown,
    passage_time,
)

STAR = Star(lambda angle: 1 + 0.3 * np.cos(5 * angle), 1.5)
WEDGE = Polygon([(-1.0, -0.7), (1.1, -0.4), (0.9, 0.3), (-0.2, 0.8)])
TORSION_OF_THE_SQUARE = 0.07367135328  # at its centre


def square_radius(x):
    return x.square().sum(1, keepdim=True)


def errors(problem, exact, cells):
    """Largest errors at 1000 points, a third of them within 1/1000 of the boundary."""
    x, normals = problem.sample_boundary(300, 2)
    near = x + 1e-3 * torch.rand(300, 1, generator=torch.manual_seed(0), dtype=torch.float64) * normals
    x = torch.cat((problem.sample(700, 1), near[problem.region.contains(near)]))
    return [float((finite_differences(problem, n)(x) - exact(x)).abs().max()) for n in cells]


def order(problem, exact, cells=(20, 40, 80)):
    return -np.polyfit(np.log(cells), np.log(errors(problem, exact, cells)), 1)[0]


@settings(max_examples=8)
@given(
    angle=st.floats(0, math.pi),
    ratio=st.floats(0.2, 1),
    hessian=st.tuples(*[st.floats(-1, 1)] * 3),
    domain=st.sampled_from([STAR, WEDGE, Ball((0.1, 0.2), 0.8), Annulus(inner=0.4, outer=1.0, dim=2)]),
)
def test_quadratics_are_exact_on_any_domain(angle, ratio, hessian, domain):
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    a = rotation @ np.diag([1.0, ratio]) @ rotation.T
    p, q, r = hessian

    def u(x):
        return 0.5 * p * x[0] * x[0] + q * x[0] * x[1] + 0.5 * r * x[1] * x[1] + x[0] - 2 * x[1]

    source = -0.5 * (a[0, 0] * p + 2 * a[0, 1] * q + a[1, 1] * r)
    problem = Problem(domain, diffusion=0.5 * (a + a.T), source=float(source), boundary=u)
    assert errors(problem, lambda x: u(x.T)[:, None], (40,))[0] < 1e-9


def test_exponentials_are_exact_on_intervals():
    """The fitting of Scharfetter and Gummel, at 40 times the drift that central differences can bear."""
    problem = Problem(Interval(0.0, 1.0), drift=-800.0, diffusion=2.0, boundary=lambda x: 1.0 * (x[0] > 0.5))
    u = finite_differences(problem, 10)
    expected = np.exp(800.0 * (np.linspace(0, 1, 11)[1:-1] - 1))
    np.testing.assert_allclose(u.values[1:-1], expected, rtol=1e-9)


@settings(max_examples=8)
@given(seed=st.integers(0, 1000), strength=st.sampled_from([1.0, 1e2, 1e4]), mixed=st.floats(-0.9, 0.9))
def test_maximum_principle_at_any_drift(seed, strength, mixed):
    b = strength * np.random.default_rng(seed).normal(size=(2, 3))

    def drift(x):
        return np.stack([row[0] + row[1] * x[0] + row[2] * x[1] for row in b])

    problem = Problem(
        Annulus(inner=0.3, outer=1.0, dim=2),
        drift=drift,
        diffusion=[[1.0, mixed], [mixed, 1.0]],
        killing=0.1,
        boundary=lambda x: 1.0 * (x[0] > 0),
    )
    u = finite_differences(problem, 24)
    inside = u.values[u.grid.number >= 0]
    assert inside.min() >= -1e-12
    assert inside.max() <= 1 + 1e-12


def test_mean_exit_time_of_balls():
    for ball in (Ball(dim=1), Ball((0.2, -0.1), 0.7), Ball(dim=3)):
        exact = lambda x, ball=ball: (ball.radius**2 - square_radius(x - x.new_tensor(ball.center))) / ball.dim  # noqa: E731
        assert errors(MeanExitTime(ball), exact, (12,))[0] < 1e-12


def test_torsion_of_the_square():
    centre = [finite_differences(Poisson(UnitSquare(), 1.0), n)([[0.5, 0.5]]).item() for n in (16, 32, 64)]
    error = np.abs(np.array(centre) - TORSION_OF_THE_SQUARE)
    assert (np.log2(error[:-1] / error[1:]) > 1.95).all()
    assert abs((4 * centre[2] - centre[1]) / 3 - TORSION_OF_THE_SQUARE) < 2e-8


def test_second_order_on_closed_forms():
    ring = Annulus(inner=0.5, outer=2.0, dim=2)
    committor = Problem(ring, boundary=lambda x: 1.0 * (x[0] ** 2 + x[1] ** 2 > 1))
    assert order(committor, lambda x: torch.log(square_radius(x) / 0.25) / math.log(16)) > 1.8
    killed = Problem(Ball(dim=2), killing=1.0, boundary=1.0)
    assert order(killed, lambda x: torch.special.i0((2 * square_radius(x)).sqrt()) / i0(math.sqrt(2))) > 1.8
    oscillator = Problem(  # the killing is negative about the centre
        Ball(dim=2), killing=lambda x: 4.5 * (x[0] ** 2 + x[1] ** 2) - 3.0, boundary=math.exp(-1.5)
    )
    assert order(oscillator, lambda x: torch.exp(-1.5 * square_radius(x))) > 1.8


@pytest.mark.parametrize("domain", [Ball(dim=2), STAR, l_shape(), Box((-1.0, -0.5), (1.0, 1.2))])
@pytest.mark.parametrize("kind", ["constant", "varying"])
def test_second_order_with_all_terms(domain, kind):
    """A solution made up: u = sin(2 x) exp(y / 2)."""

    def diffusion(x):
        return np.stack((np.stack((2 + x[0], 0.3 * x[1])), np.stack((0.3 * x[1], 1.5 + 0.1 * x[0]))))

    def drift(x):
        return np.stack((3 - 5 * x[1], 4 * x[0] * x[1]))

    def exact(x):
        return np.sin(2 * x[0]) * np.exp(0.5 * x[1])

    def source(x):
        e, a = np.exp(0.5 * x[1]), diffusion(x) if kind == "varying" else constant
        u, slope, b = np.sin(2 * x[0]) * e, 2 * np.cos(2 * x[0]) * e, drift(x)
        second = 0.5 * (-4 * a[0, 0] * u + a[0, 1] * slope + 0.25 * a[1, 1] * u)
        return -(second + b[0] * slope + 0.5 * b[1] * u - 1.5 * u)

    constant = np.array([[2.0, -0.8], [-0.8, 1.0]])
    problem = Problem(
        domain,
        drift=drift,
        diffusion=diffusion if kind == "varying" else constant,
        killing=1.5,
        source=source,
        boundary=exact,
    )
    assert order(problem, lambda x: torch.from_numpy(exact(x.numpy().T))[:, None], (24, 48, 96)) > 1.8


@pytest.mark.parametrize("beta", [1.0, 3.0])
def test_second_order_in_one_dimension(beta):
    cells, interval = (100, 200, 400), Interval(-1.5, 0.2)
    for energy in (harmonic, double_well):
        times = MeanExitTime(interval, drift=energy.drift, diffusion=2 / beta)
        assert order(times, interval_exit_time(energy, beta, interval), cells) > 1.9
        one = Problem(interval, drift=energy.drift, diffusion=2 / beta, boundary=lambda x: 1.0 * (x[0] > 0))
        assert order(one, interval_committor(energy, beta, interval), cells) > 1.9
    reflected = MeanExitTime(
        HalfSpace((1.0,), 1.0), drift=double_well.drift, diffusion=2 / beta, reflecting=Interval(-2.5, 3.0)
    )
    assert order(reflected, passage_time(double_well, beta, wall=-2.5, target=1.0), cells) > 1.9


def metastable(beta, cells):
    problem = MeanExitTime(
        HalfSpace((1.0,), 1.0), drift=double_well.drift, diffusion=2 / beta, reflecting=Interval(-2.0, 3.0)
    )
    exact = passage_time(double_well, beta, wall=-2.0, target=1.0)
    x = torch.tensor([[-1.0]], dtype=torch.float64)
    return abs(float(finite_differences(problem, cells)(x) / exact(x)) - 1)


def test_long_mean_times_keep_their_digits():
    """About 5e8; the equations alone, solved in double precision, leave an error of 6e-3 on the finest grid."""
    cells = np.array([400, 1600, 6400])
    error = np.array([metastable(20.0, n) for n in cells])
    np.testing.assert_allclose(error * cells**2, error[0] * 400**2, rtol=0.02)
    with pytest.raises(ArithmeticError, match="no unique solution to rounding on a grid of 200 nodes"):
        metastable(35.0, 200)


def test_second_order_at_reflecting_walls():
    """The unit square, u = sin(pi x / 2) cos(pi y): 0 at x = 0 and flat at the other sides, with drift across them."""
    a = np.array([[2.0, 0.5], [0.5, 1.0]])

    def exact(x):
        return np.sin(0.5 * np.pi * x[0]) * np.cos(np.pi * x[1])

    def drift(x):
        return np.stack((1 + x[1], x[0] - 2))

    def source(x):
        u, b = exact(x), drift(x)
        first = 0.5 * np.pi * np.cos(0.5 * np.pi * x[0]) * np.cos(np.pi * x[1])
        second = -np.pi * np.sin(0.5 * np.pi * x[0]) * np.sin(np.pi * x[1])
        mixed = -0.5 * np.pi**2 * np.cos(0.5 * np.pi * x[0]) * np.sin(np.pi * x[1])
        curved = -(np.pi**2) * (a[0, 0] / 8 + a[1, 1] / 2) * u + a[0, 1] * mixed
        return -(curved + b[0] * first + b[1] * second)

    problem = Problem(
        Box((0.0, -1.0), (2.0, 2.0)),
        drift=drift,
        diffusion=a,
        source=source,
        reflecting=Box((-1.0, 0.0), (1.0, 1.0)),
    )
    assert order(problem, lambda x: torch.from_numpy(exact(x.numpy().T))[:, None]) > 1.8


def test_square_with_four_holes():
    """The Poisson problem 2d-C of PINNacle, by extrapolation from two grids."""
    domain = Box((-0.5, -0.5), (0.5, 0.5))
    for center in ((-0.3, -0.3), (-0.3, 0.3), (0.3, -0.3), (0.3, 0.3)):
        domain = domain - Ball(center, 0.1)
    problem = Poisson(domain, boundary=lambda x: 1.0 * (np.maximum(np.abs(x[0]), np.abs(x[1])) > 0.49))
    x = torch.tensor([[0, 0], [0.3, 0], [0, 0.3], [-0.3, 0]], dtype=torch.float64)
    coarse, fine = (finite_differences(problem, n)(x)[:, 0].numpy() for n in (100, 200))
    np.testing.assert_allclose((4 * fine - coarse) / 3, [0.233585, 0.379871, 0.379871, 0.379871], atol=2e-6)
    np.testing.assert_allclose(fine[1:], fine[1], rtol=1e-12)


def test_mueller_brown_committor():
    """Errors at the transition states fall by 4 when the grid is halved; the equation has a barrier of 10 kT."""
    A, B = Ball((-0.558, 1.441), 0.1), Ball((0.623, 0.028), 0.1)
    problem = Problem(
        Box((-3.0, -2.0), (3.0, 4.0)) - A - B,
        drift=mueller_brown.drift,
        diffusion=20.0,
        boundary=lambda x: 1.0 * (x[1] < 0.7),
        reflecting=Box((-1.5, -0.5), (1.2, 2.0)),
    )
    x = torch.tensor([[-0.05, 0.467], [-0.3, 0.6], [-0.8, 0.6]], dtype=torch.float64)
    us = [finite_differences(problem, n) for n in (40, 80, 160)]
    coarse, middle, fine = (u(x)[:, 0].numpy() for u in us)
    assert (np.abs(coarse - middle) / np.abs(middle - fine) > 3).all()
    np.testing.assert_allclose((4 * fine - middle) / 3, [0.94812, 0.91781, 0.40694], atol=1e-4)
    inside = us[2].values[us[2].grid.number >= 0]
    assert 0 <= inside.min() < 1e-8
    assert 1 - 1e-6 < inside.max() <= 1 + 1e-12


def test_l_shape_against_finite_elements():
    skfem = pytest.importorskip("skfem")
    from skfem.helpers import dot, grad

    x = np.array([[-0.5, 0.5], [-0.5, -0.5], [0.5, 0.5], [-0.1, 0.1]])

    def quadratic_elements(refinements):
        mesh = skfem.MeshTri.init_lshaped().refined(
            refinements
        )  # lacks the upper right quarter: a mirror image of ours
        basis = skfem.Basis(mesh, skfem.ElementTriP2())
        stiffness = skfem.BilinearForm(lambda u, v, w: dot(grad(u), grad(v))).assemble(basis)
        load = skfem.LinearForm(lambda v, w: 1.0 * v).assemble(basis)
        values = skfem.solve(*skfem.condense(stiffness, load, D=basis.get_dofs()))
        return basis.probes(x.T * [[1.0], [-1.0]]) @ values

    def differences(cells):
        return finite_differences(Poisson(l_shape(), 1.0), cells)(x)[:, 0].numpy()

    def limit(coarse, fine):  # errors of order 4/3, as the reentrant corner has it
        return fine + (fine - coarse) / (2 ** (4 / 3) - 1)

    coarse, middle, fine = map(differences, (32, 64, 128))
    np.testing.assert_allclose(np.log2((middle - coarse) / (fine - middle))[[0, 3]], 4 / 3, atol=0.15)
    expected = limit(quadratic_elements(4), quadratic_elements(5))
    np.testing.assert_allclose(limit(middle, fine)[:3], expected[:3], rtol=1e-4)
    np.testing.assert_allclose(limit(middle, fine)[3], expected[3], rtol=1e-3)


def test_it_serves_as_exact_solution():
    problem = MeanExitTime(UnitSquare(), drift=lambda x: -x)
    coarse, fine = finite_differences(problem, 20), finite_differences(problem, 80)
    known = MeanExitTime(UnitSquare(), drift=lambda x: -x, exact=fine)
    assert 1e-5 < known.relative_error(coarse) < 3e-3
    assert known.relative_error(fine) == 0
    x = problem.sample(5, 0)
    assert fine(x.float()).dtype == torch.float32
    torch.testing.assert_close(fine(x.float()).double(), fine(x), rtol=1e-5, atol=1e-6)


def test_equations_without_a_unique_solution():
    """Every diagonal entry of this matrix, of three nodes, is 0."""
    with pytest.raises(ArithmeticError, match="the equations have no unique solution"):
        finite_differences(Problem(Interval(0.0, 1.0), diffusion=2.0, killing=-32.0, source=1.0), 4)


def sheared(x):
    m = np.exp(3 * x[0])
    return np.stack((np.stack((1 + 0 * m, 0.9 * m)), np.stack((0.9 * m, m * m))))


def unknown_on_a_line(x):
    return np.where(x[0] == 0, np.nan, 1.0)


@pytest.mark.parametrize(
    ("problem", "cells", "error", "message"),
    [
        (Poisson(Ball(dim=4)), 10, ValueError, "one, two or three dimensions, got 4"),
        (Poisson(Ball(dim=2)), 3, ValueError, "cells must be at least 4, got 3"),
        (
            Poisson(Box((0, 0), (1, 1)) - Ball((0.5, 0.5), 0.7)),
            4,
            ValueError,
            "cells must be more than 4: no node of the grid lies in the domain",
        ),
        (Problem(Ball(dim=2), diffusion=sheared), 20, ValueError, "diffusion mixes axis"),
        (Poisson(Ball(dim=2), source=unknown_on_a_line), 20, ValueError, r"source is not finite at the point \[0.0, "),
    ],
)
def test_bad_input(problem, cells, error, message):
    with pytest.raises(error, match=message):
        finite_differences(problem, cells)
