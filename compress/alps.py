r"""ALPS: prune a layer by ADMM on the support and conjugate gradients on the weights that stay.

.. math:: \min_{B, D} \; \tfrac12 \|B X^* - W X\|_F^2 \quad \text{with } B = D, \; D \text{ within the pattern}

Meng, Behdin, Wang, Mazumder, *ALPS: Improved Optimization for Highly Sparse One-Shot Pruning for Large Language
Models*, NeurIPS 2024, arXiv 2406.07831.  In variables that give the Gram matrix a unit diagonal, with ``A`` the
multiplier and ``P`` the projection onto the pattern,

.. math::

    B \leftarrow (W C - A + \rho D)(G + \rho I)^{-1}, \qquad D \leftarrow P(B + A / \rho), \qquad
    A \leftarrow A + \rho (B - D),

while ``rho`` grows, by how much the support still moves.  Then the support of ``D`` is kept, and a few conjugate
gradient steps on it (:func:`optsci.compress.refit`) give the values: the Jacobi preconditioner of the method is the
scaling to a unit diagonal.

The iterations are those of :func:`optsci.admm`, started anew from their own ``z`` and ``u = A / rho`` whenever ``rho``
changes: its own rule for ``rho`` sees the residuals only, while the one here counts entries of the support, starts
over, and ends the run.

The factors of ``rho`` are those we read in the authors' public code.  Ours: what starting over resets, the bound
where ``rho`` gives up, the target ``W C`` where X* differs from X, and :func:`admm_prune`, which leaves ``rho`` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from optsci.admm import ADMMState, admm
from optsci.iteration import solve
from optsci.linalg import damped_cholesky

from .constraints import Pattern
from .layer_problem import LayerProblem
from .refit import refit


class ALPSState(NamedTuple):
    """One iteration of :func:`alps`."""

    x: Tensor  # (m, n) the weights of D: within the pattern
    residual: Tensor  # ||B - D|| / ||D||, in scaled variables
    rho: float  # penalty of this iteration
    changed: Tensor  # entries that entered or left the support since the last decision on rho
    kept: int  # entries that the pattern keeps
    iteration: int
    grown: bool  # rho has been raised at least once


Schedule = Callable[[ALPSState], float | None]


@dataclass(frozen=True)
class SupportSchedule:
    """Raise rho fast while the support moves a lot, slowly while it settles; end once it stays.

    A schedule is any function of a state that returns the next rho: a larger one goes on, a smaller one starts over
    from the dense weights, None ends the run.  This one divides rho by 5 when the support stays, or nearly so, before
    rho ever grew: rho was too large from the start.

    Args:
        fast: factor of rho while more than 10 % of the support changed since the last decision.
        medium: factor above 0.5 %.
        slow: factor above 0.
        settled: a share of the support; from iteration 30 on the run ends once fewer entries change.
    """

    fast: float = 1.3
    medium: float = 1.2
    slow: float = 1.1
    settled: float = 3e-4

    def __post_init__(self) -> None:
        for name, factor in (("fast", self.fast), ("medium", self.medium), ("slow", self.slow)):
            if not 1 < factor < float("inf"):
                raise ValueError(f"{name} must be finite and above 1: a factor of rho, got {factor!r}")

    def __call__(self, state: ALPSState) -> float | None:
        """Return rho for the iterations to come, or None to end."""
        changed = int(state.changed)
        if state.iteration >= 30 and changed < self.settled * state.kept:
            return None
        if changed > 0.1 * state.kept:
            return state.rho * self.fast
        if changed > 0.005 * state.kept:
            return state.rho * self.medium
        if state.grown:
            return state.rho * self.slow if changed else None
        return state.rho / 5 if state.rho / 5 >= 1e-8 else None


AUTHORS_SCHEDULE = SupportSchedule()
SLOW_SCHEDULE = SupportSchedule(1.05, 1.03, 1.02)


def alps_prune(
    problem: LayerProblem,
    *,
    sparsity: Pattern,
    rho: float = 0.1,
    schedule: Schedule = AUTHORS_SCHEDULE,
    iterations: int = 300,
    damping: float = 0.01,
    refit_iterations: int = 10,
) -> Tensor:
    """Prune with ADMM under a growing penalty, then refit on the support.

    Args:
        problem: the layer problem.
        sparsity: ``Unstructured(fraction)``, by row or, as published, ``by_row=False``; or ``NM(n, m)``.
        rho: the first penalty, relative to a Gram matrix with unit diagonal.
        schedule: how it goes on: ``AUTHORS_SCHEDULE``, or ``SLOW_SCHEDULE``, which takes several times the iterations
            for a somewhat smaller error.
        iterations: at most; the schedule ends most runs before.
        damping: ridge towards the dense weights, relative to every channel's energy.
        refit_iterations: conjugate gradient steps on the support; 0 leaves the weights of ADMM.

    Returns:
        (m, n) weights within the pattern.

    >>> import torch
    >>> from optsci.compress import GramAccumulator, Unstructured
    >>> stats = GramAccumulator(); stats.add(torch.tensor([[1.0, 1.0], [1.0, 1.1]]))
    >>> problem = stats.problem(torch.tensor([[1.0, 2.0]]))       # two inputs, nearly equal
    >>> alps_prune(problem, sparsity=Unstructured(0.5)).round(decimals=1)
    tensor([[0.0, 3.0]])
    """
    steps = alps(problem, sparsity=sparsity, rho=rho, schedule=schedule, damping=damping)
    return _refitted(problem, steps, iterations, damping, refit_iterations)


def admm_prune(
    problem: LayerProblem,
    *,
    sparsity: Pattern,
    rho: float = 0.1,
    iterations: int = 10,
    damping: float = 0.01,
    refit_iterations: int = 6,
) -> Tensor:
    """Prune with a few ADMM iterations at a fixed penalty, then refit: most of the gain of ALPS, in the time of a sweep.

    One Cholesky factorisation instead of the eigendecomposition.  Arguments as those of :func:`alps_prune`.
    """
    steps = alps(problem, sparsity=sparsity, rho=rho, schedule=None, damping=damping)
    return _refitted(problem, steps, iterations, damping, refit_iterations)


def alps(
    problem: LayerProblem,
    *,
    sparsity: Pattern,
    rho: float = 0.1,
    schedule: Schedule | None = AUTHORS_SCHEDULE,
    damping: float = 0.01,
    every: int = 3,
) -> Iterator[ALPSState]:
    """The ADMM iterations, without the refit.

    Args:
        problem: the layer problem.
        sparsity: the pattern of ``D``.
        rho: the first penalty.
        schedule: decides on rho every few iterations, and ends the run; None keeps rho.
        damping: ridge towards the dense weights, relative to every channel's energy.
        every: iterations between two decisions.

    The residual is ``||B - D|| / ||D||`` in scaled variables; the set is not convex, and it need not tend to 0 for a
    fixed rho.
    """
    if not 0 < rho < float("inf"):
        raise ValueError(f"rho must be positive and finite, got {rho!r}")
    if not (isinstance(every, int) and every >= 1):
        raise ValueError(f"every must be a whole number, at least 1, got {every!r}")
    sparsity.mask(problem.weight[:1])  # refuses a width that the pattern does not divide
    scaled, scale = problem.scaled()
    scaled = scaled.damped(damping)
    dense = scaled.weight * (problem.channel_energy > 0)  # a weight on an input that is always 0 does nothing
    return _iterate(_Quadratic(scaled, fixed=schedule is None), _Within(sparsity), dense, scale, rho, schedule, every)


def _iterate(
    f: _Quadratic,
    g: _Within,
    dense: Tensor,
    scale: Tensor,
    rho: float,
    schedule: Schedule | None,
    every: int,
) -> Iterator[ALPSState]:
    kept_at_start = g.pattern.mask(dense.abs())
    kept, start = int(kept_at_start.sum()), dense * kept_at_start
    z, u, support, iteration, grown = start, torch.zeros_like(start), start != 0, 0, False
    while True:
        for step in islice(admm(f, g, start, rho=rho, z0=z, u0=u), every):
            iteration += 1
            state = _state(step, scale, rho, support, kept, iteration, grown)
            yield state
        following = rho if schedule is None else schedule(state)
        if following is None:
            return
        support = step.z != 0
        if following < rho:  # start over
            z, u = start, torch.zeros_like(start)
        else:
            z, u, grown = step.z, step.u * (rho / following), grown or following > rho
        rho = following


def _state(
    step: ADMMState, scale: Tensor, rho: float, support: Tensor, kept: int, iteration: int, grown: bool
) -> ALPSState:
    size = step.z.norm()
    residual = step.primal / torch.where(size > 0, size, 1.0)
    changed = ((step.z != 0) != support).sum()
    return ALPSState(step.z / scale, residual, rho, changed, kept, iteration, grown)


class _Quadratic:
    """The layer problem as a function with a prox, ``(W C + rho V)(G + rho I)^{-1}``, ``rho = 1 / step``.

    The inverse is kept until rho changes.  For one rho it comes from a Cholesky factor; for many, from one
    eigendecomposition, which takes as long as about ten of them.  Both in float64.
    """

    def __init__(self, problem: LayerProblem, *, fixed: bool) -> None:
        self.problem, self.fixed = problem, fixed
        self.rho, self.inverse = 0.0, problem.gram
        self.values = self.vectors = problem.gram.new_zeros(0)

    def prox(self, v: Tensor, step: float) -> Tensor:
        rho = 1 / step
        if rho != self.rho:
            self.rho, self.inverse = rho, self._inverse(rho)
        return (self.problem.target + rho * v) @ self.inverse

    def _inverse(self, rho: float) -> Tensor:
        gram = self.problem.gram.double()
        if self.fixed:
            name = f"the Gram matrix of {self.problem.name}"
            factor, _ = damped_cholesky(gram + rho * torch.eye(len(gram)).to(gram), 0.0, name=name)
            return torch.cholesky_inverse(factor).to(self.problem.gram)
        if not self.values.numel():
            self.values, self.vectors = torch.linalg.eigh(gram)
            self.values = self.values.clamp(min=0)  # a rounded Gram is not exactly positive semidefinite
        vectors = self.vectors.to(self.problem.gram)
        return (vectors / (self.values + rho).to(vectors)) @ vectors.T


class _Within:
    """A pattern as a set with a projection: the entries of largest magnitude stay."""

    def __init__(self, pattern: Pattern) -> None:
        self.pattern = pattern

    def prox(self, v: Tensor, step: float) -> Tensor:
        return v * self.pattern.mask(v.abs())


def _refitted(
    problem: LayerProblem, steps: Iterator[ALPSState], iterations: int, damping: float, refit_iterations: int
) -> Tensor:
    if refit_iterations < 0:
        raise ValueError(f"refit_iterations must be at least 0, got {refit_iterations!r}")
    weights: Tensor = solve(steps, tol=None, max_iter=iterations, check_every=iterations).x
    return refit(problem, weights, damping=damping, iterations=refit_iterations) if refit_iterations else weights
