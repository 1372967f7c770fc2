"""The hidden states of all calibration windows between two blocks: in memory of some device, or in a file.

Every block needs all of them and replaces all of them, one window at a time: windows x length x width numbers, which is
what grows with the calibration set.  (128 windows of 2048 tokens at width 4096 are 2 GiB in half precision.)
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor


class HiddenStates:
    """One tensor for every window, kept in ``store`` and handed out on ``device``, bit for bit.

    Args:
        states: tensors of one shape and dtype.
        count: how many.
        device: where they are wanted.
        store: a device to keep them on, or an existing folder: they lie in a memory-mapped file there, which has no
            name and vanishes with the process, however that ends.

    >>> cpu = torch.device("cpu")
    >>> states = HiddenStates([torch.zeros(2), torch.ones(2)], 2, device=cpu, store=cpu)
    >>> states.update(lambda x: x + 1)
    >>> [x.tolist() for x in states]
    [[1.0, 1.0], [2.0, 2.0]]
    """

    def __init__(
        self, states: Iterable[Tensor], count: int, *, device: torch.device, store: torch.device | Path
    ) -> None:
        self._device, self._store = device, store
        self._kept: list[Tensor] = []
        for i, state in enumerate(states):
            if i == 0 and isinstance(store, Path):
                self._kept = _mapped(state, count, store)
            if isinstance(store, Path):
                self._kept[i].copy_(state)
            else:
                self._kept.append(state.to(store))

    def __iter__(self) -> Iterator[Tensor]:
        for i in range(len(self._kept)):
            yield self._read(i)

    def update(self, function: Callable[[Tensor], Tensor]) -> None:
        """Replace every state by its image, which must have the same shape and dtype."""
        for i in range(len(self._kept)):
            state = function(self._read(i))
            if isinstance(self._store, Path):
                self._kept[i].copy_(state)
            else:
                self._kept[i] = state.to(self._store)

    def copy(self) -> HiddenStates:
        """The same states, to be updated on their own; kept in the same store."""
        return HiddenStates(self, len(self._kept), device=self._device, store=self._store)

    def _read(self, i: int) -> Tensor:
        # A copy out of the file: rounding may depend on how memory is aligned.
        return self._kept[i].to(self._device, copy=isinstance(self._store, Path))


def _mapped(like: Tensor, count: int, folder: Path) -> list[Tensor]:
    handle, name = tempfile.mkstemp(prefix=".hidden-states.", dir=folder)
    os.close(handle)
    shape = (count, *like.shape)
    flat = torch.from_file(name, shared=True, size=count * like.numel(), dtype=like.dtype)
    with suppress(PermissionError):  # Windows does not delete an open file
        os.unlink(name)  # the mapping keeps it alive
    return list(flat.view(shape).unbind())
