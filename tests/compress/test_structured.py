"""Structured pruning of whole models: loads in stock transformers, equals itself, and recovery never makes it worse."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layers import inputs
from optsci.compress import (
    MLP,
    Correction,
    fasp_select,
    flap_select,
    keep_columns,
    linear_layers,
    load_model,
    mean_shift,
    mlp_of,
    prune_units,
    recover_bias,
    recover_mlp,
    recovery_sweeps,
    relative_output_error,
    restore_columns,
    spap_select,
    uniform_width,
    walk_units,
)
from optsci.compress.models import decoder_blocks, family
from optsci.compress.recovery import _down_step, _up_step
from optsci.compress.units import mlp_width
from tiny_models import TINY, tiny, tiny_tokens

SPAP = {"select": spap_select, "recover": recover_mlp}


@pytest.mark.parametrize("name", TINY)
def test_prune_save_reload_with_stock_transformers(name, tmp_path):
    from transformers import AutoModelForCausalLM

    model, tokens = tiny(name), tiny_tokens()
    before = sum(layer.weight.numel() for _, layer in linear_layers(model))
    width = uniform_width(model, 0.2, multiple=8)
    reports = prune_units(model, tokens, sparsity=0.2, multiple=8, **SPAP)
    assert [(r.block, r.before, r.kept) for r in reports] == [(0, 48, width), (1, 48, width)]
    assert mlp_width(model) == getattr(model.config, family(model).mlp.width) == width < 48
    after = sum(layer.weight.numel() for _, layer in linear_layers(model))
    assert 1 - after / before == pytest.approx(0.2, abs=0.06)  # 4 of 48 neurons, by which rounding can miss
    assert all(int((layer.weight == 0).sum()) == 0 for _, layer in linear_layers(model))  # removed, not zeroed
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        expected = model(tokens).logits
        for again in (AutoModelForCausalLM.from_pretrained(tmp_path), load_model(tmp_path)):
            torch.testing.assert_close(again.eval()(tokens).logits, expected, rtol=0, atol=0)
    assert sum(len(m._forward_pre_hooks) for m in model.modules()) == 0


@pytest.mark.parametrize("name", ["llama", "opt"])
@pytest.mark.parametrize("correction", Correction)
def test_each_stage_of_the_method_lowers_the_error(name, correction):
    """Dense columns, restoration, recovery: in this order on the same first block, and by the same measure."""
    model, tokens = tiny(name), tiny_tokens()
    errors = {}
    restore = partial(restore_columns, damping=1e-3)
    for method, options in {
        "plain": {"restore": keep_columns},
        "restored": {"restore": restore},
        "recovered": {"restore": restore, "recover": partial(recover_mlp, damping=1e-3, held_out=0)},
    }.items():
        first = prune_units(
            copy.deepcopy(model), tokens, sparsity=0.2, select=fasp_select, correction=correction, multiple=8, **options
        )[0]
        errors[method] = first.error if first.recovered is None else first.recovered
    assert errors["recovered"] < errors["restored"] < errors["plain"]


@pytest.mark.parametrize("name", TINY)
def test_samples_are_those_of_the_network(name):
    """What the dense MLP puts out for the inputs that a stage reports, before and after its neighbours are pruned."""
    model, tokens = tiny(name), tiny_tokens(2)
    for stage in walk_units(model, tokens):
        x, y = stage.samples()
        dense = stage.mlp()
        assert relative_output_error(dense, x, y) < 1e-6
        reached = torch.cat([dense.units(part.flatten(0, -2)) for part in x])
        torch.testing.assert_close(reached.T @ reached / len(reached), stage.problem.gram, rtol=1e-4, atol=1e-5)
        stage.remove(torch.arange(40))
        with pytest.raises(ValueError, match="is not dense any more"):
            stage.samples()
        torch.testing.assert_close(stage.mlp().down, dense.down[:, :40], rtol=0, atol=0)


def mlp(*, gated: bool, seed: int, hidden: int = 8, width: int = 12, outputs: int = 6) -> MLP:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64) / 3

    gate = (draw(width, hidden), draw(width)) if gated else (None, None)
    activation = torch.nn.functional.silu if gated else torch.relu
    return MLP(draw(width, hidden), draw(width), *gate, draw(outputs, width), draw(outputs), activation)


def narrowed(network: MLP, kept: torch.Tensor) -> MLP:
    def rows(tensor):
        return None if tensor is None else tensor[kept]

    return MLP(
        rows(network.up),
        rows(network.up_bias),
        rows(network.gate),
        rows(network.gate_bias),
        network.down[:, kept],
        network.down_bias,
        network.activation,
    )


@given(gated=st.booleans(), seed=st.integers(0, 1000), tokens=st.integers(2, 80), damping=st.sampled_from([1e-4, 0.1]))
@settings(max_examples=25, deadline=None)
def test_sweeps_never_raise_the_error(gated, seed, tokens, damping):
    dense = mlp(gated=gated, seed=seed)
    x = list(inputs(8, tokens, seed=seed).split(30))
    y = [dense(part) for part in x]
    network = narrowed(dense, torch.arange(0, 12, 2))
    error = relative_output_error(network, x, y)
    for state, _ in zip(recovery_sweeps(network, x, y, damping=damping), range(3), strict=False):
        assert state.error <= error
        assert state.error == pytest.approx(relative_output_error(state.x, x, y), rel=1e-12)
        assert state.residual == pytest.approx((error - state.error) / (error or 1), abs=1e-12)
        error = state.error


def test_the_first_half_of_a_sweep_is_least_squares():
    """For ``down``, undamped."""
    dense = mlp(gated=True, seed=3)
    x, network = [inputs(8, 300, seed=0)], narrowed(dense, torch.arange(9))
    y = [dense(x[0])]
    solved = _down_step(network, x, y, 1, 0.0)(1.0).down
    expected = torch.linalg.lstsq(network.units(x[0]), y[0] - network.down_bias).solution.T
    torch.testing.assert_close(solved, expected, rtol=1e-7, atol=1e-9)


def test_the_second_half_of_a_sweep_is_least_squares():
    """For all entries of ``up`` at once, against one dense system."""
    dense = mlp(gated=True, seed=3)
    x, network = [inputs(8, 300, seed=0)], narrowed(dense, torch.arange(5))
    y = [dense(x[0])]
    solved = _up_step(network, x, y, 400, 1e-12)(1.0).up
    features = torch.einsum("mk,pk,ph->pmkh", network.down, network.slope(x[0]), x[0]).reshape(300 * 6, 40)
    fixed = torch.nn.functional.linear(network.slope(x[0]) * network.up_bias, network.down, network.down_bias)
    expected = torch.linalg.lstsq(features, (y[0] - fixed).reshape(-1, 1), driver="gelsd").solution.view(5, 8)
    error = float((features @ (solved - expected).reshape(-1, 1)).norm() / (features @ expected.reshape(-1, 1)).norm())
    assert error < 1e-3  # conjugate gradients end at a relative residual of 1e-4


def test_recovery_finds_a_network_that_was_perturbed():
    """The optimum has error 0: sweeps come close to it from a wrong ``up`` and ``down``."""
    dense = mlp(gated=True, seed=5)
    x = [torch.randn(400, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))]
    y = [dense(x[0])]
    start = MLP(
        dense.up + 0.1 * torch.randn(12, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1)),
        dense.up_bias,
        dense.gate,
        dense.gate_bias,
        dense.down,
        dense.down_bias,
        dense.activation,
    )
    before = relative_output_error(start, x, y)
    recovered = recover_mlp(start, x, y, sweeps=8, iterations=20, damping=1e-4, held_out=0)
    assert relative_output_error(recovered, x, y) < before / 20


@pytest.mark.parametrize(("windows", "noise", "help"), [(3, 1.0, False), (200, 0.1, True)])
def test_recovery_never_raises_the_error_on_the_windows_held_out(windows, noise, help):
    """With three windows the sweeps fit the noise, and are dropped; with two hundred they help."""
    generator = torch.Generator().manual_seed(0)
    dense = mlp(gated=True, seed=5)
    start = replace(
        dense,
        up=dense.up[:9],
        up_bias=dense.up_bias[:9],
        gate=dense.gate[:9],
        gate_bias=dense.gate_bias[:9],
        down=dense.down[:, :9],
    )
    x = [torch.randn(4, 8, dtype=torch.float64, generator=generator) for _ in range(windows)]
    y = [y + noise * y.std() * torch.randn(y.shape, dtype=y.dtype, generator=generator) for y in map(dense, x)]
    held_out = round(0.25 * windows)
    before = relative_output_error(start, x[-held_out:], y[-held_out:])
    after = relative_output_error(recover_mlp(start, x, y, sweeps=5), x[-held_out:], y[-held_out:])
    assert after <= before
    assert (after < before) == help


def test_bias_recovery_is_that_of_flap():
    model, tokens = tiny("opt"), tiny_tokens()
    before = decoder_blocks(model)[0].fc2.bias.detach().clone()
    stage = next(walk_units(model, tokens))
    kept = flap_select(stage.problem, 32)
    expected = mean_shift(stage.problem, kept, keep_columns(stage.problem, kept))
    x, y = stage.samples()
    stage.remove(kept)
    without = relative_output_error(stage.mlp(), x, y)
    stage.write(recover_bias(stage.mlp(), x, y))
    torch.testing.assert_close(decoder_blocks(model)[0].fc2.bias - before, expected, rtol=1e-4, atol=1e-5)
    assert relative_output_error(stage.mlp(), x, y) < without


def test_a_bias_for_a_layer_without_one_is_refused_by_name():
    with pytest.raises(ValueError, match=r"model\.layers\.0\.mlp\.down_proj has .* without a bias"):
        prune_units(
            tiny("llama"), tiny_tokens(), sparsity=0.2, select=flap_select, restore=keep_columns, recover=recover_bias
        )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["llama", "opt"])
def test_half_precision_models_keep_their_type(name, dtype):
    model, tokens = tiny(name).to(dtype), tiny_tokens()
    reports = prune_units(
        model, tokens, sparsity=0.2, multiple=8, select=spap_select, recover=partial(recover_mlp, held_out=0)
    )
    assert {p.dtype for p in model.parameters()} == {dtype}
    assert all(0 < r.recovered < r.error * 1.01 < 1 for r in reports)


def test_fewer_tokens_than_units():
    model = tiny("llama")
    reports = prune_units(model, tiny_tokens(1, 5), sparsity=0.2, multiple=8, **SPAP)
    assert all(r.error < 1 for r in reports)
    assert all(p.isfinite().all() for p in model.parameters())


def test_nothing_removed_changes_nothing():
    model, tokens = tiny("llama"), tiny_tokens()
    before = copy.deepcopy(model.state_dict())
    reports = prune_units(model, tokens, sparsity=0.0, select=fasp_select)
    assert [r.error for r in reports] == [0.0, 0.0]
    torch.testing.assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)


def test_bad_arguments_are_sentences():
    model, tokens = tiny("llama"), tiny_tokens()
    with pytest.raises(ValueError, match=r"sparsity must lie in \[0, 1\): a fraction of the weights, got 1.5"):
        prune_units(model, tokens, sparsity=1.5, select=fasp_select)
    with pytest.raises(TypeError, match="sparsity must be a number"):
        prune_units(model, tokens, sparsity="0.2", select=fasp_select)
    with pytest.raises(ValueError, match=r"select must keep 32 units of model\.layers\.0\.mlp\.down_proj, got 3"):
        prune_units(model, tokens, sparsity=0.2, select=lambda problem, count: torch.arange(3))
    next(walk_units(model, tokens)).remove(torch.arange(16))
    with pytest.raises(ValueError, match=r"MLPs of different widths, \[16, 48\]"):
        prune_units(model, tokens, sparsity=0.2, select=fasp_select)
    network = mlp_of(decoder_blocks(model)[0], family(model).mlp)
    with pytest.raises(ValueError, match="as many windows, got 1 and 0"):
        recovery_sweeps(network, [torch.ones(2, 32)], [])
    with pytest.raises(ValueError, match="damping must be positive, got 0"):
        recover_mlp(network, [torch.ones(2, 32)], [torch.ones(2, 32)], damping=0)
    with pytest.raises(ValueError, match=r"held_out must lie in \[0, 1\): a share of the windows, got 1"):
        recover_mlp(network, [torch.ones(2, 32)], [torch.ones(2, 32)], held_out=1)
    with pytest.raises(ValueError, match="iterations must be at least 1, got 0"):
        recover_mlp(network, [torch.ones(2, 32)], [torch.ones(2, 32)], iterations=0)
