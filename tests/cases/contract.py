"""What an instance of a function says about itself, so that one set of checks serves all functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

Shape = tuple[int, ...]
ANY: tuple[Shape, ...] = ((), (1,), (5,), (3, 4), (2, 3, 4), (0,))


@dataclass(frozen=True)
class Case:
    """A function, and what is true of it."""

    name: str
    make: Callable[[Callable[[Any], Tensor]], Any]  # from a maker of tensors of the dtype under test
    shapes: tuple[Shape, ...] = ANY
    convex: bool = True
    indicator: bool = False
    coupled: bool = False  # entries of the prox depend on each other
    exact: bool = True  # an indicator that compares without a tolerance
    points: Callable[[Tensor], Tensor] = lambda x: x  # brings any tensor to where prox and value are defined
    interior: Callable[[Tensor], Tensor] = lambda x: x  # brings such a point to where the gradient is defined
    without: Mapping[str, str] = field(default_factory=dict)  # checks that do not apply, each with the reason


def gaussian(tensor: Callable[[Any], Tensor], *shape: int) -> Tensor:
    return tensor(torch.randn(shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64))


def gram(tensor: Callable[[Any], Tensor]) -> Tensor:
    A = gaussian(tensor, 6, 4)
    return A.T @ A


def array(*shape: int) -> Any:
    """The entries of `gaussian` as numpy has them, for the peers."""
    return gaussian(lambda data: data, *shape).numpy()


def operator(A: Any) -> Any:
    """A matrix as an operator of pylops, which PyProximal takes."""
    import pylops

    return pylops.MatrixMult(np.asarray(A, dtype=np.float64))


def hard_threshold(pp: Any, weight: float) -> Any:
    """PyProximal's L0 with the threshold of the prox, ``sqrt(2 step weight)``: its own is ``step sigma``."""
    return SimpleNamespace(prox=lambda x, step: pp.L0((2 * weight / step) ** 0.5).prox(x, step))
