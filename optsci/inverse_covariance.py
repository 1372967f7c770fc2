r"""The graphical lasso by proximal Newton steps: a sparse inverse covariance.

.. math:: \min_{X \succ 0} \; -\log\det X + \langle S, X \rangle + \sum_{ij} \Lambda_{ij} |X_{ij}|

Every step replaces the smooth part by its second-order model at X, whose Hessian is :math:`W \otimes W` with
:math:`W = X^{-1}`, descends on the entries that are not zero or break the optimality conditions, and searches along
the direction found until the matrix is positive definite and the objective has decreased. Near the solution full steps
are taken, and convergence is superlinear.

Source: Hsieh, Sustik, Dhillon and Ravikumar, QUIC: quadratic approximation for sparse inverse covariance estimation,
J. Mach. Learn. Res. 15 (2014) 2911.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optsci._tensor import as_finite, require_nonnegative

DECREASE = 0.4  # share of the slope that a step must bring, as in Armijo's rule; a full step on the model brings 1/2
COARSE, FORCING = 0.1, 1.0  # a sweep is the last that changes less than this share of the direction, or times residual
MOST = 12  # the k-th direction takes up to 2^k sweeps, and up to 2^MOST
HALVINGS = 60  # then rounding has the last word, and the step is zero


class GraphicalLassoState(NamedTuple):
    """A proximal Newton iteration."""

    x: Tensor  # (p, p) symmetric and positive definite, with exact zeros
    residual: Tensor  # largest entry of the subgradient of least magnitude: how far the optimality conditions fail
    inverse: Tensor  # (p, p) inverse of x: the covariance that belongs to it
    step: float  # length of the step that led here: 1 near the solution
    sweeps: int  # over the entries that are not fixed at zero


def graphical_lasso(S: Any, weight: Any, x0: Any = None) -> Iterator[GraphicalLassoState]:
    r"""Proximal Newton (QUIC) for :math:`-\log\det X + \langle S, X \rangle + \sum_{ij} \Lambda_{ij} |X_{ij}|`.

    Args:
        S: (p, p) symmetric with positive diagonal, such as a covariance or correlation matrix; on the CPU. It is
            computed in float64, whatever its type.
        weight: of the entries off the diagonal, positive, the diagonal being free; or (p, p) symmetric weights of all
            entries, not negative.
        x0: (p, p) start, symmetric and positive definite, such as the solution for a similar weight; not modified.
            None: diagonal.

    The residual is the largest violation of the optimality conditions: :math:`(X^{-1} - S)_{ij} = \Lambda_{ij}
    \operatorname{sign} X_{ij}` where X is not zero, and :math:`|X^{-1} - S|_{ij} \le \Lambda_{ij}` elsewhere.

    Raises:
        ValueError: S is not square, symmetric and finite, its diagonal not positive, ``weight`` negative or not of its
            shape, or ``x0`` not positive definite.

    Reference: Hsieh, Sustik, Dhillon and Ravikumar (2014), Algorithm 1.

    Example:
        >>> import optsci
        >>> run = optsci.solve(graphical_lasso([[1.0, 0.5], [0.5, 1.0]], 0.1), tol=1e-6)
        >>> run.x
        tensor([[ 1.1905, -0.4762],
                [-0.4762,  1.1905]])
        >>> run.state.inverse
        tensor([[1.0000, 0.4000],
                [0.4000, 1.0000]])
    """
    S = _symmetric(S, "S")
    if not (S.diagonal() > 0).all():
        raise ValueError(f"the diagonal of S must be positive, got {float(S.diagonal().min()):.6g} on it")
    weights = _weights(weight, S)
    x = torch.diag(1 / (S.double() + weights).diagonal()) if x0 is None else _symmetric(x0, "x0", like=S)
    start = x.double().numpy()
    factor = _factor(start)
    if factor is None:
        raise ValueError("x0 must be positive definite, and is not")
    return _newton(S, S.double().numpy(), weights.numpy(), start, factor)


def _newton(
    like: Tensor, S: NDArray[Any], weights: NDArray[Any], X: NDArray[Any], factor: NDArray[Any]
) -> Iterator[GraphicalLassoState]:
    from optsci._kernels.graphical_lasso import newton_direction, violation

    W, logdet = _inverse(factor), _logdet(factor)
    step, sweeps, count = 1.0, 0, 0
    while True:
        residual = violation(S, W, X, weights)
        x, inverse = (torch.from_numpy(matrix).to(like.dtype) for matrix in (X, W))
        yield GraphicalLassoState(x, like.new_tensor(residual), inverse, step, sweeps)
        D, U = np.zeros_like(X), np.zeros_like(X)
        accuracy = min(COARSE, FORCING * residual / W.diagonal().max())
        sweeps = newton_direction(S, W, X, weights, D, U, 2 ** min(count, MOST), accuracy)
        count += 1
        penalty = (weights * np.abs(X)).sum()
        decrease = ((S - W) * D).sum() + (weights * np.abs(X + D)).sum() - penalty  # of the model, along all of D
        objective, step = (S * X).sum() - logdet + penalty, 1.0
        rounding = 1e-14 * (abs(objective) + len(S))
        for _ in range(HALVINGS):
            trial = X + step * D
            if (lower := _factor(trial)) is not None:
                new = (S * trial).sum() - _logdet(lower) + (weights * np.abs(trial)).sum()
                if new <= objective + DECREASE * step * decrease + rounding:
                    X, W, logdet = trial, _inverse(lower), _logdet(lower)
                    break
            step /= 2
        else:
            step = 0.0


def _factor(X: NDArray[Any]) -> NDArray[Any] | None:
    """The Cholesky factor, below the diagonal; None where the matrix is not positive definite."""
    from scipy.linalg import lapack

    factor, info = lapack.dpotrf(X.T, lower=1, overwrite_a=0)
    return factor if info == 0 else None


def _logdet(factor: NDArray[Any]) -> float:
    return float(2 * np.log(factor.diagonal()).sum())


def _inverse(factor: NDArray[Any]) -> NDArray[Any]:
    """The inverse of the matrix that was factorised."""
    from scipy.linalg import lapack

    half = np.tril(lapack.dpotri(factor, lower=1)[0])
    return half + np.tril(half, -1).T


def _symmetric(matrix: Any, name: str, like: Tensor | None = None) -> Tensor:
    matrix = as_finite(matrix, name, like=like).detach()
    if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) == 0:
        raise ValueError(f"{name} must be a square matrix, got shape {tuple(matrix.shape)}")
    if like is not None and matrix.shape != like.shape:
        raise ValueError(f"{name} must have the shape {tuple(like.shape)} of S, got {tuple(matrix.shape)}")
    if matrix.device.type != "cpu":
        raise ValueError(f"{name} must lie on the CPU, got {matrix.device}")
    skew = float((matrix - matrix.T).abs().max())
    if skew > 1e-6 * float(matrix.abs().max()):
        raise ValueError(f"{name} must be symmetric; two mirrored entries differ by {skew:.3g}")
    return (matrix + matrix.T) / 2


def _weights(weight: Any, S: Tensor) -> Tensor:
    weights = as_finite(weight, "weight", like=S).detach()
    require_nonnegative(weights, "weight")
    if weights.dim() == 0:
        return (weights * (1 - torch.eye(len(S), dtype=S.dtype))).double()
    return _symmetric(weights, "weight", like=S).double()
