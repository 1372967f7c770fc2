"""Training a small LLaMA model on a real text with Adapprox and others: loss, time and memory of states, three seeds.

Writes ``adapprox.md`` beside itself. Every finished run goes into ``adapprox.json`` and is not run again: delete its
entries to measure anew. ``--only TEXT`` runs the optimizers whose name holds TEXT, ``--seeds 0 1`` those seeds,
``--steps 20 --smoke`` tries everything out and keeps nothing, ``--page`` only writes the page. On two cores a run takes
a few minutes, all of them some hours; two processes may share them by ``--seeds``. CAME and GaLore need the package
``pytorch_optimizer``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import optsci
from optsci.compress.sample import moby_dick
from optsci.optim import Adapprox, AdaptiveRank, columns

HERE = Path(__file__).parent
KEPT = HERE / "adapprox.json"
SEEDS, RATES = (0, 1, 2), (5e-4, 1e-3, 2e-3)
STEPS, BATCH, LENGTH, WARMUP, DECAY = 300, 4, 128, 30, 0.1
ADAMW = "AdamW"
ONCE = RATES[1]  # what only explains another row runs at one rate


@dataclass(frozen=True)
class Run:
    """One training."""

    optimizer: str
    rate: float
    seed: int
    steps: int
    loss: float  # mean over the test windows, after the last step
    curve: list[float]  # of the training loss, mean over every tenth of the steps
    numbers: int  # that the states hold
    parameters: int
    seconds: float  # of all steps, wall clock
    in_optimizer: float  # of those, in ``step``
    device: str


def peers(name: str) -> Callable[..., torch.optim.Optimizer]:
    """An optimizer of pytorch_optimizer, imported only where it is used."""

    def make(parameters: Any, **options: Any) -> torch.optim.Optimizer:
        import pytorch_optimizer

        return getattr(pytorch_optimizer, name)(parameters, **options)

    return make


def galore(model: nn.Module, lr: float) -> torch.optim.Optimizer:
    """GaLore on matrices, by groups."""
    matrices = [p for p in model.parameters() if p.dim() == 2]
    others = [p for p in model.parameters() if p.dim() != 2]
    low = {"params": matrices, "rank": 64, "update_proj_gap": 200, "scale": 0.25, "projection_type": "std"}
    return peers("GaLore")([{"params": others}, low], lr=lr, weight_decay=DECAY)


def plain(make: Callable[..., torch.optim.Optimizer], **options: Any) -> Callable[..., torch.optim.Optimizer]:
    """An optimizer that treats all parameters alike."""
    return lambda model, lr: make(model.parameters(), lr=lr, weight_decay=DECAY, **options)


OPTIMIZERS: dict[str, Callable[[nn.Module, float], torch.optim.Optimizer]] = {
    ADAMW: plain(torch.optim.AdamW),
    "Adafactor": plain(torch.optim.Adafactor),
    "Adapprox, k = 16": plain(Adapprox, rank=16),
    "Adapprox, k = 1": plain(Adapprox, rank=1),
    "Adapprox, k = 16, S-RSI in every step": plain(Adapprox, rank=16, refresh_every=1, truncate=columns),
    "Adapprox, adaptive to a quarter": plain(Adapprox, rank=0.25, adapt=AdaptiveRank(tol=0.1, every=50)),
    "Adapprox, k = 16, no first moment": plain(Adapprox, rank=16, betas=(0.0, 0.999)),
    "Adapprox, dense V": plain(Adapprox, factored=lambda m, n, k: False),
}
EXPLAINING = list(OPTIMIZERS)[3:]
if find_spec("pytorch_optimizer"):
    OPTIMIZERS |= {"CAME": plain(peers("CAME")), "GaLore, rank 64": galore}


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
    return F.cross_entropy(model(batch).logits[:, :-1].flatten(0, 1), batch[:, 1:].flatten())


def train(name: str, rate: float, seed: int, steps: int, device: str) -> Run:
    """Train one model from scratch; the seed decides its weights and the order of the text."""
    first, last = (torch.tensor(list(text.encode("utf-8"))) for text in moby_dick())
    model = model_of(seed).to(device)
    optimizer = OPTIMIZERS[name](model, rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(warm_cosine, steps=steps))
    generator, losses, inside = torch.Generator().manual_seed(seed), [], 0.0
    synchronize = torch.cuda.synchronize if device == "cuda" else lambda: None
    begin = time.perf_counter()
    for _ in range(steps):
        starts = torch.randint(len(first) - LENGTH, (BATCH, 1), generator=generator)
        loss = loss_of(model, first[starts + torch.arange(LENGTH)].to(device))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        synchronize()
        before = time.perf_counter()
        optimizer.step()
        synchronize()
        inside += time.perf_counter() - before
        schedule.step()
        losses.append(loss.detach())
    seconds = time.perf_counter() - begin
    windows = last[: 64 * LENGTH].view(8, 8, LENGTH).to(device)
    with torch.no_grad():
        test = torch.stack([loss_of(model, batch) for batch in windows]).mean().item()
    curve = [part.mean().item() for part in torch.stack(losses).tensor_split(10)]
    return Run(
        name,
        rate,
        seed,
        steps,
        test,
        curve,
        sum(x.numel() for state in optimizer.state.values() for x in tensors(state)),
        sum(p.numel() for p in model.parameters()),
        seconds,
        inside,
        device,
    )


def warm_cosine(step: int, steps: int) -> float:
    """Linear up, then a half wave of the cosine down to a tenth."""
    if step < WARMUP:
        return (step + 1) / WARMUP
    return 0.55 + 0.45 * math.cos(math.pi * (step - WARMUP) / max(steps - WARMUP, 1))


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


def kept() -> list[Run]:
    """The finished runs."""
    return [Run(**entry) for entry in json.loads(KEPT.read_text())] if KEPT.exists() else []


def keep(run: Run) -> None:
    """Add an entry."""
    part = KEPT.with_suffix(".part")
    part.write_text(json.dumps([asdict(one) for one in [*kept(), run]], indent=1))
    part.replace(KEPT)


def main() -> None:
    """Run what is missing, as far as asked for, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="optimizers whose name holds this")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES))
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--smoke", action="store_true", help="print the runs and keep nothing")
    parser.add_argument("--page", action="store_true", help="only write the page")
    asked = parser.parse_args()
    if not asked.page:
        for seed in asked.seeds:
            for name in [name for name in OPTIMIZERS if asked.only in name]:
                for rate in [rate for rate in asked.rates if rate == ONCE or name not in EXPLAINING]:
                    key = (name, rate, seed, asked.steps)
                    if asked.smoke or key not in {(r.optimizer, r.rate, r.seed, r.steps) for r in kept()}:
                        run = train(name, rate, seed, asked.steps, asked.device)
                        print(run, flush=True)
                        if not asked.smoke:
                            keep(run)
    if not asked.smoke:
        write_page(asked.steps)


def write_page(steps: int) -> None:
    """The table, from the kept runs."""
    runs = [run for run in kept() if run.steps == steps]
    if not runs:
        return
    best: dict[str, list[Run]] = {}
    lines = []
    for name in dict.fromkeys(run.optimizer for run in runs):
        mine = [run for run in runs if run.optimizer == name]
        rates = sorted({run.rate for run in mine})
        rate = min(rates, key=lambda rate: median(run.loss for run in mine if run.rate == rate))
        best[name] = [run for run in mine if run.rate == rate]
    base = median(run.loss for run in best[ADAMW]) if ADAMW in best else math.nan
    base_step = median(run.seconds for run in best[ADAMW]) if ADAMW in best else math.nan
    for name, some in best.items():
        losses = [run.loss for run in some]
        inside, whole = median(run.in_optimizer for run in some), median(run.seconds for run in some)
        lines.append(
            f"| {name} | {some[0].rate:g} | {median(losses):.4f} | {min(losses):.4f} to {max(losses):.4f} | "
            f"{median(losses) / base - 1:+.2%} | {some[0].numbers / (2 * some[0].parameters):.1%} | "
            f"{1e3 * inside / steps:.0f} | {whole / base_step:.2f} | {len(some)} |"
        )
    curves = "\n".join(
        f"| {name} | " + " | ".join(f"{median(run.curve[i] for run in some):.3f}" for i in range(10)) + " |"
        for name, some in best.items()
    )
    tenths = " | ".join(f"{steps * (i + 1) // 10}" for i in range(10))
    page = f"""# Training with Adapprox

Written by `docs/benchmarks/adapprox.py`.

A LLaMA model with {runs[0].parameters / 1e6:.1f} million parameters over the bytes of *Moby-Dick*, trained from scratch
for {steps} steps of {BATCH} windows of {LENGTH}, weight decay {DECAY}, gradients clipped to norm 1, {WARMUP} steps of
warm-up and a cosine. Every optimizer with the best of the learning rates {", ".join(f"{r:g}" for r in RATES)}, by the
median of the test loss over the seeds (weights and order of the text). *State* is a share of Adam's. Times are
wall-clock on {runs[0].device}; *time* is that of the whole training over AdamW's. The rows of `Adapprox` with a dense
second moment and with S-RSI in every step say what the approximation, and what its pursuit by one pass costs; like all
rows of Adapprox but k = 16 they ran at {ONCE:g} only.

| optimizer | lr | test loss | range | against AdamW | state | ms in step | time | seeds |
|---|---:|---:|---:|---:|---:|---:|---:|---:|
{chr(10).join(lines)}

Training loss, mean over the tenth of the steps that ends there:

| optimizer | {tenths} |
|---|{"---:|" * 10}
{curves}

{os.cpu_count()} cores ({platform.machine()}); optsci {optsci.__version__}, torch {torch.__version__}, Python
{platform.python_version()}.
"""
    part = HERE / "adapprox.md.part"
    part.write_text(page, encoding="utf-8")
    part.replace(HERE / "adapprox.md")
    print(page)


if __name__ == "__main__":
    main()
