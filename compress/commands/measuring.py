"""``optsci evaluate`` measures a model, ``optsci demo`` compares pruners on one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..evaluate import encode, perplexity, windows
from ..files import bytes_on_disk, load_model, load_tokenizer
from ..speed import bytes_in_memory, memory_in_use, peak_memory, speed
from .options import Device, DType, Length, Model, Text, checked_device, load, read_text, sentences, storage


def evaluate(
    model: Model,
    text: Text,
    length: Length = 2048,
    limit: Annotated[
        int | None, typer.Option("--windows", min=1, help="At most this many windows, from the start.")
    ] = None,
    dtype: Annotated[DType, typer.Option(help="Type of the weights.")] = DType.AUTO,
    device: Device = "cpu",
    against: Annotated[
        str | None, typer.Option(metavar="DENSE", help="A model to measure first, such as MODEL before compression.")
    ] = None,
) -> None:
    """Perplexity of MODEL on a text: consecutive windows, each scored on its own; its speed, and its size."""
    with sentences():
        place = checked_device(device)
        content = read_text(text)
        tokens = encode(content, load(load_tokenizer, model))
        if against is not None and not tokens.equal(encode(content, load(load_tokenizer, against))):
            raise ValueError(f"MODEL {model!r} and --against {against!r} cut the text into different tokens")
        batch = windows(tokens, length=length, limit=limit)
        for name in (model,) if against is None else (against, model):
            if against is not None:
                typer.echo(f"{name}:")
            before = memory_in_use(place)
            network = load(load_model, name, dtype=storage(dtype)).to(place)
            value = perplexity(network, batch, progress=True)
            typer.echo(
                f"perplexity {value:.4f} on {batch.numel()} tokens: {len(batch)} windows of {length}, "
                f"{len(batch) * (length - 1)} predictions, no special tokens, {network.dtype}"
            )
            typer.echo(_speed_and_size(name, network, batch[0], before))
            del network  # before the next one is loaded


def _speed_and_size(name: str, network: Any, window: Any, before: int | None) -> str:
    measured, peak = peak_memory(lambda: speed(network, window), network.device)
    size, holder = bytes_on_disk(name), "the process" if network.device.type == "cpu" else network.device
    on_disk = "" if size is None else f", {size / 1e6:.2f} MB on disk"
    lines = [
        (
            f"prefill {measured.prefill:.0f} tokens/s, then decode {1e3 * measured.decode:.2f} ms/token, one window of "
            f"{measured.prompt} tokens, {network.device}"
        ),
        f"weights {bytes_in_memory(network) / 1e6:.2f} MB in memory{on_disk}",
    ]
    if before is not None and peak is not None:
        lines.append(
            f"memory of {holder}: {before / 1e6:.0f} MB before loading, "
            f"at most {peak / 1e6:.0f} MB while reading and writing"
        )
    return "\n".join(lines)


def demo(
    full: Annotated[bool, typer.Option("--full", help="Prune all blocks; continues an interrupted run.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the table and the figures.")] = Path("demo"),
) -> None:
    """Prune SmolLM2-135M to one half by four methods, each with and without refit, in about five minutes."""
    with sentences():
        from ..demo import run_demo

        run_demo(out, full=full, say=typer.echo)
