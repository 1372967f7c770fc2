"""Compression of language models, layer by layer.

``for stage in walk(model, tokens): stage.write(prune(stage.problem))`` is all of it; the rest are solvers and tools.
"""

if __name__ != "optsci.compress":
    raise ImportError(
        f"this folder is the package optsci.compress, but it was imported as {__name__}: write `import optsci.compress`"
    )

from optsci.functions import NM

from .baselines import magnitude, sparsegpt, wanda
from .codebook import Quantized
from .comparison import Row, compare, fista_with_refit, pruners, with_refit
from .constraints import Pattern, Unstructured, parse_sparsity
from .evaluate import calibration, encode, perplexity, sample_windows, windows
from .files import check_out, load_model, load_tokenizer, whole_folder
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
from .models import FAMILIES, Family, check_pattern, linear_layers
from .quantizers import ascending_energy, descending_energy, gptq, round_to_nearest, weighted_kmeans
from .refit import refit, refit_exact
from .report import LayerReport, compress_model, mean_error, overall_sparsity, plot_errors, write_json

__all__ = [
    "FAMILIES",
    "NM",
    "Correction",
    "Family",
    "GANQState",
    "GramAccumulator",
    "LambdaState",
    "LayerProblem",
    "LayerReport",
    "Pattern",
    "Quantized",
    "Row",
    "Stage",
    "Unstructured",
    "ascending_energy",
    "calibration",
    "check_out",
    "check_pattern",
    "compare",
    "compress_model",
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
    "parse_sparsity",
    "perplexity",
    "plot_errors",
    "pruners",
    "refit",
    "refit_exact",
    "round_to_nearest",
    "sample_windows",
    "sparsegpt",
    "walk",
    "wanda",
    "weighted_kmeans",
    "whole_folder",
    "windows",
    "with_refit",
    "write_json",
]
