"""Training a small LLaMA model on a real text with Adapprox and others: loss and memory of states, three seeds.

Writes ``adapprox.md`` and ``adapprox.png`` beside itself. Every finished run goes into ``adapprox.json`` and is not run
again: delete its entries to measure anew. ``--only TEXT`` runs the optimizer of that name, or those whose name holds
it, ``--seeds 0 1`` those seeds, ``--part 0 2`` every second run from the first on, for two processes at a time,
``--steps 20 --smoke`` tries everything out and keeps nothing, ``--page`` only writes the page. A run takes four minutes
of one core. ``adapprox_time.py`` measures the times.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib.pyplot as plt
import pytorch_optimizer
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from common.files import save
from common.machine import machine, versions
from common.runs import content, keep, kept
from optsci.compress.sample import moby_dick
from optsci.optim import Adapprox, AdaptiveRank, columns

HERE = Path(__file__).parent
KEPT = HERE / "adapprox.json"
TIMES = HERE / "adapprox_time.json"  # name: milliseconds of a training step
SEEDS, RATES = (0, 1, 2), (2.5e-4, 5e-4, 1e-3, 2e-3)
SMALLER, LARGER = (3.125e-5, 6.25e-5, 1.25e-4, 2.5e-4), (5e-3, 1e-2, 2e-2, 4e-2)  # where the best rates of others are
STEPS, BATCH, LENGTH, WARMUP, DECAY = 300, 8, 128, 30, 0.1
ADAMW = "AdamW"
OURS, PUBLISHED = "Adapprox, k = 16", "Adapprox, k = 16, the published step"
ONCE = RATES[1:2]  # what only explains another row runs at one rate
POINTS = 40  # of a curve


@dataclass(frozen=True)
class Run:
    """One training."""

    optimizer: str
    rate: float
    seed: int
    steps: int
    loss: float  # mean over the test windows, after the last step
    curve: list[float]  # of the training loss, mean over every fortieth of the steps
    numbers: int  # that the states hold
    parameters: int
    device: str


@dataclass(frozen=True)
class Case:
    """An optimizer, and the learning rates it is tried at."""

    make: Callable[[nn.Module, float], torch.optim.Optimizer]
    rates: tuple[float, ...] = RATES


def galore(model: nn.Module, lr: float) -> torch.optim.Optimizer:
    """GaLore on matrices, by groups."""
    matrices = [p for p in model.parameters() if p.dim() == 2]
    others = [p for p in model.parameters() if p.dim() != 2]
    low = {"params": matrices, "rank": 64, "update_proj_gap": 200, "scale": 0.25, "projection_type": "std"}
    return pytorch_optimizer.GaLore([{"params": others}, low], lr=lr, weight_decay=DECAY)


def plain(make: Callable[..., torch.optim.Optimizer], **options: Any) -> Callable[..., torch.optim.Optimizer]:
    """An optimizer that treats all parameters alike."""
    return lambda model, lr: make(model.parameters(), lr=lr, weight_decay=DECAY, **options)


OPTIMIZERS = {
    ADAMW: Case(plain(torch.optim.AdamW)),
    OURS: Case(plain(Adapprox, rank=16)),
    "Adafactor": Case(plain(torch.optim.Adafactor), LARGER),  # its rate is relative to the size of the weights
    "CAME": Case(plain(pytorch_optimizer.CAME), SMALLER),
    "GaLore, rank 64": Case(galore, LARGER),
    "Adapprox, k = 1": Case(plain(Adapprox, rank=1), ONCE),
    "Adapprox, k = 16, S-RSI in every step": Case(plain(Adapprox, rank=16, refresh_every=1, truncate=columns), ONCE),
    "Adapprox, adaptive to a quarter": Case(plain(Adapprox, rank=0.25, adapt=AdaptiveRank(tol=0.1, every=50)), ONCE),
    "Adapprox, k = 16, no first moment": Case(plain(Adapprox, rank=16, betas=(0.0, 0.999)), ONCE),
    PUBLISHED: Case(plain(Adapprox, rank=16, average_updates=True, bias_correction=False, clip=1.0)),
}


def model_of(seed: int) -> nn.Module:
    """A LLaMA model over bytes with 10.7 million parameters, tied embeddings."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=256,
        hidden_size=384,
        intermediate_size=1024,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
    )
    torch.manual_seed(seed)
    return LlamaForCausalLM(config)


def loss_of(model: nn.Module, batch: Tensor) -> Tensor:
    """Cross entropy of the next byte."""
    with torch.autocast(batch.device.type, torch.bfloat16):
        logits = model(batch).logits[:, :-1]
    return F.cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten())


def text(device: str) -> tuple[Tensor, Tensor]:
    """Bytes to train on and to test on."""
    first, last = (torch.tensor(list(part.encode("utf-8")), device=device) for part in moby_dick())
    return first, last


def train(name: str, rate: float, seed: int, steps: int, device: str) -> Run:
    """Train one model from scratch; the seed decides its weights and the order of the text."""
    first, last = text(device)
    model = model_of(seed).to(device)
    optimizer = OPTIMIZERS[name].make(model, rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(warm_cosine, steps=steps))
    generator, losses = torch.Generator().manual_seed(seed), []
    for _ in tqdm(range(steps), desc=f"{name}, {rate:g}, seed {seed}", disable=None):
        losses.append(train_step(model, optimizer, windows(first, generator)))
        schedule.step()
    tests = last[: 64 * LENGTH].view(8, 8, LENGTH)
    with torch.no_grad():
        test = torch.stack([loss_of(model, batch) for batch in tests]).mean().item()
    return Run(
        name,
        rate,
        seed,
        steps,
        test,
        [part.mean().item() for part in torch.stack(losses).tensor_split(POINTS)],
        numbers_in(optimizer),
        sum(p.numel() for p in model.parameters()),
        device,
    )


def windows(bytes_: Tensor, generator: torch.Generator, batch: int = BATCH, length: int = LENGTH) -> Tensor:
    """Random windows of a text, (batch, length)."""
    starts = torch.randint(len(bytes_) - length, (batch, 1), generator=generator)
    return bytes_[(starts + torch.arange(length)).to(bytes_.device)]


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Tensor) -> Tensor:
    """One step, and its loss."""
    loss = loss_of(model, batch)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.detach()


def warm_cosine(step: int, steps: int) -> float:
    """Linear up, then a half wave of the cosine down to a tenth."""
    if step < WARMUP:
        return (step + 1) / WARMUP
    return 0.55 + 0.45 * math.cos(math.pi * (step - WARMUP) / max(steps - WARMUP, 1))


def numbers_in(optimizer: torch.optim.Optimizer) -> int:
    """Numbers that the states hold."""
    return sum(x.numel() for state in optimizer.state.values() for x in tensors(state))


def tensors(state: Any) -> Iterator[Tensor]:
    """All tensors in a state, also those in objects that an optimizer keeps there."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, dict):
        for value in state.values():
            yield from tensors(value)
    elif isinstance(state, (list, tuple)):
        for value in state:
            yield from tensors(value)
    elif hasattr(state, "__dict__"):
        yield from tensors(vars(state))


def main() -> None:
    """Run what is missing, as far as asked for, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="the optimizer of this name, or all whose name holds it")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), help="which of how many parts of the runs")
    parser.add_argument("--rates", type=float, nargs="+", help="learning rates, of those tried")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--smoke", action="store_true", help="print the runs and keep nothing")
    parser.add_argument("--page", action="store_true", help="only write the page")
    asked = parser.parse_args()
    keys = [
        (name, rate, seed, asked.steps)
        for seed in asked.seeds
        for name, case in OPTIMIZERS.items()
        for rate in case.rates
        if (name == asked.only if asked.only in OPTIMIZERS else asked.only in name)
        if not asked.rates or rate in asked.rates
    ]
    part, parts = asked.part
    for key in [] if asked.page else keys[part::parts]:
        if asked.smoke:
            print(train(*key, asked.device))
        elif key not in {(run.optimizer, run.rate, run.seed, run.steps) for run in kept(KEPT, Run)}:
            keep(KEPT, train(*key, asked.device))
    if not asked.smoke:
        write_page(asked.steps)


def write_page(steps: int) -> None:
    """The tables and the figure, from the kept runs."""
    runs = [run for run in kept(KEPT, Run) if run.steps == steps]
    if not runs:
        return
    first = {
        name: {run.rate: run for run in runs if (run.optimizer, run.seed) == (name, SEEDS[0])} for name in OPTIMIZERS
    }
    best = {
        name: [run for run in runs if (run.optimizer, run.rate) == (name, min(found, key=lambda r: found[r].loss))]
        for name, found in first.items()
        if found
    }
    milliseconds = content(TIMES, {})
    lines = "\n".join(
        f"| {name} | {some[0].rate:g} | {median_loss(some):.4f} | {against(best, name, ADAMW)} | "
        f"{some[0].numbers / (2 * some[0].parameters):.1%} | {len(some)} |"
        for name, some in best.items()
    )
    searches = "\n".join(
        f"| {name} | " + " | ".join(f"{rate:g}: {found[rate].loss:.4f}" for rate in sorted(found)) + " |"
        for name, found in first.items()
        if len(found) > 1
    )
    tried = max(map(len, first.values()))
    draw(best, milliseconds, steps)
    page = f"""# Training with Adapprox

Written by `docs/benchmarks/adapprox.py`.

A LLaMA model with {runs[0].parameters / 1e6:.1f} million parameters over the bytes of *Moby-Dick*, trained from scratch
for {steps} steps of {BATCH} windows of {LENGTH} bytes; products in bfloat16 (autocast), weights, gradients and states
in single precision; weight decay {DECAY}, gradients clipped to norm 1, {WARMUP} steps of warm-up, then a cosine down to
a tenth. *Test loss* is the mean over windows that were not trained on, in nats per byte, the median over the seeds (of
weights and of the order of the text), at the learning rate that is best on the first seed; *against AdamW* compares
runs of the same seed: the median, and the range. *State* is a share of Adam's.

{verdict(best)}

| optimizer | lr | test loss | against AdamW | state | seeds |
|---|---:|---:|---:|---:|---:|
{lines}

The published step averages clipped updates and corrects no bias. The row with S-RSI in every step says what the pursuit
of the factors by one pass costs; that one, and those of other ranks and without a first moment, ran at {ONCE[0]:g}
only. All peers have the settings of their packages, GaLore a new projection every 200 steps and a scale of 0.25, and
learning rates around their own best: Adafactor's is relative to the size of the weights, GaLore's is scaled down.
This is a short training: what holds after many thousand steps, or for a larger model, was not measured.

![training loss](adapprox.png)

The training loss, the mean over {steps // POINTS} steps and the median over the seeds; on the right over the time of as
many steps, from [the times of whole steps](adapprox_time.md).

All learning rates, on the first seed:

| optimizer | {" | ".join("" for _ in range(tried))} |
|---|{"---|" * tried}
{searches}

On {runs[0].device}, {machine()}. Versions: {versions("torch", "transformers", "pytorch_optimizer")}.
"""
    save(HERE / "adapprox.md", page)
    print(page)


def verdict(best: dict[str, list[Run]]) -> str:
    """What the table says about the goals."""
    if OURS not in best:
        return ""
    peers = [name for name in (ADAMW, "Adafactor", "CAME", "GaLore, rank 64") if name in best]
    others = "; ".join(f"{against(best, OURS, name)} against {name}" for name in peers)
    share = best[OURS][0].numbers / (2 * best[OURS][0].parameters)
    return f"**Adapprox with k = 16 ends at {median_loss(best[OURS]):.4f} with {share:.0%} of Adam's state: {others}.**"


def against(best: dict[str, list[Run]], name: str, other: str) -> str:
    """Relative differences of the test loss, seed by seed: the median and the range."""
    theirs = {run.seed: run.loss for run in best[other]}
    differences = [run.loss / theirs[run.seed] - 1 for run in best[name] if run.seed in theirs]
    if name == other or not differences:
        return ""
    return f"{median(differences):+.2%} ({min(differences):+.2%} to {max(differences):+.2%})"


def median_loss(some: list[Run]) -> float:
    """Of the test, over the seeds."""
    return median(run.loss for run in some) if some else math.inf


def draw(best: dict[str, list[Run]], milliseconds: dict[str, float], steps: int) -> None:
    """Loss against steps and, where the times are known, against time."""
    figure, (by_steps, by_time) = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    ends = [steps * (i + 1) / POINTS for i in range(POINTS)]
    for name in (ADAMW, OURS, "Adafactor", "CAME", "GaLore, rank 64"):
        if name in best:
            curve = [median(run.curve[i] for run in best[name]) for i in range(POINTS)]
            width = 2.0 if name == OURS else 1.2
            by_steps.plot(ends, curve, label=name, linewidth=width)
            if name in milliseconds:
                by_time.plot([end * milliseconds[name] / 1e3 for end in ends], curve, linewidth=width)
    by_steps.set(xlabel="steps", ylabel="training loss, nats per byte", ylim=(None, 3.2))
    by_time.set(xlabel="seconds")
    by_steps.legend(frameon=False)
    for axes in (by_steps, by_time):
        axes.spines[["top", "right"]].set_visible(False)
    part = HERE / "adapprox.png.part"
    figure.savefig(part, dpi=150, format="png")
    part.replace(HERE / "adapprox.png")
    plt.close(figure)


if __name__ == "__main__":
    main()
