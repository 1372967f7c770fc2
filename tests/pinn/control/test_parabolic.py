"""Sparse control of the heat equation: the known solution, the reference on a grid, the prox by networks, ADMM."""

import math

import numpy as np
import pytest
import torch

import optsci
from optsci.pinn import Fields, sobol
from optsci.pinn.control import (
    HeatControl,
    HeatMap,
    heat_fields,
    heat_reference,
    heat_subproblem,
    optimal_control,
    sparse_heat,
)


class Exact(torch.nn.Module):
    """The known state, or adjoint state, as a function of points that torch differentiates."""

    def __init__(self, of):
        super().__init__()
        self.of = of

    def forward(self, x):
        x1, x2, t = x.split(1, 1)
        if self.of == "y":
            return t * (math.pi * x1).sin() * (math.pi * x2).sin()
        return -0.5 * (1 - t) * (2 * math.pi * x1).sin() * (math.pi * x2).sin()


def relative(found, expected):
    return float((found - expected).norm() / expected.norm())


def test_the_known_solution_obeys_state_and_adjoint_equation():
    """The loss of the prox is zero at it, derivatives by autograd, for the centre that belongs to its control."""
    problem, step = sparse_heat(), 3.0
    x = problem.domain.sample(200, 1)
    u = problem.control(x)
    centre = u * (1 + step * problem.alpha) + step * problem.values("adjoint", x)
    f = heat_subproblem(problem, x, heat_fields(problem, [4]))
    assert f.loss(centre, step)(Fields(y=Exact("y"), p=Exact("p"))) < 1e-24


def test_the_known_control_obeys_the_variational_inequality_and_is_at_all_kinks():
    problem = sparse_heat()
    x = problem.domain.sample(2000, 2)
    u, p = problem.control(x), problem.values("adjoint", x)
    w = torch.linspace(problem.lower, problem.upper, 41, dtype=torch.float64)
    slope = (problem.alpha * u + p) * (w - u) + problem.rho * (w.abs() - u.abs())
    assert slope.min() > -1e-12
    for kink, least in ((0.0, 0.5), (problem.lower, 0.05), (problem.upper, 0.02)):
        assert (u == kink).double().mean() > least
    assert ((u != 0) & (u > problem.lower) & (u < problem.upper)).double().mean() > 0.1


def test_the_reference_is_of_second_order_in_space_and_of_first_in_time():
    problem, errors = sparse_heat(), []
    for cells in (8, 16):
        S = HeatMap(cells, steps=cells**2 // 2)
        run = heat_reference(problem, S).raise_if_failed()
        state = S(run.x + problem.values("source", S.points)[:, 0])
        errors.append(
            (
                relative(run.x, problem.control(S.points)[:, 0]),
                relative(state, problem.values("state", S.points)[:, 0]),
            )
        )
    orders = np.log2(np.divide(*errors))
    assert (orders > 1.8).all()
    assert (orders < 2.3).all()


def test_networks_have_their_initial_final_and_boundary_values():
    problem = sparse_heat()
    fields, x = heat_fields(problem, [6]), problem.domain.sample(20, 3)
    for coordinate, value, function in ((0, 0.0, "y"), (0, 1.0, "p"), (1, 1.0, "y"), (2, 0.0, "y"), (2, 1.0, "p")):
        at = x.clone()
        at[:, coordinate] = value
        assert (getattr(fields, function)(at) == 0).all()


def test_the_prox_at_the_solution_is_the_solution():
    problem, step = sparse_heat(), 50.0
    x = problem.domain.sample(200, 0, points=sobol)
    f = heat_subproblem(problem, x, heat_fields(problem, [20], scale=0.5), inner_steps=12)
    u = problem.control(x)
    centre = u * (1 + step * problem.alpha) + step * problem.values("adjoint", x)
    assert relative(f.prox(centre, step), u) < 0.1


def test_the_prox_is_that_of_the_grid():
    """At a centre other than that of the solution: conjugate gradients on the grid, whose error is of its order."""
    problem, step, S = sparse_heat(), 50.0, HeatMap(16, 64)
    x = problem.domain.sample(200, 0, points=sobol)
    f = heat_subproblem(problem, x, heat_fields(problem, [20], scale=0.5), inner_steps=12)
    found = f.prox(torch.full_like(x[:, :1], 5.0), step)
    source, target = (problem.values(name, S.points)[:, 0] for name in ("source", "target"))
    p_d = S.T(target - S(source))
    steps = optsci.linalg.conjugate_gradient(
        lambda u: (1 + step * problem.alpha) * u + step * S.T(S(u)), 5.0 + step * p_d
    )
    u = optsci.solve(steps, tol=1e-10, max_iter=100).x
    # p = (centre - (1 + step alpha) u) / step on both, compared where p is large: at the middle of a wave, early
    at = (S.points - torch.tensor([0.25, 0.5, 0.25])).norm(dim=1).argmin()
    fields_p = f.fields.p(S.points[at : at + 1])[0, 0]
    assert abs(fields_p - (5.0 - (1 + step * problem.alpha) * u[at]) / step) < 0.02
    assert found.shape == (200, 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_admm_finds_the_control_to_four_digits(seed):
    problem = sparse_heat()
    x = problem.domain.sample(1000, seed, points=sobol)
    fields = heat_fields(problem, [64], scale=0.5, seed=seed)
    f = heat_subproblem(problem, x, fields, inner_steps=6)
    steps = optsci.admm(f, problem.nonsmooth, torch.zeros(1000, 1, dtype=torch.float64), rho=problem.alpha)
    state = optsci.solve(steps, tol=1e-4, max_iter=25).state
    y = problem.domain.sample(5000, 77)
    u = optimal_control(problem, fields)(y)
    assert u.min() >= problem.lower
    assert u.max() <= problem.upper
    assert relative(u, problem.control(y)) < 2e-4
    assert relative(state.z, problem.control(x)) < 5e-4
    assert relative(fields.y(y).detach(), problem.values("state", y)) < 2e-4


def test_bad_input_is_refused():
    problem, fields = sparse_heat(), heat_fields(sparse_heat(), [4])
    with pytest.raises(ValueError, match="lower must be at most upper"):
        HeatControl(0.0, 0.0, alpha=1.0, lower=2.0, upper=1.0)
    for wrong in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="alpha must be"):
            HeatControl(0.0, 0.0, alpha=wrong)
    with pytest.raises(ValueError, match="rho must be"):
        HeatControl(0.0, 0.0, alpha=1.0, rho=-1.0)
    with pytest.raises(ValueError, match="final must be"):
        HeatControl(0.0, 0.0, alpha=1.0, final=math.inf)
    with pytest.raises(ValueError, match=r"nodes must lie in \(0, 1\)\^2 x \(0, 1\), 1 of 1 do not"):
        heat_subproblem(problem, [[0.5, 0.5, 1.5]], fields)
    with pytest.raises(ValueError, match=r"nodes must be \(n, 3\), at least one, got \(1, 2\)"):
        heat_subproblem(problem, [[0.5, 0.5]], fields)
    with pytest.raises(ValueError, match="target must be finite"):
        heat_subproblem(HeatControl(0.0, math.nan, alpha=1.0), [[0.5, 0.5, 0.5]], fields)
    with pytest.raises(ValueError, match="adjoint is not known"):
        HeatControl(0.0, 0.0, alpha=1.0).control(torch.zeros(1, 3))
    with pytest.raises(ValueError, match="S must be a HeatMap in 2 dimensions"):
        heat_reference(problem, HeatMap(4, 4, dim=1))
