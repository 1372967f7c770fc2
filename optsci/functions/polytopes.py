r"""Indicators of polytopes: the capped simplex, doubly stochastic matrices and transport plans.

.. math:: \min_X \; \tfrac12 \|X - V\|^2 \quad \text{subject to} \quad X \ge 0, \; X 1 = r, \; X^\top 1 = c

The projection is :math:`X = (V - \alpha 1^\top - 1 \beta^\top)_+`, where the multipliers minimise a convex,
piecewise quadratic function. Newton steps on its pieces find the minimum to machine precision; exact minimisation
over all :math:`\alpha`, then all :math:`\beta`, between them, and a start from smaller entries, bring it within reach.

Sources: X. Li, D. Sun and K.-C. Toh, On the efficient computation of a projector onto the Birkhoff polytope, SIAM
J. Optim. 30 (2020) (semismooth Newton method for these multipliers).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from optsci._tensor import (
    as_finite,
    as_scalar,
    euclidean_norm,
    require_entries,
    require_fit,
    require_nonnegative,
    require_step,
)
from optsci.functions.box_section import _onto_section
from optsci.functions.calculus import scaled
from optsci.functions.indicators import _within

_ROUNDS = 40  # of a Newton step and an exact minimisation each


@dataclass(frozen=True, eq=False)
class CappedSimplex:
    r"""Indicator of the capped simplex ``0 <= x <= 1, sum x <= k``: relaxed choices of at most k entries.

    .. math:: \operatorname{prox}(x) = \min(\max(x - \nu, 0), 1), \qquad \nu \ge 0 \text{ the least that makes the sum
              at most } k

    Vectors run along the last dimension, the leading ones are a batch. The shift :math:`\nu` is exact, see
    `BoxSection`.

    Args:
        k: at least 0; a float or a 0-d tensor, not necessarily whole.

    Raises:
        ValueError: ``k`` is negative or not finite; or ``x`` has no entries along its last dimension.

    Reference: W. Wang and C. Lu, Projection onto the capped simplex, arXiv 1503.01002.

    >>> CappedSimplex(1).prox(torch.tensor([[2.0, 0.5, -1.0], [1.0, 0.5, 0.25], [0.5, 0.25, -1.0]]), 1.0)
    tensor([[1.0000, 0.0000, 0.0000],
            [0.7500, 0.2500, 0.0000],
            [0.5000, 0.2500, 0.0000]])
    """

    k: float | Tensor

    def __post_init__(self) -> None:
        k = as_scalar(self.k, "k")
        require_nonnegative(k, "k")
        object.__setattr__(self, "k", k)

    def __call__(self, x: Tensor) -> Tensor:
        require_entries(x)
        excess = (x.sum(-1) - self.k) / x.shape[-1] ** 0.5
        off = torch.maximum(torch.maximum(-x, x - 1).amax(-1), excess)
        return _within(off, x, euclidean_norm(x, dim=-1), x.shape[-1])

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        require_entries(x)
        clipped = x.clamp(min=0).clamp(max=1)
        fits = clipped.sum(-1, keepdim=True) <= self.k
        return torch.where(fits, clipped, _onto_section(x, torch.ones_like(x[..., :1]), self.k, 0.0, 1.0))

    def lmo(self, d: Tensor) -> Tensor:
        """The corner that minimises ``<d, z>``: the smallest entries of ``d`` are taken, up to k, if negative."""
        require_entries(d)
        rank = d.argsort(dim=-1, stable=True).argsort(dim=-1).to(d.dtype)
        return torch.where(d < 0, (self.k - rank).clamp(min=0).clamp(max=1), 0 * d)

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class TransportPolytope:
    r"""Indicator of the transport plans from ``r`` to ``c``: ``X >= 0`` with row sums r and column sums c.

    .. math:: \operatorname{prox}(X) = (X - \alpha 1^\top - 1 \beta^\top)_+

    Matrices are the last two dimensions, the leading ones are a batch. The projection is Euclidean (not that of
    Sinkhorn, which is in relative entropy), by Newton's method on the multipliers, in double precision whatever
    the dtype, with as many steps for every matrix: a step costs the Cholesky factorisation of a matrix of m + n
    rows. The derivative is that of the linear equations between the positive entries.

    Args:
        r: (m,) the row sums, at least 0.
        c: (n,) the column sums, at least 0, of the same total.

    Raises:
        ValueError: ``r`` or ``c`` is not a vector, negative or not finite; their totals differ; or the last two
            dimensions of ``x`` are not (m, n).

    Reference: X. Li, D. Sun and K.-C. Toh, On the efficient computation of a projector onto the Birkhoff
    polytope, SIAM J. Optim. 30 (2020).

    >>> TransportPolytope([1.0, 2.0], [2.0, 1.0]).prox(torch.eye(2), 1.0)
    tensor([[1., 0.],
            [1., 1.]])
    >>> TransportPolytope([1.0, 2.0], [1.0, 1.0])
    Traceback (most recent call last):
    ValueError: r and c must have the same total, got 3 and 2
    """

    r: Tensor
    c: Tensor

    def __post_init__(self) -> None:
        r = as_finite(self.r, "r")
        c = as_finite(self.c, "c", like=r)
        for name, sums in (("r", r), ("c", c)):
            if sums.dim() != 1 or not len(sums):
                raise ValueError(f"{name} must be a vector of at least one number, got shape {tuple(sums.shape)}")
            if not sums.detach().count_nonzero():
                raise ValueError(f"{name} must not be 0: there is nothing to transport")
            require_nonnegative(sums, name)
            object.__setattr__(self, name, sums)
        total, other = r.detach().double().sum().item(), c.detach().double().sum().item()
        if abs(total - other) > 8 * torch.finfo(r.dtype).eps * (len(r) + len(c)) * max(total, other):
            raise ValueError(f"r and c must have the same total, got {total:.6g} and {other:.6g}")

    def __call__(self, x: Tensor) -> Tensor:
        self._require_fit(x)
        return _in_polytope(x, self.r, self.c)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        self._require_fit(x)
        return _onto_polytope(x, self.r, self.c)

    def _require_fit(self, x: Tensor) -> None:
        shape = (len(self.r), len(self.c))
        if x.shape[-2:] != shape:
            raise ValueError(f"x must end in the dimensions {shape} of r and c, got shape {tuple(x.shape)}")
        require_fit(self.r[:1], x, "r")

    __rmul__ = scaled


@dataclass(frozen=True)
class Birkhoff:
    r"""Indicator of the doubly stochastic matrices: ``X >= 0``, all row and column sums 1.

    .. math:: \operatorname{prox}(X) = (X - \alpha 1^\top - 1 \beta^\top)_+

    The corners of this set are the permutation matrices (Birkhoff), over which ``lmo`` solves the assignment
    problem. Matrices are the last two dimensions, the leading ones are a batch; the projection is that of
    `TransportPolytope`.

    Raises:
        ValueError: the last two dimensions of ``x`` are not equal and positive.

    Reference: X. Li, D. Sun and K.-C. Toh, On the efficient computation of a projector onto the Birkhoff
    polytope, SIAM J. Optim. 30 (2020).

    >>> Birkhoff().prox(torch.tensor([[2.0, 0.0], [1.5, 1.0]]), 1.0)
    tensor([[0.8750, 0.1250],
            [0.1250, 0.8750]])
    >>> Birkhoff().lmo(torch.tensor([[0.0, 1.0], [-2.0, 0.0]]))
    tensor([[0., 1.],
            [1., 0.]])
    """

    def __call__(self, x: Tensor) -> Tensor:
        ones = _ones(x)
        return _in_polytope(x, ones, ones)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        ones = _ones(x)
        return _onto_polytope(x, ones, ones)

    def lmo(self, d: Tensor) -> Tensor:
        """The permutation matrix that minimises ``<d, Z>``; by SciPy, on the CPU, one matrix after the other."""
        from scipy.optimize import linear_sum_assignment

        n = len(_ones(d))
        costs = d.detach().double().cpu().reshape(-1, n, n).numpy()
        columns = np.array([linear_sum_assignment(cost)[1] for cost in costs], dtype=np.int64).reshape(-1)
        corners = torch.eye(n, dtype=d.dtype, device=d.device)[torch.from_numpy(columns).to(d.device)]
        return corners.reshape(d.shape)

    __rmul__ = scaled


def _in_polytope(x: Tensor, r: Tensor, c: Tensor) -> Tensor:
    m, n = x.shape[-2:]
    rows, columns = (x.sum(-1) - r).abs() / n**0.5, (x.sum(-2) - c).abs() / m**0.5
    off = torch.cat([rows, columns, (-x).flatten(-2)], dim=-1).amax(-1)
    return _within(off, x, euclidean_norm(x, dim=(-2, -1)), m * n)


def _onto_polytope(x: Tensor, r: Tensor, c: Tensor) -> Tensor:
    m = x.shape[-2]
    with torch.no_grad():
        multipliers = _multipliers(x.detach().double(), r.detach().double(), c.detach().double()).to(x.dtype)
        positive = ~(_primal(x, multipliers) <= 0)  # NaN counts, and stays
        inverse = torch.linalg.pinv(_newton_matrix(positive.double()), hermitian=True).to(x.dtype)
    p = torch.where(positive, x - multipliers[..., :m, None] - multipliers[..., None, m:], 0)
    # Between the positive entries the equations are linear: the multipliers that solve them carry the derivatives.
    for _ in range(2):
        move = (inverse @ _excess(p, r, c).unsqueeze(-1)).squeeze(-1)
        p = torch.where(positive, p - move[..., :m, None] - move[..., None, m:], p)
    return p.clamp(min=0)


def _multipliers(v: Tensor, r: Tensor, c: Tensor) -> Tensor:
    """Minimise ``1/2 ||(V - alpha 1^T - 1 beta^T)_+||^2 + <alpha, r> + <beta, c>``; of shape (..., m + n)."""
    m, n = v.shape[-2:]
    sums = torch.cat([r, c])
    null = torch.cat([v.new_ones(m), -v.new_ones(n)])  # alpha + t, beta - t is as good for every t
    null, eye = torch.outer(null, null) / (m + n), torch.eye(m + n, dtype=v.dtype, device=v.device)
    spread = (v.amax((-2, -1)) - v.amin((-2, -1))).clamp(min=1e-300)
    shares = 0.25 ** torch.arange(6, dtype=v.dtype, device=v.device).unsqueeze(-1)

    # The problem for entries as small as the sums is easy, and that for twice as large entries begins from twice its
    # multipliers. So 40 rounds leave excesses near 1e-8 for random matrices of 100 rows and entries up to 1e3, which
    # the last step of the caller removes; entries of 1e6 are too large for that many rows.
    full, share, beta = v, torch.zeros_like(spread)[..., None], v.new_zeros((*v.shape[:-2], n))
    for k in range(_ROUNDS):
        before, share = share, (2.0**k * sums.mean() / spread).clamp(max=1)[..., None]
        beta = beta * torch.where(before > 0, share / before, 1)
        v = full * share[..., None]
        alpha = _level(v - beta.unsqueeze(-2), r)
        beta = _level((v - alpha.unsqueeze(-1)).mT, c)
        now = torch.cat([alpha, beta], dim=-1)
        plan = _primal(v, now)
        excess = _excess(plan, r, c)
        # Where no path of positive entries joins two groups of rows and columns, only the damping bounds the step:
        # it is then about as long as the entries differ. It vanishes with the excess.
        damping = (excess.abs().amax(-1) / (share[..., 0] * spread)).clamp(max=0.01) + 1e-13
        matrix = _newton_matrix((plan > 0).to(v.dtype)) + null + damping[..., None, None] * eye
        factor = torch.linalg.cholesky_ex(matrix).L
        move = torch.cholesky_solve(excess.unsqueeze(-1), factor).squeeze(-1)
        # The full step, a shorter one, or none at all: the one of least objective.
        steps = now.unsqueeze(-2) + torch.cat([shares, torch.zeros_like(shares[:1])]) * move.unsqueeze(-2)
        values = _primal(v.unsqueeze(-3), steps).square().sum((-2, -1)) / 2 + (steps * sums).sum(-1)
        best = values.argmin(-1)[..., None, None].expand(*steps.shape[:-2], 1, m + n)
        now = steps.gather(-2, best).squeeze(-2)
        alpha, beta = now[..., :m], now[..., m:]
    return now


def _primal(v: Tensor, multipliers: Tensor) -> Tensor:
    m = v.shape[-2]
    return (v - multipliers[..., :m, None] - multipliers[..., None, m:]).clamp(min=0)


def _excess(plan: Tensor, r: Tensor, c: Tensor) -> Tensor:
    """By how much the row sums, then the column sums, are too large."""
    return torch.cat([plan.sum(-1) - r, plan.sum(-2) - c], dim=-1)


def _newton_matrix(positive: Tensor) -> Tensor:
    rows = torch.cat([torch.diag_embed(positive.sum(-1)), positive], dim=-1)
    return torch.cat([rows, torch.cat([positive.mT, torch.diag_embed(positive.sum(-2))], dim=-1)], dim=-2)


def _level(rows: Tensor, sums: Tensor) -> Tensor:
    """The numbers whose subtraction leaves the given sums of positive parts, one a row."""
    largest = rows.sort(dim=-1, descending=True).values
    counts = torch.arange(1, rows.shape[-1] + 1, dtype=rows.dtype, device=rows.device)
    levels = (largest.cumsum(-1) - sums.unsqueeze(-1)) / counts
    positive = (largest > levels).sum(-1, keepdim=True).clamp(min=1)
    return levels.gather(-1, positive - 1).squeeze(-1)


def _ones(x: Tensor) -> Tensor:
    if x.dim() < 2 or x.shape[-1] != x.shape[-2] or not x.shape[-1]:
        raise ValueError(f"x must be a square matrix, or a batch of them, got shape {tuple(x.shape)}")
    return x.new_ones(x.shape[-1])
