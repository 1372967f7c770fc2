r"""Networks: functions of points that are trained.

A network takes points (n, d) to (n, k), and carries jets (`optsci.pinn.derivatives`), so that a second-order operator
costs one forward pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from numbers import Integral
from typing import Any, NamedTuple, Protocol

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


class Activation(Protocol):
    """A function of one variable, with its derivatives."""

    def __call__(self, h: Tensor, out: Derivatives | None = None) -> Derivatives:
        """Return them at every entry of h; in the memory of ``out``, if that is given and it saves time."""
        ...


NEW = (None, None, None, None)


def tanh(h: Tensor, out: Derivatives | None = None) -> Derivatives:
    """The hyperbolic tangent."""
    a, b, c, d = out or NEW
    t = torch.tanh(h, out=a)
    first = torch.addcmul(h.new_ones(()), t, t, value=-1, out=b)
    second = torch.addcmul(h.new_zeros(()), t, first, value=-2, out=c)
    return Derivatives(t, first, second, torch.addcmul(torch.mul(first, 4, out=d), first, first, value=-6, out=d))


def sine(h: Tensor, out: Derivatives | None = None) -> Derivatives:
    """The sine."""
    a, b, c, d = out or NEW
    value, first = torch.sin(h, out=a), torch.cos(h, out=b)
    return Derivatives(value, first, torch.neg(value, out=c), torch.neg(first, out=d))


def cosine(h: Tensor, out: Derivatives | None = None) -> Derivatives:
    """The cosine."""
    a, b, c, d = out or NEW
    value, slope = torch.cos(h, out=a), torch.sin(h, out=d)
    return Derivatives(value, torch.neg(slope, out=b), torch.neg(value, out=c), slope)


def entrywise(activation: Activation, of: Jet) -> Jet:
    """Carry a jet through a function of one variable."""
    s = activation(of.value)
    second = s.first * of.second + 0.5 * s.second * of.slopes.square().sum(0)
    return Jet(s.value, s.first * of.slopes, second)


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
        if not isinstance(hidden, Sequence):
            raise TypeError(f"hidden must be a list of widths, such as [64, 64], got {hidden!r}")
        widths = [inputs, *hidden, outputs]
        if not all(isinstance(width, Integral) and width >= 1 for width in widths):
            raise ValueError(
                f"inputs, hidden and outputs must be integers of at least 1, got {inputs}, {list(hidden)}, {outputs}"
            )
        require_derivatives(activation, dtype)
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
        require_coordinates(x, len(self.middle))
        h = (x - self.middle) * self.stretch
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = torch.nn.functional.linear(h, weight, bias)
            h = self.activation(h).value if layer < last else self.scale * h
        return h

    def jet(self, of: Jet) -> Jet:
        """Carry a jet through the layers."""
        require_coordinates(of.value, len(self.middle))
        h = (of.value - self.middle) * self.stretch
        slopes, second = of.slopes * self.stretch, of.second * self.stretch
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h, slopes, second = torch.nn.functional.linear(h, weight, bias), slopes @ weight.T, second @ weight.T
            if layer < last:
                h, slopes, second = entrywise(self.activation, Jet(h, slopes, second))
        return Jet(self.scale * h, self.scale * slopes, self.scale * second)


def require_derivatives(activation: Any, dtype: torch.dtype) -> None:
    """Refuse what returns values alone, such as ``torch.tanh``."""
    try:
        found = activation(torch.zeros((1, 1), dtype=dtype), None)
    except TypeError as error:
        raise TypeError(
            f"activation must take h and out to Derivatives, as optsci.pinn.tanh does, not {activation!r}"
        ) from error
    if not isinstance(found, Derivatives):
        raise TypeError(f"activation must return Derivatives, as optsci.pinn.tanh does, not {type(found).__name__}")


def require_coordinates(x: Tensor, d: int) -> None:
    """Refuse points of another dimension, which would broadcast."""
    if x.shape[-1:] != (d,):
        raise ValueError(f"points must have the {d} coordinates that the network takes, got {tuple(x.shape)}")
