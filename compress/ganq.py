r"""GANQ: a table of free values for every row and a code for every weight, fitted in turn to the outputs of the layer.

.. math:: \min_{T, Q} \|V X^* - W X\|_F^2, \qquad V_{ij} = T_{i, Q_{ij}}

An independent implementation of the published description (arXiv 2501.12956; ICML 2025), Algorithm 1: the S-step takes
codes from the last column to the first by back substitution in the Cholesky factor of ``G``, the T-step is least
squares in the table. In the listing the column of L has the index from before ``j`` is lowered; Eq. (20) needs the
column of ``j`` itself, as here. Algorithm 2 (GANQ*) keeps the outermost weights of every row apart, here
:func:`ganq_star`.

Ours: the start (k-means weighted by ``L_jj^2``; the paper leaves it open), the order of the columns, that the best
iterate is returned and not the last, the sweeps of coordinate descent behind it (:func:`descend_codes`), and what
is done where ``X*`` differs from ``X``: with ``W'`` the unconstrained minimiser, ``W' G = W C``, the error of
any ``V`` is

.. math:: \|V X^* - W X\|^2 = \|W' X^* - W X\|^2 + \|(V - W') X^*\|^2,

so that the S-step approximates ``W'`` in place of ``W`` and nothing else changes. ``W'`` needs damping; the T-step
and the descent work on the undamped error itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import ceil, floor
from typing import NamedTuple

import torch
from torch import Tensor

from optsci.iteration import solve
from optsci.linalg import damped_cholesky

from .code_steps import ascending, descend, fit_codebook, kmeans_codebook, lookup, substitute
from .codebook import Quantized
from .layer_problem import LayerProblem, with_live_diagonal
from .quantizers import Order, ascending_energy, check_bits

Damping = float | Callable[[Tensor], Tensor]


class GANQState(NamedTuple):
    """One round of an alternation between codes and tables."""

    x: Quantized  # best so far
    residual: Tensor  # its relative error ||V X* - W X|| / ||W X||: never rises
    last: Quantized  # of this round
    error: Tensor  # its relative error


def ganq_quantize(
    problem: LayerProblem,
    *,
    bits: int = 4,
    iterations: int = 1,
    sweeps: int = 1,
    damping: Damping = 0.01,
    order: Order = ascending_energy,
    dtype: torch.dtype | None = None,
) -> Quantized:
    """Quantize with :func:`ganq`, then let :func:`descend_codes` improve the best iterate.

    Args:
        problem: the layer problem.
        bits: N, 1 to 8; 2^N values a row.
        iterations: rounds of S-step and T-step; the paper has 10. From this start a sweep is worth more than a round.
        sweeps: rounds of coordinate descent and T-step after them; 0 for the published algorithm alone.
        damping: of the S-step, see :func:`ganq`.
        order: of the columns, see :func:`ganq`.
        dtype: of the table, that of the weights by default. Half precision is followed by a last sweep over the codes
            with the rounded values.

    Raises:
        NotPositiveDefiniteError: the Gram matrix of the named layer stays singular (too few calibration tokens).
        ValueError: the table overflows ``dtype``.

    >>> import torch
    >>> from optsci.compress import GramAccumulator
    >>> stats = GramAccumulator(); stats.add(torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 1.0], [1.0, 0.0, 1.0]]))
    >>> problem = stats.problem(torch.tensor([[0.0, 1.0, 1.2]]))
    >>> ganq_quantize(problem, bits=1).codes
    tensor([[0, 1, 1]], dtype=torch.uint8)
    """
    fixed = torch.zeros_like(problem.weight, dtype=torch.bool)
    return _quantize(problem, fixed, bits, iterations, sweeps, damping, order, dtype)


def ganq_star(
    problem: LayerProblem,
    *,
    outliers: float = 0.005,
    bits: int = 4,
    iterations: int = 1,
    sweeps: int = 1,
    damping: Damping = 0.01,
    order: Order = ascending_energy,
    dtype: torch.dtype | None = None,
) -> Quantized:
    """GANQ*: the outermost weights of every row are kept as they are, in a sparse correction.

    Args:
        problem: the layer problem.
        outliers: share of the weights of a row that is kept, half of it at either end. Only weights strictly beyond
            the quantiles are.
        bits: see :func:`ganq_quantize`, like all that follows.
        iterations: rounds of S-step and T-step.
        sweeps: rounds of coordinate descent and T-step after them.
        damping: of the S-step.
        order: of the columns.
        dtype: of the table and of the correction.
    """
    check_outliers(outliers)
    fixed = _beyond(problem.unconstrained(_ridge(damping)), outliers)
    return _quantize(problem, fixed, bits, iterations, sweeps, damping, order, dtype)


def ganq(
    problem: LayerProblem,
    *,
    bits: int = 4,
    fixed: Tensor | None = None,
    damping: Damping = 0.01,
    order: Order = ascending_energy,
) -> Iterator[GANQState]:
    """Codes for the table, then the table for the codes, in turn: Algorithm 1, with the best iterate kept.

    The S-step is greedy: errors of iterates may rise.

    Args:
        problem: the layer problem.
        bits: N, 1 to 8.
        fixed: (m, n) bool, weights that are kept as they are (those of the unconstrained minimiser); None keeps none.
        damping: what the S-step adds to the diagonal of ``G``: a number relative to its mean, raised tenfold until
            the factorisation succeeds, or a function of ``G`` such as :func:`diagonal_dominance`.
        order: function of ``G``: the columns in an order whose last one is quantized first.
    """
    check_bits(bits)
    places = order(problem.gram)
    inverse = places.argsort()
    layer = _prepare(_permuted(problem, places), _ridge(damping))
    fixed = torch.zeros_like(layer.reference, dtype=torch.bool) if fixed is None else fixed[:, places]
    factor = _factor(layer.gram, damping, problem.name)
    codebook = _start(layer, fixed, factor, bits)

    def iterate(codebook: Tensor) -> Iterator[GANQState]:
        best, least = None, None
        while True:
            codes = substitute(layer.reference, codebook, factor, fixed)
            residual, _ = _residual(layer, _weights(codebook, codes, fixed, layer.reference))
            codebook = fit_codebook(codebook, layer.gram, codes, fixed, residual)
            codebook, codes = ascending(codebook, codes)
            _, error = _residual(layer, _weights(codebook, codes, fixed, layer.reference))
            last = _quantized(codebook, codes, fixed, layer.reference, inverse)
            if best is None or least is None or error < least:
                best, least = last, error
            yield GANQState(best, least, last, error)

    return iterate(codebook)


def descend_codes(problem: LayerProblem, start: Quantized) -> Iterator[GANQState]:
    """Coordinate descent over the codes, then the table for the codes, in turn: improves the result of any quantizer.

    A sweep gives every weight in turn the value that is best with all others held. Neither step raises the error (but
    for rounding), and no order or damping is needed. Outliers of ``start`` stay as they are.

    Args:
        problem: the layer problem.
        start: where to begin.
    """
    layer = _prepare(problem, 0.01)
    codebook, codes = ascending(start.codebook.to(problem.weight.dtype), start.codes)
    fixed, kept = _outliers(start, problem.weight)

    def iterate(codebook: Tensor, codes: Tensor) -> Iterator[GANQState]:
        residual, least = _residual(layer, _weights(codebook, codes, fixed, kept))
        best = start
        while True:
            codes, residual = descend(codebook, layer.gram, codes, fixed, residual)
            codebook = fit_codebook(codebook, layer.gram, codes, fixed, residual)
            codebook, codes = ascending(codebook, codes)
            residual, error = _residual(layer, _weights(codebook, codes, fixed, kept))
            last = _quantized(codebook, codes, fixed, kept)
            if error < least:
                best, least = last, error
            yield GANQState(best, least, last, error)

    return iterate(codebook, codes)


def diagonal_dominance(gram: Tensor) -> Tensor:
    """What makes ``G`` diagonally dominant when added to its diagonal, (n,): for few calibration tokens.

    ``max(sum_j |G_ij| - 2 G_ii, 1e-8 mean(diag G))``, as we read the public reimplementation smpanaro/ganq; the floor
    is relative here.
    """
    diagonal = gram.diagonal()
    return torch.maximum(gram.abs().sum(1) - 2 * diagonal, 1e-8 * diagonal.mean())


def check_outliers(outliers: float) -> float:
    """Refuse what is no share of the weights of a row."""
    if not 0 <= outliers < 1:
        raise ValueError(f"outliers must lie in [0, 1): a share of the weights of a row, got {outliers!r}")
    return outliers


def _quantize(
    problem: LayerProblem,
    fixed: Tensor,
    bits: int,
    iterations: int,
    sweeps: int,
    damping: Damping,
    order: Order,
    dtype: torch.dtype | None,
) -> Quantized:
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {iterations!r}")
    if sweeps < 0:
        raise ValueError(f"sweeps must be at least 0, got {sweeps!r}")
    best: Quantized = solve(
        ganq(problem, bits=bits, fixed=fixed, damping=damping, order=order), tol=None, max_iter=iterations
    ).x
    if sweeps:
        best = solve(descend_codes(problem, best), tol=None, max_iter=sweeps).x
    return best if dtype is None or dtype == best.codebook.dtype else _stored(problem, best, dtype)


def _stored(problem: LayerProblem, quantized: Quantized, dtype: torch.dtype) -> Quantized:
    """The table in the dtype it is stored in, and the codes that are best for it."""
    if not dtype.is_floating_point or dtype.itemsize == 1:
        raise ValueError(f"dtype must be a floating-point type of 16 bits or more, got {dtype}")
    codebook = quantized.codebook.to(dtype)
    if not codebook.isfinite().all():
        raise ValueError(f"the table of {problem.name} holds an infinity as {dtype}")
    fixed, kept = _outliers(quantized, problem.weight)
    layer, rounded = _prepare(problem, 0.01), codebook.to(problem.weight.dtype)
    residual, _ = _residual(layer, _weights(rounded, quantized.codes, fixed, kept))
    codes, _ = descend(rounded, layer.gram, quantized.codes, fixed, residual)
    return _quantized(codebook, codes, fixed, kept.to(dtype))


class _Layer(NamedTuple):
    """A layer problem around its unconstrained minimiser W'."""

    reference: Tensor  # (m, n) W'
    gram: Tensor  # (n, n) G
    slope: Tensor  # (m, n) W C - W' G: what its damping leaves, 0 where X* = X
    base: Tensor  # ||W' X* - W X||^2 / p
    energy: Tensor  # ||W X||^2 / p


def _prepare(problem: LayerProblem, damping: float) -> _Layer:
    reference = problem.unconstrained(damping)
    if problem.cross is problem.gram:
        slope, base = torch.zeros((), dtype=reference.dtype, device=reference.device), problem.energy.new_zeros(())
    else:
        exact = problem.weight.double() @ problem.cross.double() - reference.double() @ problem.gram.double()
        slope, base = exact.to(reference.dtype), problem.squared_error(reference)
    return _Layer(reference, problem.gram, slope, base, problem.energy)


def _residual(layer: _Layer, weights: Tensor) -> tuple[Tensor, Tensor]:
    """``W C - V G`` and the relative error of V, formed from ``W' - V`` so that nothing cancels."""
    difference = layer.reference - weights
    residual = difference @ layer.gram + layer.slope
    squared = layer.base + (difference.double() * (residual + layer.slope)).sum()
    return residual, (squared.clamp(min=0) / torch.where(layer.energy > 0, layer.energy, 1.0)).sqrt()


def _permuted(problem: LayerProblem, places: Tensor) -> LayerProblem:
    gram = problem.gram[places][:, places].contiguous()
    cross = gram if problem.cross is problem.gram else problem.cross[places][:, places]
    return replace(problem, weight=problem.weight[:, places].contiguous(), gram=gram, cross=cross)


def _ridge(damping: Damping) -> float:
    """Of the unconstrained minimiser."""
    if callable(damping):
        return 0.01
    if not damping >= 0:
        raise ValueError(f"damping must be at least 0, or a function of the Gram matrix, got {damping!r}")
    return damping


def _factor(gram: Tensor, damping: Damping, name: str) -> Tensor:
    if callable(damping):
        gram, damping = gram + torch.diag(damping(gram)), 0.0
    factor, _ = damped_cholesky(with_live_diagonal(gram), damping, name=f"the Gram matrix of {name}")
    return factor


def _start(layer: _Layer, fixed: Tensor, factor: Tensor, bits: int) -> Tensor:
    """k-means of the weights that are not fixed, weighted by ``L_jj^2``: what the S-step leaves of a column's error."""
    values = torch.where(fixed, layer.reference.median(dim=1, keepdim=True).values, layer.reference)
    weights = factor.diagonal().square()
    return kmeans_codebook(values, weights / weights.max() * ~fixed, bits=bits)


def _beyond(weights: Tensor, share: float) -> Tensor:
    """(m, n) bool: the weights strictly beyond the quantiles of their row, half of the share at either end."""
    n = weights.shape[1]
    ordered = weights.sort(dim=1).values
    high = ordered[:, min(floor(n * (1 - share / 2)), n - 1), None]
    low = ordered[:, min(ceil(n * share / 2), n - 1), None]
    return (weights > high) | (weights < low)


def _weights(codebook: Tensor, codes: Tensor, fixed: Tensor, kept: Tensor) -> Tensor:
    return torch.where(fixed, kept, lookup(codebook, codes))


def _outliers(quantized: Quantized, like: Tensor) -> tuple[Tensor, Tensor]:
    """Where the sparse correction has entries, and the weights there."""
    if quantized.outliers is None:
        return torch.zeros_like(like, dtype=torch.bool), torch.zeros((), dtype=like.dtype, device=like.device)
    sparse = quantized.outliers
    ones = _csr(sparse.crow_indices().diff(), sparse.col_indices(), torch.ones_like(sparse.values()), sparse.shape)
    return ones.to_dense() != 0, quantized.weights.to(like.dtype)


def _quantized(
    codebook: Tensor, codes: Tensor, fixed: Tensor, kept: Tensor, columns: Tensor | None = None
) -> Quantized:
    outliers = None
    if fixed.any():
        difference = torch.where(fixed, kept - lookup(codebook, codes), 0)
        if columns is not None:
            difference, fixed = difference[:, columns], fixed[:, columns]
        rows, places = fixed.nonzero(as_tuple=True)
        outliers = _csr(fixed.sum(1), places, difference[rows, places], fixed.shape)
    return Quantized(codes if columns is None else codes[:, columns].contiguous(), codebook, outliers)


def _csr(counts: Tensor, columns: Tensor, values: Tensor, shape: torch.Size) -> Tensor:
    starts = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse")  # "is in beta state", said once a process
        return torch.sparse_csr_tensor(starts, columns, values, shape, check_invariants=True)
