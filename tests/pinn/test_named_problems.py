"""Problems by name: their exact solutions solve them."""

import math

import pytest
import torch
from torch import nn

from optsci.pinn import Boundary, Data, Interval, Poisson, Residual, function_spectrum, sobol
from optsci.pinn.named_problems import (
    double_well_committor,
    four_holes,
    ground_state,
    mueller_brown_committor,
    sine_poisson,
    well_committor,
    well_exit,
)


@pytest.mark.parametrize(
    "problem",
    [sine_poisson(3), ground_state(2.0, dim=3), well_exit(6.0), well_committor(6.0), double_well_committor(4)],
    ids=["sine", "ground state", "well exit", "well committor", "double well"],
)
def test_the_exact_solution_has_no_residual_and_the_boundary_values(problem):
    x = problem.sample(50, 0)
    size = problem.exact(x).square().mean().item()
    scale = problem.values("source", x).square().mean().item() + 100 * size  # derivatives are larger than values
    assert Residual(problem, x)(problem.exact).item() < 1e-14 * scale
    on, _ = problem.sample_boundary(20, 0)
    assert Boundary(problem, on)(problem.exact).item() < 1e-14 * size


def test_the_square_is_held_at_one_and_the_circles_at_zero():
    problem = four_holes()
    x, _ = problem.sample_boundary(200, 0)
    outer = x.abs().max(1).values > 0.499
    assert 0 < outer.sum() < 200
    assert torch.equal(problem.values("boundary", x)[:, 0], outer.to(x))


def test_the_committor_of_mueller_and_brown_is_zero_around_the_upper_minimum():
    problem = mueller_brown_committor()
    x, _ = problem.sample_boundary(100, 0)
    values = problem.values("boundary", x)[:, 0]
    assert torch.equal(values, (x[:, 1] < 0.5).to(x))
    assert 0 < values.sum() < 100


class Sines(nn.Module):
    """A sum of sqrt(2) sin(k pi x), whose coefficients are the parameters."""

    def __init__(self, n):
        super().__init__()
        self.coefficients = nn.Parameter(torch.ones(n, dtype=torch.float64))

    def forward(self, x):
        k = torch.arange(1, len(self.coefficients) + 1, dtype=x.dtype)
        return math.sqrt(2) * (math.pi * k * x).sin() @ self.coefficients[:, None]


@pytest.mark.parametrize("gamma", [0.0, 1e3])
def test_what_a_loss_sees_of_eigenfunctions_is_their_squared_eigenvalue_and_the_weight_of_labels(gamma):
    problem = Poisson(Interval(0.0, 1.0), source=1.0)
    x = (torch.arange(64, dtype=torch.float64)[:, None] + 0.5) / 64  # midpoints, at which the sines are orthonormal
    loss = Residual(problem, x) + gamma * Data(x, 0.0)
    expected = torch.tensor([(math.pi * k) ** 4 + gamma for k in (4, 3, 2, 1)], dtype=torch.float64)
    torch.testing.assert_close(function_spectrum(Sines(4), loss, x), expected, rtol=1e-9, atol=0)


def test_functions_that_the_network_hardly_makes_are_left_out():
    u, x = Sines(4), Interval(0.0, 1.0).sample(64, 0, points=sobol)
    with torch.no_grad():
        assert len(function_spectrum(u, Data(x, 0.0), x)) == 4
    assert len(function_spectrum(u, Data(x, 0.0), x, cutoff=2.0)) == 0


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: sine_poisson(1.5), "k must be a positive integer, or u is not 0 on the boundary, got 1.5"),
        (lambda: double_well_committor(0), "dim must be at least 1, got 0"),
    ],
)
def test_what_is_no_such_problem_is_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
