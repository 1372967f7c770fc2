r"""The cross entropy of several classes, the loss of multinomial logistic regression.

.. math:: f(z) = w \sum_i \Bigl( \log \sum_c e^{z_{ic}} - \langle p_i, z_i \rangle \Bigr)

The scores z of one item run along the last dimension, one a class; leading dimensions are items, whose losses are
added. For the loss of a linear model put it after that: ``AffineComposition(CrossEntropy(labels), A)``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from optsci._tensor import (
    as_tensor,
    nonnegative_scalar,
    require_entries,
    require_fit,
    require_floating,
    require_nonnegative,
    require_step,
)
from optsci.functions.calculus import added, scaled


@dataclass(frozen=True, eq=False)
class CrossEntropy:
    r"""``weight * sum_i (logsumexp(z_i) - <p_i, z_i>)``, the cross entropy of softmax(z) and the targets p.

    .. math:: z = \operatorname{prox}_{s f}(v): \quad z + l \operatorname{softmax}(z) = v + l p, \qquad l = s w

    For a given logsumexp(z) every entry of :math:`l \operatorname{softmax}(z)` is a value of Lambert's function, and
    that one number makes their sum equal to l: by Newton's method, from the side where it is monotone.

    Args:
        targets: labels (...,), whole numbers from 0, of the classes; or the probabilities p of the classes
            (..., classes), at least 0 and of sum 1. They broadcast to the items.
        weight: at least 0; a float or a 0-d tensor.

    Raises:
        ValueError: ``weight`` is negative; a label is negative, or no class of ``x``; probabilities are negative, do
            not sum to 1, or do not broadcast to ``x``; or ``step`` varies within the scores of an item.

    Reference: D. Böhning, Multinomial logistic regression algorithm, Ann. Inst. Statist. Math. 44 (1992) 197-200, for
    the bound 1/2 on the curvature.

    >>> f = CrossEntropy(torch.tensor([0, 1]))
    >>> z = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    >>> f(z), f.prox(z, 2.0)
    (tensor(1.3863), tensor([[ 0.5213, -0.5213],
            [-0.5213,  0.5213]]))
    """

    targets: Any
    weight: float | Tensor = 1.0
    _classes: int = field(default=0, init=False, repr=False)  # that the labels need

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", nonnegative_scalar(self.weight, "weight"))
        targets = self.targets if isinstance(self.targets, Tensor) else torch.as_tensor(np.asarray(self.targets))
        if not targets.is_floating_point() and targets.dtype != torch.bool:
            require_nonnegative(targets, "targets")
            object.__setattr__(self, "targets", targets)
            object.__setattr__(self, "_classes", int(targets.max()) + 1 if targets.numel() else 0)
            return
        targets = as_tensor(self.targets, "targets")
        require_nonnegative(targets, "targets")
        require_entries(targets)
        sums = targets.detach().sum(-1)
        slack = 64 * torch.finfo(targets.dtype).eps * targets.shape[-1] ** 0.5
        wrong = sums[(sums - 1).abs() > slack]
        if len(wrong):
            raise ValueError(f"targets must be probabilities that sum to 1 along the last dimension, got {wrong[0]:g}")
        object.__setattr__(self, "targets", targets)

    def __call__(self, x: Tensor) -> Tensor:
        p = self._probabilities(x)
        # The sum to 1 lets one take the largest score from all, so that the difference keeps its digits.
        x = x - x.detach().amax(-1, keepdim=True)
        return self.weight * (x.logsumexp(-1) - torch.where(p == 0, 0, p * x).sum(-1)).sum()

    def grad(self, x: Tensor) -> Tensor:
        """``weight (softmax(x) - p)``."""
        p = self._probabilities(x)
        return self.weight * (x.softmax(-1) - p)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Root of a scalar equation for every item; ``step`` may differ from item to item."""
        p = self._probabilities(x)
        require_step(step, x[..., :1])
        size = step * self.weight * torch.ones_like(x[..., :1])
        zero = size == 0
        size = torch.where(zero, 1, size)
        u = x + size * p
        with torch.no_grad():
            q = _softmax_after_step(u, size)
            z = u - size * q
        for _ in range(2):  # of the system of all classes; the last step carries the derivative
            q = z.softmax(-1).detach()
            rest = z.detach() + size * q - u
            fixed = size.detach()
            inverse = 1 / (1 + fixed * q)  # the inverse of its diagonal; what q q^T adds has rank one
            along = (
                fixed * q * inverse * (q * inverse * rest).sum(-1, keepdim=True) / (q * inverse).sum(-1, keepdim=True)
            )
            z = z.detach() - inverse * rest - along
        return torch.where(zero, x, z)

    def lipschitz(self) -> float:
        """Lipschitz constant of the gradient, ``weight / 2``; the best for all scores at once."""
        return float(self.weight) / 2

    def _probabilities(self, x: Tensor) -> Tensor:
        require_entries(x)
        require_floating(x)
        if self.targets.is_floating_point():
            require_fit(self.targets, x, "targets")
            if self.targets.shape[-1] != x.shape[-1]:
                raise ValueError(f"x must have {self.targets.shape[-1]} classes, got shape {tuple(x.shape)}")
            return self.targets
        if self._classes > x.shape[-1]:
            raise ValueError(f"a target is {self._classes - 1}, but x has {x.shape[-1]} classes, from 0")
        p = (self.targets[..., None] == torch.arange(x.shape[-1], device=x.device)).to(x.dtype)
        require_fit(p, x, "targets")
        return p

    __add__ = added
    __rmul__ = scaled


def _softmax_after_step(u: Tensor, size: Tensor) -> Tensor:
    """``q = softmax(z)`` where ``z + size q = u``: ``size q_c = W(exp(u_c + log size - L))``, ``L = logsumexp(z)``."""
    c = u + size.log()
    # The sum of the values falls with L and is convex: from the left Newton's method is monotone.
    L = u.logsumexp(-1, keepdim=True) - size
    for _ in range(20):
        # exp(y) + y = c - L, for y = log(size q); both starts lie above the root, from where Newton's method falls.
        target = c - L
        y = torch.where(target > 1, target.clamp(min=1).log(), target)
        for _ in range(5):
            y = y - (y.exp() + y - target) / (y.exp() + 1)
        parts = y.exp()
        L = L + (parts.sum(-1, keepdim=True) - size) / (parts / (1 + parts)).sum(-1, keepdim=True)
    return parts / parts.sum(-1, keepdim=True)
