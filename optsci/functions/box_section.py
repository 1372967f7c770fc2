r"""Indicator of a box cut by a hyperplane: a quadratic knapsack problem in every projection.

.. math:: \min_z \; \tfrac12 \|z - x\|^2 \quad \text{subject to} \quad
          \text{lower} \le z \le \text{upper}, \; \langle a, z \rangle = b

Source: P. Brucker, An O(n) algorithm for quadratic knapsack problems, Oper. Res. Lett. 3 (1984) 163. Instead of
its medians the breakpoints are sorted, which costs a logarithm and suits batches.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from optsci._tensor import euclidean_norm, require_fit, require_step
from optsci.functions.affine_sets import _normal, _number, _require_vectors, _slab
from optsci.functions.calculus import scaled
from optsci.functions.indicators import Box, _within


@dataclass(frozen=True, eq=False)
class BoxSection:
    r"""Indicator of the section ``<a, x> = b`` of the box ``lower <= x <= upper``.

    .. math:: \operatorname{prox}(x) = \min(\max(x - \nu a, \text{lower}), \text{upper})

    The scalar :math:`\nu` makes the equation hold. It is exact: a bisection over the sorted breakpoints, of
    which there are two an entry, finds which entries stay off their bounds, and a linear equation for these
    gives :math:`\nu`.

    Args:
        lower: a number, or a tensor that broadcasts to ``x``; may be ``-inf``.
        upper: likewise; may be ``inf``.
        a: (n,) the normal, not 0.
        b: a number.

    Raises:
        ValueError: a bound is not one of a `Box`; ``a`` is not a vector, or 0, or not finite; no point of the
            box satisfies the equation; or the last dimension of ``x`` is not n.

    Reference: P. Brucker, An O(n) algorithm for quadratic knapsack problems, Oper. Res. Lett. 3 (1984) 163.

    >>> BoxSection(0, 1, [1.0, 1.0, 1.0], 2.0).prox(torch.tensor([2.0, 0.5, 0.0]), 1.0)
    tensor([1.0000, 0.7500, 0.2500])
    """

    lower: float | Tensor
    upper: float | Tensor
    a: Tensor
    b: float | Tensor

    def __post_init__(self) -> None:
        box = Box(self.lower, self.upper)
        for name, value in (("lower", box.lower), ("upper", box.upper), ("a", _normal(self.a))):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "b", _number(self.b, "b"))
        least, most = self._range()
        b = torch.as_tensor(self.b).detach().double().cpu()
        slack = 64 * torch.finfo(self.a.dtype).eps * len(self.a) ** 0.5 * b.abs().clamp(min=1)
        if not ((least <= b + slack) & (b <= most + slack)).all():
            raise ValueError(
                f"no point of the box satisfies <a, x> = b: there <a, x> lies between {least.max().item():.6g} "
                f"and {most.min().item():.6g}, got b = {b.item():.6g}"
            )

    def __call__(self, x: Tensor) -> Tensor:
        _require_vectors(x, self.a, "a")
        scale = euclidean_norm(x, dim=-1)
        off = torch.maximum(self.lower - x, x - self.upper).amax(-1)
        return _within(off, x, scale, 1) + _slab(x, self.a, self.b, self.b)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        _require_vectors(x, self.a, "a")
        require_fit(self.lower, x, "lower")
        require_fit(self.upper, x, "upper")
        return _onto_section(x, self.a, self.b, self.lower, self.upper)

    def _range(self) -> tuple[Tensor, Tensor]:
        """Return the least and the largest <a, x> in the box."""
        a = self.a.detach().double().cpu()
        low, high = (torch.as_tensor(bound).detach().double().cpu() for bound in (self.lower, self.upper))
        least = torch.where(a > 0, a * low, a * high).masked_fill(a == 0, 0)
        most = torch.where(a > 0, a * high, a * low).masked_fill(a == 0, 0)
        return least.sum(-1), most.sum(-1)

    __rmul__ = scaled


def _onto_section(x: Tensor, a: Tensor, b: float | Tensor, lower: float | Tensor, upper: float | Tensor) -> Tensor:
    """Projection on ``lower <= z <= upper, <a, z> = b``, where there is such a point."""
    low, high = (torch.as_tensor(bound, dtype=x.dtype, device=x.device).expand(x.shape) for bound in (lower, upper))
    near, far = torch.where(a > 0, high, low), torch.where(a > 0, low, high)  # bounds met at nu = -inf and inf
    # Entry i stays off its bounds while enter_i < nu < leave_i; one with a_i = 0 does not depend on nu.
    still = (a == 0) | torch.zeros_like(x, dtype=torch.bool)
    divisor = torch.where(a == 0, 1, a)
    with torch.no_grad():
        enter = ((x - near) / divisor).masked_fill(still, -torch.inf)
        leave = ((x - far) / divisor).masked_fill(still, torch.inf)
        breaks = torch.cat([enter, leave], dim=-1).sort(dim=-1).values
        k = torch.zeros_like(breaks[..., :1], dtype=torch.long)
        jump = 1 << max(breaks.shape[-1].bit_length() - 1, 0)
        while jump:  # the largest k whose breakpoint does not lie beyond nu
            ahead = (k + jump).clamp(max=breaks.shape[-1] - 1)
            nu = breaks.gather(-1, ahead)
            placed = torch.where(nu <= enter, near, torch.where(nu >= leave, far, x - nu * a))
            sums = (a * placed).masked_fill(still, 0).sum(-1, keepdim=True)
            k = torch.where(sums >= b, ahead, k)
            jump //= 2
        start = breaks.gather(-1, k)
        end = breaks.gather(-1, (k + 1).clamp(max=breaks.shape[-1] - 1))
        at_near, at_far = (enter >= end) & ~still, (leave <= start) & ~still
        free = ~(at_near | at_far | still)
    fixed = torch.where(at_near, near, torch.where(at_far, far, 0))
    squares = torch.where(free, a.square(), 0).sum(-1, keepdim=True)
    squares = torch.where(squares > 0, squares, 1)
    p = torch.where(free, x, fixed)
    for _ in range(2):  # the second time removes the rounding error of a long way
        excess = (a * torch.where(still, 0, p)).sum(-1, keepdim=True) - b
        p = torch.where(free, p - excess / squares * a, p)
    return torch.where(still, x, p).clamp(min=lower).clamp(max=upper)
