"""Elliptic problems: what they accept, what they say, and the values of their coefficients."""

import numpy as np
import pytest
import torch

from optsci.pinn import Ball, Interval, MeanExitTime, Poisson, Problem, Schroedinger


def test_values_have_one_shape_however_they_are_given():
    points = torch.tensor([[0.1, 0.2], [0.3, -0.4], [0.0, 0.5]], dtype=torch.float64)
    problem = Problem(
        Ball(dim=2),
        drift=lambda x: np.stack((x[1], -x[0])),
        diffusion=[[2.0, 0.5], [0.5, 1.0]],
        source=lambda x: x[0] + x[1],
        killing=0.25,
    )
    torch.testing.assert_close(problem.values("drift", points), torch.stack((points[:, 1], -points[:, 0]), 1))
    assert problem.values("diffusion", points).shape == (3, 2, 2)
    torch.testing.assert_close(problem.values("source", points), points.sum(1, keepdim=True))
    torch.testing.assert_close(problem.values("killing", points), torch.full((3, 1), 0.25, dtype=torch.float64))
    assert problem.values("drift", points.float()).dtype == torch.float32
    isotropic = MeanExitTime(Ball(dim=2), diffusion=lambda x: 1 + x[0] ** 2)
    expected = (1 + points[:, 0] ** 2)[:, None, None] * torch.eye(2, dtype=torch.float64)
    torch.testing.assert_close(isotropic.values("diffusion", points), expected)


def test_named_problems_are_the_equation_with_their_coefficients():
    assert Poisson(Ball(dim=2), source=1.0).generator == "a : Hess u / 2 = -f"
    assert Schroedinger(Ball(dim=2), 1.0).generator == "a : Hess u / 2 - c u = 0"
    assert MeanExitTime(Interval(-1.0, 1.0), drift=lambda x: -x).generator == "a : Hess u / 2 + b . grad u = -f"


@pytest.mark.parametrize(
    ("coefficients", "error", "message"),
    [
        ({"source": lambda x: x}, ValueError, r"source must have shape \(8,\) or \(\) at points x of shape \(2, 8\)"),
        ({"drift": lambda x: x[0]}, ValueError, r"drift must have shape \(2, 8\).*got \(8,\)"),
        ({"drift": [1.0, 2.0, 3.0]}, ValueError, r"drift must have shape \(2,\) or \(\).*got \(3,\)"),
        ({"killing": lambda x: np.log(-1 - x[0] ** 2)}, ValueError, "killing is not finite in the domain: it is nan"),
        ({"source": "one"}, TypeError, "source must be numbers or a function of x, got str"),
        ({"diffusion": -1.0}, ValueError, "diffusion must be positive definite in the domain, has the eigenvalue -1"),
        ({"diffusion": [[1.0, 0.5], [0.0, 1.0]]}, ValueError, "diffusion must be symmetric"),
        ({"boundary": lambda x: x[7]}, ValueError, r"boundary fails at points x of shape \(2, 8\): IndexError"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_bad_coefficients(coefficients, error, message):
    with pytest.raises(error, match=message):
        Problem(Ball(dim=2), **coefficients)
