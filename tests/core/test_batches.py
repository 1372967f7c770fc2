"""A batch of problems gets, in every algorithm that takes ``batch_dims``, what its problems get one by one."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

import optsci
from optsci import L1, BatchMatrix, LeastSquares, Logistic

B = 5


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def data(m: int = 12, n: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    """Matrices and right-hand sides of growing size, so that some problems take far longer than others."""
    growing = torch.logspace(-0.5, 0.5, B, dtype=torch.float64)
    return gaussian(B, m, n) * growing[:, None, None], gaussian(B, m, seed=1) * growing.flip(0)[:, None]


def assert_same(batch: optsci.Result, alone: list[optsci.Result]) -> None:
    """The batch has the iterates and the counts of its problems, which are not all the same."""
    assert batch.status is optsci.Status.CONVERGED
    assert batch.instances.iterations.tolist() == [run.iterations for run in alone]
    assert len(set(batch.instances.iterations.tolist())) > 1
    torch.testing.assert_close(batch.x, torch.stack([run.x for run in alone]), rtol=1e-9, atol=1e-11)


# --- the operator -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("m", "n"), [(3, 5), (5, 3)])
def test_each_row_meets_its_own_matrix(m, n):
    entries, x, y = gaussian(B, m, n), gaussian(B, n, seed=1), gaussian(B, m, seed=2)
    A = BatchMatrix(entries)
    torch.testing.assert_close(A(x), torch.stack([a @ v for a, v in zip(entries, x, strict=True)]))
    torch.testing.assert_close((A(x) * y).sum(), (x * A.T(y)).sum())
    torch.testing.assert_close(A(torch.stack([x, 2 * x])), torch.stack([A(x), 2 * A(x)]))
    assert A.shape == (B * m, B * n) == A.T.shape[::-1]


@pytest.mark.parametrize(("m", "n"), [(3, 5), (5, 3)])
@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200])
def test_norms_are_the_largest_singular_values(m, n, scale):
    entries = gaussian(B, m, n) * scale
    entries[2] = 0
    norms = BatchMatrix(entries).norms()
    torch.testing.assert_close(norms, torch.linalg.matrix_norm(entries, 2)[:, None], rtol=1e-12, atol=0)
    assert BatchMatrix(entries).norm() == norms.max()
    torch.testing.assert_close(BatchMatrix(entries).T.norms(), norms, rtol=1e-12, atol=0)


def test_norms_keep_the_dtype():
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        assert BatchMatrix(torch.ones(2, 3, 4, dtype=dtype)).norms().dtype is dtype


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: BatchMatrix(torch.ones(2, 3)), "A must be a batch of matrices (B, m, n), not of shape (2, 3)"),
        (lambda: BatchMatrix(torch.ones(0, 2, 3)), "A must be a batch of matrices (B, m, n), not of shape (0, 2, 3)"),
        (lambda: BatchMatrix(torch.ones(2, 3, 4))(torch.ones(4)), "x must end in the shape (2, 4), got (4,)"),
        (lambda: BatchMatrix(torch.full((1, 2, 2), torch.inf)).norm(), "A holds NaN or infinite entries"),
        (
            lambda: LeastSquares(BatchMatrix(torch.ones(2, 3, 4)), torch.ones(6)),
            "b must be of shape (2, 3), as A is, got (6,)",
        ),
        (
            lambda: Logistic(BatchMatrix(torch.ones(2, 3, 4)), torch.ones(3)),
            "y must be of shape (2, 3), as A is, got (3,)",
        ),
        (lambda: LeastSquares(BatchMatrix(torch.full((1, 2, 2), torch.nan)), torch.ones(1, 2)), "A must be finite"),
        (
            lambda: LeastSquares(BatchMatrix(torch.ones(2, 3, 4)), torch.ones(2, 3)).prox(
                torch.ones(2, 4), torch.ones(2)
            ),
            "step must be a number or of shape (2, 1), got (2,)",
        ),
        (
            lambda: LeastSquares(BatchMatrix(torch.ones(2, 3, 2)), torch.ones(2, 3)).prox(
                torch.ones(2, 2), torch.tensor([[1.0], [-9.0]])
            ),
            "no prox: I + step H is not positive definite for step = -9",
        ),
    ],
)
def test_errors(call, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        call()


# --- losses over it -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6, 4), (3, 4)])
@pytest.mark.parametrize("step", [0.7, torch.tensor(0.7), gaussian(B, 1).abs()])
def test_least_squares_is_the_sum_over_the_batch(shape, step):
    A, b = data(*shape)
    f, x = LeastSquares(BatchMatrix(A), b), gaussian(B, 4, seed=5)
    singles = [LeastSquares(*pair) for pair in zip(A, b, strict=True)]
    steps = [step] * B if not isinstance(step, torch.Tensor) or step.dim() == 0 else step[:, 0]
    torch.testing.assert_close(f(x), sum(one(v) for one, v in zip(singles, x, strict=True)))
    torch.testing.assert_close(f.grad(x), torch.stack([one.grad(v) for one, v in zip(singles, x, strict=True)]))
    expected = torch.stack([one.prox(v, s) for one, v, s in zip(singles, x, steps, strict=True)])
    torch.testing.assert_close(f.prox(x, step), expected)
    torch.testing.assert_close(f.prox(x, step), expected)  # by the factor that was kept
    assert f.lipschitz() == pytest.approx(max(one.lipschitz() for one in singles))
    assert f.like.shape == x.shape


def test_the_prox_of_a_batch_is_differentiable():
    A, b = data(3, 4)
    step = gaussian(B, 1).abs().requires_grad_()

    def prox(A: torch.Tensor, b: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        return LeastSquares(BatchMatrix(A), b).prox(torch.ones(B, 4, dtype=torch.float64), step)

    assert torch.autograd.gradcheck(prox, (A.requires_grad_(), b.requires_grad_(), step), fast_mode=True)


def test_logistic_is_the_sum_over_the_batch():
    A, b = data()
    x, y = gaussian(B, 7, seed=5), b.sign()
    f, singles = Logistic(BatchMatrix(A), y), [Logistic(*pair) for pair in zip(A, y, strict=True)]
    torch.testing.assert_close(f(x), sum(one(v) for one, v in zip(singles, x, strict=True)))
    torch.testing.assert_close(f.grad(x), torch.stack([one.grad(v) for one, v in zip(singles, x, strict=True)]))


# --- algorithms ---------------------------------------------------------------------------------------------------

LIMITS: dict[str, Any] = {"tol": 1e-8, "max_iter": 5000}


@pytest.mark.parametrize("restart", [None, optsci.gradient_restart])
def test_fista_with_a_step_of_its_own_for_every_problem(restart):
    A, b = data()
    f, g = LeastSquares(BatchMatrix(A), b), L1(0.5)
    start = torch.zeros(B, 7, dtype=torch.float64)
    step = 1 / f.A.norms() ** 2
    batch = optsci.solve(optsci.fista(f, g, start, step=step, restart=restart, batch_dims=1), **LIMITS)
    alone = [
        optsci.solve(optsci.fista(LeastSquares(A[i], b[i]), g, start[i], step=step[i], restart=restart), **LIMITS)
        for i in range(B)
    ]
    assert_same(batch, alone)
