"""Models with looked-up layers: replaced during a walk, saved, loaded through transformers' plug-in."""

import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from optsci.compress import (
    Correction,
    LookupLinear,
    Quantized,
    Unstructured,
    linear_layers,
    load_model,
    magnitude,
    perplexity,
    replace_linear,
    serving,
    walk,
)
from tables import rounded, sparse
from tiny_models import tiny, tiny_tokens

pytestmark = pytest.mark.filterwarnings("ignore:LookupLinear")
FAMILIES = ("llama", "opt")


def with_outliers(quantized, weights):
    """The largest weight of every row exactly."""
    rest = torch.zeros_like(weights)
    rows, place = torch.arange(len(weights)), weights.abs().argmax(1)
    rest[rows, place] = (weights - quantized.weights)[rows, place]
    return Quantized(quantized.codes, quantized.codebook, sparse(rest))


def quantize(model, bits=4):
    for name, layer in list(linear_layers(model)):
        weights = layer.weight.detach()
        quantized = rounded(weights, bits)
        if name.endswith("q_proj"):
            quantized = with_outliers(quantized, weights)
        replace_linear(model, name, LookupLinear.from_quantized(quantized, layer.bias))
    return model


def looked_up(model):
    return {name for name, module in model.named_modules() if isinstance(module, LookupLinear)}


@torch.no_grad()
def logits(model):
    return model(tiny_tokens(2), use_cache=False).logits


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("bits", [3, 4])
def test_save_and_load(family, bits, tmp_path):
    from transformers import AutoModelForCausalLM

    model = tiny(family)
    names = {name for name, _ in linear_layers(model)}
    quantize(model, bits)
    expected = logits(model)
    for attempt in ("in memory", "loaded"):  # a loaded model saves again
        folder = tmp_path / attempt
        model.save_pretrained(folder)
        assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}
        said = json.loads((folder / "config.json").read_text())["quantization_config"]
        assert (said["quant_method"], said["version"], set(said["layers"])) == ("optsci_lut", 1, names)
        for model in (AutoModelForCausalLM.from_pretrained(folder), load_model(folder)):
            assert looked_up(model) == names
            torch.testing.assert_close(logits(model.eval()), expected, rtol=0, atol=0)


def test_half_precision_survives(tmp_path):
    model = quantize(tiny("llama")).to(torch.bfloat16)
    model.save_pretrained(tmp_path)
    again = load_model(tmp_path)
    layer = again.model.layers[0].self_attn.q_proj
    assert layer.codebook.dtype == layer.outlier_values.dtype == torch.bfloat16
    assert layer.qweight.dtype == layer.outlier_rowptr.dtype == torch.int32
    saved = model.state_dict()  # logits would differ: a cast rounds the angles of the position embeddings, too
    assert all(torch.equal(value, saved[key]) for key, value in again.state_dict().items())


@pytest.mark.parametrize("family", FAMILIES)
def test_back_to_a_dense_model(family, tmp_path):
    model = quantize(tiny(family))
    expected = logits(model)
    model.save_pretrained(tmp_path / "codes")
    dense = load_model(tmp_path / "codes").dequantize()
    assert not looked_up(dense)
    torch.testing.assert_close(logits(dense), expected, rtol=1e-4, atol=1e-4)
    dense.save_pretrained(tmp_path / "dense")
    assert "quantization_config" not in json.loads((tmp_path / "dense" / "config.json").read_text())
    torch.testing.assert_close(logits(load_model(tmp_path / "dense")), logits(dense), rtol=0, atol=0)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("correction", Correction)
def test_a_walk_that_replaces_equals_one_that_writes(family, correction):
    tokens, written, replaced = tiny_tokens(), tiny(family), tiny(family)
    pairs = zip(
        walk(written, tokens, correction=correction), walk(replaced, tokens, correction=correction), strict=True
    )
    for one, other in pairs:
        torch.testing.assert_close(other.problem.gram, one.problem.gram, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(other.problem.cross, one.problem.cross, rtol=1e-4, atol=1e-4)
        quantized = rounded(one.layer.weight.detach(), 3)
        one.write(quantized.weights)
        other.replace(LookupLinear.from_quantized(quantized, other.layer.bias))
    torch.testing.assert_close(logits(replaced), logits(written), rtol=1e-3, atol=1e-3)
    assert perplexity(replaced, tokens) == pytest.approx(perplexity(written, tokens), rel=1e-4)


def test_a_dense_layer_can_be_put_back():
    model = tiny("llama")
    name, layer = next(linear_layers(model))
    replace_linear(model, name, LookupLinear.from_quantized(rounded(layer.weight.detach(), 4)))
    assert model.config.quantization_config["layers"] == {name: {"bits": 4, "outliers": 0}}
    with pytest.raises(TypeError, match=r"q_proj is a LookupLinear; only torch.nn.Linear can be compressed"):
        next(walk(model, tiny_tokens()))
    replace_linear(model, name, model.get_submodule(name).dequantized())
    assert not hasattr(model.config, "quantization_config")


def test_what_does_not_fit_is_refused():
    model = tiny("llama")
    stage = next(walk(model, tiny_tokens()))
    with pytest.raises(
        ValueError, match=r"module for model.layers.0.self_attn.q_proj must be \(32, 32\), got \(2, 3\)"
    ):
        stage.replace(LookupLinear(3, 2, bits=4))
    bad = LookupLinear(32, 32, bits=4, bias=False)
    bad.codebook[0, 0] = torch.inf
    with pytest.raises(ValueError, match=r"codebook of the module for .* holds a NaN or an infinity"):
        stage.replace(bad)
    with pytest.raises(TypeError, match=r"model.norm is a LlamaRMSNorm; only a linear layer"):
        replace_linear(model, "model.norm", nn.Linear(2, 2))
    stage.write(magnitude(stage.problem, sparsity=Unstructured(0.5)))
    assert not looked_up(model)


def test_a_configuration_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"version 2 of the format optsci_lut; this optsci reads version 1"):
        serving.LookupConfig({}, version=2)
    quantize(tiny("llama")).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace("model.layers.0.mlp.up_proj", "model.layers.7.mlp.up_proj"))
    with pytest.raises(ValueError, match=r"names the layer 'model.layers.7.mlp.up_proj', which is no linear layer"):
        load_model(tmp_path)


def test_importing_compress_does_not_import_transformers_or_numba():
    script = "import sys, optsci.compress; print(*{'transformers', 'numba', 'matplotlib', 'triton'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == ""
