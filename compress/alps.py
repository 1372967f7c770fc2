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
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from optsci.admm import ADMMState, admm
from optsci.iteration import solve
from optsci.linalg import damped_cholesky

from .constraints import Pattern, require_pattern
from .layer_problem import LayerProblem
from .refit import refit


class ALPSState(NamedTuple):
    """One iteration of :func:`alps_steps`."""

    x: Tensor  # (m, n) the weights of D: within the pattern
    residual: Tensor  # ||B - D|| / ||D||, in scaled variables
    rho: float  # penalty of this iteration
    changed: Tensor  # entries that entered or left the support since the last decision on rho
    kept: int  # entries that the pattern keeps
    iteration: int
    grown: bool  # rho has been raised at least once


Schedule = Callable[[ALPSState], float | None]
Resolvent = Callable[[float], Tensor]


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
    >>> stats = GramAccumulator(); stats.add(torch.tensor([[1.0, 1.0], [1.0, 2.0]]))
    >>> problem = stats.problem(torch.tensor([[1.0, 2.0]]))       # the outputs to match are 3 and 5
    >>> alps_prune(problem, sparsity=Unstructured(0.5), damping=0)
    tensor([[0.0000, 2.6000]])
    """
    steps = alps_steps(problem, sparsity=sparsity, rho=rho, schedule=schedule, damping=damping)
    return _refitted(problem, steps, iterations, damping, refit_iterations)


def admm_prune(
    problem: LayerProblem,
    *,
    sparsity: Pattern,
    rho: float = 0.3,
    growth: float = 2.0,
    iterations: int = 6,
    damping: float = 0.01,
    refit_iterations: int = 6,
) -> Tensor:
    """Prune with a few ADMM iterations, rho growing whatever the support does, then refit: ours, ALPS in a hurry.

    Most of the gain of :func:`alps_prune` in a fraction of its time: there is no eigendecomposition, and the
    factorisations, one for every value of rho, are in the precision of the Gram matrix.

    Args:
        problem: the layer problem.
        sparsity: ``Unstructured(fraction)`` or ``NM(n, m)``.
        rho: the first penalty, relative to a Gram matrix with unit diagonal.
        growth: factor of rho after every third iteration, at least 1.
        iterations: of ADMM.
        damping: ridge towards the dense weights, relative to every channel's energy.
        refit_iterations: conjugate gradient steps on the support; 0 leaves the weights of ADMM.

    Returns:
        (m, n) weights within the pattern.

    Raises:
        NotPositiveDefiniteError: the Gram matrix of the named layer stays singular.
    """
    if not 1 <= growth < float("inf"):
        raise ValueError(f"growth must be finite, and at least 1, got {growth!r}")
    steps = alps_steps(
        problem,
        sparsity=sparsity,
        rho=rho,
        schedule=lambda state: state.rho * growth,
        damping=damping,
        resolvent=cholesky_resolvent,
    )
    return _refitted(problem, steps, iterations, damping, refit_iterations)


def alps_steps(
    problem: LayerProblem,
    *,
    sparsity: Pattern,
    rho: float = 0.1,
    schedule: Schedule = AUTHORS_SCHEDULE,
    damping: float = 0.01,
    every: int = 3,
    resolvent: Callable[[Tensor, str], Resolvent] | None = None,
) -> Iterator[ALPSState]:
    """The ADMM iterations, without the refit.

    Args:
        problem: the layer problem.
        sparsity: the pattern of ``D``.
        rho: the first penalty.
        schedule: decides on rho every few iterations, and ends the run; ``lambda state: state.rho`` keeps it.
        damping: ridge towards the dense weights, relative to every channel's energy.
        every: iterations between two decisions.
        resolvent: what inverts ``G + rho I`` whenever rho changes: ``eigen_resolvent`` (None) or
            ``cholesky_resolvent``, faster for up to about ten values of rho.

    The residual is ``||B - D|| / ||D||`` in scaled variables; the set is not convex, and it need not tend to 0 for a
    fixed rho.
    """
    if not 0 < rho < float("inf"):
        raise ValueError(f"rho must be positive and finite, got {rho!r}")
    if not (isinstance(every, int) and every >= 1):
        raise ValueError(f"every must be a whole number, at least 1, got {every!r}")
    require_pattern(sparsity)
    sparsity.mask(problem.weight[:1])  # refuses a width that the pattern does not divide
    scaled, scale = problem.scaled()
    scaled = scaled.damped(damping)
    dense = scaled.weight * (problem.channel_energy > 0)  # a weight on an input that is always 0 does nothing
    f = _Quadratic(scaled, (resolvent or eigen_resolvent)(scaled.gram, problem.name))
    return _iterate(f, _Within(sparsity), dense, scale, rho, schedule, every)


def eigen_resolvent(gram: Tensor, name: str) -> Resolvent:
    """``rho -> (G + rho I)^{-1}`` by one eigendecomposition in float64: float32 is not enough for it."""
    if not gram.isfinite().all():
        raise ValueError(f"the Gram matrix of {name} holds NaN or infinite entries")
    values, vectors = torch.linalg.eigh(gram.double())
    values = values.clamp(min=0)  # a rounded Gram is not exactly positive semidefinite
    vectors = vectors.to(gram)
    return lambda rho: (vectors / (values + rho).to(gram)) @ vectors.T


def cholesky_resolvent(gram: Tensor, name: str) -> Resolvent:
    """``rho -> (G + rho I)^{-1}`` by a Cholesky factorisation each, in the dtype of ``G``."""
    identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return lambda rho: torch.cholesky_inverse(
        damped_cholesky(gram + rho * identity, 0.0, name=f"the Gram matrix of {name}")[0]
    )


def _iterate(
    f: _Quadratic,
    g: _Within,
    dense: Tensor,
    scale: Tensor,
    rho: float,
    schedule: Schedule,
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
        following = schedule(state)
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
    """The layer problem as a function with a prox, ``(W C + rho V)(G + rho I)^{-1}``, ``rho = 1 / step``."""

    def __init__(self, problem: LayerProblem, resolvent: Resolvent) -> None:
        self.target, self.resolvent = problem.target, lru_cache(maxsize=1)(resolvent)

    def prox(self, v: Tensor, step: float) -> Tensor:
        return (self.target + v / step) @ self.resolvent(1 / step)


class _Within:
    """A pattern as a set with a projection: the entries of largest magnitude stay."""

    def __init__(self, pattern: Pattern) -> None:
        self.pattern = pattern

    def prox(self, v: Tensor, step: float) -> Tensor:
        return torch.where(self.pattern.mask(v.abs()), v, 0)


def _refitted(
    problem: LayerProblem, steps: Iterator[ALPSState], iterations: int, damping: float, refit_iterations: int
) -> Tensor:
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {iterations!r}")
    if refit_iterations < 0:
        raise ValueError(f"refit_iterations must be at least 0, got {refit_iterations!r}")
    weights: Tensor = solve(steps, tol=None, max_iter=iterations, check_every=iterations).x
    return refit(problem, weights, damping=damping, iterations=refit_iterations) if refit_iterations else weights
