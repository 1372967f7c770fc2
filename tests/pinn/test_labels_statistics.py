"""Labels with many paths against closed forms, and the orders of their errors; all but the first test are slow.

About 25 z-scores, each beyond 4 with a probability of 6e-5 where the error of the steps is smaller than the standard
error: a false alarm of one in 600; the seeds are fixed.  Values of one-dimensional diffusions are by quadrature.
"""

import numpy as np
import pytest
import torch
from scipy import special

from optsci.pinn import (
    Ball,
    Box,
    Committor,
    Complement,
    EulerMaruyama,
    Exit,
    HalfSpace,
    Interval,
    MeanExitTime,
    Schroedinger,
    UnitSquare,
    WalkOnSpheres,
    labels,
)
from walk_problems import DISK, DRIFTING, DRIFTING_EXACT, DRIFTING_STARTS, restoring


def double_well(beta):
    """-V' for V = (x^2 - 1)^2, with the diffusion 2 / beta."""
    return {"drift": _well, "diffusion": 2 / beta}


def _well(x):
    return -4 * x * (x * x - 1)


def ring_committor(d, a=0.5, b=2.0):
    return Committor(
        Ball(radius=a, dim=d), Complement(Ball(radius=b, dim=d)), Box([-b] * d, [b] * d)
    )  # all faces of the box lie in B


def between(a, b, **coefficients):
    return Committor(HalfSpace((1.0,), a), HalfSpace((-1.0,), -b), Interval(a, b), **coefficients)


def z_scores(problem, points, exact, **options):
    found = labels(problem, points, seed=11, **options)
    assert not found.capped.any()
    return ((found.mean[:, 0] - torch.as_tensor(exact)) / found.stderr[:, 0]).abs()


def first_axis(d, r):
    return [[r] + [0.0] * (d - 1)]


SPHERES = [
    pytest.param(DISK, first_axis(2, 0.3), 0.455, id="disk"),
    pytest.param(MeanExitTime(Ball(dim=3, radius=2.0)), first_axis(3, 0.5), (4 - 0.25) / 3, id="ball 3"),
    pytest.param(MeanExitTime(Ball(dim=10)), first_axis(10, 0.5), 0.075, id="ball 10"),
    pytest.param(MeanExitTime(UnitSquare()), [[0.5, 0.5]], 0.14734270657, id="square"),
    pytest.param(
        Schroedinger(Ball(dim=2), 1.0, boundary=1.0),
        first_axis(2, 0.5),
        special.i0(0.5 * 2**0.5) / special.i0(2**0.5),
        id="killing 2",
    ),
    pytest.param(
        Schroedinger(Ball(dim=3), 1.0, boundary=1.0),
        first_axis(3, 0.5),
        np.sinh(0.5 * 2**0.5) / (0.5 * np.sinh(2**0.5)),
        id="killing 3",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("problem", "points", "exact"), SPHERES)
def test_walks_on_spheres(problem, points, exact):
    assert z_scores(problem, points, exact, paths=10**6, method=WalkOnSpheres(1e-6)).max() < 4


@pytest.mark.slow
@pytest.mark.parametrize("d", [2, 3])
def test_ring_committors(d):
    exact = np.log(2) / np.log(4) if d == 2 else (1 / 0.5 - 1 / 1.0) / (1 / 0.5 - 1 / 2.0)
    assert z_scores(ring_committor(d), first_axis(d, 1.0), exact, paths=10**6, method=WalkOnSpheres(1e-6)).max() < 4


@pytest.mark.slow
def test_the_committor_of_a_repelling_ring():
    """V = r^2 / 2 at beta = 1."""
    problem = Committor(
        Ball(radius=0.5), Complement(Ball(radius=2.0)), Box((-2, -2), (2, 2)), drift=restoring, diffusion=2.0
    )
    assert z_scores(problem, [[1.0, 0.0]], 0.2888099449, paths=10**6, method=EulerMaruyama(2e-4)).max() < 4


COMMITTORS = [
    pytest.param(
        between(-1, 2, drift=restoring, diffusion=2.0),
        [-0.5, 0.0, 0.5, 1.0],
        [0.1136621444, 0.2017192444, 0.2897763443, 0.4034384888],
        id="ornstein-uhlenbeck",
    ),
    pytest.param(between(-1, 1, **double_well(1.0)), [-0.5, -0.25, 0.0], [0.1751203903, 0.3195235519, 0.5], id="1"),
    pytest.param(between(-1, 1, **double_well(3.0)), [-0.5, -0.25, 0.0], [0.0706107955, 0.2180749270, 0.5], id="3"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("problem", "places", "exact"), COMMITTORS)
def test_committors_in_one_dimension(problem, places, exact):
    points = np.array(places)[:, None]
    assert z_scores(problem, points, exact, paths=10**6, method=EulerMaruyama(5e-4, exit=Exit.BRIDGE)).max() < 4


TIMES = [
    pytest.param(DRIFTING, DRIFTING_STARTS, DRIFTING_EXACT, 2e-4, 10**6, id="ornstein-uhlenbeck, beta 1"),
    pytest.param(
        MeanExitTime(Interval(-1.0, 1.0), drift=restoring, diffusion=1.0),
        DRIFTING_STARTS,
        [1.4452456134, 1.1729455500],
        2e-4,
        10**6,
        id="ornstein-uhlenbeck, beta 2",
    ),
    pytest.param(
        MeanExitTime(HalfSpace((1.0,), 1.0), reflecting=Interval(-2.5, 2.0), **double_well(1.0)),
        [[-1.0]],
        [3.5694341591],
        5e-4,
        10**6,
        id="double well, beta 1",
    ),
    pytest.param(
        MeanExitTime(Interval(-2.0, 0.0), **double_well(3.0)),
        [[-1.0]],
        [12.6983500446],
        5e-4,
        10**6,
        id="exit from a well, beta 3",
    ),
    pytest.param(
        MeanExitTime(HalfSpace((1.0,), 1.0), reflecting=Interval(-2.5, 2.0), **double_well(3.0)),
        [[-1.0]],
        [26.6400877980],
        1e-3,
        20000,
        id="double well, beta 3",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("problem", "points", "exact", "dt", "paths"), TIMES)
def test_exit_times_in_one_dimension(problem, points, exact, dt, paths):
    assert z_scores(problem, points, exact, paths=paths, method=EulerMaruyama(dt, exit=Exit.BRIDGE)).max() < 4


@pytest.mark.slow
def test_orders_of_the_error_of_the_exit():
    """Log-log fits over dt, .16 or .04 to .0025: 1/2 when the exit is noticed too late, and at least .9 corrected."""

    def slope(exit_test, steps, paths):
        bias = []
        for dt in steps:
            found = labels(DISK, [[0.0, 0.0]], paths=paths, method=EulerMaruyama(dt, exit=exit_test), seed=3)
            bias.append(abs(found.mean.item() - 0.5))
            assert bias[-1] > 4 * found.stderr.item()  # what is fitted is no noise
        return np.polyfit(np.log(steps), np.log(bias), 1)[0]

    assert abs(slope(Exit.NAIVE, [0.04, 0.01, 0.0025], 200000) - 0.5) < 0.1
    for corrected in (Exit.SHIFT, Exit.BRIDGE):
        assert slope(corrected, [0.16, 0.04, 0.01], 4 * 10**6) > 0.9


@pytest.mark.slow
def test_standard_errors_are_those_of_repetitions():
    """Over 200 seeds the z-scores have mean 0 and variance 1."""
    z = []
    for seed in range(200):
        found = labels(DISK, [[0.3, 0.0]], paths=1000, method=WalkOnSpheres(1e-5), seed=seed)
        z.append((found.mean.item() - 0.455) / found.stderr.item())
    assert abs(np.mean(z)) < 4 / np.sqrt(200)
    assert abs(np.var(z) - 1) < 4 * np.sqrt(2 / 200)


def test_standard_errors_fall_like_the_root_of_the_number_of_paths():
    paths = np.array([1000, 8000, 64000])
    errors = [labels(DISK, [[0.3, 0.0]], paths=int(n)).stderr.item() for n in paths]
    assert abs(np.polyfit(np.log(paths), np.log(errors), 1)[0] + 0.5) < 0.03
