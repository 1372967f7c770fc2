"""Decoder blocks in parallel: with ``Correction.WITHIN_BLOCK`` they are independent units, solved in any order.

Every process holds the dense model, walks through it and solves its share of the blocks: with ``world`` processes, the
process of rank ``r`` takes blocks ``r``, ``r + world``, ... of those that are missing in a work folder that all of them
see (:mod:`optsci.compress.resume`).  What the processes tell each other is when they are done.  The result is that of
one process, bit for bit, and a run that was broken off goes on, with any number of processes.

That blocks are independent is FISTAPruner's observation (arXiv 2408.03728): the input of a block is the hidden state of
the dense model.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn

from .layer_problem import LayerProblem
from .layerwise import Correction, walk
from .models import decoder_blocks, layers_per_block
from .report import LayerReport, Write, progress_bar, write_weights
from .resume import Shards, all_settings, layer_reports, solve_blocks

PATIENCE = timedelta(days=30)  # a process that is done waits for the slowest one


@contextmanager
def process_group(device: torch.device) -> Iterator[tuple[int, int]]:
    """The process group that ``torchrun`` describes in the environment: (rank, number of processes).

    Without ``torchrun`` nothing is set up and the pair is (0, 1).  The processes talk through NCCL where they compute
    on CUDA devices, through gloo otherwise.

    Args:
        device: where this process computes; see :func:`own_device`.
    """
    if not {"RANK", "WORLD_SIZE"} <= os.environ.keys():
        yield 0, 1
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield distributed.get_rank(), distributed.get_world_size()
    finally:
        distributed.destroy_process_group()


def own_device(device: torch.device) -> torch.device:
    """``cuda`` without a number becomes the device with the number of this process on its machine."""
    if device.type != "cuda" or device.index is not None or "LOCAL_RANK" not in os.environ:
        return device
    return torch.device("cuda", int(os.environ["LOCAL_RANK"]))


def check_independent(correction: Correction) -> None:
    """Refuse a correction that carries the result of one block to the next."""
    if correction is not Correction.WITHIN_BLOCK:
        raise ValueError(
            f"correction {correction.value!r} carries the result of a block to the next one: only "
            f"{Correction.WITHIN_BLOCK.value!r} makes blocks independent, so that several processes can share them"
        )


def compress_distributed(
    model: nn.Module,
    tokens: Tensor,
    solver: Callable[[LayerProblem], Any],
    folder: str | Path,
    *,
    settings: Mapping[str, Any],
    write: Write = write_weights,
    correction: Correction = Correction.WITHIN_BLOCK,
    blocks: int | None = None,
    device: torch.device | None = None,
    store: torch.device | Path | None = None,
    progress: bool = False,
) -> list[LayerReport]:
    """:func:`compress_resumable <optsci.compress.resume.compress_resumable>` by all processes of a group together.

    Every process calls it with the same arguments, the device apart; every process ends with the same compressed
    model and all reports.

    Args:
        model: dense, changed in place.
        tokens: (samples, length) calibration tokens.
        solver: ``problem -> weights``, or to whatever ``write`` takes.
        folder: the work folder, one that all processes see.
        settings: what says which solver this is, as in ``compress_resumable``.
        write: puts a result into its layer, as in ``compress_resumable``.
        correction: must be ``Correction.WITHIN_BLOCK``.
        blocks: only the first so many decoder blocks.
        device: where this process computes.
        store: where its hidden states are kept; see :func:`walk <optsci.compress.layerwise.walk>`.
        progress: show a progress bar for the blocks of this process (only on a terminal).

    Raises:
        ValueError: any other correction, or what ``compress_resumable`` refuses.
        RuntimeError: there is no process group.
    """
    check_independent(correction)
    if not distributed.is_initialized():
        raise RuntimeError("there is no process group: run under torchrun, inside `with process_group(device):`")
    shards, count = Shards(folder), blocks or len(decoder_blocks(model))
    missing = [index for index in range(count) if index not in shards]
    mine = missing[distributed.get_rank() :: distributed.get_world_size()]
    run = partial(walk, model, tokens, correction=correction, blocks=blocks, device=device, store=store)
    stages = run(finished={index: {} for index in range(count) if index not in mine})
    shards.claim(all_settings(model, tokens, settings, correction=correction, blocks=count))
    distributed.barrier()  # nobody writes before everybody has seen what is missing
    solve_blocks(
        progress_bar(stages, len(mine) * layers_per_block(model), shown=progress), solver, write, shards, model
    )
    distributed.barrier()
    for _ in run(finished=shards):
        raise AssertionError("all blocks are finished")
    reports = layer_reports(shards, count)
    distributed.barrier()  # nobody removes the folder before everybody has read it
    return reports
