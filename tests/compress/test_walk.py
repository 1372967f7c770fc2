"""The walk against hooks on whole forward passes, for every architecture that is supported."""

import copy
from functools import partial

import pytest
import torch

from optsci.compress import (
    NM,
    Correction,
    GramAccumulator,
    Unstructured,
    check_pattern,
    compress_model,
    fista_path_prune,
    ganq_quantize,
    linear_layers,
    load_model,
    magnitude,
    perplexity,
    walk,
    wanda,
    whole_folder,
)
from optsci.compress.models import check_bits_fit, write_parameter
from tiny_models import TINY, tiny, tiny_tokens


def hooks_left(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def inputs_of(model, name, tokens):
    """What enters a layer in whole forward passes of a model."""
    seen = []
    handle = model.get_submodule(name).register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    with torch.no_grad():
        for window in tokens.split(1):
            model(window, use_cache=False)
    handle.remove()
    return torch.cat([x.flatten(0, -2) for x in seen])


@pytest.mark.parametrize("family", TINY)
@pytest.mark.parametrize("correction", Correction)
def test_statistics_equal_those_of_whole_forward_passes(family, correction):
    """G, C and the energy of every layer, from the model pruned so far and a dense copy of it."""
    model, tokens = tiny(family), tiny_tokens()
    dense = copy.deepcopy(model)
    for stage in walk(model, tokens, correction=correction):
        current = model
        if correction is Correction.WITHIN_BLOCK:  # earlier blocks are dense: hidden states enter as in the dense model
            current = copy.deepcopy(dense)
            prefix = stage.name[: stage.name.index(f".{stage.block}.") + len(f".{stage.block}.")]
            current.get_submodule(prefix.rstrip(".")).load_state_dict(
                model.get_submodule(prefix.rstrip(".")).state_dict()
            )
        statistics = GramAccumulator()
        target = None if correction is Correction.NONE else inputs_of(dense, stage.name, tokens)
        statistics.add(inputs_of(current, stage.name, tokens), target)
        weight = dense.get_submodule(stage.name).weight
        expected = statistics.problem(weight)
        torch.testing.assert_close(stage.problem.gram, expected.gram, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(stage.problem.cross, expected.cross, rtol=1e-4, atol=1e-5)
        assert float(stage.problem.energy) == pytest.approx(float(expected.energy), rel=1e-4)
        stage.write(wanda(stage.problem, sparsity=Unstructured(0.5)))
    assert hooks_left(model) == 0


@pytest.mark.parametrize("family", TINY)
def test_prune_save_reload_with_stock_transformers(family, tmp_path):
    from transformers import AutoModelForCausalLM

    model, tokens = tiny(family), tiny_tokens()
    reports = compress_model(model, tokens, partial(fista_path_prune, sparsity=NM(2, 4), iterations=5))
    assert [r.name for r in reports] == [name for name, _ in linear_layers(model)]
    assert all(r.sparsity == 0.5 for r in reports)
    with whole_folder(tmp_path / "out") as part:
        model.save_pretrained(part)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    with torch.no_grad():
        expected = model(tokens).logits
        for again in (AutoModelForCausalLM.from_pretrained(tmp_path / "out"), load_model(tmp_path / "out")):
            torch.testing.assert_close(again.eval()(tokens).logits, expected, rtol=0, atol=0)
    for _, layer in linear_layers(again):
        assert int((layer.weight == 0).sum()) * 2 == layer.weight.numel()
    assert hooks_left(model) == 0


@pytest.mark.parametrize("family", TINY)
def test_the_layers_are_all_linears_of_the_blocks(family):
    model = tiny(family)
    found = {layer for _, layer in linear_layers(model)}
    blocks = [m for m in model.modules() if isinstance(m, torch.nn.ModuleList)]
    assert found == {m for m in blocks[0].modules() if isinstance(m, torch.nn.Linear)}


def test_embeddings_and_head_stay_dense():
    model, tokens = tiny("llama"), tiny_tokens()
    before = model.lm_head.weight.clone()
    compress_model(model, tokens, partial(magnitude, sparsity=Unstructured(0.5)))
    torch.testing.assert_close(model.lm_head.weight, before, rtol=0, atol=0)
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_a_walk_that_is_broken_off_leaves_no_trace():
    model, tokens = tiny("llama"), tiny_tokens()
    model.train()
    steps = walk(model, tokens)
    next(steps)
    assert not model.training
    steps.close()
    assert model.training
    assert hooks_left(model) == 0


def test_every_module_gets_its_own_mode_back():
    model = tiny("llama").train()
    model.model.layers[0].eval()
    modes = [module.training for module in model.modules()]
    list(walk(model, tiny_tokens(), blocks=1))
    assert [module.training for module in model.modules()] == modes


def test_weights_that_overflow_the_type_of_the_layer_are_refused():
    stage = next(walk(tiny("llama").half(), tiny_tokens()))
    with pytest.raises(ValueError, match=r"infinity as torch\.float16"):
        stage.write(torch.full((32, 32), 1e6))


def test_gradients_stay_switched_on_between_stages():
    for _ in walk(tiny("llama"), tiny_tokens(), blocks=1):
        assert torch.is_grad_enabled()


def test_half_precision_models_keep_their_type():
    model, tokens = tiny("llama").to(torch.bfloat16), tiny_tokens()
    reports = compress_model(model, tokens, partial(wanda, sparsity=Unstructured(0.5)))
    assert model.dtype == torch.bfloat16
    assert all(r.sparsity == 0.5 for r in reports)


def test_correction_lowers_the_error_of_the_block_output():
    """With a dense target the refitted layers of a block make up for the ones before them."""
    tokens = tiny_tokens(samples=16)
    solver = partial(fista_path_prune, sparsity=Unstructured(0.6), iterations=20)
    gaps = {}
    for correction in (Correction.NONE, Correction.ACROSS_BLOCKS):
        model = tiny("llama")
        dense = copy.deepcopy(model)
        compress_model(model, tokens, solver, correction=correction)
        with torch.no_grad():
            gaps[correction] = float((model.model(tokens)[0] - dense.model(tokens)[0]).norm())
    assert gaps[Correction.ACROSS_BLOCKS] < gaps[Correction.NONE]


def test_perplexity_is_that_of_the_loss_of_transformers():
    model, tokens = tiny("llama"), tiny_tokens(samples=3)
    losses = [model(window, labels=window).loss.item() for window in tokens.split(1)]
    expected = torch.tensor(losses).mean().exp()
    assert perplexity(model, tokens.flatten(), length=tokens.shape[1]) == pytest.approx(float(expected), rel=1e-5)
    assert perplexity(model, tokens, limit=1) == pytest.approx(float(torch.tensor(losses[0]).exp()), rel=1e-5)


def test_unknown_architecture_names_the_supported_ones():
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(vocab_size=16, n_embd=8, n_layer=1, n_head=2, n_positions=32))
    with pytest.raises(ValueError, match="'gpt2'; supported are llama, mistral, opt, qwen2, qwen3"):
        walk(model, tiny_tokens())


def test_weights_that_are_not_finite_are_refused_by_name():
    model = tiny("llama")
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"weights of model\.layers\.1\.mlp\.up_proj hold a NaN"):
        walk(model, tiny_tokens())


def test_activations_that_are_not_finite_are_refused_by_name():
    model = tiny("llama")
    with torch.no_grad():
        model.model.layers[1].input_layernorm.weight[0] = float("inf")
    with pytest.raises(ValueError, match=r"entering model\.layers\.1\.self_attn\.q_proj hold a NaN"):
        compress_model(model, tiny_tokens(), partial(magnitude, sparsity=Unstructured(0.5)))
    assert hooks_left(model) == 0


def test_pattern_that_does_not_fit_names_the_layer():
    with pytest.raises(ValueError, match=r"model\.layers\.0\.self_attn\.q_proj"):
        check_pattern(tiny("llama"), NM(2, 5))


def test_a_solver_that_returns_no_weights_is_a_sentence():
    model, tokens = tiny("llama"), tiny_tokens()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(
        TypeError,
        match=r"^weights for model\.layers\.0\.self_attn\.q_proj must be a tensor \(m, n\), got a Quantized: give its",
    ):
        compress_model(model, tokens, ganq_quantize)
    with pytest.raises(TypeError, match=r"must be a tensor \(m, n\), got a ndarray$"):
        compress_model(model, tokens, lambda problem: problem.weight.numpy())
    torch.testing.assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)


def test_a_parameter_is_written_as_it_is_or_makes_the_layer_narrower():
    model = tiny("opt")
    layer = model.model.decoder.layers[0].fc1
    parameter, value = layer.weight, torch.ones(48, 32, dtype=torch.float64)
    write_parameter(model, "model.decoder.layers.0.fc1.weight", value)
    assert layer.weight is parameter
    assert (parameter == 1).all()
    narrow = torch.arange(40.0, dtype=torch.float64)
    layer.bias.requires_grad_(False)
    write_parameter(model, "model.decoder.layers.0.fc1.bias", narrow)
    write_parameter(model, "model.decoder.layers.0.fc1.weight", value[:40])
    assert (layer.out_features, layer.in_features) == layer.weight.shape == (40, 32)
    assert layer.weight.dtype == layer.bias.dtype == torch.float32
    assert layer.bias.tolist() == narrow.tolist()
    assert layer.weight.requires_grad
    assert not layer.bias.requires_grad
    narrow.zero_()
    assert layer.bias[-1] == 39  # a copy
    with pytest.raises(TypeError, match="is a LayerNorm; only"):
        write_parameter(model, "model.decoder.layers.0.final_layer_norm.weight", torch.ones(3))


def test_a_table_larger_than_a_row_is_refused_by_name():
    check_bits_fit(tiny("llama"), 5)
    with pytest.raises(ValueError, match=r"bits=6 makes tables of 64 values, more than the 32 weights in a row of"):
        check_bits_fit(tiny("llama"), 6)


def test_bad_arguments_are_sentences():
    model = tiny("llama")
    with pytest.raises(ValueError, match="tokens must be"):
        walk(model, torch.zeros(4, dtype=torch.long))
    with pytest.raises(ValueError, match=r"tokens must lie in 0\.\.63, got 0\.\.64"):
        walk(model, torch.arange(65)[None])
    with pytest.raises(ValueError, match=r"tokens must be .* torch\.bool"):
        walk(model, torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(TypeError, match="correction must be a Correction, got 'none'"):
        walk(model, tiny_tokens(), correction="none")
    with pytest.raises(ValueError, match=r"blocks must lie in 1\.\.2"):
        walk(model, tiny_tokens(), blocks=3)
    with pytest.raises(ValueError, match="length=600 is more than the 512 positions"):
        walk(model, torch.zeros(1, 600, dtype=torch.long))
    stage = next(walk(model, tiny_tokens()))
    with pytest.raises(ValueError, match=r"q_proj must be \(32, 32\), got \(2, 2\)"):
        stage.write(torch.zeros(2, 2))
    with pytest.raises(ValueError, match="NaN"):
        stage.write(torch.full((32, 32), float("nan")))
