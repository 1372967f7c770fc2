"""`solve`: every status, what is recorded, what is read from the device, what stays differentiable."""

from __future__ import annotations

import io
import math
import re
import sys
from typing import Any, NamedTuple

import pytest
import torch

from optsci import SolveError, Status, solve


class State(NamedTuple):
    x: Any
    residual: Any


def halving(start=1.0):
    """x_k = residual_k = start / 2^k: after k states the residual is exactly 2^-k."""
    residual = torch.tensor(start)
    while True:
        residual = residual / 2
        yield State(residual, residual)


def states(*residuals):
    return (State(k, r) for k, r in enumerate(residuals, 1))


def test_converged_at_the_first_residual_that_is_at_most_tol():
    run = solve(halving(), tol=2**-5)
    assert (run.status, run.iterations, run.residual, run.x.item()) == (Status.CONVERGED, 5, 2**-5, 2**-5)
    assert run.raise_if_failed() is run


def test_max_iter_states_are_drawn_and_no_more():
    drawn = []

    def counted():
        for state in halving():
            drawn.append(state)
            yield state

    run = solve(counted(), tol=0.0, max_iter=7)
    assert (run.status, run.iterations, len(drawn), run.state) == (Status.MAX_ITER, 7, 7, drawn[-1])
    with pytest.raises(SolveError, match=r"stopped at max_iter=7, residual 7\.8e-03, .* s; raise max_iter"):
        run.raise_if_failed()


@pytest.mark.parametrize("bad", [math.nan, math.inf, torch.tensor(math.nan)])
def test_a_residual_that_is_not_finite_stops_the_run(bad):
    run = solve(states(1.0, 0.5, bad, 0.0))
    assert (run.status, run.iterations) == (Status.NON_FINITE, 3)
    with pytest.raises(SolveError, match="not finite"):
        run.raise_if_failed()


def test_not_finite_is_said_even_of_the_last_state():
    assert solve(states(math.nan), max_iter=1).status is Status.NON_FINITE


def test_stop_rule_and_callback_end_the_run():
    seen = []
    by_rule = solve(halving(), tol=None, stop=lambda state: state.x < 0.1)
    by_callback = solve(halving(), tol=None, callback=lambda k, state: seen.append(k) or k == 3)
    assert (by_rule.status, by_rule.iterations) == (Status.STOPPED, 4)
    assert (by_callback.status, by_callback.iterations, seen) == (Status.STOPPED, 3, [1, 2, 3])
    assert by_rule.raise_if_failed() is by_rule


def test_an_algorithm_that_ends_by_itself():
    run = solve(states(3.0, 2.0, 1.0))
    assert (run.status, run.iterations, run.x, run.residual) == (Status.EXHAUSTED, 3, 3, 1.0)
    with pytest.raises(SolveError, match="ended by itself"):
        run.raise_if_failed()


@pytest.mark.parametrize("check_every", [1, 2, 3, 4, 5])
def test_the_last_state_is_checked_whatever_check_every_is(check_every):
    run = solve(states(4.0, 3.0, 2.0, 0.0), check_every=check_every)
    assert (run.status, run.iterations) == (Status.CONVERGED, 4)
    assert run.history["iteration"] == sorted({*range(check_every, 5, check_every), 4})


def test_between_checks_the_residual_is_not_read():
    read = []

    class Watched:
        x = 0

        def __init__(self, k):
            self.k = k

        @property
        def residual(self):
            read.append(self.k)
            return 1.0

    run = solve((Watched(k) for k in range(1, 100)), max_iter=25, check_every=10, callback=lambda k, s: None)
    assert read == run.history["iteration"] == [10, 20, 25]


def test_history_has_floats_and_detached_copies():
    x = torch.ones(2, requires_grad=True)

    def moving():
        for k in range(1, 4):
            yield State(x * k, (x * k).sum())

    tracks = {"norm": lambda s: s.x.sum(), "point": lambda s: s.x, "label": lambda s: "here"}
    history = solve(moving(), track=tracks).history
    assert list(history) == ["iteration", "residual", "seconds", "norm", "point", "label"]
    assert history["norm"] == history["residual"] == [2.0, 4.0, 6.0]
    assert type(history["norm"][0]) is float
    assert [p.tolist() for p in history["point"]] == [[1, 1], [2, 2], [3, 3]]
    assert not history["point"][0].requires_grad
    assert history["label"] == ["here"] * 3
    assert history["seconds"] == sorted(history["seconds"])


def test_tol_none_is_never_tested_and_tol_zero_wants_zero():
    assert solve(states(0.0, 0.0), tol=None).status is Status.EXHAUSTED
    assert solve(states(1e-300, 0.0), tol=0).iterations == 2


def test_the_generator_is_closed():
    closed = []

    def closing():
        try:
            yield from halving()
        finally:
            closed.append(True)

    solve(closing())
    with pytest.raises(KeyboardInterrupt):
        solve(closing(), callback=interrupt)
    assert closed == [True, True]


def interrupt(k, state):
    raise KeyboardInterrupt


def test_any_iterable_of_states_will_do():
    assert solve([State(1, 0.5), State(2, 0.0)]).x == 2


def test_printed_sentence():
    pattern = r"converged in 20 iterations, residual 9\.5e-07, \d+\.\d\d s"
    run = solve(halving())
    assert re.fullmatch(pattern, str(run))
    assert re.fullmatch(f"<Result: {pattern}>", repr(run))


def test_only_the_residual_is_detached():
    scale = torch.tensor(3.0, requires_grad=True)

    def powers():
        x = torch.tensor(1.0)
        while True:
            x = x * scale
            yield State(x, 1 / x)

    (slope,) = torch.autograd.grad(solve(powers(), max_iter=4, track={"x": lambda s: s.x}).x, scale)
    assert slope.item() == 4 * 3**3

    def last(s):
        return solve((State(s**k, s**-k) for k in range(1, 5)), check_every=1).x

    assert torch.func.grad(last)(torch.tensor(3.0)).item() == 4 * 3**3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"tol": -1e-3}, "tol must be a non-negative number or None, not -0.001"),
        ({"tol": math.nan}, "tol must be a non-negative number or None, not nan"),
        ({"tol": "small"}, "tol must be a non-negative number or None, not 'small'"),
        ({"max_iter": 0}, "max_iter must be a positive integer, not 0"),
        ({"max_iter": 10.0}, "max_iter must be a positive integer, not 10.0"),
        ({"check_every": 0}, "check_every must be a positive integer, not 0"),
        ({"track": {"residual": len}}, "track cannot use the name 'residual'"),
    ],
)
def test_wrong_arguments_are_refused_before_the_first_state(arguments, sentence):
    def untouched():
        raise AssertionError("a state was drawn")
        yield

    with pytest.raises(ValueError, match=re.escape(sentence)):
        solve(untouched(), **arguments)


def test_steps_must_hold_states():
    with pytest.raises(TypeError, match="steps must be an iterable of states"):
        solve(3.0)
    used = halving()
    solve(used)
    with pytest.raises(ValueError, match="steps holds no state"):
        solve(used)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("stream", "shown"), [(Terminal(), True), (io.StringIO(), False)])
def test_progress_is_shown_on_a_terminal_only(monkeypatch, stream, shown):
    monkeypatch.setattr(sys, "stderr", stream)
    solve(halving(), max_iter=10, tol=None, progress=True, check_every=5)
    assert ("10/10" in stream.getvalue() and "residual 9.8e-04" in stream.getvalue()) is shown
    assert shown or stream.getvalue() == ""
