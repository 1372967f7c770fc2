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
from .layer_problem import GramAccumulator, LayerProblem
from .layerwise import Correction, Stage, walk
from .models import FAMILIES, Family, check_pattern, linear_layers, replace_linear
from .quantized_linear import LookupLinear
from .refit import refit, refit_exact
from .report import LayerReport, compress_model, mean_error, overall_sparsity, plot_errors, write_json

__all__ = [
    "FAMILIES",
    "NM",
    "Correction",
    "Family",
    "GramAccumulator",
    "LambdaState",
    "LayerProblem",
    "LayerReport",
    "LookupLinear",
    "Pattern",
    "Quantized",
    "Row",
    "Stage",
    "Unstructured",
    "calibration",
    "check_out",
    "check_pattern",
    "compare",
    "compress_model",
    "encode",
    "fista_path_prune",
    "fista_prune",
    "fista_with_refit",
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
    "replace_linear",
    "sample_windows",
    "sparsegpt",
    "walk",
    "wanda",
    "whole_folder",
    "windows",
    "with_refit",
    "write_json",
]
