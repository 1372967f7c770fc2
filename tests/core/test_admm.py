"""ADMM: lock-step equality, known solutions, rates, penalties, sharp steps, derivatives, refusals."""

from __future__ import annotations

import re
from functools import partial
from itertools import islice, pairwise

import pytest
import torch

import optsci
from optsci import ResidualBalancing, admm, douglas_rachford, linearized_admm, peaceman_rachford, solve
from problems import lasso


@pytest.fixture(scope="module")
def p():
    return lasso(60, 150, 8)


def nth(steps, count):
    """The state of iteration `count`."""
    return next(islice(steps, count - 1, None))


class Zero:
    """The function 0."""

    def __call__(self, x):
        return x.new_zeros(())

    def prox(self, x, step):
        return x


class Origin:
    """The indicator of 0."""

    def __call__(self, x):
        return torch.where((x == 0).all(), 0.0, torch.inf)

    def prox(self, x, step):
        return torch.zeros_like(x)


class Shifted:
    """Half the squared distance to b."""

    def __init__(self, b):
        self.b = b

    def __call__(self, x):
        return (x - self.b).square().sum() / 2

    def prox(self, x, step):
        return (x + step * self.b) / (1 + step)


class NormlessMatrix(optsci.Matrix):
    """A matrix that reports less than its norm, to get past the check of the step."""

    def norm(self):
        return 1e-3 * super().norm()


@pytest.mark.parametrize(
    ("steps", "bound"),
    [
        (partial(admm, rho=10.0), 360),
        (partial(admm, rho=10.0, relaxation=1.6), 230),
        (partial(admm, rho=10.0, dual_step=1.6), 400),
        (partial(admm, rho=0.01, balance=ResidualBalancing()), 500),
    ],
    ids=["admm", "relaxed", "dual_step", "balanced"],
)
def test_lasso_with_known_solution(p, steps, bound):
    run = solve(steps(p.f, p.g, p.start), tol=1e-10, max_iter=bound).raise_if_failed()
    torch.testing.assert_close(run.x, p.x, rtol=0, atol=1e-7)
    assert torch.equal(run.state.z != 0, p.x != 0)
    torch.testing.assert_close(run.state.rho * run.state.u, -p.f.grad(p.x), rtol=0, atol=1e-7)


def test_linearized_admm_solves_the_lasso_by_its_residual(p):
    A, b = p.data
    run = solve(linearized_admm(p.g, Shifted(b), A, p.start, rho=1.0), tol=1e-9, max_iter=3000).raise_if_failed()
    torch.testing.assert_close(run.x, p.x, rtol=0, atol=1e-6)


def test_admm_is_douglas_rachford(p):
    rho = 3.0
    z0 = p.f.prox(p.start, 1 / rho)  # the first x of admm
    pairs = zip(admm(p.f, p.g, p.start, rho=rho), douglas_rachford(p.g, p.f, z0, step=1 / rho), strict=False)
    for a, d in islice(pairs, 10):
        torch.testing.assert_close(a.z, d.x, rtol=0, atol=1e-13)


def test_linearized_admm_with_the_identity_and_tau_rho_is_admm(p):
    """The linearised step is exact then: G = tau I - rho A^T A = 0."""
    eye = torch.eye(150, dtype=torch.float64)
    pairs = zip(
        admm(p.f, p.g, p.start, rho=3.0), linearized_admm(p.f, p.g, eye, p.start, rho=3.0, tau=3.0), strict=False
    )
    for a, b in islice(pairs, 10):
        for name in ("x", "z", "u", "primal", "dual", "residual"):
            torch.testing.assert_close(getattr(a, name), getattr(b, name), rtol=1e-10, atol=1e-12)


def test_admm_without_contraction_of_the_dual_is_not_peaceman_rachford(p):
    a = nth(admm(p.f, p.g, p.start, rho=10.0), 5)
    b = nth(peaceman_rachford(p.f, p.g, p.start, step=0.1), 5)
    assert not torch.allclose(a.x, b.x)


def test_differences_never_grow_and_their_square_is_of_order_one_over_k(p):
    """He and Yuan: with w = (z, u), ||w_k - w_{k+1}||^2 does not rise and is at most ||w_0 - w*||^2 / (k + 1)."""
    w = [torch.cat([s.z, s.u]) for s in islice(admm(p.f, p.g, p.start), 150)]
    d = torch.stack([(b - a).square().sum() for a, b in pairwise([torch.cat([p.start, p.start]), *w])])
    assert (d[1:] <= d[:-1] * (1 + 1e-12)).all()
    star = torch.cat([p.x, -p.f.grad(p.x)])
    assert (d * torch.arange(1, len(d) + 1) <= star.square().sum()).all()


def test_over_relaxation_saves_iterations(p):
    plain = solve(admm(p.f, p.g, p.start, rho=10.0), tol=1e-8).iterations
    relaxed = solve(admm(p.f, p.g, p.start, rho=10.0, relaxation=1.6), tol=1e-8).iterations
    assert relaxed < 0.7 * plain


def test_residual_balancing_rescues_a_poor_penalty(p):
    poor = solve(admm(p.f, p.g, p.start, rho=100.0), tol=1e-6, max_iter=100_000).iterations
    rescued = solve(admm(p.f, p.g, p.start, rho=100.0, balance=ResidualBalancing()), tol=1e-6).iterations
    assert rescued < poor / 3


def test_balancing_ends():
    balance = ResidualBalancing(every=10, last=400)
    one, large = torch.tensor(1.0), torch.tensor(100.0)
    assert [balance(k, one, large, one).item() for k in (9, 10, 400, 410)] == [1, 2, 2, 1]
    assert balance(10, one, one, large) == 0.5
    assert balance(10, one, one, one) == 1


def test_warm_start_needs_primal_and_dual(p):
    cold = solve(admm(p.f, p.g, p.start, rho=10.0), tol=1e-8)
    state = nth(admm(p.f, p.g, p.start, rho=10.0), 150)
    primal = solve(admm(p.f, p.g, state.z, rho=10.0), tol=1e-8).iterations
    both = solve(admm(p.f, p.g, p.start, rho=10.0, z0=state.z, u0=state.u), tol=1e-8).iterations
    assert both == cold.iterations - 150
    assert both < primal


@pytest.mark.parametrize(("factor", "converges"), [(0.74, False), (0.76, True)])
def test_the_factor_of_linearized_admm_is_sharp(factor, converges):
    """f = 0, g the indicator of 0, A = 1."""
    one = torch.ones(1, dtype=torch.float64)
    A = NormlessMatrix(torch.ones(1, 1, dtype=torch.float64))
    x = nth(linearized_admm(Zero(), Origin(), A, one, rho=1.0, tau=factor), 2000).x.abs()
    assert x < 1e-6 if converges else x > 1e6


def test_an_inexact_prox_is_enough(p):
    """A prox by a few gradient steps from where it last ended, as when it trains a network."""

    class Inexact:
        x = p.start

        def prox(self, v, step):
            for _ in range(20):
                self.x = self.x - (p.f.grad(self.x) + (self.x - v) / step) / (p.f.lipschitz() + 1 / step)
            return self.x

    run = solve(admm(Inexact(), p.g, p.start, rho=10.0), tol=1e-9, max_iter=2000).raise_if_failed()
    torch.testing.assert_close(run.x, p.x, rtol=0, atol=1e-6)


def test_unrolled_gradients():
    def last(w, rho):
        x0 = torch.ones(3, dtype=torch.float64)
        return nth(admm(optsci.SquaredL2(w), Shifted(2 * x0), x0, rho=rho), 4).x

    def last_linearized(w):
        x0 = torch.ones(3, dtype=torch.float64)
        A = torch.arange(6, dtype=torch.float64).reshape(2, 3)
        return nth(linearized_admm(optsci.SquaredL2(w), optsci.L1(0.5), A, x0), 4).x

    w = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    rho = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(last, (w, rho))
    assert torch.autograd.gradcheck(last_linearized, (w,))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda p: admm(abs, p.g, p.start), "admm needs f.prox"),
        (lambda p: admm(p.f, p.g, p.start, rho=-1), "rho must be finite and positive, got -1.0"),
        (lambda p: admm(p.f, p.g, p.start, relaxation=2), "relaxation must lie between 0 and 2, got 2.0"),
        (lambda p: admm(p.f, p.g, p.start, dual_step=1.62), "dual_step must lie between 0 and 1.61803, got 1.62"),
        (lambda p: admm(p.f, p.g, p.start, dual_step=1.6, relaxation=1.6), "one of them must be 1"),
        (lambda p: admm(p.f, p.g, p.start, balance=2.0), "balance must be a rule such as ResidualBalancing()"),
        (lambda p: admm(p.f, p.g, p.start, u0=[1.0]), "u0 must have the shape (150,), not (1,)"),
        (
            lambda p: linearized_admm(Zero(), Zero(), [[2.0]], [1.0], tau=3.0),
            "tau must be above 0.75 rho A.norm()**2 = 3, got 3.0",
        ),
        (lambda p: linearized_admm(Zero(), Zero(), [[0.0]], [1.0]), "A.norm() must be positive and finite, not 0.0"),
        (lambda p: linearized_admm(Zero(), abs, [[1.0]], [1.0]), "linearized_admm needs g.prox"),
        (lambda p: ResidualBalancing(factor=1.0), "factor must be finite and above 1, not 1.0"),
        (lambda p: ResidualBalancing(ratio=0.5), "ratio must be at least 1, not 0.5"),
        (lambda p: ResidualBalancing(every=0), "every must be at least 1, not 0"),
    ],
)
def test_refusals(p, call, sentence):
    with pytest.raises((TypeError, ValueError), match=re.escape(sentence)):
        call(p)
