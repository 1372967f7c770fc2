"""``optsci evaluate`` measures a model, ``optsci demo`` compares pruners on one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..evaluate import encode, perplexity, windows
from ..files import bytes_on_disk, load_model, load_tokenizer
from ..speed import bytes_in_memory, speed
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
            network = load(load_model, name, dtype=storage(dtype)).to(place)
            value = perplexity(network, batch, progress=True)
            typer.echo(
                f"perplexity {value:.4f} on {batch.numel()} tokens: {len(batch)} windows of {length}, "
                f"{len(batch) * (length - 1)} predictions, no special tokens, {network.dtype}"
            )
            typer.echo(_speed_and_size(name, network, batch[0]))
            del network  # before the next one is loaded


def _speed_and_size(name: str, network: Any, window: Any) -> str:
    measured, size = speed(network, window), bytes_on_disk(name)
    return (
        f"prefill {measured.prefill:.0f} tokens/s, then decode {1e3 * measured.decode:.2f} ms/token, one window of "
        f"{measured.prompt} tokens, {network.device}\n"
        f"weights {bytes_in_memory(network) / 1e6:.2f} MB in memory"
        + ("" if size is None else f", {size / 1e6:.2f} MB on disk")
    )


def demo(
    full: Annotated[bool, typer.Option("--full", help="Prune all blocks; continues an interrupted run.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the table and the figures.")] = Path("demo"),
) -> None:
    """Prune SmolLM2-135M to one half by four methods, each with and without refit, in about five minutes."""
    with sentences():
        from ..demo import run_demo

        run_demo(out, full=full, say=typer.echo)
