"""GANQ against exhaustive search, least squares and GPTQ; the baselines; every kernel against its text in torch."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise, product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from layers import layer
from optsci.compress import (
    GramAccumulator,
    LayerProblem,
    Quantized,
    descend_codes,
    descending_energy,
    diagonal_dominance,
    ganq_quantize,
    ganq_star,
    gptq,
    round_to_nearest,
    weighted_kmeans,
)
from optsci.compress import code_steps as steps
from optsci.compress.ganq import ganq
from optsci.linalg import damped_cholesky

QUANTIZERS = [round_to_nearest, gptq, weighted_kmeans, ganq_quantize, ganq_star]


def free(problem: LayerProblem) -> Tensor:
    return torch.zeros_like(problem.weight, dtype=torch.bool)


def table_and_codes(problem: LayerProblem, bits: int = 2) -> tuple[Tensor, Tensor]:
    start = weighted_kmeans(problem, bits=bits)
    return start.codebook, start.codes


def residual_of(problem: LayerProblem, codebook: Tensor, codes: Tensor) -> Tensor:
    return problem.target - steps.lookup(codebook, codes) @ problem.gram


# The S-step


def test_substitution_is_never_below_the_exhaustive_optimum_and_often_there():
    optimal = 0
    for seed in range(20):
        problem, *_ = layer(1, 6, seed=seed)
        codebook, _ = table_and_codes(problem)
        factor, _ = damped_cholesky(problem.gram, 0.0)
        codes = steps.substitute(problem.weight, codebook, factor, free(problem))
        every = torch.tensor(list(product(range(4), repeat=6)))
        difference = problem.weight - codebook[0][every]
        least = ((difference @ problem.gram) * difference).sum(1).min()
        ours = problem.squared_error(steps.lookup(codebook, codes))
        assert ours >= least * (1 - 1e-9)
        optimal += bool(ours <= least * (1 + 1e-9))
    assert optimal >= 8  # Babai's nearest plane is greedy: in the others it is not


def test_substitution_with_a_diagonal_gram_takes_the_nearest_value():
    problem, *_ = layer(5, 30)
    codebook, _ = table_and_codes(problem, 3)
    factor = problem.gram.diagonal().sqrt().diag()
    codes = steps.substitute(problem.weight, codebook, factor, free(problem))
    nearest = (problem.weight[:, :, None] - codebook[:, None]).abs().argmin(2)
    assert (codes == nearest).all()


@pytest.mark.parametrize("bits", [2, 4])
def test_substitution_with_even_values_is_gptq_on_the_columns_reversed(bits):
    problem, *_ = layer(16, 150, tokens=600)
    reversed_gptq = gptq(problem, bits=bits, order=lambda gram: torch.arange(len(gram) - 1, -1, -1))
    factor, _ = damped_cholesky(problem.gram, 0.01)
    codes = steps.substitute(problem.weight, reversed_gptq.codebook, factor, free(problem))
    assert torch.equal(codes, reversed_gptq.codes)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_tiles_do_not_change_a_bit(dtype):
    problem, *_ = layer(7, 90, dtype=dtype)
    codebook, _ = table_and_codes(problem, 4)
    factor, _ = damped_cholesky(problem.gram, 0.01)
    fixed = torch.rand(7, 90, generator=torch.Generator().manual_seed(0)) < 0.05
    whole = steps.substitute(problem.weight, codebook, factor, fixed, tile=90)
    for tile in (1, 7, 64):
        assert torch.equal(steps.substitute(problem.weight, codebook, factor, fixed, tile=tile), whole)


def test_kernels_say_what_torch_says():
    problem, *_ = layer(9, 150, tokens=600)
    codebook, codes = table_and_codes(problem, 3)
    fixed = torch.rand(9, 150, generator=torch.Generator().manual_seed(0)) < 0.05
    factor, _ = damped_cholesky(problem.gram, 0.01)
    chosen = steps.substitute(problem.weight, codebook, factor, fixed)
    assert torch.equal(chosen, steps.substitute_torch(problem.weight, codebook, factor, fixed))

    kept = torch.where(fixed, problem.weight, steps.lookup(codebook, codes))
    residual = problem.target - kept @ problem.gram
    ours = steps.descend(codebook, problem.gram, codes, fixed, residual)
    theirs = steps.descend_torch(codebook, problem.gram, codes, fixed, residual)
    assert torch.equal(ours[0], theirs[0])
    torch.testing.assert_close(ours[1], theirs[1])
    torch.testing.assert_close(
        steps.bin_gram(problem.gram, codes, fixed, 8), steps.bin_gram_torch(problem.gram, codes, fixed, 8)
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_clusters_are_what_torch_says(dtype):
    problem, *_ = layer(12, 90, dtype=dtype)
    weight = problem.weight.clone()
    weight[0] = torch.arange(90) % 5  # fewer values than clusters
    weight[1] = weight[1].round(decimals=2)  # ties
    ordered, order = weight.sort(dim=1)
    start = steps._quantiles(ordered, 3)
    expected = steps.kmeans_torch(ordered, order, problem.channel_energy, start, 30)
    torch.testing.assert_close(steps.kmeans_codebook(weight, problem.channel_energy, bits=3), expected)


def test_threads_do_not_change_a_bit():
    problem, *_ = layer(200, 40, dtype=torch.float32)
    codebook, codes = table_and_codes(problem, 3)
    factor, _ = damped_cholesky(problem.gram, 0.01)
    residual = residual_of(problem, codebook, codes)
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            results.append(
                (
                    steps.substitute(problem.weight, codebook, factor, free(problem)),
                    steps.bin_gram(problem.gram, codes, free(problem), 8),
                    *steps.descend(codebook, problem.gram, codes, free(problem), residual),
                )
            )
    finally:
        torch.set_num_threads(threads)
    for one, many in zip(*results, strict=True):
        assert torch.equal(one, many)


# The T-step


def test_table_step_is_least_squares_on_the_one_hot_design():
    problem, seen, _ = layer(4, 40)
    codebook, codes = table_and_codes(problem, 3)
    fitted = steps.fit_codebook(codebook, problem.gram, codes, free(problem), residual_of(problem, codebook, codes))
    for row in range(4):
        design = seen @ torch.nn.functional.one_hot(codes[row].long(), 8).double()
        exact = torch.linalg.lstsq(design, seen @ problem.weight[row], driver="gelsd").solution
        used = torch.bincount(codes[row].long(), minlength=8) > 0
        torch.testing.assert_close(fitted[row, used], exact[used], rtol=1e-6, atol=1e-9)
        assert torch.equal(fitted[row, ~used], codebook[row, ~used])


@given(seed=st.integers(0, 1000), bits=st.integers(1, 3), shift=st.sampled_from([0.0, 0.1]))
def test_table_step_and_descent_never_raise_the_error(seed, bits, shift):
    problem, *_ = layer(3, 12, seed=seed, shift=shift, tokens=300)
    codebook, codes = table_and_codes(problem, bits)
    fixed = free(problem)
    before = problem.squared_error(steps.lookup(codebook, codes))
    residual = residual_of(problem, codebook, codes)
    fitted = steps.fit_codebook(codebook, problem.gram, codes, fixed, residual)
    between = problem.squared_error(steps.lookup(fitted, codes))
    assert between <= before * (1 + 1e-9)
    gradient = torch.zeros_like(fitted).scatter_add_(1, codes.long(), residual_of(problem, fitted, codes))
    assert gradient.abs().max() <= 1e-8 * problem.target.abs().max()
    fitted, codes = steps.ascending(fitted, codes)
    moved, residual = steps.descend(fitted, problem.gram, codes, fixed, residual_of(problem, fitted, codes))
    assert problem.squared_error(steps.lookup(fitted, moved)) <= between * (1 + 1e-9)
    torch.testing.assert_close(residual, residual_of(problem, fitted, moved))


# The whole


@pytest.mark.parametrize("shift", [0.0, 0.1])
@pytest.mark.parametrize("star", [False, True])
def test_the_residual_is_the_error_of_the_weights_and_never_rises(shift, star):
    problem, *_ = layer(8, 60, shift=shift)
    fixed = problem.weight.abs() > 0.12 if star else None
    states = [state for state, _ in zip(ganq(problem, bits=3, fixed=fixed), range(5), strict=False)]
    states += [state for state, _ in zip(descend_codes(problem, states[-1].x), range(3), strict=False)]
    for state in states:
        torch.testing.assert_close(state.residual, problem.relative_error(state.x.weights), rtol=1e-9, atol=0)
        torch.testing.assert_close(state.error, problem.relative_error(state.last.weights), rtol=1e-9, atol=0)
        assert state.residual <= state.error
        if star:
            assert torch.equal(state.x.outliers.to_dense() != 0, fixed)
    assert all(b.residual <= a.residual * (1 + 1e-12) for a, b in pairwise(states))


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_ganq_beats_the_baselines(bits):
    problem, *_ = layer(24, 96, tokens=800, dtype=torch.float32)
    errors = {f: float(problem.relative_error(f(problem, bits=bits).weights)) for f in QUANTIZERS}
    assert errors[ganq_quantize] < 0.8 * min(errors[gptq], errors[weighted_kmeans])
    assert errors[gptq] < errors[round_to_nearest]
    assert errors[weighted_kmeans] < errors[round_to_nearest]


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_descent_improves_gptq(shift):
    problem, *_ = layer(8, 60, shift=shift)
    start = gptq(problem, bits=3)
    state = next(descend_codes(problem, start))
    assert state.residual < 0.9 * problem.relative_error(start.weights)


def test_columns_come_back_in_their_own_order():
    problem, *_ = layer(6, 40)
    places = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    gram = problem.gram[places][:, places]
    shuffled = replace(problem, weight=problem.weight[:, places], gram=gram, cross=gram)
    for quantize in (
        partial(ganq_quantize, sweeps=0),
        partial(ganq_star, sweeps=0),
        partial(gptq, order=descending_energy),
    ):
        torch.testing.assert_close(quantize(shuffled).weights, quantize(problem).weights[:, places])


@pytest.mark.parametrize("quantize", QUANTIZERS)
def test_easy_rows_are_exact(quantize):
    problem, *_ = layer(4, 30, dtype=torch.float32)
    weight = problem.weight.clone()
    weight[0] = 0.25
    weight[1] = (torch.arange(30) % 16) / 16
    weight[2, :] = 0
    weight[2, 17] = 1.0  # one of its kind: no quantile finds it
    result = quantize(replace(problem, weight=weight), bits=4).weights
    torch.testing.assert_close(result[:3], weight[:3], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("quantize", QUANTIZERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_column_is_exact(quantize, dtype):
    problem, *_ = layer(5, 1, dtype=dtype)
    torch.testing.assert_close(quantize(problem, bits=2).weights, problem.weight)


@pytest.mark.parametrize("quantize", [*QUANTIZERS, partial(ganq_quantize, damping=diagonal_dominance)])
@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_hard_layers_give_finite_weights(quantize, shift):
    problem, *_ = layer(4, 40, tokens=20, shift=shift, dtype=torch.float32)  # fewer tokens than columns
    gram, cross = problem.gram.clone(), problem.cross.clone()
    for matrix in (gram, cross):
        matrix[[3, 21]] = 0  # dead
        matrix[:, [3, 21]] = 0
        matrix[7] *= 1e3  # a channel with massive activations
        matrix[:, 7] *= 1e3
    problem = replace(problem, gram=gram, cross=gram if shift == 0 else cross, energy=problem.energy * 1e6)
    result = quantize(problem)
    assert result.weights.isfinite().all()
    assert result.weights.dtype == torch.float32
    assert (result.codebook.diff(dim=1) >= 0).all()
    zero = torch.zeros_like(gram)
    nothing = replace(problem, gram=zero, cross=zero, energy=problem.energy * 0)
    if quantize in (round_to_nearest, weighted_kmeans, gptq):
        assert quantize(nothing).weights.isfinite().all()


def test_outliers_are_the_outermost_weights_and_come_back_exactly():
    problem, *_ = layer(5, 400, tokens=900)
    result = ganq_star(problem, outliers=0.02, bits=3)
    kept = result.outliers.to_dense() != 0
    assert (kept.sum(1) <= 9).all()
    assert (kept.sum(1) >= 6).all()
    torch.testing.assert_close(result.weights[kept], problem.weight[kept], rtol=1e-12, atol=0)
    for row, mask in zip(problem.weight, kept, strict=True):
        assert row[mask].min() < row[~mask].min()
        assert row[mask].max() > row[~mask].max()
        assert ((row[mask] < row[~mask].min()) | (row[mask] > row[~mask].max())).all()
    same = ganq_star(problem, outliers=0.0, bits=3)
    assert same.outliers is None
    assert torch.equal(same.codes, ganq_quantize(problem, bits=3).codes)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("quantize", [ganq_quantize, ganq_star])
def test_codes_are_chosen_again_for_a_table_in_half_precision(dtype, quantize):
    problem, *_ = layer(8, 60, dtype=torch.float32)
    plain, stored = quantize(problem), quantize(problem, dtype=dtype)
    assert stored.codebook.dtype == stored.weights.dtype == dtype
    cast = Quantized(plain.codes, plain.codebook.to(dtype), plain.outliers)
    assert problem.relative_error(stored.weights) <= problem.relative_error(cast.weights) * (1 + 1e-3)
    assert problem.relative_error(stored.weights) <= 1.3 * problem.relative_error(plain.weights)


def test_a_table_that_overflows_is_refused():
    problem, *_ = layer(2, 30)
    with pytest.raises(ValueError, match=r"the table of layer holds an infinity as torch\.float16"):
        ganq_quantize(replace(problem, weight=1e7 * problem.weight), dtype=torch.float16)


# The baselines


def test_gptq_is_its_definition():
    problem, *_ = layer(3, 12)
    ours = gptq(problem, bits=2, block=5)
    hessian = problem.gram + 0.01 * problem.gram.diagonal().mean() * torch.eye(12, dtype=torch.float64)
    u = torch.linalg.cholesky(torch.linalg.inv(hessian), upper=True)
    v = problem.weight.clone()
    for j in range(12):
        for i in range(3):
            code = int((v[i, j] - ours.codebook[i]).abs().argmin())
            assert code == ours.codes[i, j]
            v[i, j + 1 :] -= (v[i, j] - ours.codebook[i, code]) / u[j, j] * u[j, j + 1 :]


def test_gptq_with_uncorrelated_inputs_rounds_to_nearest():
    problem, *_ = layer(4, 20)
    gram = problem.gram.diagonal().diag()
    plain = replace(problem, gram=gram, cross=gram)
    assert torch.equal(gptq(plain, bits=3).codes, round_to_nearest(plain, bits=3).codes)


def test_kmeans_ends_where_values_are_means_and_weights_are_nearest():
    problem, *_ = layer(5, 200)
    result = weighted_kmeans(problem, bits=3, iterations=500)
    energy = problem.channel_energy.expand_as(problem.weight)
    nearest = (problem.weight[:, :, None] - result.codebook[:, None]).abs().argmin(2)
    assert (result.codes == nearest).all()
    mass = torch.zeros_like(result.codebook).scatter_add_(1, nearest, energy)
    moment = torch.zeros_like(result.codebook).scatter_add_(1, nearest, energy * problem.weight)
    torch.testing.assert_close(result.codebook, moment / mass, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("quantize", QUANTIZERS)
@pytest.mark.parametrize("bits", [1, 3, 8])
def test_tables_have_two_to_the_bits_values(quantize, bits):
    problem, *_ = layer(3, 50)
    assert quantize(problem, bits=bits).codebook.shape == (3, 2**bits)


@pytest.mark.parametrize("quantize", QUANTIZERS)
def test_bits_are_checked_at_the_door(quantize):
    problem, *_ = layer(2, 8)
    for bits in (0, 9):
        with pytest.raises(ValueError, match=rf"bits must lie in 1\.\.8, got {bits}"):
            quantize(problem, bits=bits)
    with pytest.raises(TypeError, match=r"bits must be an integer, got 4\.0"):
        quantize(problem, bits=4.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (partial(gptq, block=0), "block must be at least 1, got 0"),
        (partial(weighted_kmeans, iterations=-1), "iterations must be at least 0, got -1"),
        (partial(ganq_quantize, iterations=0), "iterations must be at least 1, got 0"),
        (partial(ganq_quantize, sweeps=-1), "sweeps must be at least 0, got -1"),
        (
            partial(ganq_quantize, damping=-0.1),
            "damping must be at least 0, or a function of the Gram matrix, got -0.1",
        ),
        (partial(ganq_star, outliers=1.0), "outliers must lie in"),
    ],
)
def test_bad_options_are_refused(call, message):
    problem, *_ = layer(2, 8)
    with pytest.raises(ValueError, match=message):
        call(problem)


@pytest.mark.parametrize("shift", [False, True])
def test_inputs_that_are_always_zero(shift):
    """Any code will do, and none of the methods fails."""
    statistics = GramAccumulator()
    zero = torch.zeros(20, 6)
    statistics.add(zero, zero + 1 if shift else None)
    problem = statistics.problem(torch.randn(4, 6, generator=torch.Generator().manual_seed(0)))
    for quantize in (ganq_quantize, ganq_star, weighted_kmeans, gptq):
        assert quantize(problem, bits=2).weights.isfinite().all()


def test_a_table_of_integers_is_refused():
    with pytest.raises(ValueError, match=r"dtype must be a floating-point type of 16 bits or more, got torch.int8"):
        ganq_quantize(layer(4, 6)[0], bits=2, dtype=torch.int8)
