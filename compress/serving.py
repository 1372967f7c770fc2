"""Models with looked-up layers in and out of files, through transformers' plug-in for quantizers.

After ``import optsci.compress.serving`` (:func:`optsci.compress.load_model` does it, too) ::

    model = AutoModelForCausalLM.from_pretrained(folder)

gives a model with :class:`~optsci.compress.LookupLinear` layers, if ``folder`` was written by ``model.save_pretrained``
after :func:`~optsci.compress.replace_linear` or ``Stage.replace``: plain safetensors, and in ``config.json`` ::

    "quantization_config": {"quant_method": "optsci_lut", "version": 1, "layers": {name: {"bits": 4, "outliers": 0}, …}}

Every layer has the tensors ``qweight`` (int32, see :mod:`optsci.compress.packing`), ``codebook`` and, where it has
outliers, ``outlier_values``, ``outlier_indices`` and ``outlier_rowptr`` (CSR).  This module imports transformers, which
``import optsci.compress`` does not.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from .models import replace_linear
from .quantized_linear import QUANT_METHOD, LookupLinear


@register_quantization_config(QUANT_METHOD)
class LookupConfig(QuantizationConfigMixin):
    """Which layers are looked up, as ``config.json`` says it.

    Args:
        layers: name of a layer -> ``{"bits": …, "outliers": how many}``.
        version: of the format.
    """

    def __init__(self, layers: dict[str, dict[str, int]], version: int = 1, quant_method: str = QUANT_METHOD) -> None:
        if version != 1:
            raise ValueError(
                f"the model has version {version} of the format {QUANT_METHOD}; this optsci reads version 1"
            )
        self.quant_method: Any = quant_method
        self.version, self.layers = version, layers


@register_quantizer(QUANT_METHOD)
class LookupQuantizer(HfQuantizer):
    """Puts empty looked-up layers into a model before its tensors are loaded."""

    quantization_config: LookupConfig
    requires_calibration = True  # that is: it loads what was quantized before, and quantizes nothing itself

    def _process_model_before_weight_loading(self, model: nn.Module, **kwargs: Any) -> None:
        for name, form in self.quantization_config.layers.items():
            try:
                old = model.get_submodule(name)
            except AttributeError:
                old = None
            if not isinstance(old, nn.Linear):
                raise ValueError(
                    f"quantization_config names the layer {name!r}, which is no linear layer of this model"
                )
            weight = old.weight
            replace_linear(
                model,
                name,
                LookupLinear(
                    old.in_features,
                    old.out_features,
                    bias=old.bias is not None,
                    device=weight.device,
                    dtype=weight.dtype,
                    **form,
                ),
            )

    def _dequantize(self, model: nn.Module, dtype: Any = None) -> nn.Module:
        for name in self.quantization_config.layers:
            layer = model.get_submodule(name)
            if isinstance(layer, LookupLinear):
                replace_linear(model, name, layer.dequantized().to(dtype))
        return model

    def is_serializable(self) -> bool:
        return True

    @property
    def is_trainable(self) -> bool:
        return False
