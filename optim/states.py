"""The state of a parameter in Adapprox: made, checked against its parameter, and loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .memory import matrix_shape
from .sharded import local_part, same_everywhere, with_rows_of


def computing_type(p: Tensor) -> torch.dtype:
    """The type of the states of p and of a step on it: its own, and single precision for shorter ones."""
    return p.dtype if p.dtype in (torch.float32, torch.float64) else torch.float32


def new_state(p: Tensor, columns: int, *, first_moment: bool) -> dict[str, Tensor]:
    """Zeros: ``step``, ``exp_avg`` if there is a first moment, and ``Q``, ``U`` and ``rank`` or ``exp_avg_sq``.

    Args:
        p: the parameter.
        columns: of the factors; 0 for a dense second moment.
        first_moment: whether there is one.
    """
    dtype, part = computing_type(p), local_part(p)
    state = {"step": torch.zeros((), dtype=torch.float32, device="cpu")}  # read in every step: never on a device
    if first_moment:
        state["exp_avg"] = dense_zeros(p)
    if columns == 0:
        return {**state, "exp_avg_sq": dense_zeros(p)}
    return {
        **state,
        "Q": with_rows_of(p, part.new_zeros(len(part), columns, dtype=dtype), columns),
        "U": same_everywhere(p, part.new_zeros(matrix_shape(p.shape)[1], columns, dtype=dtype)),
        "rank": same_everywhere(p, torch.full((), columns, dtype=torch.int32, device=part.device)),
    }


def dense_zeros(p: Tensor) -> Tensor:
    """A moment of the shape of p."""
    return torch.zeros_like(p, dtype=computing_type(p), memory_format=torch.contiguous_format)


def misfit(p: Tensor, state: Mapping[str, Any]) -> str:
    """What is wrong with a state for this parameter, in words; empty if nothing is."""
    if "step" not in state or not ("exp_avg_sq" in state or {"Q", "U", "rank"} <= state.keys()):
        return f"a parameter of shape {tuple(p.shape)} has the state {sorted(state)}, which is not one of Adapprox"
    m, n = matrix_shape(p.shape)
    expected = {"exp_avg": tuple(p.shape), "exp_avg_sq": tuple(p.shape)}
    if "Q" in state:
        k = state["Q"].shape[-1]
        expected |= {"Q": (m, k), "U": (n, k)}
    for name, shape in expected.items():
        if name in state and tuple(state[name].shape) != shape:
            return (
                f"a parameter of shape {tuple(p.shape)} has a state {name!r} of shape {tuple(state[name].shape)}, "
                f"and needs {shape}"
            )
    return ""


def is_ready(p: Tensor, state: Mapping[str, Any]) -> bool:
    """Whether a step can work on the state: of the type of the computation, in order in memory."""
    moments = [x for name, x in state.items() if name != "step" and x.is_floating_point()]
    return all(x.dtype is computing_type(p) and local_part(x).is_contiguous() for x in moments)


def of_type(p: Tensor, state: Mapping[str, Any]) -> dict[str, Any]:
    """The state as ``is_ready`` asks for, and where the parameter is, but for the step; copies."""
    dtype = computing_type(p)

    def moved(name: str, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if name == "step":
            return value.detach().to("cpu", copy=True)
        return value.detach().to(p.device, dtype if value.is_floating_point() else value.dtype, copy=True).contiguous()

    return {name: moved(name, value) for name, value in state.items()}


def require_states(groups: list[dict[str, Any]], state_dict: Mapping[str, Any], settings: tuple[str, ...]) -> None:
    """Refuse a ``state_dict`` of another optimizer, or of other parameters; what only PyTorch counts is left to it.

    Args:
        groups: of the optimizer that loads.
        state_dict: see ``torch.optim.Optimizer.state_dict``.
        settings: what a group has to have.
    """
    for i, group in enumerate(state_dict["param_groups"]):
        missing = [name for name in settings if name not in group]
        if missing:
            raise ValueError(
                f"state_dict is not one of Adapprox, or of another version: "
                f"its group {i} has no {', '.join(map(repr, missing))}"
            )
    for p, state in states_of(groups, state_dict):
        wrong = misfit(p, state)
        if wrong:
            raise ValueError(f"state_dict does not fit: {wrong}")


def states_of(groups: list[dict[str, Any]], state_dict: Mapping[str, Any]) -> list[tuple[Tensor, dict[str, Any]]]:
    """The parameters of an optimizer with their states in a ``state_dict``, in order."""
    saved = [i for group in state_dict["param_groups"] for i in group["params"]]
    here = [p for group in groups for p in group["params"]]
    states = state_dict["state"]
    return [(p, states[i]) for i, p in zip(saved, here, strict=False) if i in states]
