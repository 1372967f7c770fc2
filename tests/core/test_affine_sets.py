"""Sets cut out by linear equations and inequalities: refusals, references, precision far away."""

from __future__ import annotations

import re

import numpy as np
import pytest
import scipy.optimize
import torch

from optsci import Affine, BoxSection, Graph, Halfspace, Hyperplane, Hyperslab


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Halfspace([[1.0]], 0), "a must be a vector, got shape (1, 1)"),
        (lambda: Hyperplane([0.0, 0.0], 1), "a must not be 0: a hyperplane needs a normal"),
        (lambda: Hyperplane([1.0, torch.nan], 1), "a must be finite, got nan"),
        (lambda: Halfspace([1.0], torch.inf), "b must be finite, got inf"),
        (lambda: Halfspace([1.0], [1.0, 2.0]), "b must be a single number, got shape (2,)"),
        (lambda: Hyperslab([1.0], 2, 1), "lower must be at most upper"),
        (lambda: Hyperplane([1.0], 0)(torch.ones(3)), "a of shape (1,) needs x of last dimension 1, got shape (3,)"),
        (lambda: Hyperplane([1.0], 0).prox(torch.ones(()), 1.0), "a of shape (1,) needs x of last dimension 1"),
        (lambda: Affine([1.0], [1.0]), "A must be a matrix, got shape (1,)"),
        (lambda: Affine([[1.0, 2.0]], [1.0, 2.0]), "b must have shape (1,), as A has 1 rows, got (2,)"),
        (lambda: Affine([[1.0, 1.0], [1.0, 1.0]], [0.0, 1.0]), "A x = b has no solution: the best x leaves a resid"),
        (lambda: Affine([[0.0, 0.0]], [1e-3]), "A x = b has no solution"),
        (lambda: Graph([[1.0, 2.0]])(torch.ones(2)), "A of shape (1, 2) needs x of last dimension 3, got shape (2,)"),
        (
            lambda: BoxSection(0, 1, [1.0, -2.0], 1.5),
            "no point of the box satisfies <a, x> = b: there <a, x> lies between -2 and 1, got b = 1.5",
        ),
        (lambda: BoxSection(0, torch.inf, [1.0, 2.0], -0.1), "no point of the box satisfies <a, x> = b"),
        (lambda: BoxSection(1, 0, [1.0, 2.0], 0.1), "lower must be at most upper"),
    ],
)
def test_they_refuse_in_one_sentence(make, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        make()


def test_dtypes_are_not_mixed():
    with pytest.raises(ValueError, match=r"^a is torch\.float64, x is torch\.float32: convert one of them"):
        Halfspace(np.ones(2), 0).prox(torch.ones(2), 1.0)


@pytest.mark.parametrize("distance", [1e3, 1e8])
@pytest.mark.parametrize(
    "f",
    [
        Halfspace(torch.tensor([0.3, -1.1, 0.7]).double(), 0.9),
        Hyperplane(torch.tensor([0.3, -1.1, 0.7]).double(), 0.9),
        Affine(torch.tensor([[0.3, -1.1, 0.7], [1.0, 1.0, 0.1]]).double(), torch.tensor([1.0, 2.0]).double()),
        BoxSection(-1, 1, torch.tensor([0.3, -1.1, 0.7]).double(), 0.9),
    ],
    ids=lambda f: type(f).__name__,
)
def test_points_from_far_away_land_in_the_set_and_a_near_miss_is_outside(f, distance):
    v = distance * torch.tensor([0.3, -1.1, 0.7], dtype=torch.float64)
    p = f.prox(v, 1.0)
    assert f(p) == 0
    assert f(p + 1e-12 * v / v.norm()) == torch.inf


def test_a_parameter_that_is_learned_has_a_gradient():
    v = torch.tensor([2.0, -1.0, 0.4], dtype=torch.float64)
    a = torch.tensor([0.3, -1.1, 0.7], dtype=torch.float64, requires_grad=True)
    b = torch.tensor(0.9, dtype=torch.float64, requires_grad=True)
    A = torch.tensor([[0.3, -1.1, 0.7], [1.0, 1.0, 0.1]], dtype=torch.float64, requires_grad=True)
    c = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: Halfspace(a, b - 5).prox(v, 1.0), (a, b))
    assert torch.autograd.gradcheck(lambda a, b: BoxSection(-1, 1, a, b).prox(v, 1.0), (a, b))
    assert torch.autograd.gradcheck(lambda A, c: Affine(A, c).prox(v, 1.0), (A, c))
    assert torch.autograd.gradcheck(lambda A: Graph(A[:, :2]).prox(torch.cat([v, c[:1].detach()]), 1.0), (A,))


@pytest.mark.parametrize("seed", range(20))
def test_box_section_agrees_with_a_scalar_root_search(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 9))
    v, a, inside = 3 * rng.normal(size=n), rng.normal(size=n) * rng.integers(0, 2, n), rng.uniform(-1, 2, n)
    a[0] = 1.3
    b = float(a @ inside)

    def excess(nu):
        return a @ np.clip(v - nu * a, -1, 2) - b

    nu = scipy.optimize.brentq(excess, -1e3 / 1e-3, 1e6, xtol=1e-15, rtol=1e-14, maxiter=1000)
    p = BoxSection(-1, 2, a, b).prox(torch.from_numpy(v), 1.0)
    np.testing.assert_allclose(p, np.clip(v - nu * a, -1, 2), atol=1e-9)
    assert abs(a @ p.numpy() - b) < 1e-14 * n


@pytest.mark.parametrize("b", [0.0, 3.0])
def test_box_section_at_the_end_of_its_range_is_a_corner(b):
    v = torch.tensor([[5.0, -1.0, 0.3], [0.1, 0.2, 0.3], [0.0, 0.0, 0.0], [9.0, 9.0, 9.0]])
    assert torch.equal(BoxSection(0, 1, [1.0, 1.0, 1.0], b).prox(v, 1.0), torch.full_like(v, b / 3))


def test_both_forms_of_the_graph_solve_the_normal_equations():
    generator = torch.Generator().manual_seed(0)
    for m, n in ((2, 5), (5, 2), (3, 3)):
        A = torch.randn(m, n, generator=generator, dtype=torch.float64)
        v = torch.randn(4, n + m, generator=generator, dtype=torch.float64)
        p = Graph(A).prox(v, 1.0)
        basis = torch.cat([torch.eye(n, dtype=A.dtype), A])
        torch.testing.assert_close((v - p) @ basis, torch.zeros(4, n, dtype=A.dtype), rtol=0, atol=1e-13)
        torch.testing.assert_close(p[:, n:], p[:, :n] @ A.mT, rtol=0, atol=1e-14)
