"""Labels against closed forms, and their bits against other ways to run the same paths.

Where a mean is compared with an exact value, the number of paths makes the error of the steps smaller than the standard
error; the seeds are fixed, and a z-score beyond 4 in one of some dozens is a false alarm of less than one in 300.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from scipy import special

from optsci.pinn import (
    Ball,
    EulerMaruyama,
    Exit,
    Poisson,
    Problem,
    Schroedinger,
    WalkOnSpheres,
    averages,
    labels,
    random_walks,
)
from optsci.pinn._kernels.random import LANES
from optsci.pinn._kernels.spheres import killed_share, survivals
from walk_problems import DISK, DRIFTING

SADDLE = Poisson(Ball(dim=2), source=4.0, boundary=lambda x: x[0] ** 2 - x[1] ** 2)


def z_scores(problem, points, exact, **options):
    found = labels(problem, points, seed=1, **options)
    assert not found.capped.any()
    return ((found.mean[:, 0] - torch.tensor(exact)) / found.stderr[:, 0]).abs()


@pytest.mark.parametrize(
    "method",
    [None, EulerMaruyama(1e-3), pytest.param(EulerMaruyama(1e-3, exit=Exit.BRIDGE), marks=pytest.mark.slow)],
    ids=str,
)
def test_poisson_on_the_disk(method):
    """u = 1 - r^2 + x^2 - y^2."""
    assert z_scores(SADDLE, [[0.5, 0.1], [-0.2, 0.7]], [0.98, 0.02], paths=20000, method=method).max() < 4


def test_survival_and_the_killed_green_function_are_bessel_functions():
    z, out = np.linspace(1e-3, 9.0, LANES), np.empty(LANES)
    for d in (1, 2, 3, 7):
        nu = d / 2 - 1
        survivals(z / np.sqrt(2 * 0.7), 0.7, d, np.empty(LANES), out)
        np.testing.assert_allclose(out, (z / 2) ** nu / (special.gamma(nu + 1) * special.iv(nu, z)), rtol=1e-12)
    for z in (0.3, 2.0, 9.0):
        for s in (0.1, 0.5, 0.9):
            ratio = (special.kv(0, z * s) - special.kv(0, z) * special.iv(0, z * s) / special.iv(0, z)) / -np.log(s)
            np.testing.assert_allclose(killed_share(s, z, 2), ratio, rtol=1e-6)
            np.testing.assert_allclose(killed_share(s, z, 3), np.sinh(z * (1 - s)) / ((1 - s) * np.sinh(z)), rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("d", [2, 3])
def test_killing_and_a_source_that_varies(d):
    """u = 1 - r^2 solves Lap u / 2 - 2 u = -f for f = d + 2 (1 - r^2): the point in the ball carries a weight."""
    problem = Schroedinger(Ball(dim=d), 2.0, source=lambda x: len(x) + 2.0 * (1 - (x**2).sum(axis=0)))
    points = np.zeros((2, d))
    points[1, 0] = 0.3
    assert z_scores(problem, points, [1.0, 0.91], paths=20000, method=WalkOnSpheres(1e-5)).max() < 4


def test_killing_alone_in_three_dimensions():
    exact = np.sqrt(2) / np.sinh(np.sqrt(2))
    found = labels(
        Schroedinger(Ball(dim=3), 1.0, boundary=1.0), [[0.0, 0.0, 0.0]], paths=100, method=WalkOnSpheres(1e-6)
    )
    np.testing.assert_allclose(found.mean.item(), exact, rtol=1e-9)  # one jump, nothing random in the value


@pytest.mark.slow
def test_ornstein_uhlenbeck():
    exact = [0.5957493185, 0.4653626184]
    assert z_scores(DRIFTING, [[0.0], [0.5]], exact, paths=10000, method=EulerMaruyama(5e-4)).max() < 4


@pytest.mark.slow
def test_correlated_noise_and_a_killing_that_varies():
    """u = exp(-x' x / 2) has a : Hess u = (x' a x - tr a) u: with half of that factor as killing, f = 0."""
    problem = Problem(
        Ball(dim=2),
        diffusion=lambda x: np.stack(
            (np.stack((0 * x[0] + 1.5, 0 * x[0] + 0.5)), np.stack((0 * x[0] + 0.5, 0 * x[0] + 1.0)))
        ),
        killing=lambda x: 0.5 * (1.5 * x[0] ** 2 + x[0] * x[1] + x[1] ** 2 - 2.5),
        boundary=lambda x: np.exp(-0.5 * (x[0] ** 2 + x[1] ** 2)),
    )
    points, exact = [[0.0, 0.0], [0.4, -0.2]], [1.0, np.exp(-0.1)]
    assert z_scores(problem, points, exact, paths=10000, method=EulerMaruyama(5e-4)).max() < 4


def test_the_exit_is_noticed_too_late_and_the_shift_corrects_it():
    """Bias of order sqrt(dt) without a correction: halved when dt is a quarter; with one it is below the error."""
    bias = {}
    for exit_test in Exit:
        for dt in (0.04, 0.01):
            found = labels(DISK, [[0.0, 0.0]], paths=60000, method=EulerMaruyama(dt, exit=exit_test))
            bias[exit_test, dt] = found.mean.item() - 0.5
    assert 1.7 < bias[Exit.NAIVE, 0.04] / bias[Exit.NAIVE, 0.01] < 2.5
    for exit_test in (Exit.SHIFT, Exit.BRIDGE):
        assert abs(bias[exit_test, 0.04]) < 0.2 * bias[Exit.NAIVE, 0.04]
        assert abs(bias[exit_test, 0.01]) < 0.15 * bias[Exit.NAIVE, 0.01]


def test_the_bits_do_not_depend_on_who_runs_the_paths(monkeypatch):
    def run(executor=None):
        return labels(DISK, [[0.0, 0.0], [0.3, 0.1], [0.9, 0.0]], paths=3000, seed=5, executor=executor).mean

    reference = run()
    with ThreadPoolExecutor(3) as pool:
        assert torch.equal(run(pool), reference)
    monkeypatch.setattr(averages, "UNIT", 1)  # every chunk by itself
    assert torch.equal(run(), reference)
    one = labels(DISK, [[0.0, 0.0]], paths=3000, seed=5)
    assert torch.equal(one.mean[0], reference[0])  # points have their own paths


def test_every_path_counts():
    """With fewer paths than lanes, and with a lane that goes on for long: nothing is stopped before it has ended."""
    few = labels(DISK, [[0.0, 0.0]], paths=10, method=EulerMaruyama(0.04))
    more = labels(DISK, [[0.0, 0.0]], paths=10000, method=EulerMaruyama(0.04))
    assert few.capped.item() == more.capped.item() == 0
    assert abs(few.mean.item() - more.mean.item()) < 5 * few.stderr.item()


@pytest.mark.slow
def test_antithetic_pairs_are_mirror_images():
    """From the centre of the disk they leave it at opposite points: what is odd cancels, path by path."""
    problem = Problem(Ball(dim=2), boundary=lambda x: x[0])
    found = labels(problem, [[0.0, 0.0]], paths=200, method=EulerMaruyama(0.01, antithetic=True))
    assert found.stderr.item() < 1e-6
    assert abs(found.mean.item()) < 1e-6


def test_paths_that_are_broken_off_are_counted():
    found = labels(DISK, [[0.0, 0.0]], paths=2000, method=EulerMaruyama(0.01, steps=50))
    assert 0.2 < found.capped.item() < 0.9
    assert found.mean.item() < 0.5  # of the short ones
    assert "capped" in repr(found)
    with pytest.raises(ArithmeticError, match="fewer than two came to an end within 1 steps"):
        labels(DISK, [[0.0, 0.0]], paths=100, method=EulerMaruyama(1e-4, steps=1))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: labels(DISK, [[2.0, 0.0], [0.0, 0.0]], paths=10),
            ValueError,
            r"points must lie inside the domain, 1 do not",
        ),
        (lambda: labels(DISK, [[0.0]], paths=10), ValueError, r"points must have shape \(n, 2\), got \(1, 1\)"),
        (lambda: labels(DISK, [[0.0, 0.0]], paths=0), ValueError, "paths must be at least 2"),
        (lambda: labels(DISK, [[0.0, 0.0]], paths=10, seed=-1), ValueError, "seed must be between"),
        (lambda: EulerMaruyama(0.0), ValueError, "dt must be a positive number, got 0.0"),
        (lambda: WalkOnSpheres(-1.0), ValueError, "eps must be a positive number, got -1.0"),
        (
            lambda: labels(DRIFTING, [[0.0]], paths=10, method=WalkOnSpheres(1e-3)),
            ValueError,
            "there is no walk on spheres for this problem: it has a drift; use EulerMaruyama",
        ),
        (
            lambda: labels(
                Problem(Ball(dim=2), source=lambda x: np.array([float(str(v)) for v in x[0]])), [[0.0, 0.0]], paths=10
            ),
            TypeError,
            "source cannot be compiled by Numba.*Numba says",
        ),
        (
            lambda: labels(DRIFTING, [[0.5]], paths=10, method=EulerMaruyama(1e308)),
            ArithmeticError,
            r"a path from point 0, \[0.5\], met a number that is not finite",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_walks_on_spheres_are_the_default_where_they_apply():
    assert isinstance(random_walks.default_method(DISK), WalkOnSpheres)
    assert isinstance(random_walks.default_method(SADDLE), WalkOnSpheres)
    assert isinstance(random_walks.default_method(DRIFTING), EulerMaruyama)
