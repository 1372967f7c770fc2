"""Where the blocks and linear layers of a decoder live, family by family: the only file that knows transformers' names.

A family is data.  To add one, add a row to ``FAMILIES`` and its tiny configuration to
``tests/tiny_models.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .constraints import Pattern, require_pattern
from .quantized_linear import LookupLinear, quantization_settings


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


def replace_linear(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module in the place of a linear layer, a :class:`LookupLinear` for one, or a linear layer back.

    Where it is part of a model of transformers, the model's configuration says from then on which layers are looked up:
    ``model.save_pretrained`` writes it, and :mod:`optsci.compress.serving` reads it.

    Args:
        model: changed in place.
        name: where the layer lives, such as ``model.layers.3.mlp.up_proj``.
        module: with the same ``in_features`` and ``out_features``.
    """
    parent, _, child = name.rpartition(".")
    old = model.get_submodule(name)
    if not isinstance(old, (nn.Linear, LookupLinear)):
        raise TypeError(f"{name} is a {type(old).__name__}; only a linear layer can be replaced")
    shape = (getattr(module, "out_features", None), getattr(module, "in_features", None))
    if shape != (old.out_features, old.in_features):
        raise ValueError(f"module for {name} must be {(old.out_features, old.in_features)}, got {shape}")
    setattr(model.get_submodule(parent), child, module.train(old.training))
    config: Any = getattr(model, "config", None)
    settings = quantization_settings(model)
    if config is not None and settings["layers"]:
        config.quantization_config = settings
    elif hasattr(config, "quantization_config"):
        del config.quantization_config


@torch.no_grad()
def write_parameter(model: nn.Module, name: str, value: Tensor) -> None:
    """Put a weight or a bias into the linear layer that ``name`` lies in; the layer takes on the shape of its weight.

    Args:
        model: changed in place.
        name: as in the state dict, such as ``model.layers.3.mlp.up_proj.weight``.
        value: cast to the dtype and device of what was there, and copied.
    """
    parameter = model.get_parameter(name)
    if value.shape == parameter.shape:
        parameter.copy_(value)
        return
    path, _, kind = name.rpartition(".")
    layer, own = linear(model, path), value.to(parameter, copy=True).contiguous()
    setattr(layer, kind, nn.Parameter(own, requires_grad=parameter.requires_grad))
    if kind == "weight":
        layer.out_features, layer.in_features = own.shape


def decoder_blocks(model: nn.Module) -> list[nn.Module]:
    """The decoder blocks, in order; a ValueError where there are none."""
    blocks = list(model.get_submodule(family(model).blocks).children())
    if not blocks:
        raise ValueError("model has no decoder blocks: there is nothing to compress")
    return blocks


def layers_per_block(model: nn.Module) -> int:
    """How many linear layers a decoder block has."""
    return sum(len(group) for group in family(model).groups)


def check_weights(model: nn.Module) -> None:
    """Refuse, by name, a layer that holds a NaN or an infinity."""
    for name, layer in linear_layers(model):
        if not layer.weight.isfinite().all():
            raise ValueError(f"the weights of {name} hold a NaN or an infinity; nothing was compressed")


def check_pattern(model: nn.Module, sparsity: Pattern) -> None:
    """Refuse, by name, a layer whose width the pattern does not fit."""
    require_pattern(sparsity)
    for name, layer in linear_layers(model):
        try:
            sparsity.mask(torch.zeros(1, layer.in_features))
        except ValueError as error:
            raise ValueError(f"sparsity {sparsity} does not fit {name}: {error}") from error


def check_bits_fit(model: nn.Module, bits: int) -> None:
    """Refuse, by name, a layer with fewer weights in a row than the table of ``bits`` has values."""
    for name, layer in linear_layers(model):
        if 2**bits > layer.in_features:
            raise ValueError(
                f"bits={bits} makes tables of {2**bits} values, more than the {layer.in_features} weights in a row of "
                f"{name}: take fewer bits"
            )


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
