"""Time of a step of Adapprox on a matrix of 3072 x 768, against AdamW, Adafactor and the iteration in every step.

All optimizers step in turn, in an order that changes, on the same gradients, on one thread; medians of processor times.
Writes ``adapprox_step.md`` beside itself. Takes about a minute; run it on a quiet machine: this is memory traffic.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from statistics import mean, median

import torch

from common.files import save
from common.machine import machine, versions
from common.timing import alternating
from optsci.optim import Adapprox, columns

HERE = Path(__file__).parent
ROWS, COLUMNS, ROUNDS = 3072, 768, 41
ADAMW, ADAFACTOR, EVERY = "torch AdamW, foreach", "torch Adafactor", "S-RSI in every step, l = 5, k = 16"
METHODS: dict[str, Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]] = {
    "Adapprox, k = 8": lambda p: Adapprox(p, rank=8),
    "Adapprox, k = 16": lambda p: Adapprox(p, rank=16),
    "Adapprox, k = 32": lambda p: Adapprox(p, rank=32),
    "Adapprox, k = 16, no first moment": lambda p: Adapprox(p, rank=16, betas=(0.0, 0.999)),
    EVERY: lambda p: Adapprox(p, rank=16, refresh_every=1, sweeps=5, truncate=columns),
    "torch AdamW, fused": lambda p: torch.optim.AdamW(p, fused=True),
    ADAMW: lambda p: torch.optim.AdamW(p, foreach=True),
    ADAFACTOR: lambda p: torch.optim.Adafactor(p),
}


def stepping(optimizer: torch.optim.Optimizer, gradients: list[torch.Tensor]) -> Callable[[], None]:
    """Steps with one gradient after the other."""
    turns = cycle(gradients)

    def step() -> None:
        optimizer.param_groups[0]["params"][0].grad = next(turns)
        optimizer.step()

    return step


def main() -> None:
    """Measure and write the page."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    size = torch.rand(ROWS, 1, generator=generator) * torch.rand(1, COLUMNS, generator=generator)
    gradients = [size * torch.randn(ROWS, COLUMNS, generator=generator) for _ in range(4)]
    start = 0.02 * torch.randn(ROWS, COLUMNS, generator=generator)
    optimizers = {name: make([torch.nn.Parameter(start.clone())]) for name, make in METHODS.items()}
    calls = {name: stepping(optimizer, gradients) for name, optimizer in optimizers.items()}
    seconds = alternating(calls, ROUNDS, warm=3, generator=random.Random(0))  # what ran before left the cache
    medians = {name: median(times) for name, times in seconds.items()}
    refresh = medians[EVERY]
    state = {name: sum(x.numel() for x in next(iter(o.state.values())).values()) for name, o in optimizers.items()}
    rows = "\n".join(
        f"| {name} | {1e3 * t:.1f} | {t / medians[ADAMW]:.2f} | {t / medians[ADAFACTOR]:.2f} | "
        f"{state[name] / (2 * ROWS * COLUMNS):.1%} |"
        for name, t in medians.items()
    )
    ours = medians["Adapprox, k = 16"]
    page = f"""# A step of Adapprox

Written by `docs/benchmarks/adapprox_step.py`.

One matrix of {ROWS} x {COLUMNS}, single precision, one thread; all optimizers step in turn on the same gradients,
medians of the processor time of {ROUNDS} steps. *State* is a share of that of Adam. Steps between refreshes, but for
the row of the iteration in every step: it is what a refresh costs, one in a hundred steps by default, so that the mean
of k = 16 is {1e3 * (0.99 * ours + 0.01 * refresh):.1f} ms. A step between refreshes is {refresh / ours:.1f} times as
fast as the iteration.

| optimizer | ms | over AdamW, foreach | over Adafactor | state |
|---|---:|---:|---:|---:|
{rows}

Load of the machine: {os.getloadavg()[0]:.1f} on {machine()}; spread of k = 16 from
{1e3 * min(seconds["Adapprox, k = 16"]):.1f} to {1e3 * max(seconds["Adapprox, k = 16"]):.1f} ms, mean
{1e3 * mean(seconds["Adapprox, k = 16"]):.1f}. Versions: {versions("torch")}.
"""
    save(HERE / "adapprox_step.md", page)
    print(page)


if __name__ == "__main__":
    main()
