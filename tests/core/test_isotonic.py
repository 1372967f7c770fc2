"""Isotonic regression against its formula, and the extreme points of a permutahedron."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import torch

from optsci import SLOPE, MonotoneCone, Permutahedron, SquaredL1, SumLargest
from optsci.functions.isotonic import isotonic_regression


def by_formula(x):
    n = len(x)
    return [max(min(x[j : k + 1].mean() for k in range(i, n)) for j in range(i + 1)) for i in range(n)]


@pytest.mark.parametrize("seed", range(5))
def test_isotonic_regression_agrees_with_its_max_min_formula(seed):
    x = np.random.default_rng(seed).integers(-3, 4, 12).astype(float)
    expected = torch.tensor(by_formula(x), dtype=torch.float64)
    torch.testing.assert_close(isotonic_regression(torch.from_numpy(x)), expected)


def test_one_nan_spoils_its_vector_and_no_other():
    p = MonotoneCone().prox(torch.tensor([[1.0, torch.nan, 2.0], [1.0, 0.0, 2.0]]), 1.0)
    assert p[0].isnan().all()
    assert torch.equal(p[1], torch.tensor([0.5, 0.5, 2.0]))


def test_lmo_of_a_permutahedron_is_the_best_permutation():
    w, d = [0.5, 2.0, -1.0, 0.5], torch.tensor([0.3, -1.0, 0.7, -0.2])
    best = min((d @ torch.tensor(z)).item() for z in itertools.permutations(w))
    z = Permutahedron(w).lmo(d)
    assert (d @ z).item() == pytest.approx(best)
    assert sorted(z.tolist()) == sorted(w)


def test_permutahedron_of_a_unit_vector_is_the_simplex():
    from optsci import Simplex

    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    unit = torch.tensor([0.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(Permutahedron(unit).prox(x, 1.0), Simplex().prox(x, 1.0))


def test_slope_of_equal_weights_is_l1_and_of_one_weight_is_linf():
    from optsci import L1, LInf

    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for weights, f in (([0.7] * 4, L1(0.7)), ([0.7, 0, 0, 0], LInf(0.7))):
        slope = SLOPE(torch.tensor(weights, dtype=torch.float64))
        torch.testing.assert_close(slope(x), f(x))
        torch.testing.assert_close(slope.prox(x, 0.9), f.prox(x, 0.9))


def test_sum_of_the_largest_one_is_the_maximum_and_of_all_is_the_sum():
    from optsci import Max

    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(SumLargest(0.7, 1).prox(x, 0.9), Max(0.7).prox(x, 0.9))
    torch.testing.assert_close(SumLargest(0.7, 4).prox(x, 0.9), x - 0.63)
    torch.testing.assert_close(SumLargest(0.7, 9)(x), 0.7 * x.sum())


@pytest.mark.parametrize("f", [SLOPE(torch.tensor([1.0, 0.5, 0.5, 0.1])), SquaredL1(), SumLargest(0.7, 2)])
def test_step_may_differ_from_vector_to_vector(f):
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    p = f.prox(x, torch.tensor([[0.0], [0.5], [9.0]]))
    for row, step in enumerate((0.0, 0.5, 9.0)):
        torch.testing.assert_close(p[row], f.prox(x[row], step))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SLOPE([1.0, 2.0]), "weights must not increase, got 1.0 before 2.0"),
        (lambda: SLOPE([1.0, -2.0]), "weights must be finite and at least 0, got -2.0"),
        (lambda: SLOPE([[1.0]]), "weights must be a vector, got shape (1, 1)"),
        (lambda: SLOPE([1.0])(torch.ones(3)), "x must have 1 entries along its last dimension, got (3,)"),
        (lambda: Permutahedron([1.0])(torch.ones(3)), "x must have 1 entries along its last dimension, got (3,)"),
        (lambda: Permutahedron(1.0), "w must be a vector, got shape ()"),
        (lambda: SumLargest(1.0, 0), "k must be a whole number, at least 1, got 0"),
        (lambda: SquaredL1(-1), "weight must be finite and at least 0, got -1.0"),
    ],
)
def test_refusals_are_one_sentence(make, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        make()
