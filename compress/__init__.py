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
from .fasp import fasp_scores, fasp_select
from .files import bytes_on_disk, check_out, load_model, load_tokenizer, whole_folder
from .fista_pruner import LambdaState, fista_path_prune, fista_prune, lambda_bisection, lambda_path
from .flap import centred, flap_scores, flap_select, mean_shift
from .ganq import (
    GANQState,
    descend_codes,
    diagonal_dominance,
    ganq_quantize,
    ganq_star,
)
from .layer_problem import GramAccumulator, LayerProblem
from .layerwise import Correction, Stage, walk
from .ls_units import greedy_select
from .models import FAMILIES, Family, Units, check_pattern, linear_layers, replace_linear
from .packed_model import pack_layers, write_packed
from .quantized_linear import LookupLinear
from .quantizers import ascending_energy, descending_energy, gptq, round_to_nearest, weighted_kmeans
from .recovery import MLP, SweepState, mlp_of, recover_bias, recover_mlp, recovery_sweeps, relative_output_error
from .refit import refit, refit_exact
from .report import (
    LayerReport,
    compress_model,
    mean_error,
    overall_sparsity,
    plot_codes,
    plot_errors,
    plot_sparsity,
    write_json,
)
from .restoration import keep_columns, restore_columns
from .resume import Shards, compress_resumable
from .spap import PenaltyState, spap_penalty, spap_select
from .speed import Speed, bytes_in_memory, memory_in_use, peak_memory, speed
from .structured import UnitReport, UnitStage, prune_units, prune_units_resumable, walk_units
from .units import keep_largest, redistributed, remove_units, uniform_width, value_columns, zero_units

__all__ = [
    "AUTHORS_SCHEDULE",
    "FAMILIES",
    "MLP",
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
    "PenaltyState",
    "Quantized",
    "Row",
    "Shards",
    "Speed",
    "Stage",
    "SupportSchedule",
    "SweepState",
    "UnitReport",
    "UnitStage",
    "Units",
    "Unstructured",
    "admm_prune",
    "alps_prune",
    "alps_steps",
    "ascending_energy",
    "bytes_in_memory",
    "bytes_on_disk",
    "calibration",
    "centred",
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
    "fasp_scores",
    "fasp_select",
    "fista_path_prune",
    "fista_prune",
    "fista_with_refit",
    "flap_scores",
    "flap_select",
    "ganq_quantize",
    "ganq_star",
    "gptq",
    "greedy_select",
    "keep_columns",
    "keep_largest",
    "lambda_bisection",
    "lambda_path",
    "linear_layers",
    "load_model",
    "load_tokenizer",
    "magnitude",
    "mean_error",
    "mean_shift",
    "memory_in_use",
    "mlp_of",
    "overall_sparsity",
    "own_device",
    "pack_layers",
    "parse_sparsity",
    "peak_memory",
    "perplexity",
    "plot_codes",
    "plot_errors",
    "plot_sparsity",
    "process_group",
    "prune_units",
    "prune_units_resumable",
    "pruners",
    "recover_bias",
    "recover_mlp",
    "recovery_sweeps",
    "redistributed",
    "refit",
    "refit_exact",
    "relative_output_error",
    "remove_units",
    "replace_linear",
    "restore_columns",
    "round_to_nearest",
    "sample_windows",
    "spap_penalty",
    "spap_select",
    "sparsegpt",
    "speed",
    "uniform_width",
    "value_columns",
    "walk",
    "walk_units",
    "wanda",
    "weighted_kmeans",
    "whole_folder",
    "windows",
    "with_refit",
    "write_json",
    "write_packed",
    "zero_units",
]
