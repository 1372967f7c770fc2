"""First-order and quasi-Newton training: lock-step with torch and scipy, known optima, and what ends a run."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import optsci
from optsci.pinn import MLP, Boundary, Data, EachStep, Interval, Poisson, Residual, adam, cosine_decay, lbfgs
from optsci.pinn.lbfgs import two_loops
from optsci.pinn.line_search import Trial, strong_wolfe
from optsci.pinn.parameter_vectors import Ended, set_vector, to_vector, value_and_gradient
from optsci.pinn.schedules import exponential_decay


class Point(nn.Module):
    """A u that is its own parameter."""

    def __init__(self, *x, dtype=torch.float64):
        super().__init__()
        self.x = nn.Parameter(torch.tensor(x, dtype=dtype))


def rosenbrock(u):
    x = u.x
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def pinn(seed=0):
    """-u'' = pi^2 sin(pi x), whose solution is sin(pi x)."""
    problem = Poisson(Interval(0.0, 1.0), source=lambda x: np.pi**2 * np.sin(np.pi * x[0]))
    return MLP(1, [10], 1, box=problem.domain, seed=seed), Residual(problem, 40) + 10 * Boundary(problem, 10)


def test_vectors_of_parameters_go_back_where_they_came_from():
    u, _ = pinn()
    before, vector = [p.clone() for p in u.parameters()], to_vector(u)
    set_vector(u, torch.zeros_like(vector))
    assert not to_vector(u).any()
    set_vector(u, vector)
    assert all(torch.equal(a, b) for a, b in zip(before, u.parameters(), strict=True))


def test_parameters_that_are_not_trained_stay_as_they_are():
    u, loss = pinn()
    u.weights[0].requires_grad_(False)
    fixed = u.weights[0].clone()
    optsci.solve(adam(u, loss), max_iter=3)
    optsci.solve(lbfgs(u, loss), max_iter=3)
    assert torch.equal(u.weights[0], fixed)
    assert all(p.grad is None for p in u.parameters())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_adam_is_that_of_torch_to_the_last_bit(dtype):
    u, loss = Point(-1.2, 1.0, 0.3, dtype=dtype), rosenbrock
    twin = Point(-1.2, 1.0, 0.3, dtype=dtype)
    optimizer = torch.optim.Adam(twin.parameters(), lr=0.05, betas=(0.8, 0.99), eps=1e-6)
    schedule = cosine_decay(0.05, 60)
    for k, state in zip(range(60), adam(u, loss, lr=schedule, betas=(0.8, 0.99), eps=1e-6), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = schedule(k)
        optimizer.zero_grad()
        value = rosenbrock(twin)
        value.backward()
        assert state.residual == twin.x.grad.abs().max()
        optimizer.step()
        assert torch.equal(u.x, twin.x)
        assert state.loss == value


def test_adam_takes_the_loss_of_its_step():
    seen = []
    u = Point(1.0)
    optsci.solve(adam(u, EachStep(lambda k: seen.append(k) or (lambda u: u.x.square().sum()))), max_iter=3)
    assert seen == [0, 1, 2]


def test_schedules_meet_their_ends():
    rate = cosine_decay(1.0, 10, last=0.1)
    assert [rate(0), rate(10), rate(99)] == [1.0, 0.1, 0.1]
    assert rate(5) == pytest.approx(0.55)
    assert all(rate(k) > rate(k + 1) for k in range(10))
    assert exponential_decay(1.0, 0.1, 4)(8) == pytest.approx(0.01)


def test_two_loops_apply_the_matrix_of_the_bfgs_formula():
    torch.manual_seed(0)
    A = torch.randn(6, 6, dtype=torch.float64)
    A = A @ A.T + torch.eye(6)
    s = torch.randn(4, 6, dtype=torch.float64)
    y = s @ A
    H = (s[-1] @ y[-1]) / (y[-1] @ y[-1]) * torch.eye(6, dtype=torch.float64)
    for a, b in zip(s, y, strict=True):
        V = torch.eye(6) - torch.outer(b, a) / (a @ b)
        H = V.T @ H @ V + torch.outer(a, a) / (a @ b)
    g = torch.randn(6, dtype=torch.float64)
    torch.testing.assert_close(two_loops(g, s, y), H @ g, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("step", [1e-4, 0.3, 1.0, 50.0])
@pytest.mark.parametrize(
    ("value", "slope"),
    [
        (lambda a: -a / (a * a + 2), lambda a: (a * a - 2) / (a * a + 2) ** 2),  # Moré and Thuente's first function
        (lambda a: (a + 0.004) ** 5 - 2 * (a + 0.004) ** 4, lambda a: 5 * (a + 0.004) ** 4 - 8 * (a + 0.004) ** 3),
        (lambda a: a**2 - a, lambda a: 2 * a - 1),
    ],
)
def test_the_line_search_ends_where_both_wolfe_conditions_hold(step, value, slope):
    def phi(a):
        return Trial(a, value(a), slope(a))

    origin = phi(0.0)
    found = strong_wolfe(phi, origin, step)
    assert found.value <= origin.value + 1e-4 * found.step * origin.slope
    assert abs(found.slope) <= 0.9 * abs(origin.slope)


@settings(max_examples=100, deadline=None)
@given(
    waves=st.tuples(*[st.floats(-10, 10)] * 2),
    bend=st.floats(1e-3, 100),
    center=st.floats(0.1, 5),
    scale=st.sampled_from([1e-8, 1.0, 1e8]),
    offset=st.sampled_from([0.0, 1e3]),
    step=st.sampled_from([1e-6, 1e-2, 1.0, 1e6]),
)
def test_both_wolfe_conditions_hold_whatever_the_scale_and_the_first_step(waves, bend, center, scale, offset, step):
    def phi(a):
        value = bend * (a - center) ** 2 + sum(w * np.sin(3 * k * a) for k, w in enumerate(waves)) + offset
        slope = 2 * bend * (a - center) + sum(3 * k * w * np.cos(3 * k * a) for k, w in enumerate(waves))
        return Trial(a, scale * value, scale * slope)

    origin = phi(0.0)
    if origin.slope < -1e-3 * scale:
        found = strong_wolfe(phi, origin, step)
        assert found.value <= origin.value + 1e-4 * found.step * origin.slope
        assert abs(found.slope) <= 0.9 * abs(origin.slope)


def test_the_line_search_keeps_off_values_that_are_not_finite():
    def phi(a):
        return Trial(a, -a, -1.0 + a) if a < 2 else Trial(a, float("nan"), float("nan"))

    assert 0 < strong_wolfe(phi, phi(0.0), 1e6).step < 2


def test_the_line_search_says_that_nothing_is_lower():
    assert strong_wolfe(lambda a: Trial(a, a, -1.0), Trial(0.0, 0.0, -1.0), 1.0) is None


@pytest.mark.parametrize("n", [2, 10, 30])
def test_lbfgs_needs_no_more_evaluations_than_scipy_on_rosenbrock(n):
    from scipy.optimize import minimize, rosen, rosen_der

    start = [-1.2, 1.0] * (n // 2)
    run = optsci.solve(lbfgs(Point(*start), rosenbrock, memory=10), tol=1e-8)
    peer = minimize(
        rosen, start, jac=rosen_der, method="L-BFGS-B", options={"maxcor": 10, "gtol": 1e-8, "ftol": 0, "maxiter": 2000}
    )
    torch.testing.assert_close(run.x.x.detach(), torch.ones(n, dtype=torch.float64), rtol=0, atol=1e-7)
    assert run.state.evaluations <= 1.25 * peer.nfev + 5


class ReachedError(Exception):
    """Stops scipy."""


def evaluations_of_scipy(u, loss, target):
    """Return how often L-BFGS-B calls the loss until it is below the target."""
    from scipy.optimize import minimize

    calls = 0

    def value(theta):
        nonlocal calls
        calls += 1
        set_vector(u, torch.from_numpy(theta))
        value, gradient = value_and_gradient(u, loss)
        if value < target:
            raise ReachedError
        return value.item(), gradient.numpy()

    options = {"maxcor": 50, "ftol": 0, "gtol": 0}
    with pytest.raises(ReachedError):
        minimize(value, to_vector(u).numpy(), jac=True, method="L-BFGS-B", options=options)
    return calls


def test_lbfgs_needs_no_more_evaluations_than_scipy_on_a_pinn():
    ratios = []
    for seed in range(4):  # rounding sends single runs apart; their mean is what can be compared
        u, loss = pinn(seed)
        run = optsci.solve(lbfgs(u, loss), tol=0, max_iter=1000, stop=lambda s: s.loss < 1e-3)
        assert run.state.loss < 1e-3
        ratios.append(run.state.evaluations / evaluations_of_scipy(*pinn(seed), 1e-3))
    assert np.exp(np.mean(np.log(ratios))) <= 1.3


def test_lbfgs_ends_a_quadratic_at_its_minimum_and_says_why():
    A = torch.diag(torch.logspace(0, 4, 8, dtype=torch.float64))
    b = torch.arange(1.0, 9.0, dtype=torch.float64)
    u = Point(*[0.0] * 8)
    run = optsci.solve(lbfgs(u, lambda u: 0.5 * u.x @ A @ u.x - b @ u.x), tol=0)
    torch.testing.assert_close(u.x.detach(), b / A.diagonal(), rtol=1e-9, atol=0)
    assert run.status is optsci.Status.EXHAUSTED
    assert run.state.reason in (Ended.NO_LOWER_LOSS, Ended.STATIONARY)
    assert run.iterations < 100


def test_the_loss_never_rises_under_lbfgs():
    losses = [float(s.loss) for s, _ in zip(lbfgs(Point(-1.2, 1.0, -1.2), rosenbrock), range(60), strict=False)]
    assert all(b <= a * (1 + 1e-12) for a, b in pairwise(losses))


def test_lbfgs_walks_around_a_region_without_values():
    u = Point(-1.0)  # log: NaN below -2 or above 2
    run = optsci.solve(lbfgs(u, lambda u: (-(2 - u.x).log() - (2 + u.x).log() - 3 * u.x).sum()), tol=1e-9)
    assert run.status is optsci.Status.CONVERGED
    assert u.x.item() == pytest.approx((-1 + 37**0.5) / 3, rel=1e-8)


def test_lbfgs_goes_back_to_its_best_iterate_where_the_loss_breaks_down():
    calls = 0

    def loss(u):
        nonlocal calls
        calls += 1
        return rosenbrock(u) * (float("nan") if calls > 20 else 1.0)

    u = Point(-1.2, 1.0)
    states = list(lbfgs(u, loss))
    assert states[-1].reason is Ended.NOT_FINITE
    assert rosenbrock(u) == states[-1].loss == min(s.loss for s in states)


def test_bad_input_is_refused_in_a_sentence():
    u, loss = pinn()
    with pytest.raises(ValueError, match="lr must be positive or a function of the number of steps, got 0"):
        adam(u, loss, lr=0)
    with pytest.raises(ValueError, match="betas must be from 0 to below 1"):
        adam(u, loss, betas=(0.9, 1.0))
    with pytest.raises(TypeError, match="u must be a module with parameters"):
        adam(lambda x: x, loss)
    with pytest.raises(ValueError, match="memory must be a positive integer, got 0"):
        lbfgs(u, loss, memory=0)
    with pytest.raises(TypeError, match="loss must be the same at every step for lbfgs"):
        lbfgs(u, EachStep(lambda k: loss))
    with pytest.raises(ValueError, match="loss must be finite at the start"):
        lbfgs(u, lambda u: loss(u) * float("inf"))
    with pytest.raises(ValueError, match="loss must give one number"):
        next(adam(u, lambda u: torch.ones(2)))
    with pytest.raises(ValueError, match="u must have a parameter with requires_grad"):
        adam(nn.Tanh(), loss)
    x = torch.ones(3, 1, dtype=torch.float64)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        adam(u, Data(x, x), lr=cosine_decay(1.0, 0))
    with pytest.raises(ValueError, match="loss must give one number"):
        next(adam(u, lambda u: 1.0))
    with pytest.raises(TypeError, match=r"function must take the step k to a loss, as in lambda k: …, got Loss"):
        EachStep(loss)
