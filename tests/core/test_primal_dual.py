"""Primal-dual methods: lock-step equality, known solutions, bounds, rates, sharp steps, derivatives, refusals."""

from __future__ import annotations

import re
from functools import partial
from itertools import islice

import numpy as np
import pytest
import torch

import optsci
from optsci import (
    accelerated_chambolle_pock,
    adaptive_chambolle_pock,
    chambolle_pock,
    condat_vu,
    davis_yin,
    douglas_rachford,
    linearized_admm,
    pd3o,
    solve,
)
from optsci.primal_dual import chambolle_pock_step
from problems import lasso

ZERO = optsci.L1(0.0)


class Shifted:
    """Half the squared distance to b."""

    def __init__(self, b):
        self.b = b

    def __call__(self, x):
        return (x - self.b).square().sum() / 2

    def prox(self, x, step):
        return (x + step * self.b) / (1 + step)

    def grad(self, x):
        return x - self.b

    def lipschitz(self):
        return 1.0


@pytest.fixture(scope="module")
def p():
    return lasso(60, 150, 8)


@pytest.fixture(scope="module")
def split(p):
    """The lasso as |x|_1 + g(A x): f, g, A."""
    A, b = p.data
    return p.g, Shifted(b), optsci.Matrix(A)


@pytest.fixture(scope="module")
def fused():
    """A strongly convex problem: f(x) = |x - b|^2/2, g(K x) = 0.2 |D x|_1, with D the differences."""
    b = torch.randn(30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    D = torch.eye(30, dtype=torch.float64).diff(dim=0)
    x = solve(chambolle_pock(Shifted(b), optsci.L1(0.2), D, b), tol=1e-14, max_iter=20_000).x
    return Shifted(b), optsci.L1(0.2), optsci.Matrix(D), b, x


def nth(steps, count):
    """The state of iteration `count`."""
    return next(islice(steps, count - 1, None))


@pytest.mark.parametrize(
    ("steps", "bound"),
    [
        (chambolle_pock, 2000),
        (partial(chambolle_pock, theta=0.9), 2000),
        (adaptive_chambolle_pock, 4000),
    ],
    ids=["chambolle_pock", "theta", "adaptive"],
)
def test_lasso_with_known_solution(p, split, steps, bound):
    run = solve(steps(*split, p.start), tol=1e-9, max_iter=bound).raise_if_failed()
    torch.testing.assert_close(run.x, p.x, rtol=0, atol=1e-6)
    A, b = p.data
    torch.testing.assert_close(run.state.y, A @ p.x - b, rtol=0, atol=1e-6)


@pytest.mark.parametrize("steps", [condat_vu, pd3o])
def test_lasso_with_known_solution_by_gradients(p, steps):
    """The loss by its gradient, half of the penalty through an operator: K = 1."""
    half, eye = optsci.L1(p.g.weight / 2), torch.eye(150, dtype=torch.float64)
    run = solve(steps(half, half, p.f, eye, p.start), tol=1e-10, max_iter=10_000).raise_if_failed()
    torch.testing.assert_close(run.x, p.x, rtol=0, atol=1e-6)


def test_chambolle_pock_with_the_identity_is_douglas_rachford(p):
    eye, tau = torch.eye(150, dtype=torch.float64), 0.3
    y0 = torch.linspace(-1, 1, 150, dtype=torch.float64)
    pairs = zip(
        chambolle_pock(p.f, p.g, eye, p.start, y0=y0, tau=tau, sigma=1 / tau),
        douglas_rachford(p.f, p.g, p.start - tau * y0, step=tau),
        strict=False,
    )
    for a, b in islice(pairs, 10):
        torch.testing.assert_close(a.x, b.x, rtol=0, atol=1e-13)
        torch.testing.assert_close(a.x - tau * a.y, b.z, rtol=0, atol=1e-13)


def test_linearized_admm_is_chambolle_pock_on_the_dual(split, p):
    """Its dual variable rho u is what Chambolle and Pock call primal, for g* + f*(-A^T .)."""
    f, g, A = split
    rho, tau = 0.7, 1.1 * 0.7 * A.norm() ** 2

    class DualOfG:
        prox = staticmethod(lambda v, s: v - s * g.prox(v / s, 1 / s))

    class MirroredDualOfF:  # v -> f*(-v)
        prox = staticmethod(lambda v, s: v + s * f.prox(-v / s, 1 / s))

    x0 = torch.linspace(-1, 1, 150, dtype=torch.float64)
    first = nth(linearized_admm(f, g, A, x0, rho=rho, tau=tau), 1)
    # The dual method moves its primal u first, and so starts from the x that linearised ADMM has after one move.
    admm = linearized_admm(f, g, A, x0, rho=rho, tau=tau)
    dual = chambolle_pock(
        DualOfG(), MirroredDualOfF(), A.T, torch.zeros(60, dtype=torch.float64), y0=-first.x, tau=rho, sigma=1 / tau
    )
    for a, b in islice(zip(admm, dual, strict=False), 10):
        torch.testing.assert_close(rho * a.u, b.x, rtol=0, atol=1e-12)


def test_pd3o_with_the_identity_is_davis_yin(p):
    """pd3o begins with x_bar = x0, davis_yin with x0 - tau grad h(x0): h has its minimum at x0 for both to be equal."""
    box, eye, tau = optsci.Box(-0.5, 0.3), torch.eye(150, dtype=torch.float64), 1.5
    x0 = torch.linspace(-0.4, 0.4, 150, dtype=torch.float64).clamp(-0.5, 0.3)
    h = Shifted(x0)
    a_steps, b_steps = davis_yin(box, p.g, h, x0, step=tau), pd3o(box, p.g, h, eye, x0, tau=tau)
    next(a_steps)  # its first x is x0, from which pd3o goes on
    for a, b in islice(zip(a_steps, b_steps, strict=False), 10):
        torch.testing.assert_close(a.x, b.x, rtol=0, atol=1e-13)


def test_pd3o_reaches_the_objective_of_condat_vu(p):
    """Lasso and total variation."""
    D = torch.eye(150, dtype=torch.float64).diff(dim=0)
    tv = optsci.L1(0.1)

    def objective(x):
        return (p.f(x) + p.g(x) + tv(D @ x)).item()

    values = [
        objective(solve(steps(p.g, tv, p.f, D, p.start), tol=1e-12, max_iter=50_000).raise_if_failed().x)
        for steps in (condat_vu, pd3o)
    ]
    assert abs(values[0] - values[1]) < 1e-11 * abs(values[0])


def test_ergodic_gap_is_below_the_published_bound(p, split):
    f, g, A = split
    b = p.data[1]
    y_star = A(p.x) - b
    tau = sigma = 1 / A.norm()

    def saddle(x, y):
        conjugate = y.square().sum() / 2 + (b * y).sum()
        return f(x) + (A(x) * y).sum() - conjugate

    move = (p.x - p.start, y_star)
    constant = (move[0].square().sum() / tau + move[1].square().sum() / sigma) / 2 - (A(move[0]) * move[1]).sum()
    sum_x, sum_y = 0, 0
    for k, state in enumerate(islice(chambolle_pock(f, g, A, p.start), 200), start=1):
        sum_x, sum_y = sum_x + state.x, sum_y + state.y
        gap = saddle(sum_x / k, y_star) - saddle(p.x, sum_y / k)
        assert -1e-12 <= gap <= constant / k + 1e-12


@pytest.mark.parametrize(("product", "converges"), [(1.333, True), (1.334, False)])
def test_four_thirds_is_sharp(product, converges):
    """f = 0, g the indicator of 0, K = 1: the characteristic polynomial is z^2 - (2 - 2 s) z + 1 - s."""

    class Origin:
        prox = staticmethod(lambda v, step: torch.zeros_like(v))

    x = y = torch.ones(1, dtype=torch.float64)
    K = optsci.Matrix(torch.ones(1, 1, dtype=torch.float64))
    sizes = []
    for _ in range(40_000):
        x, y = chambolle_pock_step(ZERO, Origin(), K, x, y, product, 1.0)
        sizes.append(x.abs().item())
    early, late = max(sizes[:100]), max(sizes[-100:])
    assert late < 1e-3 * early if converges else late > 1e3 * early


def test_larger_steps_save_iterations(split, p):
    norm = split[2].norm()
    classical = solve(chambolle_pock(*split, p.start), tol=1e-8).iterations
    enlarged = solve(chambolle_pock(*split, p.start, tau=1 / norm, sigma=1.33 / norm), tol=1e-8).iterations
    assert enlarged < 0.95 * classical


def test_accelerated_error_is_of_order_one_over_k_squared(fused):
    """Theorem 2 with tau_0 = 1/||K||; the squared distance times k^2 never exceeds what it gives."""
    f, g, K, b, x_star = fused
    tau = 1 / K.norm()
    y_star = solve(chambolle_pock(f, g, K, b), tol=1e-14, max_iter=20_000).state.y
    start = torch.zeros_like(b)
    errors = np.array(
        [
            (s.x - x_star).square().sum().item()
            for s in islice(accelerated_chambolle_pock(f, g, K, start, strong_convexity=1.0), 400)
        ]
    )
    k = np.arange(1, 401)
    bound = x_star.square().sum().item() / tau**2 + K.norm() ** 2 * y_star.square().sum().item()
    assert (errors[10:] * k[10:] ** 2 <= 2 * bound).all()
    slope = np.polyfit(np.log(k[20:]), np.log(np.maximum.accumulate(errors[::-1])[::-1][20:]), 1)[0]
    assert slope < -1.9


def test_accelerated_steps_keep_their_product(fused):
    f, g, K, b, _ = fused
    state = nth(accelerated_chambolle_pock(f, g, K, b, strong_convexity=1.0), 50)
    torch.testing.assert_close(state.tau * state.sigma, torch.tensor(1 / K.norm() ** 2, dtype=torch.float64))
    assert state.tau < 0.1 / K.norm()


def test_adaptive_step_recovers_from_a_bad_guess(p, split):
    for step in (1e-3, 1e3):
        run = solve(adaptive_chambolle_pock(*split, p.start, step=step), tol=1e-8, max_iter=4000).raise_if_failed()
        torch.testing.assert_close(run.x, p.x, rtol=0, atol=1e-5)
    first = nth(adaptive_chambolle_pock(*split, p.start, step=1e3), 1)
    assert not first.accepted
    assert torch.equal(first.x, p.start)
    assert first.residual == 1


def test_warm_start_needs_primal_and_dual(p, split):
    cold = solve(chambolle_pock(*split, p.start), tol=1e-8).iterations
    state = nth(chambolle_pock(*split, p.start), 100)
    both = solve(chambolle_pock(*split, state.x, y0=state.y), tol=1e-8).iterations
    primal = solve(chambolle_pock(*split, state.x), tol=1e-8).iterations
    assert both == cold - 100
    assert both < primal


@pytest.mark.parametrize(
    "steps",
    [
        lambda f, g, h, K, x: chambolle_pock(f, g, K, x),
        lambda f, g, h, K, x: accelerated_chambolle_pock(f, g, K, x, strong_convexity=0.5),
        lambda f, g, h, K, x: adaptive_chambolle_pock(f, g, K, x),
        condat_vu,
        pd3o,
    ],
    ids=["chambolle_pock", "accelerated", "adaptive", "condat_vu", "pd3o"],
)
def test_unrolled_gradient(steps):
    x0 = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    K = torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, -1.0]], dtype=torch.float64)

    def last(w):
        return nth(steps(optsci.SquaredL2(w), Shifted(K @ x0), Shifted(x0), K, x0), 5).x

    assert torch.autograd.gradcheck(last, (torch.tensor(0.7, dtype=torch.float64, requires_grad=True),))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: chambolle_pock(ZERO, ZERO, [[2.0]], [1.0], tau=1.0, sigma=1 / 3),
            "tau sigma K.norm()**2 must be below 4/3, got 1.33333",
        ),
        (
            lambda: chambolle_pock(ZERO, ZERO, [[1.0]], [1.0], tau=1.0, sigma=1.3, theta=0.8),
            "must be below 1.2339",
        ),
        (lambda: chambolle_pock(ZERO, ZERO, [[1.0]], [1.0], theta=1.1), "theta must be above 0 and at most 1, got 1.1"),
        (lambda: chambolle_pock(ZERO, abs, [[1.0]], [1.0]), "chambolle_pock needs g.prox"),
        (lambda: chambolle_pock(abs, ZERO, [[1.0]], [1.0]), "chambolle_pock needs f.prox"),
        (lambda: chambolle_pock(ZERO, ZERO, [[0.0]], [1.0]), "K.norm() must be positive and finite, not 0.0"),
        (lambda: chambolle_pock(ZERO, ZERO, [[1.0]], [1.0], y0=[1.0, 2.0]), "y0 must have the shape (1,), not (2,)"),
        (lambda: chambolle_pock(ZERO, ZERO, [[1.0]], [1.0], tau=0.0), "tau must be finite and positive, got 0.0"),
        (
            lambda: accelerated_chambolle_pock(ZERO, ZERO, [[1.0]], [1.0], strong_convexity=0.0),
            "strong_convexity must be finite and positive, got 0.0",
        ),
        (
            lambda: condat_vu(ZERO, ZERO, Shifted(0.0), [[1.0]], [1.0], tau=0.7, sigma=1.0),
            "1/tau - sigma K.norm()**2 must be at least h.lipschitz()/2 = 0.5, got 0.428571",
        ),
        (lambda: condat_vu(ZERO, ZERO, ZERO, [[1.0]], [1.0]), "condat_vu needs h.grad"),
        (
            lambda: pd3o(ZERO, ZERO, Shifted(0.0), [[1.0]], [1.0], tau=2.0),
            "tau must be below 2/h.lipschitz() = 2, got 2.0",
        ),
        (
            lambda: pd3o(ZERO, ZERO, Shifted(0.0), [[1.0]], [1.0], tau=1.0, sigma=1.1),
            "tau sigma K.norm()**2 must be at most 1, got 1.1",
        ),
        (
            lambda: adaptive_chambolle_pock(ZERO, ZERO, [[1.0]], [1.0], shrink=1.0),
            "shrink must lie between 0 and 1, got 1.0",
        ),
    ],
)
def test_refusals(call, sentence):
    with pytest.raises((TypeError, ValueError), match=re.escape(sentence)):
        call()
