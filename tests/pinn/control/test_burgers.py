"""Burgers control: finite differences against known values and orders, networks against finite differences."""

import math
import re
from functools import lru_cache

import numpy as np
import pytest
import torch

import optsci
from optsci import Box, Status
from optsci.pinn import MLP, BoundaryAnsatz, Interval
from optsci.pinn.control import (
    BurgersCompromise,
    BurgersControl,
    Summable,
    burgers_reduced,
    burgers_reference,
    burgers_state,
)
from optsci.pinn.control.one_dimensional_reference import Grid, burgers_newton

UNIT = Interval(0.0, 1.0)


@lru_cache
def reference(cells):
    return burgers_reference(cells)


def test_the_fine_reference_has_the_published_values():
    fine = reference(6400)
    found = {
        "J": fine.objective,
        "u(0.4)": fine.u[2560],
        "u(0.5)": fine.u[3200],
        "y(0.1)": fine.y[640],
        "y(0.5)": fine.y[3200],
        "max y": fine.y.max(),
    }
    wanted = {
        "J": 0.01050233,
        "u(0.4)": 0.268665,
        "u(0.5)": 0.206907,
        "y(0.1)": 0.105439,
        "y(0.5)": 0.325889,
        "max y": 0.333260,
    }
    for name, value in wanted.items():
        digits = 8 if name == "J" else 6
        assert round(float(found[name]), digits) == value, name
    active = fine.nodes[fine.u >= 0.3]
    assert np.round(active[[0, -1]], 4) == pytest.approx([0.0841, 0.3631])


@pytest.mark.parametrize(("cells", "objective"), [(400, 0.01050266), (800, 0.01050241), (1600, 0.01050235)])
def test_objectives_on_coarser_grids(cells, objective):
    assert round(reference(cells).objective, 8) == objective


@pytest.mark.parametrize("name", ["u", "y", "p"])
def test_finite_differences_are_of_second_order(name):
    cells = np.array([50, 100, 200, 400])
    exact = getattr(reference(6400), name)
    errors = [np.abs(getattr(reference(int(n)), name) - exact[:: 6400 // n]).mean() for n in cells]
    assert -np.polyfit(np.log(cells), np.log(errors), 1)[0] == pytest.approx(2, abs=0.15)


def test_the_relative_error_on_a_hundred_intervals():
    exact = reference(6400).u[::64]
    assert np.linalg.norm(reference(100).u - exact) / np.linalg.norm(exact) == pytest.approx(2.3e-4, rel=0.05)


def test_the_optimality_system_of_the_discrete_problem_holds():
    found = reference(400)
    _, gradient = burgers_reduced(found.u)
    inside = gradient[1:-1] * 400  # alpha u + p
    bound = found.u[1:-1] >= 0.3
    assert np.abs(inside[~bound]).max() < 1e-10
    assert (inside[bound] <= 1e-10).all()  # the objective would fall above the bound alone
    np.testing.assert_allclose(burgers_state(found.u), found.y, rtol=0, atol=1e-11)


@pytest.mark.parametrize("seed", range(3))
def test_the_reduced_gradient_passes_taylors_test(seed):
    random = np.random.default_rng(seed)
    u, d = random.normal(size=(2, 81))
    value, gradient = burgers_reduced(u)
    steps = np.logspace(-1, -4, 7)
    rest = [abs(burgers_reduced(u + s * d)[0] - value - s * gradient @ d) for s in steps]
    assert np.polyfit(np.log(steps), np.log(rest), 1)[0] == pytest.approx(2, abs=0.02)


def test_newtons_method_ends_at_two_bounds():
    steps = burgers_newton(Grid(200), target=0.3, nu=1 / 12, alpha=0.05, lower=0.05, upper=0.4)
    run = optsci.solve(steps, tol=1e-13, max_iter=30)
    assert run.status is Status.CONVERGED
    assert run.iterations <= 15
    assert run.x.min() == 0.05
    assert run.x.max() == 0.4
    assert 0 < run.state.active < 199


def nets(width=12, seed=0):
    return (BoundaryAnsatz(MLP(1, [width, width], seed=2 * seed + i, box=UNIT), 0.0, UNIT.vanishing) for i in range(2))


def nodes(n):
    return torch.linspace(0, 1, n, dtype=torch.float64)[:, None]


def test_the_prox_is_that_of_finite_differences():
    """Prox of the smooth half at v: a Burgers control problem with other weights, up to a constant."""
    step, alpha, n = 2.0, 0.1, 41
    x = nodes(n)
    v = 0.3 * (5 * x).sin()
    f = BurgersControl(x, *nets(), tolerance=Summable(1e-4), inner_steps=60)
    u = f.prox(v, step)[:, 0].numpy()
    fine = nodes(321)[:, 0].numpy()

    # alpha/2 |u|^2 + |u - v|^2 / (2 step) has the derivative (alpha + 1/step) u - v/step.
    w = 0.3 * np.sin(5 * fine)
    found = w.copy()
    for _ in range(30):  # a contraction, as 0.4 is below 2 / (1 + curvature / penalty)
        _, gradient = burgers_reduced(found, alpha=alpha)
        weight = np.full(len(fine), 1 / 320)
        weight[[0, -1]] /= 2
        found = found - 0.4 * (gradient / weight + (found - w) / step) / (alpha + 1 / step)
    assert f.last.met
    assert np.abs(u - found[::8]).max() < 2e-4


def test_admm_tends_to_the_reference():
    x = nodes(41)
    exact = torch.from_numpy(reference(6400).u)[::160, None]
    f = BurgersControl(x, *nets(), tolerance=Summable(1e-2, floor=1e-6), inner_steps=10)
    run = optsci.solve(optsci.admm(f, Box(-9.0, 0.3), torch.zeros_like(x), rho=0.1), max_iter=10, tol=1e-6)
    assert (run.state.z - exact).norm() <= 2e-3 * exact.norm()
    assert run.state.z.max() == 0.3
    objective = burgers_reduced(run.state.z[:, 0])[0]  # with the true state of the control
    assert objective == pytest.approx(burgers_reduced(reference(40).u)[0], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_optimise_then_approximate_is_as_accurate_as_published(seed):
    x = nodes(101)
    exact = torch.from_numpy(reference(6400).u)[::64, None]
    f = BurgersControl(x, *nets(20, seed), tolerance=Summable(1e-3, floor=1e-6), inner_steps=30)
    run = optsci.solve(optsci.admm(f, Box(-math.inf, 0.3), torch.zeros_like(x), rho=0.1), max_iter=30, tol=1e-6)
    assert (run.x - exact).norm() <= 6.3e-5 * exact.norm()


def test_the_compromise_is_one():
    """Its rows vanish nowhere at the solution: per cents of error are left, however long it trains."""
    x = nodes(41)
    exact = torch.from_numpy(reference(6400).u)[::160, None]
    y, u = next(nets()), MLP(1, [12, 12], seed=5, box=UNIT)
    f = BurgersCompromise(x, y, u, tolerance=Summable(1e-5), inner_steps=10)
    run = optsci.solve(optsci.admm(f, Box(-9.0, 0.3), torch.zeros_like(x), rho=0.1), max_iter=8, tol=1e-6)
    assert 0.02 < (run.state.z - exact).norm() / exact.norm() < 0.3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BurgersControl(nodes(9), *nets(), alpha=0.0), "alpha must be finite and positive, got 0.0"),
        (lambda: BurgersControl(nodes(9), *nets(), nu=-1.0), "nu must be finite and positive, got -1.0"),
        (lambda: BurgersControl(1.5 * nodes(9), *nets()), "nodes must lie in the domain, 3 of 9 do not: [1.125]"),
        (lambda: BurgersControl(nodes(9), *nets(), target=[1.0, 2.0]), "target must be a number, (9,) or (9, 1)"),
        (lambda: BurgersControl(nodes(9), *nets(), target=math.nan), "target must be finite, got nan"),
        (lambda: BurgersControl(nodes(9), *nets()).prox(torch.zeros(3, 3), 1.0), "v must be a tensor (9, 1) or (9,)"),
        (lambda: burgers_reference(2), "cells must be an integer of at least 4, got 2"),
        (lambda: burgers_reference(8, lower=1.0), "lower must be at most upper, got lower=1.0, upper=0.3"),
        (lambda: burgers_reference(8, alpha=-1.0), "alpha must be finite and positive, got -1.0"),
        (lambda: burgers_reference(8, target=lambda x: x[1:]), "target must give one value at each of 9 nodes"),
        (lambda: burgers_reference(8, target=math.inf), "target must be finite at all nodes"),
        (lambda: burgers_state(np.full(9, np.nan)), "u must be finite, got nan"),
        (lambda: burgers_state([1.0, 2.0]), "u must hold values at five nodes or more"),
        (lambda: Box(0.4, 0.3), "low"),
    ],
)
def test_refusals_are_one_sentence(make, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        make()
