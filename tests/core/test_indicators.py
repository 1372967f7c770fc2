"""Sets: exact counts, ties, nearest points by enumeration, and what the constructors refuse."""

from __future__ import annotations

import re

import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import numpy as np
import pytest
import torch

import oracles
from optsci import NM, Box, Nonnegative, Sparsity, Translated

MATRICES = hypothesis.extra.numpy.arrays(
    float, st.tuples(st.integers(1, 4), st.sampled_from([4, 8])), elements=st.integers(-3, 3).map(float)
)


# --- sparsity -----------------------------------------------------------------------------------------------------


@hypothesis.settings(max_examples=60)
@hypothesis.given(scores=MATRICES, keep=st.integers(0, 40))
def test_masks_agree_with_sorting(scores, keep):
    rows, tensor = len(scores), torch.tensor(scores)
    whole = Sparsity(keep).mask(tensor)
    by_row = Sparsity(keep, by_row=True).mask(tensor)
    assert np.array_equal(whole.flatten(), oracles.naive_mask(scores.ravel(), keep))
    assert np.array_equal(by_row, [oracles.naive_mask(row, keep) for row in scores])
    assert whole.sum() == min(keep, scores.size)
    assert (by_row.sum(1) == min(keep, scores.shape[1])).all()
    for n in range(5):
        expected = [oracles.naive_mask(group, n) for group in scores.reshape(-1, 4)]
        assert np.array_equal(NM(n, 4).mask(tensor), np.reshape(expected, (rows, -1)))


@hypothesis.settings(max_examples=40)
@hypothesis.given(v=MATRICES, keep=st.integers(0, 8))
def test_projections_are_nearest_among_all_supports(v, keep):
    tensor = torch.tensor(v)
    by_row = Sparsity(keep, by_row=True)
    for f, rows in ((by_row, v), (NM(min(keep, 4), 4), v.reshape(-1, 4))):
        p = f.prox(tensor, 1.0)
        assert f(p) == 0
        nearest = sum(
            oracles.nearest_with_support_size(row, min(keep, f.m) if isinstance(f, NM) else keep) for row in rows
        )
        assert (p - tensor).square().sum() == nearest


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0])
def test_of_equal_scores_the_first_are_kept(value):
    scores = torch.full((2, 8), value)
    assert Sparsity(3).mask(scores).flatten().tolist() == [True] * 3 + [False] * 13
    assert Sparsity(3, by_row=True).mask(scores).tolist() == [[True] * 3 + [False] * 5] * 2
    assert NM(1, 4).mask(scores).tolist() == [[True, False, False, False] * 2] * 2


def test_any_score_may_choose_not_only_the_magnitude():
    scores = torch.tensor([-5.0, 1.0, 0.0, -2.0])
    assert Sparsity(2).mask(scores).tolist() == [False, True, True, False]
    assert Sparsity(2).mask(torch.tensor([3, 1, 2, 3])).tolist() == [True, False, False, True]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("f", [Sparsity(100), Sparsity(10, by_row=True), NM(2, 4)], ids=repr)
def test_counts_are_exact_in_every_precision(f, dtype):
    # In half precision a thousand values share a few hundred numbers: ties are the rule.
    x = torch.randn(16, 64, generator=torch.Generator().manual_seed(0)).to(dtype)
    kept = {"Sparsity(keep=100, by_row=False)": 100, "Sparsity(keep=10, by_row=True)": 160, "NM(n=2, m=4)": 512}
    p = f.prox(x, 1.0)
    assert p.count_nonzero() == f.mask(x.abs()).sum() == kept[repr(f)]
    assert p.dtype == dtype
    assert not (p[p == 0]).signbit().any()


def test_counts_beyond_the_number_of_entries_keep_everything():
    x = torch.ones(2, 3)
    assert Sparsity(99).mask(x).all()
    assert Sparsity(99, by_row=True).mask(x).all()
    assert NM(4, 4).mask(torch.ones(8)).all()


def test_single_numbers_count_as_one_entry():
    x = torch.tensor(-2.0)
    assert Sparsity(1, by_row=True).prox(x, 1.0) == Sparsity(1).prox(x, 1.0) == x
    assert Sparsity(0, by_row=True).prox(x, 1.0) == Sparsity(0).prox(x, 1.0) == 0


def test_values_tell_the_members():
    x = torch.tensor([[1.0, 0, 2, 0], [0, 0, 0, 0]])
    assert Sparsity(2)(x) == Sparsity(2, by_row=True)(x) == NM(2, 4)(x) == NM(1, 2)(x) == 0
    assert Sparsity(1)(x) == Sparsity(1, by_row=True)(x) == NM(1, 4)(x) == NM(0, 2)(x) == torch.inf


def test_nan_is_kept_where_it_would_be_dropped():
    x = torch.tensor([1.0, torch.nan, 3.0, 0.5])
    for f in (Sparsity(1), Sparsity(0), Sparsity(2, by_row=True), NM(1, 4), NM(0, 2)):
        assert f.prox(x, 1.0)[1].isnan()


def test_infinite_entries_are_projected_like_others():
    p = Sparsity(1).prox(torch.tensor([1.0, -torch.inf, torch.inf]), 1.0)
    assert p.tolist() == [0, -torch.inf, 0]


def test_patterns_are_values():
    assert NM(2, 4) == NM(2, 4) != NM(1, 4)
    assert len({Sparsity(2), Sparsity(2), Sparsity(2, by_row=True)}) == 2
    assert f"{NM(2, 4)} {NM(2, 4)!r}" == "2:4 NM(n=2, m=4)"


@pytest.mark.parametrize("keep", [-1, 0.5, 2.0, "2", None])
def test_sparsity_counts_in_whole_numbers(keep):
    with pytest.raises(ValueError, match=f"^keep must be a whole number, at least 0, got {keep!r}"):
        Sparsity(keep)


@pytest.mark.parametrize(
    ("n", "m", "message"),
    [
        (3, 2, "n must lie between 0 and m, and m be at least 1, got n = 3 and m = 2"),
        (-1, 2, "n must lie between 0 and m, and m be at least 1, got n = -1 and m = 2"),
        (0, 0, "n must lie between 0 and m, and m be at least 1, got n = 0 and m = 0"),
        (0.5, 2, "n must be a whole number, got 0.5"),
        (2, "4", "m must be a whole number, got '4'"),
    ],
)
def test_patterns_are_checked(n, m, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        NM(n, m)


@pytest.mark.parametrize("shape", [(6,), (4, 6), (), (4, 1)])
def test_groups_must_fit(shape):
    for use in (NM(2, 4).mask, NM(2, 4), lambda x: NM(2, 4).prox(x, 1.0)):
        with pytest.raises(
            ValueError, match=re.escape(f"2:4 needs a last dimension divisible by 4, got shape {shape}")
        ):
            use(torch.ones(shape))


# --- box ----------------------------------------------------------------------------------------------------------


def test_bounds_may_be_numbers_arrays_and_infinite():
    x = torch.tensor([-3.0, 0.5, 3.0], dtype=torch.float64)
    assert Box(-torch.inf, 1).prox(x, 1.0).tolist() == [-3, 0.5, 1]
    assert Box(np.array([-1.0, 1, 1]), np.inf).prox(x, 1.0).tolist() == [-1, 1, 3]
    assert Box(0.1, torch.tensor(0.1, dtype=torch.float64)).prox(x, 1.0).tolist() == [0.1, 0.1, 0.1]
    assert Box([0, 1, 2], 2)(torch.tensor([0.0, 1, 2])) == 0


@pytest.mark.parametrize(
    ("lower", "upper", "got"),
    [
        (1, 0, "got lower = 1.0 and upper = 0.0"),
        (float("nan"), 0, "got lower = nan and upper = 0.0"),
        (0, float("nan"), "got lower = 0.0 and upper = nan"),
        (np.inf, np.inf, "got lower = inf and upper = inf"),
        ([0.0, 2.0], [1.0, 1.5], "got lower = 2.0 and upper = 1.5"),
        (torch.tensor([0.0, 0.0]), -1, "got lower = 0.0 and upper = -1.0"),
    ],
)
def test_empty_boxes_are_refused(lower, upper, got):
    with pytest.raises(ValueError, match=rf"^lower must be at most upper, and .*, {got}"):
        Box(lower, upper)


def test_bounds_must_agree_and_fit():
    with pytest.raises(ValueError, match=r"^upper is torch\.float64, what it is combined with is torch\.float32"):
        Box(torch.zeros(2), torch.ones(2, dtype=torch.float64))
    for use in (Box(0, [1, 2]), lambda x: Box(0, [1, 2]).prox(x, 1.0)):
        with pytest.raises(ValueError, match=r"^upper of shape \(2,\) does not broadcast to the shape \(3,\) of x"):
            use(torch.ones(3))


def test_the_conjugate_of_the_nonnegative_cone_is_the_polar_cone():
    v = torch.tensor([-2.0, 0.0, 3.0])
    p, q = Nonnegative().prox(v, 1.0), Nonnegative().conjugate.prox(v, 1.0)
    assert torch.equal(p + q, v)
    assert (p * q).sum() == 0


def test_sets_may_be_moved():
    f = Translated(Sparsity(1), [1.0, 1.0, 1.0])
    assert f.prox(torch.tensor([5.0, 2.0, 0.5]), 1.0).tolist() == [5, 1, 1]
