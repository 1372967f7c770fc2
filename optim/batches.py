"""Which parameters of a group step together, and as what: matrices of one shape, in the same step of their lives."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .memory import matrix_shape
from .rank_growth import AdaptiveRank
from .settings import Due, Rule, Settings
from .sharded import is_sharded, local_part
from .update import needs_no_stack

# Numbers in memory at a time: of V, or of the factors where V is never formed, in a batch of small matrices.
ON_PROCESSOR, ON_ACCELERATOR = 1 << 17, 1 << 24


class Batch(NamedTuple):
    """Parameters of one shape in one step."""

    indices: tuple[int, ...]  # among all parameters of the optimizer
    parameters: tuple[Any, ...]
    due: Due


def batches(
    todo: list[tuple[int, Any]], states: Mapping[Any, dict[str, Any]], settings: Settings, rule: Rule
) -> Iterator[Batch]:
    """Parameters that take the same step, as many at a time as are worth it.

    Args:
        todo: indices and parameters.
        states: of the parameters.
        settings: of their group.
        rule: of the optimizer.
    """
    alike: dict[Any, list[tuple[int, Any]]] = {}
    for index, p in todo:
        state = states[p]
        width = state["Q"].shape[-1] if "Q" in state else 0
        place = (p.device_mesh, p.placements) if is_sharded(p) else ()
        key = (p.shape, p.dtype, p.grad.dtype, p.device, place, width, int(state["step"]))
        alike.setdefault(key, []).append((index, p))
    for (shape, _, _, device, _, width, step), some in alike.items():
        due = _due(step, settings.refresh_every, rule.adapt) if width else Due.PASS
        room = ON_PROCESSOR if device.type == "cpu" else ON_ACCELERATOR
        # By the whole matrices: all processes must stack alike.
        if width and due is Due.PASS and needs_no_stack(local_part(some[0][1]), rule):
            numbers = width * sum(matrix_shape(shape))
        else:
            numbers = math.prod(shape)
        count = 1 if rule.adapt is not None and due is not Due.PASS else max(room // numbers, 1)
        for i in range(0, len(some), count):
            indices, parameters = zip(*some[i : i + count], strict=True)
            yield Batch(indices, parameters, due)


def _due(step: int, refresh_every: int, adapt: AdaptiveRank | None) -> Due:
    if adapt is not None and step % adapt.every == 0:
        return Due.SEARCH
    return Due.REFRESH if step % refresh_every == 0 else Due.PASS


@lru_cache(maxsize=1024)
def on_device(indices: tuple[int, ...], device: torch.device) -> Tensor:
    """Kept, so that a device is not waited for in every step."""
    return torch.tensor(indices, device=device)


def matrices_of(tensors: list[Tensor]) -> list[Tensor]:
    """Tensors as matrices of their first dimension, in their memory where that is contiguous."""
    shape = matrix_shape(tensors[0].shape)
    return [tensor.detach().reshape(shape) for tensor in tensors]
