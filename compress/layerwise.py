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
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .evaluate import evaluation_mode
from .layer_problem import GramAccumulator, LayerProblem
from .models import check_positions, check_vocabulary, check_weights, decoder_blocks, family, linear


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

    def write(self, weights: Tensor) -> None:
        """Put weights (m, n) into the layer, cast to its dtype and device."""
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

    def __str__(self) -> str:
        return f"{self.name} {tuple(self.layer.weight.shape)}"


def walk(
    model: nn.Module, tokens: Tensor, *, correction: Correction = Correction.NONE, blocks: int | None = None
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

    Raises:
        ValueError: unsupported architecture; weights or activations that are not finite (the message names the layer).
    """
    return _stages(visit_blocks(model, tokens, correction=correction, blocks=blocks), family(model).groups)


def _stages(visits: Generator[Visit, None, None], groups: tuple[tuple[str, ...], ...]) -> Iterator[Stage]:
    with closing(visits):
        for visit in visits:
            for group in groups:
                statistics = visit.statistics(group[0])
                for name in group:
                    layer, path = linear(visit.block, name), f"{visit.path}.{name}"
                    yield Stage(path, layer, statistics.problem(layer.weight, path), visit.index)


@dataclass(frozen=True, eq=False)
class Visit:
    """One decoder block while the walk stands before it: what enters it, window by window."""

    path: str  # where the block lives, e.g. model.layers.3
    index: int  # number of the block
    block: nn.Module  # the block itself: what is written to it reaches the next one
    reference: nn.Module | None  # a dense copy, unless the correction is NONE
    seen: list[Tensor]  # hidden states (1, length, n) that enter the block
    dense: list[Tensor]  # hidden states that enter the reference
    call: Call  # the other arguments of the block

    def inputs(self, name: str) -> Iterator[tuple[Tensor, Tensor | None]]:
        """What enters the layer ``name``, window by window: in the block, and in the reference if there is one."""
        for seen, dense in zip(self.seen, self.dense, strict=True):
            wanted = None if self.reference is None else _input_of(name, self.reference, dense, self.call)
            yield _input_of(name, self.block, seen, self.call), wanted

    def statistics(self, name: str) -> GramAccumulator:
        """The Gram matrices of what enters the layer ``name``; a ValueError if they are not finite."""
        statistics = GramAccumulator()
        for seen, dense in self.inputs(name):
            statistics.add(seen, dense)
        if not (statistics.gram.isfinite().all() and statistics.cross.isfinite().all()):
            raise ValueError(f"the activations entering {self.path}.{name} hold a NaN or an infinity")
        return statistics


def visit_blocks(
    model: nn.Module, tokens: Tensor, *, correction: Correction = Correction.NONE, blocks: int | None = None
) -> Generator[Visit, None, None]:
    """Yield the decoder blocks in order, each with what enters it: what :func:`walk` is built on.

    Change the block of a visit, and the next visit sees the outputs of the changed one.  Arguments and errors are those
    of :func:`walk`.
    """
    names, chain = family(model), decoder_blocks(model)
    if not isinstance(correction, Correction):
        raise TypeError(f"correction must be a Correction, got {correction!r}")
    if tokens.ndim != 2 or tokens.numel() == 0 or tokens.dtype not in (torch.int64, torch.int32):
        raise ValueError(
            f"tokens must be (samples, length) integer token ids, got {tokens.dtype} {tuple(tokens.shape)}"
        )
    if blocks is not None and not 1 <= blocks <= len(chain):
        raise ValueError(f"blocks must lie in 1..{len(chain)}, the decoder blocks of this model, got {blocks}")
    check_positions(model, tokens.shape[1])
    check_vocabulary(model, tokens)
    check_weights(model)
    return _visits(model, tokens, correction, names.blocks, chain[:blocks])


def _visits(
    model: nn.Module, tokens: Tensor, correction: Correction, prefix: str, blocks: list[nn.Module]
) -> Generator[Visit, None, None]:
    with evaluation_mode(model):
        calls = _record_calls(model, tokens[:1], blocks)
        seen = dense = [_first_hidden(model, window, blocks[0]) for window in tokens.split(1)]
        for index, (block, call) in enumerate(zip(blocks, calls, strict=True)):
            reference = None if correction is Correction.NONE else copy.deepcopy(block)
            yield Visit(f"{prefix}.{index}", index, block, reference, seen, dense, call)
            if block is blocks[-1]:
                return
            if reference is not None:
                dense = [_output_of(reference, x, call) for x in dense]
            seen = dense if correction is Correction.WITHIN_BLOCK else [_output_of(block, x, call) for x in seen]


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


def _input_of(name: str, block: nn.Module, hidden: Tensor, call: Call) -> Tensor:
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
def _output_of(block: nn.Module, hidden: Tensor, call: Call) -> Tensor:
    output = block(hidden, *call.args, **call.kwargs)
    return output[0] if isinstance(output, tuple) else output


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
