"""Time of whole training steps with Adapprox and others, at several batch sizes.

The model and the optimizers are those of ``adapprox.py``; they take their steps in turn, in an order that changes, on
all cores. Writes ``adapprox_time.md`` beside itself, and ``adapprox_time.json`` for the figure of ``adapprox.md``,
which it draws anew. Takes about ten minutes; run it on a quiet machine. ``--rounds 2 --smoke`` keeps nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from statistics import median

import torch
from adapprox import (
    ADAMW,
    BATCH,
    HERE,
    LENGTH,
    OPTIMIZERS,
    OURS,
    STEPS,
    TIMES,
    model_of,
    text,
    train_step,
    windows,
    write_page,
)
from tqdm import tqdm

from common.files import save
from common.machine import machine, versions

BATCHES = ((BATCH, LENGTH), (8, 512), (16, 512))  # windows, and their length
NAMES = [name for name in OPTIMIZERS if name != "Adapprox, dense V"]
AFRESH, REFRESH_EVERY = "Adapprox, k = 16, S-RSI in every step", 100
WARM = 2
Times = dict[str, tuple[float, float]]  # name: seconds of a training step, and of optimizer.step() in it


def times(batch: int, length: int, rounds: int, device: str) -> Times:
    """Medians over the rounds, no step between them with fresh factors."""
    first, _ = text(device)
    generator = torch.Generator().manual_seed(0)
    models = {name: model_of(0).to(device) for name in NAMES}
    optimizers = {name: OPTIMIZERS[name].make(model, 1e-3) for name, model in models.items()}
    marks: dict[str, list[float]] = {name: [] for name in NAMES}  # begin, begin and end of the optimizer, end
    for name, optimizer in optimizers.items():
        optimizer.register_step_pre_hook(lambda *_, name=name: marks[name].append(now(device)))
        optimizer.register_step_post_hook(lambda *_, name=name: marks[name].append(now(device)))
    for i in tqdm(range(WARM + rounds), desc=f"{batch} x {length}", disable=None):
        x = windows(first, generator, batch, length)
        for name in random.Random(i).sample(NAMES, len(NAMES)):
            marks[name].append(now(device))
            train_step(models[name], optimizers[name], x)
            marks[name].append(now(device))
    return {name: medians(torch.tensor(some).view(-1, 4)[WARM:]) for name, some in marks.items()}


def medians(marks: torch.Tensor) -> tuple[float, float]:
    """Of the whole and of the inner difference, (rounds, 4)."""
    return median((marks[:, 3] - marks[:, 0]).tolist()), median((marks[:, 2] - marks[:, 1]).tolist())


def now(device: str) -> float:
    """Seconds, when all is done that was asked for."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--smoke", action="store_true", help="print the times and keep nothing")
    asked = parser.parse_args()
    begin = os.getloadavg()[0]
    measured = {size: times(*size, asked.rounds, asked.device) for size in BATCHES}
    for some in measured.values():  # a step in a hundred has fresh factors
        for name in NAMES:
            if name.startswith("Adapprox") and name != AFRESH:
                whole, inside = some[name]
                more = (some[AFRESH][1] - inside) / REFRESH_EVERY
                some[name] = (whole + more, inside + more)
    page = page_of(measured, asked.rounds, asked.device, begin)
    print(page)
    if asked.smoke:
        return
    milliseconds = {name: 1e3 * whole for name, (whole, _) in measured[BATCHES[0]].items()}
    save(TIMES, json.dumps(milliseconds, indent=1) + "\n")
    save(HERE / "adapprox_time.md", page)
    write_page(STEPS)


def page_of(measured: dict[tuple[int, int], Times], rounds: int, device: str, load: float) -> str:
    """The tables."""
    head = " | ".join(f"{batch} x {length}" for batch, length in BATCHES)
    whole, inside = (
        "\n".join(
            f"| {name} | "
            + " | ".join(
                f"{1e3 * some[name][i]:.0f} ({some[name][i] / some[ADAMW][i]:.2f})" for some in measured.values()
            )
            + " |"
            for name in NAMES
        )
        for i in (0, 1)
    )
    ours = ", ".join(f"{some[OURS][0] / some[ADAMW][0]:.3f}" for some in measured.values())
    return f"""# Time of training with Adapprox

Written by `docs/benchmarks/adapprox_time.py`.

The model and the optimizers of [the training](adapprox.md). **A whole step with Adapprox, k = 16, takes {ours} times
that of AdamW** with batches of {head.replace(" | ", ", ")} bytes. Medians of {rounds} steps on {os.cpu_count()} cores,
in turn, in an order that changes; one in a hundred steps of Adapprox has fresh factors, its share is in the figures.

Milliseconds of a whole training step, and the ratio to AdamW:

| optimizer | {head} |
|---|{"---:|" * len(BATCHES)}
{whole}

Of those in `optimizer.step()`:

| optimizer | {head} |
|---|{"---:|" * len(BATCHES)}
{inside}

On {device}, {machine()}; load at the beginning {load:.1f}. Versions: {versions("torch", "pytorch_optimizer")}.
"""


if __name__ == "__main__":
    main()
