"""Proximal gradient methods: lock-step equality, published bounds at every k, rates, derivatives, errors."""

from __future__ import annotations

import math
import re
from functools import partial
from itertools import islice

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso

import optsci
from optsci import (
    backtracking_fista,
    chambolle_dossal,
    fista,
    function_restart,
    gradient_restart,
    ista,
    monotone_fista,
    nesterov,
    no_momentum,
    solve,
    strongly_convex,
)
from problems import lasso, ridge

ALGORITHMS = [
    ista,
    fista,
    partial(fista, restart=gradient_restart),
    monotone_fista,
    partial(backtracking_fista, step=1.0),
]
ids = ["ista", "fista", "restart", "monotone_fista", "backtracking_fista"]


@pytest.fixture(scope="module")
def large():
    """The lasso 200 x 1000."""
    return lasso()


def gaps(problem, steps, count):
    """F(x_k) - F* for k = 1 … count, and the k."""
    values = [problem.objective(state.x) for state in islice(steps, count)]
    return np.array(values) - problem.optimum, np.arange(1, count + 1)


def assert_below(gap, bound):
    assert (gap <= bound + 1e-12).all()


# Lock step


def test_ista_is_the_formula():
    p = lasso(20, 40, 4)
    A, b = p.data
    step, x = 1 / p.f.lipschitz(), p.start
    for state in islice(ista(p.f, p.g, p.start), 30):
        v = x - step * A.T @ (A @ x - b)
        x = v.sign() * (v.abs() - step * p.g.weight).clamp(min=0)
        torch.testing.assert_close(state.x, x, rtol=0, atol=1e-13)


def test_fista_is_the_paper():
    p = lasso(20, 40, 4)
    A, b = (t.numpy() for t in p.data)
    L = p.f.lipschitz()
    x = y = np.zeros(40)
    t = 1.0
    for state in islice(fista(p.f, p.g, p.start), 50):
        v = y - A.T @ (A @ y - b) / L
        x_new = np.sign(v) * np.maximum(np.abs(v) - p.g.weight / L, 0)
        t_new = (1 + math.sqrt(1 + 4 * t**2)) / 2
        y = x_new + (t - 1) / t_new * (x_new - x)
        x, t = x_new, t_new
        np.testing.assert_allclose(state.x, x, rtol=0, atol=1e-12)
        np.testing.assert_allclose(state.y, y, rtol=0, atol=1e-12)


def test_fista_without_momentum_is_ista_bitwise(large):
    pairs = zip(
        fista(large.f, large.g, large.start, momentum=no_momentum),
        ista(large.f, large.g, large.start),
        strict=False,
    )
    for a, b in islice(pairs, 10):
        assert torch.equal(a.x, b.x)
        assert torch.equal(a.residual, b.residual)


def test_monotone_fista_without_momentum_is_ista(large):
    pairs = zip(
        monotone_fista(large.f, large.g, large.start, momentum=no_momentum),
        ista(large.f, large.g, large.start),
        strict=False,
    )
    for a, b in islice(pairs, 10):
        torch.testing.assert_close(a.x, b.x, rtol=0, atol=1e-14)


def test_backtracking_from_a_good_step_is_fista(large):
    step = 1 / large.f.lipschitz()
    pairs = zip(
        backtracking_fista(large.f, large.g, large.start, step=step),
        fista(large.f, large.g, large.start),
        strict=False,
    )
    for a, b in islice(pairs, 50):
        assert a.accepted
        torch.testing.assert_close(a.x, b.x, rtol=0, atol=1e-13)
        torch.testing.assert_close(a.residual, b.residual)


def test_restart_that_never_fires_is_fista_and_one_that_always_fires_is_ista(large):
    start = (large.f, large.g, large.start)
    for flag, other in ((False, fista), (True, ista)):
        restarted = fista(*start, restart=lambda y, x_new, x, flag=flag: torch.tensor(flag))
        for a, b in islice(zip(restarted, other(*start), strict=False), 10):
            assert torch.equal(a.x, b.x)


# Bounds, at every k


def test_ista_bound(large):
    gap, k = gaps(large, ista(large.f, large.g, large.start), 1000)
    assert_below(gap, large.scale() / (2 * k))
    assert_below(np.diff(gap), 0)


def test_fista_bound(large):
    gap, k = gaps(large, fista(large.f, large.g, large.start), 1500)
    assert_below(gap, 2 * large.scale() / (k + 1) ** 2)
    assert (gap / (2 * large.scale() / (k + 1) ** 2)).max() > 0.1  # the bound is not idle
    assert np.diff(gap).max() > 0  # plain FISTA is not monotone


@pytest.mark.parametrize("a", [2.5, 4.0, 20.0])
def test_chambolle_dossal_bound(large, a):
    gap, k = gaps(large, fista(large.f, large.g, large.start, momentum=chambolle_dossal(a)), 800)
    assert_below(gap, a**2 * large.scale() / (2 * (k + a - 1) ** 2))


def test_monotone_fista_bound_and_descent(large):
    states = list(islice(monotone_fista(large.f, large.g, large.start), 1500))
    objective = np.array([s.objective.item() for s in states])
    assert (np.diff(objective) <= 0).all()
    assert [s.objective.item() for s in states[::100]] == [large.objective(s.x) for s in states[::100]]
    assert_below(objective - large.optimum, 2 * large.scale() / (np.arange(1, 1501) + 1) ** 2)


@pytest.mark.parametrize("shrink", [0.5, 0.8])
def test_backtracking_bound(large, shrink):
    L, x = large.f.lipschitz(), large.start
    accepted = 0
    for state in islice(backtracking_fista(large.f, large.g, large.start, shrink=shrink), 500):
        if not state.accepted:
            assert torch.equal(state.x, x)
        else:
            accepted += 1
            gap = large.objective(state.x) - large.optimum
            assert gap <= 2 * large.scale() / (shrink * (accepted + 1) ** 2)
        x = state.x
    assert state.step >= shrink / L
    assert 500 - accepted <= math.ceil(math.log(L) / math.log(1 / shrink))


def test_strongly_convex_rate():
    p = ridge(condition=1e3)
    q = 1e-3
    gap, k = gaps(p, fista(p.f, p.g, p.start, momentum=strongly_convex(q)), 600)
    x1 = next(fista(p.f, p.g, p.start)).x
    at_1 = gap[0] + ((x1 - p.x) ** 2).sum().item() / 2  # mu = 1
    assert_below(gap, (1 - math.sqrt(q)) ** (k - 1) * at_1 * (1 + 1e-9))
    clear = (gap > 1e-9 * gap[0]) & (k > 20)
    slope = np.polyfit(k[clear], np.log(gap[clear]), 1)[0]
    assert slope <= math.log(1 - math.sqrt(q))
    plain, _ = gaps(p, ista(p.f, p.g, p.start), 600)
    assert gap[-1] < 1e-6 * plain[-1]


# What is reached, and how fast


def test_lasso_objective_agrees_with_scikit_learn(large):
    A, b = (t.numpy() for t in large.data)
    model = Lasso(alpha=large.g.weight / len(b), fit_intercept=False, tol=1e-12, max_iter=100_000).fit(A, b)
    run = solve(fista(large.f, large.g, large.start, restart=gradient_restart), tol=1e-9)
    assert abs(large.objective(run.x) - large.objective(torch.from_numpy(model.coef_))) <= 1e-8
    assert abs(large.objective(run.x) - large.optimum) <= 1e-10


@pytest.mark.parametrize("test", ["gradient", "function"])
def test_restart_takes_at_most_half_the_iterations(large, test):
    restart = gradient_restart if test == "gradient" else function_restart(large.f, large.g)
    plain = solve(fista(large.f, large.g, large.start), tol=1e-8)
    restarted = solve(fista(large.f, large.g, large.start, restart=restart), tol=1e-8)
    assert plain.status is restarted.status is optsci.Status.CONVERGED
    assert 2 * restarted.iterations <= plain.iterations


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=ids)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_reach_the_known_solution(algorithm, dtype):
    p = lasso(60, 40, 5, dtype=dtype)
    start = torch.randn(40, generator=torch.Generator().manual_seed(1), dtype=dtype)
    kept = start.clone()
    tol = 2e-7 if dtype == torch.float32 else 1e-11
    run = solve(algorithm(p.f, p.g, start), tol=tol, max_iter=5000).raise_if_failed()
    assert run.x.dtype == dtype
    assert all(v.dtype in (dtype, torch.bool) for v in run.state)
    assert torch.equal(start, kept)
    torch.testing.assert_close(run.x, p.x, rtol=0, atol=3e3 * tol)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=ids)
def test_numpy_in_tensor_out(algorithm, dtype):
    rng = np.random.default_rng(0)
    A, b, x0 = (a.astype(dtype) for a in (rng.normal(size=(6, 4)), rng.normal(size=6), rng.normal(size=4)))
    run = solve(algorithm(optsci.LeastSquares(A, b), optsci.L1(0.1), x0), max_iter=5)
    assert run.x.numpy().dtype == dtype


def test_x_may_have_any_shape():
    target = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    f = optsci.Translated(optsci.SquaredL2(), target)
    for algorithm in ALGORITHMS:
        run = solve(algorithm(f, optsci.L1(0.5), torch.zeros_like(target)), tol=1e-12)
        torch.testing.assert_close(run.x, target.sign() * (target.abs() - 0.5).clamp(min=0))


def test_steps_by_row():
    """A step tensor: every row of a separable problem gets 1/L of its own."""
    curvature = torch.tensor([[1.0], [100.0]], dtype=torch.float64)
    target = torch.tensor([[1.0, -2.0], [3.0, 4.0]], dtype=torch.float64)

    class Rows:
        def grad(self, x):
            return curvature * (x - target)

    run = solve(fista(Rows(), optsci.Nonnegative(), torch.zeros(2, 2).double(), step=1 / curvature), tol=1e-12)
    assert run.iterations <= 3
    torch.testing.assert_close(run.x, target.clamp(min=0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_backtracking_survives_the_rounding_of_values(dtype):
    """Small residual, large data: the values cancel long before the iterates have converged."""
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(80, 40, generator=generator, dtype=torch.float64).to(dtype)
    x = torch.randn(40, generator=generator, dtype=torch.float64).to(dtype)
    f, g = optsci.LeastSquares(A, A @ x + 1e-4), optsci.L1(1e-4)
    L = torch.linalg.matrix_norm(A, 2).item() ** 2
    eps = torch.finfo(dtype).eps
    run = solve(backtracking_fista(f, g, torch.zeros_like(x)), tol=4 * eps, max_iter=3000)
    assert run.status is optsci.Status.CONVERGED
    assert run.state.step >= 0.25 / L  # shrink / (2 L)
    torch.testing.assert_close(run.x, x, rtol=0, atol=1e-4)


def test_backtracking_recovers_from_a_step_that_overflows():
    p = lasso(60, 40, 5)
    run = solve(backtracking_fista(p.f, p.g, p.start + 1, step=1e300), tol=1e-10, max_iter=5000)
    assert run.status is optsci.Status.CONVERGED
    assert max(run.history["residual"]) == run.history["residual"][0] == 1.0  # no trial accepted yet
    torch.testing.assert_close(run.x, p.x, rtol=0, atol=1e-7)


@pytest.mark.parametrize("x0", [[math.nan, 0.0], [0.0, 0.0]])
def test_backtracking_does_not_hide_nan(x0):
    f = optsci.Autodiff(lambda x: (x**2).sum() * (1.0 if math.isnan(x0[0]) else math.nan))
    run = solve(backtracking_fista(f, optsci.L1(), x0), max_iter=5)
    assert run.status is optsci.Status.NON_FINITE
    assert run.iterations == 1


# What x0 may be


DATA = {
    "least squares": optsci.LeastSquares(np.eye(3)[:, :2], np.ones(3)),
    "scaled": 2 * optsci.LeastSquares(np.eye(3)[:, :2], np.ones(3)),
    "translated": optsci.Translated(optsci.Quadratic(np.eye(2)), 1.0),
    "logistic": optsci.Logistic(np.eye(2), [1, -1]),
}


@pytest.mark.parametrize("f", DATA.values(), ids=DATA)
@pytest.mark.parametrize("x0", [[0, 0], [0.5, 0.1], np.zeros(2, dtype=int), torch.zeros(2).int()], ids=type)
def test_numbers_without_a_precision_adopt_that_of_the_data(f, x0):
    for algorithm in ALGORITHMS:
        assert solve(algorithm(f, optsci.L1(0.1), x0), max_iter=2).x.dtype == torch.float64


@pytest.mark.parametrize("f", DATA.values(), ids=DATA)
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=ids)
def test_a_start_that_disagrees_with_the_data_is_refused_at_the_call(algorithm, f):
    with pytest.raises(ValueError, match=r"x0 is torch\.float32, what it is combined with is torch\.float64"):
        algorithm(f, optsci.L1(), torch.zeros(2))
    with pytest.raises(ValueError, match=r"x0 has shape \(3,\), but f takes \(2,\)"):
        algorithm(f, optsci.L1(), [0, 0, 0])


# Your own functions


class PositivePart:
    def __call__(self, x):
        return x.clamp(min=0).sum()

    def prox(self, x, step):
        return x - x.clamp(0, step)


def test_own_penalty():
    rng = np.random.default_rng(0)
    A, b = rng.normal(size=(30, 20)), rng.normal(size=30)
    f = optsci.LeastSquares(A, b)
    for algorithm in ALGORITHMS:
        x = solve(algorithm(f, PositivePart(), np.zeros(20)), tol=1e-11).raise_if_failed().x
        slope = -f.grad(x)  # in [0, 1] at 0, else 0 or 1
        assert ((x > 0) & (slope - 1).abs().lt(1e-8) | (x < 0) & slope.abs().lt(1e-8) | (x == 0)).all()
        assert (slope > -1e-8).all()
        assert (slope < 1 + 1e-8).all()


def test_own_lasso_as_in_the_readme():
    rng = np.random.default_rng(0)
    A, b = rng.normal(size=(50, 30)), rng.normal(size=50)
    f, g = optsci.LeastSquares(A, b), optsci.L1(0.1)
    run = solve(
        fista(f, g, np.zeros(A.shape[1])),
        tol=1e-8,
        max_iter=5000,
        track={"objective": lambda s: f(s.x) + g(s.x)},
    )
    assert re.fullmatch(r"converged in \d+ iterations, residual \d\.\de-\d\d, \d+\.\d\d s", str(run))
    assert len(run.history["iteration"]) == len(run.history["objective"]) == run.iterations
    gradient = f.grad(run.x)
    assert gradient.abs().max() <= 0.1 * (1 + 1e-5)
    torch.testing.assert_close(gradient[run.x != 0], -0.1 * run.x.sign()[run.x != 0], rtol=1e-5, atol=0)


# Derivatives through the iterations


def unrolled(A, b, weight, algorithm):
    f, g = optsci.LeastSquares(A, b), optsci.L1(weight)
    return solve(algorithm(f, g, torch.zeros(A.shape[1], dtype=A.dtype)), tol=None, max_iter=40).x.square().sum()


@pytest.mark.parametrize("algorithm", ALGORITHMS[:4], ids=ids[:4])
def test_derivative_of_an_unrolled_solve_agrees_with_finite_differences(algorithm):
    A, b = lasso(8, 12, 3).data
    weight = torch.tensor(0.2, dtype=torch.float64)
    algorithm = partial(algorithm, step=1 / torch.linalg.matrix_norm(A, 2).item() ** 2)
    loss = partial(unrolled, A, algorithm=algorithm)
    b_, weight_ = b.clone().requires_grad_(), weight.clone().requires_grad_()
    by_b, by_weight = torch.autograd.grad(loss(b_, weight_), (b_, weight_))
    h = 1e-6
    along = torch.randn(8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    difference = (loss(b + h * along, weight) - loss(b - h * along, weight)) / (2 * h)
    torch.testing.assert_close(by_b @ along, difference, rtol=1e-6, atol=1e-8)
    difference = (loss(b, weight + h) - loss(b, weight - h)) / (2 * h)
    torch.testing.assert_close(by_weight, difference, rtol=1e-6, atol=1e-8)
    functional = torch.func.grad(loss, argnums=(0, 1))(b, weight)
    torch.testing.assert_close(functional, (by_b, by_weight))


# The host is never asked


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=ids)
def test_no_step_reads_the_device(algorithm):
    """A tensor on the meta device has no values: reading one raises."""

    class Cosine:
        def __call__(self, x):
            return x.cos().sum()

        def grad(self, x):
            return -x.sin()

    for state in islice(algorithm(Cosine(), optsci.L1(0.1), torch.empty(3, device="meta"), step=0.1), 3):
        assert state.x.shape == (3,)
        assert state.residual.is_meta


# Momentum sequences


def test_momentum_sequences():
    t = torch.tensor(1.0, dtype=torch.float64)
    for k in range(1, 200):
        assert t >= (k + 1) / 2  # Beck and Teboulle, Lemma 4.3
        assert math.isclose(nesterov(t) ** 2 - nesterov(t), t**2, rel_tol=1e-12)
        t = nesterov(t)
    t = torch.tensor(1.0)
    for k in range(1, 20):
        assert math.isclose(t, (k + 3) / 4)
        t = chambolle_dossal(4)(t)
    t = strongly_convex(0.04)(t)
    assert math.isclose((t - 1) / t, (1 - 0.2) / (1 + 0.2), rel_tol=1e-6)


# Errors are sentences, and come at the call


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (
            lambda f, g: fista(lambda x: x.sum(), g, [0.0]),
            TypeError,
            "fista needs f.grad, but function has none",
        ),
        (lambda f, g: ista(f, f, [0.0], step=1.0), TypeError, "ista needs g.prox, but Smooth has none"),
        (
            lambda f, g: fista(f, g, [0.0]),
            TypeError,
            "fista needs f.lipschitz, but Smooth has none; pass step=, at most 1/L",
        ),
        (lambda f, g: fista(f, g, [0.0], step=0.0), ValueError, "step must be finite and positive, got 0.0"),
        (
            lambda f, g: fista(f, g, [0.0], step=math.nan),
            ValueError,
            "step must be finite and positive, got nan",
        ),
        (
            lambda f, g: monotone_fista(f, g, [0.0], step=1.0),
            TypeError,
            "monotone_fista needs the value f(x)",
        ),
        (lambda f, g: backtracking_fista(f, g, [0.0]), TypeError, "backtracking_fista needs the value f(x)"),
        (lambda f, g: function_restart(g, f), TypeError, "function_restart needs the value g(x), but Smooth"),
        (
            lambda f, g: fista(Flat(), g, [0.0]),
            ValueError,
            "f.lipschitz() must be positive and finite, not 0.0",
        ),
        (
            lambda f, g: fista(f, g, [0.0], step=[1.0, 1.0]),
            ValueError,
            "step of shape (2,) does not broadcast to the sh",
        ),
        (lambda f, g: fista(f, g, [0.0], step=np.ones(1)), ValueError, "step is torch.float64, x0 is torch.float32"),
        (lambda f, g: fista(f, g, [0.0], step=torch.tensor([-1.0])), ValueError, "step must be finite and positive"),
        (lambda f, g: fista(f, g, [0.0], step="auto"), TypeError, "step must be a tensor, an array or numbers, got 'a"),
        (lambda f, g: backtracking_fista(g, g, [0.0], step=[1.0]), ValueError, "step must be a single number"),
        (lambda f, g: fista(f, g, [0.0], step=1, momentum=0.9), TypeError, "momentum must be a function such as nest"),
        (lambda f, g: monotone_fista(g, g, [0.0], momentum=None), TypeError, "momentum must be a function"),
        (lambda f, g: backtracking_fista(g, g, [0.0], momentum=1), TypeError, "momentum must be a function"),
        (lambda f, g: fista(f, g, [0.0], step=1, restart=True), TypeError, "restart must be a function such as grad"),
        (
            lambda f, g: fista(optsci.SeparableSum(g, g), g, (torch.zeros(1), torch.zeros(2))),
            TypeError,
            "x0 must be one tensor, not a tuple of tensors: fista takes no blocks",
        ),
        (lambda f, g: chambolle_dossal(2), ValueError, "a must be greater than 2, not 2"),
        (lambda f, g: strongly_convex(0.0), ValueError, "q = mu/L must be positive and at most 1, not 0.0"),
        (lambda f, g: fista(f, g, ["a"], step=1.0), TypeError, "x0 must be a tensor"),
        (
            lambda f, g: backtracking_fista(g, g, [0.0], shrink=1.0),
            ValueError,
            "shrink must lie between 0 and 1, not 1.0",
        ),
    ],
)
def test_errors(call, error, sentence):
    with pytest.raises(error, match=re.escape(sentence)):
        call(Smooth(), optsci.SquaredL2())


class Smooth:
    def grad(self, x):
        return x


class Flat(Smooth):
    def lipschitz(self):
        return 0.0


# --- batches ------------------------------------------------------------------------------------------------------


def batch_of_lassos(count: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One matrix, right-hand sides of growing size, so that some problems take far longer than others."""
    generator = torch.Generator().manual_seed(3)
    A = torch.randn(60, 30, generator=generator, dtype=torch.float64)
    b = torch.randn(count, 60, generator=generator, dtype=torch.float64)
    return A.T @ A, b @ A * torch.logspace(-1, 1.5, count, dtype=torch.float64)[:, None], A


@pytest.mark.parametrize("check_every", [1, 7])
@pytest.mark.parametrize("algorithm", [optsci.ista, partial(optsci.fista, restart=optsci.gradient_restart)])
def test_a_batch_gives_each_problem_what_it_gets_alone(algorithm, check_every):
    Q, c, _ = batch_of_lassos()
    limits = {"tol": 1e-6, "max_iter": 4000, "check_every": check_every}
    run = optsci.solve(algorithm(optsci.Quadratic(Q, c), optsci.L1(0.7), torch.zeros_like(c), batch_dims=1), **limits)
    assert run.status is optsci.Status.CONVERGED
    for k in range(len(c)):
        alone = optsci.solve(algorithm(optsci.Quadratic(Q, c[k]), optsci.L1(0.7), torch.zeros_like(c[k])), **limits)
        assert run.instances.iterations[k] == alone.iterations
        torch.testing.assert_close(run.x[k], alone.x, rtol=1e-9, atol=1e-12)
    assert len(set(run.instances.iterations.tolist())) > 1
    assert run.iterations == run.instances.iterations.max()


def test_a_batch_gives_up_what_is_not_finite_and_goes_on():
    Q, c, _ = batch_of_lassos()
    start = torch.zeros_like(c)
    start[2] = torch.nan
    run = optsci.solve(optsci.ista(optsci.Quadratic(Q, c), optsci.L1(0.7), start, batch_dims=1), tol=1e-3)
    assert run.instances.converged.tolist() == [True, True, False, True, True, True]
    assert run.status is optsci.Status.NON_FINITE
    assert "5 of 6 problems converged" in str(run)


def test_a_batch_is_differentiable_at_the_point_where_each_problem_stopped():
    Q, c, _ = batch_of_lassos(3)

    def total(c: torch.Tensor) -> torch.Tensor:
        steps = optsci.ista(optsci.Quadratic(Q, c), optsci.L1(0.7), torch.zeros_like(c), step=0.01, batch_dims=1)
        return optsci.solve(steps, tol=1e-12, max_iter=30).x

    assert torch.autograd.gradcheck(total, (c.requires_grad_(),), fast_mode=True)


def test_batch_dims_beyond_those_of_x0_are_refused():
    Q, c, _ = batch_of_lassos(3)
    with pytest.raises(ValueError, match="batch_dims must lie between 0 and the 2 dimensions of x0, not 3"):
        optsci.fista(optsci.Quadratic(Q, c), optsci.L1(0.7), torch.zeros_like(c), batch_dims=3)
