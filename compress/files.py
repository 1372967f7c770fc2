"""Models in and out of files: safetensors only, no remote code, nothing half written."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from .models import check_architecture

REPORT = "compression.json"  # marks a folder as an output of `optsci compress`
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def load_tokenizer(name: str | Path) -> Any:
    """The tokenizer of a model: a local folder, a hub id, or a .gguf file."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(**_source(name))


def load_model(name: str | Path, *, dtype: torch.dtype | None = None) -> Any:
    """Load a causal language model, in evaluation mode; one with looked-up layers, too.

    Args:
        name: a local folder, a hub id, or a .gguf file (its weights are dequantised).
        dtype: of the weights; that of the checkpoint by default (float32 for a .gguf file).

    Raises:
        ValueError: an unsupported architecture, or a pickled checkpoint: loading it could run any code.
        FileNotFoundError: nothing there.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    from . import serving  # noqa: F401 - registers the format of looked-up layers

    source = _source(name)
    config = AutoConfig.from_pretrained(**source)
    check_architecture(config.model_type)
    if "gguf_file" not in source:
        return AutoModelForCausalLM.from_pretrained(**source, dtype=dtype or "auto", use_safetensors=True).eval()

    # transformers refuses to save a model that it dequantised itself: rebuild it without that mark.
    dtype = dtype or torch.float32
    loaded = AutoModelForCausalLM.from_pretrained(**source, dtype=dtype)
    settings = {k: v for k, v in loaded.config.to_dict().items() if k not in ("quantization_config", "_name_or_path")}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**settings), dtype=dtype)
    model.load_state_dict(loaded.state_dict())
    return model.eval()


@contextmanager
def whole_folder(out: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary folder to write into; it becomes ``out`` when the block ends, and vanishes if the block fails.

    Raises:
        FileExistsError: see :func:`check_out`.  Where ``out`` appeared while the block ran, what was written stays in
            the temporary folder, which the message names.
    """
    out = check_out(out, overwrite=overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        yield part
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    part.chmod(0o755)  # mkdtemp makes it private
    try:
        check_out(out, overwrite=overwrite)
        _swap(part, out)
    except OSError as error:
        raise FileExistsError(f"{error}; what was computed lies in {str(part)!r}") from error


def check_out(out: str | Path, *, overwrite: bool, keep: Iterable[str | Path] = ()) -> Path:
    """The output folder as an absolute path, refused where writing it would destroy something.

    Args:
        out: the folder to be.
        overwrite: an existing folder may be replaced, if it is an earlier output: if it holds ``compression.json``.
        keep: paths that must not lie inside ``out``.

    Raises:
        FileExistsError: ``out`` exists and may not be replaced.
    """
    out = Path(os.path.abspath(out))
    if os.path.lexists(out):
        if not overwrite:
            raise FileExistsError(f"OUT {str(out)!r} exists; give --overwrite (overwrite=True) to replace it")
        if out.is_symlink() or not (out / REPORT).is_file():
            raise FileExistsError(f"OUT {str(out)!r} holds no {REPORT}: it is no earlier output, and is not replaced")
    existing = next(parent for parent in out.parents if parent.exists())
    if not existing.is_dir():
        raise NotADirectoryError(f"OUT {str(out)!r} cannot be made: {str(existing)!r} is not a folder")
    for path in (Path.cwd(), *keep):
        if Path(os.path.abspath(path)).is_relative_to(out):
            raise FileExistsError(f"OUT {str(out)!r} is or holds {str(path)!r}, and is not replaced")
    return out


def bytes_on_disk(name: str | Path) -> int | None:
    """Size of the weights of a local model, a folder or a .gguf file; None where there is no such thing."""
    path = Path(name)
    files = [path] if path.suffix == ".gguf" and path.is_file() else [*path.glob("*.safetensors")]
    return sum(file.stat().st_size for file in files) if files else None


def _swap(part: Path, out: Path) -> None:
    """Put ``part`` in the place of ``out``; the old folder goes only when the new one stands."""
    if not out.exists():
        part.rename(out)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent)) / out.name
    out.rename(aside)
    try:
        part.rename(out)
    except BaseException:
        aside.rename(out)
        aside.parent.rmdir()
        raise
    shutil.rmtree(aside.parent, ignore_errors=True)


def _source(name: str | Path) -> dict[str, Any]:
    """The arguments that make ``from_pretrained`` read ``name``, after refusing what it must not read."""
    path = Path(name)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise FileNotFoundError(f"MODEL {str(name)!r}: there is no such file")
        return {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    if path.is_dir():
        pickled = [file.name for pattern in PICKLED for file in path.glob(pattern)]
        if pickled and not any(path.glob("*.safetensors")):
            raise ValueError(
                f"MODEL {str(name)!r} is a pickled checkpoint ({pickled[0]}), which can run any code when loaded; "
                "convert it to safetensors first"
            )
        if not (path / "config.json").is_file():
            raise FileNotFoundError(f"MODEL {str(name)!r} has no config.json: it is not a model folder")
    elif str(name).count("/") > 1 or str(name).startswith((".", "/", "~")):
        raise FileNotFoundError(
            f"MODEL {str(name)!r} is neither a folder, a .gguf file nor a hub id such as owner/name"
        )
    return {"pretrained_model_name_or_path": str(name), "trust_remote_code": False}
