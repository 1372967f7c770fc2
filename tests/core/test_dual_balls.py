"""Sets and functions known by their conjugates: against hulls and enumerated permutations, and for large entries."""

from __future__ import annotations

import itertools
import re

import pytest
import torch

from optsci import Permutahedron, PermutahedronSupport, Power, Schatten, SLOPEBall, SparseGroupBall, SpectralBall


def vectors() -> torch.Tensor:
    return 3 * torch.randn(20, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_support_of_a_permutahedron_is_the_largest_product_with_a_permutation():
    w, x = torch.tensor([0.5, 2.0, -1.0, 0.0], dtype=torch.float64), vectors()
    permuted = torch.stack([w[list(p)] for p in itertools.permutations(range(4))])
    torch.testing.assert_close(PermutahedronSupport(w)(x), (x @ permuted.T).amax(-1).sum())
    assert Permutahedron(w).conjugate.conjugate.w.tolist() == [2.0, 0.5, 0.0, -1.0]


def test_slope_ball_is_the_hull_of_signed_permutations():
    w, d = torch.tensor([2.0, 1.0, 1.0, 0.5], dtype=torch.float64), vectors()
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=4)), dtype=torch.float64)
    corners = torch.cat([w[list(p)] * signs for p in itertools.permutations(range(4))])
    torch.testing.assert_close((d * SLOPEBall(w).lmo(d)).sum(-1), (d @ corners.T).amin(-1))
    assert SLOPEBall(w)(corners) == 0
    assert SLOPEBall(w)(1.001 * corners) == torch.inf


def test_sparse_group_ball_is_the_sum_of_a_box_and_a_ball():
    x = vectors()
    inside = x.sign() * 0.5 + 0.8 * x / x.norm(dim=-1, keepdim=True)
    assert SparseGroupBall(0.5, 0.8)(inside) == 0
    assert SparseGroupBall(0.5, 0.8)(1.001 * inside) == torch.inf
    assert torch.equal(SparseGroupBall(0.5, 0.8).prox(0.9 * inside, 1.0), 0.9 * inside)


@pytest.mark.parametrize(
    ("ball", "x", "expected"),
    [
        (SLOPEBall([2.0, 1.0]), [3e10, -1e10], [2.0, -1.0]),
        (SLOPEBall([2.0, 1.0]), [3e10, -0.25], [2.0, -0.25]),
        (SparseGroupBall(1.0, 5.0), [3e10, -4e10], [4.0, -5.0]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_projection_of_large_entries(ball, x, expected):
    torch.testing.assert_close(ball.prox(torch.tensor(x), 1.0), torch.tensor(expected))


@pytest.mark.parametrize("f", [Power(0.7, 1.5), Power(2.0, 4.0), Schatten(0.7, 1.5), Schatten(0.7, 3)], ids=repr)
def test_powers_are_their_own_biconjugates(f):
    x = vectors()
    torch.testing.assert_close(f.conjugate.conjugate(x), f(x))


def test_schatten_of_exponent_1_has_the_ball_of_the_nuclear_norm():
    assert isinstance(Schatten(0.7, 1).conjugate, SpectralBall)
    assert Schatten(0.7, 1).conjugate.radius == 0.7


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SLOPEBall([1.0, 2.0]), "weights must not increase, got 1.0 before 2.0"),
        (lambda: SLOPEBall([1.0])(torch.ones(3)), "x must have 1 entries along its last dimension, got (3,)"),
        (lambda: PermutahedronSupport([[1.0]]), "w must be a vector, got shape (1, 1)"),
        (lambda: PermutahedronSupport([1.0])(torch.ones(3)), "x must have 1 entries along its last dimension, got"),
        (lambda: SparseGroupBall(-1, 1), "l1 must be finite and at least 0, got -1.0"),
        (lambda: SparseGroupBall(1, -1), "l2 must be finite and at least 0, got -1.0"),
    ],
)
def test_refusals_are_one_sentence(make, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        make()
