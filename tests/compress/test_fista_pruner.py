"""FISTA on the layer problem against the lasso's own optimality conditions, and the two searches over lambda."""

import json
from functools import partial
from itertools import islice, pairwise

import pytest
import torch
from sklearn.linear_model import Lasso

from layers import layer
from optsci import L1, fista, solve
from optsci.compress import (
    NM,
    Unstructured,
    fista_path_prune,
    fista_prune,
    fista_with_refit,
    lambda_bisection,
    lambda_path,
    refit,
    sparsegpt,
    wanda,
)
from optsci.momentum import gradient_restart


@pytest.mark.parametrize("shift", [0.0, 0.05])
def test_fista_reaches_the_kkt_conditions(shift):
    problem = layer(5, 20, shift=shift)[0].scaled()[0]
    weight = 0.05 * float(problem.target.abs().max())
    steps = fista(problem, L1(weight), torch.zeros_like(problem.weight), restart=gradient_restart)
    v = solve(steps, tol=1e-13, max_iter=20_000).x
    gradient = problem.grad(v)
    on, off = v != 0, v == 0
    assert on.any()
    assert off.any()
    assert float((gradient + weight * v.sign())[on].abs().max()) <= 1e-6 * weight
    assert float(gradient[off].abs().max()) <= weight * (1 + 1e-6)


def test_rows_are_lassos_of_their_own():
    problem, seen, x = layer(3, 10, tokens=200)
    weight = 0.1 * float(problem.target.abs().max())
    v = solve(
        fista(problem, L1(weight), torch.zeros_like(problem.weight), restart=gradient_restart),
        tol=1e-13,
        max_iter=50_000,
    ).x
    for row, dense in zip(v, problem.weight, strict=True):
        peer = Lasso(alpha=weight, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(
            seen.numpy(), (x @ dense).numpy()
        )
        torch.testing.assert_close(row, torch.from_numpy(peer.coef_), rtol=1e-5, atol=1e-7)


def test_the_largest_lambda_gives_zero_and_none_gives_the_dense_layer():
    problem, *_ = layer(3, 6)
    largest = float(problem.target.abs().max())
    start = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    zero = solve(fista(problem, L1(1.0001 * largest), start, restart=gradient_restart), tol=1e-12, max_iter=20_000).x
    assert (zero == 0).all()
    dense = solve(fista(problem, L1(0.0), start, restart=gradient_restart), tol=1e-14, max_iter=100_000).x
    torch.testing.assert_close(dense, problem.weight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("search", [lambda_bisection, lambda_path])
@pytest.mark.parametrize("pattern", [Unstructured(0.5), NM(2, 4)])
@pytest.mark.parametrize("shift", [0.0, 0.05])
def test_the_best_error_never_rises(search, pattern, shift):
    problem, *_ = layer(8, 32, shift=shift, dtype=torch.float32)
    start = wanda(problem, sparsity=pattern)
    states = list(islice(search(problem, start, sparsity=pattern), 12))
    errors = [float(problem.relative_error(start)), *(float(s.residual) for s in states)]
    assert all(later <= earlier for earlier, later in pairwise(errors))
    if search is lambda_path:  # the published search may end without having found anything better
        assert errors[-1] < errors[0]
    for state in states:
        assert float(problem.relative_error(state.x)) == pytest.approx(float(state.residual), rel=1e-6)
        assert ((state.x != 0) <= pattern.mask(state.x.abs())).all()


def test_bisection_follows_the_share_of_the_rounding():
    problem, *_ = layer(8, 32)
    states = list(islice(lambda_bisection(problem, wanda(problem, sparsity=NM(2, 4)), sparsity=NM(2, 4)), 8))
    assert states[0].l1_weight == pytest.approx(1e-5 / problem.tokens)
    for state, later in pairwise(states):
        raised = (state.rounded - state.fitted) / state.rounded > 0.3
        assert (later.l1_weight > state.l1_weight) == bool(raised)


def test_bisection_stops_after_its_patience():
    """Started where nothing can be gained (a dense pattern at the optimum), it ends after T rounds."""
    problem, *_ = layer(3, 6)
    assert len(list(lambda_bisection(problem, problem.weight, sparsity=Unstructured(0.0), patience=3))) == 3


@pytest.mark.parametrize("prune", [fista_prune, fista_path_prune])
def test_a_start_outside_the_pattern_is_rounded_first(prune):
    problem, *_ = layer(6, 32)
    for start in (sparsegpt, lambda problem, sparsity: problem.weight):  # other counts by row; no zeros at all
        weights = prune(problem, sparsity=Unstructured(0.5), start=start)
        assert ((weights != 0).sum(1) <= 16).all()


def test_bad_options_are_sentences():
    problem, *_ = layer(2, 8)
    for options, sentence in [
        ({"path": ()}, r"path must hold positive fractions, got \(\)"),
        ({"path": (float("nan"),)}, "path must hold positive fractions"),
        ({"iterations": 0}, "iterations must be at least 1, got 0"),
        ({"damping": -1.0}, "damping must be at least 0"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            fista_path_prune(problem, sparsity=Unstructured(0.5), **options)
    for name in ("iterations", "patience", "rounds"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            fista_prune(problem, sparsity=Unstructured(0.5), **{name: 0})


@pytest.mark.parametrize("prune", [fista_prune, fista_path_prune])
@pytest.mark.parametrize("start", [wanda, sparsegpt])
def test_never_worse_than_its_start(prune, start):
    problem, *_ = layer(6, 48, seed=2, dtype=torch.float32)
    error = problem.relative_error(prune(problem, sparsity=NM(2, 4), start=start))
    assert error <= problem.relative_error(start(problem, sparsity=NM(2, 4)))


def test_the_path_does_not_depend_on_the_units_of_the_inputs():
    problem, *_ = layer(6, 32)
    big = type(problem)(problem.weight, 1e6 * problem.gram, 1e6 * problem.gram, 1e6 * problem.energy, problem.tokens)
    big = type(problem)(big.weight, big.gram, big.gram, big.energy, big.tokens)
    ours, scaled = (fista_path_prune(p, sparsity=Unstructured(0.5)) for p in (problem, big))
    torch.testing.assert_close(ours, scaled, rtol=1e-6, atol=1e-9)


def test_both_searches_beat_their_start():
    """Outlier channels, condition number in the hundred thousands."""
    problem, *_ = layer(24, 96, tokens=2000, shift=0.05, seed=1)
    pattern = Unstructured(0.5)
    start, paper, path = (
        float(problem.relative_error(prune(problem, sparsity=pattern)))
        for prune in (wanda, fista_prune, fista_path_prune)
    )
    assert path < start
    assert paper < start


@pytest.mark.parametrize("prune", [fista_prune, fista_path_prune])
def test_every_round_of_lambda_can_be_watched(prune):
    problem, *_ = layer(6, 32)
    log = []
    weights = prune(problem, sparsity=Unstructured(0.5), start=sparsegpt, watch=lambda s: log.append(s.summary()))
    best = [row["best"] for row in json.loads(json.dumps(log))]
    assert len(best) > 2
    assert best == sorted(best, reverse=True)
    assert best[-1] == pytest.approx(float(problem.relative_error(weights)))
    assert all(row["best"] <= row["rounded"] for row in log)


@pytest.mark.parametrize("pattern", [Unstructured(0.5), Unstructured(0.5, by_row=False), NM(2, 4)])
def test_the_short_path_of_the_comparison_loses_little(pattern):
    """Against the whole path with a longer polish, on layers where both have the same refit."""
    for seed in range(3):
        problem, *_ = layer(16, 64, seed=seed, dtype=torch.float32)
        long = fista_path_prune(problem, sparsity=pattern, polish=partial(refit, iterations=10))
        short = fista_with_refit(pattern)(problem)
        assert problem.relative_error(short) <= 1.05 * problem.relative_error(refit(problem, long))
