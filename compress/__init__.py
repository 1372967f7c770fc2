"""Compression of language models, layer by layer.

``for stage in walk(model, tokens): stage.write(prune(stage.problem))`` is all of it; the rest are solvers and tools.
"""

if __name__ != "optsci.compress":
    raise ImportError(
        f"this folder is the package optsci.compress, but it was imported as {__name__}: write `import optsci.compress`"
    )

from optsci.functions import NM

from .alps import (
    AUTHORS_SCHEDULE,
    SLOW_SCHEDULE,
    ALPSState,
    SupportSchedule,
    admm_prune,
    alps_prune,
    alps_steps,
)
from .baselines import magnitude, sparsegpt, wanda
from .codebook import Quantized
from .comparison import Row, compare, fista_with_refit, pruners, with_refit
from .constraints import Pattern, Unstructured, parse_sparsity
from .distributed import check_independent, compress_distributed, own_device, process_group
from .evaluate import calibration, encode, perplexity, sample_windows, windows
from .files import bytes_on_disk, check_out, load_model, load_tokenizer, whole_folder
from .fista_pruner import LambdaState, fista_path_prune, fista_prune, lambda_bisection, lambda_path
from .ganq import (
    GANQState,
    descend_codes,
    diagonal_dominance,
    ganq_quantize,
    ganq_star,
)
from .layer_problem import GramAccumulator, LayerProblem
from .layerwise import Correction, Stage, walk
from .models import FAMILIES, Family, check_pattern, linear_layers, replace_linear
from .quantized_linear import LookupLinear
from .quantizers import ascending_energy, descending_energy, gptq, round_to_nearest, weighted_kmeans
from .refit import refit, refit_exact
from .report import LayerReport, compress_model, mean_error, overall_sparsity, plot_errors, write_json
from .resume import Shards, compress_resumable
from .speed import Speed, bytes_in_memory, speed

__all__ = [
    "AUTHORS_SCHEDULE",
    "FAMILIES",
    "NM",
    "SLOW_SCHEDULE",
    "ALPSState",
    "Correction",
    "Family",
    "GANQState",
    "GramAccumulator",
    "LambdaState",
    "LayerProblem",
    "LayerReport",
    "LookupLinear",
    "Pattern",
    "Quantized",
    "Row",
    "Shards",
    "Speed",
    "Stage",
    "SupportSchedule",
    "Unstructured",
    "admm_prune",
    "alps_prune",
    "alps_steps",
    "ascending_energy",
    "bytes_in_memory",
    "bytes_on_disk",
    "calibration",
    "check_independent",
    "check_out",
    "check_pattern",
    "compare",
    "compress_distributed",
    "compress_model",
    "compress_resumable",
    "descend_codes",
    "descending_energy",
    "diagonal_dominance",
    "encode",
    "fista_path_prune",
    "fista_prune",
    "fista_with_refit",
    "ganq_quantize",
    "ganq_star",
    "gptq",
    "lambda_bisection",
    "lambda_path",
    "linear_layers",
    "load_model",
    "load_tokenizer",
    "magnitude",
    "mean_error",
    "overall_sparsity",
    "own_device",
    "parse_sparsity",
    "perplexity",
    "plot_errors",
    "process_group",
    "pruners",
    "refit",
    "refit_exact",
    "replace_linear",
    "round_to_nearest",
    "sample_windows",
    "sparsegpt",
    "speed",
    "walk",
    "wanda",
    "weighted_kmeans",
    "whole_folder",
    "windows",
    "with_refit",
    "write_json",
]
