r"""The lasso by coordinate descent: :math:`\min_x \tfrac12 \|A x - b\|^2 + \lambda \|x\|_1`, one weight or many.

Every answer carries its own proof: the duality gap :math:`P(x) - D(\theta)` over all columns, which bounds how far
the objective is from the optimum. The dual point is the scaled residual,

.. math::

    D(\theta) = \tfrac12 \|b\|^2 - \tfrac12 \|b - \theta\|^2, \qquad \theta = s (b - A x), \qquad
    s = \min(b^T r / \|r\|^2, \; \lambda / \|A^T r\|_\infty).

Weights are passed from the largest to the smallest. The strong rule proposes the columns of the next weight, the Gram
matrix of all columns met so far is kept and grown, and coordinate descent runs on it in compiled code; then the
correlations of the other columns are looked at, those that break the optimality conditions join, until the gap is
small enough. A column that lay well below the weight at an earlier residual :math:`r'` cannot have come above it
since, by :math:`|a_j^T r| \le |t| |a_j^T r'| + \|a_j\| \|r - t r'\|` for every t, and is not visited.

Sources: Friedman, Hastie and Tibshirani, J. Stat. Softw. 33 (2010) 1; Tibshirani et al., J. R. Stat. Soc. B 74
(2012) 245 (strong rules); Fercoq, Gramfort and Salmon, ICML (2015), arXiv 1505.03410 (duality gap, safe bounds);
Bertrand and Massias, AISTATS (2021), arXiv 2011.10065 (extrapolation).

There is no state to yield between the passes over the coordinates, so these are functions, not generators for
``solve``. Where rounding stops the descent first, ``converged`` is false and ``gap`` says how far it came.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from optsci._tensor import as_finite, as_tensor, require_positive

CACHED_COLUMNS = 4096  # Gram matrix of 128 MiB; more only where the solution itself has more nonzeros
OUTER = 60  # rounds of certificates for a weight; 2 or 3 are the rule
STALLS = 3  # rounds without new columns that do not halve the gap: rounding has the last word
EPOCHS = 2000  # passes between two certificates
SHARE = 0.9  # of the weight: columns below are not proposed, however large the step between two weights
ROUGH = 0.8  # inner gap over the wanted one, once all violating columns are in
FIRST, GROWTH = 64, 0.5  # columns that may join in a round: so many, or so many for every nonzero


class LassoPath(NamedTuple):
    """Solutions along a path of weights."""

    weights: Tensor  # (count,), decreasing
    x: Tensor  # (n, count), a column for each weight
    gap: Tensor  # (count,) duality gap / (||b||^2 / 2)
    iterations: Tensor  # (count,) passes over the working coordinates
    converged: Tensor  # (count,) bool: gap <= tol


class LassoFit(NamedTuple):
    """Solution for one weight."""

    x: Tensor  # (n,)
    gap: float  # duality gap / (||b||^2 / 2)
    iterations: int  # passes over the working coordinates
    converged: bool  # gap <= tol


def lasso_path(
    A: Any, b: Any, weights: Any = None, *, count: int = 50, ratio: float = 1e-2, tol: float = 1e-6
) -> LassoPath:
    r"""Solve :math:`\min_x \tfrac12 \|A x - b\|^2 + \lambda \|x\|_1` for decreasing weights, each with its gap.

    scikit-learn divides the square by the number of rows: its ``alpha`` is ``weight / m``. It fits no intercept:
    centre A and b for one.

    Args:
        A: (m, n), a tensor on the CPU or an array, of either memory order; float32 is computed in float64.
        b: (m,)
        weights: (count,) positive, strictly decreasing. None: ``count`` weights in geometric progression from
            the largest useful one, :math:`\|A^T b\|_\infty`, to ``ratio`` times that.
        count: number of weights, where they are derived.
        ratio: last weight over the first, between 0 and 1, where they are derived.
        tol: positive; a solution is done when its gap is at most ``tol * ||b||^2 / 2``.

    Raises:
        ValueError: a shape, a device or a value that is not as said here, or not finite.

    Example:
        >>> path = lasso_path(torch.eye(2), [3.0, 1.0], [2.0, 0.5])
        >>> path.x
        tensor([[1.0000, 2.5000],
                [0.0000, 0.5000]])
    """
    A, b = _data(A, b, tol)
    descent = _Descent(A, b)
    if weights is None:
        weights = _geometric(descent.largest_weight, count, ratio)
    weights = as_finite(weights, "weights", like=b).double()
    require_positive(weights, "weights")
    if weights.dim() != 1 or len(weights) == 0 or not (weights[1:] < weights[:-1]).all():
        raise ValueError(f"weights must be a strictly decreasing vector, got {weights.tolist()}")
    x = np.zeros((len(weights), A.shape[1]))
    gaps, iterations = [], []
    for k, weight in enumerate(weights.tolist()):
        gap, passes = descent.advance(weight, tol)
        x[k, descent.columns] = descent.x
        gaps.append(gap)
        iterations.append(passes)
    certified = torch.tensor(gaps, dtype=torch.float64)
    return LassoPath(
        weights.to(b.dtype), torch.from_numpy(x).T.to(b.dtype), certified, torch.tensor(iterations), certified <= tol
    )


def lasso(A: Any, b: Any, weight: float, *, tol: float = 1e-6, x0: Any = None) -> LassoFit:
    r"""Solve :math:`\min_x \tfrac12 \|A x - b\|^2 + \lambda \|x\|_1` for one weight.

    Args:
        A: (m, n), as for ``lasso_path``.
        b: (m,)
        weight: positive; for 0 solve the least-squares problem by other means.
        tol: positive; done when the gap is at most ``tol * ||b||^2 / 2``.
        x0: (n,) start, say the solution of a similar problem; not modified. None: zero.

    Raises:
        ValueError: a shape, a device or a value that is not as said here, or not finite.

    Example:
        >>> fit = lasso([[2.0, 0.0], [0.0, 1.0]], [2.0, 3.0], 1.0)
        >>> fit.x, fit.converged
        (tensor([0.7500, 2.0000]), True)
    """
    A, b = _data(A, b, tol)
    require_positive(weight, "weight")
    weight = float(weight)
    descent = _Descent(A, b)
    if x0 is not None:
        x0 = as_finite(x0, "x0", like=b)
        if x0.shape != A.shape[1:]:
            raise ValueError(f"x0 has shape {tuple(x0.shape)}, but A takes {tuple(A.shape[1:])}")
        descent.start(x0.detach().double().numpy(), weight)
    gap, passes = descent.advance(weight, tol)
    x = np.zeros(A.shape[1])
    x[descent.columns] = descent.x
    return LassoFit(torch.from_numpy(x).to(b.dtype), gap, passes, gap <= tol)


class _Descent:
    """Columns met so far, their Gram matrix, and the solution of the last weight."""

    def __init__(self, A: Tensor, b: Tensor):
        self.A, self.b = A.detach().double().numpy(), b.detach().double().numpy()
        m, n = self.A.shape
        self.square = float(self.b @ self.b)
        self.norms = np.sqrt(np.einsum("ij,ij->j", self.A, self.A))
        self.linear = self.b @ self.A  # A^T b
        if not (np.isfinite(self.norms).all() and np.isfinite(self.linear).all()):
            as_finite(A, "A")
            raise ValueError("A is too large to be squared: scale A and b")
        self.largest_weight = float(np.abs(self.linear).max(initial=0.0))
        self.last_weight = self.largest_weight
        self.correlation = self.linear.copy()  # A^T r, as last computed
        self.reference = self.linear.copy()  # A^T r for r = reference_residual, all columns
        self.reference_residual = self.b
        self.cached = np.zeros(n, dtype=bool)
        self.columns = np.empty(0, dtype=np.int64)  # cached ones, in the order of their arrival; x belongs to them
        self.block = np.empty((m, 0), order="F")
        self.gram = np.empty((0, 0))
        self.c = np.empty(0)
        self.x = np.empty(0)

    def start(self, x: np.ndarray, weight: float) -> None:
        """Begin at `x`."""
        self._extend(np.flatnonzero(x))
        self.x = x[self.columns]
        self.last_weight = weight
        self.reference_residual = self._residual()
        self.reference = self.reference_residual @ self.A
        self.correlation = self.reference.copy()

    def advance(self, weight: float, tol: float) -> tuple[float, int]:
        """Solve for a smaller weight from the solution of the last one; return the relative gap and the passes."""
        from optsci._kernels.lasso import descend

        if weight >= self.largest_weight:
            self.x = np.zeros_like(self.x)
            return 0.0, 0
        half_square = self.square / 2
        target, gap, passes = tol * half_square, half_square, 0
        strong = max(2 * weight - self.last_weight, SHARE * weight)
        complete = self._propose(strong)
        rough, stalls = ROUGH, 0
        for _ in range(OUTER):
            working = np.flatnonzero((self.x != 0) | (np.abs(self.correlation[self.columns]) >= strong))
            inner = rough * target if complete else max(rough * target, 0.1 * gap)
            passes += descend(self.gram, self.c, self.x, working, weight, self.square, inner, EPOCHS)
            last_gap, gap = gap, self._certify(weight)
            if gap <= target or stalls == STALLS:
                break
            before = len(self.columns)
            complete = self._propose(weight)
            if len(self.columns) == before:
                rough /= 4
                stalls = stalls + 1 if gap > last_gap / 2 else 0
        self.last_weight = weight
        return max(gap, 0.0) / half_square, passes

    def _propose(self, threshold: float) -> bool:
        """Cache the columns with correlations above a threshold, the largest first; return whether all have room."""
        above = np.flatnonzero((np.abs(self.correlation) > threshold) & ~self.cached)
        room = max(FIRST, int(GROWTH * np.count_nonzero(self.x)))
        if len(above) > room:
            order = np.argpartition(-np.abs(self.correlation[above]), room)
            self._extend(above[order[:room]])
            return False
        self._extend(above)
        return True

    def _certify(self, weight: float) -> float:
        """Return the duality gap over all columns, and bring `correlation` up to date where it can matter."""
        r = self._residual()
        r0 = self.reference_residual
        share = (r @ r0) / (r0 @ r0) if r0.any() else 0.0
        bound = abs(share) * np.abs(self.reference) + np.linalg.norm(r - share * r0) * self.norms
        near = np.flatnonzero(bound > weight)
        if len(near) > 0.25 * len(bound):
            self.correlation = r @ self.A
            self.reference, self.reference_residual = self.correlation.copy(), r
            largest = np.abs(self.correlation).max(initial=0.0)
        else:
            self.correlation[near] = self.A.T[near] @ r
            largest = max(np.abs(self.correlation[near]).max(initial=0.0), weight)
        r_r, b_r = r @ r, self.b @ r
        scale = min(weight / largest, b_r / r_r) if largest > 0 and r_r > 0 else 0.0
        primal = r_r / 2 + weight * np.abs(self.x).sum()
        return float(primal - (scale * b_r - scale**2 * r_r / 2))

    def _residual(self) -> np.ndarray:
        return self.b - self.block[:, : len(self.x)] @ self.x

    def _extend(self, new: np.ndarray) -> None:
        """Add columns to the cache; where it would grow too large, columns with zero coefficients leave it."""
        if len(new) == 0:
            return
        if len(self.columns) + len(new) > CACHED_COLUMNS:
            keep = np.flatnonzero(self.x)
            self.cached[:] = False
            self.columns, self.x, self.c = self.columns[keep], self.x[keep], self.c[keep]
            self.cached[self.columns] = True
            self.gram[: len(keep), : len(keep)] = self.gram[np.ix_(keep, keep)]
            self.block[:, : len(keep)] = self.block[:, keep]
        old, size = len(self.columns), len(self.columns) + len(new)
        if size > self.gram.shape[0]:
            room = max(size, min(2 * size + 256, len(self.cached), CACHED_COLUMNS))
            gram, block = np.empty((room, room)), np.empty((self.A.shape[0], room), order="F")
            gram[:old, :old] = self.gram[:old, :old]
            block[:, :old] = self.block[:, :old]
            self.gram, self.block = gram, block
        np.take(self.A.T, new, axis=0, out=self.block.T[old:size], mode="clip")
        rows = self.block[:, old:size].T @ self.block[:, :size]
        self.gram[old:size, :size] = rows
        self.gram[:old, old:size] = rows[:, :old].T
        self.columns = np.concatenate([self.columns, new])
        self.c = np.concatenate([self.c, self.linear[new]])
        self.x = np.concatenate([self.x, np.zeros(len(new))])
        self.cached[new] = True


def _data(A: Any, b: Any, tol: float) -> tuple[Tensor, Tensor]:
    A = as_tensor(A, "A")
    if A.dim() != 2 or 0 in A.shape:
        raise ValueError(f"A must be a matrix with rows and columns, got shape {tuple(A.shape)}")
    b = as_finite(b, "b", like=A)
    if b.shape != A.shape[:1]:
        raise ValueError(f"b has shape {tuple(b.shape)}, but A has {A.shape[0]} rows")
    if A.device.type != "cpu":
        raise ValueError(f"A must be on the CPU, where coordinate descent runs, not on {A.device}")
    require_positive(tol, "tol")
    return A, b


def _geometric(largest: float, count: int, ratio: float) -> list[float]:
    if not 0 < ratio < 1:
        raise ValueError(f"ratio must lie between 0 and 1, not {ratio!r}")
    if count < 1:
        raise ValueError(f"count must be at least 1, not {count!r}")
    if largest == 0:
        raise ValueError("weights cannot be derived where A^T b = 0: pass weights=")
    return (largest * np.geomspace(1, ratio, count)).tolist()
