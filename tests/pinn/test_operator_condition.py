"""The operator-level condition number: a closed form, the table of double wells, the bound, what is below rounding."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from optsci.pinn import (
    Box,
    Interval,
    Legendre,
    MeanExitTime,
    Poisson,
    Problem,
    Sines,
    difference,
    double_well,
    operator_condition,
)

POISSON = Poisson(Interval(0.0, 1.0))
GAMMAS = (0.0, 1.0, 1e2, 1e4, 1e6)


def well(beta):
    return MeanExitTime(Interval(-1.5, 0.0), drift=double_well.drift, diffusion=2 / beta)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("interval", [Interval(0.0, 1.0), Interval(-1.5, 2.0)])
def test_poisson_in_its_eigenbasis(interval, gamma):
    found = operator_condition(Poisson(interval), Sines(12), label_weight=gamma)
    mu = (np.pi * np.arange(1, 13) / interval.volume) ** 2
    np.testing.assert_allclose(found.condition, (mu[-1] ** 2 + gamma) / (mu[0] ** 2 + gamma), rtol=1e-11)
    np.testing.assert_allclose(found.smallest, mu[0] ** 2 + gamma, rtol=1e-11)
    assert not found.below_rounding


@pytest.mark.parametrize(
    ("problem", "size", "smallest", "conditions"),
    [
        (POISSON, 12, 0.99, (4.6e7, 2.3e7, 4.5e5, 4.5e3, 46)),
        (well(3.0), 16, 5.6e-2, (1.45e8, 7.7e6, 8.1e4, 8.1e2, 9.1)),
        (well(3.0), 32, 2.5e-2, (8.3e10, 2.0e9, 2.1e7, 2.1e5, 2.1e3)),
        (well(3.0), 48, 2.5e-2, (2.1e12, 5.2e10, 5.3e8, 5.3e6, 5.3e4)),
    ],
)
def test_table(problem, size, smallest, conditions):
    found = [operator_condition(problem, Legendre(size), label_weight=gamma) for gamma in GAMMAS]
    np.testing.assert_allclose(found[0].smallest, smallest, rtol=0.01)  # the table has two digits
    np.testing.assert_allclose([one.condition for one in found], conditions, rtol=0.025)


def test_eigenvalues_of_the_matrix_itself():
    problem = Problem(Interval(-0.5, 2.0), drift=lambda x: np.sin(x), diffusion=1.5, killing=lambda x: x[0] ** 2)
    labels = torch.linspace(-0.4, 1.9, 9, dtype=torch.float64)[:, None]
    basis, weights = Legendre(6), (0.3, 20.0, 7.0)
    s, mass = np.polynomial.legendre.leggauss(80)
    x, half = 0.75 + 1.25 * s, 1.25
    L = 0.75 * basis(s, 2) / half**2 + (np.sin(x) * basis(s, 1).T / half - x**2 * basis(s, 0).T).T
    B, P = basis(np.array([-1.0, 1.0]), 0), basis((labels[:, 0].numpy() - 0.75) / 1.25, 0)
    H = weights[0] * L.T @ (0.5 * mass[:, None] * L) + weights[1] * B.T @ B / 2 + weights[2] * P.T @ P / 9
    found = operator_condition(
        problem, basis, residual_weight=weights[0], boundary_weight=weights[1], label_weight=weights[2], labels=labels
    )
    eigenvalues = np.linalg.eigvalsh(H)
    np.testing.assert_allclose([found.smallest, found.largest], eigenvalues[[0, -1]], rtol=1e-8)


@pytest.mark.parametrize("basis", [Legendre(20), Sines(20)])
def test_bases_are_orthonormal_and_know_their_derivatives(basis):
    s, mass = np.polynomial.legendre.leggauss(200)
    np.testing.assert_allclose(basis(s, 0).T @ (0.5 * mass[:, None] * basis(s, 0)), np.eye(20), atol=1e-12)
    for order in (0, 1):
        slope = (basis(s + 1e-5, order) - basis(s - 1e-5, order)) / 2e-5
        np.testing.assert_allclose(slope, basis(s, order + 1), atol=1e-6 * np.abs(basis(s, order + 1)).max())


@settings(max_examples=10)
@given(seed=st.integers(0, 1000), n=st.integers(12, 400), exponent=st.floats(-2, 6))
def test_labels_at_points_obey_the_bound(seed, n, exponent):
    basis, gamma = Legendre(8), 10.0**exponent
    problem = well(10.0)
    points = problem.sample(n, seed)
    at = basis((points[:, 0].numpy() + 0.75) / 0.75, 0)
    least, most = np.linalg.eigvalsh(at.T @ at / n)[[0, -1]]
    before = operator_condition(problem, basis)
    after = operator_condition(problem, basis, label_weight=gamma, labels=points)
    assert after.condition <= (before.largest + gamma * most) / (before.smallest + gamma * least) * (1 + 1e-9)


def test_below_rounding_is_said_and_bounded():
    """Without boundary terms and labels the constants and straight lines have no residual: the eigenvalue is 0."""
    found = operator_condition(POISSON, Legendre(16), boundary_weight=0.0)
    assert found.below_rounding
    assert 0 < found.smallest < 1e-20 * found.largest
    assert found.condition == found.largest / found.smallest
    assert "above" in str(found)
    assert not operator_condition(POISSON, Legendre(16)).below_rounding


def test_metastability_makes_the_smallest_eigenvalue_exponentially_small():
    betas = np.array([4.0, 6.0, 8.0, 10.0])
    smallest = [operator_condition(well(beta), Legendre(48)).smallest for beta in betas]
    rate = -np.polyfit(betas, np.log(smallest), 1)[0]
    assert 1.7 < rate < 2.4  # (1 / mean exit time)^2, and a barrier of height 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"problem": Poisson(Box((0, 0), (1, 1)))}, "problem must be posed on an interval"),
        ({"label_weight": -1.0}, "label_weight must be at least 0, got -1.0"),
        ({"residual_weight": float("inf")}, "residual_weight must be at least 0, got inf"),
        ({"residual_weight": 0.0, "boundary_weight": 0.0}, "must not all be 0"),
        ({"labels": [[0.5], [3.0]]}, r"points must lie in the domain, 1 of 2 do not: \[3.0\]"),
        ({"labels": torch.zeros(0, 1)}, "points must not be empty"),
        ({"problem": Poisson(difference(Interval(0.0, 1.0), Interval(0.4, 0.6)))}, "on one interval, without gaps"),
        ({"basis": Sines(601)}, "basis must be of at most 600 functions"),
        ({"labels": [[0.0, 1.0]]}, r"points must have shape \(n, 1\)"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        operator_condition(**({"problem": POISSON, "basis": Legendre(4)} | arguments))
    with pytest.raises(ValueError, match="size must be an integer of at least 1, got 0"):
        Legendre(0)
