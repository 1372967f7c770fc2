r"""SPAP: choose the units to remove by a penalty that grows, on the layer problem itself.

.. math::
    \min_{V, z} \; \tfrac12 \|V X^* - W X\|_F^2 + \tfrac\rho2 \sum_j z_j G_{jj} \|v_j\|^2
    \quad \text{with } z \in [0, 1]^n, \; \textstyle\sum_j z_j = r

For a given V the best z is binary: 1 on the r smallest ``G_jj ||v_j||^2``.  For a given z the best V is one ridge
solve.  The two steps alternate while rho grows; in the limit the columns with ``z_j = 1`` are 0.

Reference: SPAP, arXiv 2505.03373: the model (mixed-integer, relaxed, bilinear constraint penalised) and the alternation
are as its abstract and public reviews describe them.  The full text was not available to us.  This penalty, linear in
z and weighted by the energy of the channels, the growth of rho and the stopping rule are our reconstruction.  The
weights matter: without them the search locks onto the columns of smallest norm.  Recovery after the removal is
:mod:`optsci.compress.recovery`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from optsci.iteration import solve
from optsci.linalg import damped_cholesky

from .fasp import fasp_scores
from .layer_problem import LayerProblem
from .restoration import derived_damping
from .units import keep_largest


class PenaltyState(NamedTuple):
    """An iteration of ``spap_penalty``."""

    x: Tensor  # (k,) ascending indices of the units with z = 0, which are kept
    residual: Tensor  # fraction of the kept units that were new within the last three iterations
    weights: Tensor  # (m, n) minimiser of the penalised problem for the previous z
    rho: float  # penalty in scaled variables: 1 weighs as much as the energy of the unit


def spap_select(
    problem: LayerProblem, count: int, *, rho: float = 0.01, growth: float = 1.4, damping: float | None = None
) -> Tensor:
    """The ``count`` units that the penalty method keeps, as ascending indices; up to 60 iterations.

    Args:
        problem: the layer problem of the decision layer.
        count: units to keep.
        rho: first penalty, in the variables in which every unit has energy 1.
        growth: factor from one iteration to the next, above 1.
        damping: ridge towards the dense weights, relative to every channel's energy; None for ``3 count / tokens``.

    Raises:
        NotPositiveDefiniteError: the Gram matrix of the named layer stays singular.
    """
    damping = derived_damping(count, problem.tokens) if damping is None else damping
    steps = spap_penalty(problem.damped(damping), count, rho=rho, growth=growth)
    return solve(steps, tol=None, max_iter=60, stop=lambda state: state.residual == 0 and state.rho >= 1).x


def spap_penalty(
    problem: LayerProblem, count: int, *, rho: float = 0.01, growth: float = 1.4
) -> Iterator[PenaltyState]:
    """Alternate between the ridge solve and the choice of the units, with a growing penalty.

    Started from the units of largest FASP score.  The residual is 0 once the choice has stayed for three iterations;
    while rho is far below 1 that says little.
    """
    if not 0 < rho < float("inf"):
        raise ValueError(f"rho must be positive, got {rho!r}")
    if not 1 < growth < float("inf"):
        raise ValueError(f"growth must be above 1, got {growth!r}")
    return _penalty(problem, keep_largest(fasp_scores(problem), count), rho, growth)


def _penalty(problem: LayerProblem, kept: Tensor, rho: float, growth: float) -> Iterator[PenaltyState]:
    scaled, scale = problem.scaled()
    gram = scaled.gram.double()
    gram = gram + torch.diag((gram.diagonal() <= 0).double())  # units that are always 0: their columns become 0
    target = scaled.weight.double() @ scaled.cross.double()
    rounding = 10 * torch.finfo(problem.gram.dtype).eps
    name = f"the Gram matrix of {problem.name}"
    changes: list[Tensor] = []
    while True:
        penalty = torch.full_like(gram.diagonal(), rho)
        penalty[kept] = 0
        factor, _ = damped_cholesky(gram + penalty.diag(), rounding, name=name)
        columns = torch.cholesky_solve(target.T, factor).T
        before, kept = kept, keep_largest(columns.square().sum(0), len(kept))
        changes = [*changes[-2:], (~torch.isin(kept, before)).double().mean()]
        settled = torch.stack(changes).amax() if len(changes) == 3 else columns.new_ones(())
        yield PenaltyState(kept, settled, (columns / scale).to(problem.weight.dtype), rho)
        rho *= growth
