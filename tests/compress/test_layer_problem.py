"""The Gram matrices hold everything: errors and gradients equal those computed from the inputs themselves."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layers import inputs, layer
from optsci.compress import GramAccumulator


@pytest.mark.parametrize("shift", [0.0, 0.05])
def test_error_equals_explicit_inputs(shift):
    problem, seen, x = layer(5, 12, shift=shift)
    v = problem.weight + 0.01 * torch.randn(5, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    explicit = (seen @ v.T - x @ problem.weight.T).square().sum()
    assert float(problem.squared_error(v) * problem.tokens) == pytest.approx(float(explicit), rel=1e-10)
    assert float(problem(v)) == pytest.approx(float(explicit) / 2 / problem.tokens, rel=1e-10)
    relative = (explicit / (x @ problem.weight.T).square().sum()).sqrt()
    assert float(problem.relative_error(v)) == pytest.approx(float(relative), rel=1e-10)


@pytest.mark.parametrize("shift", [0.0, 0.05])
def test_gradient_is_that_of_the_value(shift):
    problem, *_ = layer(3, 7, shift=shift)
    v = torch.randn(3, 7, dtype=torch.float64, requires_grad=True, generator=torch.Generator().manual_seed(0))
    (expected,) = torch.autograd.grad(problem(v), v)
    torch.testing.assert_close(problem.grad(v.detach()), expected, rtol=1e-9, atol=1e-12)


def test_difference_form_does_not_cancel():
    """One part in 1e9 away from the dense weights the expanded form has lost every digit; this one has not."""
    problem, seen, _ = layer(4, 9)
    v = problem.weight * (1 + 1e-9)
    explicit = (seen @ (v - problem.weight).T).square().sum().sqrt() / (seen @ problem.weight.T).norm()
    assert float(problem.relative_error(v)) == pytest.approx(float(explicit), rel=1e-6)


@given(batches=st.lists(st.integers(1, 40), min_size=1, max_size=6), seed=st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_running_mean_does_not_depend_on_the_batches(batches, seed):
    x = inputs(6, sum(batches), seed=seed)
    statistics = GramAccumulator()
    for part in x.split(batches):
        statistics.add(part)
    assert statistics.tokens == len(x)
    torch.testing.assert_close(statistics.gram, x.T @ x / len(x), rtol=1e-10, atol=1e-12)


def test_half_precision_is_cast_up_before_the_product():
    """300 squared, summed over 1000 tokens, is past the largest float16."""
    statistics = GramAccumulator()
    statistics.add(torch.full((1000, 2), 300.0, dtype=torch.float16))
    assert statistics.gram.dtype == torch.float32
    torch.testing.assert_close(statistics.gram, torch.full((2, 2), 9e4))


@pytest.mark.parametrize("shift", [0.0, 0.05])
def test_scaled_problem_has_unit_diagonal_and_the_same_error(shift):
    problem, *_ = layer(4, 9, shift=shift)
    scaled, scale = problem.scaled()
    torch.testing.assert_close(scaled.gram.diagonal(), torch.ones(9, dtype=torch.float64))
    v = torch.randn(4, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert float(scaled(v * scale)) == pytest.approx(float(problem(v)), rel=1e-10)
    torch.testing.assert_close(scaled.grad(v * scale) * scale, problem.grad(v), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shift", [0.0, 0.05])
def test_damping_adds_a_ridge_towards_the_dense_weights(shift):
    problem, *_ = layer(4, 9, shift=shift)
    v = torch.randn(4, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ridge = 0.1 * ((v - problem.weight).square() * problem.channel_energy).sum()
    assert float(problem.damped(0.1).squared_error(v)) == pytest.approx(
        float(problem.squared_error(v) + ridge), rel=1e-10
    )


def test_unconstrained_minimiser():
    problem, *_ = layer(4, 9, shift=0.05)
    gradient = problem.scaled()[0].damped(0.01).grad(problem.unconstrained(0.01) * problem.scaled()[1])
    assert float(gradient.abs().max()) < 1e-10
    dense, *_ = layer(4, 9)
    assert dense.unconstrained() is dense.weight


def test_dead_channels_stay_finite():
    x = inputs(6, 50, seed=0)
    x[:, 2] = 0
    statistics = GramAccumulator()
    statistics.add(x)
    problem = statistics.problem(torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    scaled, scale = problem.scaled()
    assert scaled.gram.isfinite().all()
    assert scale[2] == 1
    assert (scaled.weight[:, 2] == 0).all()


def test_negative_damping_is_refused():
    with pytest.raises(ValueError, match="damping must be at least 0, got -1"):
        layer(2, 3)[0].damped(-1)
