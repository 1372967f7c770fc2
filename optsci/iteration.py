"""Run an iterative algorithm: the only loop of the library, and its only reading of device memory.

An algorithm is an iterable of states; a state has ``x``, the iterate, and ``residual``, a 0-d tensor or a
float that tends to zero. ``solve`` draws states until one of the ``Status`` sentences is true. Nothing but
the residual is detached: ``solve(…).x`` can be differentiated through all iterations.

A residual of shape (B, …) stands for a batch of problems that run side by side, with those leading dimensions in
x, too. Each of them keeps the x it had when its own residual reached ``tol``: the result is that of a loop over
the problems, whatever else is in the batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from numbers import Integral, Real
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Status(Enum):
    """Why ``solve`` returned; the value is the sentence that ``print(result)`` begins with."""

    CONVERGED = "converged in {iterations} iterations"
    MAX_ITER = "stopped at max_iter={iterations}"
    NON_FINITE = "stopped at iteration {iterations} on a residual that is not finite"
    STOPPED = "stopped on request after {iterations} iterations"
    EXHAUSTED = "ran out of states after {iterations} iterations"


_ADVICE = {
    Status.MAX_ITER: "raise max_iter or tol, or start from this result's x",
    Status.NON_FINITE: "check the data for NaN, and take a smaller step",
    Status.EXHAUSTED: "the algorithm ended by itself before its residual reached tol",
}


class SolveError(RuntimeError):
    """Raised by ``Result.raise_if_failed``, with the status as a sentence and an advice."""


class Instances(NamedTuple):
    """How the problems of a batch ended; each field has the leading dimensions of the batch."""

    converged: Tensor  # bool: the residual reached tol
    iterations: Tensor  # states drawn until then, or until the end
    residual: Tensor  # at that state


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """What ``solve`` returns; ``print(result)`` says in one line how the run ended."""

    x: Any  # the last iterate
    state: Any  # the last state, with all that the algorithm keeps
    status: Status  # why the run ended
    iterations: int  # states drawn
    seconds: float  # wall-clock time
    residual: float  # of the last state; the largest in a batch
    history: dict[str, list[Any]]  # "iteration", "residual", "seconds" and the tracked quantities, one entry a check
    instances: Instances | None = None  # of a batch, how each of its problems ended

    def __str__(self) -> str:
        sentence = self.status.value.format(iterations=self.iterations)
        sentence += f", residual {self.residual:.1e}, {self.seconds:.2f} s"
        if self.instances is None:
            return sentence
        converged = self.instances.converged
        return f"{sentence}; {int(converged.sum())} of {converged.numel()} problems converged"

    def __repr__(self) -> str:
        return f"<Result: {self}>"

    def raise_if_failed(self) -> Result:
        """Return the result itself if it converged or was stopped on request, else raise ``SolveError``."""
        if self.status in _ADVICE:
            raise SolveError(f"{self}; {_ADVICE[self.status]}")
        return self


def solve(
    steps: Iterable[Any],
    *,
    tol: float | None = 1e-6,
    max_iter: int = 10_000,
    stop: Callable[[Any], Any] | None = None,
    check_every: int = 1,
    callback: Callable[[int, Any], Any] | None = None,
    track: Mapping[str, Callable[[Any], Any]] = {},
    progress: bool = False,
) -> Result:
    """Draw states from an algorithm until its residual is at most ``tol``.

    All that is described below happens at the checks: at every state whose number is a multiple of
    ``check_every``, and at the last one. Between checks nothing is read from the device.

    Args:
        steps: an algorithm such as ``fista(f, g, x0)``, or any iterable of states with ``x`` and
            ``residual``. A generator is closed when ``solve`` returns.
        tol: converged when ``residual <= tol``, in a batch for every problem; None never tests. Each algorithm says
            what its residual is.
        max_iter: the largest number of states to draw.
        stop: ``stop(state)`` is your own rule; true ends the run.
        check_every: states from one check to the next; raise it on a GPU, where checks wait for the device.
        callback: ``callback(k, state)``, k the number of states so far; a true answer ends the run.
        track: ``{"name": function of the state}``; values go to ``history["name"]``, 0-d tensors as floats.
        progress: a bar with the time left on stderr, if that is a terminal.

    Returns:
        The last state, why the run ended, and the history. For a batch, ``x`` holds the iterate of each problem at
        its own convergence, and ``instances`` says when that was; ``state`` is still the last one of all. A problem
        whose residual is no longer finite is given up, the others go on.

    Example:
        >>> import optsci
        >>> f, g = optsci.LeastSquares([[2.0, 0.0], [0.0, 1.0]], [2.0, 3.0]), optsci.L1(1.0)
        >>> run = optsci.solve(optsci.fista(f, g, [0.0, 0.0]), track={"objective": lambda s: f(s.x) + g(s.x)})
        >>> run.status.name, [round(v, 3) for v in run.x.tolist()]
        ('CONVERGED', [0.75, 2.0])
        >>> len(run.history["objective"]) == run.iterations
        True
    """
    _check_arguments(steps, tol, max_iter, check_every, track)
    batch: _Batch | None = None
    history: dict[str, list[Any]] = {name: [] for name in ("iteration", "residual", "seconds", *track)}
    bar = _progress_bar(max_iter) if progress else None
    start = time.perf_counter()

    def check(k: int, state: Any) -> Status | None:
        nonlocal batch
        residual = state.residual
        if isinstance(residual, Tensor) and residual.dim():
            batch = batch or _Batch(residual)
            batch.update(k, state.x, residual.detach(), tol)
            residual = batch.largest()
        else:
            residual = _number(residual)
        row = {"iteration": k, "residual": residual, "seconds": time.perf_counter() - start}
        row |= {name: _number(quantity(state)) for name, quantity in track.items()}
        for name, value in row.items():
            history[name].append(value)
        if bar is not None:
            bar.set_postfix_str(f"residual {residual:.1e}", refresh=False)
            bar.update(k - bar.n)
        stopped = callback is not None and callback(k, state)  # called at the last check too
        if not math.isfinite(residual) and (batch is None or batch.ended()):
            return Status.NON_FINITE
        if tol is not None and residual <= tol:
            return Status.CONVERGED
        if stopped or (stop is not None and stop(state)):
            return Status.STOPPED
        return Status.MAX_ITER if k == max_iter else None

    iterator = iter(steps)
    k, status = 0, None
    try:
        for k, state in enumerate(iterator, 1):
            if k % check_every == 0 or k == max_iter:
                status = check(k, state)
            if status is not None:
                break
        if k == 0:
            raise ValueError("steps holds no state: a generator runs only once, make a new one for another solve")
        if status is None:
            status = (check(k, state) if k % check_every else None) or Status.EXHAUSTED
    finally:
        if bar is not None:
            bar.close()
        if hasattr(iterator, "close"):
            iterator.close()
    x, instances = (state.x, None) if batch is None else (batch.x, batch.instances())
    return Result(x, state, status, k, time.perf_counter() - start, history["residual"][-1], history, instances)


class _Batch:
    """Where each problem of a batch stands; ended ones keep what they had."""

    def __init__(self, residual: Tensor) -> None:
        residual = residual.detach()
        self.x: Tensor | None = None
        self.residual = torch.full_like(residual, math.inf)
        self.iterations = torch.zeros_like(residual, dtype=torch.int64)
        self.converged = torch.zeros_like(residual, dtype=torch.bool)
        self.failed = torch.zeros_like(residual, dtype=torch.bool)

    def update(self, k: int, x: Tensor, residual: Tensor, tol: float | None) -> None:
        running = ~(self.converged | self.failed)
        each = (*running.shape, *[1] * (x.dim() - running.dim()))
        self.x = x if self.x is None else torch.where(running.view(each), x, self.x)
        self.residual = torch.where(running, residual, self.residual)
        self.iterations = torch.where(running, k, self.iterations)
        self.failed = self.failed | (running & ~residual.isfinite())
        if tol is not None:
            self.converged = self.converged | (running & (residual <= tol))

    def largest(self) -> float:
        return self.residual.max().item()

    def ended(self) -> bool:
        return bool((self.converged | self.failed).all())

    def instances(self) -> Instances:
        return Instances(self.converged, self.iterations, self.residual)


def _number(value: Any) -> Any:
    """A tensor with one element as a float, outside of any graph; other values as they are."""
    if not isinstance(value, torch.Tensor):
        return value
    value = value.detach()
    return value.item() if value.numel() == 1 else value.clone()


def _progress_bar(max_iter: int) -> Any:
    from tqdm import tqdm

    return tqdm(total=max_iter, disable=None)  # None: off where stderr is no terminal


def _check_arguments(steps: Any, tol: Any, max_iter: Any, check_every: Any, track: Any) -> None:
    if not isinstance(steps, Iterable):
        raise TypeError(f"steps must be an iterable of states such as fista(f, g, x0), not {type(steps).__name__}")
    if tol is not None and not (isinstance(tol, Real) and 0 <= float(tol) < math.inf):
        raise ValueError(f"tol must be a non-negative number or None, not {tol!r}")
    for name, value in (("max_iter", max_iter), ("check_every", check_every)):
        if not (isinstance(value, Integral) and int(value) >= 1):
            raise ValueError(f"{name} must be a positive integer, not {value!r}")
    if taken := {"iteration", "residual", "seconds"} & set(track):
        raise ValueError(f"track cannot use the name {sorted(taken)[0]!r}: history records that one itself")
