r"""FISTAPruner: prune a layer by an l1 problem solved with FISTA, then rounded to the exact pattern.

.. math:: \min_V \; \tfrac12 \|V X^* - W X\|_F^2 + \lambda \sum_i \|V_{i,:}\|_1

An independent implementation of the published description (arXiv 2408.03728; EMNLP 2025): Eq. (3) is the objective,
Eq. (7) the N:M rounding, section 3.4 the adaptive choice of lambda.  FISTA here is :func:`optsci.fista` on the layer
problem.

Two searches over lambda, each a generator of states like any algorithm of the library:

* :func:`lambda_bisection`, behind :func:`fista_prune`: the published rule.  Constants of the interval and the reading
  of the stopping rule are ours, since the paper's are not public in full.
* :func:`lambda_path`, behind :func:`fista_path_prune`: a decreasing path relative to the smallest lambda that makes V
  = 0 optimal, in variables that give the Gram matrix a unit diagonal.  It does not depend on the units of the
  activations, and little on the start: this one is recommended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from optsci.functions import L1
from optsci.iteration import solve
from optsci.momentum import gradient_restart
from optsci.proximal_gradient import fista

from .baselines import wanda
from .constraints import Pattern, require_pattern
from .layer_problem import LayerProblem

Pruner = Callable[..., Tensor]
Polish = Callable[[LayerProblem, Tensor], Tensor]
Watch = Callable[["LambdaState"], object]
PATH = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4)


class LambdaState(NamedTuple):
    """One round of a search over lambda."""

    x: Tensor  # best rounded weights so far, (m, n)
    residual: Tensor  # their relative error ||V X* - W X|| / ||W X||: never rises
    l1_weight: float  # lambda of this round, in the units of the mean over tokens
    fitted: Tensor  # relative error of the l1 solution of this round, before rounding
    rounded: Tensor  # relative error after rounding (and polishing)
    iterations: int  # FISTA iterations of this round

    def summary(self) -> dict[str, float]:
        """The numbers of the round, without the weights: ready for JSON."""
        return {
            "l1_weight": self.l1_weight,
            "fitted": float(self.fitted),
            "rounded": float(self.rounded),
            "best": float(self.residual),
            "iterations": self.iterations,
        }


def fista_prune(
    problem: LayerProblem,
    *,
    sparsity: Pattern,
    start: Pruner = wanda,
    iterations: int = 20,
    patience: int = 3,
    ratio: float = 0.3,
    rounds: int = 30,
    watch: Watch | None = None,
) -> Tensor:
    """Prune with the published search as we read it: K = 20 iterations, T = 3 rounds of patience, xi = 0.3.

    The interval of lambda, the cap on the rounds and the tolerance of the inner iterations (1e-6, on the residual of
    :func:`optsci.fista`) are ours.  The published setting also counts zeros over the whole matrix
    (``Unstructured(fraction, by_row=False)``) and corrects within the block (``Correction.WITHIN_BLOCK``).

    Args:
        problem: the layer problem.
        sparsity: ``Unstructured(fraction)`` or ``NM(n, m)``.
        start: pruner that gives the first point: ``wanda`` (the paper's choice for LLaMA models) or ``sparsegpt``
            (for OPT).
        iterations: FISTA iterations a round, K.
        patience: rounds without improvement before it ends, T.
        ratio: share of the error that rounding may have before lambda is raised, xi.
        rounds: cap on the rounds (ours: from a good start every round improves a little and the patience never runs
            out).
        watch: called with the :class:`LambdaState` of every round, such as ``lambda s: log.append(s.summary())``.

    Returns:
        (m, n) weights within the pattern, never worse than the start.  Where the l1 solution itself has more zeros
        than the pattern asks for, they stay.
    """
    require_pattern(sparsity)
    _check_counts(iterations=iterations, patience=patience, rounds=rounds)
    steps = lambda_bisection(
        problem,
        start(problem, sparsity=sparsity),
        sparsity=sparsity,
        iterations=iterations,
        patience=patience,
        ratio=ratio,
    )
    return solve(_watched(steps, watch), tol=None, max_iter=rounds).x


def fista_path_prune(
    problem: LayerProblem,
    *,
    sparsity: Pattern,
    start: Pruner = wanda,
    path: Sequence[float] = PATH,
    iterations: int = 30,
    damping: float = 0.0,
    polish: Polish | None = None,
    watch: Watch | None = None,
) -> Tensor:
    """Prune along a decreasing path of lambda in scaled variables: the robust choice.

    The threshold is constant in the scaled variables ``U = V D^{1/2}``: in ``V`` it is the weighted norm
    ``sum_j sqrt(d_j) |V_ij|``.  Rounding in ``U`` is the Wanda score of the current iterate.

    Args:
        problem: the layer problem.
        sparsity: ``Unstructured(fraction)`` or ``NM(n, m)``.
        start: pruner that gives the first point; rounded to the pattern, and returned if nothing on the path beats it.
        path: lambda as fractions of the smallest one that makes V = 0 optimal.
        iterations: FISTA iterations for every lambda.
        damping: ridge towards the dense weights, relative to every channel's energy.
        polish: applied to the start and to every rounded point before they are compared, such as
            ``partial(refit, iterations=10)``: where the result is refitted anyway, this chooses the support that is
            best after refitting.
        watch: called with the :class:`LambdaState` of every lambda; its errors are those of the damped problem.

    Returns:
        (m, n) weights with exactly the pattern.

    >>> import torch
    >>> from optsci.compress import GramAccumulator, Unstructured
    >>> stats = GramAccumulator(); stats.add(torch.tensor([[1.0, 1.0], [1.0, 2.0]]))
    >>> log = []
    >>> weights = fista_path_prune(
    ...     stats.problem(torch.tensor([[1.0, 2.0]])),
    ...     sparsity=Unstructured(0.5),
    ...     watch=lambda state: log.append(state.summary()),
    ... )
    >>> len(log), sorted(log[0])
    (5, ['best', 'fitted', 'iterations', 'l1_weight', 'rounded'])
    """
    require_pattern(sparsity)
    _check_counts(iterations=iterations)
    if not path or not all(0 < fraction < float("inf") for fraction in path):
        raise ValueError(f"path must hold positive fractions, got {path!r}")
    problem = problem.damped(damping)
    steps = lambda_path(
        problem,
        start(problem, sparsity=sparsity),
        sparsity=sparsity,
        path=path,
        iterations=iterations,
        polish=polish,
    )
    return solve(_watched(steps, watch), tol=None, max_iter=len(path)).x


def lambda_bisection(
    problem: LayerProblem,
    start: Tensor,
    *,
    sparsity: Pattern,
    iterations: int = 20,
    patience: int = 3,
    ratio: float = 0.3,
    first: float = 1e-5,
    upper: float = 1e6,
) -> Iterator[LambdaState]:
    """Bisection on lambda by the share that rounding has in the error, as we read section 3.4 of the paper.

    Where rounding makes up more than ``ratio`` of the error the l1 solution is not sparse enough: lambda goes up,
    otherwise down.  ``first`` and ``upper`` are in the units of the paper's objective, a sum over tokens.  Every
    round starts from the best rounded point; zeros may revive.
    """
    require_pattern(sparsity)
    step = 1 / (problem.lipschitz() or 1.0)  # any step where all inputs are 0
    best = start * sparsity.mask(start.abs())
    best_error = problem.relative_error(best)
    low, high, weight, stall = 0.0, upper / problem.tokens, first / problem.tokens, 0
    while stall < patience:
        inner = solve(fista(problem, L1(weight), best, step=step), tol=1e-6, max_iter=iterations)
        candidate = inner.x * sparsity.mask(inner.x.abs())
        fitted, rounded = problem.relative_error(inner.x), problem.relative_error(candidate)
        stall = 0 if rounded < best_error else stall + 1
        if rounded < best_error:
            best, best_error = candidate, rounded
        yield LambdaState(best, best_error, weight, fitted, rounded, inner.iterations)
        if rounded - fitted > ratio * rounded:
            low = weight
        else:
            high = weight
        weight = (low + high) / 2


def lambda_path(
    problem: LayerProblem,
    start: Tensor,
    *,
    sparsity: Pattern,
    path: Sequence[float] = PATH,
    iterations: int = 30,
    polish: Polish | None = None,
) -> Iterator[LambdaState]:
    """A decreasing path of lambda, each solve started from the best rounded point so far, in scaled variables.

    What is rounded is the gradient step ``U - grad f(U)/L`` from the l1 solution, the point that FISTA would shrink
    next: among the nonzeros it ranks as ``|U|`` does, and it ranks the zeros too, so that the pattern is met exactly.
    """
    require_pattern(sparsity)
    scaled, scale = problem.scaled()
    step, largest = 1 / (scaled.lipschitz() or 1.0), scaled.target.abs().max()
    best = start * (problem.channel_energy > 0)  # a weight on an input that is always 0 does nothing
    best = best * sparsity.mask((best * scale).abs())
    best = best if polish is None else polish(problem, best)
    best_error = problem.relative_error(best)
    for fraction in path:
        weight = float(fraction * largest)
        steps = fista(scaled, L1(weight), best * scale, step=step, restart=gradient_restart)
        inner = solve(steps, tol=1e-6, max_iter=iterations, check_every=10)
        forward = inner.x - step * scaled.grad(inner.x)
        candidate = forward * sparsity.mask(forward.abs()) / scale
        candidate = candidate if polish is None else polish(problem, candidate)
        rounded = problem.relative_error(candidate)
        if rounded < best_error:
            best, best_error = candidate, rounded
        yield LambdaState(best, best_error, weight, problem.relative_error(inner.x / scale), rounded, inner.iterations)


def _watched(steps: Iterator[LambdaState], watch: Watch | None) -> Iterator[LambdaState]:
    for state in steps:
        if watch is not None:
            watch(state)
        yield state


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count!r}")
