"""The squared k-support norm against the norms it interpolates, and its variational form."""

from __future__ import annotations

import re

import pytest
import torch

from optsci import SquaredKSupport, SquaredL1, SquaredL2


def vectors() -> torch.Tensor:
    return 3 * torch.randn(20, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(("k", "end"), [(1, SquaredL1(0.7)), (6, SquaredL2(0.7)), (9, SquaredL2(0.7))])
def test_ends_are_the_squared_l1_and_l2_norms(k, end):
    x, f = vectors(), SquaredKSupport(0.7, k)
    torch.testing.assert_close(f(x), end(x))
    torch.testing.assert_close(f.prox(x, 1.3), end.prox(x, 1.3))


@pytest.mark.parametrize("k", [2, 3, 5])
def test_value_is_that_of_its_dual_norm(k):
    # <x, y> <= g(x) + g*(y), where g* is half the sum of the k largest squares; equal for y = (v - p)/s, x = p.
    g, v = SquaredKSupport(1.0, k), vectors()
    p = g.prox(v, 0.5)
    y = (v - p) / 0.5
    dual = y.square().topk(k).values.sum(-1) / 2
    values = torch.vmap(g)(p)
    torch.testing.assert_close(values + dual, (p * y).sum(-1))


def test_vector_of_k_nonzeros_pays_its_euclidean_norm():
    assert SquaredKSupport(2.0, 3)(torch.tensor([3.0, 0.0, -4.0, 0.0])) == 25
    assert torch.equal(SquaredKSupport(0.0, 2).prox(vectors(), 1.0), vectors())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SquaredKSupport(-1, 2), "weight must be finite and at least 0, got -1.0"),
        (lambda: SquaredKSupport(1, 0), "k must be a whole number, at least 1, got 0"),
        (lambda: SquaredKSupport(1, 1).prox(torch.ones(2), torch.ones(2)), "step of shape (2,) does not broadcast"),
    ],
)
def test_refusals_are_one_sentence(make, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        make()
