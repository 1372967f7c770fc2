"""Principal eigenvalues against closed forms, and problems that have no expectation."""

import numpy as np
import pytest
import torch
from scipy import special

from optsci.pinn import Ball, Box, HalfSpace, Interval, Problem, Schroedinger, UnitSquare, labels
from optsci.pinn.finite_expectation import check_expectation, eigenvalue_bound, principal_eigenvalue


@pytest.mark.parametrize(
    ("problem", "exact", "tolerance"),
    [
        (Problem(Interval(-1, 1)), np.pi**2 / 8, 1e-4),
        (Problem(Interval(-1, 1), killing=-1.0), np.pi**2 / 8 - 1, 1e-3),
        (Problem(Interval(-1, 1), drift=lambda x: -x, diffusion=2.0), 2.0, 1e-3),  # 1 - x^2
        (Problem(HalfSpace((1.0,), 1.0), reflecting=Interval(0, 3)), np.pi**2 / 8, 1e-4),
        (Problem(UnitSquare()), np.pi**2, 1e-3),
        (Problem(Ball(dim=2)), special.jn_zeros(0, 1)[0] ** 2 / 2, 2e-3),
        (Problem(Ball(dim=3)), np.pi**2 / 2, 2e-2),
        (Problem(Box((0, 0), (2, 1)), drift=[1.0, 0.0]), np.pi**2 * 5 / 8 + 0.5, 2e-3),  # exp(-x) sin sin
    ],
    ids=lambda value: "",
)
def test_principal_eigenvalues(problem, exact, tolerance):
    np.testing.assert_allclose(principal_eigenvalue(problem), exact, rtol=tolerance)


def test_correlated_noise_is_isotropic_in_other_coordinates():
    """a = F F' on F (disk) is the identity on the disk."""
    factor = np.array([[1.0, 0.0], [0.5, 1.0]])
    inverse = np.linalg.inv(factor)

    class Ellipse:
        dim, lower, upper = 2, (-1.0, -1.1181), (1.0, 1.1181)

        def distance(self, points):
            y = points @ torch.from_numpy(inverse.T)
            return 1 - (y * y).sum(1, keepdims=True) ** 0.5

    ellipse = Ellipse()
    problem = Problem(Ball(dim=2), diffusion=factor @ factor.T)
    object.__setattr__(problem, "domain", ellipse)  # an operator asks for the distance and the box alone
    np.testing.assert_allclose(principal_eigenvalue(problem), special.jn_zeros(0, 1)[0] ** 2 / 2, rtol=2e-2)


@pytest.mark.parametrize("d", [2, 5])
def test_killing_that_is_too_negative_is_refused(d):
    critical = special.jn_zeros(0, 1)[0] ** 2 / 2 if d == 2 else 4.493409457909064**2 / 2
    check_expectation(Schroedinger(Ball(dim=d), -0.95 * critical))
    with pytest.raises(ValueError, match=r"killing is too negative: the principal eigenvalue .* is (about|at most) -"):
        labels(Schroedinger(Ball(dim=d), -1.2 * critical), np.zeros((1, d)), paths=10)


def test_a_harmonic_potential_below_zero_near_the_origin_is_valid():
    """c = omega^2 |x|^2 / 2 - d omega / 2 is negative near 0; exp(-omega |x|^2 / 2) is a positive solution."""
    check_expectation(Schroedinger(Ball(dim=2, radius=3.0), lambda x: 2.0 * (x[0] ** 2 + x[1] ** 2) - 2.0))


def test_the_bound_is_above_the_eigenvalue_and_silent_with_a_drift():
    exact = special.jn_zeros(4, 1)[0] ** 2 / 2
    assert exact < eigenvalue_bound(Problem(Ball(dim=10))) < 1.5 * exact
    assert eigenvalue_bound(Problem(Ball(dim=10), drift=lambda x: -x)) == np.inf
