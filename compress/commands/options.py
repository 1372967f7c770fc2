"""What the commands have in common: options by their types, and what is read before any work."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from ..layerwise import Correction

Model = Annotated[str, typer.Argument(metavar="MODEL", help="A local folder, a hub id, or a .gguf file.")]
Text = Annotated[Path, typer.Option("--text", help="Plain text, UTF-8.")]
Device = Annotated[str, typer.Option(help="Where to compute, e.g. cpu or cuda.")]
Length = Annotated[int, typer.Option(min=2, help="Tokens per window.")]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write; must not exist without --overwrite.")]
Samples = Annotated[int, typer.Option(min=1, help="Calibration windows.")]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of the choice of the windows.")]
Target = Annotated[Correction, typer.Option(help="What a layer's output is compared with.")]
Offload = Annotated[
    bool,
    typer.Option(
        "--offload", help="Leave the model in host memory, and bring one decoder block after another to the device."
    ),
]
Activations = Annotated[
    Path | None,
    typer.Option(help="A folder to keep the hidden states of all windows in, which otherwise stay in memory."),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with an interrupted run, whose finished blocks lie in OUT.partial.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")]


class DType(StrEnum):
    """Storage types of the weights; ``auto`` keeps that of the checkpoint."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@contextmanager
def sentences() -> Iterator[None]:
    """Bad input ends with its sentence, not with a traceback."""
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError) as error:
        typer.echo(f"optsci: {error}", err=True)
        sys.exit(2)


def read_text(path: Path) -> str:
    """The text, refused where there is none."""
    if not path.is_file():
        raise FileNotFoundError(f"--text {str(path)!r}: there is no such file")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"--text {str(path)!r} is not UTF-8: {error.reason} at byte {error.start}") from error
    if not text.strip():
        raise ValueError(f"--text {str(path)!r} is empty")
    return text


def load(load: Callable[..., Any], model: str, **options: Any) -> Any:
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


def checked_device(name: str) -> torch.device:
    """The device, refused where it cannot compute here: only trying tells."""
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"--device {name!r} cannot be used here: {reason}") from error
    return torch.device(name)


def storage(dtype: DType) -> torch.dtype | None:
    """The type as torch has it; None for that of the checkpoint."""
    return None if dtype is DType.AUTO else getattr(torch, dtype.value)
