"""Greedy removal of units against brute force: every step removes the unit whose loss costs least."""

from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layers import inputs, layer
from optsci.compress import GramAccumulator, greedy_select, restore_columns
from optsci.compress.restoration import widened


def error(problem, kept):
    restored = restore_columns(problem, torch.tensor(kept), damping=0)
    return float(problem.squared_error(widened(restored, torch.tensor(kept), problem.weight.shape[1])))


@given(seed=st.integers(0, 200), shift=st.sampled_from([0.0, 0.1]))
@settings(max_examples=10, deadline=None)
def test_every_removal_is_the_cheapest_one(seed, shift):
    problem, *_ = layer(4, 9, seed=seed, shift=shift)
    kept = list(range(9))
    for count in range(8, 3, -1):
        errors = {j: error(problem, [i for i in kept if i != j]) for j in kept}
        kept = greedy_select(problem, count, damping=0).tolist()
        assert error(problem, kept) <= min(errors.values()) * (1 + 1e-6)


def test_never_better_than_exhaustive_search_and_equal_to_it_for_one_removal():
    problem, *_ = layer(4, 8)
    best = {k: min(error(problem, list(s)) for s in combinations(range(8), k)) for k in (7, 5)}
    assert error(problem, greedy_select(problem, 7, damping=0).tolist()) == pytest.approx(best[7], rel=1e-9)
    assert error(problem, greedy_select(problem, 5, damping=0).tolist()) >= best[5] * (1 - 1e-9)


def test_blocks_keep_the_count_and_dead_units_go_first():
    x = inputs(12, 300, seed=2)
    x[:, [3, 7]] = 0
    statistics = GramAccumulator()
    statistics.add(x)
    problem = statistics.problem(torch.randn(4, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    assert greedy_select(problem, 10).tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10, 11]
    assert greedy_select(problem, 11).tolist() == [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11]  # ties go to the lower index
    for block in (2, 3, 100):
        kept = greedy_select(problem, 5, block=block)
        assert len(kept) == 5
        assert not {3, 7} & set(kept.tolist())


def test_fewer_tokens_than_units_and_bad_arguments():
    problem, *_ = layer(6, 64, tokens=8, dtype=torch.float32)
    assert greedy_select(problem, 40).shape == (40,)
    with pytest.raises(ValueError, match=r"count must lie in 1\.\.64"):
        greedy_select(problem, 0)
    with pytest.raises(ValueError, match="block must be at least 1, got 0"):
        greedy_select(problem, 5, block=0)
