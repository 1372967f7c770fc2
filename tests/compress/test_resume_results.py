"""What a solver returns beside weights survives a break, too: codes, tables, outliers, narrower layers."""

import json
import weakref
from functools import partial

import pytest
import torch
from safetensors.torch import save
from typer.testing import CliRunner

from optsci.cli import app
from optsci.compress import (
    Correction,
    LookupLinear,
    Shards,
    compress_resumable,
    fasp_select,
    flap_select,
    ganq_quantize,
    ganq_star,
    keep_columns,
    linear_layers,
    pack_layers,
    prune_units,
    prune_units_resumable,
    recover_bias,
    recover_mlp,
    replace_linear,
    round_to_nearest,
    spap_select,
    walk,
    write_packed,
)
from tiny_models import TINY, tiny, tiny_tokens

COMMANDS = "optsci.compress.commands"
SMALL = ("--samples", 4, "--length", 32)
BITS = ("--bits", 3)
WIDTH = ("--multiple", 8, "--sparsity", 0.15)
RUNS = {  # the command, its options, and the solver in which it is broken off
    "ganq": ("quantize", BITS, "quantizing.ganq_quantize"),
    "dense": ("quantize", (*BITS, "--no-pack"), "quantizing.ganq_quantize"),
    "outliers": ("quantize", (*BITS, "--method", "ganq-star", "--outliers", 0.1), "quantizing.ganq_star"),
    "bfloat16": ("quantize", ("--method", "ganq-star", "--dtype", "bfloat16"), "quantizing.ganq_star"),
    "gptq": ("quantize", ("--method", "gptq", "--correction", "across-blocks"), "quantizing.gptq"),
    "flap": ("prune-units", (*WIDTH, "--method", "flap"), "pruning.flap_select"),
    "fasp": ("prune-units", (*WIDTH, "--method", "fasp"), "pruning.fasp_select"),
    "spap": ("prune-units", (*WIDTH, "--method", "spap"), "pruning.spap_select"),
}
UNITS = {
    "flap": {"select": flap_select, "restore": keep_columns},
    "flap with a bias": {"select": flap_select, "restore": keep_columns, "recover": recover_bias},
    "fasp": {"select": fasp_select},
    "spap": {"select": spap_select, "recover": partial(recover_mlp, held_out=0)},
}


class Stop(Exception):  # noqa: N818 - what a test breaks a run off with
    pass


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def files(folder):
    """Name and bytes of every file; the report without its times."""
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    report = json.loads(content["compression.json"])
    content["compression.json"] = {**report, "layers": [{**layer, "seconds": 0} for layer in report["layers"]]}
    return content


def weights(model):
    return save({name: tensor.clone() for name, tensor in model.state_dict().items()})


def watched(solver, names, *, stop=None):
    """The solver; the names of the problems go into a list, and from the one that has ``stop`` in it, it is over."""

    def solve(problem, *arguments, **options):
        if stop is not None and stop in problem.name:
            raise KeyboardInterrupt
        names.append(problem.name)
        return solver(problem, *arguments, **options)

    return solve


@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_was_broken_off_ends_with_the_same_files(name, model, text, tmp_path, monkeypatch):
    command, options, target = RUNS[name]
    module, _, function = target.partition(".")
    solver = getattr(__import__(f"{COMMANDS}.{module}", fromlist=[function]), function)
    options = ("--text", text, *SMALL, *options)
    assert run(command, model, tmp_path / "whole", *options).exit_code == 0

    with monkeypatch.context() as patch:
        patch.setattr(f"{COMMANDS}.{target}", watched(solver, [], stop="layers.1.mlp.down_proj"))
        assert run(command, model, tmp_path / "out", *options).exit_code != 0
    assert {p.name for p in (tmp_path / "out.partial").iterdir()} == {"manifest.json", "block-00000.safetensors"}
    assert not (tmp_path / "out").exists()

    result = run(command, model, tmp_path / "out", *options)
    assert result.exit_code == 2
    assert "out.partial' holds the finished blocks of an interrupted run: give --resume" in result.output

    names = []
    with monkeypatch.context() as patch:
        patch.setattr(f"{COMMANDS}.{target}", watched(solver, names))
        result = run(command, model, tmp_path / "out", *options, "--resume")
    assert result.exit_code == 0, result.output
    assert len(names) == (7 if command == "quantize" else 1)
    assert all("layers.1." in name for name in names)
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"out", "whole"}


def test_what_else_lies_in_the_work_folder_is_kept(model, text, tmp_path, monkeypatch):
    small = ("--text", text, *SMALL, "--method", "gptq")
    with monkeypatch.context() as patch:
        patch.setattr(f"{COMMANDS}.quantizing.gptq", watched(None, [], stop="layers.0"))
        assert run("quantize", model, tmp_path / "out", *small).exit_code != 0
    assert run("quantize", model, tmp_path / "out.partial" / "inner", *small).exit_code == 0
    assert run("quantize", model, tmp_path / "out", *small, "--resume").exit_code == 0
    assert {path.name for path in (tmp_path / "out.partial").iterdir()} == {"inner"}
    assert files(tmp_path / "out.partial" / "inner") == files(tmp_path / "out")


@pytest.mark.parametrize(
    ("command", "options", "sentence"),
    [
        ("quantize", ("--bits", 2), "bits was 4 there and is 2 now"),
        ("quantize", ("--no-pack",), "pack was True there and is False now"),
        ("quantize", ("--method", "gptq"), "method was 'ganq' there and is 'gptq' now"),
        ("quantize", ("--correction", "within-block"), "correction was 'none' there and is 'within-block' now"),
        ("quantize", ("--dtype", "bfloat16"), "dtype was 'torch.float32' there and is 'torch.bfloat16' now"),
        ("prune-units", ("--sparsity", 0.1), "sparsity was 0.2 there and is 0.1 now"),
        ("prune-units", ("--multiple", 16), "multiple was 32 there and is 16 now"),
        ("prune-units", ("--method", "fasp"), "method was 'spap' there and is 'fasp' now"),
        ("prune-units", ("--samples", 3), "samples was 4 there and is 3 now"),
    ],
)
def test_a_run_of_other_settings_is_refused(command, options, sentence, model, text, tmp_path, monkeypatch):
    small = ("--text", text, *SMALL)
    with monkeypatch.context() as patch:
        for module in ("quantizing.ganq_quantize", "pruning.spap_select"):
            patch.setattr(f"{COMMANDS}.{module}", watched(None, [], stop=""))
        assert run(command, model, tmp_path / "out", *small).exit_code != 0
    before = (tmp_path / "out.partial" / "manifest.json").read_bytes()
    result = run(command, model, tmp_path / "out", *small, "--resume", *options)
    assert result.exit_code == 2
    assert f"holds a run of other settings: {sentence}" in result.output
    assert [path.name for path in (tmp_path / "out.partial").iterdir()] == ["manifest.json"]
    assert (tmp_path / "out.partial" / "manifest.json").read_bytes() == before


def test_another_share_of_outliers_is_another_run(model, text, tmp_path, monkeypatch):
    star = ("--text", text, *SMALL, "--method", "ganq-star")
    with monkeypatch.context() as patch:
        patch.setattr(f"{COMMANDS}.quantizing.ganq_star", watched(None, [], stop=""))
        assert run("quantize", model, tmp_path / "out", *star).exit_code != 0
    result = run("quantize", model, tmp_path / "out", *star, "--outliers", 0.1, "--resume")
    assert result.exit_code == 2
    assert "other settings: outliers was 0.005 there and is 0.1 now" in result.output
    assert run("quantize", model, tmp_path / "out", *star, "--outliers", 0.005, "--resume").exit_code == 0


@pytest.mark.parametrize(("command", "options"), [("quantize", BITS), ("prune-units", WIDTH)])
def test_where_things_are_kept_does_not_change_the_files(command, options, model, text, tmp_path):
    (tmp_path / "states").mkdir()
    for name, places in {"plain": (), "kept": ("--offload", "--activations", tmp_path / "states")}.items():
        result = run(command, model, tmp_path / name, "--text", text, *SMALL, *options, *places)
        assert result.exit_code == 0, result.output
    assert files(tmp_path / "kept") == files(tmp_path / "plain")
    assert list((tmp_path / "states").iterdir()) == []
    result = run(command, model, tmp_path / "other", "--text", text, *SMALL, "--activations", tmp_path / "nowhere")
    assert result.exit_code == 2
    assert "nowhere': there is no such folder" in result.output


@pytest.mark.parametrize("solver", [partial(round_to_nearest, bits=4), partial(ganq_star, bits=2, outliers=0.1)])
@pytest.mark.parametrize("family", TINY)
def test_packed_layers_are_those_of_the_quantizer(family, solver, tmp_path):
    """As written by hand: one packed layer after the other, from results that were all kept in memory."""
    by_hand, tokens, found = tiny(family).bfloat16(), tiny_tokens(), {}
    for stage in walk(by_hand, tokens):
        found[stage.name] = solver(stage.problem)
        stage.write(found[stage.name].weights)
    dense = weights(by_hand)
    for name, quantized in found.items():
        layer = by_hand.get_submodule(name)
        replace_linear(by_hand, name, LookupLinear.from_quantized(quantized, layer.bias).to(layer.weight))

    model = tiny(family).bfloat16()
    compress_resumable(model, tokens, solver, tmp_path / "work", settings={}, write=write_packed)
    assert weights(model) == dense
    pack_layers(model, Shards(tmp_path / "work"))
    assert weights(model) == weights(by_hand)
    assert model.config.quantization_config == by_hand.config.quantization_config


def test_codes_of_finished_blocks_are_not_in_memory(tmp_path):
    made = []

    def write(stage, quantized):
        if stage.name == "model.layers.2.self_attn.q_proj":
            assert not [name for name, reference in made if ".layers.0." in name and reference() is not None]
        kept = write_packed(stage, quantized)
        made.append((f"{stage.name}.codes", weakref.ref(quantized.codes)))
        made.extend((name, weakref.ref(tensor)) for name, tensor in kept.items())
        return kept

    model = tiny("llama", blocks=3)
    compress_resumable(model, tiny_tokens(), round_to_nearest, tmp_path / "work", settings={}, write=write)
    assert len(made) == 3 * 7 * 3


@pytest.mark.parametrize("correction", Correction)
@pytest.mark.parametrize(
    ("family", "method"),
    [*(("llama", name) for name in ("flap", "fasp", "spap")), *(("opt", name) for name in UNITS)],
)
@pytest.mark.parametrize("lost", [0, 1, 2])
def test_units_of_a_block_that_was_lost_are_pruned_again(family, method, correction, lost, tmp_path):
    """Any block may be missing: those before and after it are as narrow as they were, with all their biases."""
    options = {**UNITS[method], "sparsity": 0.2, "multiple": 8, "correction": correction}
    whole, again = tiny(family, blocks=3), tiny(family, blocks=3)
    expected = prune_units(whole, tiny_tokens(), **options)
    run = partial(prune_units_resumable, tokens=tiny_tokens(), folder=tmp_path / "work", settings={}, **options)
    run(tiny(family, blocks=3))
    shard = tmp_path / "work" / f"block-0000{lost}.safetensors"
    before = Shards(tmp_path / "work")[lost]
    shard.unlink()
    reports = run(again)
    assert weights(again) == weights(whole)
    assert again.config.to_dict() == whole.config.to_dict()
    assert [(r.name, r.kept, r.error, r.recovered) for r in reports] == [
        (r.name, r.kept, r.error, r.recovered) for r in expected
    ]
    assert save(dict(Shards(tmp_path / "work")[lost])) == save(dict(before))
    assert all(layer.weight.shape == (layer.out_features, layer.in_features) for _, layer in linear_layers(again))


def test_units_broken_off_are_pruned_on_from_the_last_block(tmp_path):
    options = {"sparsity": 0.2, "multiple": 8, "settings": {"select": "fasp"}}
    run = partial(prune_units_resumable, tokens=tiny_tokens(), folder=tmp_path / "work", **options)

    def stopped(problem, count):
        if ".layers.1." in problem.name:
            raise Stop
        return fasp_select(problem, count)

    for _ in range(2):
        with pytest.raises(Stop):
            run(tiny("llama"), select=stopped)
        assert list(Shards(tmp_path / "work")) == [0]
    names, whole, again = [], tiny("llama"), tiny("llama")
    run(again, select=watched(fasp_select, names))
    prune_units(whole, tiny_tokens(), sparsity=0.2, multiple=8, select=fasp_select)
    assert names == ["model.layers.1.mlp.down_proj"]
    assert weights(again) == weights(whole)
    run(tiny("llama"), select=None)  # nothing is left to do
    with pytest.raises(ValueError, match=r"sparsity was 0\.2 there and is 0\.3 now"):
        run(tiny("llama"), select=fasp_select, sparsity=0.3)
    with pytest.raises(ValueError, match="select was 'fasp' there and is 'flap' now"):
        run(tiny("llama"), select=flap_select, settings={"select": "flap"})
    with pytest.raises(ValueError, match="weights was "):
        run(tiny("llama", seed=1), select=fasp_select)


def test_a_result_of_the_wrong_kind_is_a_sentence(tmp_path):
    run = partial(compress_resumable, tokens=tiny_tokens(), folder=tmp_path / "work", settings={})
    with pytest.raises(TypeError, match=r"q_proj must be a tensor \(m, n\), got a Quantized: give its weights"):
        run(tiny("llama"), solver=ganq_quantize)
    with pytest.raises(TypeError, match=r"q_proj must be a Quantized, got a Tensor"):
        run(tiny("llama"), solver=lambda problem: problem.weight, write=write_packed)
    assert list(Shards(tmp_path / "work")) == []


@pytest.mark.gpu
def test_units_are_pruned_on_the_device_and_come_home(tmp_path):
    """The model stays in host memory; blocks that are finished are as narrow there as those that are not."""
    options = {**UNITS["spap"], "sparsity": 0.2, "multiple": 8, "device": torch.device("cuda")}
    models = [tiny("llama"), tiny("llama")]
    for model in models:
        prune_units_resumable(model, tiny_tokens(), tmp_path / "work", settings={}, **options)
        assert not any(parameter.is_cuda for parameter in model.parameters())
        (tmp_path / "work" / "block-00000.safetensors").unlink()
    for one, other in zip(*(model.state_dict().values() for model in models), strict=True):
        torch.testing.assert_close(one, other)
