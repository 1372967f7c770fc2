"""The graphical lasso by proximal Newton steps: optimality, another algorithm, closed forms, rates, refusals."""

from __future__ import annotations

import itertools
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import optsci


def covariance(p, samples, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mix = torch.eye(p, dtype=torch.float64) + 0.4 * torch.randn(p, p, generator=generator, dtype=torch.float64)
    data = torch.randn(samples, p, generator=generator, dtype=torch.float64) @ mix
    return data.T @ data / samples


def objective(S, weights, X):
    return float((S * X).sum() - torch.logdet(X) + (weights * X.abs()).sum())


@given(p=st.integers(1, 12), samples=st.integers(2, 40), weight=st.floats(0.02, 1), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_optimality_conditions_hold_to_rounding_also_for_fewer_samples_than_variables(p, samples, weight, seed):
    S = covariance(p, samples, seed)
    S = S / (S.diagonal().sqrt()[:, None] * S.diagonal().sqrt())
    run = optsci.solve(optsci.graphical_lasso(S, weight), tol=1e-9, max_iter=200).raise_if_failed()
    X, W = run.x, torch.linalg.inv(run.x)
    weights = weight * (1 - torch.eye(p, dtype=torch.float64))
    slack = (W - S).abs() - weights
    assert (X == X.T).all()
    assert torch.linalg.eigvalsh(X).min() > 0
    assert slack.max() <= 1e-7
    assert ((W - S - weights * X.sign())[X != 0]).abs().max() <= 1e-7
    assert torch.allclose(run.state.inverse, W, rtol=1e-7, atol=1e-9)


def test_the_objective_never_rises_and_admm_finds_the_same_matrix():
    S = covariance(15, 60)
    weights = 0.1 * (1 - torch.eye(15, dtype=torch.float64))
    run = optsci.solve(
        optsci.graphical_lasso(S, 0.1), tol=1e-10, track={"objective": lambda s: objective(S, weights, s.x)}
    )
    values = run.history["objective"]
    assert all(after <= before + 1e-12 for before, after in itertools.pairwise(values))
    f, g = optsci.Tilted(optsci.NegativeLogDet(), S), optsci.WeightedL1(weights)
    other = optsci.solve(optsci.admm(f, g, torch.eye(15, dtype=torch.float64)), tol=1e-11, max_iter=5000)
    assert torch.allclose(run.x, other.state.z, atol=1e-7)
    assert ((run.x == 0) == (other.state.z == 0)).all()


def test_steps_are_full_and_convergence_is_superlinear_near_the_solution():
    residuals = []
    for state in optsci.graphical_lasso(covariance(40, 150), 0.1):
        residuals.append(float(state.residual))
        if residuals[-1] < 1e-12:
            break
    assert state.step == 1
    tail = [r for r in residuals if r < 0.1]
    assert len(residuals) < 25
    factors = [after / before for before, after in itertools.pairwise(tail)]
    assert factors[-1] < 0.02  # a linear method would keep the factor of the first of them


def test_two_variables_by_hand():
    # Off the diagonal W = S - weight sign(S); the diagonal of W is that of S.
    run = optsci.solve(optsci.graphical_lasso([[2.0, 0.5], [0.5, 1.0]], 0.2), tol=1e-6)
    assert torch.allclose(run.x, torch.linalg.inv(torch.tensor([[2.0, 0.3], [0.3, 1.0]])), atol=1e-6)
    assert run.x.dtype == torch.float32


def test_a_weight_above_all_correlations_gives_a_diagonal_at_once():
    S = covariance(8, 50)
    largest = float((S - torch.diag(S.diagonal())).abs().max())
    first = next(iter(optsci.graphical_lasso(S, 1.001 * largest)))
    assert first.residual <= 1e-15
    assert (first.x == torch.diag(1 / S.diagonal())).all()


def test_weights_of_single_entries_also_on_the_diagonal():
    S = covariance(6, 40)
    weights = torch.full((6, 6), 0.1, dtype=torch.float64)
    weights[0, 3] = weights[3, 0] = 0  # free
    weights[1, 2] = weights[2, 1] = 10  # zero
    W = optsci.solve(optsci.graphical_lasso(S, weights), tol=1e-10).state
    assert W.x[1, 2] == 0
    assert (W.inverse - S)[0, 3].abs() < 1e-9
    assert torch.allclose(W.inverse.diagonal(), S.diagonal() + 0.1)


def test_a_warm_start_saves_iterations_and_is_left_alone():
    S = covariance(30, 100)
    near = optsci.solve(optsci.graphical_lasso(S, 0.12), tol=1e-9).x
    kept = near.clone()
    cold = optsci.solve(optsci.graphical_lasso(S, 0.1), tol=1e-9)
    warm = optsci.solve(optsci.graphical_lasso(S, 0.1, near), tol=1e-9)
    assert warm.iterations < cold.iterations
    assert torch.allclose(warm.x, cold.x, atol=1e-8)
    assert (near == kept).all()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (([[1.0, 0.0]], 0.1), "S must be a square matrix, got shape (1, 2)"),
        (([[1.0, 0.5], [0.4, 1.0]], 0.1), "S must be symmetric; two mirrored entries differ by 0.1"),
        (([[0.0, 0.0], [0.0, 1.0]], 0.1), "the diagonal of S must be positive, got 0 on it"),
        (([[1.0, float("nan")], [0.0, 1.0]], 0.1), "S must be finite"),
        (([[1.0, 0.5], [0.5, 1.0]], -0.5), "weight must be finite and at least 0, got -0.5"),
        (([[1.0, 0.5], [0.5, 1.0]], [0.1, 0.1]), "weight must be a square matrix, got shape (2,)"),
        (([[1.0, 0.5], [0.5, 1.0]], 0.1, [[1.0, 2.0], [2.0, 1.0]]), "x0 must be positive definite, and is not"),
        (([[1.0, 0.5], [0.5, 1.0]], 0.1, [[1.0]]), "x0 must have the shape (2, 2) of S, got (1, 1)"),
    ],
)
def test_bad_input_is_refused_when_called(arguments, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        optsci.graphical_lasso(*arguments)
