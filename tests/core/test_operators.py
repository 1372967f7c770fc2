"""Operators: adjoint identity, norms, power iteration."""

from __future__ import annotations

import re
from itertools import islice

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import aslinearoperator

from optsci import L1, LeastSquares, Matrix, Status, as_operator, fista, power_iteration, solve


def randn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


class Differences:
    """An operator of one's own: x -> x[1:] - x[:-1]."""

    def __init__(self, n):
        self.shape = (n - 1, n)

    def __call__(self, x):
        return x[1:] - x[:-1]

    @property
    def T(self):
        return lambda y: torch.cat([-y[:1], y[:-1] - y[1:], y[-1:]])

    def norm(self):
        return 2.0


SCIPY = as_operator(aslinearoperator(randn(30, 20).numpy()))


@pytest.mark.parametrize(
    "A", [Matrix(randn(5, 8)), Matrix(randn(8, 5)).T, Matrix(randn(5, 8)).T.T, Differences(6), SCIPY, SCIPY.T]
)
def test_adjoint(A):
    m, n = A.shape
    x, y = randn(n, seed=1), randn(m, seed=2)
    torch.testing.assert_close(A(x) @ y, x @ A.T(y))


def test_columns():
    A, x = randn(3, 4), randn(4, 2)
    torch.testing.assert_close(Matrix(A)(x), A @ x)
    torch.testing.assert_close(Matrix(A).T(A), A.T @ A)


def test_as_operator():
    own, entries = Differences(4), np.ones((2, 3), dtype=np.float32)
    assert as_operator(own) is own
    A = as_operator(entries)
    assert as_operator(A) is A
    assert A.shape == (2, 3)
    assert A.entries.dtype == torch.float32
    assert A.entries.data_ptr() == entries.ctypes.data  # no copy


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (1, 3), (1500, 7)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_norm_is_the_largest_singular_value(shape, dtype):
    A = randn(*shape, dtype=dtype)
    exact = torch.linalg.matrix_norm(A, 2).item()
    assert Matrix(A).norm() == pytest.approx(exact, rel=5 * torch.finfo(dtype).eps ** 0.9)
    assert Matrix(A).T.norm() == pytest.approx(exact, rel=5 * torch.finfo(dtype).eps ** 0.9)


def test_norm_of_a_large_matrix_is_an_upper_bound():
    u, v = randn(1100), randn(1200, seed=1)
    A = torch.outer(u, v)
    assert 1 <= Matrix(A).norm() / (u.norm() * v.norm()).item() <= 1.005


def test_norm_of_zero():
    assert Matrix(np.zeros((2, 3))).norm() == 0


@pytest.mark.parametrize("size", [1e-25, 1e25])
@pytest.mark.parametrize("shape", [(5, 8), (1100, 1200)])
def test_no_square_leaves_the_range(size, shape):
    A = randn(*shape, dtype=torch.float32)
    assert Matrix(size * A).norm() == pytest.approx(size * Matrix(A).norm(), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_norm_in_half_precision_is_computed_in_single(dtype):
    assert Matrix(torch.tensor([[3.0, 0.0], [0.0, 400.0]], dtype=dtype)).norm() == 400


def test_norm_refuses_nan():
    with pytest.raises(ValueError, match="A holds NaN or infinite entries"):
        Matrix([[1.0, np.nan]]).norm()


def test_an_operator_of_scipy_gives_the_lasso_of_its_matrix():
    A, b = randn(30, 20), randn(30, 2)
    torch.testing.assert_close(SCIPY(torch.ones(20, 2)), A.float() @ torch.ones(20, 2))
    assert 1 <= SCIPY.norm() / np.linalg.norm(A, 2) <= 1.0101
    assert SCIPY.T.norm() == pytest.approx(SCIPY.norm())
    runs = [solve(fista(LeastSquares(M, b), L1(0.1), np.zeros((20, 2))), tol=1e-12) for M in (A, SCIPY)]
    torch.testing.assert_close(runs[0].x, runs[1].x, rtol=0, atol=1e-8)
    with pytest.raises(RuntimeError, match="requires grad"):
        SCIPY(torch.ones(20, requires_grad=True))


def test_power_iteration_rises_to_the_norm_at_its_rate():
    s = torch.tensor([2.0, 1.6, 1.0, 0.1], dtype=torch.float64)
    left, right = torch.linalg.qr(randn(6, 4))[0], torch.linalg.qr(randn(4, 4, seed=1))[0]
    A = left * s @ right.T
    states = list(islice(power_iteration(A), 60))
    norms = torch.stack([state.norm for state in states])
    assert (norms <= 2 + 1e-12).all()
    assert (norms.diff() >= -1e-14).all()
    sines = [1 - (state.x @ right[:, 0]).abs().item() for state in states[9:25]]  # about error^2 / 2
    slope = np.polyfit(range(len(sines)), np.log(sines), 1)[0]
    assert slope == pytest.approx(4 * np.log(0.8), rel=0.02)
    run = solve(power_iteration(A), tol=1e-8)
    assert run.status is Status.CONVERGED
    assert run.state.norm.item() == pytest.approx(2.0, rel=1e-14)


def test_power_iteration_of_an_own_operator_and_of_zero():
    run = solve(power_iteration(Differences(10), randn(10)), tol=1e-6)
    assert run.state.norm.item() == pytest.approx(2 * np.cos(np.pi / 20), rel=1e-10)
    assert solve(power_iteration(np.zeros((3, 2)))).state.norm == 0


def test_no_step_reads_the_device():
    for state in islice(power_iteration(Differences(4), torch.empty(4, device="meta")), 3):
        assert state.norm.is_meta


@pytest.mark.parametrize("entries", [[1.0, 2.0], np.zeros((0, 3)), np.zeros((1, 2, 3))])
def test_a_matrix_has_two_dimensions(entries):
    with pytest.raises(ValueError, match="A must be a matrix"):
        Matrix(entries)


def test_a_start_of_another_length_is_refused():
    with pytest.raises(ValueError, match=re.escape("x0 must have the shape (3,) that A takes, not (2,)")):
        power_iteration(np.ones((2, 3)), np.ones(2))


def test_a_start_adopts_the_dtype_of_the_matrix_or_is_refused():
    assert next(power_iteration(np.eye(2), [1, 0])).x.dtype == torch.float64
    with pytest.raises(ValueError, match=r"x0 is torch\.float32, what it is combined with is torch\.float64"):
        power_iteration(np.eye(2), np.ones(2, dtype=np.float32))
