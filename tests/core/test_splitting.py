"""Splitting methods: lock-step equality, known solutions, derivatives, refusals."""

from __future__ import annotations

import re
from functools import partial
from itertools import islice, pairwise

import pytest
import torch

import optsci
from optsci import davis_yin, douglas_rachford, ista, peaceman_rachford, solve
from problems import lasso

ZERO = optsci.L1(0.0)


@pytest.fixture(scope="module")
def p():
    return lasso(60, 150, 8)


def unrolled(steps, count):
    """The state of iteration `count`."""
    return next(islice(steps, count - 1, None))


@pytest.mark.parametrize(
    ("steps", "bound"),
    [
        (partial(douglas_rachford, step=0.1), 350),
        (partial(douglas_rachford, step=0.1, relaxation=1.6), 220),
        (partial(peaceman_rachford, step=0.1), 200),
    ],
    ids=["douglas_rachford", "relaxed", "peaceman_rachford"],
)
def test_lasso_with_known_solution(p, steps, bound):
    run = solve(steps(p.f, p.g, p.start), tol=1e-10, max_iter=bound)
    run.raise_if_failed()
    torch.testing.assert_close(run.x, p.x, rtol=0, atol=1e-7)


def test_over_relaxation_and_contraction_save_iterations(p):
    plain = solve(douglas_rachford(p.f, p.g, p.start, step=0.1), tol=1e-8).iterations
    relaxed = solve(douglas_rachford(p.f, p.g, p.start, step=0.1, relaxation=1.6), tol=1e-8).iterations
    contractive = solve(peaceman_rachford(p.f, p.g, p.start, step=0.1), tol=1e-8).iterations
    assert relaxed < 0.75 * plain
    assert contractive < 0.75 * plain


def test_davis_yin_solves_a_lasso_in_a_box(p):
    """The upper bound cuts the largest entry; optimality is that of a projected proximal gradient step."""
    box = optsci.Box(-0.5, 0.5)
    x = solve(davis_yin(box, p.g, p.f, p.start), tol=1e-12, max_iter=20_000).raise_if_failed().x
    step = 1 / p.f.lipschitz()
    v = p.g.prox(x - step * p.f.grad(x), step).clamp(-0.5, 0.5)  # in one dimension the prox of the sum
    torch.testing.assert_close(v, x, rtol=0, atol=1e-10)
    assert x.abs().max() == 0.5
    assert p.x.abs().max() > 0.5


def test_davis_yin_without_f_is_ista(p):
    pairs = zip(davis_yin(ZERO, p.g, p.f, p.start), ista(p.f, p.g, p.start), strict=False)
    for a, b in islice(pairs, 10):
        torch.testing.assert_close(a.y, b.x, rtol=0, atol=1e-14)


def test_davis_yin_without_h_is_douglas_rachford(p):
    zero = optsci.Quadratic(torch.zeros(150, 150, dtype=torch.float64), torch.zeros(150, dtype=torch.float64))

    class Flat:
        grad = staticmethod(zero.grad)

    pairs = zip(
        davis_yin(p.f, p.g, Flat(), p.start, step=0.7), douglas_rachford(p.f, p.g, p.start, step=0.7), strict=False
    )
    for a, b in islice(pairs, 10):
        torch.testing.assert_close(a.z, b.z, rtol=0, atol=1e-14)


def test_the_difference_of_douglas_rachford_iterates_never_grows(p):
    """Firmly non-expansive: ||z_{k+1} - z_k|| does not rise, and its square times k stays bounded."""
    z = [state.z for state in islice(douglas_rachford(p.f, p.g, p.start, step=1.0), 100)]
    d = torch.stack([(b - a).norm() for a, b in pairwise(z)])
    assert (d[1:] <= d[:-1] * (1 + 1e-12)).all()
    k = torch.arange(1, len(d) + 1)
    distance = (p.start - unrolled(douglas_rachford(p.f, p.g, p.start, step=1.0), 3000).z).square().sum()
    assert (d.square() * k <= distance).all()


def test_goes_on_from_its_state(p):
    state = unrolled(douglas_rachford(p.f, p.g, p.start, step=1.0), 5)
    again = unrolled(douglas_rachford(p.f, p.g, state.z, step=1.0), 5)
    assert torch.equal(again.x, unrolled(douglas_rachford(p.f, p.g, p.start, step=1.0), 10).x)


@pytest.mark.parametrize(
    "steps",
    [
        lambda w: douglas_rachford(optsci.SquaredL2(w), optsci.L1(0.1), torch.ones(3).double(), step=0.5),
        lambda w: peaceman_rachford(optsci.SquaredL2(w), optsci.L1(0.1), torch.ones(3).double(), step=0.5),
        lambda w: davis_yin(optsci.L1(w), optsci.L1(0.1), optsci.SquaredL2(1.0), torch.ones(3).double()),
    ],
    ids=["douglas_rachford", "peaceman_rachford", "davis_yin"],
)
def test_unrolled_gradient(steps):
    w = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: unrolled(steps(w), 5).x, (w,))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda p: douglas_rachford(p.f, abs, p.start, step=1.0), "douglas_rachford needs g.prox"),
        (lambda p: douglas_rachford(p.f, p.g, p.start, step=0.0), "step must be finite and positive, got 0.0"),
        (
            lambda p: douglas_rachford(p.f, p.g, p.start, step=1.0, relaxation=2.0),
            "relaxation must lie between 0 and 2, got 2.0",
        ),
        (lambda p: douglas_rachford(p.f, p.g, p.start[:3], step=1.0), "x0 has shape (3,), but f takes (150,)"),
        (lambda p: douglas_rachford(p.f, p.g, [p.start], step=1.0), "x0 must be one tensor, not a list of tensors"),
        (
            lambda p: peaceman_rachford(p.f, p.g, p.start, step=1.0, contraction=1.0),
            "contraction must lie between 0 and 1, got 1.0",
        ),
        (lambda p: peaceman_rachford(p.f, p.g, p.start, step=1.0, u0=[0.0]), "u0 must have the shape (150,), not (1,)"),
        (
            lambda p: davis_yin(p.g, p.g, optsci.SquaredL2(2.0), p.start, step=1.0),
            "step must be below 2/h.lipschitz() = ",
        ),
        (lambda p: davis_yin(p.g, p.g, p.g, p.start), "davis_yin needs h.grad"),
    ],
)
def test_refusals(p, call, sentence):
    with pytest.raises((TypeError, ValueError), match=re.escape(sentence)):
        call(p)
