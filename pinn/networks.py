r"""Networks: functions of points that are trained.

A network takes points (n, d) to (n, k), and carries jets (`optsci.pinn.derivatives`), so that a second-order operator
costs one forward pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .derivatives import Jet
from .domain_protocol import Domain


class Derivatives(NamedTuple):
    """A function of one variable, entry by entry, and its derivatives."""

    value: Tensor
    first: Tensor
    second: Tensor
    third: Tensor


Activation = Callable[[Tensor], Derivatives]


def tanh(h: Tensor) -> Derivatives:
    """The hyperbolic tangent."""
    t = h.tanh()
    first = 1 - t * t
    second = -2 * t * first
    return Derivatives(t, first, second, -2 * first * first - 2 * t * second)


def sine(h: Tensor) -> Derivatives:
    """The sine."""
    value, first = h.sin(), h.cos()
    return Derivatives(value, first, -value, -first)


class MLP(nn.Module):
    r"""A multilayer perceptron, :math:`x \mapsto s\,(W_L\, a(\cdots a(W_1 \hat x + b_1) \cdots) + b_L)`.

    Weights are Glorot normal, biases 0.

    Args:
        inputs: d.
        hidden: the widths of the hidden layers.
        outputs: k.
        activation: a; a function of this module, or one like it.
        box: a domain whose bounding box is mapped to [-1, 1]^d first; points enter as they are unless given.
        scale: s, the size of the solution: a network of size 1 is easiest to train.
        seed: of the weights.
        dtype: of weights and points.

    >>> MLP(2, [8, 8], 1)(torch.zeros(5, 2, dtype=torch.float64)).shape
    torch.Size([5, 1])
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        outputs: int = 1,
        *,
        activation: Activation = tanh,
        box: Domain | None = None,
        scale: float = 1.0,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        widths = [inputs, *hidden, outputs]
        if min(widths) < 1:
            raise ValueError(f"inputs, hidden and outputs must be at least 1, got {inputs}, {list(hidden)}, {outputs}")
        if not (math.isfinite(scale) and scale != 0):
            raise ValueError(f"scale must be finite and not 0, got {scale}")
        random = torch.Generator().manual_seed(seed)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for fan_in, fan_out in pairwise(widths):
            deviation = math.sqrt(2 / (fan_in + fan_out))
            weight = deviation * torch.randn(fan_out, fan_in, generator=random, dtype=torch.float64)
            self.weights.append(nn.Parameter(weight.to(dtype)))
            self.biases.append(nn.Parameter(torch.zeros(fan_out, dtype=dtype)))
        self.activation, self.scale = activation, scale
        low, high = (torch.tensor(corner) for corner in ((-1.0,) * inputs, (1.0,) * inputs))
        if box is not None:
            low, high = torch.tensor(box.lower), torch.tensor(box.upper)
        if low.shape != (inputs,) or not (low.isfinite().all() and high.isfinite().all()):
            raise ValueError(f"box must be a bounded domain in {inputs} dimensions, got {box}")
        self.register_buffer("middle", ((low + high) / 2).to(dtype))
        self.register_buffer("stretch", (2 / (high - low)).to(dtype))
        self.middle: Tensor
        self.stretch: Tensor

    def forward(self, x: Tensor) -> Tensor:
        h = (x - self.middle) * self.stretch
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = torch.nn.functional.linear(h, weight, bias)
            h = self.activation(h).value if layer < last else self.scale * h
        return h

    def jet(self, of: Jet) -> Jet:
        """Carry a jet through the layers."""
        h = (of.value - self.middle) * self.stretch
        slopes, second = of.slopes * self.stretch, of.second * self.stretch
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h, slopes, second = torch.nn.functional.linear(h, weight, bias), slopes @ weight.T, second @ weight.T
            if layer < last:
                s = self.activation(h)
                second = s.first * second + 0.5 * s.second * slopes.square().sum(0)
                h, slopes = s.value, s.first * slopes
        return Jet(self.scale * h, self.scale * slopes, self.scale * second)
