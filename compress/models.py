"""Where the blocks and linear layers of a decoder live, family by family: the only file that knows transformers' names.

A family is data.  To add one, add a row to ``FAMILIES`` and its tiny configuration to
``tests/tiny_models.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .constraints import Pattern


@dataclass(frozen=True)
class Units:
    """Names inside a block of the layers that meet in its hidden units.

    Unit j is row j of every layer in ``rows`` (and entry j of its bias) and column j of ``reader``: they are removed
    together.
    """

    rows: tuple[str, ...]  # the layers that make the units; the last one is linear in them, one before it is a gate
    reader: str  # the decision layer: what a unit is worth shows in its columns
    activation: str = ""  # the module between them
    width: str = ""  # the entry of the configuration that counts the units


@dataclass(frozen=True)
class Family:
    """Names inside a causal language model.

    ``groups`` are the linear layers of a block in the order of the computation; those of one group share their input.
    """

    blocks: str  # the list of decoder blocks
    groups: tuple[tuple[str, ...], ...]  # inside a block
    mlp: Units  # the neurons of a block
    values: Units  # the value dimensions of a block; query heads of one group read the same ones


GATED = Family(
    blocks="model.layers",
    groups=(
        ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        ("self_attn.o_proj",),
        ("mlp.gate_proj", "mlp.up_proj"),
        ("mlp.down_proj",),
    ),
    mlp=Units(("mlp.gate_proj", "mlp.up_proj"), "mlp.down_proj", "mlp.act_fn", "intermediate_size"),
    values=Units(("self_attn.v_proj",), "self_attn.o_proj"),
)

FAMILIES = {
    "llama": GATED,
    "mistral": GATED,
    "qwen2": GATED,
    "qwen3": GATED,
    "opt": Family(
        blocks="model.decoder.layers",
        groups=(
            ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
            ("self_attn.out_proj",),
            ("fc1",),
            ("fc2",),
        ),
        mlp=Units(("fc1",), "fc2", "activation_fn", "ffn_dim"),
        values=Units(("self_attn.v_proj",), "self_attn.out_proj"),
    ),
}


def family(model: nn.Module) -> Family:
    """The family of a transformers model; a ValueError that names the supported ones for any other architecture."""
    return check_architecture(getattr(getattr(model, "config", None), "model_type", type(model).__name__))


def check_architecture(model_type: str) -> Family:
    """The family of a ``model_type`` as transformers' configurations spell it."""
    if model_type not in FAMILIES:
        raise ValueError(f"model has the architecture {model_type!r}; supported are {', '.join(sorted(FAMILIES))}")
    return FAMILIES[model_type]


def linear_layers(model: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    """Name and module of every linear layer inside the decoder blocks, in the order of the computation.

    Embeddings and the output head (often one tensor) are not among them: they stay dense.
    """
    names = family(model)
    for index, block in enumerate(decoder_blocks(model)):
        for group in names.groups:
            for name in group:
                yield f"{names.blocks}.{index}.{name}", linear(block, name)


def linear(block: nn.Module, name: str) -> nn.Linear:
    """The linear layer ``name`` of a block; a TypeError where it is something else, such as a quantized layer."""
    layer = block.get_submodule(name)
    if not isinstance(layer, nn.Linear):
        raise TypeError(f"{name} is a {type(layer).__name__}; only torch.nn.Linear can be compressed")
    return layer


def decoder_blocks(model: nn.Module) -> list[nn.Module]:
    """The decoder blocks, in order."""
    return list(model.get_submodule(family(model).blocks).children())


def check_weights(model: nn.Module) -> None:
    """Refuse, by name, a layer that holds a NaN or an infinity."""
    for name, layer in linear_layers(model):
        if not layer.weight.isfinite().all():
            raise ValueError(f"the weights of {name} hold a NaN or an infinity; nothing was compressed")


def check_pattern(model: nn.Module, sparsity: Pattern) -> None:
    """Refuse, by name, a layer whose width the pattern does not fit."""
    for name, layer in linear_layers(model):
        try:
            sparsity.mask(torch.zeros(1, layer.in_features))
        except ValueError as error:
            raise ValueError(f"sparsity {sparsity} does not fit {name}: {error}") from error


def check_positions(model: nn.Module, length: int) -> None:
    """Refuse windows longer than the positions the model knows."""
    longest = getattr(model.config, "max_position_embeddings", length)
    if length > longest:
        raise ValueError(f"length={length} is more than the {longest} positions that the model knows")


def check_vocabulary(model: nn.Module, tokens: Tensor) -> None:
    """Refuse token ids that the model has no embedding for."""
    size = model.get_input_embeddings().num_embeddings  # type: ignore[operator]
    if tokens.min() < 0 or tokens.max() >= size:
        raise ValueError(f"tokens must lie in 0..{size - 1}, got {int(tokens.min())}..{int(tokens.max())}")
