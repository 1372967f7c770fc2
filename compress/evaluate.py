"""Calibration windows and perplexity."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .models import check_positions


def encode(text: str, tokenizer: Callable[..., dict[str, list[int]]]) -> Tensor:
    """Token ids (count,) of a text, without the special tokens a tokenizer may add."""
    return torch.tensor(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"], dtype=torch.long)


def calibration(
    texts: str | Iterable[str],
    tokenizer: Callable[..., dict[str, list[int]]],
    *,
    samples: int = 128,
    length: int = 2048,
    seed: int = 0,
) -> Tensor:
    """Random windows of a text.

    Args:
        texts: one text, or several that are joined by an empty line.
        tokenizer: a tokenizer of transformers.
        samples: how many windows; they may overlap.
        length: tokens per window.
        seed: of the choice of the windows.

    Returns:
        (samples, length) token ids.

    Raises:
        ValueError: the text is shorter than one window.
    """
    tokens = encode(texts if isinstance(texts, str) else "\n\n".join(texts), tokenizer)
    return sample_windows(tokens, samples=samples, length=length, seed=seed)


def sample_windows(tokens: Tensor, *, samples: int, length: int, seed: int = 0) -> Tensor:
    """``samples`` random windows (samples, length) of a token stream (count,)."""
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    _check_length(tokens, length)
    generator = torch.Generator().manual_seed(seed)
    starts = torch.randint(len(tokens) - length + 1, (samples,), generator=generator)
    return tokens[starts[:, None] + torch.arange(length)]


def windows(tokens: Tensor, *, length: int = 2048, limit: int | None = None) -> Tensor:
    """The token stream (count,) cut into consecutive windows (k, length); an incomplete last one is dropped."""
    _check_length(tokens, length)
    count = len(tokens) // length
    return tokens[: count * length].view(count, length)[:limit]


@torch.no_grad()
def perplexity(
    model: nn.Module, tokens: Tensor, *, length: int = 2048, limit: int | None = None, progress: bool = False
) -> float:
    r"""Perplexity by the field's convention: consecutive windows, each scored on its own.

    .. math:: \exp\Bigl(\tfrac1K \sum_{k=1}^K \tfrac1{T-1} \sum_{t=2}^T -\log p(x_{k,t} \mid x_{k,1}, \dots,
    x_{k,t-1})\Bigr)

    (The scripts of the field multiply each window's mean by ``length`` and divide the sum by ``K * length``: the same
    number.) No beginning-of-sequence token is put before a window.

    Args:
        model: causal language model of transformers; scored in evaluation mode.
        tokens: (count,) token stream, cut into windows here, or (K, T) windows.
        length: T, tokens per window.
        limit: at most this many windows, from the start.
        progress: show a progress bar (only on a terminal).
    """
    from tqdm import tqdm

    batch = windows(tokens, length=length, limit=limit) if tokens.ndim == 1 else tokens[:limit]
    check_positions(model, batch.shape[1])
    device, training = next(model.parameters()).device, model.training
    model.eval()
    try:
        total = 0.0
        for window in tqdm(batch, desc="perplexity", unit="window", leave=False, disable=None if progress else True):
            window = window.to(device)
            logits = model(window[None], use_cache=False).logits[0, :-1]
            total += F.cross_entropy(logits.float(), window[1:]).item()
    finally:
        model.train(training)
    return math.exp(total / len(batch)) if total / len(batch) < 700 else math.inf


def _check_length(tokens: Tensor, length: int) -> None:
    if length < 2:
        raise ValueError(f"length must be at least 2 tokens, got {length}")
    if len(tokens) < length:
        raise ValueError(f"the text has {len(tokens)} tokens, fewer than one window of length={length}")
