r"""Hidden units of a decoder block: what belongs to one, how many to keep, and taking the others out.

.. math:: y = W_2 \bigl(\operatorname{act}(W_g x) \odot (W_1 x)\bigr) = \sum_j w_j a_j(x)

Neuron j is row j of ``W_g`` and ``W_1`` (``gate_proj`` and ``up_proj``; ``fc1`` with its bias) and column j of ``W_2``
(``down_proj``, ``fc2``).  Without its column its rows do nothing, so all of them go: the matrices become smaller, with
no zeros in them.

One width for all blocks is what a configuration can say (``intermediate_size``, ``ffn_dim``), and so what stock
transformers and every server load.  Queries and keys are never touched: rotary embeddings couple their dimensions, and
norms act on them.  Nor are value dimensions removed: a configuration has one ``head_dim`` for queries, keys and values.
:func:`value_columns` says which columns of the output projection belong together under grouped queries, and
:func:`zero_units` silences them: such a model loads anywhere, and is no faster.
"""

from __future__ import annotations

import math
from numbers import Real

import torch
from torch import Tensor, nn

from .models import Units, decoder_blocks, family, linear, linear_layers, write_parameter


def keep_largest(scores: Tensor, count: int) -> Tensor:
    """(count,) ascending indices of the largest of the scores (n,); ties go to the lower index.

    >>> import torch
    >>> keep_largest(torch.tensor([2.0, 0.0, 3.0, 2.0]), 2)
    tensor([0, 2])
    """
    if not 1 <= count <= len(scores):
        raise ValueError(f"count must lie in 1..{len(scores)}, the units of the layer, got {count!r}")
    return scores.argsort(descending=True, stable=True)[:count].sort().values


def redistributed(sparsity: float, model: nn.Module) -> float:
    r"""The sparsity of the MLPs at which the decoder's linear layers together lose the fraction ``sparsity``.

    .. math:: s_{\text{eff}} = s \, P_{\text{all}} / P_{\text{prunable}}

    ``P_all`` counts the weights of all linear layers in the decoder blocks, ``P_prunable`` those of the MLPs.
    Embeddings, output head, norms and biases are in neither.

    Raises:
        ValueError: the MLPs do not hold that many weights.
    """
    if isinstance(sparsity, bool) or not isinstance(sparsity, Real):
        raise TypeError(f"sparsity must be a number, a fraction of the weights, got {sparsity!r}")
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must lie in [0, 1): a fraction of the weights, got {sparsity!r}")
    units = family(model).mlp
    everything = sum(layer.weight.numel() for _, layer in linear_layers(model))
    prunable = sum(
        linear(block, name).weight.numel() for block in decoder_blocks(model) for name in (*units.rows, units.reader)
    )
    effective = float(sparsity) * everything / prunable
    if effective >= 1:
        raise ValueError(
            f"sparsity={sparsity!r} of all linear layers is {effective:.3f} of the MLPs, which hold "
            f"{prunable / everything:.3f} of the weights: nothing would be left of them"
        )
    return effective


def mlp_width(model: nn.Module) -> int:
    """The number of neurons of every block; a ValueError if the blocks differ."""
    units = family(model).mlp
    widths = {linear(block, units.reader).in_features for block in decoder_blocks(model)}
    if len(widths) > 1:
        raise ValueError(f"model has MLPs of different widths, {sorted(widths)}: no configuration of transformers can")
    return widths.pop()


def uniform_width(model: nn.Module, sparsity: float, *, multiple: int = 32) -> int:
    """Neurons to keep in every block, so that the decoder's linear layers lose about the fraction ``sparsity``.

    ``n (1 - s_eff)``, see :func:`redistributed`, rounded to the nearest ``multiple``; at least one multiple, at most n.

    Args:
        model: a causal language model of transformers.
        sparsity: fraction of the weights of all linear layers in the decoder blocks.
        multiple: of 8, tensor cores take half-precision matrices without padding; 32 half-precision numbers also fill a
            cache line of 64 bytes, and that is the default; 64 and 128 are whole tiles of the usual GPU kernels, at a
            coarser choice of sparsities.
    """
    if isinstance(multiple, bool) or not isinstance(multiple, int) or multiple < 1:
        raise ValueError(f"multiple must be a positive integer, got {multiple!r}")
    effective, width = redistributed(sparsity, model), mlp_width(model)
    if effective == 0:
        return width
    return min(width, max(1, math.floor(width * (1 - effective) / multiple + 0.5)) * multiple)


@torch.no_grad()
def remove_units(block: nn.Module, units: Units, kept: Tensor, weights: Tensor | None = None) -> None:
    """Take all units out of a block but those ``kept``: the layers become smaller.

    Args:
        block: a decoder block; its layers are changed in place.
        units: which layers meet in them.
        kept: (k,) ascending indices.
        weights: (m, k) weights of ``units.reader`` for the units kept; its own by default.

    Raises:
        ValueError: indices that are not ascending or out of range; weights of another shape, or not finite in the
            dtype of the layer.  The block is as it was.
    """
    reader = linear(block, units.reader)
    kept = check_kept(kept, reader.in_features).to(reader.weight.device)
    weights = reader.weight[:, kept] if weights is None else weights.to(reader.weight)
    if weights.shape != (reader.out_features, len(kept)):
        raise ValueError(
            f"weights for {units.reader} must be {(reader.out_features, len(kept))}, got {tuple(weights.shape)}"
        )
    if not weights.isfinite().all():
        raise ValueError(f"weights for {units.reader} hold a NaN or an infinity as {weights.dtype}")
    for name in units.rows:
        for kind, parameter in list(linear(block, name).named_parameters()):
            write_parameter(block, f"{name}.{kind}", parameter[kept])
    write_parameter(block, f"{units.reader}.weight", weights)


@torch.no_grad()
def zero_units(block: nn.Module, units: Units, rows: Tensor, columns: Tensor) -> None:
    """Silence units without changing any shape: zero ``rows`` (r,) of their layers, and ``columns`` of the reader."""
    for name in units.rows:
        layer = linear(block, name)
        layer.weight[rows] = 0
        if layer.bias is not None:
            layer.bias[rows] = 0
    linear(block, units.reader).weight[:, columns.flatten()] = 0


def value_columns(model: nn.Module) -> Tensor:
    """(units, group) columns of the output projection that read every row of the value projection.

    With grouped queries, query head q reads key/value head ``q // group``: dimension d of key/value head g is row ``g *
    head_dim + d`` of the value projection, and column ``q * head_dim + d`` of the output projection for every q of
    the group.
    """
    heads = model.config.num_attention_heads  # type: ignore[union-attr]
    groups = getattr(model.config, "num_key_value_heads", None) or heads
    dimension = linear(decoder_blocks(model)[0], family(model).values.reader).in_features // heads  # type: ignore[operator]
    group = heads // groups  # type: ignore[operator]
    g, q, d = torch.meshgrid(torch.arange(groups), torch.arange(group), torch.arange(dimension), indexing="ij")  # type: ignore[arg-type]
    return ((g * group + q) * dimension + d).transpose(1, 2).flatten(0, 1)


def check_kept(kept: Tensor, width: int) -> Tensor:
    """Refuse indices that are not ascending, or not those of one of ``width`` units."""
    fits = kept.ndim == 1 and len(kept) > 0 and kept.dtype == torch.int64
    if not fits or kept[0] < 0 or kept[-1] >= width or bool((kept.diff() <= 0).any()):
        raise ValueError(f"kept must be ascending indices (k,) in 0..{width - 1}, got {kept!r}")
    return kept
