"""The root of a decreasing function of one variable, for every problem of a batch at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def decreasing_root(phi: Callable[[Tensor], Tensor], low: Tensor, high: Tensor, *, steps: int = 48) -> Tensor:
    """Return where ``phi`` changes its sign between ``low`` and ``high``, differentiable in what ``phi`` is made of.

    Secants through the ends of the bracket alternate with bisections, which bound the error whatever ``phi`` is.
    The last step is one of Newton's: it carries the derivative, and may leave the bracket by a rounding error, or
    where there is no root in it.

    Args:
        phi: from (..., 1) to (..., 1), entry by entry, decreasing.
        low: (..., 1), where ``phi`` is at least 0.
        high: likewise, where it is at most 0.
        steps: how many; half of them halve the bracket.
    """
    with torch.no_grad():
        above, below = torch.full_like(low, torch.inf), torch.full_like(high, -torch.inf)
        for k in range(steps):
            middle = low + (high - low) / 2
            secant = low + (high - low) * above / (above - below)  # NaN until both ends have finite values
            at = torch.where((secant > low) & (secant < high) & (k % 2 == 1), secant, middle)
            value = phi(at)
            left = value > 0
            low, above = torch.where(left, at, low), torch.where(left, value, above)
            high, below = torch.where(left, high, at), torch.where(left, below, value)
        root = torch.where(above < -below, low, high)
        slope = torch.func.grad(lambda at: phi(at).sum())(root).detach()
    return root - phi(root) / slope
