"""Compress a whole model with one solver, and say layer by layer what was done."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from .codebook import Quantized
from .layer_problem import LayerProblem
from .layerwise import Correction, Stage, walk
from .models import decoder_blocks, layers_per_block
from .quantized_linear import LookupLinear

if TYPE_CHECKING:
    from matplotlib.figure import Figure

S = TypeVar("S")
Write = Callable[[Stage, Any], Mapping[str, Tensor]]  # puts a result into its layer; returns what else to keep of it


@dataclass(frozen=True)
class LayerReport:
    """What happened to one layer."""

    name: str  # where it lives in the model
    block: int  # index of its decoder block
    shape: tuple[int, int]  # (outputs, inputs)
    zeros: int  # exact number of zero weights, after the cast to the storage dtype
    error: float  # ||V X* - W X|| / ||W X||, of the weights as stored
    seconds: float  # spent in the solver

    @property
    def sparsity(self) -> float:
        """Fraction of zeros."""
        return self.zeros / (self.shape[0] * self.shape[1])


def compress_model(
    model: nn.Module,
    tokens: Tensor,
    solver: Callable[[LayerProblem], Tensor],
    *,
    correction: Correction = Correction.NONE,
    blocks: int | None = None,
    device: torch.device | None = None,
    store: torch.device | Path | None = None,
    progress: bool = False,
) -> list[LayerReport]:
    """Run ``solver`` on every layer problem of :func:`walk` and write its weights: the five-line loop with a report.

    Args:
        model: changed in place.
        tokens: (samples, length) calibration tokens.
        solver: ``problem -> weights``, such as ``partial(fista_path_prune, sparsity=NM(2, 4))``.
        correction: see :class:`Correction`.
        blocks: only the first so many decoder blocks.
        device: where to compute; see :func:`walk`.
        store: where the hidden states are kept; see :func:`walk`.
        progress: show a progress bar with the time left (only on a terminal).
    """
    stages = walk(model, tokens, correction=correction, blocks=blocks, device=device, store=store)
    count = (blocks or len(decoder_blocks(model))) * layers_per_block(model)
    return [compress_stage(stage, solver)[0] for stage in progress_bar(stages, count, shown=progress)]


def write_weights(stage: Stage, weights: Tensor) -> dict[str, Tensor]:
    """Put weights (m, n) into the layer: there is nothing else to keep of them."""
    stage.write(weights)
    return {}


def compress_stage(
    stage: Stage, solver: Callable[[LayerProblem], Any], write: Write = write_weights
) -> tuple[LayerReport, Mapping[str, Tensor]]:
    """Solve one layer problem, write the result and report on the weights as stored; with what ``write`` returned."""
    begin = time.perf_counter()
    kept = write(stage, solver(stage.problem))
    stored = stage.layer.weight.detach()
    report = LayerReport(
        name=stage.name,
        block=stage.block,
        shape=(stored.shape[0], stored.shape[1]),
        zeros=int((stored == 0).sum()),
        error=float(stage.problem.relative_error(stored)),
        seconds=time.perf_counter() - begin,
    )
    return report, kept


def progress_bar(stages: Iterable[S], count: int, *, shown: bool, unit: str = "layer") -> Iterable[S]:
    """The stages, with a bar that knows the time left (only on a terminal)."""
    from tqdm import tqdm

    return tqdm(stages, total=count, desc="compress", unit=unit, leave=False, disable=None if shown else True)


def overall_sparsity(reports: Iterable[LayerReport]) -> float:
    """Fraction of zeros over all the layers reported."""
    reports = list(reports)
    return sum(r.zeros for r in reports) / sum(r.shape[0] * r.shape[1] for r in reports)


def mean_error(reports: Iterable[LayerReport]) -> float:
    """Mean of the relative layer errors."""
    errors = [r.error for r in reports]
    return sum(errors) / len(errors)


def write_json(path: Path, content: Any) -> None:
    """Write JSON through a temporary file, so that the path never holds half of it."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(content, indent=1, default=asdict, allow_nan=False) + "\n", encoding="utf-8")
    part.replace(path)


def plot_errors(reports: dict[str, list[LayerReport]]) -> Figure:
    """Relative error of every layer against its place in the model, one curve for every method.

    Args:
        reports: name of the method -> its layers.
    """
    return _plot_layers(reports, lambda report: report.error, ylabel="relative output error", yscale="log")


def plot_sparsity(reports: dict[str, list[LayerReport]]) -> Figure:
    """Fraction of zeros in every layer against its place in the model, one curve for every method.

    Args:
        reports: name of the method -> its layers.
    """
    return _plot_layers(reports, lambda report: report.sparsity, ylabel="fraction of zeros", ylim=(-0.02, 1.02))


def plot_codes(layers: Mapping[str, Quantized | LookupLinear]) -> Figure:
    """How often every code is used: a thin curve for each layer, and bars for all their weights together.

    Code k stands for the k-th smallest value of the table of its row.  Places of outliers have codes and count, too.

    Args:
        layers: name of the layer -> what a quantizer made of it, or the layer that looks it up.

    Raises:
        ValueError: no layers, or layers of different numbers of bits.
    """
    from matplotlib.figure import Figure

    widths = sorted({q.bits for q in layers.values()})
    if len(widths) != 1:
        raise ValueError(f"layers must have codes of one number of bits, got {', '.join(map(str, widths)) or 'none'}")
    found = [torch.bincount(q.codes.flatten(), minlength=2 ** widths[0]).cpu() for q in layers.values()]
    counts = torch.stack(found).numpy()
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    axes.bar(range(counts.shape[1]), counts.sum(0) / counts.sum(), color="tab:blue", alpha=0.5)
    axes.plot((counts / counts.sum(1, keepdims=True)).T, color="black", lw=0.4, alpha=0.5)
    axes.set(xlabel="code, in the order of the values", ylabel="fraction of the weights", ylim=(0, None))
    return figure


def _plot_layers(reports: dict[str, list[LayerReport]], value: Callable[[LayerReport], float], **axis: Any) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    for label, layers in reports.items():
        axes.plot([value(r) for r in layers], label=label, lw=1.2)
    axes.set(xlabel="linear layer, in the order of the computation", **axis)
    axes.legend(ncols=2, fontsize="small")
    return figure
