"""The walk: a straight line through the decoder blocks, one layer problem after another.

``walk`` runs calibration tokens through a model block by block and yields a :class:`Stage` for every linear layer.
Writing a stage and asking for the next one is what carries the error on: the statistics of later layers come from a
network whose earlier layers are already compressed.

Three conventions are in use, and they differ in what the output of a compressed layer is compared with:

=================  ==========================  ================================  =======================
``Correction``     hidden states into a block  dense reference inside the block  used by
=================  ==========================  ================================  =======================
``NONE``           of the compressed network   none: the target is ``W X*``      SparseGPT, Wanda
``WITHIN_BLOCK``   of the dense network        the dense block, same entry       FISTAPruner
``ACROSS_BLOCKS``  of the compressed network   the dense network
=================  ==========================  ================================  =======================

With ``WITHIN_BLOCK`` the blocks are independent units: what is done to one does not reach the next.

A model larger than the device it is to be compressed on stays in host memory: ``device=`` brings one block after
another there, ``store=`` says where the hidden states of all windows wait meanwhile.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .evaluate import evaluation_mode
from .hidden_states import HiddenStates
from .layer_problem import GramAccumulator, LayerProblem
from .models import (
    check_positions,
    check_vocabulary,
    check_weights,
    decoder_blocks,
    family,
    linear,
    replace_linear,
    write_parameter,
)


class Correction(Enum):
    """Which network the target of a layer problem comes from; see the table of this module."""

    NONE = "none"
    WITHIN_BLOCK = "within-block"
    ACROSS_BLOCKS = "across-blocks"


@dataclass(frozen=True)
class Stage:
    """One linear layer on its way through the walk: solve ``problem``, then ``write`` the result."""

    name: str  # where the layer lives, e.g. model.layers.3.mlp.up_proj
    layer: nn.Linear  # the layer itself, dense until written
    problem: LayerProblem  # its least-squares problem, with the dense weights
    block: int  # index of the decoder block
    model: nn.Module  # the model that the layer is part of

    def write(self, weights: Tensor) -> None:
        """Put weights (m, n) into the layer, cast to its dtype and device."""
        if not isinstance(weights, Tensor):
            hint = ": give its weights" if hasattr(weights, "weights") else ""
            raise TypeError(f"weights for {self.name} must be a tensor (m, n), got a {type(weights).__name__}{hint}")
        if weights.shape != self.layer.weight.shape:
            raise ValueError(
                f"weights for {self.name} must be {tuple(self.layer.weight.shape)}, got {tuple(weights.shape)}"
            )
        weights = weights.to(self.layer.weight)
        if not weights.isfinite().all():
            raise ValueError(
                f"weights for {self.name} hold a NaN or an infinity as {weights.dtype}; the layer was left as it is"
            )
        with torch.no_grad():
            self.layer.weight.copy_(weights)

    def replace(self, module: nn.Module) -> None:
        """Put a module, such as a :class:`LookupLinear`, into the model in place of the layer, on its device.

        Its floating-point numbers are cast to the dtype of the layer; see :func:`replace_linear`.
        """
        module = module.to(self.layer.weight.device, self.layer.weight.dtype)
        for key, value in module.state_dict().items():
            if not value.isfinite().all():
                raise ValueError(
                    f"{key} of the module for {self.name} holds a NaN or an infinity as {value.dtype}; "
                    "the layer was left as it is"
                )
        replace_linear(self.model, self.name, module)

    def __str__(self) -> str:
        return f"{self.name} {tuple(self.layer.weight.shape)}"


Finished = Mapping[int, Mapping[str, Tensor]]  # index of a block -> its weights, by their names in the state dict
NOTHING: Finished = MappingProxyType({})


def walk(
    model: nn.Module,
    tokens: Tensor,
    *,
    correction: Correction = Correction.NONE,
    blocks: int | None = None,
    finished: Finished = NOTHING,
    device: torch.device | None = None,
    store: torch.device | Path | None = None,
) -> Iterator[Stage]:
    """Yield every linear layer of the decoder blocks as a :class:`Stage`, in the order of the computation.

    The statistics of one group of layers (those that share an input) are alive at a time.  A window of tokens goes
    through a block once for every group, up to that group.  The model is put in evaluation mode while the walk lasts;
    no hook outlives a forward pass.

    Args:
        model: a causal language model of transformers, of a supported architecture.
        tokens: (samples, length) integer token ids.
        correction: what the target is; see the table of this module.
        blocks: how many blocks to go through, from the first; all by default.
        finished: weights (and biases) of blocks that are compressed already.  They are written into the (dense) model
            when the walk comes by, a narrower layer too, and such a block yields no stage: what follows is, bit for
            bit, what a walk with these results would have yielded.  No weights, ``{}``, leave the block as it is.
        device: where to compute; every block is there during its turn, and goes back to where it was.  By default
            where the model is.
        store: where the hidden states of all windows are kept: a device or an existing folder.  By default ``device``.

    Raises:
        ValueError: unsupported architecture; weights or activations that are not finite (the message names the layer).
    """
    visits = visit_blocks(
        model, tokens, correction=correction, blocks=blocks, finished=finished, device=device, store=store
    )
    return _stages(model, visits, family(model).groups)


def _stages(
    model: nn.Module, visits: Generator[Visit, None, None], groups: tuple[tuple[str, ...], ...]
) -> Iterator[Stage]:
    with closing(visits):
        for visit in visits:
            for group in groups:
                statistics = visit.statistics(group[0])
                for name in group:
                    layer, path = linear(visit.block, name), f"{visit.path}.{name}"
                    yield Stage(path, layer, statistics.problem(layer.weight, path), visit.index, model)


@dataclass(frozen=True, eq=False)
class Visit:
    """One decoder block while the walk stands before it: what enters it, window by window."""

    path: str  # where the block lives, e.g. model.layers.3
    index: int  # number of the block
    block: nn.Module  # the block itself: what is written to it reaches the next one
    reference: nn.Module | None  # a dense copy, unless the correction is NONE
    seen: HiddenStates  # hidden states (1, length, n) that enter the block
    dense: HiddenStates  # hidden states that enter the reference
    call: Call  # the other arguments of the block

    def inputs(self, name: str) -> Iterator[tuple[Tensor, Tensor | None]]:
        """What enters the layer ``name``, window by window: in the block, and in the reference if there is one."""
        if self.reference is None:
            for seen in self.seen:
                yield _input_of(name, self.block, self.call, seen), None
            return
        for seen, dense in zip(self.seen, self.dense, strict=True):
            yield (
                _input_of(name, self.block, self.call, seen),
                _input_of(name, self.reference, self.call, dense),
            )

    def statistics(self, name: str) -> GramAccumulator:
        """The Gram matrices of what enters the layer ``name``; a ValueError if they are not finite."""
        statistics = GramAccumulator()
        for seen, dense in self.inputs(name):
            statistics.add(seen, dense)
        if not (statistics.gram.isfinite().all() and statistics.cross.isfinite().all()):
            raise ValueError(f"the activations entering {self.path}.{name} hold a NaN or an infinity")
        return statistics


def visit_blocks(
    model: nn.Module,
    tokens: Tensor,
    *,
    correction: Correction = Correction.NONE,
    blocks: int | None = None,
    finished: Finished = NOTHING,
    device: torch.device | None = None,
    store: torch.device | Path | None = None,
) -> Generator[Visit, None, None]:
    """Yield the decoder blocks in order, each with what enters it: what :func:`walk` is built on.

    Change the block of a visit, and the next visit sees the outputs of the changed one.  Arguments and errors are those
    of :func:`walk`.
    """
    chain = decoder_blocks(model)
    if not isinstance(correction, Correction):
        raise TypeError(f"correction must be a Correction, got {correction!r}")
    if tokens.ndim != 2 or tokens.numel() == 0 or tokens.dtype not in (torch.int64, torch.int32):
        raise ValueError(
            f"tokens must be (samples, length) integer token ids, got {tokens.dtype} {tuple(tokens.shape)}"
        )
    if blocks is not None and not 1 <= blocks <= len(chain):
        raise ValueError(f"blocks must lie in 1..{len(chain)}, the decoder blocks of this model, got {blocks}")
    if device is not None and not isinstance(device, torch.device):
        raise TypeError(f"device must be a torch.device, got {device!r}")
    if store is not None and not isinstance(store, torch.device | Path):
        raise TypeError(f"store must be a torch.device or a Path, got {store!r}")
    if isinstance(store, Path) and not store.is_dir():
        raise FileNotFoundError(f"store must be an existing folder, got {str(store)!r}")
    check_positions(model, tokens.shape[1])
    check_vocabulary(model, tokens)
    check_weights(model)
    device = device or _device(model)
    return _visits(model, tokens, correction, chain[:blocks], finished, device, device if store is None else store)


def _visits(
    model: nn.Module,
    tokens: Tensor,
    correction: Correction,
    blocks: list[nn.Module],
    finished: Finished,
    device: torch.device,
    store: torch.device | Path,
) -> Generator[Visit, None, None]:
    prefix, last = family(model).blocks, _last_to_solve(len(blocks), finished)
    with evaluation_mode(model):
        if last >= 0:
            calls = _record_calls(model, tokens[:1], blocks)
            first = (_first_hidden(model, window, blocks[0]) for window in tokens.split(1))
            seen = dense = HiddenStates(first, len(tokens), device=device, store=store)
            if correction is Correction.ACROSS_BLOCKS:
                dense = seen.copy()
        for index, block in enumerate(blocks):
            if index > last:
                _write(model, finished[index])
                continue
            call = _moved(calls[index], device)
            with _lent(block, device):
                reference = None if correction is Correction.NONE else copy.deepcopy(block)
                if index in finished:
                    _write(model, finished[index])
                else:
                    yield Visit(f"{prefix}.{index}", index, block, reference, seen, dense, call)
                if index == last:
                    continue
                if reference is not None:
                    dense.update(partial(_output_of, reference, call))
                if correction is not Correction.WITHIN_BLOCK:
                    seen.update(partial(_output_of, block, call))


def _last_to_solve(count: int, finished: Container[int]) -> int:
    """Index of the last block that is not finished; -1 where all are."""
    return max((index for index in range(count) if index not in finished), default=-1)


def _write(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    for name, weight in weights.items():
        write_parameter(model, name, weight)


@contextmanager
def _lent(block: nn.Module, device: torch.device) -> Iterator[None]:
    """The block on ``device`` for a while."""
    home = _device(block)
    block.to(device)
    try:
        yield
    finally:
        block.to(home)


class Call(NamedTuple):
    """How the model calls a block, apart from the hidden states: masks, position embeddings, whatever it passes."""

    args: tuple[Any, ...]  # positional arguments after the hidden states
    kwargs: dict[str, Any]  # keyword arguments, without the hidden states


class _Reached(Exception):  # noqa: N818 - not an error: it ends a forward pass where the rest is not needed
    pass


@torch.no_grad()
def _record_calls(model: nn.Module, window: Tensor, blocks: list[nn.Module]) -> list[Call]:
    """Run one window and record how each block is called: windows of one length without padding share the arguments.

    Recorded per block, since models that mix attention types pass different masks to different blocks.
    """
    calls: list[Call] = []

    def record(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls.append(Call(args[1:], {key: value for key, value in kwargs.items() if key != "hidden_states"}))
        if module is blocks[-1]:
            raise _Reached

    handles = [block.register_forward_pre_hook(record, with_kwargs=True) for block in blocks]
    try:
        model(window.to(_device(model)), use_cache=False)
    except _Reached:
        pass
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _first_hidden(model: nn.Module, window: Tensor, block: nn.Module) -> Tensor:
    """The hidden states (1, length, n) that enter the first block."""
    return _stopped_at(block, lambda: model(window.to(_device(model)), use_cache=False))


def _input_of(name: str, block: nn.Module, call: Call, hidden: Tensor) -> Tensor:
    """The inputs of the layer ``name`` when the block runs on ``hidden``."""
    return _stopped_at(block.get_submodule(name), lambda: block(hidden, *call.args, **call.kwargs))


@torch.no_grad()
def _stopped_at(module: nn.Module, forward: Callable[[], object]) -> Tensor:
    """Run a forward pass up to ``module`` and return what enters it."""
    entered: list[Tensor] = []

    def stop(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        entered.append(args[0] if args else kwargs["hidden_states"])
        raise _Reached

    handle = module.register_forward_pre_hook(stop, with_kwargs=True)
    try:
        forward()
    except _Reached:
        pass
    finally:
        handle.remove()
    return entered[0]


@torch.no_grad()
def _output_of(block: nn.Module, call: Call, hidden: Tensor) -> Tensor:
    output = block(hidden, *call.args, **call.kwargs)
    return output[0] if isinstance(output, tuple) else output


def _moved(value: Any, device: torch.device) -> Any:
    """Tensors inside tuples, lists and dictionaries, on ``device``."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: _moved(item, device) for key, item in value.items()}
    if isinstance(value, Call):
        return Call(*(_moved(item, device) for item in value))
    if type(value) in (tuple, list):
        return type(value)(_moved(item, device) for item in value)
    return value


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
