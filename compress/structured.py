r"""Structured pruning: neurons really removed from every MLP of a model, to one width that stock transformers load.

``for stage in walk_units(model, tokens): stage.remove(kept, restore(stage.problem, kept))`` is all of it.  A selector
is a pure function ``problem, count -> kept``, a restoration ``problem, kept -> weights``, and a recovery works on the
network and the data themselves, ``mlp, inputs, outputs -> mlp``:

========  ==============================  ============================  ==================================
method    select                          restore                       recover
========  ==============================  ============================  ==================================
FLAP      :func:`~.flap.flap_select`      ``keep_columns``              None; ``recover_bias`` for OPT
FASP      :func:`~.fasp.fasp_select`      ``restore_columns``           None
SPAP      :func:`~.spap.spap_select`      ``restore_columns``           :func:`~.recovery.recover_mlp`
========  ==============================  ============================  ==================================
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layer_problem import LayerProblem
from .layerwise import NOTHING, Correction, Finished, Visit, visit_blocks
from .models import Units, decoder_blocks, family, linear
from .recovery import MLP, mlp_of, relative_output_error, write_mlp
from .report import progress_bar
from .restoration import restore_columns, widened
from .resume import Shards, all_settings
from .units import check_kept, mlp_width, remove_units, uniform_width

Selector = Callable[[LayerProblem, int], Tensor]
Restoration = Callable[[LayerProblem, Tensor], Tensor]
Recovery = Callable[[MLP, list[Tensor], list[Tensor]], MLP]


@dataclass(frozen=True)
class UnitReport:
    """What happened to the MLP of one block."""

    name: str  # where its decision layer lives in the model
    block: int  # index of its decoder block
    before: int  # neurons it had
    kept: int  # neurons it has
    error: float  # ||V X* - W X|| / ||W X|| after the restoration, of the weights as stored
    recovered: float | None  # ||mlp(X) - Y|| / ||Y|| after the recovery, Y with its bias; None without a recovery
    seconds: float  # spent in selection, restoration and recovery

    @property
    def final_error(self) -> float:
        """After the recovery, or after the restoration where there was none."""
        return self.error if self.recovered is None else self.recovered


@dataclass(frozen=True, eq=False)
class UnitStage:
    """The MLP of one block on its way through the walk: choose units, then ``remove`` the others."""

    name: str  # where the decision layer lives, e.g. model.layers.3.mlp.down_proj
    problem: LayerProblem  # the least-squares problem of the decision layer, with the dense weights
    units: Units  # the layers that meet in the units
    visit: Visit  # the block, and what enters it

    def mlp(self) -> MLP:
        """The network as it is now."""
        return mlp_of(self.visit.block, self.units, self.name)

    @torch.no_grad()
    def samples(self) -> tuple[list[Tensor], list[Tensor]]:
        """What enters the MLP now, and what the dense one puts out, window by window: call it before ``remove``."""
        reader = linear(self.visit.block, self.units.reader)
        if reader.weight.shape != self.problem.weight.shape:
            raise ValueError(f"{self.name} is not dense any more: samples must be asked for before remove")
        inputs = [seen for seen, _ in self.visit.inputs(self.units.rows[0])]
        outputs = []
        for seen, dense in self.visit.inputs(self.units.reader):
            units = seen if dense is None else dense
            bias = None if reader.bias is None else reader.bias.to(self.problem.weight)
            outputs.append(F.linear(units.to(self.problem.weight), self.problem.weight, bias))
        return inputs, outputs

    def parameters(self) -> dict[str, Tensor]:
        """Weights and biases of the MLP as they are now, by their names in the state dict."""
        return {
            f"{self.visit.path}.{name}.{kind}": parameter
            for name in (*self.units.rows, self.units.reader)
            for kind, parameter in linear(self.visit.block, name).named_parameters()
        }

    def remove(self, kept: Tensor, weights: Tensor | None = None) -> None:
        """Remove all units but ``kept`` (k,); the decision layer gets ``weights`` (m, k), or keeps its own columns."""
        remove_units(self.visit.block, self.units, kept, weights)

    def write(self, mlp: MLP) -> None:
        """Put a recovered network into the block."""
        write_mlp(self.visit.block, self.units, mlp)


def walk_units(
    model: nn.Module,
    tokens: Tensor,
    *,
    correction: Correction = Correction.NONE,
    finished: Finished = NOTHING,
    device: torch.device | None = None,
    store: torch.device | Path | None = None,
) -> Iterator[UnitStage]:
    """Yield the MLP of every block, in order; what is done to one reaches the statistics of the next.

    Only the attention and the MLP of one block run for a stage.  The configuration is not touched: see
    :func:`prune_units`.  Arguments and errors are those of :func:`walk`.
    """
    visits = visit_blocks(model, tokens, correction=correction, finished=finished, device=device, store=store)
    return _unit_stages(visits, family(model).mlp)


def _unit_stages(visits: Generator[Visit, None, None], units: Units) -> Iterator[UnitStage]:
    with closing(visits):
        for visit in visits:
            name = f"{visit.path}.{units.reader}"
            problem = visit.statistics(units.reader).problem(linear(visit.block, units.reader).weight, name)
            yield UnitStage(name, problem, units, visit)


def prune_units(
    model: nn.Module,
    tokens: Tensor,
    *,
    sparsity: float,
    select: Selector,
    restore: Restoration = restore_columns,
    recover: Recovery | None = None,
    correction: Correction = Correction.NONE,
    multiple: int = 32,
    device: torch.device | None = None,
    store: torch.device | Path | None = None,
    progress: bool = False,
) -> list[UnitReport]:
    """Remove neurons from every MLP until the decoder's linear layers have lost about ``sparsity`` of their weights.

    All blocks end up with the width that :func:`uniform_width` gives, and the configuration says so:
    ``model.save_pretrained(…)`` writes a checkpoint that stock transformers load.

    Args:
        model: changed in place.  If an error is raised on the way, blocks before it are narrower already: load it anew.
        tokens: (samples, length) calibration tokens.
        sparsity: fraction of the weights of all linear layers in the decoder blocks; embeddings and head do not count.
            Only MLPs are pruned, and harder: :func:`redistributed` says how much.
        select: problem, count -> (count,) ascending indices of the units to keep.
        restore: problem, kept -> (m, count) weights of the decision layer.
        recover: mlp, inputs, outputs -> mlp of the same shape, after the removal; None for no recovery.
        correction: see :class:`Correction`.
        multiple: the width is rounded to a multiple of it.
        device: where to compute; see :func:`walk`.
        store: where the hidden states are kept; see :func:`walk`.
        progress: show a progress bar with the time left (only on a terminal).

    Raises:
        ValueError: MLPs of different widths; a sparsity that the MLPs cannot bear; the errors of :func:`walk`.
        NotPositiveDefiniteError: the Gram matrix of the named layer stays singular.
    """
    solve = _unit_solver(model, sparsity, multiple, select, restore, recover)
    stages = walk_units(model, tokens, correction=correction, device=device, store=store)
    count = len(decoder_blocks(model))
    reports = [solve(stage) for stage in progress_bar(stages, count, shown=progress, unit="block")]
    _write_width(model)
    return reports


def prune_units_resumable(
    model: nn.Module,
    tokens: Tensor,
    folder: str | Path,
    *,
    settings: Mapping[str, Any],
    sparsity: float,
    select: Selector,
    restore: Restoration = restore_columns,
    recover: Recovery | None = None,
    correction: Correction = Correction.NONE,
    multiple: int = 32,
    device: torch.device | None = None,
    store: torch.device | Path | None = None,
    progress: bool = False,
) -> list[UnitReport]:
    """:func:`prune_units` that keeps every finished block in ``folder``.

    Called again after it was broken off, with a dense model and the same arguments, it goes on after the last block
    that was finished and ends with the same weights; see :mod:`optsci.compress.resume`.

    Args:
        model: dense, changed in place.
        tokens: (samples, length) calibration tokens.
        folder: the work folder; kept afterwards.
        settings: whatever says which ``select``, ``restore`` and ``recover`` these are, as JSON; other settings are
            refused in a folder that was begun with these, and so are another sparsity, multiple, model, and so on.
        sparsity: see :func:`prune_units`, like all that follows.
        select: problem, count -> (count,) ascending indices of the units to keep.
        restore: problem, kept -> (m, count) weights of the decision layer.
        recover: mlp, inputs, outputs -> mlp of the same shape, or None.
        correction: see :class:`Correction`.
        multiple: the width is rounded to a multiple of it.
        device: where to compute.
        store: where the hidden states are kept.
        progress: show a progress bar.

    Returns:
        The reports of all blocks, those of earlier runs included.

    Raises:
        ValueError: the folder holds a run of other settings, a damaged file, or something else; the errors of
            :func:`prune_units`.
    """
    shards, count = Shards(folder), len(decoder_blocks(model))
    solve = _unit_solver(model, sparsity, multiple, select, restore, recover)
    stages = walk_units(model, tokens, correction=correction, finished=shards, device=device, store=store)
    own = {**settings, "sparsity": sparsity, "multiple": multiple}
    shards.claim(all_settings(model, tokens, own, correction=correction, blocks=count))
    todo = sum(index not in shards for index in range(count))
    for stage in progress_bar(stages, todo, shown=progress, unit="block"):
        report = solve(stage)
        shards.write(report.block, stage.parameters(), [report])
    _write_width(model)
    return [UnitReport(**report) for index in range(count) for report in shards.reports(index)]


def _unit_solver(
    model: nn.Module,
    sparsity: float,
    multiple: int,
    select: Selector,
    restore: Restoration,
    recover: Recovery | None,
) -> Callable[[UnitStage], UnitReport]:
    """What is done to every block; the widths are those of the model as it is now."""
    width, count = mlp_width(model), uniform_width(model, sparsity, multiple=multiple)

    def solve(stage: UnitStage) -> UnitReport:
        begin = time.perf_counter()
        kept = check_kept(select(stage.problem, count), width)
        if len(kept) != count:
            raise ValueError(f"select must keep {count} units of {stage.name}, got {len(kept)}")
        weights, recovered = restore(stage.problem, kept), None
        samples = None if recover is None else stage.samples()
        stage.remove(kept, weights)
        stored = linear(stage.visit.block, stage.units.reader).weight.detach().to(stage.problem.weight)
        if recover is not None and samples is not None:
            stage.write(recover(stage.mlp(), *samples))
            recovered = relative_output_error(stage.mlp(), *samples)
        return UnitReport(
            name=stage.name,
            block=stage.visit.index,
            before=width,
            kept=count,
            error=float(stage.problem.relative_error(widened(stored, kept, width))),
            recovered=recovered,
            seconds=time.perf_counter() - begin,
        )

    return solve


def _write_width(model: nn.Module) -> None:
    """Make the configuration say the width that the blocks have."""
    setattr(model.config, family(model).mlp.width, mlp_width(model))
