"""Restarted PDHG: a plain reference, the bound of an epoch, linear programs, rates, sharp problems, refusals."""

from __future__ import annotations

import math
import re
from itertools import islice

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

import optsci
from optsci import chambolle_pock, restarted_chambolle_pock, solve
from optsci.primal_dual import chambolle_pock_step

ZERO = optsci.Zero()


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def program(m: int, n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """c, A, b of a linear program with a solution: some x >= 0 and some y satisfy complementary slackness."""
    A, x = gaussian(m, n, seed=seed), gaussian(n, seed=seed + 1000).clamp(min=0)
    slack = gaussian(n, seed=seed + 2000).abs() * (x == 0)
    return A.T @ gaussian(m, seed=seed + 3000) + slack, A, A @ x


def functions(c: torch.Tensor, A: torch.Tensor, b: torch.Tensor):
    """The program min <c, x>, A x = b, x >= 0 as f, g, K."""
    return optsci.Tilted(optsci.Nonnegative(), c), optsci.Box(b, b), A


def rotation(n: int, condition: float) -> torch.Tensor:
    """A square matrix with singular values from 1/condition to 1."""
    u, v = (torch.linalg.qr(gaussian(n, n, seed=seed)).Q for seed in (1, 2))
    return u @ torch.logspace(-math.log10(condition), 0, n, dtype=torch.float64).diag() @ v


# --- against a plain reference ------------------------------------------------------------------------------------


def test_first_iteration_is_one_of_chambolle_pock():
    f, g, K = functions(*program(8, 20, seed=0))
    x0, y0 = gaussian(20, seed=5), gaussian(8, seed=6)
    ours = next(restarted_chambolle_pock(f, g, K, x0, y0=y0, tau=0.05))
    theirs = next(chambolle_pock(f, g, K, x0, y0=y0, tau=0.05))
    torch.testing.assert_close(ours.x, theirs.x, rtol=0, atol=1e-14)
    torch.testing.assert_close(ours.y, theirs.y, rtol=0, atol=1e-14)
    assert ours.restarts == 0


def reference(f, g, K, x, y, smoothing):
    """The method as it is written, with Python numbers, a matrix P, and three products of K an iteration."""
    K = optsci.Matrix(K)
    tau = sigma = 1 / K.norm()
    weight, total, restarts = 1.0, 0, 0
    while True:
        (x0, y0), k, first, previous = (x, y), 0, math.inf, math.inf
        while True:
            total += 1
            x_new, y_new = chambolle_pock_step(f, g, K, x, y, tau, sigma)
            dx, dy = x_new - x, y_new - y
            P = torch.cat(
                [
                    torch.cat([torch.eye(len(x)).double() / tau, -K.entries.T], dim=1),
                    torch.cat([-K.entries, torch.eye(len(y)).double() / sigma], dim=1),
                ]
            )
            move = torch.cat([dx, dy])
            error = math.sqrt(max(0.0, (move @ P @ move).item()))
            first = error if k == 0 else first
            ends = k > 0 and (error <= 0.2 * first or 0.8 * first >= error > previous or k >= 0.36 * total)
            restarts += ends
            yield x_new, y_new, restarts, tau, error, k, P, torch.cat([x0, y0])
            if ends:
                break
            part = 1 / (k + 2)
            x, y = (1 - part) * (x + 2 * dx) + part * x0, (1 - part) * (y + 2 * dy) + part * y0
            k, previous = k + 1, error
        ratio = ((y_new - y0).norm() / (x_new - x0).norm()).item()
        weight = math.exp((1 - smoothing) * math.log(weight) + smoothing * math.log(ratio))
        tau, sigma = 1 / K.norm() / weight, weight / K.norm()
        x, y = x_new, y_new


@pytest.mark.parametrize("smoothing", [0.0, 0.5, 1.0])
def test_lock_step_with_a_plain_reference(smoothing):
    f, g, K = functions(*program(8, 20, seed=0))
    x0, y0 = gaussian(20, seed=5), gaussian(8, seed=6)
    ours = restarted_chambolle_pock(f, g, K, x0, y0=y0, smoothing=smoothing)
    theirs = reference(f, g, K, x0, y0, smoothing)
    for state, (x, y, restarts, tau, *_) in islice(zip(ours, theirs, strict=False), 60):
        assert state.restarts == restarts
        assert state.tau.item() == pytest.approx(tau, rel=1e-11)
        torch.testing.assert_close(state.x, x, rtol=0, atol=1e-11)
        torch.testing.assert_close(state.y, y, rtol=0, atol=1e-11)
    assert restarts >= 5


def test_every_epoch_obeys_the_bound_of_halpern():
    """``||z_k - T(z_k)||_P <= ||z_0 - z*||_P/(k + 1)``, z_0 the start of the epoch."""
    problem = functions(*program(8, 20, seed=0))
    run = solve(restarted_chambolle_pock(*problem, torch.zeros(20).double()), tol=1e-13).raise_if_failed()
    solution, longest = torch.cat([run.x, run.state.y]), 0
    start = torch.zeros(20).double(), torch.zeros(8).double()
    for *_, error, k, P, anchor in islice(reference(*problem, *start, smoothing=0.5), 120):
        distance = (anchor - solution) @ P @ (anchor - solution)
        assert error**2 <= distance / (k + 1) ** 2 + 1e-10
        longest = max(longest, k)
    assert longest >= 10


# --- linear programs ----------------------------------------------------------------------------------------------

PROGRAMS = [(10, 30, 0), (10, 30, 1), (20, 50, 3), (40, 100, 4)]


@pytest.mark.parametrize(("m", "n", "seed"), PROGRAMS)
def test_linear_programs_as_highs_solves_them(m, n, seed):
    c, A, b = program(m, n, seed)
    run = solve(restarted_chambolle_pock(*functions(c, A, b), torch.zeros(n).double()), tol=1e-10).raise_if_failed()
    best = linprog(c.numpy(), A_eq=A.numpy(), b_eq=b.numpy(), method="highs")
    assert best.status == 0
    assert (c @ run.x).item() == pytest.approx(best.fun, abs=1e-6)
    assert (A @ run.x - b).abs().max() < 1e-6
    assert (run.x >= 0).all()
    reduced = c + A.T @ run.state.y  # y is what g wants: minus the usual dual variable
    assert reduced.min() > -1e-6
    assert (reduced * run.x).abs().max() < 1e-6


def iterations(steps, tol: float = 1e-8) -> int:
    return solve(steps, tol=tol, max_iter=60_000, check_every=5).raise_if_failed().iterations


def test_linear_programs_in_fewer_iterations_than_chambolle_pock():
    """Measured to 1e-8: 222, 138, 219 and 669 iterations, where chambolle_pock takes 1735, 464, 1408 and 12817."""
    ours, theirs = [], []
    for m, n, seed in PROGRAMS:
        problem, start = functions(*program(m, n, seed)), torch.zeros(n).double()
        ours.append(iterations(restarted_chambolle_pock(*problem, start)))
        theirs.append(iterations(chambolle_pock(*problem, start)))
    assert all(2 * a < b for a, b in zip(ours, theirs, strict=True))
    assert 8 * sum(ours) < sum(theirs)


@pytest.mark.parametrize(("m", "n", "seed"), PROGRAMS)
def test_the_rate_is_linear(m, n, seed):
    """The last decades cost no more than the first: 1e-12 within twice the iterations of 1e-6."""
    problem, start = functions(*program(m, n, seed)), torch.zeros(n).double()
    run = solve(restarted_chambolle_pock(*problem, start), tol=1e-12).raise_if_failed()
    residuals = np.array(run.history["residual"])
    halfway = int(np.argmax(residuals < 1e-6)) + 1
    assert run.iterations < 2 * halfway
    late = slice(halfway, None)
    slope = np.polyfit(np.arange(run.iterations)[late], np.log10(residuals[late]), 1)[0]
    assert slope < -0.01  # a decade in 100 iterations; measured -0.019 to -0.08


def test_warm_start_saves_iterations():
    problem, start = functions(*program(20, 50, 3)), torch.zeros(50).double()
    state = next(islice(restarted_chambolle_pock(*problem, start), 150, None))
    warm = restarted_chambolle_pock(*problem, state.x, y0=state.y, tau=state.tau, sigma=state.sigma)
    assert iterations(warm) < 0.75 * iterations(restarted_chambolle_pock(*problem, start))


# --- other sharp problems -----------------------------------------------------------------------------------------


def test_bilinear_rate_is_that_of_the_condition_number_not_its_square():
    """min_x max_y <K x - b, y>; measured 158, 664 and 2959 iterations for 5, 20 and 80; chambolle_pock: 819, 12153."""
    b, start = gaussian(10, seed=9), torch.zeros(10).double()
    ours, theirs = [], []
    for condition in (5.0, 20.0):
        problem = ZERO, optsci.Box(b, b), rotation(10, condition)
        run = solve(restarted_chambolle_pock(*problem, start), tol=1e-8).raise_if_failed()
        torch.testing.assert_close(run.x, torch.linalg.solve(problem[2], b), rtol=0, atol=1e-6)
        ours.append(run.iterations)
        theirs.append(iterations(chambolle_pock(*problem, start)))
    assert 3 < ours[1] / ours[0] < 6
    assert theirs[1] / theirs[0] > 12


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_basis_pursuit_recovers_a_sparse_vector(seed):
    """min |x|_1, A x = b; measured 93 to 104 iterations, chambolle_pock 276 to 401."""
    A, x = gaussian(40, 100, seed=seed), torch.zeros(100).double()
    x[torch.randperm(100, generator=torch.Generator().manual_seed(seed))[:6]] = gaussian(6, seed=seed + 50)
    problem, start = (optsci.L1(1.0), optsci.Box(A @ x, A @ x), A), torch.zeros(100).double()
    run = solve(restarted_chambolle_pock(*problem, start), tol=1e-10).raise_if_failed()
    torch.testing.assert_close(run.x, x, rtol=0, atol=1e-8)
    assert 2 * iterations(restarted_chambolle_pock(*problem, start)) < iterations(chambolle_pock(*problem, start))


@pytest.mark.parametrize("seed", [0, 1])
def test_badly_scaled_program_gains_by_the_balance_of_the_steps(seed):
    """Costs in other units make y a hundred times larger; measured 325 and 255, with constant steps 685 and 600."""
    c, A, b = program(10, 30, seed)
    problem, start = functions(100 * c, A, b), torch.zeros(30).double()
    balanced = iterations(restarted_chambolle_pock(*problem, start))
    constant = iterations(restarted_chambolle_pock(*problem, start, smoothing=0.0))
    assert 1.5 * balanced < constant


# --- tensors ------------------------------------------------------------------------------------------------------


def test_steps_keep_their_product_and_constant_ones_stay():
    problem, start = functions(*program(8, 20, seed=0)), torch.zeros(20).double()
    norm = optsci.Matrix(problem[2]).norm()
    state = next(islice(restarted_chambolle_pock(*problem, start, tau=0.1 / norm, sigma=5 / norm), 60, None))
    assert (state.tau * state.sigma).item() == pytest.approx(0.5 / norm**2)
    assert state.tau.item() != pytest.approx(0.1 / norm, rel=0.01)
    state = next(islice(restarted_chambolle_pock(*problem, start, tau=0.1 / norm, smoothing=0.0), 60, None))
    assert state.restarts > 0
    assert state.tau.item() == pytest.approx(0.1 / norm)


def test_a_solution_is_left_as_it_is():
    """f = 0 and b = 0: the start is the solution; nothing moves, no step is divided by 0."""
    problem = ZERO, optsci.Box(0.0, 0.0), [[1.0, 2.0]]
    for state in islice(restarted_chambolle_pock(*problem, [0.0, 0.0]), 10):
        assert state.residual == 0
        assert state.x.tolist() == [0, 0]
        assert state.tau == state.sigma


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_dtype_is_kept(dtype):
    x0 = torch.zeros(20, dtype=dtype)
    c, A, b = (t.to(dtype) for t in program(8, 20, seed=0))
    for state in islice(restarted_chambolle_pock(*functions(c, A, b), x0), 20):
        assert state.x.dtype is state.y.dtype is dtype
    assert state.residual.isfinite()
    assert torch.equal(x0, torch.zeros(20, dtype=dtype))


def test_nan_ends_the_run():
    f, g, K = functions(*program(8, 20, seed=0))
    x0 = torch.zeros(20).double()
    x0[3] = torch.nan
    run = solve(restarted_chambolle_pock(f, g, K, x0))
    assert run.status is optsci.Status.NON_FINITE
    assert run.iterations == 1
    y0 = torch.full((8,), torch.nan).double()
    for state in islice(restarted_chambolle_pock(f, g, K, torch.zeros(20).double(), y0=y0), 5):
        assert state.residual.isnan()


def test_unrolled_gradient():
    """Through restarts and the steps that follow from them."""
    K, b = gaussian(2, 3, seed=1), gaussian(2, seed=2)

    def last(w, b):
        steps = restarted_chambolle_pock(optsci.L1(w), optsci.Box(b, b), K, torch.ones(3).double())
        state = next(islice(steps, 11, None))
        assert state.restarts > 1
        return state.x

    weight = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(last, (weight, b.requires_grad_()))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: restarted_chambolle_pock(ZERO, ZERO, [[2.0]], [1.0], tau=1.0, sigma=0.3),
            "tau sigma K.norm()**2 must be at most 1, got 1.2",
        ),
        (lambda: restarted_chambolle_pock(ZERO, ZERO, [[1.0]], [1.0], smoothing=-0.1), "smoothing must be finite and"),
        (
            lambda: restarted_chambolle_pock(ZERO, ZERO, [[1.0]], [1.0], smoothing=1.5),
            "smoothing must be at most 1, got 1.5",
        ),
        (lambda: restarted_chambolle_pock(ZERO, ZERO, [[1.0]], [1.0], tau=0.0), "tau must be finite and positive"),
        (lambda: restarted_chambolle_pock(ZERO, ZERO, [[0.0]], [1.0]), "K.norm() must be positive and finite, not 0.0"),
        (lambda: restarted_chambolle_pock(ZERO, abs, [[1.0]], [1.0]), "restarted_chambolle_pock needs g.prox"),
        (
            lambda: restarted_chambolle_pock(ZERO, ZERO, [[1.0]], [1.0], y0=[1.0, 2.0]),
            "y0 must have the shape (1,), not (2,)",
        ),
    ],
)
def test_errors(call, sentence):
    with pytest.raises((ValueError, TypeError), match=re.escape(sentence)):
        call()
