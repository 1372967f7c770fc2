"""Steps inside the backward pass: a gradient is used and freed as soon as it is there.

The largest part of the gradients of a model then never exists at the same time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch import Tensor

from .adapprox import Adapprox


@contextmanager
def step_in_backward(optimizer: Adapprox) -> Iterator[None]:
    """While this is open, ``loss.backward()`` takes the steps; ``optimizer.step()`` finds nothing left to do.

    Every ``backward()`` is a step of its own.  What needs gradients before the step is out of reach: clipping by their
    common norm, their sum over several batches, and ``torch.amp.GradScaler``, which has to divide them.  The hooks of
    ``Optimizer.step`` do not see these steps.  A scheduler warns unless ``optimizer.step()`` was called before it: do
    so all the same.

    Args:
        optimizer: whose parameters are leaves.  Those that need no gradient when this is opened are left alone.

    Raises:
        TypeError: at ``with``, for another optimizer.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(3, 1)
        >>> before = layer.weight.detach().clone()
        >>> with step_in_backward(Adapprox(layer.parameters())):
        ...     layer(torch.ones(1, 3)).sum().backward()
        >>> layer.weight.grad is None, bool((layer.weight != before).any())
        (True, True)
    """
    if not isinstance(optimizer, Adapprox):
        raise TypeError(f"optimizer must be an Adapprox, got {type(optimizer).__name__}")

    def step(position: int, index: int, p: Tensor) -> None:
        optimizer.update_at([(optimizer.param_groups[position], [(index, p)])])
        p.grad = None

    first, handles = 0, []
    try:
        for position, group in enumerate(optimizer.param_groups):
            for index, p in enumerate(group["params"], first):
                if p.requires_grad:
                    handles.append(p.register_post_accumulate_grad_hook(partial(step, position, index)))
            first += len(group["params"])
        yield
    finally:
        for handle in handles:
            handle.remove()
