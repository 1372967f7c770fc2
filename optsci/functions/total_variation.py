r"""Total variation of sequences: piecewise constant solutions.

.. math:: g(x) = w \sum_i |x_{i+1} - x_i|

Vectors run along the last dimension; leading dimensions are a batch whose values are added.

Reference: N. A. Johnson, J. Comput. Graph. Stat. 22 (2013) 246-260.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optsci._tensor import nonnegative_scalar, require_step
from optsci.functions.calculus import scaled
from optsci.functions.isotonic import run_labels, run_means


@dataclass(frozen=True, eq=False)
class TotalVariation1D:
    r"""``weight * sum_i |x_{i+1} - x_i|``, the total variation of a sequence; exact in linear time.

    .. math:: \operatorname{prox}_{s g}(x)_B = \operatorname{mean}(x_B) + \frac{s w}{|B|} (\text{sign of the jump
        after } B - \text{sign of the jump before } B), \qquad B \text{ a run of equal values}

    Args:
        weight: ``w``, at least 0; a float or a 0-d tensor.

    Raises:
        ValueError: ``weight`` is negative, not finite, or not a single number; or ``step`` varies within a
            sequence.

    Reference: N. A. Johnson, J. Comput. Graph. Stat. 22 (2013) 246-260.

    >>> g = TotalVariation1D(1.0)
    >>> g(torch.tensor([1.0, 2.0, 6.0])), g.prox(torch.tensor([1.0, 2.0, 6.0]), 1.0)
    (tensor(5.), tensor([2., 2., 5.]))
    """

    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", nonnegative_scalar(self.weight, "weight"))

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight * x.diff(dim=-1).abs().sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Denoise; ``step`` may differ from sequence to sequence."""
        require_step(step, x[..., :1])
        return _denoise(x, step * self.weight)

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class FusedLasso:
    r"""``l1 * ||x||_1 + tv * sum_i |x_{i+1} - x_i|``: piecewise constant, and 0 in most places.

    .. math:: \operatorname{prox}_{s g}(x)_i = \operatorname{sgn}(u_i) \, (|u_i| - s l_1)_+, \qquad
        u = \operatorname{prox}_{s \, \text{tv}}(x)

    Args:
        l1: weight of the sum of magnitudes, at least 0; a float or a 0-d tensor.
        tv: weight of the total variation, likewise.

    Raises:
        ValueError: a weight is negative, not finite, or not a single number; or ``step`` varies within a
            sequence.

    Reference: R. Tibshirani et al., Sparsity and smoothness via the fused lasso, J. R. Stat. Soc. B 67 (2005).

    >>> g = FusedLasso(0.5, 1.0)
    >>> g(torch.tensor([1.0, 2.0, 6.0])), g.prox(torch.tensor([1.0, 2.0, 6.0]), 1.0)
    (tensor(9.5000), tensor([1.5000, 1.5000, 4.5000]))
    """

    l1: float | Tensor
    tv: float | Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "l1", nonnegative_scalar(self.l1, "l1"))
        object.__setattr__(self, "tv", nonnegative_scalar(self.tv, "tv"))

    def __call__(self, x: Tensor) -> Tensor:
        return self.l1 * x.abs().sum() + self.tv * x.diff(dim=-1).abs().sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Denoise, then threshold; ``step`` may differ from sequence to sequence."""
        require_step(step, x[..., :1])
        u, threshold = _denoise(x, step * self.tv), step * self.l1
        return u - u.clamp(min=-threshold).clamp(max=threshold)

    __rmul__ = scaled


def _denoise(x: Tensor, weight: float | Tensor) -> Tensor:
    result: Tensor = _Denoise.apply(x, torch.zeros_like(x[..., :1]) + weight)
    return result


class _Denoise(torch.autograd.Function):
    """The kernel for x (..., n) and a weight (..., 1); its blocks are the runs of equal values."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor) -> Tensor:
        from optsci._kernels.total_variation import total_variation

        rows = x.detach().reshape(-1, x.shape[-1]).cpu().contiguous()
        out = torch.empty_like(rows)
        total_variation(rows.numpy(), weight.detach().reshape(-1).cpu().contiguous().numpy(), out.numpy())
        return out.view(x.shape).to(x.device)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (output,) = ctx.saved_tensors
        averaged = run_means(gradients[0], run_labels(output))
        jumps = output.diff(dim=-1).sign()
        end = torch.zeros_like(output[..., :1])
        # A weight pulls every block towards its neighbours: up by the jump after it, down by the one before.
        pull = torch.cat([jumps, end], -1) - torch.cat([end, jumps], -1)
        return averaged, (averaged * pull).sum(-1, keepdim=True)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, int | None], x: Tensor, weight: Tensor) -> tuple[Tensor, int]:
        x, weight = (
            v.expand(info.batch_size, *v.shape) if dim is None else v.movedim(dim, 0)
            for v, dim in zip((x, weight), in_dims, strict=True)
        )
        return _denoise(x, weight), 0
