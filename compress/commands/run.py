"""A run of ``optsci compress``, ``prune-units`` or ``quantize``: what comes before the blocks, and what after them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ..distributed import compress_distributed, own_device, process_group
from ..evaluate import calibration
from ..files import check_out, load_model, load_tokenizer, whole_folder
from ..layer_problem import LayerProblem
from ..layerwise import Correction
from ..report import LayerReport, Write, write_json, write_weights
from ..resume import Shards, compress_resumable
from .options import DType, checked_device, load, read_text, storage

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Run(NamedTuple):
    """What a command works with."""

    network: Any  # dense, where it stays between the turns of its blocks
    tokenizer: Any
    tokens: Tensor  # (samples, length) calibration windows
    folder: Path  # of the finished blocks
    device: torch.device  # where this process computes
    store: torch.device | Path | None  # where its hidden states are kept
    rank: int  # of this process
    world: int  # how many share the blocks
    settings: dict[str, Any]  # as far as all commands have them


@contextmanager
def begun(
    model: str,
    out: Path,
    text: Path,
    *,
    samples: int,
    length: int,
    seed: int,
    dtype: DType,
    device: str,
    offload: bool,
    activations: Path | None,
    resume: bool,
    overwrite: bool,
) -> Iterator[Run]:
    """Refuse what cannot end well, and load the model and the calibration windows; under torchrun, in every process."""
    place = own_device(checked_device(device))
    if activations is not None and not activations.is_dir():
        raise FileNotFoundError(f"--activations {str(activations)!r}: there is no such folder")
    check_out(out, overwrite=overwrite, keep=[path for path in (model, text) if Path(path).exists()])
    folder = out.with_name(f"{out.name}.partial")
    with process_group(place) as (rank, world):
        if rank == 0 and not resume and folder.exists():
            raise FileExistsError(
                f"{str(folder)!r} holds the finished blocks of an interrupted run: give --resume to go on with it, "
                "or delete it"
            )
        content = read_text(text)
        tokenizer = load(load_tokenizer, model)
        tokens = calibration(content, tokenizer, samples=samples, length=length, seed=seed)
        home = torch.device("cpu") if offload else place
        network = load(load_model, model, dtype=storage(dtype)).to(home)
        store = activations or (home if offload else None)
        settings = {"model": model, "samples": samples, "length": length, "seed": seed, "dtype": str(network.dtype)}
        yield Run(network, tokenizer, tokens, folder, place, store, rank, world, settings)


def compress_blocks(
    run: Run,
    solver: Callable[[LayerProblem], Any],
    settings: Mapping[str, Any],
    correction: Correction,
    write: Write = write_weights,
) -> list[LayerReport]:
    """Solve all layers, in this process or in those of torchrun together."""
    compress = compress_distributed if run.world > 1 else compress_resumable
    return compress(
        run.network,
        run.tokens,
        solver,
        run.folder,
        settings=settings,
        write=write,
        correction=correction,
        device=run.device,
        store=run.store,
        progress=run.rank == 0,
    )


def write_output(
    run: Run,
    out: Path,
    settings: Mapping[str, Any],
    reports: list[Any],
    *,
    overwrite: bool,
    figures: Mapping[str, Figure] | None = None,
) -> None:
    """Write model, report and figures (name -> figure) to OUT; then the finished blocks are not needed any more."""
    with whole_folder(out, overwrite=overwrite) as part:
        run.network.save_pretrained(part)
        run.tokenizer.save_pretrained(part)
        content = {"settings": settings, "layers": [asdict(report) for report in reports]}
        write_json(part / "compression.json", content)
        for name, figure in (figures or {}).items():
            figure.savefig(part / f"{name}.png", dpi=120)
    Shards(run.folder).remove()
