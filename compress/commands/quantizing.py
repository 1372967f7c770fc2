"""``optsci quantize`` gives every row of a linear layer a table of few values."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Annotated

import typer

from ..codebook import Quantized
from ..ganq import check_outliers, ganq_quantize, ganq_star
from ..layer_problem import LayerProblem
from ..layerwise import Correction
from ..models import check_bits_fit
from ..packed_model import pack_layers, write_packed
from ..packing import GROUPS
from ..quantized_linear import LookupLinear
from ..quantizers import gptq, round_to_nearest, weighted_kmeans
from ..report import mean_error, plot_codes, plot_errors
from ..resume import Shards
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

OUTLIERS = 0.005  # share of the weights that ganq-star keeps as they are


class Quantizer(StrEnum):
    """Quantizers by the names they have on the command line."""

    ROUND = "round"
    KMEANS = "k-means"
    GPTQ = "gptq"
    GANQ = "ganq"
    GANQ_STAR = "ganq-star"


def quantize(
    model: Model,
    out: Out,
    text: Text,
    method: Annotated[Quantizer, typer.Option(help="The quantizer.")] = Quantizer.GANQ,
    bits: Annotated[int, typer.Option(min=1, max=8, help="Bits a weight, for 2^bits values in every row.")] = 4,
    outliers: Annotated[
        float | None,
        typer.Option(
            metavar="FRACTION",
            help=f"Share of the weights of a row that ganq-star keeps as they are, {OUTLIERS} by default.",
        ),
    ] = None,
    samples: Samples = 128,
    length: Length = 2048,
    correction: Target = Correction.NONE,
    seed: Seed = 0,
    dtype: Annotated[DType, typer.Option(help="Type of all that is not quantized, and of the tables.")] = DType.AUTO,
    device: Device = "cpu",
    pack: Annotated[
        bool, typer.Option(help="Write packed codes and tables; --no-pack writes the dense weights they stand for.")
    ] = True,
    offload: Offload = False,
    activations: Activations = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Quantize the linear layers of MODEL; transformers load OUT after `import optsci.compress.serving`.

    Under torchrun the decoder blocks are shared out among the processes, with --correction within-block.
    """
    with sentences():
        if pack and bits not in GROUPS:
            widths = ", ".join(map(str, GROUPS))
            raise ValueError(f"--bits {bits} cannot be packed: take one of {widths}, or --no-pack")
        share = _share(method, outliers)
        quantizer = _quantizer(method, bits, share)
        with begun(
            model, out, text, samples=samples, length=length, seed=seed, dtype=dtype, device=device, offload=offload,
            activations=activations, resume=resume, overwrite=overwrite,
        ) as run:  # fmt: skip
            check_bits_fit(run.network, bits)
            settings = run.settings | {
                "method": method.value, "bits": bits, "outliers": share, "pack": pack, "correction": correction.value,
            }  # fmt: skip
            if pack:
                reports = compress_blocks(run, quantizer, settings, correction, write_packed)
            else:
                reports = compress_blocks(run, lambda problem: quantizer(problem).weights, settings, correction)
            if run.rank == 0:
                figures = {"compression": plot_errors({method.value: reports})}
                if pack:
                    pack_layers(run.network, Shards(run.folder))
                    packed = {name: m for name, m in run.network.named_modules() if isinstance(m, LookupLinear)}
                    figures["codes"] = plot_codes(packed)
                write_output(run, out, settings, reports, overwrite=overwrite, figures=figures)
                typer.echo(
                    f"{out}: {len(reports)} layers of {bits} bits, mean relative layer error "
                    f"{mean_error(reports):.4f}; see compression.json and compression.png there"
                )


def _share(method: Quantizer, outliers: float | None) -> float | None:
    """The share of outliers of the one method that has them; None for the others."""
    if method is not Quantizer.GANQ_STAR:
        if outliers is not None:
            raise ValueError(f"--outliers {outliers} needs --method ganq-star: {method.value} keeps no weights apart")
        return None
    return OUTLIERS if outliers is None else check_outliers(outliers)


def _quantizer(method: Quantizer, bits: int, outliers: float | None) -> Callable[[LayerProblem], Quantized]:
    """The quantizer of a name on the command line."""
    if outliers is not None:
        return partial(ganq_star, bits=bits, outliers=outliers)
    methods: dict[Quantizer, Callable[..., Quantized]] = {
        Quantizer.ROUND: round_to_nearest,
        Quantizer.KMEANS: weighted_kmeans,
        Quantizer.GPTQ: gptq,
        Quantizer.GANQ: ganq_quantize,
    }
    return partial(methods[method], bits=bits)
