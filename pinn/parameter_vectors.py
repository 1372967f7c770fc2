"""The parameters of u as one vector, and a loss as a function of it: what the training algorithms work on.

All vectors (P,) here hold the trained parameters of `optsci.pinn.parameters`, flattened one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn

from .jacobians import parameters
from .losses import Loss

Objective = Callable[[Any], Tensor]  # u -> 0-d tensor


class Ended(Enum):
    """Why a training algorithm ran out of states; u is then at its best iterate."""

    STATIONARY = "the gradient is zero"
    NO_LOWER_LOSS = "no step lowers the loss, however short: its precision is exhausted"
    NOT_FINITE = "the loss, its residuals or its gradient are not finite"


@dataclass(frozen=True)
class EachStep:
    """A loss that is another one at every step: k -> loss, k the number of steps so far; for fresh points.

    Args:
        function: called once a step. It decides by k alone, as in ``seed=k``, if a run is to be resumed.

    >>> from optsci.pinn import Ball, Poisson, Residual
    >>> problem = Poisson(Ball(dim=2), source=4.0)
    >>> loss = EachStep(lambda k: Residual(problem, problem.domain.sample(50, seed=k)))
    """

    function: Callable[[int], Any]

    def __post_init__(self) -> None:
        if not callable(self.function) or isinstance(self.function, Loss):
            raise TypeError(f"function must take the step k to a loss, as in lambda k: …, got {self.function!r:.60}")


def at_step(loss: Any, k: int) -> Any:
    """Return the loss of step k."""
    return loss.function(k) if isinstance(loss, EachStep) else loss


def to_vector(u: nn.Module) -> Tensor:
    """Return the trained parameters as a new vector (P,).

    >>> to_vector(nn.Linear(3, 2)).shape
    torch.Size([8])
    """
    return torch.cat([p.detach().flatten() for p in parameters(u)])


def set_vector(u: nn.Module, vector: Tensor) -> None:
    """Write a vector (P,) into the trained parameters of u, in place."""
    with torch.no_grad():
        start = 0
        for p in parameters(u):
            p.copy_(vector[start : start + p.numel()].view_as(p))
            start += p.numel()


def value_and_gradient(u: nn.Module, loss: Objective) -> tuple[Tensor, Tensor]:
    """Return the loss, 0-d, and its gradient, (P,); the ``grad`` of the parameters stays as it is."""
    own = parameters(u)
    with torch.enable_grad():
        value = loss(u)
    if not isinstance(value, Tensor) or value.dim() or not value.requires_grad:
        raise ValueError(f"loss must give one number that depends on the parameters of u, got {value}")
    found = torch.autograd.grad(value, own, allow_unused=True)
    gradient = [torch.zeros_like(p) if g is None else g for g, p in zip(found, own, strict=True)]
    return value.detach(), torch.cat([g.flatten() for g in gradient])


def value_at(u: nn.Module, loss: Objective, vector: Tensor) -> Tensor:
    """Return the loss with the parameters set to a vector, 0-d."""
    set_vector(u, vector)
    with torch.no_grad():
        return loss(u).detach()


def require_trained(u: Any, loss: Any = None, start: Any = None, *, of: Any = None) -> None:
    """Refuse a u that is no module, or has no parameter that is trained.

    With ``of``, the kind of states of an algorithm, also a loss that is no function, and a start of another kind or u.
    """
    if not isinstance(u, nn.Module):
        raise TypeError(f"u must be a module with parameters, such as MLP(2, [32, 32], 1), not {type(u).__name__}")
    if not parameters(u):
        raise ValueError("u must have a parameter with requires_grad, and has none")
    if of is None:
        return
    if not callable(loss) and not isinstance(loss, EachStep):
        raise TypeError(f"loss must be a function of u, such as Residual(problem, 100), got {type(loss).__name__}")
    if start is None:
        return
    if not isinstance(start, of):
        raise TypeError(f"start must be a {of.__name__}, such as `run.state`, got {type(start).__name__}")
    size = sum(p.numel() for p in parameters(u))
    for name, value in start._asdict().items():
        if isinstance(value, Tensor) and value.dim() and value.shape[-1] != size:
            raise ValueError(f"start must be of a u with {size} parameters, its {name} has {value.shape[-1]}")
