"""What arguments must be: each is looked at before any work, and refused in a sentence with its name and value.

Numbers of NumPy become numbers of Python, so that ``torch.load(weights_only=True)`` reads them back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

ALIKE = ("adapt", "truncate", "denominator", "factored")  # of the optimizer, not of a group
LIKENESS = 0.75  # of a misspelt key, by difflib: "rnak" is as close as this


def require_settings(group: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a group, as numbers of Python; a rate in a tensor stays one, of no dimensions.

    Raises:
        ValueError: one is of another type, or out of range.

    Example:
        >>> require_rate(-1.0)
        Traceback (most recent call last):
        ValueError: lr must be a finite number, at least 0, got -1.0
    """
    betas, guidance = require_betas(group["betas"]), group["guidance"]
    if guidance is not None:
        if not (_is(guidance, Real) and guidance >= 1 and betas[0] > 0):
            raise ValueError(
                f"guidance must be at least 1, and needs a first moment, got {guidance!r} with betas {betas}"
            )
        if not group["average_updates"]:
            raise ValueError(f"guidance must come with average_updates=True, whose average it needs, got {guidance!r}")
        guidance = float(guidance)
    clip = group["clip"]
    if not (_is(clip, Real) and clip > 0):
        raise ValueError(f"clip must be positive, or math.inf for none, got {clip!r}")
    return {
        "lr": require_rate(group["lr"]),
        "betas": betas,
        "eps": require_finite(group["eps"], "eps"),
        "weight_decay": require_finite(group["weight_decay"], "weight_decay"),
        "rank": require_rank(group["rank"]),
        "clip": float(clip),
        "average_updates": require_flag(group["average_updates"], "average_updates"),
        "bias_correction": require_flag(group["bias_correction"], "bias_correction"),
        "guidance": guidance,
        "oversample": require_whole(group["oversample"], "oversample", least=0),
        "sweeps": require_whole(group["sweeps"], "sweeps"),
        "refresh_every": require_whole(group["refresh_every"], "refresh_every"),
        "stochastic_rounding": require_flag(group["stochastic_rounding"], "stochastic_rounding"),
        "maximize": require_flag(group["maximize"], "maximize"),
    }


def require_group(group: Any, names: Iterable[str]) -> None:
    """Refuse a group that is none, or one with a key that would be ignored though it looks like a setting.

    Other keys pass: schedulers and trainers keep their own in a group, such as ``initial_lr`` or ``lr_scale``.

    Args:
        group: what ``add_param_group`` got.
        names: of the settings.

    Raises:
        TypeError: not a dictionary.
        ValueError: without parameters, with a setting that may not differ by group, or with a misspelt one.

    Example:
        >>> require_group({"params": [], "lr_scale": 0.5, "rnak": 4}, ["lr", "rank"])
        Traceback (most recent call last):
        ValueError: a parameter group must not have the key 'rnak', got 4: is rank meant?
    """
    if not isinstance(group, dict):
        raise TypeError(f"param_group must be a dict with the key 'params', got {type(group).__name__}")
    if "params" not in group:
        raise ValueError(f"param_group must have the key 'params', got the keys {sorted(map(str, group))}")
    names = list(names)
    for key, value in group.items():
        if key in ALIKE:
            raise ValueError(
                f"{key} must be the same for all groups, got {value!r} in one: give it to Adapprox as an argument"
            )
        if key in names or not isinstance(key, str):
            continue
        for close in get_close_matches(key.lower(), [*names, *ALIKE], n=1, cutoff=LIKENESS):
            if not (key.startswith(f"{close}_") or key.endswith(f"_{close}")):  # weight_decay_scale is no slip
                raise ValueError(f"a parameter group must not have the key {key!r}, got {value!r}: is {close} meant?")


def require_rate(lr: Any) -> float | Tensor:
    """A learning rate; the value of a tensor is looked at on a processor only, as that waits for other devices.

    A tensor of one entry becomes one of no dimensions, which meets parameters of any device, in the same memory.

    Example:
        >>> require_rate(torch.tensor([0.5])), require_rate(1)
        (tensor(0.5000), 1.0)
    """
    if isinstance(lr, Tensor):
        if lr.numel() != 1:
            raise ValueError(f"lr must be one number, got a tensor of shape {tuple(lr.shape)}")
        if not lr.is_floating_point():
            raise ValueError(f"lr must be a number or a tensor of floating point, got {lr!r}")
        if lr.device.type == "cpu" and not 0 <= float(lr.detach()) < math.inf:
            raise ValueError(f"lr must be finite and at least 0, got {lr!r}")
        return lr.reshape(()) if lr.dim() else lr
    return require_finite(lr, "lr")


def require_betas(betas: Any) -> tuple[float, float]:
    """Two decays.

    Example:
        >>> require_betas([0, 0.999])
        (0.0, 0.999)
    """
    pair = tuple(betas) if isinstance(betas, Iterable) and not isinstance(betas, Tensor) else ()
    if not (len(pair) == 2 and all(_is(b, Real) and 0 <= b < 1 for b in pair)):
        raise ValueError(f"betas must be two numbers from 0 up to but not including 1, got {betas!r}")
    return float(pair[0]), float(pair[1])


def require_rank(rank: Any) -> int | float:
    """A number of columns, or a share of the smaller dimension.

    Example:
        >>> require_rank(16), require_rank(0.25)
        (16, 0.25)
        >>> require_rank(1.5)
        Traceback (most recent call last):
        ValueError: rank must be a whole number, at least 1, or a share between 0 and 1, got 1.5
    """
    if _is(rank, Integral) and rank >= 1:
        return int(rank)
    if _is(rank, Real) and 0 < rank < 1:
        return float(rank)
    raise ValueError(f"rank must be a whole number, at least 1, or a share between 0 and 1, got {rank!r}")


def require_finite(value: Any, name: str) -> float:
    """A finite number, at least 0.

    Example:
        >>> require_finite(None, "eps")
        Traceback (most recent call last):
        ValueError: eps must be a finite number, at least 0, got None
    """
    if not (_is(value, Real) and 0 <= value < math.inf):
        raise ValueError(f"{name} must be a finite number, at least 0, got {value!r}")
    return float(value)


def require_whole(value: Any, name: str, *, least: int = 1) -> int:
    """A whole number.

    Example:
        >>> require_whole(True, "sweeps")
        Traceback (most recent call last):
        ValueError: sweeps must be a whole number, at least 1, got True
    """
    if not (_is(value, Integral) and value >= least):
        raise ValueError(f"{name} must be a whole number, at least {least}, got {value!r}")
    return int(value)


def require_flag(value: Any, name: str) -> bool:
    """True or False, and nothing that merely counts as one of them.

    Example:
        >>> require_flag("no", "maximize")
        Traceback (most recent call last):
        ValueError: maximize must be True or False, got 'no'
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return value


def require_functions(**functions: Any) -> None:
    """Refuse what cannot be called.

    Example:
        >>> require_functions(truncate="svd")
        Traceback (most recent call last):
        TypeError: truncate must be a function, got 'svd'
    """
    for name, function in functions.items():
        if not callable(function):
            raise TypeError(f"{name} must be a function, got {function!r}")


def require_parameter(p: Tensor, *, stochastic_rounding: bool) -> None:
    """Refuse complex parameters, and those that would be rounded to nearest in spite of what was asked.

    Example:
        >>> require_parameter(torch.ones(2).half(), stochastic_rounding=True)
        Traceback (most recent call last):
        ValueError: stochastic_rounding must be False for a parameter of shape (2,) in torch.float16, got True
    """
    if p.is_complex():
        raise ValueError(f"a parameter of shape {tuple(p.shape)} is complex ({p.dtype}): give torch.view_as_real of it")
    exact = not p.is_floating_point() or p.dtype in (torch.float32, torch.float64)
    if stochastic_rounding and not exact and p.dtype is not torch.bfloat16:
        raise ValueError(
            f"stochastic_rounding must be False for a parameter of shape {tuple(p.shape)} in {p.dtype}, got True"
        )


def _is(value: Any, kind: type) -> bool:
    """Whether a value is such a number; True and False are no numbers here."""
    return isinstance(value, kind) and not isinstance(value, bool)


def require_gradient(p: Tensor) -> None:
    """Refuse one that is sparse, or of another shape than its parameter."""
    assert p.grad is not None
    if p.grad.is_sparse:
        raise RuntimeError(
            f"the gradient of a parameter of shape {tuple(p.shape)} is sparse, "
            "which Adapprox does not take: use sparse=False, or torch.optim.SparseAdam for it"
        )
    if p.grad.shape != p.shape:
        raise RuntimeError(f"a parameter of shape {tuple(p.shape)} has a gradient of shape {tuple(p.grad.shape)}")
