"""Sparse control of the heat equation: the known solution, the prox by networks against that of a grid, ADMM."""

import math
from dataclasses import replace

import pytest
import torch

import optsci
from optsci.pinn import Fields, sobol
from optsci.pinn.control import (
    ControlCost,
    HeatMap,
    heat_fields,
    heat_subproblem,
    optimal_control,
    semismooth_newton,
    sparse_parabolic,
)
from optsci.pinn.control.parabolic import space_time


class Exact(torch.nn.Module):
    """The known state, or adjoint state, as a function of points that torch differentiates."""

    def __init__(self, of):
        super().__init__()
        self.of = of

    def forward(self, x):
        return getattr(sparse_parabolic(x), self.of)[:, None]


def relative(found, expected):
    return float((found - expected).norm() / expected.norm())


def subproblem(x, width, inner_steps, seed=0):
    exact = sparse_parabolic(x)
    fields = heat_fields([width], scale=0.1, seed=seed)
    return heat_subproblem(x, fields, exact.f, exact.y_d, exact.cost.alpha, inner_steps=inner_steps)


def centre_of(exact, step):
    """The v whose prox is the optimal control."""
    return exact.u * (1 + step * exact.cost.alpha) + step * exact.p


def test_the_known_solution_obeys_state_and_adjoint_equation():
    """The loss of the prox is zero at it, derivatives by autograd, for the centre that belongs to its control."""
    x = space_time(1.0).sample(200, 1)
    exact = sparse_parabolic(x)
    centre = centre_of(exact, 3.0)[:, None]
    assert subproblem(x, 4, 1).loss(centre, 3.0)(Fields(y=Exact("y"), p=Exact("p"))) < 1e-24


def test_the_known_control_obeys_the_variational_inequality_and_is_at_all_kinks():
    exact = sparse_parabolic(space_time(1.0).sample(2000, 2))
    u, p, cost = exact.u[:, None], exact.p[:, None], exact.cost
    w = torch.linspace(cost.lower, cost.upper, 41, dtype=torch.float64)
    assert ((cost.alpha * u + p) * (w - u) + cost.rho * (w.abs() - u.abs())).min() > -1e-12
    for kink, least in ((0.0, 0.3), (cost.lower, 0.03), (cost.upper, 0.01)):
        assert (u == kink).double().mean() > least


@pytest.mark.parametrize("final", [1.0, 2.5])
def test_networks_have_their_initial_final_and_boundary_values(final):
    fields, x = heat_fields([6], final=final), space_time(final).sample(20, 3)
    for coordinate, value, function in ((0, 0.0, "y"), (0, 1.0, "p"), (1, 1.0, "y"), (2, 0.0, "y"), (2, final, "p")):
        at = x.clone()
        at[:, coordinate] = value
        assert (getattr(fields, function)(at) == 0).all()


def test_the_prox_at_the_solution_is_the_solution():
    x = space_time(1.0).sample(200, 0, points=sobol)
    exact = sparse_parabolic(x)
    f = subproblem(x, 20, 12)
    assert relative(f.prox(centre_of(exact, 50.0), 50.0), exact.u) < 0.05


def test_the_prox_is_that_of_the_grid():
    """At a centre other than that of the solution, adjoint states are compared."""
    step, S = 50.0, HeatMap(16, 64)
    x = space_time(1.0).sample(200, 0, points=sobol)
    f = subproblem(x, 20, 12)
    f.prox(torch.full_like(x[:, 0], 5.0), step)
    exact = sparse_parabolic(S.points)
    alpha = exact.cost.alpha
    b = 5.0 + step * S.T(exact.y_d - S(exact.f))
    u = optsci.solve(optsci.conjugate_gradient(lambda u: (1 + step * alpha) * u + step * S.T(S(u)), b), tol=1e-10).x
    p = (5.0 - (1 + step * alpha) * u) / step
    early = S.points[:, 2] < 0.5
    assert relative(f.fields.p(S.points[early])[:, 0].detach(), p[early]) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_admm_finds_the_control_to_three_digits_and_better_than_the_grid(seed):
    x, other = space_time(1.0).sample(1000, seed, points=sobol), space_time(1.0).sample(5000, 77)
    f = subproblem(x, 64, 6, seed)
    exact, wanted = sparse_parabolic(x), sparse_parabolic(other)
    steps = optsci.admm(f, replace(exact.cost, alpha=0.0), torch.zeros_like(exact.u), rho=exact.cost.alpha)
    z = optsci.solve(steps, tol=None, max_iter=30).state.z
    u = optimal_control(exact.cost, f.fields)(other)[:, 0]
    assert u.min() >= exact.cost.lower
    assert u.max() <= exact.cost.upper
    assert relative(f.fields.y(other)[:, 0].detach(), wanted.y) < 1e-3
    S = HeatMap(16, 64)
    grid = sparse_parabolic(S.points)
    run = optsci.solve(semismooth_newton(S, grid.y_d - S(grid.f), torch.zeros_like(grid.u), cost=grid.cost), tol=1e-9)
    assert max(relative(u, wanted.u), relative(z, exact.u)) < min(1e-3, relative(run.x, grid.u))


def test_bad_input_is_refused():
    fields, inside = heat_fields([4]), torch.full((1, 3), 0.5, dtype=torch.float64)
    with pytest.raises(ValueError, match="lower must be at most upper"):
        ControlCost(1.0, lower=2.0, upper=1.0)
    with pytest.raises(ValueError, match="alpha must be"):
        heat_subproblem(inside, fields, 0.0, 0.0, -1.0)
    for wrong in (math.inf, -1.0):
        with pytest.raises(ValueError, match="final must be"):
            heat_subproblem(inside, fields, 0.0, 0.0, 1.0, final=wrong)
    with pytest.raises(ValueError, match="field p must be 0 on t = 1, got "):
        heat_subproblem(inside, heat_fields([4], final=2.0), 0.0, 0.0, 1.0)
    with pytest.raises(ValueError, match=r"nodes must lie in \(0, 1\)\^2 x \(0, 1\), 1 of 1 do not"):
        heat_subproblem([[0.5, 0.5, 1.5]], fields, 0.0, 0.0, 1.0)
    with pytest.raises(ValueError, match=r"nodes must be \(n, 3\), at least one, got \(1, 2\)"):
        heat_subproblem([[0.5, 0.5]], fields, 0.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="target must be finite"):
        heat_subproblem(inside, fields, 0.0, math.nan, 1.0)
    with pytest.raises(ValueError, match="source must be a number"):
        heat_subproblem(inside, fields, [0.0, 1.0], 0.0, 1.0)
