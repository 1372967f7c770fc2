r"""Isotonic regression, and the sets whose projections it computes: the monotone cone and permutahedra.

.. math:: \operatorname*{argmin}_{z_1 \le \dots \le z_n} \tfrac{1}{2} \|z - x\|^2

Vectors run along the last dimension; leading dimensions are a batch.

Reference: M. J. Best and N. Chakravarti, Active set algorithms for isotonic regression, Math. Program. 47 (1990).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from optsci._tensor import as_finite, require_fit, require_step
from optsci.functions.calculus import scaled
from optsci.functions.indicators import _indicator


def isotonic_regression(x: Tensor) -> Tensor:
    """Nearest nondecreasing sequence of every vector along the last dimension, in linear time.

    Its derivative averages over the runs of equal values.

    >>> isotonic_regression(torch.tensor([1.0, 3.0, 2.0, 4.0]))
    tensor([1.0000, 2.5000, 2.5000, 4.0000])
    """
    if x.numel() == 0:
        return x.clone()
    result: Tensor = _Isotonic.apply(x)
    return result


@dataclass(frozen=True)
class MonotoneCone:
    r"""Indicator of ``x_1 <= x_2 <= ... <= x_n``, the nondecreasing vectors.

    .. math:: \operatorname{prox}(x)_i = \max_{j \le i} \min_{k \ge i} \frac{x_j + \dots + x_k}{k - j + 1}

    Reference: M. J. Best and N. Chakravarti, Math. Program. 47 (1990).

    >>> MonotoneCone().prox(torch.tensor([1.0, 3.0, 2.0, 4.0]), 1.0)
    tensor([1.0000, 2.5000, 2.5000, 4.0000])
    """

    def __call__(self, x: Tensor) -> Tensor:
        return _indicator((x[..., 1:] >= x[..., :-1]).all(), x)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        return isotonic_regression(x)

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class Permutahedron:
    r"""Indicator of the convex hull of all permutations of the vector ``w``.

    .. math:: \operatorname{prox}(x)_\sigma = x_\sigma - \operatorname*{argmin}_{z_1 \ge \dots \ge z_n}
        \|z - (x_\sigma - w_{\downarrow})\|, \qquad \sigma \text{ sorts } x \text{ decreasingly}

    The sums that define the set may be off by rounding, ``64 eps ||w||_1 sqrt(n)``.

    Args:
        w: (n,), finite; in any order.

    Raises:
        ValueError: ``w`` is no vector or not finite; or ``x`` does not have its length.

    Reference: C. H. Lim and S. J. Wright, Efficient Bregman Projections onto the Permutahedron and Related
    Polytopes, AISTATS 2016.

    >>> Permutahedron([2.0, 1.0, 0.0]).prox(torch.tensor([5.0, 0.0, 0.5]), 1.0)
    tensor([2.0000, 0.2500, 0.7500])
    >>> Permutahedron([2.0, 1.0, 0.0]).lmo(torch.tensor([5.0, 0.0, 0.5]))
    tensor([0., 2., 1.])
    """

    w: Tensor

    def __post_init__(self) -> None:
        w = as_finite(self.w, "w")
        if w.dim() != 1:
            raise ValueError(f"w must be a vector, got shape {tuple(w.shape)}")
        object.__setattr__(self, "w", w.sort(descending=True).values)

    def __call__(self, x: Tensor) -> Tensor:
        self._require_length(x)
        excess = (x.sort(dim=-1, descending=True).values - self.w).cumsum(-1)
        slack = 64 * torch.finfo(x.dtype).eps * self.w.abs().sum() * len(self.w) ** 0.5
        inside = (excess <= slack).all() & (excess[..., -1] >= -slack).all()
        return _indicator(inside, x)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        self._require_length(x)
        order = decreasing_order(x)
        u = x.gather(-1, order).double()  # what is left of u is small, where u may be large
        return torch.zeros_like(x).scatter(-1, order, (u + isotonic_regression(self.w - u)).to(x.dtype))

    def lmo(self, d: Tensor) -> Tensor:
        """The permutation of ``w`` that gives its largest entry to the smallest of ``d``, and so on."""
        self._require_length(d)
        return torch.zeros_like(d).scatter(-1, d.argsort(dim=-1, stable=True), self.w.expand_as(d))

    @property
    def conjugate(self) -> PermutahedronSupport:
        """``sum_i w_(i) u_(i)``, both sorted decreasingly."""
        return PermutahedronSupport(self.w)

    def _require_length(self, x: Tensor) -> None:
        require_fit(self.w, x, "w")
        if x.shape[-1] != len(self.w):
            raise ValueError(f"x must have {len(self.w)} entries along its last dimension, got {tuple(x.shape)}")

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class PermutahedronSupport:
    r"""``sum_i w_(i) x_(i)``, the largest of all ``<w', x>`` with a permutation of ``w``; a sum with ordered weights.

    .. math:: \operatorname{prox}_{s g}(x)_\sigma = \operatorname*{argmin}_{z_1 \ge \dots \ge z_n}
        \|z - (x_\sigma - s w_{\downarrow})\|, \qquad \sigma \text{ sorts } x \text{ decreasingly}

    Unlike SLOPE it sorts the entries themselves, not their magnitudes. ``Max`` and ``SumLargest`` are of its kind, with
    weights of 1 and 0, and so is the conditional value at risk.

    Args:
        w: (n,), finite; in any order.

    Raises:
        ValueError: ``w`` is no vector or not finite; ``x`` does not have its length; or ``step`` varies within a
            vector.

    >>> g = PermutahedronSupport([2.0, 1.0, 0.0])
    >>> g(torch.tensor([5.0, 0.0, 0.5])), g.prox(torch.tensor([5.0, 0.0, 0.5]), 1.0)
    (tensor(10.5000), tensor([ 3.0000, -0.2500, -0.2500]))
    """

    w: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "w", Permutahedron(self.w).w)

    def __call__(self, x: Tensor) -> Tensor:
        Permutahedron(self.w)._require_length(x)
        return (self.w * x.sort(dim=-1, descending=True).values).sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Isotonic regression of the sorted entries; ``step`` may differ from vector to vector."""
        Permutahedron(self.w)._require_length(x)
        require_step(step, x[..., :1])
        order = decreasing_order(x)
        return torch.zeros_like(x).scatter(-1, order, -isotonic_regression(step * self.w - x.gather(-1, order)))

    @property
    def conjugate(self) -> Permutahedron:
        """Indicator of the convex hull of the permutations of ``w``."""
        return Permutahedron(self.w)

    __rmul__ = scaled


class _Isotonic(torch.autograd.Function):
    """The kernel, with the averages over its blocks as derivative; they are the runs of equal values."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        from optsci._kernels.isotonic import isotonic

        rows = x.detach().reshape(-1, x.shape[-1]).cpu().contiguous()
        out = torch.empty_like(rows)
        sums = out if out.dtype == torch.float64 else torch.empty(1, rows.shape[1], dtype=torch.float64)
        isotonic(rows.numpy(), out.numpy(), sums.numpy())
        return out.view(x.shape).to(x.device)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (output,) = ctx.saved_tensors
        return run_means(gradients[0], run_labels(output))

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int], x: Tensor) -> tuple[Tensor, int]:
        return isotonic_regression(x.movedim(in_dims[0], 0)), 0


def decreasing_order(x: Tensor) -> Tensor:
    """Indices that sort every vector decreasingly; on the CPU by NumPy, in half the time of torch."""
    order: Tensor = _Order.apply(x)
    return order


class _Order(torch.autograd.Function):
    """Indices without a derivative."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return x.argsort(dim=-1, descending=True)
        return torch.from_numpy(np.argsort(x.detach().neg().numpy(), axis=-1))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> None:
        return None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int], x: Tensor) -> tuple[Tensor, int]:
        return decreasing_order(x.movedim(in_dims[0], 0)), 0


def run_labels(x: Tensor) -> Tensor:
    """Number the runs of equal entries along the last dimension, from 0."""
    jumps = (x[..., 1:] != x[..., :-1]).long()
    return torch.cat([torch.zeros_like(x[..., :1], dtype=torch.long), jumps.cumsum(-1)], -1)


def run_means(x: Tensor, labels: Tensor) -> Tensor:
    """Replace the entries of every run by their mean."""
    sums = torch.zeros_like(x).scatter_add(-1, labels, x)
    counts = torch.zeros_like(x).scatter_add(-1, labels, torch.ones_like(x))
    return (sums / counts.clamp(min=1)).gather(-1, labels)
