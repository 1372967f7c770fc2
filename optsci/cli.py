"""The command line: ``optsci compress``, ``prune-units``, ``quantize``, ``evaluate`` and ``demo``."""

from __future__ import annotations

import shutil
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
Out = Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write; must not exist without --overwrite.")]
Samples = Annotated[int, typer.Option(min=1, help="Calibration windows.")]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of the choice of the windows.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")]


class Method(StrEnum):
    """Pruners by the names they have on the command line."""

    MAGNITUDE = "magnitude"
    WANDA = "wanda"
    SPARSEGPT = "sparsegpt"
    ALPS = "alps"
    FISTA = "fista"
    FISTA_PAPER = "fista-paper"


class UnitMethod(StrEnum):
    """Structured pruners by the names they have on the command line."""

    FLAP = "flap"
    FASP = "fasp"
    SPAP = "spap"


class Quantizer(StrEnum):
    """Quantizers by the names they have on the command line."""

    ROUND = "round"
    KMEANS = "k-means"
    GPTQ = "gptq"
    GANQ = "ganq"
    GANQ_STAR = "ganq-star"


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
    out: Out,
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
    samples: Samples = 128,
    length: Length = 2048,
    correction: Annotated[Correction, typer.Option(help="What a layer's output is compared with.")] = Correction.NONE,
    seed: Seed = 0,
    dtype: Annotated[DType, typer.Option(help="Type of the weights.")] = DType.AUTO,
    device: Device = "cpu",
    offload: Annotated[
        bool,
        typer.Option(
            "--offload", help="Leave the model in host memory, and bring one decoder block after another to the device."
        ),
    ] = False,
    activations: Annotated[
        Path | None,
        typer.Option(help="A folder to keep the hidden states of all windows in, which otherwise stay in memory."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted run, whose finished blocks lie in OUT.partial.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Prune MODEL and write it to OUT as safetensors, with a report and a figure.

    Under torchrun the decoder blocks are shared out among the processes, with --correction within-block.
    """
    with _sentences():
        import torch

        from optsci import compress as c

        pattern = c.parse_sparsity(sparsity, by_row=not whole_matrix)
        place = c.own_device(_checked_device(device))
        _check_folder("--activations", activations)
        _check_out(out, model, text, overwrite)
        solver = _solver(prune, pattern, refit=refit)
        with c.process_group(place) as (rank, world):
            work = out.with_name(f"{out.name}.partial")
            if world > 1:
                c.check_independent(correction)
            if rank == 0 and not resume and work.exists():
                raise FileExistsError(
                    f"{str(work)!r} holds the finished blocks of an interrupted run: give --resume to go on with it, "
                    "or delete it"
                )
            home = torch.device("cpu") if offload else place
            network, tokenizer, tokens = _calibrated(model, text, samples, length, seed, dtype, home)
            c.check_pattern(network, pattern)
            settings = {
                "model": model, "prune": prune.value, "sparsity": sparsity, "whole_matrix": whole_matrix,
                "refit": refit, "samples": samples, "length": length, "correction": correction.value, "seed": seed,
                "dtype": str(network.dtype),
            }  # fmt: skip
            run = c.compress_distributed if world > 1 else c.compress_resumable
            reports = run(
                network,
                tokens,
                solver,
                work,
                settings=settings,
                correction=correction,
                device=place,
                store=activations or (network.device if offload else None),
                progress=rank == 0,
            )
            if rank > 0:
                return
            with c.whole_folder(out, overwrite=overwrite) as part:
                _write_model(part, network, tokenizer, settings, reports)
                c.plot_errors({prune.value: reports}).savefig(part / "compression.png", dpi=120)
            shutil.rmtree(work)
        typer.echo(
            f"{out}: {len(reports)} layers, {c.overall_sparsity(reports):.4%} zeros, mean relative layer error "
            f"{c.mean_error(reports):.4f}; see compression.json and compression.png there"
        )


def _solver(prune: Method, pattern: Any, *, refit: bool) -> Callable[[Any], Any]:
    """The pruner of a name on the command line, and least squares on its support afterwards if wanted."""
    from optsci import compress as c

    methods: dict[Method, Callable[..., Any]] = {
        Method.MAGNITUDE: c.magnitude,
        Method.WANDA: c.wanda,
        Method.SPARSEGPT: c.sparsegpt,
        Method.ALPS: c.alps_prune,
        Method.FISTA: c.fista_path_prune,
        Method.FISTA_PAPER: c.fista_prune,
    }
    if refit and prune is Method.FISTA:
        return c.fista_with_refit(pattern)
    solver = partial(methods[prune], sparsity=pattern)
    return c.with_refit(solver) if refit else solver


@app.command()
def prune_units(
    model: Model,
    out: Out,
    text: Text,
    method: Annotated[
        UnitMethod, typer.Option(help="How neurons are chosen, and how the rest makes up for them.")
    ] = UnitMethod.SPAP,
    sparsity: Annotated[
        float, typer.Option(help="Fraction of the weights of the decoder's linear layers to remove; all from the MLPs.")
    ] = 0.2,
    multiple: Annotated[int, typer.Option(min=1, help="The width that is left is rounded to a multiple of it.")] = 32,
    samples: Samples = 128,
    length: Length = 2048,
    seed: Seed = 0,
    dtype: Annotated[DType, typer.Option(help="Type of the weights.")] = DType.AUTO,
    device: Device = "cpu",
    overwrite: Overwrite = False,
) -> None:
    """Remove neurons from every MLP of MODEL: OUT is a smaller dense model, which stock transformers load."""
    with _sentences():
        from optsci import compress as c

        options: dict[UnitMethod, dict[str, Any]] = {
            UnitMethod.FLAP: {"select": c.flap_select, "restore": c.keep_columns},
            UnitMethod.FASP: {"select": c.fasp_select},
            UnitMethod.SPAP: {"select": c.spap_select, "recover": c.recover_mlp},
        }
        _check_out(out, model, text, overwrite)
        network, tokenizer, tokens = _calibrated(model, text, samples, length, seed, dtype, _checked_device(device))
        reports = c.prune_units(network, tokens, sparsity=sparsity, multiple=multiple, progress=True, **options[method])
        settings = {
            "model": model, "method": method.value, "sparsity": sparsity, "multiple": multiple, "samples": samples,
            "length": length, "seed": seed, "dtype": str(network.dtype),
        }  # fmt: skip
        with c.whole_folder(out, overwrite=overwrite) as part:
            _write_model(part, network, tokenizer, settings, reports)
        typer.echo(
            f"{out}: {len(reports)} MLPs, {reports[0].kept} of {reports[0].before} neurons in each, mean relative "
            f"error {sum(r.final_error for r in reports) / len(reports):.4f}; "
            "see compression.json there"
        )


@app.command()
def quantize(
    model: Model,
    out: Out,
    text: Text,
    method: Annotated[Quantizer, typer.Option(help="The quantizer.")] = Quantizer.GANQ,
    bits: Annotated[int, typer.Option(min=1, max=8, help="Bits a weight, for 2^bits values in every row.")] = 4,
    samples: Samples = 128,
    length: Length = 2048,
    correction: Annotated[Correction, typer.Option(help="What a layer's output is compared with.")] = Correction.NONE,
    seed: Seed = 0,
    dtype: Annotated[DType, typer.Option(help="Type of all that is not quantized, and of the tables.")] = DType.AUTO,
    device: Device = "cpu",
    pack: Annotated[
        bool, typer.Option(help="Write packed codes and tables; --no-pack writes the dense weights they stand for.")
    ] = True,
    overwrite: Overwrite = False,
) -> None:
    """Quantize the linear layers of MODEL; transformers load OUT after `import optsci.compress.serving`."""
    with _sentences():
        from optsci import compress as c

        methods: dict[Quantizer, Callable[..., c.Quantized]] = {
            Quantizer.ROUND: c.round_to_nearest,
            Quantizer.KMEANS: c.weighted_kmeans,
            Quantizer.GPTQ: c.gptq,
            Quantizer.GANQ: c.ganq_quantize,
            Quantizer.GANQ_STAR: c.ganq_star,
        }
        from optsci.compress.packing import GROUPS

        if pack and bits not in GROUPS:
            widths = ", ".join(map(str, GROUPS))
            raise ValueError(f"--bits {bits} cannot be packed: take one of {widths}, or --no-pack")
        _check_out(out, model, text, overwrite)
        network, tokenizer, tokens = _calibrated(model, text, samples, length, seed, dtype, _checked_device(device))
        found: dict[str, c.Quantized] = {}

        def solver(problem: c.LayerProblem) -> Any:
            found[problem.name] = methods[method](problem, bits=bits)
            return found[problem.name].weights

        reports = c.compress_model(network, tokens, solver, correction=correction, progress=True)
        for name, quantized in found.items() if pack else ():
            packed = c.LookupLinear.from_quantized(quantized, network.get_submodule(name).bias)
            c.replace_linear(network, name, packed.to(network.device, network.dtype))
        settings = {
            "model": model, "method": method.value, "bits": bits, "pack": pack, "samples": samples, "length": length,
            "correction": correction.value, "seed": seed, "dtype": str(network.dtype),
        }  # fmt: skip
        with c.whole_folder(out, overwrite=overwrite) as part:
            _write_model(part, network, tokenizer, settings, reports)
            c.plot_errors({method.value: reports}).savefig(part / "compression.png", dpi=120)
        typer.echo(
            f"{out}: {len(reports)} layers of {bits} bits, mean relative layer error {c.mean_error(reports):.4f}; "
            "see compression.json and compression.png there"
        )


def _check_out(out: Path, model: str, text: Path, overwrite: bool) -> None:
    from optsci import compress as c

    c.check_out(out, overwrite=overwrite, keep=[path for path in (model, text) if Path(path).exists()])


def _calibrated(
    model: str, text: Path, samples: int, length: int, seed: int, dtype: DType, device: Any
) -> tuple[Any, Any, Any]:
    """The model on its device, its tokenizer, and the calibration windows."""
    from optsci import compress as c

    content = _read(text)
    tokenizer = _load(c.load_tokenizer, model)
    tokens = c.calibration(content, tokenizer, samples=samples, length=length, seed=seed)
    return _load(c.load_model, model, dtype=_dtype(dtype)).to(device), tokenizer, tokens


def _write_model(folder: Path, network: Any, tokenizer: Any, settings: dict[str, Any], reports: list[Any]) -> None:
    from optsci import compress as c

    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    c.write_json(folder / "compression.json", {"settings": settings, "layers": [asdict(r) for r in reports]})


@app.command()
def evaluate(
    model: Model,
    text: Text,
    length: Length = 2048,
    windows: Annotated[int | None, typer.Option(min=1, help="At most this many windows, from the start.")] = None,
    dtype: Annotated[DType, typer.Option(help="Type of the weights.")] = DType.AUTO,
    device: Device = "cpu",
    against: Annotated[
        str | None, typer.Option(metavar="DENSE", help="A model to measure first, such as MODEL before compression.")
    ] = None,
) -> None:
    """Perplexity of MODEL on a text: consecutive windows, each scored on its own; its speed, and its size."""
    with _sentences():
        from optsci import compress as c

        place = _checked_device(device)
        content = _read(text)
        tokens = c.encode(content, _load(c.load_tokenizer, model))
        if against is not None and not tokens.equal(c.encode(content, _load(c.load_tokenizer, against))):
            raise ValueError(f"MODEL {model!r} and --against {against!r} cut the text into different tokens")
        batch = c.windows(tokens, length=length, limit=windows)
        for name in (model,) if against is None else (against, model):
            if against is not None:
                typer.echo(f"{name}:")
            before = c.memory_in_use(place)
            network = _load(c.load_model, name, dtype=_dtype(dtype)).to(place)
            value = c.perplexity(network, batch, progress=True)
            typer.echo(
                f"perplexity {value:.4f} on {batch.numel()} tokens: {len(batch)} windows of {length}, "
                f"{len(batch) * (length - 1)} predictions, no special tokens, {network.dtype}"
            )
            typer.echo(_speed_and_size(name, network, batch[0], before))
            del network  # before the next one is loaded


def _speed_and_size(name: str, network: Any, window: Any, before: int | None) -> str:
    from optsci import compress as c

    speed, peak = c.peak_memory(lambda: c.speed(network, window), network.device)
    size, holder = c.bytes_on_disk(name), "the process" if network.device.type == "cpu" else network.device
    on_disk = "" if size is None else f", {size / 1e6:.2f} MB on disk"
    lines = [
        (
            f"prefill {speed.prefill:.0f} tokens/s, then decode {1e3 * speed.decode:.2f} ms/token, one window of "
            f"{speed.prompt} tokens, {network.device}"
        ),
        f"weights {c.bytes_in_memory(network) / 1e6:.2f} MB in memory{on_disk}",
    ]
    if before is not None and peak is not None:
        lines.append(
            f"memory of {holder}: {before / 1e6:.0f} MB before loading, "
            f"at most {peak / 1e6:.0f} MB while reading and writing"
        )
    return "\n".join(lines)


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


def _checked_device(name: str) -> Any:
    """The torch.device, refused where it cannot compute here: only trying tells."""
    import torch

    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"--device {name!r} cannot be used here: {reason}") from error
    return torch.device(name)


def _check_folder(option: str, path: Path | None) -> None:
    if path is not None and not path.is_dir():
        raise FileNotFoundError(f"{option} {str(path)!r}: there is no such folder")


def _dtype(dtype: DType) -> Any:
    import torch

    return None if dtype is DType.AUTO else getattr(torch, dtype.value)
