"""Linear layers of looked-up weights against dense ones in float32: time and memory.

Writes ``lookup.md`` beside itself; takes about two minutes. Three shapes, three batches, one and two threads; random
codes and tables, no outliers. The dense layers and the two kinds of looked-up ones run in turn after a first run that
compiles; the table has the medians.
"""

from __future__ import annotations

import os

os.environ.setdefault("NUMBA_NUM_THREADS", "2")

import platform
import warnings
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from torch import nn

from common.files import save
from common.machine import versions
from common.timing import alternating
from optsci.compress import LookupLinear, Quantized
from optsci.compress.quantized_linear import kernel_name

SHAPES = ((4096, 4096), (1536, 576), (576, 1536))
BATCHES = (1, 8, 32, 64)
BITS = (4, 3)
SEED = 0


def main() -> None:
    """Measure, and write the page."""
    warnings.filterwarnings("ignore", "LookupLinear decodes")
    sizes, times = [], []
    for m, n in SHAPES:
        torch.manual_seed(SEED)
        copies = range(2**28 // (m * n))
        kinds: list[list[nn.Module]] = [
            [nn.Linear(n, m, bias=False) for _ in copies],
            *([looked_up(m, n, bits) for _ in copies] for bits in BITS),
        ]
        name = kernel_name(looked_up(m, n, BITS[0]))
        sizes.append(f"| {m} × {n} | " + " | ".join(f"{size(layers[0]):.2f}" for layers in kinds) + " |")
        for threads in (1, 2):
            torch.set_num_threads(threads)
            for batch in BATCHES:
                ms = race(kinds, torch.randn(batch, n), 15)
                ratios = " | ".join(f"{one:.3f} | {ms[0] / one:.2f}" for one in ms[1:])
                times.append(f"| {m} × {n} | {batch} | {threads} | {ms[0]:.3f} | {ratios} |")
    page = f"""# Looked-up weights

Written by `docs/benchmarks/lookup.py`.

`LookupLinear` against `torch.nn.Linear`, both in float32, on random codes and tables (seed {SEED}); milliseconds,
medians of 15 runs, the three kinds in turn. A run goes through as many layers as take 1 GB when dense: the weights come
from memory, as those of a large model do, and not from the processor's caches. "dense / 4 bits" above 1 means that the
looked-up layer is faster. Kernel for up to eight tokens: **{name}**. Up to 32 tokens it looks up once for every
eight of them; beyond, the weights are decoded by the same kernel, and torch multiplies. The layer warns once of more
than eight.

| weights | batch | threads | dense, ms | 4 bits, ms | dense / 4 bits | 3 bits, ms | dense / 3 bits |
|---|---:|---:|---:|---:|---:|---:|---:|
{chr(10).join(times)}

Memory of the weights, MB (10⁶ bytes), tables of values in float32:

| weights | dense | 4 bits | 3 bits |
|---|---:|---:|---:|
{chr(10).join(sizes)}

On two cores of {processor()}, shared with other programs: times of two threads vary most.
Versions: {versions("torch", "numba")}.
"""
    save(Path(__file__).with_suffix(".md"), page)
    print(page)


def looked_up(m: int, n: int, bits: int) -> LookupLinear:
    """Random codes and tables."""
    codes = torch.randint(2**bits, (m, n)).to(torch.uint8)
    return LookupLinear.from_quantized(Quantized(codes, torch.randn(m, 2**bits).sort(1).values))


@torch.no_grad()
def race(kinds: list[list[nn.Module]], x: torch.Tensor, runs: int) -> list[float]:
    """Median milliseconds of a layer of every kind; the layers of a kind run in turn, as those of a model do."""

    def through(layers: list[nn.Module]) -> None:
        for layer in layers:
            layer(x)

    seconds = alternating({k: partial(through, kinds[k]) for k in range(len(kinds))}, runs, warm=1, clock=perf_counter)
    return [1e3 * median(spent) / len(kinds[k]) for k, spent in seconds.items()]


def size(layer: nn.Module) -> float:
    """Megabytes of the tensors of a layer."""
    return sum(tensor.numel() * tensor.element_size() for tensor in layer.state_dict().values()) / 1e6


def processor() -> str:
    """The name of the processor, as the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    main()
