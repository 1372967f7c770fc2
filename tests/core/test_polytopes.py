"""Polytopes of vectors and of matrices: optimality of projections, corners by enumeration, refusals."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import torch

from optsci import Birkhoff, BoxSection, CappedSimplex, TransportPolytope


def test_capped_simplex_is_a_clip_or_a_section():
    f, v = CappedSimplex(2.5), torch.tensor([3.0, 0.9, 0.8, -0.4, 0.1], dtype=torch.float64)
    section = BoxSection(0, 1, torch.ones(5).double(), 2.5)
    torch.testing.assert_close(f.prox(v, 1.0), section.prox(v, 1.0), rtol=0, atol=1e-15)
    assert torch.equal(f.prox(v - 0.5, 1.0), (v - 0.5).clamp(0, 1))
    assert torch.equal(CappedSimplex(9).prox(v, 1.0), v.clamp(0, 1))
    assert torch.equal(CappedSimplex(0).prox(v, 1.0), torch.zeros(5).double())


@pytest.mark.parametrize("k", [0, 1, 2.5, 4, 7])
def test_capped_simplex_minimises_at_the_best_corner(k):
    d = torch.tensor([[0.3, -1.0, -0.2, -1.0], [-0.1, -0.2, 0.0, -3.0]], dtype=torch.float64)
    z = CappedSimplex(k).lmo(d)
    assert CappedSimplex(k)(z) == 0
    # At a corner all entries but one are 0 or 1.
    corners = [c for c in itertools.product([0, 1, k % 1], repeat=4) if sum(c) <= k]
    best = (torch.tensor(corners, dtype=d.dtype) @ d.mT).amin(0)
    torch.testing.assert_close((d * z).sum(-1), best)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1e6])
@pytest.mark.parametrize("n", [1, 2, 7, 30])
def test_doubly_stochastic_projection_is_optimal_to_machine_precision(n, scale):
    v = scale * torch.randn(3, n, n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    v[1] = v[1].round()  # ties
    p = Birkhoff().prox(v, 1.0)
    assert (p >= 0).all()
    torch.testing.assert_close(p.sum(-1), torch.ones(3, n).double(), rtol=0, atol=1e-13)
    torch.testing.assert_close(p.sum(-2), torch.ones(3, n).double(), rtol=0, atol=1e-13)
    # (v - p, z - p) <= 0 for every z of the set: the best z is a permutation.
    normal = v - p
    best = Birkhoff().lmo(-normal)
    assert ((normal * (best - p)).sum((-2, -1)) <= 1e-12 * n * max(scale, 1)).all()


def test_transport_projection_is_optimal_to_machine_precision():
    generator = torch.Generator().manual_seed(0)
    r = torch.rand(5, generator=generator, dtype=torch.float64)
    c = torch.rand(8, generator=generator, dtype=torch.float64)
    c *= r.sum() / c.sum()
    f = TransportPolytope(r, c)
    v = torch.randn(5, 8, generator=generator, dtype=torch.float64)
    p = f.prox(v, 1.0)
    torch.testing.assert_close(p.sum(-1), r, rtol=0, atol=1e-15)
    torch.testing.assert_close(p.sum(-2), c, rtol=0, atol=1e-15)
    for other in (torch.outer(r, c) / r.sum(), *(f.prox(v.roll(k, -1), 1.0) for k in range(1, 8))):
        assert ((v - p) * (other - p)).sum() <= 1e-14


def test_the_plan_is_differentiable_in_the_marginals():
    v = torch.tensor([[0.4, 0.3, -2.0], [0.1, 0.5, 0.2]], dtype=torch.float64)
    r = torch.tensor([0.5, 0.5], dtype=torch.float64, requires_grad=True)
    theta = torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda r, theta: TransportPolytope(r, theta.softmax(0) * r.sum()).prox(v, 1.0), (r, theta)
    )


def test_assignments_agree_with_the_enumeration_of_permutations():
    d = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    z = Birkhoff().lmo(d)
    assert (z.dtype, z.shape) == (d.dtype, d.shape)
    assert Birkhoff()(z) == 0
    costs = [d[..., range(4), list(order)].sum(-1) for order in itertools.permutations(range(4))]
    torch.testing.assert_close((d * z).sum((-2, -1)), torch.stack(costs).amin(0))


def test_points_off_by_more_than_rounding_are_outside():
    p = torch.full((3, 3), 1 / 3, dtype=torch.float64)
    assert Birkhoff()(p) == 0
    shift = torch.zeros_like(p)
    shift[0, 0] = 1e-12
    assert Birkhoff()(p + shift) == torch.inf
    corner = torch.eye(2, dtype=torch.float64)
    swap = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    assert Birkhoff()(corner + 1e-12 * swap) == torch.inf
    assert Birkhoff()(corner - 1e-12 * swap) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CappedSimplex(-1), "k must be finite and at least 0, got -1.0"),
        (lambda: CappedSimplex(1)(torch.ones(())), "x must be a vector of at least one entry, or a batch of them, got"),
        (lambda: Birkhoff()(torch.ones(2, 3)), "x must be a square matrix, or a batch of them, got shape (2, 3)"),
        (lambda: Birkhoff().prox(torch.ones(2), 1.0), "x must be a square matrix, or a batch of them, got shape (2,)"),
        (lambda: TransportPolytope([1.0, 2.0], [4.0]), "r and c must have the same total, got 3 and 4"),
        (lambda: TransportPolytope([1.0, -2.0], [-1.0]), "r must be finite and at least 0, got -2.0"),
        (lambda: TransportPolytope([1.0], [[1.0]]), "c must be a vector of at least one number, got shape (1, 1)"),
        (
            lambda: TransportPolytope([1.0], [0.5, 0.5])(torch.ones(2, 2)),
            "x must end in the dimensions (1, 2) of r and c, got shape (2, 2)",
        ),
        (
            lambda: TransportPolytope(np.ones(1), np.ones(1)).prox(torch.ones(1, 1), 1.0),
            "r is torch.float64, x is torch.float32: convert one of them",
        ),
    ],
)
def test_they_refuse_in_one_sentence(make, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        make()
