"""Burgers control: finite differences against known values and orders, networks against finite differences."""

import math
import re
from functools import lru_cache

import numpy as np
import pytest
import torch

import optsci
from optsci import Box
from optsci.pinn import MLP, BoundaryAnsatz, Interval
from optsci.pinn.control import (
    BurgersCompromise,
    BurgersControl,
    BurgersMap,
    ControlCost,
    Summable,
    burgers_reference,
    control_objective,
    gradient_of,
    taylor_slope,
)

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
    active = fine.nodes[fine.u >= 0.3].numpy()
    assert np.round(active[[0, -1]], 4) == pytest.approx([0.0841, 0.3631])


@pytest.mark.parametrize(("cells", "objective"), [(400, 0.01050266), (800, 0.01050241), (1600, 0.01050235)])
def test_objectives_on_coarser_grids(cells, objective):
    assert round(reference(cells).objective, 8) == objective


@pytest.mark.parametrize("name", ["u", "y", "p"])
def test_finite_differences_are_of_second_order(name):
    cells = np.array([50, 100, 200, 400])
    exact = getattr(reference(6400), name)
    errors = [float((getattr(reference(int(n)), name) - exact[:: 6400 // n]).abs().mean()) for n in cells]
    assert -np.polyfit(np.log(cells), np.log(errors), 1)[0] == pytest.approx(2, abs=0.15)


def test_the_relative_error_on_a_hundred_intervals():
    exact = reference(6400).u[::64]
    assert float((reference(100).u - exact).norm() / exact.norm()) == pytest.approx(2.3e-4, rel=0.05)


def test_the_optimality_system_of_the_discrete_problem_holds():
    found, S = reference(400), BurgersMap(400)
    u = found.u[1:-1, 0]
    gradient = 0.1 * u + gradient_of(S, 0.3, u)
    bound = u >= 0.3
    assert gradient[~bound].abs().max() < 1e-10
    assert (gradient[bound] <= 1e-10).all()  # the objective would fall above the bound alone


@pytest.mark.parametrize("seed", range(3))
def test_the_reduced_gradient_passes_taylors_test(seed):
    random = torch.Generator().manual_seed(seed)
    S, cost = BurgersMap(80), ControlCost(0.1)
    u, d = torch.randn(2, 79, generator=random, dtype=torch.float64)
    slope = taylor_slope(lambda w: control_objective(S, 0.3, cost, w), 0.1 * u + gradient_of(S, 0.3, u), u, d)
    assert slope == pytest.approx(2, abs=0.02)


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
    u = f.prox(v, step)
    S, fine = BurgersMap(320), nodes(321)[1:-1]
    w = 0.3 * (5 * fine[:, 0]).sin()
    found = w
    for _ in range(30):  # a contraction, as 0.4 is below 2 / (1 + curvature / penalty)
        slope = alpha * found + gradient_of(S, 0.3, found) + (found - w) / step
        found = found - 0.4 * slope / (alpha + 1 / step)
    assert f.last.met
    assert (u[1:-1, 0] - found[7::8]).abs().max() < 2e-4


def test_admm_tends_to_the_reference():
    x = nodes(33)
    exact = reference(6400).u[::200]
    f = BurgersControl(x, *nets(8), tolerance=Summable(1e-2, floor=1e-6), inner_steps=8)
    run = optsci.solve(optsci.admm(f, Box(-9.0, 0.3), torch.zeros_like(x), rho=0.1), max_iter=10, tol=1e-6)
    assert (run.state.z - exact).norm() <= 5e-3 * exact.norm()
    assert run.state.z.max() == 0.3
    S, cost = BurgersMap(32), ControlCost(0.1, upper=0.3)  # the objective with the true state of the control
    objective, least = (control_objective(S, 0.3, cost, u[1:-1, 0]) for u in (run.state.z, reference(32).u))
    assert float(objective) == pytest.approx(float(least), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_optimise_then_approximate_is_as_accurate_as_published(seed):
    x = nodes(101)
    exact = reference(6400).u[::64]
    f = BurgersControl(x, *nets(20, seed), tolerance=Summable(2e-2, delta=1.0), inner_steps=30)
    run = optsci.solve(optsci.admm(f, Box(-math.inf, 0.3), torch.zeros_like(x), rho=0.1), max_iter=30, tol=1e-6)
    assert (run.x - exact).norm() <= 6.3e-5 * exact.norm()


@pytest.mark.slow
def test_the_compromise_is_one():
    """Its rows vanish nowhere at the solution: per cents of error are left, however long it trains."""
    x = nodes(41)
    exact = reference(6400).u[::160]
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
        (lambda: BurgersControl(nodes(9), MLP(1, [3]), list(nets())[1]), "state must be 0 on the boundary, got "),
        (lambda: BurgersControl(nodes(9), next(iter(nets())), MLP(1, [3])), "adjoint must be 0 on the boundary, got "),
        (lambda: BurgersCompromise(nodes(9), MLP(1, [3]), MLP(1, [3])), "state must be 0 on the boundary, got "),
        (lambda: burgers_reference(1), "cells must be"),
        (lambda: burgers_reference(8, lower=1.0), "low"),
        (lambda: burgers_reference(8, alpha=0.0), "alpha must be finite and positive, got 0.0"),
        (lambda: burgers_reference(8, nu=-1.0), "nu must be finite and positive, got -1.0"),
        (lambda: burgers_reference(8, target=lambda x: x[1:]), "target must give one value at each of 9 nodes"),
        (lambda: burgers_reference(8, target=math.inf), "target must be finite at all nodes, got inf"),
        (lambda: Box(0.4, 0.3), "low"),
    ],
)
def test_refusals_are_one_sentence(make, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        make()
