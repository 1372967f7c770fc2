"""The k-support norm and its square against the norms it interpolates, and its variational form."""

from __future__ import annotations

import itertools
import re

import pytest
import torch

from optsci import L1, L2, Box, KSupport, L2Ball, LargestL2Ball, SquaredKSupport, SquaredL1, SquaredL2, SquaredLargestL2


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


@pytest.mark.parametrize(("k", "norm", "ball"), [(1, L1(0.7), Box(-0.7, 0.7)), (6, L2(0.7), L2Ball(0.7))])
def test_ends_are_the_l1_and_l2_norms_and_their_dual_balls(k, norm, ball):
    x, f, g = vectors(), KSupport(0.7, k), LargestL2Ball(0.7, k)
    torch.testing.assert_close(f(x), norm(x))
    torch.testing.assert_close(f.prox(x, 1.3), norm.prox(x, 1.3))
    torch.testing.assert_close(g.prox(x, 1.0), ball.prox(x, 1.0))
    torch.testing.assert_close(g(g.lmo(x)), x.new_zeros(()))


def test_without_weight_the_conjugates_are_the_indicator_of_0():
    x = vectors()
    for f in (SquaredKSupport(0.0, 2), SquaredLargestL2(0.0, 2), SquaredL1(0.0)):
        assert torch.equal(f.prox(x, 1.3), x)
        assert torch.equal(f.conjugate.prox(x, 1.3), torch.zeros_like(x))


@pytest.mark.parametrize("k", [2, 3, 5])
def test_the_ball_of_the_norm_is_the_hull_of_unit_vectors_with_k_nonzeros(k):
    # The k-support norm of x is the largest <x, u> over the dual ball, whose points are at most 1 on every support.
    x, ball = vectors(), LargestL2Ball(1.0, k)
    torch.testing.assert_close(KSupport(1.0, k)(x), -(x * ball.lmo(x)).sum())
    supports = torch.tensor([[float(i in c) for i in range(6)] for c in itertools.combinations(range(6), k)]).double()
    largest = (ball.lmo(x).square() @ supports.T).amax(-1).sqrt()
    torch.testing.assert_close(largest, torch.ones(20, dtype=torch.float64))


def test_the_norm_is_0_where_the_dual_norm_is_below_the_threshold():
    x = torch.tensor([3.0, -3.9, 1.0])
    assert torch.equal(KSupport(1.0, 2).prox(x, 5.0), torch.zeros(3))
    assert KSupport(1.0, 2).prox(x, 4.9).count_nonzero() > 0
    assert torch.equal(KSupport(0.0, 2).prox(x, 5.0), x)


def test_projection_of_large_entries():
    p = LargestL2Ball(5.0, 2).prox(torch.tensor([3e10, -4e10, 0.5]), 1.0)
    torch.testing.assert_close(p, torch.tensor([3.0, -4.0, 0.5]))
    assert torch.equal(LargestL2Ball(0.0, 2).prox(torch.tensor([3.0, -4.0]), 1.0), torch.zeros(2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SquaredKSupport(-1, 2), "weight must be finite and at least 0, got -1.0"),
        (lambda: SquaredKSupport(1, 0), "k must be a whole number, at least 1, got 0"),
        (lambda: KSupport(-1, 2), "weight must be finite and at least 0, got -1.0"),
        (lambda: KSupport(1, 1.5), "k must be a whole number, at least 1, got 1.5"),
        (lambda: LargestL2Ball(-1, 2), "radius must be finite and at least 0, got -1.0"),
        (lambda: KSupport(1, 1).prox(torch.ones(2), torch.ones(2)), "step of shape (2,) does not broadcast"),
        (lambda: SquaredKSupport(1, 1).prox(torch.ones(2), torch.ones(2)), "step of shape (2,) does not broadcast"),
    ],
)
def test_refusals_are_one_sentence(make, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        make()
