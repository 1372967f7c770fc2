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


def images() -> torch.Tensor:
    """Noisy steps, ever farther apart."""
    steps = torch.arange(6, dtype=torch.float64).gt(2).to(torch.float64)
    return gaussian(B, 4, 6) + torch.logspace(-0.5, 1, B, dtype=torch.float64)[:, None, None] * steps


@pytest.mark.parametrize("relaxation", [1.0, 1.6])
def test_douglas_rachford(relaxation):
    A, b = data()
    start, options = gaussian(B, 7, seed=2), {"step": 0.4, "relaxation": relaxation}
    steps = optsci.douglas_rachford(LeastSquares(BatchMatrix(A), b), L1(0.5), start, batch_dims=1, **options)
    alone = [optsci.douglas_rachford(LeastSquares(A[i], b[i]), L1(0.5), start[i], **options) for i in range(B)]
    assert_same(optsci.solve(steps, **LIMITS), [optsci.solve(one, **LIMITS) for one in alone])


@pytest.mark.parametrize("options", [{}, {"relaxation": 1.6}, {"dual_step": 1.5}])
def test_admm(options):
    A, b = data()
    start, options = gaussian(B, 7, seed=2), {"rho": 3.0, "u0": torch.ones(7, dtype=torch.float64)} | options
    batch = options | {"u0": torch.ones(B, 7, dtype=torch.float64)}
    steps = optsci.admm(LeastSquares(BatchMatrix(A), b), L1(0.5), start, batch_dims=1, **batch)
    alone = [optsci.admm(LeastSquares(A[i], b[i]), L1(0.5), start[i], **options) for i in range(B)]
    run = optsci.solve(steps, **LIMITS)
    assert_same(run, [optsci.solve(one, **LIMITS) for one in alone])
    assert run.state.primal.shape == run.state.dual.shape == (B,)


@pytest.mark.parametrize("theta", [1.0, 0.9])
def test_chambolle_pock_with_a_matrix_for_each_problem(theta):
    A, b = data()
    options = {"tau": 0.5 / BatchMatrix(A).norm(), "sigma": 1 / BatchMatrix(A).norm(), "theta": theta}
    start = gaussian(B, 7, seed=2)
    g = [optsci.Translated(optsci.SquaredL2(1.0), data) for data in (b, *b)]
    steps = optsci.chambolle_pock(L1(0.5), g[0], BatchMatrix(A), start, batch_dims=1, **options)
    alone = [optsci.chambolle_pock(L1(0.5), g[1 + i], A[i], start[i], **options) for i in range(B)]
    assert_same(optsci.solve(steps, **LIMITS), [optsci.solve(one, **LIMITS) for one in alone])


def test_chambolle_pock_over_a_batch_of_images():
    y, K, g = images(), optsci.Gradient((4, 6)), L1(0.3)
    f = [optsci.Translated(optsci.SquaredL2(1.0), data) for data in (y, *y)]
    steps = optsci.chambolle_pock(f[0], g, K, torch.zeros_like(y), batch_dims=1)
    alone = [optsci.chambolle_pock(f[1 + i], g, K, torch.zeros_like(y[i])) for i in range(B)]
    assert_same(optsci.solve(steps, **LIMITS), [optsci.solve(one, **LIMITS) for one in alone])


def test_every_entry_may_be_a_problem_of_its_own():
    x0 = gaussian(B, 3)
    g = optsci.Translated(optsci.SquaredL2(1.0), x0)
    state = next(iter(optsci.douglas_rachford(g, L1(0.5), torch.zeros_like(x0), step=0.4, batch_dims=2)))
    torch.testing.assert_close(state.residual, (state.x - state.y).abs() / 0.4 / state.x.abs().clamp(min=1))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda x: optsci.admm(L1(1.0), L1(1.0), x, balance=optsci.ResidualBalancing(), batch_dims=1),
            "balance must be None for a batch (batch_dims=1): its problems share one rho",
        ),
        (
            lambda x: optsci.chambolle_pock(L1(1.0), L1(1.0), torch.ones(2, 2), x, batch_dims=1),
            "K must keep the first batch_dims=1 dimensions of x: a matrix acts on columns; take a BatchMatrix",
        ),
        (
            lambda x: optsci.chambolle_pock(L1(1.0), L1(1.0), optsci.Marginals(2, 3), x, batch_dims=1),
            "K must keep the first batch_dims=1 dimensions of x: it takes (2, 3) to (5,)",
        ),
    ],
)
def test_what_a_batch_cannot_have_is_refused(call, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        call(torch.zeros(2, 3))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: optsci.douglas_rachford(L1(1.0), L1(1.0), x, step=1.0, batch_dims=3),
        lambda x: optsci.admm(L1(1.0), L1(1.0), x, batch_dims=3),
        lambda x: optsci.chambolle_pock(L1(1.0), L1(1.0), optsci.Identity(6), x, batch_dims=3),
    ],
)
def test_batch_dims_beyond_those_of_x0_are_refused(call):
    with pytest.raises(ValueError, match="batch_dims must lie between 0 and the 2 dimensions of x0, not 3"):
        call(torch.zeros(2, 3))
