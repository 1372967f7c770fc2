"""Runs that can be broken off: every finished decoder block is kept in a folder, and the next run goes on from there.

The folder holds ``manifest.json``, the settings of the run and their SHA-256, and one safetensors file for every
finished block: its weights as stored, under their names in the state dict, with the reports of its layers and the
SHA-256 of all tensors in the metadata; and what else the end of the run asks for, such as the codes of a quantized
layer, which then need not be in memory before.  Every file is written under another name, flushed to the disk and
renamed: it is whole or not there, and what has changed since is refused.

A run that goes on ends with the same bytes as one that was never interrupted, if both compute on the same kind of
processor with the same number of threads: finished blocks are written into the dense model as the walk comes by, and
the calibration tokens run through them once more, which is cheap beside solving.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .layer_problem import LayerProblem
from .layerwise import Correction, Stage, walk
from .models import decoder_blocks, layers_per_block
from .report import LayerReport, Write, compress_stage, progress_bar, write_json, write_weights

if TYPE_CHECKING:
    from .structured import UnitReport

MANIFEST = "manifest.json"
OTHER = "other:"  # what the names of tensors begin with that are no weights of the dense model
PACKAGES = ("optsci", "torch", "transformers")


class Shards(Mapping[int, Mapping[str, Tensor]]):
    """The finished blocks in a folder: index of a block -> its weights, read when asked for.

    Args:
        folder: made by :meth:`claim`.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def claim(self, settings: Mapping[str, Any]) -> None:
        """Begin a run in this folder, or go on with one of the same settings.

        Raises:
            ValueError: the folder holds a run of other settings (the message names the first one that differs), or
                something else.
        """
        settings = json.loads(json.dumps(settings))  # tuples become lists, as they come back from a file
        path = self.folder / MANIFEST
        if path.is_file():
            self._check(path, settings)
            return
        if self.folder.exists() and any(item.suffix != ".part" for item in self.folder.iterdir()):
            if path.is_file():  # of another process of this run, since we looked
                self._check(path, settings)
                return
            raise ValueError(f"{str(self.folder)!r} is no work folder: it holds other files, and no {MANIFEST}")
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(path, {"sha256": _fingerprint(settings), "settings": settings})

    def write(
        self,
        index: int,
        weights: Mapping[str, Tensor],
        reports: Iterable[LayerReport | UnitReport],
        others: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> None:
        """Keep a finished block: its weights, which the walk will write, and other tensors for the end of the run."""
        from safetensors.torch import save

        tensors = {**weights, **{OTHER + name: tensor for name, tensor in others.items()}}
        content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        metadata = {"reports": json.dumps([asdict(report) for report in reports]), "sha256": _content_hash(content)}
        part = self._path(index).with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as file:
            file.write(save(content, metadata))
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._path(index))

    def reports(self, index: int) -> list[dict[str, Any]]:
        """What happened to the layers of a finished block: the fields of their reports."""
        with self._open(index) as file:
            return list(json.loads(file.metadata()["reports"]))

    def others(self, index: int) -> dict[str, Tensor]:
        """The tensors of a finished block that are kept beside its weights."""
        tensors = self._read(index).items()
        return {name.removeprefix(OTHER): tensor for name, tensor in tensors if name.startswith(OTHER)}

    def remove(self) -> None:
        """Remove what was written here; the folder, too, or a link to it, unless something else lies in it."""
        for pattern in ("block-*", f"{MANIFEST}*"):
            for path in self.folder.glob(pattern):
                path.unlink()
        folder = self.folder.resolve()
        if not any(folder.iterdir()):
            folder.rmdir()
            if self.folder.is_symlink():
                self.folder.unlink()

    def __getitem__(self, index: int) -> Mapping[str, Tensor]:
        if not self._path(index).is_file():
            raise KeyError(index)
        return {name: tensor for name, tensor in self._read(index).items() if not name.startswith(OTHER)}

    def __contains__(self, index: object) -> bool:
        return isinstance(index, int) and self._path(index).is_file()

    def __iter__(self) -> Iterator[int]:
        matches = (re.fullmatch(r"block-(\d+)\.safetensors", path.name) for path in self.folder.glob("block-*"))
        return iter(sorted(int(match[1]) for match in matches if match))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _path(self, index: int) -> Path:
        return self.folder / f"block-{index:05d}.safetensors"

    def _open(self, index: int) -> Any:
        from safetensors import SafetensorError, safe_open

        try:
            return safe_open(self._path(index), framework="pt")
        except SafetensorError as error:
            raise ValueError(
                f"{str(self._path(index))!r} cannot be read ({error}); delete it, and the block is solved again"
            ) from error

    def _read(self, index: int) -> dict[str, Tensor]:
        """All tensors of a finished block, refused where they are not those that were written."""
        with self._open(index) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            written = (file.metadata() or {}).get("sha256")
        if written != _content_hash(tensors):
            raise ValueError(
                f"{str(self._path(index))!r} does not hold what was written there; delete it, and the block is solved "
                "again"
            )
        return tensors

    def _check(self, path: Path, settings: Mapping[str, Any]) -> None:
        try:
            earlier = json.loads(path.read_text(encoding="utf-8"))["settings"]
            different = [key for key in {**earlier, **settings} if earlier.get(key) != settings.get(key)]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{str(path)!r} is not the manifest of a run ({error})") from error
        if different:
            key = different[0]
            raise ValueError(
                f"{str(self.folder)!r} holds a run of other settings: {key} was {earlier.get(key)!r} there and is "
                f"{settings.get(key)!r} now; delete the folder to begin anew"
            )


def compress_resumable(
    model: nn.Module,
    tokens: Tensor,
    solver: Callable[[LayerProblem], Any],
    folder: str | Path,
    *,
    settings: Mapping[str, Any],
    write: Write = write_weights,
    correction: Correction = Correction.NONE,
    blocks: int | None = None,
    device: torch.device | None = None,
    store: torch.device | Path | None = None,
    progress: bool = False,
) -> list[LayerReport]:
    """:func:`compress_model <optsci.compress.report.compress_model>` that keeps every finished block in ``folder``.

    Called again after it was broken off, with a dense model and the same arguments, it goes on after the last block
    that was finished and ends with the same weights.

    Args:
        model: dense, changed in place.
        tokens: (samples, length) calibration tokens.
        solver: ``problem -> weights``, or to whatever ``write`` takes.
        folder: the work folder; kept afterwards.
        settings: whatever says which solver this is, with its options, as JSON; other settings are refused in a folder
            that was begun with these.  Weights and configuration of the model, tokens, correction, number of blocks
            and versions of the packages are added here.
        write: puts the result of the solver into its layer, and returns the tensors to keep beside the weights:
            :func:`write_packed <optsci.compress.packed_model.write_packed>` for a solver that returns
            :class:`Quantized <optsci.compress.codebook.Quantized>`.
        correction: see :class:`Correction <optsci.compress.layerwise.Correction>`.
        blocks: only the first so many decoder blocks.
        device: where to compute; see :func:`walk <optsci.compress.layerwise.walk>`.
        store: where the hidden states are kept; see :func:`walk <optsci.compress.layerwise.walk>`.
        progress: show a progress bar with the time left (only on a terminal).

    Returns:
        The reports of all layers, those of earlier runs included.

    Raises:
        ValueError: the folder holds a run of other settings, a damaged file, or something else.
    """
    shards, count = Shards(folder), blocks or len(decoder_blocks(model))
    stages = walk(model, tokens, correction=correction, blocks=blocks, finished=shards, device=device, store=store)
    shards.claim(all_settings(model, tokens, settings, correction=correction, blocks=count))
    todo = sum(index not in shards for index in range(count))
    solve_blocks(progress_bar(stages, todo * layers_per_block(model), shown=progress), solver, write, shards, model)
    return layer_reports(shards, count)


def solve_blocks(
    stages: Iterable[Stage], solver: Callable[[LayerProblem], Any], write: Write, shards: Shards, model: nn.Module
) -> None:
    """Solve all stages and keep every block when its last layer is written."""
    weights: dict[str, Tensor] = {}
    others: dict[str, Tensor] = {}
    reports: list[LayerReport] = []
    for stage in stages:
        report, kept = compress_stage(stage, solver, write)
        reports.append(report)
        weights[f"{stage.name}.weight"] = stage.layer.weight
        others.update(kept)
        if len(reports) == layers_per_block(model):
            shards.write(stage.block, weights, reports, others)
            weights, others, reports = {}, {}, []


def layer_reports(shards: Shards, count: int) -> list[LayerReport]:
    """The reports of the first ``count`` blocks, all of them finished."""
    layers = (layer for index in range(count) for layer in shards.reports(index))
    return [LayerReport(**{**layer, "shape": tuple(layer["shape"])}) for layer in layers]


def all_settings(
    model: nn.Module, tokens: Tensor, settings: Mapping[str, Any], *, correction: Correction, blocks: int
) -> dict[str, Any]:
    """``settings`` and everything else that the result depends on, large things by their SHA-256."""
    config: Any = model.config
    known = {key: value for key, value in config.to_dict().items() if key != "_name_or_path"}
    return {
        **settings,
        "correction": correction.value,
        "blocks": blocks,
        "dtype": str(model.dtype),
        "versions": {package: version(package) for package in PACKAGES},
        "configuration": _fingerprint(known),
        "tokens": _hash({"tokens": tokens}),
        "weights": _hash(model.state_dict()),
    }


def _fingerprint(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _content_hash(tensors: Mapping[str, Tensor]) -> str:
    """Of tensors in whatever order a file has them."""
    return _hash(dict(sorted(tensors.items())))


def _hash(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
