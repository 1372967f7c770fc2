"""The source problem: exact, finite element and network maps; its prox; the sources that ADMM finds."""

import math

import cvxpy as cp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import optsci
from optsci.pinn import MLP, Equation, Fields, laplacian, residual_jacobian
from optsci.pinn.control import (
    BoundaryMisfit,
    FiniteElements,
    NeumannFeatures,
    SourceIdentification,
    SourceProblem,
    boundary_map,
    source_fields,
    two_sources,
)
from optsci.pinn.derivatives import gradient
from optsci.pinn.parameter_vectors import set_vector

N = 8


def problem_of(side=16, cells=N):
    return SourceProblem.two_sources(side, cells)


def exact(problem):
    return BoundaryMisfit(problem, boundary_map(problem.points, problem.cells))


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def order(sizes, errors):
    return -np.polyfit(np.log(sizes), np.log(errors), 1)[0]


def test_finite_elements_are_of_second_order():
    errors = []
    for k in (8, 16, 32):
        elements = FiniteElements(k)
        y = elements.state(lambda x: (1 + 5 * np.pi**2) * np.cos(np.pi * x[0]) * np.cos(2 * np.pi * x[1]))
        x = elements.basis.mesh.p
        errors.append(np.sqrt(np.mean((y - np.cos(np.pi * x[0]) * np.cos(2 * np.pi * x[1])) ** 2)))
    assert 1.9 < order([8, 16, 32], errors) < 2.2


def test_the_maps_of_finite_elements_tend_to_the_exact_ones_in_the_second_order():
    problem = problem_of(side=4, cells=2)
    S = boundary_map(problem.points, 2)
    errors = [float((FiniteElements(k).state_map(problem) - S).norm() / S.norm()) for k in (8, 16, 32)]
    assert 1.8 < order([8, 16, 32], errors) < 2.3
    assert errors[-1] < 1e-3


def test_the_exact_map_knows_the_symmetries_of_the_square():
    problem = problem_of(side=4, cells=4)
    S = boundary_map(problem.points, 4).reshape(4, 4, 4, 4)  # side, place along it, cell
    left, right, bottom, _ = S
    torch.testing.assert_close(right, left.flip(1))
    torch.testing.assert_close(bottom, left.transpose(1, 2))
    torch.testing.assert_close(left, left.flip(0).flip(2))


def test_the_exact_map_obeys_greens_identity():
    """The integral of p u is that of y d_n p over the boundary, for p = cosh(x_1 - 1/2), which is its own Laplacian."""
    x = (torch.arange(200, dtype=torch.float64) + 0.5) / 200
    points = torch.cat([torch.stack(pair, 1) for pair in ((0 * x, x), (0 * x + 1, x), (x, 0 * x), (x, 0 * x + 1))])
    S = boundary_map(points, 2)
    flux = math.sinh(0.5) * (points[:, 0] % 1 == 0).double()
    inside = 0.25 * math.sinh(0.25)
    torch.testing.assert_close((flux @ S) / 200, torch.full((4,), inside, dtype=torch.float64), rtol=1e-4, atol=0)


def test_weights_are_the_lengths_of_boundary():
    problem = SourceProblem([[0.0, 0.25], [0.0, 0.75], [0.5, 0.0], [1.0, 0.5], [0.5, 1.0]], [0.0] * 5)
    torch.testing.assert_close(problem.weights, torch.tensor([0.625, 0.625, 0.875, 1.0, 0.875]))
    torch.testing.assert_close(problem_of().weights, torch.full((64,), 1 / 16, dtype=torch.float64))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1e-3, 1.0, 1e3]))
def test_the_prox_minimises(seed, step):
    f = exact(problem_of())
    v = 5 * random(N, N, seed=seed)
    u = f.prox(v, step).requires_grad_()
    objective = f(u) + (u - v).square().sum() / (2 * step)
    (slope,) = torch.autograd.grad(objective, u)
    assert slope.norm() <= 1e-9 * (v.norm() / step + 1)


def test_the_gradient_is_the_adjoint_state():
    """p of finite elements on a fine mesh against the adjoint of the exact map, which is W S^T / h^2."""
    problem = problem_of(side=16)
    f, g = exact(problem), FiniteElements(64).misfit(problem)
    u = random(N, N)
    p, q = (h.adjoint @ h.residual(u) for h in (f, g))
    assert (p - q).norm() < 2e-3 * p.norm()
    w = u.clone().requires_grad_()
    (slope,) = torch.autograd.grad(f(w), w)
    torch.testing.assert_close(slope.flatten(), p)


def test_admm_with_exact_steps_finds_the_minimiser_of_a_cone_programme():
    problem, gamma = problem_of(side=8, cells=4), 1e-3
    f = exact(problem)
    g = problem.regulariser(gamma, 100)
    run = optsci.solve(optsci.admm(f, g, torch.zeros(4, 4, dtype=torch.float64), rho=1e-2), tol=1e-7, max_iter=200)
    run.raise_if_failed()
    u = cp.Variable((4, 4))
    root = problem.weights.sqrt().numpy()[:, None] / problem.spacing
    misfit = cp.sum_squares(root * f.state.numpy() @ cp.vec(u, order="C") - root[:, 0] * problem.values.numpy()) / 2
    cp.Problem(cp.Minimize(misfit + gamma / problem.spacing * tv(u))).solve(solver=cp.CLARABEL)
    best = torch.tensor(u.value)
    assert float(f(run.state.z) + g(run.state.z)) <= float(f(best) + g(best)) * (1 + 1e-6)
    np.testing.assert_allclose(run.state.z, u.value, atol=2e-3)


def tv(u):
    """The isotropic variation, with no difference past the last row and column."""
    total = 0
    for j in range(4):
        for k in range(4):
            ahead = [u[j + a, k + b] - u[j, k] for a, b in ((1, 0), (0, 1)) if j + a < 4 and k + b < 4]
            total += cp.norm(cp.hstack(ahead)) if ahead else 0
    return total


def test_the_error_of_the_source_falls_linearly_with_the_weight():
    """The truth satisfies a source condition: without noise it is found exactly as gamma goes to 0."""
    problem = problem_of()
    truth, errors, gammas = two_sources(N), [], (4e-4, 1e-4)
    for gamma in gammas:
        steps = optsci.admm(exact(problem), problem.regulariser(gamma, 50), torch.zeros_like(truth), rho=5 * gamma)
        u = optsci.solve(steps, tol=1e-6, max_iter=300).raise_if_failed().state.z
        errors.append(float((u - truth).norm() / truth.norm()))
    assert 0.9 < -order(gammas, errors) < 1.1
    assert errors[-1] < 0.05


def test_networks_of_the_features_have_no_flux_and_carry_jets():
    y = source_fields(12, 5).y
    x = problem_of().points
    assert (gradient(y, x) * problem_of().normals).sum(1).abs().max() < 1e-14
    inside = 0.8 * x + 0.05
    by_autograd = laplacian(lambda x: y(x), inside)
    torch.testing.assert_close(laplacian(y, inside), by_autograd)
    assert NeumannFeatures()(x).shape == x.shape


def test_the_network_prox_is_that_of_finite_elements_up_to_the_accuracy_of_the_state():
    problem = problem_of()
    f = SourceIdentification(problem, source_fields(60, 40), rounds=1, inner_steps=2)
    g = FiniteElements(32).misfit(problem)
    v = torch.zeros(N, N, dtype=torch.float64)
    trained = f.prox(v, 1e3)
    assert f.last.steps == 2
    expected = g.prox(v, 1e3)
    for found in (trained, f.prox(v, 1e3)):
        assert (found - expected).norm() < 0.02 * expected.norm()
    torch.testing.assert_close(trained, f.prox(v, 1e3))  # the last layers of the trained features


def test_the_sum_of_all_squares_bends_the_adjoint_state_where_each_its_own_does_not():
    """The prox at the truth with exact data is the truth; the last layers that minimise one sum are far from it."""
    problem, truth, step = problem_of(), two_sources(N), 1e3
    f = SourceIdentification(problem, source_fields(60, 40), rounds=0)
    ours = f.prox(truth, step)
    source, inside = (f.at_points(u)[:, None] for u in (truth, torch.ones_like(truth)))
    both = lambda f: (f.y, f.p)  # noqa: E731
    weights = len(problem.values) * problem.weights
    whole = (
        Equation(f.x, both, lambda x, y, p: y.value - y.laplacian - source + step * inside * p.value)
        + Equation(f.x_adjoint, both, lambda x, y, p: step * (p.value - p.laplacian))
        + Equation(
            problem.points,
            both,
            lambda x, y, p: step * ((problem.normals * p.gradient).sum(1) - y.value[:, 0] + problem.values),
            weights,
        )
    )
    for net in f.networks.values():
        for of_last_layer in (net.weights[-1], net.biases[-1]):
            of_last_layer.data.zero_()
        for hidden in (net.weights[0], net.biases[0]):
            hidden.requires_grad_(False)
    r, J = residual_jacobian(f.fields, whole)
    set_vector(f.fields, -torch.linalg.lstsq(J, r[:, None], rcond=1e-10, driver="gelsd").solution[:, 0])
    summed = truth - step * f.fields.p(problem.centres).detach().reshape(N, N)
    assert (ours - truth).norm() < 0.01 * truth.norm()
    assert (summed - truth).norm() > 0.1 * truth.norm()


@pytest.mark.parametrize("cells", [2, 3, 32, 33])
def test_the_points_of_the_equation_lie_in_their_cells(cells):
    problem = problem_of(side=4, cells=cells)
    f = SourceIdentification(problem, source_fields(4, 4), rounds=0)
    away = (f.x[f.inside] - problem.centres[f.cells]).abs().max()
    assert away < problem.spacing / 2
    assert len(f.inside) == len(f.x) / 4
    assert (torch.bincount(f.cells) == len(f.inside) / cells**2).all()


@pytest.mark.slow
def test_training_lowers_what_is_left_of_the_equations_and_the_state_is_that_of_the_map():
    problem, truth = problem_of(), two_sources(N)
    f = SourceIdentification(problem, source_fields(30, 20, seed=1), rounds=3, inner_steps=4)
    before = problem.norm(f.misfit.residual(truth))
    errors = []
    for _ in range(3):
        f.prox(0 * truth, 1e3)
        errors.append(f.last.error)
    assert errors[2] < errors[0]
    assert problem.norm(f.misfit.residual(truth)) < before
    torch.testing.assert_close(f.state(truth), f.misfit.state @ truth.flatten(), rtol=1e-8, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_networks_find_the_sources_of_the_paper(seed):
    problem, truth = problem_of(side=32, cells=32), two_sources(32)
    f = SourceIdentification(problem, source_fields(seed=seed))
    steps = optsci.admm(f, problem.regulariser(1e-4, 200), torch.zeros_like(truth), rho=2.5e-4)
    run = optsci.solve(steps, tol=None, max_iter=100)
    assert (run.state.z - truth).norm() < 0.05 * truth.norm()
    assert float(run.state.primal) < 1e-3


def test_noise_has_the_level_asked_for():
    problem = problem_of()
    noisy = problem.noisy(0.03, seed=5)
    assert abs(float(problem.norm(noisy.values - problem.values) / problem.norm(problem.values)) - 0.03) < 1e-12
    assert torch.equal(noisy.values, problem.noisy(0.03, seed=5).values)
    assert not torch.equal(noisy.values, problem.noisy(0.03, seed=6).values)


@pytest.mark.parametrize(
    ("points", "values", "cells", "sentence"),
    [
        ([[0.5, 0.5]], [0.0], 4, r"points must lie on the boundary of the unit square, 1 of 1 do not: \[0.5, 0.5\]"),
        ([[0.0, 1.5]], [0.0], 4, r"points must lie on the boundary of the unit square, 1 of 1 do not: \[0.0, 1.5\]"),
        ([[0.0, 1.0]], [0.0], 4, r"points must not be corners, where there is no normal, got \[0.0, 1.0\]"),
        ([[0.0, 0.5], [0.0, 0.5]], [0.0, 0.0], 4, "points must be different"),
        ([[0.0, 0.5, 0.5]], [0.0], 4, r"points must be \(m, 2\), at least one, got \(1, 3\)"),
        ([[0.0, 0.5]], [math.nan], 4, "values must be finite, got nan"),
        ([[0.0, math.inf]], [0.0], 4, "points must be finite, got inf"),
        ([[0.0, 0.5]], [0.0, 1.0], 4, r"values must be \(1,\), one for every point, got \(2,\)"),
        ([[0.0, 0.5]], [0.0], 1, "cells must be a whole number and at least 2, got 1"),
    ],
)
def test_bad_problems_are_refused(points, values, cells, sentence):
    with pytest.raises(ValueError, match=sentence):
        SourceProblem(points, values, cells)


@pytest.mark.parametrize(
    ("points", "cells", "sentence"),
    [
        (
            [[0.0, 0.3], [0.5, 0.4]],
            2,
            r"points must lie on the boundary of the unit square, 1 of 2 do not: \[0.5, 0.4\]",
        ),
        ([[0.3, 1e-6]], 2, r"points must lie on the boundary of the unit square, 1 of 1 do not: \[0.3, 1e-06\]"),
        ([[1.0, 1.2]], 2, r"points must lie on the boundary of the unit square, 1 of 1 do not: \[1.0, 1.2\]"),
        ([[0.0, math.nan]], 2, "points must be finite, got nan"),
        ([0.0, 0.5], 2, r"points must be \(m, 2\), at least one, got \(2,\)"),
        ([[0.0, 0.5]], 0, "cells must be a whole number and at least 1, got 0"),
    ],
)
def test_the_exact_map_is_of_points_on_the_boundary(points, cells, sentence):
    given = torch.tensor(points, dtype=torch.float64)
    with pytest.raises(ValueError, match=sentence):
        boundary_map(given, cells)


def test_bad_arguments_are_refused():
    problem = problem_of()
    with pytest.raises(ValueError, match="even"):
        two_sources(3)
    with pytest.raises(ValueError, match=r"state must be \(64, 64\), from cells to data"):
        BoundaryMisfit(problem, torch.zeros(3, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"adjoint must be \(64, 64\), from data to cells"):
        BoundaryMisfit(problem, boundary_map(problem.points, N), torch.zeros(3, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"u must be \(8, 8\), a value on every cell, .* got \(8, 7\)"):
        exact(problem).prox(torch.zeros(8, 7, dtype=torch.float64), 1.0)
    with pytest.raises(ValueError, match="intervals must be a multiple of 16 and of 4"):
        FiniteElements(24).state_map(problem)
    with pytest.raises(ValueError, match="intervals must be a whole number"):
        FiniteElements(0)
    with pytest.raises(TypeError, match="problem must be a SourceProblem"):
        SourceIdentification(None, source_fields())
    with pytest.raises(TypeError, match="fields must have an MLP p"):
        SourceIdentification(problem, Fields(y=MLP(2, [4])))
    with pytest.raises(ValueError, match="rounds must be a whole number and at least 0"):
        SourceIdentification(problem, source_fields(), rounds=-1)
    with pytest.raises(ValueError, match="level must be"):
        problem.noisy(-1.0, 0)
