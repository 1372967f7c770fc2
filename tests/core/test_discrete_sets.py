"""Sets of isolated values and the sparse simplex: ties, enumeration, refusals."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import torch

from optsci import Binary, Codebook, SparseSimplex


def test_ties_go_to_the_lower_level_and_levels_need_no_order():
    x = torch.tensor([-9.0, -1.0, -0.5, 0.5, 0.51, 2.0, 2.01, torch.inf])
    book = Codebook([1.0, 3.0, -2.0, 0.0])
    assert book.prox(x, 1.0).tolist() == [-2, -2, 0, 0, 1, 1, 3, 3]
    assert book.codes(x).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert Binary(0, 1).prox(torch.tensor([0.5, 0.5000001]), 1.0).tolist() == [0, 1]


def test_a_value_between_levels_is_outside():
    for f in (Binary(), Codebook([0.0, 1.0])):
        assert f(torch.tensor([0.0, 1.0, 1.0])) == 0
        assert f(torch.tensor([0.0, 1e-30])) == torch.inf
        assert f(torch.tensor([torch.nan])) == torch.inf
        assert f.lmo(torch.tensor([2.0, -1.0, 0.0])).tolist() == [0, 1, 1]


def test_levels_far_apart_have_a_middle():
    book = Codebook(torch.tensor([-3e38, -1e38]))
    assert book.prox(torch.tensor([-2.5e38, -1.5e38]), 1.0).tolist() == book.levels.tolist()


@pytest.mark.parametrize("seed", range(10))
def test_sparse_simplex_beats_every_support(seed):
    v = np.random.default_rng(seed).normal(size=6)
    keep = 1 + seed % 4
    p = SparseSimplex(keep, 1.5).prox(torch.from_numpy(v), 1.0)
    assert p.count_nonzero() <= keep
    assert abs(p.sum() - 1.5) < 1e-14
    distances = []
    for size in range(1, keep + 1):
        for support in map(list, itertools.combinations(range(6), size)):
            z = np.zeros(6)
            z[support] = v[support] + (1.5 - v[support].sum()) / size  # the projection on the affine hull
            if (z >= 0).all():
                distances.append(np.sum((z - v) ** 2))
    assert np.sum((p.numpy() - v) ** 2) == pytest.approx(min(distances), rel=1e-13)


def test_sparse_simplex_keeps_the_lower_index_and_knows_its_members():
    f = SparseSimplex(2)
    assert f.prox(torch.zeros(4), 1.0).tolist() == [0.5, 0.5, 0, 0]
    assert f(torch.tensor([0.25, 0.75, 0.0])) == 0
    assert f(torch.tensor([0.25, 0.25, 0.5])) == torch.inf
    assert f(torch.tensor([0.25, 0.749, 0.0])) == torch.inf
    assert f(torch.tensor([-0.25, 1.25, 0.0])) == torch.inf
    assert f.lmo(torch.tensor([[3.0, -1.0, -1.0], [0.0, 1.0, 2.0]])).tolist() == [[0, 1, 0], [1, 0, 0]]
    far = f.prox(torch.tensor([1e6, 1e6 + 0.5, 0.0]), 1.0)
    assert far.tolist() == [0.25, 0.75, 0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Binary(1, 1), "lower must be smaller than upper, got lower = 1.0 and upper = 1.0"),
        (lambda: Binary(0, torch.inf), "upper must be finite, got inf"),
        (lambda: Binary([0.0, 1.0])(torch.ones(3)), "lower must be smaller than upper, got lower = 1.0 and upper"),
        (lambda: Binary([0.0, 0.5])(torch.ones(3)), "lower of shape (2,) does not broadcast to the shape (3,) of x"),
        (lambda: Codebook([]), "levels must be a vector of at least one number, got shape (0,)"),
        (lambda: Codebook(1.0), "levels must be a vector of at least one number, got shape ()"),
        (lambda: Codebook([0.0, torch.nan]), "levels must be finite, got nan"),
        (lambda: Codebook(np.ones(2)).prox(torch.ones(2), 1.0), "levels is torch.float64, x is torch.float32: conv"),
        (lambda: SparseSimplex(0), "keep must be a whole number, at least 1, got 0"),
        (lambda: SparseSimplex(2, 0), "total must be finite and positive, got 0.0"),
        (lambda: SparseSimplex(2)(torch.ones(())), "x must be a vector of at least one entry, or a batch of them, got"),
    ],
)
def test_they_refuse_in_one_sentence(make, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        make()
