"""Calibration windows and perplexity."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .models import check_positions, check_vocabulary


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
    _check_limit(limit)
    count = len(tokens) // length
    return tokens[: count * length].view(count, length)[:limit]


@torch.no_grad()
def perplexity(
    model: nn.Module, tokens: Tensor, *, length: int = 2048, limit: int | None = None, progress: bool = False
) -> float:
    r"""Perplexity by the field's convention: consecutive windows, each scored on its own.

    .. math::

        \exp\Bigl(\tfrac1K \sum_{k=1}^K \tfrac1{T-1} \sum_{t=2}^T
        -\log p(x_{k,t} \mid x_{k,1}, \dots, x_{k,t-1})\Bigr)

    (The scripts of the field multiply each window's mean by ``length`` and divide the sum by ``K * length``: the same
    number.) No beginning-of-sequence token is put before a window.

    Args:
        model: causal language model of transformers; scored in evaluation mode.
        tokens: (count,) token stream, cut into windows here, or (K, T) windows.
        length: T, tokens per window.
        limit: at most this many windows, from the start.
        progress: show a progress bar (only on a terminal).

    Raises:
        ValueError: no window, or windows of one token; a model whose logits are not numbers.
    """
    from tqdm import tqdm

    _check_limit(limit)
    batch = windows(tokens, length=length, limit=limit) if tokens.ndim == 1 else tokens[:limit]
    if batch.ndim != 2 or len(batch) < 1 or batch.shape[1] < 2:
        raise ValueError(f"tokens must be windows (K, T), K at least 1 and T at least 2, got {tuple(tokens.shape)}")
    check_positions(model, batch.shape[1])
    check_vocabulary(model, batch)
    device, total = next(model.parameters()).device, 0.0
    with evaluation_mode(model):
        for window in tqdm(batch, desc="perplexity", unit="window", leave=False, disable=None if progress else True):
            window = window.to(device)
            logits = model(window[None], use_cache=False).logits[0, :-1]
            total += F.cross_entropy(logits.float(), window[1:]).item()
            if math.isnan(total):
                raise ValueError("the logits of the model hold a NaN: it has no perplexity")
    return math.exp(total / len(batch)) if total / len(batch) < 700 else math.inf


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; afterwards every module is in its own mode again, frozen parts included."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training  # `train` would reach the children, too


def _check_length(tokens: Tensor, length: int) -> None:
    if length < 2:
        raise ValueError(f"length must be at least 2 tokens, got {length}")
    if len(tokens) < length:
        raise ValueError(f"the text has {len(tokens)} tokens, fewer than one window of length={length}")


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1 window, got {limit}")
