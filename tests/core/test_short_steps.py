"""Steps that are far too short do not pass for convergence; a smooth term without curvature allows any step."""

from __future__ import annotations

import re
from itertools import islice

import pytest
import torch

import optsci
from optsci import L1, Box, Linear, SquaredL2, Translated, Zero, solve
from optsci.proximal_gradient import magnification
from problems import lasso

SMOOTH = ("ista", "fista", "monotone_fista", "backtracking_fista", "panoc")


@pytest.fixture(scope="module")
def p():
    return lasso(60, 40, 5)


def primal_dual(p):
    """The lasso as |x|_1 + g(A x): f, g, A."""
    A, b = p.data
    return p.g, Translated(SquaredL2(), b), A


def algorithms(p, step, rest=1.0):
    """All algorithms that a user may give a step, in units of the usual one; the second of two is ``rest``."""
    L, norm = p.f.lipschitz(), p.f.A.norm()
    f, g, K = primal_dual(p)
    zero = Zero()
    runs = {name: getattr(optsci, name)(p.f, p.g, p.start, step=0.95 * step / L) for name in SMOOTH}
    runs["douglas_rachford"] = optsci.douglas_rachford(p.f, p.g, p.start, step=step)
    runs["davis_yin"] = optsci.davis_yin(zero, p.g, p.f, p.start, step=step / L)
    runs["chambolle_pock, tau"] = optsci.chambolle_pock(f, g, K, p.start, tau=step / norm, sigma=rest / norm)
    runs["chambolle_pock, sigma"] = optsci.chambolle_pock(f, g, K, p.start, tau=rest / norm, sigma=step / norm)
    runs["condat_vu"] = optsci.condat_vu(f, zero, p.f, torch.eye(40).double(), p.start, tau=step / (L + 1))
    runs["pd3o"] = optsci.pd3o(f, zero, p.f, torch.eye(40).double(), p.start, tau=step / L)
    runs["adaptive_chambolle_pock"] = optsci.adaptive_chambolle_pock(f, g, K, p.start, step=step / norm)
    runs["adaptive_chambolle_pock, ratio"] = optsci.adaptive_chambolle_pock(f, g, K, p.start, ratio=step**2)
    return runs


@pytest.mark.parametrize("step", [1e-6, 1e-9])
def test_the_residual_of_a_short_step_is_no_smaller_than_that_of_a_usual_one(p, step):
    usual = {name: next(iter(states)).residual.item() for name, states in algorithms(p, 1.0).items()}
    for name, states in algorithms(p, step).items():
        for state in islice(states, 30):
            assert state.residual > 1e-3, name
        assert usual[name] > 1e-3, name


def test_a_short_step_does_not_converge_at_a_wrong_point(p):
    for name, states in algorithms(p, 1e-9).items():
        run = solve(states, tol=1e-6, max_iter=1000)
        if run.status is optsci.Status.CONVERGED:  # those that find longer steps by themselves
            assert name == "adaptive_chambolle_pock"
            torch.testing.assert_close(run.x, p.x, rtol=0, atol=1e-4)


def test_usual_steps_and_longer_ones_leave_the_moves_as_they_are(p):
    x = p.start
    for state in islice(optsci.ista(p.f, p.g, x), 5):
        assert state.residual == (x - state.x).norm() / state.x.norm().clamp(min=1)
        x = state.x
    f, g, K = primal_dual(p)
    x, y = p.start, torch.zeros(60).double()
    for state in islice(optsci.chambolle_pock(f, g, K, x), 5):
        moves = [(a - b).norm() / a.norm().clamp(min=1) for a, b in ((state.x, x), (state.y, y))]
        torch.testing.assert_close(state.residual, max(moves), rtol=1e-12, atol=0)
        x, y = state.x, state.y
    for state in islice(optsci.douglas_rachford(p.f, p.g, p.start, step=3.0), 5):
        torch.testing.assert_close(state.residual, (state.x - state.y).norm() / state.x.norm().clamp(min=1))


def test_magnification_of_a_batch_with_steps_of_their_own():
    steps = torch.tensor([[0.1], [2.0]], requires_grad=True)
    c = magnification(steps, 0.5)
    assert not c.requires_grad
    torch.testing.assert_close(c, torch.tensor([[5.0], [1.0]]))
    torch.testing.assert_close(magnification(0.5, torch.tensor([1.0, 0.1])), torch.tensor([2.0, 1.0]))


LINEAR = Linear(torch.tensor([1.0, -2.0]))  # over the box [0, 1]^2 least at (0, 1)
EYE = torch.eye(2)


@pytest.mark.parametrize(
    "steps",
    [
        lambda: optsci.fista(LINEAR, Box(0.0, 1.0), [0.5, 0.5], step=0.3),
        lambda: optsci.ista(LINEAR, Box(0.0, 1.0), [0.5, 0.5], step=0.3),
        lambda: optsci.panoc(LINEAR, Box(0.0, 1.0), [0.5, 0.5], step=0.3),
        lambda: optsci.davis_yin(Box(0.0, 1.0), Zero(), LINEAR, [0.5, 0.5], step=0.3),
        lambda: optsci.condat_vu(Box(0.0, 1.0), L1(0.5), LINEAR, EYE, [0.5, 0.5]),  # tau from K
        lambda: optsci.pd3o(Box(0.0, 1.0), L1(0.5), LINEAR, EYE, [0.5, 0.5], tau=0.3),
    ],
)
def test_a_linear_term_is_welcome_with_a_step(steps):
    run = solve(steps()).raise_if_failed()
    torch.testing.assert_close(run.x, torch.tensor([0.0, 1.0]), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda g: optsci.fista(LINEAR, g, [0.5, 0.5]),
            "f.lipschitz() must be positive and finite, not 0.0; pass step=",
        ),
        (
            lambda g: optsci.davis_yin(g, g, LINEAR, [0.5, 0.5]),
            "h.lipschitz() is 0, so that davis_yin leaves step open: pass step=",
        ),
        (
            lambda g: optsci.pd3o(g, g, LINEAR, EYE, [0.5, 0.5]),
            "h.lipschitz() is 0, so that pd3o leaves tau open: pass tau=",
        ),
    ],
)
def test_a_linear_term_derives_no_step(call, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        call(Box(0.0, 1.0))


@pytest.mark.parametrize("step", [0.01, 0.1])
def test_single_precision_suffices_with_a_sensible_step(step):
    generator = torch.Generator().manual_seed(0)
    f, g = optsci.LeastSquares(torch.randn(50, 20, generator=generator), torch.randn(50, generator=generator)), L1(1.0)
    solve(optsci.douglas_rachford(f, g, torch.zeros(20), step=step), max_iter=3000).raise_if_failed()
    quiet = optsci.Autodiff(f)  # does not tell its L
    solve(optsci.fista(quiet, g, torch.zeros(20), step=0.1 * step), max_iter=3000).raise_if_failed()
