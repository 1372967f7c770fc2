"""The command line: ``optsci compress``, ``optsci evaluate``, ``optsci demo``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from optsci import __version__
from optsci.compress import Correction

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

Model = Annotated[str, typer.Argument(metavar="MODEL", help="A local folder, a hub id, or a .gguf file.")]
Text = Annotated[Path, typer.Option("--text", help="Plain text, UTF-8.")]
Device = Annotated[str, typer.Option(help="Where to compute, e.g. cpu or cuda.")]
Length = Annotated[int, typer.Option(min=2, help="Tokens per window.")]


class Method(StrEnum):
    """Pruners by the names they have on the command line."""

    MAGNITUDE = "magnitude"
    WANDA = "wanda"
    SPARSEGPT = "sparsegpt"
    FISTA = "fista"
    FISTA_PAPER = "fista-paper"


class DType(StrEnum):
    """Storage types of the weights; ``auto`` keeps that of the checkpoint."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"optsci {__version__}")
        raise typer.Exit


@app.callback()
def optsci(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Compress language models by proximal optimisation."""


@app.command()
def compress(
    model: Model,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write; must not exist without --overwrite.")],
    text: Text,
    prune: Annotated[
        Method,
        typer.Option(
            help="fista: robust path of lambda. fista-paper: the published rule for lambda, as we read it, with an "
            "interval of our own; the rest of the published setting is --whole-matrix --no-refit "
            "--correction within-block."
        ),
    ] = Method.FISTA,
    sparsity: Annotated[str, typer.Option(help="Fraction of zeros (0.5), or N:M with N kept of M (2:4).")] = "0.5",
    whole_matrix: Annotated[
        bool,
        typer.Option(
            "--whole-matrix",
            help="Count the zeros of a fraction over the whole matrix, not by output row (sparsegpt has its own way).",
        ),
    ] = False,
    refit: Annotated[bool, typer.Option(help="Least squares on the support afterwards.")] = True,
    samples: Annotated[int, typer.Option(min=1, help="Calibration windows.")] = 128,
    length: Length = 2048,
    correction: Annotated[Correction, typer.Option(help="What a layer's output is compared with.")] = Correction.NONE,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of the choice of the windows.")] = 0,
    dtype: Annotated[DType, typer.Option(help="Type of the weights.")] = DType.AUTO,
    device: Device = "cpu",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")] = False,
) -> None:
    """Prune MODEL and write it to OUT as safetensors, with a report and a figure."""
    with _sentences():
        from optsci import compress as c

        pattern = c.parse_sparsity(sparsity, by_row=not whole_matrix)
        _check_device(device)
        c.check_out(out, overwrite=overwrite, keep=[path for path in (model, text) if Path(path).exists()])
        content = _read(text)
        tokenizer = _load(c.load_tokenizer, model)
        tokens = c.calibration(content, tokenizer, samples=samples, length=length, seed=seed)
        network = _load(c.load_model, model, dtype=_dtype(dtype)).to(device)
        c.check_pattern(network, pattern)
        methods: dict[Method, Callable[..., Any]] = {
            Method.MAGNITUDE: c.magnitude,
            Method.WANDA: c.wanda,
            Method.SPARSEGPT: c.sparsegpt,
            Method.FISTA: c.fista_path_prune,
            Method.FISTA_PAPER: c.fista_prune,
        }
        solver: Callable[[c.LayerProblem], Any] = partial(methods[prune], sparsity=pattern)
        if refit:
            solver = c.fista_with_refit(pattern) if prune is Method.FISTA else c.with_refit(solver)
        with c.whole_folder(out, overwrite=overwrite) as part:
            reports = c.compress_model(
                network,
                tokens,
                solver,
                correction=correction,
                progress=True,
            )
            network.save_pretrained(part)
            tokenizer.save_pretrained(part)
            settings = {
                "model": model, "prune": prune.value, "sparsity": sparsity, "whole_matrix": whole_matrix,
                "refit": refit, "samples": samples, "length": length, "correction": correction.value, "seed": seed,
                "dtype": str(network.dtype),
            }  # fmt: skip
            c.write_json(part / "compression.json", {"settings": settings, "layers": [asdict(r) for r in reports]})
            c.plot_errors({prune.value: reports}).savefig(part / "compression.png", dpi=120)
        typer.echo(
            f"{out}: {len(reports)} layers, {c.overall_sparsity(reports):.4%} zeros, mean relative layer error "
            f"{c.mean_error(reports):.4f}; see compression.json and compression.png there"
        )


@app.command()
def evaluate(
    model: Model,
    text: Text,
    length: Length = 2048,
    windows: Annotated[int | None, typer.Option(min=1, help="At most this many windows, from the start.")] = None,
    dtype: Annotated[DType, typer.Option(help="Type of the weights.")] = DType.AUTO,
    device: Device = "cpu",
) -> None:
    """Perplexity of MODEL on a text: consecutive windows, each scored on its own."""
    with _sentences():
        from optsci import compress as c

        _check_device(device)
        content = _read(text)
        tokens = c.windows(c.encode(content, _load(c.load_tokenizer, model)), length=length, limit=windows)
        network = _load(c.load_model, model, dtype=_dtype(dtype)).to(device)
        value = c.perplexity(network, tokens, progress=True)
        typer.echo(
            f"perplexity {value:.4f} on {tokens.numel()} tokens: {len(tokens)} windows of {length}, "
            f"{len(tokens) * (length - 1)} predictions, no special tokens, {network.dtype}"
        )


@app.command()
def demo(
    full: Annotated[bool, typer.Option("--full", help="Prune all blocks; continues an interrupted run.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the table and the figures.")] = Path("demo"),
) -> None:
    """Prune SmolLM2-135M to one half by four methods, each with and without refit, in about five minutes."""
    with _sentences():
        from optsci.compress.demo import run_demo

        run_demo(out, full=full, say=typer.echo)


@contextmanager
def _sentences() -> Iterator[None]:
    """Bad input ends with its sentence, not with a traceback."""
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError) as error:
        typer.echo(f"optsci: {error}", err=True)
        sys.exit(2)


def _read(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"--text {str(path)!r}: there is no such file")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"--text {str(path)!r} is not UTF-8: {error.reason} at byte {error.start}") from error
    if not text.strip():
        raise ValueError(f"--text {str(path)!r} is empty")
    return text


def _load(load: Callable[..., Any], model: str, **options: Any) -> Any:
    """Load MODEL; a mistyped path passes for a hub id, so say that it was looked for in both places."""
    from safetensors import SafetensorError

    try:
        return load(model, **options)
    except SafetensorError as error:
        raise ValueError(f"MODEL {model!r} cannot be read: {error}") from error
    except OSError as error:
        if Path(model).exists() or str(error).startswith("MODEL"):
            raise
        reason = str(error).partition("\n")[0]
        raise OSError(f"MODEL {model!r}: no local folder has this name, nor did the hub give it: {reason}") from error


def _check_device(name: str) -> None:
    """Refuse a device that cannot compute here: only trying tells."""
    import torch

    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"--device {name!r} cannot be used here: {reason}") from error


def _dtype(dtype: DType) -> Any:
    import torch

    return None if dtype is DType.AUTO else getattr(torch, dtype.value)
