"""Tiny random models of every supported architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

COMMON: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
GATED: dict[str, Any] = {"intermediate_size": 48, "num_key_value_heads": 2}
TINY: dict[str, dict[str, Any]] = {
    "llama": {**GATED, "tie_word_embeddings": True},
    "mistral": {**GATED, "sliding_window": 8, "head_dim": 8},
    "qwen2": {**GATED, "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
    "qwen3": {**GATED, "head_dim": 16},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
}


def tiny(family: str, *, seed: int = 0, blocks: int = 2) -> Any:
    """A random model; biases and norms are random too, so that none of them can be forgotten unnoticed."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(family, **{**COMMON, **TINY[family], "num_hidden_layers": blocks})
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1:
                parameter.add_(0.1 * noise)
            elif "embed" not in name:
                parameter.copy_(noise / parameter.shape[1] ** 0.5)
    return model


def tiny_tokens(samples: int = 6, length: int = 24, *, seed: int = 1) -> Tensor:
    """Random windows (samples, length)."""
    return torch.randint(64, (samples, length), generator=torch.Generator().manual_seed(seed))


def save_tokenizer(folder: Path) -> None:
    """A tokenizer of single characters, beside a tiny model."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    letters = {letter: i for i, letter in enumerate("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ .,;:'!?-\n")}
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE(vocab=letters, merges=[]))).save_pretrained(folder)
