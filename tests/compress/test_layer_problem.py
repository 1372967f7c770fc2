"""The Gram matrices hold everything: errors and gradients equal those computed from the inputs themselves."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layers import inputs, layer
from optsci.compress import (
    NM,
    GramAccumulator,
    LayerProblem,
    fista_path_prune,
    fista_prune,
    magnitude,
    refit,
    refit_exact,
    sparsegpt,
    wanda,
)


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


@pytest.mark.parametrize("alive_in_dense", [False, True])
def test_channels_that_are_always_zero(alive_in_dense):
    """A channel that pruning upstream has silenced: the scaled problem is still the same problem."""
    x = inputs(6, 50, seed=0)
    seen = x.clone()
    seen[:, 2] = 0
    statistics = GramAccumulator()
    statistics.add(seen, x if alive_in_dense else None)
    weight = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    problem = statistics.problem(weight)
    scaled, scale = problem.scaled()
    assert scale[2] == 1
    v = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert float(scaled(v * scale)) == pytest.approx(float(problem(v)), rel=1e-10)
    torch.testing.assert_close(scaled.grad(v * scale) * scale, problem.grad(v), rtol=1e-9, atol=1e-9)
    target = (x if alive_in_dense else seen) @ weight.T
    best = torch.linalg.lstsq(seen, target, driver="gelsd").solution.T
    optimum = float(problem.relative_error(best))
    for fitted in (refit(problem, v, iterations=100), refit_exact(problem, v)):
        assert float(problem.relative_error(fitted)) == pytest.approx(optimum, rel=1e-6, abs=1e-7)
    pruned = fista_path_prune(problem, sparsity=NM(1, 2))
    assert (pruned[:, 2] == 0).all()
    assert float(problem.relative_error(pruned)) <= float(problem.relative_error(wanda(problem, sparsity=NM(1, 2))))


def test_fewer_tokens_than_channels():
    """A singular Gram matrix in float32: no NaN, and refit neither rises nor runs off into the null space."""
    for seed in range(5):
        problem, seen, _ = layer(6, 64, tokens=8, seed=seed, dtype=torch.float32)
        start = wanda(problem, sparsity=NM(2, 4))

        def error(v, seen=seen, problem=problem):
            return float((seen.double() @ (v - problem.weight).double().T).norm())

        for fitted in (refit(problem, start, iterations=100), refit_exact(problem, start)):
            assert problem.relative_error(fitted).isfinite()
            assert error(fitted) <= error(start)
        assert refit(problem, start, iterations=100).abs().max() <= 10 * problem.weight.abs().max()


def test_inputs_that_are_all_zero():
    statistics = GramAccumulator()
    statistics.add(torch.zeros(5, 8))
    problem = statistics.problem(torch.ones(2, 8))
    for prune in (magnitude, wanda, sparsegpt, fista_prune, fista_path_prune):
        weights = prune(problem, sparsity=NM(2, 4))
        assert weights.isfinite().all()
        assert float(problem.relative_error(weights)) == 0


def test_bad_statistics_are_sentences():
    statistics = GramAccumulator()
    with pytest.raises(ValueError, match="no inputs of fc1 were added"):
        statistics.problem(torch.ones(2, 3), "fc1")
    with pytest.raises(ValueError, match="seen holds no tokens"):
        statistics.add(torch.zeros(0, 3))
    statistics.add(torch.ones(4, 3))
    with pytest.raises(ValueError, match="dense must be given with every batch, or with none"):
        statistics.add(torch.ones(4, 3), torch.ones(4, 3))
    with pytest.raises(ValueError, match=r"weight of fc1 must be \(m, 3\), got \(2, 4\)"):
        statistics.problem(torch.ones(2, 4), "fc1")
    with pytest.raises(ValueError, match=r"gram of layer must be \(3, 3\)"):
        LayerProblem(torch.ones(2, 3), torch.ones(2, 2), torch.ones(2, 2), torch.ones(()))


def test_products_are_not_rounded_to_tf32_while_statistics_accumulate(monkeypatch):
    matmul = torch.backends.cuda.matmul
    before, during = matmul.fp32_precision, []
    real = torch.Tensor.addmm_
    monkeypatch.setattr(
        torch.Tensor, "addmm_", lambda *a, **k: (during.append(matmul.fp32_precision), real(*a, **k))[1]
    )
    matmul.fp32_precision = "tf32"
    try:
        GramAccumulator().add(torch.ones(2, 2))
        assert during == ["ieee"]
        assert matmul.fp32_precision == "tf32"
    finally:
        matmul.fp32_precision = before


def test_negative_damping_is_refused():
    with pytest.raises(ValueError, match="damping must be at least 0, got -1"):
        layer(2, 3)[0].damped(-1)
