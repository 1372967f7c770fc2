r"""Anderson acceleration: find x = T(x) from the differences of the last few iterates.

.. math::

    \gamma = \operatorname{argmin} \|F_k - \Delta F \gamma\|, \qquad
    x_{k+1} = x_k + F_k - (\Delta X + \Delta F) \gamma, \qquad F_k = T(x_k) - x_k.

Sources: Anderson, J. ACM 12 (1965) 547; Walker and Ni, SIAM J. Numer. Anal. 49 (2011) 1715; Zhang, O'Donoghue and Boyd,
SIAM J. Optim. 30 (2020) 3170 (safeguard).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optsci._tensor import as_tensor


class AndersonState(NamedTuple):
    """An iteration of ``anderson``: one evaluation of the map."""

    x: Tensor  # T of the last accepted point
    residual: Tensor  # ||T(p) - p|| / max(1, ||p||) at the last accepted point p
    accepted: Tensor  # 0-d bool: the point just tried was accepted


def anderson(
    fixed_point: Callable[[Tensor], Tensor],
    x0: Any,
    *,
    memory: int = 5,
    regularization: float = 1e-12,
    safeguard: float = 2.0,
) -> Iterator[AndersonState]:
    r"""Anderson acceleration of a fixed-point map, with the plain step to fall back on.

    Without memory it is the plain iteration. A proposed point whose residual exceeds ``safeguard`` times the last
    accepted one is dropped, with the memory: the iteration goes on from the plain step, which is always accepted.

    Args:
        fixed_point: the map T, from a tensor to one of the same shape; a contraction or an averaged map.
        x0: start, any shape; not modified.
        memory: differences kept, at least 0.
        regularization: of the least squares for gamma, relative to ``||Delta F||^2`` (Frobenius).
        safeguard: positive; 1 lets the residual of accelerated steps never rise.

    The residual is ``||T(p) - p|| / max(1, ||p||)`` at the last accepted point p.

    Reference: Walker and Ni (2011), section 2.

    Example:
        >>> import optsci
        >>> optsci.solve(anderson(torch.cos, [1.0]), tol=1e-6).x
        tensor([0.7391])
    """
    if not callable(fixed_point):
        raise TypeError(f"fixed_point must be a map from x to x, not {fixed_point!r}")
    if isinstance(memory, bool) or not isinstance(memory, int) or memory < 0:
        raise ValueError(f"memory must be a whole number and at least 0, not {memory!r}")
    if not 0 <= regularization < math.inf:
        raise ValueError(f"regularization must be finite and at least 0, not {regularization!r}")
    if not safeguard > 0:
        raise ValueError(f"safeguard must be positive, not {safeguard!r}")
    x0 = as_tensor(x0, "x0")

    def iterate(point: Tensor) -> Iterator[AndersonState]:
        accepted = torch.ones((), dtype=torch.bool, device=point.device)
        plain = accepted  # whether the point to try is a plain step
        last, F = point, torch.zeros_like(point)
        size = torch.full_like(point.sum(), math.inf)
        dX = dF = point.new_zeros(memory, point.numel())
        k = 0
        while True:
            k += 1
            F_new = fixed_point(point) - point
            if F_new.shape != point.shape:
                raise ValueError(f"fixed_point takes {tuple(point.shape)} but gives {tuple(F_new.shape)}")
            size_new = F_new.norm()
            accepted = plain | (size_new <= safeguard * size)
            if k > 1 and memory:
                dX = torch.where(accepted, torch.cat([dX[1:], (point - last).reshape(1, -1)]), 0.0)
                dF = torch.where(accepted, torch.cat([dF[1:], (F_new - F).reshape(1, -1)]), 0.0)
            last, F = torch.where(accepted, point, last), torch.where(accepted, F_new, F)
            size = torch.where(accepted, size_new, size)
            x = last + F
            yield AndersonState(x, size / last.norm().clamp(min=1), accepted)
            gamma = _least_squares(dF, F.flatten(), regularization)
            correction = ((dX + dF).mT @ gamma).reshape(x.shape)
            usable = accepted & correction.isfinite().all()
            point, plain = torch.where(usable, x - correction, x), ~usable

    return iterate(x0)


def _least_squares(rows: Tensor, target: Tensor, regularization: float) -> Tensor:
    """Return argmin ||target - rows^T gamma||^2 + regularization ||rows||^2 ||gamma||^2, by QR."""
    m = len(rows)
    # Half the smallest exponent is left for rows that are all zero.
    weight = (regularization * rows.square().sum() + torch.finfo(rows.dtype).tiny).sqrt()
    identity = torch.eye(m, dtype=rows.dtype, device=rows.device)
    Q, R = torch.linalg.qr(torch.cat([rows.mT, weight * identity]))
    right = Q.mT @ torch.cat([target, target.new_zeros(m)])
    return torch.linalg.solve_triangular(R, right.unsqueeze(1), upper=True).squeeze(1)
