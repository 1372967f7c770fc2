"""Anderson acceleration: Krylov equivalence, known solutions, the safeguard, derivatives, refusals."""

from __future__ import annotations

import re
from itertools import islice

import pytest
import torch

from optsci import anderson, ista, solve
from problems import lasso, spd


def nth(steps, count):
    """The state of iteration `count`."""
    return next(islice(steps, count - 1, None))


def ista_map(p):
    step = 1 / p.f.lipschitz()
    return lambda x: p.g.prox(x - step * p.f.grad(x), step)


def test_without_memory_it_is_the_plain_iteration():
    p = lasso(20, 40, 4)
    for a, b in islice(zip(anderson(ista_map(p), p.start, memory=0), ista(p.f, p.g, p.start), strict=False), 20):
        torch.testing.assert_close(a.x, b.x, rtol=0, atol=1e-14)


def test_linear_map_ends_after_as_many_steps_as_dimensions():
    """With all of the memory it is GMRES."""
    Q = spd(8, condition=10.0)
    b = torch.ones(8, dtype=torch.float64)
    state = nth(
        anderson(lambda x: x - (Q @ x - b) / 10, torch.zeros(8, dtype=torch.float64), memory=8, regularization=0.0), 10
    )
    torch.testing.assert_close(state.x, torch.linalg.solve(Q, b), rtol=0, atol=1e-6)
    plain = nth(anderson(lambda x: x - (Q @ x - b) / 10, torch.zeros(8, dtype=torch.float64), memory=0), 10)
    assert (plain.x - torch.linalg.solve(Q, b)).norm() > 1e-2


def test_lasso_with_known_solution_in_fewer_iterations():
    p = lasso(60, 150, 8)
    plain = solve(anderson(ista_map(p), p.start, memory=0), tol=1e-8, max_iter=20_000).raise_if_failed()
    run = solve(anderson(ista_map(p), p.start), tol=1e-8, max_iter=20_000).raise_if_failed()
    torch.testing.assert_close(run.x, p.x, rtol=0, atol=1e-5)
    assert run.iterations < plain.iterations / 2


def test_safeguard_drops_what_blows_up():
    """A kink throws the first proposal far off: x goes on from the plain step."""
    x0 = torch.tensor([1.0], dtype=torch.float64)
    states = list(islice(anderson(lambda x: torch.where(x > 0.2, 0.9 * x, 0.5 * x - 5), x0), 8))
    assert not all(state.accepted for state in states)
    sizes = [state.residual for state in states]
    assert all(torch.isfinite(size) for size in sizes)
    dropped = next(k for k, state in enumerate(states) if not state.accepted)
    assert torch.equal(states[dropped].x, states[dropped - 1].x)
    assert states[dropped + 1].accepted


def test_unrolled_gradient():
    b = torch.linspace(-1, 1, 4, dtype=torch.float64)

    def last(w):
        return nth(anderson(lambda x: (w * x + b).tanh() / 2, torch.ones(4, dtype=torch.float64), memory=2), 5).x

    assert torch.autograd.gradcheck(last, (torch.tensor(0.7, dtype=torch.float64, requires_grad=True),), atol=1e-4)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: anderson(1.0, [1.0]), "fixed_point must be a map from x to x, not 1.0"),
        (lambda: anderson(abs, [1.0], memory=-1), "memory must be a whole number and at least 0, not -1"),
        (lambda: anderson(abs, [1.0], regularization=-1.0), "regularization must be finite and at least 0, not -1.0"),
        (lambda: anderson(abs, [1.0], safeguard=0.0), "safeguard must be positive, not 0.0"),
        (lambda: next(anderson(lambda x: x[:, None], [1.0])), "fixed_point takes (1,) but gives (1, 1)"),
    ],
)
def test_refusals(call, sentence):
    with pytest.raises((TypeError, ValueError), match=re.escape(sentence)):
        call()
