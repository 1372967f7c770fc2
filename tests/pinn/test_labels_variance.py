"""Labels to a standard error, levels, control variates and killing that varies on spheres.

A z-score beyond 4 in one of about twenty is a false alarm of less than one in 700; the seeds are fixed.
"""

import numpy as np
import pytest
import torch
from scipy import special

from optsci.pinn import (
    Ball,
    Box,
    EulerMaruyama,
    Multilevel,
    Problem,
    Schroedinger,
    WalkOnSpheres,
    labels,
)
from optsci.pinn.averages import Averages, averages
from optsci.pinn.multilevel import allocation, remaining_bias
from optsci.pinn.random_walks import Correction
from walk_problems import DISK, DRIFTING, DRIFTING_EXACT, DRIFTING_STARTS


@pytest.mark.slow
def test_the_corrections_telescope():
    """A pair is worth a short path minus a long one on average, with a variance that falls like the root of dt."""
    variances = []
    for dt in (0.04, 0.01, 0.0025):
        pair = averages(DRIFTING, DRIFTING_STARTS, 10000, Correction(dt, 10**6), 1)
        short, long = (averages(DRIFTING, DRIFTING_STARTS, 10000, EulerMaruyama(step), 2) for step in (dt, 4 * dt))
        error = np.sqrt(pair.stderr**2 + short.stderr**2 + long.stderr**2)
        assert (abs(pair.mean - (short.mean - long.mean)) < 4 * error).all()
        variances.append(pair.variance.mean())
    slope = np.polyfit(np.log([0.04, 0.01, 0.0025]), np.log(variances), 1)[0]
    assert 0.35 < slope < 0.65


@pytest.mark.slow
def test_levels_reach_a_standard_error():
    found = labels(DRIFTING, DRIFTING_STARTS, stderr=3e-3, seed=1)
    assert "multilevel" in found.method
    assert "bias" in repr(found)
    assert (found.stderr < 3.15e-3).all()
    assert found.stderr.max() > 2.5e-3  # not far more paths than it takes
    error = (found.mean[:, 0] - torch.from_numpy(DRIFTING_EXACT)).abs()
    assert (error < 4 * found.stderr[:, 0] + found.bias[:, 0]).all()
    assert (found.bias < 3e-3).all()
    assert torch.equal(labels(DRIFTING, DRIFTING_STARTS, stderr=3e-3, seed=1).mean, found.mean)


def test_a_pilot_finds_the_number_of_paths():
    found = labels(DISK, [[0.3, 0.0], [0.9, 0.0]], stderr=2e-3)
    assert 1.8e-3 < found.stderr.max().item() < 2.05e-3
    again = labels(DISK, [[0.3, 0.0], [0.9, 0.0]], paths=found.paths)
    assert torch.equal(again.mean, found.mean)  # the pilot's own paths are not among them
    assert found.bias is None


def test_the_numbers_on_the_levels_minimise_the_cost():
    """Lagrange: n_l sqrt(C_l / V_l) is the same on all levels, and the variances of the means add up to the target."""
    levels = [Averages(np.zeros(1), np.array([v]), np.full(1, 100.0), np.zeros(1)) for v in (1.0, 0.2, 0.05)]
    numbers = 100 + np.array(allocation(levels, 0.01))
    costs, variances = np.array([1, 5, 20]), np.array([1.0, 0.2, 0.05])
    ratios = numbers * np.sqrt(costs / variances)
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-2)
    np.testing.assert_allclose((variances / numbers).sum(), 1e-4, rtol=1e-2)
    means = [level._replace(mean=np.array([m])) for level, m in zip(levels, (1.0, 0.4, 0.1), strict=True)]
    np.testing.assert_allclose(remaining_bias(means), 0.1 / 3)  # what remains of 0.4 (1 + 1/4 + 1/16 + ...)


def test_averages_merge():
    values = np.random.default_rng(0).standard_normal(300)

    def of(x):
        return Averages(np.array([x.mean()]), np.array([x.var(ddof=1)]), np.array([float(len(x))]), np.zeros(1))

    for one, two in zip(of(values[:100]).merged(of(values[100:])), of(values), strict=True):
        np.testing.assert_allclose(one, two)


@pytest.mark.slow
def test_an_exact_gradient_as_control_variate():
    """u = (1 - r^2) / 2, in half of the disk with a wall as in all: the variance falls to that of the last step."""
    half = Problem(Ball(dim=2), source=1.0, reflecting=Box((-2, 0), (2, 2)))
    r = np.array([0.1, np.hypot(0.3, 0.5)])
    exact = (1 - r**2) / 2
    variance = 3 / 8 - r**2 / 2 + r**4 / 8 - exact**2  # of the exit time
    method = EulerMaruyama(1e-3, control=lambda x: -x)
    found = labels(half, [[0.0, 0.1], [0.3, 0.5]], paths=20000, method=method)
    mean, stderr = found.mean[:, 0].numpy(), found.stderr[:, 0].numpy()
    assert (stderr**2 * 20000 < variance / 20).all()
    assert (abs(mean - exact) < 4 * stderr + 3e-4).all()  # the bias of dt


@pytest.mark.slow
def test_a_wrong_control_variate_is_unbiased():
    found = labels(DRIFTING, DRIFTING_STARTS, paths=20000, method=EulerMaruyama(5e-4, control=lambda x: 1 + x))
    assert ((found.mean[:, 0] - torch.from_numpy(DRIFTING_EXACT)).abs() < 4 * found.stderr[:, 0]).all()


@pytest.mark.slow
def test_killing_that_varies_on_spheres():
    """u = exp(r^2 / 2) has Lap u = (2 + r^2) u in the plane: half of that is the killing, with f = 0."""
    problem = Schroedinger(Ball(dim=2), lambda x: 1 + 0.5 * (x[0] ** 2 + x[1] ** 2), boundary=np.exp(0.5))
    found = labels(problem, [[0.0, 0.0], [0.6, 0.3]], paths=40000, method=WalkOnSpheres(1e-5))
    exact = torch.tensor([1.0, np.exp(0.225)])
    assert ((found.mean[:, 0] - exact).abs() < 4 * found.stderr[:, 0]).all()
    with pytest.raises(ArithmeticError, match=r"a walk found a killing above the majorant 1.2: give a larger one"):
        labels(problem, [[0.0, 0.0]], paths=1000, method=WalkOnSpheres(1e-5, majorant=1.2))


@pytest.mark.slow
def test_null_collisions_are_the_constant_killing():
    """A constant as a function: I_0, and with a far larger majorant more steps but the same value; a source, too."""
    r, z = 0.4, np.sqrt(2.0)
    exact = special.i0(z * r) / special.i0(z)
    for majorant in (1.0, 5.0, 30.0):
        for source, boundary, value in ((0.0, 1.0, exact), (lambda x: 0 * x[0] + 1, 0.0, 1 - exact)):
            problem = Schroedinger(Ball(dim=2), lambda x: 0 * x[0] + 1, source=source, boundary=boundary)
            found = labels(problem, [[r, 0.0]], paths=200000, method=WalkOnSpheres(1e-6, majorant=majorant))
            assert abs(found.mean.item() - value) < 4 * found.stderr.item()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: labels(DRIFTING, DRIFTING_STARTS),
            "either paths or stderr must be given, got paths = None and stderr = None",
        ),
        (lambda: labels(DRIFTING, DRIFTING_STARTS, paths=10, stderr=0.1), "either paths or stderr must be given"),
        (lambda: labels(DRIFTING, DRIFTING_STARTS, stderr=-1.0), "stderr must be a positive number, got -1.0"),
        (
            lambda: labels(DRIFTING, DRIFTING_STARTS, paths=1),
            "paths must be at least 2, of which there is a standard error",
        ),
        (
            lambda: labels(DRIFTING, DRIFTING_STARTS, paths=5, method=EulerMaruyama(0.1, antithetic=True)),
            "paths must be at least 4, .*, and even in antithetic pairs, got 5",
        ),
        (
            lambda: labels(DRIFTING, DRIFTING_STARTS, paths=10, method=Multilevel(0.1)),
            "stderr must be given where the method",
        ),
        (lambda: Multilevel(0.0), "dt must be a positive number"),
        (lambda: Multilevel(0.1, levels=0), "levels must be at least 1"),
        (lambda: WalkOnSpheres(1e-3, majorant=-1.0), "majorant must be a positive number, got -1.0"),
        (
            lambda: labels(DRIFTING, DRIFTING_STARTS, paths=10, method=EulerMaruyama(0.1, control=lambda x: x[0])),
            r"control must have shape \(1, 8\).*got \(8,\)",
        ),
        (
            lambda: labels(
                Problem(Ball(dim=4), killing=lambda x: x[0] ** 2), np.zeros((1, 4)), paths=9, method=WalkOnSpheres(0.1)
            ),
            "its killing varies, in more than three dimensions",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
