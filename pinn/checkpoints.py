"""A training state as one file, to go on from to the last bit.

The file is a NumPy archive without pickles: the parameters and buffers of u, every field of the state, and the state of
torch's random numbers.  It is written beside its place and then moved there: a run that dies leaves the old one.
"""

from __future__ import annotations

import json
import os
import sys
import zipfile
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

ABOUT, RANDOM, OF_U, OF_STATE = "about", "random", "u.", "state."


def save_checkpoint(path: str | Path, state: Any) -> None:
    """Write a state of a training algorithm, with its ``x``, which is u.

    Args:
        path: of the file; written as it is, whatever its ending.
        state: of ``adam``, ``lbfgs``, …, or any NamedTuple with tensors, numbers and None beside a module ``x``. A
            reason why a run has ended is left out: it may go on.

    Raises:
        TypeError: the state is none, or a field cannot be kept in a file.

    >>> import tempfile
    >>> from optsci import solve
    >>> from optsci.pinn import Data, MLP, adam
    >>> x = torch.ones(1, 1, dtype=torch.float64)
    >>> u, path = MLP(1, [4], 1), Path(tempfile.mkdtemp()) / "run.npz"
    >>> save_checkpoint(path, solve(adam(u, Data(x, x)), max_iter=10).state)
    >>> state = load_checkpoint(path, MLP(1, [4], 1, seed=7))
    >>> run = solve(adam(state.x, Data(x, x), start=state), max_iter=10)
    >>> run.state.steps
    20
    """
    path, kind = Path(path), type(state)
    if not (hasattr(state, "_asdict") and isinstance(getattr(state, "x", None), nn.Module)):
        raise TypeError(f"state must be a state of a training algorithm, such as `run.state`, got {kind.__name__}")
    numbers: dict[str, float | int | None] = {}
    arrays = {RANDOM: torch.get_rng_state().numpy()}
    arrays |= {OF_U + name: to_array(OF_U + name, value) for name, value in state.x.state_dict().items()}
    for name, value in state._asdict().items():
        if name == "x":
            continue
        if isinstance(value, Tensor):
            arrays[OF_STATE + name] = to_array(name, value)
        elif value is None or isinstance(value, Enum | int | float):
            numbers[name] = None if isinstance(value, Enum) else value
        else:
            raise TypeError(f"{name} of the state must be a tensor, a number or None, got {type(value).__name__}")
    about = json.dumps({"module": kind.__module__, "kind": kind.__qualname__, "numbers": numbers})
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        np.savez(file, allow_pickle=False, **{ABOUT: np.array(about)}, **arrays)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def load_checkpoint(path: str | Path, u: Any) -> Any:
    """Read a state into u, in place, and set torch's random numbers; return the state, for ``start=``.

    Args:
        path: of a file that ``save_checkpoint`` wrote.
        u: a module of the same shapes and precision.

    Raises:
        ValueError: the file is not whole or no checkpoint, or holds another module's parameters, or a state of a kind
            that is not imported.
    """
    if not isinstance(u, nn.Module):
        raise TypeError(f"u must be a module of the shapes in the file, got {type(u).__name__}")
    arrays = arrays_of(path)
    about = json.loads(str(arrays[ABOUT]))
    kind = getattr(sys.modules.get(about["module"]), about["kind"], None)
    tensors = {name.removeprefix(OF_STATE): value for name, value in arrays.items() if name.startswith(OF_STATE)}
    if not (isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")):
        raise ValueError(f"{path} holds a {about['module']}.{about['kind']}, which is not imported here")
    if set(kind._fields) != {"x", *tensors, *about["numbers"]}:
        raise ValueError(f"{path} was written by another version: its {about['kind']} has other fields")
    own = u.state_dict()
    stored = {name.removeprefix(OF_U): value for name, value in arrays.items() if name.startswith(OF_U)}
    require_same(own, stored, path)
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(torch.from_numpy(stored[name]))
    device = next(iter(own.values())).device
    torch.set_rng_state(torch.from_numpy(arrays[RANDOM]))
    make: Any = kind
    return make(x=u, **about["numbers"], **{name: torch.from_numpy(v).to(device) for name, v in tensors.items()})


def arrays_of(path: str | Path) -> dict[str, np.ndarray]:
    """Return what the file holds, refusing one of another kind, and one that is damaged or not whole."""
    try:
        with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (EOFError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"path must be a file that save_checkpoint wrote, whole, got {path}: {error}") from error
    if ABOUT not in arrays:
        raise ValueError(f"path must be a file that save_checkpoint wrote, got {path}")
    return arrays


def to_array(name: str, value: Tensor) -> np.ndarray:
    """Return a tensor as an array, which has no bfloat16."""
    if value.dtype is torch.bfloat16:
        raise TypeError(f"{name} must not be bfloat16, which NumPy has not: use float32 or float64")
    return value.detach().cpu().numpy()


def require_same(own: dict[str, Tensor], stored: dict[str, np.ndarray], path: str | Path) -> None:
    """Refuse parameters of other names, shapes or precision than u has."""
    here = {name: (tuple(v.shape), str(v.dtype).removeprefix("torch.")) for name, v in own.items()}
    there = {name: (v.shape, str(v.dtype)) for name, v in stored.items()}
    if different := sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name)):
        name = different[0]
        raise ValueError(f"u must be like the one in {path}: {name} is {there.get(name)} there, {here.get(name)} here")
