"""Cholesky with damping, conjugate gradients by rows and on supports, largest eigenvalues."""

from __future__ import annotations

import math
import re
from itertools import islice

import numpy as np
import pytest
import torch

from optsci import (
    NotPositiveDefiniteError,
    Status,
    conjugate_gradient,
    damped_cholesky,
    largest_eigenvalue,
    solve,
)
from optsci.linalg import lanczos_bound
from problems import spd


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Cholesky


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_damped_cholesky_factorises_what_it_says(dtype):
    H = (7 * spd(20)).to(dtype)
    L, damping = damped_cholesky(H)
    assert damping == 0.01
    assert L.dtype == dtype
    assert torch.equal(L, L.tril())
    wanted = H + 0.01 * H.diagonal().mean() * torch.eye(20, dtype=dtype)
    torch.testing.assert_close(L @ L.T, wanted)


def test_damping_grows_tenfold_until_it_is_enough():
    H = torch.diag(torch.tensor([2.0, 2.0, -0.1], dtype=torch.float64))  # mean 1.3: needs more than 0.077
    L, damping = damped_cholesky(H, 1e-3)
    assert damping == pytest.approx(0.1)
    torch.testing.assert_close((L @ L.T).diagonal(), H.diagonal() + 0.1 * 1.3)
    assert damped_cholesky(torch.ones(3, 3).double(), 0.0)[1] in (0.0, 1e-8)
    assert damped_cholesky(spd(5), 0.0)[1] == 0.0


def test_failure_lists_all_dampings_and_names_the_matrix():
    sentence = "the Gram of layer 3 is not positive definite: Cholesky failed with damping 0.01, 0.1, 1, relative"
    with pytest.raises(NotPositiveDefiniteError, match=re.escape(sentence)) as failure:
        damped_cholesky(torch.diag(torch.tensor([1.0, -3.0])), name="the Gram of layer 3")
    assert failure.value.dampings == pytest.approx((0.01, 0.1, 1.0))
    assert isinstance(failure.value, ValueError)
    with pytest.raises(NotPositiveDefiniteError) as failure:
        damped_cholesky(torch.zeros(2, 2), 5.0)
    assert failure.value.dampings == (5.0,)


def test_a_batch_shares_one_damping():
    H = torch.stack([spd(4), torch.ones(4, 4).double(), torch.diag(randn(4) * 0) + torch.eye(4)])
    L, damping = damped_cholesky(H, 1e-3)
    for factor, h in zip(L, H, strict=True):
        torch.testing.assert_close(factor @ factor.T, h + damping * h.diagonal().mean() * torch.eye(4).double())


@pytest.mark.parametrize(
    ("H", "damping", "sentence"),
    [
        (np.zeros((2, 3)), 0.01, "H must be square and not empty, not of shape (2, 3)"),
        (np.zeros((0, 0)), 0.01, "H must be square and not empty, not of shape (0, 0)"),
        (np.eye(2), -1.0, "damping must be non-negative, not -1.0"),
        (np.array([[1.0, np.nan], [np.nan, 1.0]]), 0.01, "H holds NaN or infinite entries"),
    ],
)
def test_cholesky_errors(H, damping, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        damped_cholesky(H, damping)


# Conjugate gradients


@pytest.mark.parametrize("start", [None, randn(5, 30, seed=2)])
def test_conjugate_gradient_solves_all_rows(start):
    A, b = spd(30), randn(5, 30)
    kept = None if start is None else start.clone()
    run = solve(conjugate_gradient(lambda x: x @ A, b, start), tol=1e-12).raise_if_failed()
    torch.testing.assert_close(run.x, torch.linalg.solve(A, b.T).T, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(run.state.r, b - run.x @ A, rtol=0, atol=1e-10)
    assert start is None or torch.equal(start, kept)


def test_exact_after_n_iterations():
    A, b = spd(12, condition=10.0), randn(3, 12)
    last = list(islice(conjugate_gradient(lambda x: x @ A, b), 12))[-1]
    torch.testing.assert_close(last.x @ A, b, rtol=0, atol=1e-11)


def test_error_falls_at_the_rate_of_the_theory_in_every_row():
    A, b = spd(60, condition=1e3), randn(4, 60)
    exact = torch.linalg.solve(A, b.T).T

    def energy(e):
        return ((e @ A) * e).sum(-1).sqrt()

    rate = (math.sqrt(1e3) - 1) / (math.sqrt(1e3) + 1)
    previous = energy(exact)
    for k, state in enumerate(islice(conjugate_gradient(lambda x: x @ A, b), 50), 1):
        error = energy(state.x - exact)
        assert (error <= 2 * rate**k * energy(exact)).all()
        assert (error <= previous * (1 + 1e-9)).all()
        previous = error


def test_rows_do_not_know_of_each_other():
    A, b = spd(20, condition=10.0), randn(4, 20)
    together = conjugate_gradient(lambda x: x @ A, b)
    alone = [conjugate_gradient(lambda x: x @ A, row) for row in b]
    for _ in range(15):
        all_rows, rows = next(together), [next(steps) for steps in alone]
        torch.testing.assert_close(all_rows.x, torch.stack([row.x for row in rows]), rtol=0, atol=1e-12)
        torch.testing.assert_close(all_rows.residual, torch.stack([row.residual for row in rows]).max())


def test_mask_gives_the_restricted_solution_of_every_row():
    A, b = spd(25), randn(6, 25)
    mask = randn(6, 25, seed=3) > 0
    mask[0], mask[1] = True, False
    run = solve(conjugate_gradient(lambda x: x @ A, b, randn(6, 25, seed=4), mask=mask), tol=1e-13)
    assert run.status is Status.CONVERGED
    assert (run.x[~mask] == 0).all()
    for x, right, kept in zip(run.x, b, mask, strict=True):
        wanted = torch.linalg.solve(A[kept][:, kept], right[kept])
        torch.testing.assert_close(x[kept], wanted, rtol=1e-9, atol=1e-10)


def test_a_row_of_zeros_stays_zero_and_finished_rows_stay_put():
    A = spd(10, condition=5.0)
    b = torch.stack([torch.zeros(10).double(), A[3], randn(10)])
    states = list(islice(conjugate_gradient(lambda x: x @ A, b, x0=torch.zeros(3, 10).double()), 300))
    assert all(torch.isfinite(state.x).all() and torch.isfinite(state.residual) for state in states)
    assert (states[-1].x[0] == 0).all()
    torch.testing.assert_close(states[-1].x, torch.linalg.solve(A, b.T).T, rtol=0, atol=1e-12)
    assert states[-1].residual < 1e-14
    assert solve(conjugate_gradient(lambda x: x @ A, torch.zeros(2, 10).double())).iterations == 1


def test_a_singular_matrix_gives_no_nan():
    run = solve(conjugate_gradient(lambda x: 0 * x, torch.ones(2, 3)), max_iter=5)
    assert (run.status, run.x.tolist()) == (Status.MAX_ITER, [[0.0] * 3] * 2)


def test_a_row_stops_where_only_rounding_is_left_of_the_curvature():
    X, W = randn(8, 64).float(), randn(32, 64, seed=1).float()  # 8 tokens do not determine 64 columns
    A = X.T @ X
    exact = (W.double() @ X.T.double()).square().sum()
    previous = exact
    for state in islice(conjugate_gradient(lambda x: x @ A, W @ A), 300):
        error = ((state.x.double() - W.double()) @ X.T.double()).square().sum()
        assert error <= previous + torch.finfo(torch.float32).eps * exact
        assert state.x.abs().max() < W.abs().max()
        previous = error
    assert previous < 1e-7 * exact


def test_mask_and_preconditioner_may_be_arrays_and_lists():
    A, b, kept = spd(3), randn(2, 3), np.array([True, False, True])
    kept.flags.writeable = False
    pairs = zip(
        conjugate_gradient(lambda x: x @ A, b, mask=kept, preconditioner=[1, 2, 3]),
        conjugate_gradient(
            lambda x: x @ A, b, mask=torch.tensor([True, False, True]), preconditioner=torch.arange(1.0, 4.0).double()
        ),
        strict=False,
    )
    for arrays, tensors in islice(pairs, 2):
        assert torch.equal(arrays.x, tensors.x)


def test_preconditioner_repairs_bad_scaling():
    scale = torch.logspace(-2, 2, 40, dtype=torch.float64)
    A, b = scale[:, None] * spd(40, condition=4.0) * scale, randn(3, 40)
    plain = solve(conjugate_gradient(lambda x: x @ A, b), tol=1e-10)
    jacobi = solve(conjugate_gradient(lambda x: x @ A, b, preconditioner=1 / A.diagonal()), tol=1e-10)
    assert jacobi.iterations * 5 <= plain.iterations
    torch.testing.assert_close(jacobi.x @ A, b, rtol=0, atol=1e-9)


def test_derivative_through_the_iterations_even_past_convergence():
    A, b = spd(4, condition=5.0), torch.stack([randn(4), torch.zeros(4).double()]).requires_grad_()
    x = solve(conjugate_gradient(lambda x: x @ A, b), tol=None, max_iter=8).x
    (slope,) = torch.autograd.grad(x[0].sum(), b)
    torch.testing.assert_close(slope[0], torch.linalg.solve(A, torch.ones(4).double()), rtol=1e-6, atol=0)
    assert torch.isfinite(slope).all()


def test_no_step_reads_the_device():
    b = torch.empty(2, 3, device="meta")
    for state in islice(conjugate_gradient(lambda x: 2 * x, b, mask=b > 0, preconditioner=b), 3):
        assert state.x.is_meta


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"matvec": spd(3)}, TypeError, "matvec must be a function such as `lambda x: x @ A`, not Tensor"),
        ({"x0": np.zeros(2)}, ValueError, "x0 must have the shape (3,) of b, not (2,)"),
        ({"mask": np.ones(3)}, TypeError, "mask must be bool, not torch.float64"),
        ({"mask": [[True] * 3] * 2}, ValueError, "mask of shape (2, 3) does not broadcast to the shape (3,) of b"),
        ({"preconditioner": np.float32([1, 2, 3])}, ValueError, "preconditioner is torch.float32"),
        (
            {"preconditioner": [1, 2]},
            ValueError,
            "preconditioner of shape (2,) does not broadcast to the shape (3,) of",
        ),
    ],
)
def test_conjugate_gradient_errors(arguments, error, sentence):
    with pytest.raises(error, match=re.escape(sentence)):
        conjugate_gradient(**{"matvec": lambda x: x, "b": np.zeros(3)} | arguments)


# Largest eigenvalue


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_largest_eigenvalue_is_exact_for_small_matrices(dtype):
    assert largest_eigenvalue((3 * spd(50, condition=7.0)).to(dtype)) == pytest.approx(21.0, rel=2e-6)


@pytest.mark.parametrize("spectrum", ["clustered", "spread", "one", "two", "rank one"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_lanczos_bound_is_above_by_at_most_its_margin(spectrum, dtype):
    values = {
        "clustered": 1 - torch.linspace(0, 1, 3000, dtype=dtype) ** 2,  # hard: no gap at the upper end
        "spread": torch.logspace(-6, 0, 3000, dtype=dtype),
        "one": torch.ones(3000, dtype=dtype),  # the Krylov space ends at once
        "two": torch.tensor([1.0, 1e-3], dtype=dtype).repeat(1500),
        "rank one": torch.eye(1, 3000, dtype=dtype)[0],
    }[spectrum]
    bound = lanczos_bound(lambda v: values * v, values)
    assert 1 <= bound <= 1.01 * (1 + 1e-5)
    assert bound == lanczos_bound(lambda v: values * v, values)


def test_largest_eigenvalue_of_a_large_matrix():
    v = randn(1100)
    H = torch.outer(v, v) + torch.eye(1100)
    assert 1 <= largest_eigenvalue(H) / (v @ v + 1).item() <= 1.01 * (1 + 1e-9)


@pytest.mark.parametrize(
    ("H", "sentence"),
    [
        (np.zeros((2, 3)), "H must be a square matrix, not of shape (2, 3)"),
        (np.array([[np.inf]]), "H holds NaN or infinite entries"),
        (
            np.array([[1.0, 0.5], [0.0, 1.0]]),
            "H must be symmetric, got entries that differ from their mirror by up to 0.5",
        ),
    ],
)
def test_largest_eigenvalue_errors(H, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        largest_eigenvalue(H)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    assert largest_eigenvalue(torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=dtype)) == pytest.approx(3.0, rel=1e-6)
