"""Inverse potential: the exact prox of its prior, the derivative of the state, and networks against Gauss-Newton."""

import re

import cvxpy as cp
import numpy as np
import pytest
import torch
from scipy.optimize import lsq_linear

import optsci
from optsci import TotalVariation1D
from optsci.pinn import MLP, BoundaryAnsatz, Interval
from optsci.pinn.control import (
    GaussNewtonPotential,
    InversePotential,
    InversePotentialCompromise,
    Summable,
    potential_data,
    potential_prior,
)
from optsci.pinn.control.inverse_potential import set_aside, sine

UNIT = Interval(0.0, 1.0)


@pytest.mark.parametrize("weight", [0.03, 0.4, 5.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_prox_of_total_variation_is_its_dual_box_problem(weight, seed):
    """x = v - D' q, where q minimises |v - D' q| on |q| <= weight: solved by active sets."""
    v = np.random.default_rng(seed).normal(size=40).cumsum()
    differences = np.diff(np.eye(40), axis=0)
    dual = lsq_linear(differences.T, v, (-weight, weight), method="bvls", tol=1e-15)
    x = TotalVariation1D(weight).prox(torch.from_numpy(v), 1.0)
    assert np.abs(x.numpy() - (v - differences.T @ dual.x)).max() <= 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_the_prox_of_the_prior_is_the_clipped_one(seed):
    v = np.random.default_rng(seed).normal(size=12)
    u = cp.Variable(12)
    objective = cp.sum_squares(u - v) / (2 * 0.7) + 0.5 * cp.norm1(cp.diff(u))
    cp.Problem(cp.Minimize(objective), [u >= -0.2, u <= 0.4]).solve(solver=cp.CLARABEL)
    found = potential_prior(0.5, -0.2, 0.4).prox(torch.from_numpy(v), 0.7)
    np.testing.assert_allclose(found, u.value, rtol=0, atol=1e-6)


def reference(data):
    return GaussNewtonPotential(data.numpy(), sine)


def test_the_derivative_of_the_state_passes_taylors_test():
    f = reference(potential_data(40).data)
    random = np.random.default_rng(0)
    u, d = 0.5 + 0.3 * random.random(39), random.normal(size=39)
    y = f.state(u)
    steps = np.logspace(-1, -3, 5)
    rest = [np.linalg.norm(f.state(u + s * d) - y - s * f.slope(u, y) @ d) for s in steps]
    assert np.polyfit(np.log(steps), np.log(rest), 1)[0] == pytest.approx(2, abs=0.05)


def test_the_state_is_of_second_order_though_the_potential_jumps():
    cells = np.array([20, 40, 80, 160])
    exact = potential_data(160, noise=0.0).state  # on 5120 intervals
    errors = []
    for n in cells:
        y = reference(torch.zeros(n + 1)).state(potential_data(int(n)).potential.numpy()[1:-1])
        errors.append(np.abs(y - exact.numpy()[:: 160 // n][1:-1]).max())
    assert -np.polyfit(np.log(cells), np.log(errors), 1)[0] == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("step", [1.0, 300.0])
def test_the_gauss_newton_prox_obeys_its_optimality_condition(step):
    f, v = reference(potential_data(40, noise=0.05).data), torch.linspace(0.3, 1.2, 41, dtype=torch.float64)
    u = f.prox(v, step).numpy()[1:-1]
    y = f.state(u)
    gradient = f.slope(u, y).T @ (y - f.data[1:-1]) + (u - v.numpy()[1:-1]) / step
    assert np.abs(gradient).max() <= 1e-8


def test_the_noise_is_seeded_and_relative_to_the_state():
    a, b, c = (potential_data(100, noise=0.02, seed=s) for s in (0, 0, 1))
    assert torch.equal(a.data, b.data)
    assert not torch.equal(a.data, c.data)
    assert a.noise == pytest.approx(0.02 * float(a.state.square().mean().sqrt()))
    assert float((a.data - a.state).std()) == pytest.approx(a.noise, rel=0.3)  # 4 standard errors
    assert sorted(set(a.potential.tolist())) == pytest.approx([0.2, 0.6, 1.0])


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_what_is_set_aside_is_the_discrete_adjoint_of_the_noise(noise):
    measured = potential_data(80, noise=noise)
    smooth, r = set_aside(measured.nodes, measured.data[:, None], 0.005)
    rest = (smooth - measured.data[:, None])[1:-1]
    second = (2 * r[1:-1] - r[:-2] - r[2:]) * 80**2
    torch.testing.assert_close(0.005 * second, rest, rtol=0, atol=1e-10)
    assert r[0] == r[-1] == 0


def test_nodes_may_come_in_any_order():
    measured = potential_data(20)
    order = torch.randperm(21, generator=torch.Generator().manual_seed(0))
    _, r = set_aside(measured.nodes, measured.data[:, None], 0.005)
    _, moved = set_aside(measured.nodes[order], measured.data[order, None], 0.005)
    torch.testing.assert_close(moved, r[order], rtol=0, atol=1e-12)


def nets(width, seed=0):
    return (
        BoundaryAnsatz(MLP(1, [width, width], seed=2 * seed + i, box=UNIT, scale=scale), 0.0, UNIT.vanishing)
        for i, scale in enumerate((1.0, 0.05))
    )


def by_both(measured, subproblem, outer, gamma=1e-3, rho=0.005):
    """The same ADMM with networks and with finite differences."""
    g, start = potential_prior(gamma), torch.full_like(measured.data, 0.5)
    exact = optsci.solve(
        optsci.admm(reference(measured.data), g, start, rho=rho, relaxation=1.6), tol=1e-7, max_iter=300
    ).state.z
    run = optsci.solve(optsci.admm(subproblem, g, start, rho=rho, relaxation=1.6), tol=1e-6, max_iter=outer)
    return run.state.z, exact


@pytest.mark.slow
def test_the_prox_by_networks_is_that_by_finite_differences():
    measured = potential_data(40, noise=0.01)
    f = InversePotential(measured.nodes, measured.data, *nets(12), tolerance=Summable(5e-4), inner_steps=100)
    v = 0.6 + 0.2 * (4 * measured.nodes[:, 0]).cos()  # without jumps the two discretisations are near
    found, wanted = f.prox(v, 20.0), reference(measured.data).prox(v, 20.0)
    assert (wanted - v).norm() >= 0.05 * v.norm()
    assert (found - wanted).norm() <= 0.08 * (wanted - v).norm()  # what the spacing leaves


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_networks_and_gauss_newton_find_the_same_potential(seed):
    measured = potential_data(100, seed=seed)
    f = InversePotential(measured.nodes, measured.data, *nets(20, seed), inner_steps=30)
    found, exact = by_both(measured, f, outer=40)
    assert (found - exact).norm() <= 0.02 * exact.norm()
    assert (found - measured.potential).norm() <= 0.1 * measured.potential.norm()


def test_the_compromise_is_one():
    measured = potential_data(40)
    y, _ = nets(12)
    f = InversePotentialCompromise(measured.nodes, measured.data, y, MLP(1, [12, 12], box=UNIT), inner_steps=40)
    v = 0.6 + 0.2 * (4 * measured.nodes[:, 0]).cos()
    found, wanted = f.prox(v, 20.0), reference(measured.data).prox(v, 20.0)
    assert (found - wanted).norm() >= 0.1 * (wanted - v).norm()


def posed(**changed):
    measured = potential_data(20)
    given = {"nodes": measured.nodes, "data": measured.data} | changed
    return InversePotential(given.pop("nodes"), given.pop("data"), *nets(4), **given)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: posed(nu=0.0), "nu must be finite and positive, got 0.0"),
        (lambda: posed(nodes=2 * potential_data(20).nodes), "nodes must lie in the domain, 10 of 21 do not: [1."),
        (lambda: posed(data=potential_data(20).data * torch.nan), "data must be finite, got nan"),
        (lambda: posed(data=torch.zeros(5, dtype=torch.float64)), "data must be a number, (21,) or (21, 1), got (5,)"),
        (lambda: posed(source=lambda x: np.full(21, np.inf)), "source must be finite"),
        (lambda: posed().prox(torch.zeros(20, dtype=torch.float64), 1.0), "v must be a tensor (21, 1) or (21,)"),
        (
            lambda: InversePotential(
                potential_data(20).nodes, potential_data(20).data, next(iter(nets(4))), MLP(1, [3])
            ),
            "adjoint must be 0 on the boundary, got ",
        ),
        (
            lambda: GaussNewtonPotential(np.ones(9), 1.0).prox(torch.ones(9), -1.0),
            "step must be finite and positive, got -1.0",
        ),
        (lambda: potential_data(30), "cells must be a positive multiple of 4, got 30"),
        (lambda: potential_data(noise=-0.1), "noise must be finite and at least 0, got -0.1"),
        (lambda: potential_prior(-1.0), "weight must be finite and at least 0, got -1.0"),
        (lambda: potential_prior(1.0, 2.0, 1.0), "low"),
        (lambda: GaussNewtonPotential([1.0, 2.0], 1.0), "data must hold values at five nodes or more"),
        (lambda: GaussNewtonPotential(np.ones(9), 1.0, nu=-1.0), "nu must be finite and positive, got -1.0"),
        (
            lambda: GaussNewtonPotential(np.ones(9), 1.0).prox(torch.ones(4), 1.0),
            "v must have the shape (9,) of the data, got (4,)",
        ),
    ],
)
def test_refusals_are_one_sentence(make, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        make()
