"""Operators that are no matrix: against the matrix of their products with unit vectors."""

from __future__ import annotations

import re

import pytest
import torch

from optsci import (
    L1,
    BatchMatrix,
    Composition,
    Diagonal,
    Difference,
    Gradient,
    Identity,
    LeastSquares,
    Marginals,
    Matrix,
    Stack,
    fista,
    solve,
)


def randn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def dense(A, x):
    """The matrix of A, from the shape of an x that it takes."""
    units = torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape)
    return torch.stack([A(unit).flatten() for unit in units], dim=1)


MATRIX = randn(5, 4, seed=3)
EXACT = [  # operator, shape of x, shape of A x; the norm is the largest singular value
    (Identity(4), (4,), (4,)),
    (Diagonal(randn(2, 3, seed=1)), (2, 3), (2, 3)),
    (Diagonal([1.0, 0.0, 1.0]), (3,), (3,)),
    (Gradient((3, 4)), (3, 4), (2, 3, 4)),
    (Gradient((1, 5)), (1, 5), (2, 1, 5)),
    (Gradient((1, 1)), (1, 1), (2, 1, 1)),
    (Marginals(2, 3), (2, 3), (5,)),
    (Difference(2), (2,), (1,)),
    (Difference(7), (7,), (6,)),
]
BOUNDED = [  # the norm is an upper bound
    (Composition(MATRIX, Diagonal(randn(4))), (4,), (5,)),
    (Composition(Difference(5), MATRIX), (4,), (4,)),
    (Stack(Difference(4), MATRIX, Identity(4)), (4,), (12,)),
    (Stack(Composition(MATRIX, Identity(4))), (4,), (5,)),
]
ALL = EXACT + BOUNDED


def name(value):
    return f"{type(value).__name__}{value.shape}" if hasattr(value, "norm") else ""


@pytest.mark.parametrize(("A", "domain", "image"), ALL, ids=name)
def test_the_adjoint_has_the_transposed_matrix(A, domain, image):
    x, y = randn(*domain, seed=1), randn(*image, seed=2)
    assert A(x).shape == image
    assert A.T(y).shape == domain
    assert A.shape == (y.numel(), x.numel())
    assert A.T.shape == (x.numel(), y.numel())
    torch.testing.assert_close((A(x) * y).sum(), (x * A.T(y)).sum())
    torch.testing.assert_close(dense(A.T, y), dense(A, x).T)
    torch.testing.assert_close(A.T.T(x), A(x))


@pytest.mark.parametrize(("A", "domain", "image"), EXACT, ids=name)
def test_norm_is_the_largest_singular_value(A, domain, image):
    exact = torch.linalg.matrix_norm(dense(A, randn(*domain)), 2).item()
    assert A.norm() == pytest.approx(exact, rel=1e-12, abs=1e-12)
    assert A.T.norm() == A.norm()


@pytest.mark.parametrize(("A", "domain", "image"), BOUNDED, ids=name)
def test_norm_bounds_the_largest_singular_value(A, domain, image):
    exact = torch.linalg.matrix_norm(dense(A, randn(*domain)), 2).item()
    assert exact * (1 - 1e-12) <= A.norm() <= 2 * exact
    assert A.T.norm() == pytest.approx(A.norm())


@pytest.mark.parametrize(("A", "domain", "image"), ALL, ids=name)
def test_operators_run_under_vmap_and_are_differentiated_through(A, domain, image):
    for product, shape in ((A, domain), (A.T, image)):
        batch = randn(3, *shape)
        torch.testing.assert_close(torch.vmap(product)(batch), torch.stack([product(x) for x in batch]))
        assert torch.autograd.gradcheck(product, batch[0].requires_grad_())


@pytest.mark.parametrize(
    ("A", "domain", "image"),
    [case for case in ALL if type(case[0]) in (Identity, Gradient, Marginals, Difference)],
    ids=name,
)
def test_operators_without_data_keep_the_dtype_and_take_a_batch(A, domain, image):
    for product, shape in ((A, domain), (A.T, image)):
        batch = randn(2, 3, *shape, dtype=torch.float32)
        values = product(batch)
        assert values.dtype == torch.float32
        assert torch.equal(values[1, 2], product(batch[1, 2]))


def test_a_composition_and_a_stack_of_matrices_are_their_product_and_their_rows():
    A, B, x = randn(3, 4), randn(4, 2, seed=1), randn(2, 6, seed=2)
    torch.testing.assert_close(Composition(A, B)(x), A @ B @ x)
    torch.testing.assert_close(Stack(B, A @ B)(x), torch.cat([B, A @ B]) @ x)
    torch.testing.assert_close(Stack(B, A @ B).T(randn(7, 6)), torch.cat([B, A @ B]).T @ randn(7, 6))


def test_the_lasso_of_a_stack_is_that_of_its_matrix():
    A, D = randn(8, 6), Difference(6)
    stacked, b = Stack(A, D), randn(13, seed=1)
    rows = Matrix(torch.cat([A, dense(D, randn(6))]))
    runs = [
        solve(fista(LeastSquares(M, b), L1(0.5), torch.zeros(6, dtype=torch.float64)), tol=1e-13, max_iter=20_000)
        for M in (stacked, rows)
    ]
    torch.testing.assert_close(runs[0].x, runs[1].x, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gradient((0, 2)), "image must be (H, W), both positive, got (0, 2)"),
        (lambda: Gradient((2, 2))(torch.ones(4)), "x must end in the shape (2, 2), got (4,)"),
        (lambda: Gradient((2, 2)).T(torch.ones(2, 2)), "y must end in the shape (2, 2, 2), got (2, 2)"),
        (lambda: Marginals(0, 2), "m and n must be positive, got m = 0 and n = 2"),
        (lambda: Marginals(1, 2).T(torch.ones(2)), "y must end in the shape (3,), got (2,)"),
        (lambda: Diagonal([1.0, 2.0])(torch.ones(3)), "x must end in the shape (2,), got (3,)"),
        (lambda: Difference(1), "n must be at least 2, got 1"),
        (lambda: Difference(3)(torch.ones(2)), "x must have a last dimension of 3, got shape (2,)"),
        (lambda: Difference(3).T(torch.ones(3)), "y must have a last dimension of 2, got shape (3,)"),
        (lambda: Composition(Identity(3), Difference(3)), "A must take the 2 scalars that B gives, but it takes 3"),
        (lambda: Stack(), "Stack needs at least one operator, got none"),
        (lambda: Stack(Identity(3), Identity(2)), "operators must take equally many scalars, got [3, 2]"),
        (lambda: Stack(Identity(3)).T(torch.ones(2)), "y must have a first dimension of 3, got shape (2,)"),
        (
            lambda: Stack(Gradient((2, 2)))(torch.ones(2, 2)),
            "operators must give vectors, Gradient gives shape (2, 2, 2), not 8 in the first dimension",
        ),
    ],
)
def test_operators_refuse_in_one_sentence(make, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        make()


def test_a_diagonal_keeps_the_dtype_of_x():
    x = torch.ones(3)
    assert Diagonal([1.0, 0.0, 2.0])(x.double()).dtype == torch.float64
    with pytest.raises(ValueError, match=r"^d is torch\.float64, x is torch\.float32: convert one of them$"):
        Diagonal(torch.ones(3).double())(x)


@pytest.mark.parametrize(
    "A", [Matrix([[1.0, 2.0]]), Diagonal([1.0, 2.0]), BatchMatrix([[[1.0, 2.0]]])], ids=lambda A: type(A).__name__
)
def test_maps_refuse_integers_in_one_sentence(A):
    shape = (1, 2) if isinstance(A, BatchMatrix) else (2,)
    with pytest.raises(ValueError, match=r"^x must be floating point|x is torch\.int64: convert one of them$"):
        A(torch.ones(shape, dtype=torch.int64))
