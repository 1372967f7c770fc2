"""``optsci compress`` puts zeros into linear layers, ``optsci prune-units`` takes neurons out of every MLP."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Annotated, Any

import typer
from torch import Tensor

from ..alps import admm_prune, alps_prune
from ..baselines import magnitude, sparsegpt, wanda
from ..comparison import fista_with_refit, with_refit
from ..constraints import Pattern, parse_sparsity
from ..fasp import fasp_select
from ..fista_pruner import fista_path_prune, fista_prune
from ..flap import flap_select
from ..layer_problem import LayerProblem
from ..layerwise import Correction
from ..models import check_pattern
from ..recovery import recover_mlp
from ..report import mean_error, overall_sparsity, plot_errors, plot_sparsity
from ..restoration import keep_columns
from ..spap import spap_select
from ..structured import prune_units_resumable
from .options import (
    Activations,
    Device,
    DType,
    Length,
    Model,
    Offload,
    Out,
    Overwrite,
    Resume,
    Samples,
    Seed,
    Target,
    Text,
    sentences,
)
from .run import begun, compress_blocks, write_output


class Method(StrEnum):
    """Pruners by the names they have on the command line."""

    MAGNITUDE = "magnitude"
    WANDA = "wanda"
    SPARSEGPT = "sparsegpt"
    ALPS = "alps"
    ADMM = "admm"
    FISTA = "fista"
    FISTA_PAPER = "fista-paper"


class UnitMethod(StrEnum):
    """Structured pruners by the names they have on the command line."""

    FLAP = "flap"
    FASP = "fasp"
    SPAP = "spap"


def compress(
    model: Model,
    out: Out,
    text: Text,
    prune: Annotated[
        Method,
        typer.Option(
            help="fista: robust path of lambda. fista-paper: the published rule for lambda, as we read it, with an "
            "interval of our own; the rest of the published setting is --whole-matrix --no-refit "
            "--correction within-block. admm: alps in a hurry."
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
    correction: Target = Correction.NONE,
    seed: Seed = 0,
    dtype: Annotated[DType, typer.Option(help="Type of the weights.")] = DType.AUTO,
    device: Device = "cpu",
    offload: Offload = False,
    activations: Activations = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Prune MODEL and write it to OUT as safetensors, with a report and figures.

    Under torchrun the decoder blocks are shared out among the processes, with --correction within-block.
    """
    with sentences():
        pattern = parse_sparsity(sparsity, by_row=not whole_matrix)
        solver = _solver(prune, pattern, refit=refit)
        with begun(
            model, out, text, samples=samples, length=length, seed=seed, dtype=dtype, device=device, offload=offload,
            activations=activations, resume=resume, overwrite=overwrite,
        ) as run:  # fmt: skip
            check_pattern(run.network, pattern)
            settings = run.settings | {
                "prune": prune.value, "sparsity": sparsity, "whole_matrix": whole_matrix, "refit": refit,
                "correction": correction.value,
            }  # fmt: skip
            reports = compress_blocks(run, solver, settings, correction)
            if run.rank == 0:
                figures = {
                    "compression": plot_errors({prune.value: reports}),
                    "sparsity": plot_sparsity({prune.value: reports}),
                }
                write_output(run, out, settings, reports, overwrite=overwrite, figures=figures)
                typer.echo(
                    f"{out}: {len(reports)} layers, {overall_sparsity(reports):.4%} zeros, mean relative layer error "
                    f"{mean_error(reports):.4f}; see compression.json, compression.png and sparsity.png there"
                )


def _solver(prune: Method, pattern: Pattern, *, refit: bool) -> Callable[[LayerProblem], Tensor]:
    """The pruner of a name on the command line, and least squares on its support afterwards if wanted."""
    methods: dict[Method, Callable[..., Tensor]] = {
        Method.MAGNITUDE: magnitude,
        Method.WANDA: wanda,
        Method.SPARSEGPT: sparsegpt,
        Method.ALPS: alps_prune,
        Method.ADMM: admm_prune,
        Method.FISTA: fista_path_prune,
        Method.FISTA_PAPER: fista_prune,
    }
    if refit and prune is Method.FISTA:
        return fista_with_refit(pattern)
    solver = partial(methods[prune], sparsity=pattern)
    return with_refit(solver) if refit else solver


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
    offload: Offload = False,
    activations: Activations = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Remove neurons from every MLP of MODEL: OUT is a smaller dense model, which stock transformers load."""
    with sentences():
        options: dict[UnitMethod, dict[str, Any]] = {
            UnitMethod.FLAP: {"select": flap_select, "restore": keep_columns},
            UnitMethod.FASP: {"select": fasp_select},
            UnitMethod.SPAP: {"select": spap_select, "recover": recover_mlp},
        }
        with begun(
            model, out, text, samples=samples, length=length, seed=seed, dtype=dtype, device=device, offload=offload,
            activations=activations, resume=resume, overwrite=overwrite,
        ) as run:  # fmt: skip
            if run.world > 1:
                raise ValueError("prune-units runs in one process: what is done to one block reaches the next")
            settings = run.settings | {"method": method.value, "sparsity": sparsity, "multiple": multiple}
            reports = prune_units_resumable(
                run.network,
                run.tokens,
                run.folder,
                settings=settings,
                sparsity=sparsity,
                multiple=multiple,
                device=run.device,
                store=run.store,
                progress=True,
                **options[method],
            )
            write_output(run, out, settings, reports, overwrite=overwrite)
            typer.echo(
                f"{out}: {len(reports)} MLPs, {reports[0].kept} of {reports[0].before} neurons in each, mean relative "
                f"error {sum(r.final_error for r in reports) / len(reports):.4f}; see compression.json there"
            )
