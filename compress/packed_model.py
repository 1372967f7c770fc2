"""A quantized model: dense weights while it is compressed, packed layers in their place at the end.

The hidden states of a walk come from the dense weights that the codes stand for; the packed layers wait on the
disk meanwhile, beside the weights of their block::

    compress_resumable(model, tokens, partial(gptq, bits=4), "work", settings={"bits": 4}, write=write_packed)
    pack_layers(model, Shards("work"))
"""

from __future__ import annotations

from torch import Tensor, nn

from .codebook import Quantized
from .layerwise import Stage
from .models import linear, replace_linear
from .quantized_linear import LookupLinear
from .resume import Shards


def write_packed(stage: Stage, quantized: Quantized) -> dict[str, Tensor]:
    """Put the weights into the layer, and return the tensors of the packed layer, by their names in the state dict.

    Args:
        stage: the layer; a table is cast to its dtype.
        quantized: what a quantizer returned for its problem.
    """
    if not isinstance(quantized, Quantized):
        raise TypeError(f"the result for {stage.name} must be a Quantized, got a {type(quantized).__name__}")
    stage.write(quantized.weights)
    packed = LookupLinear.from_quantized(quantized, stage.layer.bias)
    return dict(packed.to(stage.layer.weight).state_dict(prefix=f"{stage.name}."))


def pack_layers(model: nn.Module, shards: Shards) -> None:
    """Put the packed layers of all finished blocks in the place of the dense ones, block by block.

    Args:
        model: as the run left it, dense; changed in place.
        shards: the work folder of a run with :func:`write_packed`.
    """
    for index in shards:
        layers: dict[str, dict[str, Tensor]] = {}
        for key, tensor in shards.others(index).items():
            name, _, field = key.rpartition(".")
            layers.setdefault(name, {})[field] = tensor
        for name, state in layers.items():
            replace_linear(model, name, _packed(linear(model, name), state))


def _packed(dense: nn.Linear, state: dict[str, Tensor]) -> LookupLinear:
    values = state.get("outlier_values")
    packed = LookupLinear(
        dense.in_features,
        dense.out_features,
        bits=state["codebook"].shape[1].bit_length() - 1,
        outliers=0 if values is None else len(values),
        bias="bias" in state,
        device=dense.weight.device,
        dtype=dense.weight.dtype,
    )
    packed.load_state_dict(state)
    return packed
