r"""The simplex, the l1 ball, and the norms that they are dual to: one threshold solves all four.

.. math:: \sum_i (x_i - \theta)_+ = r

Vectors run along the last dimension; leading dimensions are a batch.

Sources: J. Duchi et al., Efficient Projections onto the l1-Ball for Learning in High Dimensions, ICML 2008 (by
sorting); L. Condat, Math. Program. 158 (2016) 575-585 (in expected linear time; used on the CPU).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optsci._tensor import nonnegative_scalar, require_fit, require_floating, require_step
from optsci.functions.calculus import scaled


def project_simplex(x: Tensor, radius: float | Tensor) -> Tensor:
    r"""Nearest points ``z >= 0, sum_i z_i = radius``, for every vector along the last dimension.

    .. math:: z_i = (x_i - \theta)_+, \qquad \sum_i (x_i - \theta)_+ = r

    Args:
        x: (..., n), at least one entry a vector.
        radius: ``r``, at least 0; a number, or a tensor that broadcasts to (..., 1).

    Raises:
        ValueError: ``radius`` does not broadcast to (..., 1).

    >>> project_simplex(torch.tensor([[3.0, 2.0, 0.0], [1.0, 1.0, 1.0]]), torch.tensor([[2.0], [3.0]]))
    tensor([[1.5000, 0.5000, 0.0000],
            [1.0000, 1.0000, 1.0000]])
    """
    # Measured from the largest entry, a common offset costs no digits; nor does it move the active set.
    x = x - x.detach().amax(-1, keepdim=True)
    return (x - simplex_threshold(x, radius)).clamp(min=0)


def simplex_threshold(x: Tensor, radius: float | Tensor) -> Tensor:
    """The ``theta``, of shape (..., 1), with ``sum_i (x_i - theta)_+ = radius``; NaN where the vector has NaN."""
    require_fit(radius, x[..., :1], "radius")
    theta: Tensor = _Threshold.apply(x, torch.zeros_like(x[..., :1]) + radius)
    return theta


@dataclass(frozen=True, eq=False)
class Simplex:
    r"""Indicator of the simplex ``x >= 0, sum_i x_i = radius``: probabilities, for radius 1.

    .. math:: \operatorname{prox}(x)_i = (x_i - \theta)_+, \qquad \sum_i (x_i - \theta)_+ = r

    The sum may be off by rounding, ``64 eps r sqrt(n)``.

    Args:
        radius: ``r``, at least 0; a float or a 0-d tensor.

    Raises:
        ValueError: ``radius`` is negative, not finite, or not a single number.

    Reference: J. Duchi et al., ICML 2008.

    >>> Simplex().prox(torch.tensor([1.0, 0.5, -1.0]), 1.0)
    tensor([0.7500, 0.2500, 0.0000])
    >>> Simplex().lmo(torch.tensor([1.0, 0.5, -1.0]))
    tensor([0., 0., 1.])
    """

    radius: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius", nonnegative_scalar(self.radius, "radius"))

    def __call__(self, x: Tensor) -> Tensor:
        return x.new_zeros(()).masked_fill(~self._inside(x).all(), torch.inf)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        p = project_simplex(x, self.radius)
        # The value of a point inside, but the derivative of the projection, which is not the identity there.
        return torch.where(self._inside(x), x.detach() + (p - p.detach()), p)

    def lmo(self, d: Tensor) -> Tensor:
        """``radius`` at the smallest entry of ``d``, the first of equals, and 0 elsewhere."""
        return torch.where(_is_at(d.argmin(-1, keepdim=True), d), self.radius, torch.zeros_like(d))

    @property
    def conjugate(self) -> Max:
        """``radius * max_i u_i``."""
        return Max(self.radius)

    def _inside(self, x: Tensor) -> Tensor:
        off = (x.sum(-1, keepdim=True) - self.radius).abs()
        return (x >= 0).all(-1, keepdim=True) & (off <= _slack(self.radius, x))

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class Max:
    r"""``weight * max_i x_i``, the largest entry.

    .. math:: \operatorname{prox}_{s g}(x)_i = \min(x_i, \theta), \qquad \sum_i (x_i - \theta)_+ = s w

    Args:
        weight: ``w``, at least 0; a float or a 0-d tensor.

    Raises:
        ValueError: ``weight`` is negative, not finite, or not a single number; or ``step`` varies within a
            vector.

    >>> g = Max(2.0)
    >>> g(torch.tensor([3.0, 2.0, 0.0])), g.prox(torch.tensor([3.0, 2.0, 0.0]), 1.0)
    (tensor(6.), tensor([1.5000, 1.5000, 0.0000]))
    """

    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", nonnegative_scalar(self.weight, "weight"))

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight * x.amax(-1).sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Clip from above, so that ``step * weight`` is cut off; ``step`` may differ from vector to vector."""
        require_step(step, x[..., :1])
        theta = simplex_threshold(x, step * self.weight)
        return torch.where(x <= theta, x, theta)

    @property
    def conjugate(self) -> Simplex:
        """Indicator of the simplex of radius ``weight``."""
        return Simplex(self.weight)

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class L1Ball:
    r"""Indicator of the ball ``||x||_1 <= radius``.

    .. math:: \operatorname{prox}(x)_i = \operatorname{sgn}(x_i) \, (|x_i| - \theta)_+,
        \qquad \theta = 0 \;\text{ or }\; \sum_i (|x_i| - \theta)_+ = r

    The norm may be off by rounding, ``64 eps r sqrt(n)``.

    Args:
        radius: ``r``, at least 0; a float or a 0-d tensor.

    Raises:
        ValueError: ``radius`` is negative, not finite, or not a single number.

    Reference: J. Duchi et al., ICML 2008.

    >>> L1Ball().prox(torch.tensor([1.0, -0.5, 0.1]), 1.0)
    tensor([ 0.7500, -0.2500,  0.0000])
    >>> L1Ball(2.0).lmo(torch.tensor([1.0, -5.0, 0.1]))
    tensor([0., 2., 0.])
    """

    radius: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius", nonnegative_scalar(self.radius, "radius"))

    def __call__(self, x: Tensor) -> Tensor:
        inside = x.abs().sum(-1, keepdim=True) <= self.radius + _slack(self.radius, x)
        return x.new_zeros(()).masked_fill(~inside.all(), torch.inf)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        r = x.abs()
        shift = (r.amax(-1, keepdim=True) - self.radius).clamp(min=0) if r.numel() else 0 * r  # at most the threshold:
        r = r - shift  # taken off first, for of large entries the threshold would keep no digits below it
        theta = simplex_threshold(r, self.radius)
        magnitude = (r - theta).clamp(min=0)
        outside = torch.where(magnitude == 0, 0, x.sign() * magnitude)
        return torch.where((shift == 0) & (theta <= 0), x, outside)

    def lmo(self, d: Tensor) -> Tensor:
        """``-radius * sgn(d_i)`` at the entry of largest magnitude, the first of equals, and 0 elsewhere."""
        chosen = _is_at(d.abs().argmax(-1, keepdim=True), d)
        return torch.where(chosen, -self.radius * d.sign(), 0)

    @property
    def conjugate(self) -> LInf:
        """``radius * max_i |u_i|``."""
        return LInf(self.radius)

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class LInf:
    r"""``weight * max_i |x_i|``, the largest magnitude; spreads it over many entries.

    .. math:: \operatorname{prox}_{s g}(x)_i = \operatorname{sgn}(x_i) \min(|x_i|, \theta),
        \qquad \theta = 0 \;\text{ or }\; \sum_i (|x_i| - \theta)_+ = s w

    Args:
        weight: ``w``, at least 0; a float or a 0-d tensor.

    Raises:
        ValueError: ``weight`` is negative, not finite, or not a single number; or ``step`` varies within a
            vector.

    >>> g = LInf(2.0)
    >>> g(torch.tensor([3.0, -2.0, 0.0])), g.prox(torch.tensor([3.0, -2.0, 0.0]), 1.0)
    (tensor(6.), tensor([ 1.5000, -1.5000,  0.0000]))
    """

    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", nonnegative_scalar(self.weight, "weight"))

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight * x.abs().amax(-1).sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Clip, so that ``step * weight`` is cut off; ``step`` may differ from vector to vector."""
        require_step(step, x[..., :1])
        theta = simplex_threshold(x.abs(), step * self.weight).clamp(min=0)
        return torch.where(x.abs() <= theta, x, x.sign() * theta)

    @property
    def conjugate(self) -> L1Ball:
        """Indicator of the ball ``||u||_1 <= weight``."""
        return L1Ball(self.weight)

    __rmul__ = scaled


def _slack(radius: float | Tensor, x: Tensor) -> float | Tensor:
    require_floating(x)
    return radius * (64 * torch.finfo(x.dtype).eps * x.shape[-1] ** 0.5)


def _is_at(index: Tensor, x: Tensor) -> Tensor:
    return torch.arange(x.shape[-1], device=x.device) == index


class _Threshold(torch.autograd.Function):
    """The threshold for x (..., n) and a radius (..., 1): the mean of what exceeds it, less its share of the radius."""

    @staticmethod
    def forward(x: Tensor, radius: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return _by_sort(x, radius)
        from optsci._kernels.simplex import simplex_threshold as kernel

        rows = x.detach().reshape(-1, x.shape[-1]).contiguous()
        out = torch.empty_like(rows[:, 0])
        kernel(rows.numpy(), radius.detach().reshape(-1).contiguous().numpy(), out.numpy())
        return out.view(radius.shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x, theta = ctx.saved_tensors
        active = (x > theta).to(x.dtype)
        share = gradients[0] / active.sum(-1, keepdim=True).clamp(min=1)
        return share * active, -share

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, int | None], x: Tensor, radius: Tensor) -> tuple[Tensor, int]:
        x, radius = (
            v.expand(info.batch_size, *v.shape) if dim is None else v.movedim(dim, 0)
            for v, dim in zip((x, radius), in_dims, strict=True)
        )
        return simplex_threshold(x, radius), 0


def _by_sort(x: Tensor, radius: Tensor) -> Tensor:
    u = x.sort(dim=-1, descending=True).values
    top = u[..., :1]
    candidates = ((u - top).cumsum(-1) - radius) / torch.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=x.device)
    active = (u - top > candidates).sum(-1, keepdim=True).clamp(min=1)
    return top + candidates.gather(-1, active - 1)
