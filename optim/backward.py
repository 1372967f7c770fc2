"""Steps inside the backward pass: a gradient is used and freed as soon as it is there.

The largest part of the gradients of a model then never exists at the same time.  What needs all of them, such as
clipping by their common norm or adding them up over several batches, is out of reach.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from .adapprox import Adapprox


@contextmanager
def step_in_backward(optimizer: Adapprox) -> Iterator[None]:
    """While this is open, ``loss.backward()`` takes the steps; ``optimizer.step()`` finds nothing left to do.

    Args:
        optimizer: whose parameters are leaves with gradients.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(3, 1)
        >>> before = layer.weight.detach().clone()
        >>> with step_in_backward(Adapprox(layer.parameters())):
        ...     layer(torch.ones(1, 3)).sum().backward()
        >>> layer.weight.grad is None, bool((layer.weight != before).any())
        (True, True)
    """

    def step(p: Tensor) -> None:
        optimizer.update([p])
        p.grad = None

    handles = [p.register_post_accumulate_grad_hook(step) for group in optimizer.param_groups for p in group["params"]]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
