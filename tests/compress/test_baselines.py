"""Masks with exact counts, SparseGPT against its definition, and all of them at the door."""

from functools import partial
from itertools import combinations

import pytest
import torch

from layers import layer
from optsci import Sparsity
from optsci.compress import (
    NM,
    LayerProblem,
    Unstructured,
    admm_prune,
    alps_prune,
    check_pattern,
    fista_path_prune,
    fista_prune,
    lambda_bisection,
    lambda_path,
    magnitude,
    parse_sparsity,
    refit,
    refit_exact,
    sparsegpt,
    wanda,
)
from tiny_models import tiny

PRUNERS = [magnitude, wanda, sparsegpt, fista_prune, fista_path_prune]


def lambda_start(problem, *, sparsity):
    return next(lambda_bisection(problem, problem.weight, sparsity=sparsity))


def support_start(problem, *, sparsity):
    return next(lambda_path(problem, problem.weight, sparsity=sparsity))


@pytest.mark.parametrize("prune", PRUNERS)
@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.5, 0.77])
@pytest.mark.parametrize("shift", [0.0, 0.05])
def test_unstructured_counts_are_exact(prune, fraction, shift):
    problem, *_ = layer(6, 40, shift=shift, dtype=torch.float32)
    weights = prune(problem, sparsity=Unstructured(fraction))
    zeros = (weights == 0).sum(1)
    if prune is sparsegpt:  # its scope is a block of columns over all rows
        assert int(zeros.sum()) == round(fraction * weights.numel())
    elif prune is fista_prune:  # its l1 solution may have more zeros than the pattern asks for
        assert (zeros >= round(fraction * 40)).all()
        assert int(zeros.sum()) <= round(fraction * weights.numel()) + 0.02 * weights.numel()
    else:
        assert (zeros == round(fraction * 40)).all()
    assert weights.isfinite().all()
    assert weights.dtype == torch.float32


@pytest.mark.parametrize("prune", [magnitude, wanda, fista_prune, fista_path_prune])
def test_whole_matrix_counts_are_exact(prune):
    problem, *_ = layer(6, 41)
    weights = prune(problem, sparsity=Unstructured(0.5, by_row=False))
    assert int((weights == 0).sum()) >= round(0.5 * weights.numel())
    if prune is not fista_prune:
        assert int((weights == 0).sum()) == round(0.5 * weights.numel())


@pytest.mark.parametrize("prune", PRUNERS)
@pytest.mark.parametrize("pattern", [NM(2, 4), NM(1, 4), NM(3, 5), NM(4, 8)])
def test_groups_hold_exactly_n(prune, pattern):
    problem, *_ = layer(4, 200, tokens=600)  # more than one block of SparseGPT, and 128 is no multiple of 5
    weights = prune(problem, sparsity=pattern)
    kept = (weights != 0).view(4, -1, pattern.m).sum(-1)
    assert (kept <= pattern.n).all()
    if prune is not fista_prune:
        assert (kept == pattern.n).all()


def test_equal_weights_keep_the_lower_index():
    problem, *_ = layer(2, 4)
    same = type(problem)(torch.ones(2, 4, dtype=torch.float64), problem.gram, problem.cross, problem.energy)
    assert (magnitude(same, sparsity=NM(2, 4)) == torch.tensor([1, 1, 0, 0])).all()
    assert (magnitude(same, sparsity=Unstructured(0.5)) == torch.tensor([1, 1, 0, 0])).all()


def test_wanda_scores_by_the_norm_of_the_inputs():
    problem, seen, _ = layer(3, 8)
    scores = problem.weight.abs() * seen.norm(dim=0)
    for row, kept in zip(scores, wanda(problem, sparsity=Unstructured(0.5)) != 0, strict=True):
        assert row[kept].min() >= row[~kept].max()


def test_sparsegpt_without_sparsity_is_the_dense_layer():
    problem, *_ = layer(3, 20)
    torch.testing.assert_close(sparsegpt(problem, sparsity=Unstructured(0.0)), problem.weight)


def test_sparsegpt_with_uncorrelated_inputs_is_wanda_over_the_block():
    problem, *_ = layer(5, 16)
    diagonal = torch.diag(problem.gram.diagonal())
    plain = type(problem)(problem.weight, diagonal, diagonal, problem.energy)
    expected = wanda(plain, sparsity=Unstructured(0.5, by_row=False))
    torch.testing.assert_close(sparsegpt(plain, sparsity=Unstructured(0.5), damping=0.0), expected)


def test_sparsegpt_one_column_is_the_optimal_brain_surgeon():
    """Dropping one weight of the last block: the others move by -w_q/[H^-1]_qq [H^-1]_q restricted to later columns."""
    problem, *_ = layer(1, 6)
    weights = sparsegpt(problem, sparsity=Unstructured(1 / 6), damping=0.0)
    q = int((weights == 0).nonzero()[0, 1])
    later = torch.arange(q, 6)
    inverse = torch.linalg.inv(problem.gram[later][:, later])
    expected = problem.weight.clone()
    expected[0, q:] -= problem.weight[0, q] / inverse[0, 0] * inverse[0]
    torch.testing.assert_close(weights, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("shift", [0.0, 0.05])
@pytest.mark.parametrize("pattern", [Unstructured(0.4), NM(2, 4)])
def test_sparsegpt_is_its_definition(pattern, shift):
    """The sweep written out entry by entry, over three blocks, with a dead channel and the damping of the paper."""
    problem, *_ = layer(3, 12, shift=shift)
    gram, cross = problem.gram.clone(), problem.cross.clone()
    gram[5], gram[:, 5], cross[:, 5] = 0, 0, 0
    problem = LayerProblem(problem.weight, gram, gram if shift == 0 else cross, problem.energy, problem.tokens)
    ours = sparsegpt(problem, sparsity=pattern, damping=0.01, block=4)

    hessian = gram.clone()
    hessian[5, 5] = 1
    hessian += 0.01 * hessian.diagonal().mean() * torch.eye(12, dtype=torch.float64)
    u = torch.linalg.cholesky(torch.linalg.inv(hessian), upper=True)
    v = problem.unconstrained(0.01).clone()
    v[:, 5] = 0
    kept = torch.ones(3, 12, dtype=torch.bool)
    zeros = 0
    for j in range(12):
        if j % 4 == 0:
            scores = (v[:, j : j + 4] / u.diagonal()[j : j + 4]).abs()
            if isinstance(pattern, NM):
                kept.scatter_(1, scores.argsort(dim=1, stable=True)[:, :2] + j, False)
            else:
                drop = round(0.4 * 3 * (j + 4)) - zeros
                zeros += drop
                for place in scores.flatten().argsort()[:drop].tolist():
                    kept[place // 4, j + place % 4] = False
        for i in range(3):
            if not kept[i, j]:
                lost = v[i, j] / u[j, j]
                for later in range(j, 12):
                    v[i, later] -= lost * u[j, later]
                v[i, j] = 0
    torch.testing.assert_close(ours, v, rtol=1e-8, atol=1e-12)


def test_sparsegpt_refuses_what_it_cannot_do():
    problem, *_ = layer(2, 8)
    with pytest.raises(TypeError, match="sparsity must be Unstructured or NM"):
        sparsegpt(problem, sparsity=Sparsity(4))
    with pytest.raises(ValueError, match="block must be at least 1, got -1"):
        sparsegpt(problem, sparsity=Unstructured(0.5), block=-1)
    with pytest.raises(ValueError, match="3:7 needs a last dimension divisible by 7"):
        sparsegpt(problem, sparsity=NM(3, 7))
    assert (sparsegpt(problem, sparsity=NM(2, 8), block=3) != 0).sum() == 4


@pytest.mark.parametrize("shift", [0.0, 0.05])
def test_refit_solves_the_masked_least_squares(shift):
    problem, *_ = layer(6, 24, shift=shift)
    start = wanda(problem, sparsity=Unstructured(0.5))
    exact = refit_exact(problem, start)
    masked = (problem.grad(exact) * (start != 0)).abs().max()
    assert float(masked) <= 1e-8 * float(problem.target.abs().max())
    assert ((exact == 0) == (start == 0)).all()
    iterated = refit(problem, start, iterations=200)
    torch.testing.assert_close(iterated, exact, rtol=1e-3, atol=1e-5)
    few = refit(problem, start, iterations=10)
    errors = [float(problem(w)) for w in (start, few, exact)]
    assert errors[0] >= errors[1] >= errors[2] * (1 - 1e-12)


@pytest.mark.parametrize("prune", PRUNERS)
def test_refit_never_raises_the_error(prune):
    problem, *_ = layer(8, 64, seed=4, dtype=torch.float32)
    weights = prune(problem, sparsity=NM(2, 4))
    assert problem.relative_error(refit(problem, weights)) <= problem.relative_error(weights) * (1 + 1e-6)


def test_every_method_stays_above_exhaustive_search():
    """12 columns, 6 kept: the best of all 924 supports bounds everybody from below, refitted FISTA comes near."""
    problem, *_ = layer(1, 12, seed=7)
    best = min(
        float(
            problem.relative_error(
                refit_exact(problem, torch.zeros(1, 12).index_fill(1, torch.tensor(kept), 1.0).double())
            )
        )
        for kept in combinations(range(12), 6)
    )
    errors = {}
    for prune in PRUNERS:
        pruned = prune(problem, sparsity=Unstructured(0.5))
        errors[prune.__name__] = float(problem.relative_error(refit_exact(problem, pruned)))
        assert errors[prune.__name__] >= best * (1 - 1e-9)
    assert errors["fista_path_prune"] <= 1.25 * best


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.5", Unstructured(0.5)), ("2:4", NM(2, 4)), ("0", Unstructured(0.0)), ("1:2", NM(1, 2))],
)
def test_sparsity_is_read_as_people_write_it(text, value):
    assert parse_sparsity(text) == value


@pytest.mark.parametrize("text", ["1", "1.0", "-0.1", "half", "4:2", "2:", "0:4:2", "nan"])
def test_bad_sparsity_is_a_sentence(text):
    with pytest.raises(ValueError, match=f"sparsity must be .* got '{text}'"):
        parse_sparsity(text)


@pytest.mark.parametrize(
    "prune", [magnitude, wanda, fista_prune, fista_path_prune, alps_prune, admm_prune, lambda_start, support_start]
)
@pytest.mark.parametrize(
    ("sparsity", "meant"),
    [(0.5, r"Unstructured\(0\.5\), got 0\.5"), ("2:4", r".* or NM\(2, 4\), got '2:4'"), (NM, r".*, got <class .*NM'>")],
)
def test_what_is_no_pattern_is_a_sentence(prune, sparsity, meant):
    with pytest.raises(TypeError, match=f"sparsity must be a pattern, such as {meant}"):
        prune(layer(4, 8)[0], sparsity=sparsity)


def test_a_bare_fraction_is_a_sentence_for_sparsegpt_and_models():
    with pytest.raises(TypeError, match=r"sparsity must be Unstructured or NM: .*, got 0\.5"):
        sparsegpt(layer(4, 8)[0], sparsity=0.5)
    with pytest.raises(TypeError, match=r"sparsity must be a pattern, such as Unstructured\(0\.5\), got 0\.5"):
        check_pattern(tiny("llama"), 0.5)


def test_pattern_that_does_not_fit_is_a_sentence():
    problem, *_ = layer(2, 6)
    with pytest.raises(ValueError, match="6"):
        magnitude(problem, sparsity=NM(2, 4))


def test_partial_is_the_way_to_a_solver():
    problem, *_ = layer(2, 8)
    solver = partial(wanda, sparsity=NM(2, 4))
    assert solver(problem).shape == (2, 8)
