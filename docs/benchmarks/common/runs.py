"""Finished runs in a JSON file, so that a script goes on where it, or another process, has stopped.

A run is a dataclass of numbers, texts, lists and dictionaries; its file is a list of them:

    if not any((run.method, run.seed) == (method, seed) for run in kept(KEPT, Run)):
        keep(KEPT, measure(method, seed))

Processes may share a file, as `keep` and `change` read it and write it back while no other process does. They need a
Unix, for its file locks.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from common.files import save

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Run = TypeVar("Run")
Content = TypeVar("Content")


def kept(path: Path, kind: Callable[..., Run]) -> list[Run]:
    """The finished runs of a file, each made by ``kind(**entry)``; none where no file is.

    An entry with other fields than ``kind`` has raises `TypeError`: it is from another version of the script.
    """
    entries: list[dict[str, Any]] = content(path, [])
    return [kind(**entry) for entry in entries]


def keep(path: Path, run: DataclassInstance) -> None:
    """Add a run at the end of its file, and print it.

    NaN and infinity come back as they were, tuples as lists, and keys of dictionaries as texts.

    >>> import tempfile
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Training:
    ...     seed: int
    ...     error: float
    >>> path = Path(tempfile.mkdtemp()) / "trainings.json"
    >>> keep(path, Training(0, 1e-3))
    Training(seed=0, error=0.001)
    >>> keep(path, Training(1, float("nan")))
    Training(seed=1, error=nan)
    >>> kept(path, Training)
    [Training(seed=0, error=0.001), Training(seed=1, error=nan)]
    """
    change(path, [], lambda entries: [*entries, asdict(run)])
    print(run, flush=True)


def content(path: Path, empty: Content) -> Content:
    """What a JSON file holds; ``empty`` where no file is."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else empty


def change(path: Path, empty: Content, of: Callable[[Content], Any]) -> None:
    """Write ``of`` what a JSON file holds back to it, or ``of(empty)`` where no file is.

    The folder is locked meanwhile, and not the file: that is another one after every change.
    """
    with locked(path.parent):
        save(path, json.dumps(of(content(path, empty)), indent=1) + "\n")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Wait until no other process has the lock of the folder, and have it for the block."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)  # this gives the lock back
