"""Parameters whose rows are shared among processes, as FSDP2 leaves them: the parts here, and sums over all of them.

A ``DTensor`` with the placement ``Shard(0)`` has V in the same rows.  Products with V from the right are local, those
from the left are summed over the processes: n k + k^2 numbers a step and matrix, never m n.  The factor Q is sharded as
the parameter is, U is the same everywhere.

Source: the plan is inferred from how CholeskyQR (see :mod:`optsci.optim.second_moment`) is distributed.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor

from .second_moment import Total, alone


def is_sharded(x: Tensor) -> bool:
    """Whether x is a ``DTensor``; without a process group nothing of torch.distributed is loaded."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(x, module.DTensor)


def require_rows(x: Any) -> None:
    """Refuse what is sharded otherwise than by rows."""
    from torch.distributed.tensor import Replicate, Shard

    for placement in x.placements:
        if type(placement) not in (Shard, Replicate) or (placement.is_shard() and placement.dim != 0):
            raise ValueError(
                f"a parameter of shape {tuple(x.shape)} has the placements {x.placements}, "
                "and Adapprox takes Shard(0), as FSDP2 makes it, and Replicate()"
            )


def local_part(x: Any) -> Tensor:
    """What this process holds of x."""
    return x.to_local() if is_sharded(x) else x


def gradient_part(x: Any, of: Any) -> Tensor:
    """What this process holds of the gradient of a parameter: the rows that it has of that."""
    if is_sharded(of) and x.placements != of.placements:
        x = x.redistribute(of.device_mesh, of.placements)
    return local_part(x)


def first_row(x: Any) -> int:
    """Index of the first row that this process holds of x."""
    if not is_sharded(x):
        return 0
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    _, offset = compute_local_shape_and_global_offset(x.shape, x.device_mesh, x.placements)
    return offset[0] if offset else 0


def total_over(x: Any) -> Total:
    """The sum over the processes that share the rows of x: one message for all tensors given."""
    if not is_sharded(x):
        return alone
    from torch import distributed

    groups = [x.device_mesh.get_group(i) for i, placement in enumerate(x.placements) if placement.is_shard()]

    def total(*tensors: Tensor) -> tuple[Tensor, ...]:
        message = torch.cat([tensor.to(tensors[0].dtype).flatten() for tensor in tensors])
        for group in groups:
            distributed.all_reduce(message, group=group)
        parts = message.split([tensor.numel() for tensor in tensors])
        return tuple(part.view(old.shape).to(old.dtype) for part, old in zip(parts, tensors, strict=True))

    return total if groups else alone


def with_rows_of(x: Any, part: Tensor, columns: int) -> Tensor:
    """A matrix of so many columns whose rows are shared as those of x, from the part here."""
    if not is_sharded(x):
        return part
    from torch.distributed.tensor import DTensor

    shape = torch.Size((x.shape[0], columns))
    return DTensor.from_local(part, x.device_mesh, x.placements, run_check=False, shape=shape, stride=(columns, 1))


def same_everywhere(x: Any, whole: Tensor) -> Tensor:
    """A tensor that all processes of x hold."""
    if not is_sharded(x):
        return whole
    from torch.distributed.tensor import DTensor, Replicate

    return DTensor.from_local(whole, x.device_mesh, [Replicate()] * x.device_mesh.ndim, run_check=False)
