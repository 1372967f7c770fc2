"""The command line, in its own process where that matters: what it writes, and one sentence for every bad input."""

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from importlib.metadata import version

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import optsci
from optsci.cli import app
from tiny_models import tiny

runner = CliRunner()


def run(*arguments):
    return runner.invoke(app, [str(a) for a in arguments])


def rows_are_equal(folder):
    """Whether the rows of a pruned layer have equally many zeros."""
    weight = load_file(folder / "model.safetensors")["model.layers.0.mlp.up_proj.weight"]
    return len((weight == 0).sum(1).unique()) == 1


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--prune", "wanda", "--no-refit"),
        ("--prune", "alps"),
        ("--prune", "admm"),
        ("--sparsity", "2:4", "--correction", "within-block"),
        ("--prune", "magnitude", "--no-refit", "--whole-matrix"),
    ],
)
def test_compress_then_evaluate(model, text, tmp_path, options):
    small = ("--samples", 4, "--length", 32)
    result = run("compress", model, tmp_path / "out", "--text", text, *small, *options)
    assert result.exit_code == 0, result.output
    assert "14 layers, 50.0" in result.output
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert {
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        "compression.json",
        "compression.png",
        "sparsity.png",
    } <= names
    assert not any(name.endswith((".bin", ".pt")) for name in names)
    report = json.loads((tmp_path / "out" / "compression.json").read_text())
    assert len(report["layers"]) == 14
    assert report["settings"]["samples"] == 4
    assert report["settings"]["whole_matrix"] == ("--whole-matrix" in options)
    assert rows_are_equal(tmp_path / "out") == ("--whole-matrix" not in options)
    result = run("evaluate", tmp_path / "out", "--text", text, "--length", 32, "--windows", 3)
    assert result.exit_code == 0, result.output
    assert "on 96 tokens: 3 windows of 32, 93 predictions, no special tokens, torch.float32" in result.output
    assert "one window of 16 tokens, cpu\nweights 0.07 MB in memory, 0.07 MB on disk" in result.output
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--sparsity", "1"), "sparsity must be a fraction of zeros in [0, 1)"),
        (("--sparsity", "-0.5"), "sparsity must be a fraction of zeros in [0, 1)"),
        (("--sparsity", "2:5"), "sparsity 2:5 does not fit model.layers.0.self_attn.q_proj"),
        (("--length", "100000"), "fewer than one window of length=100000"),
        (("--length", "1000"), "length=1000 is more than the 512 positions"),
        (("--sparsity", "nan"), "sparsity must be a fraction of zeros in [0, 1)"),
        (("--sparsity", "0:4"), "sparsity '0:4' keeps nothing"),
        (("--sparsity", "2:4", "--whole-matrix"), "only a fraction counts over a whole matrix"),
        (("--samples", "0"), "Invalid value for '--samples'"),
        (("--length", "1"), "Invalid value for '--length'"),
        (("--seed", 10**23), "Invalid value for '--seed'"),
        (("--seed", -1), "Invalid value for '--seed'"),
        (("--device", "foo"), "--device 'foo' cannot be used here: Expected one of cpu, cuda"),
        (("--device", "meta"), "--device 'meta' cannot be used here"),
        (("--device", "hpu"), "--device 'hpu' cannot be used here"),
        (("--text", "missing.txt"), "--text 'missing.txt': there is no such file"),
        (("--activations", "missing"), "--activations 'missing': there is no such folder"),
    ],
)
def test_bad_options_are_one_sentence(model, text, tmp_path, options, sentence):
    result = run("compress", model, tmp_path / "out", "--text", text, "--length", 32, *options)
    assert result.exit_code == 2
    assert sentence in result.output
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--windows", 0), "Invalid value for '--windows'"),
        (("--windows", -1), "Invalid value for '--windows'"),
        (("--length", 1), "Invalid value for '--length'"),
        (("--device", "foo"), "--device 'foo' cannot be used here"),
    ],
)
def test_bad_options_of_evaluate_are_one_sentence(model, text, options, sentence):
    result = run("evaluate", model, "--text", text, "--length", 32, *options)
    assert result.exit_code == 2
    assert sentence in result.output


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_device_that_is_not_there_is_refused_before_anything_is_read():
    result = run("evaluate", "models/missing", "--text", "missing.txt", "--device", "cuda")
    assert result.exit_code == 2
    assert result.output.startswith("optsci: --device 'cuda' cannot be used here: ")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"", "is empty"), (b" \n", "is empty"), (b"Schl\xf6sser", "is not UTF-8: invalid start byte at byte 4")],
)
def test_a_text_that_cannot_be_read_is_named(model, tmp_path, content, sentence):
    (tmp_path / "bad.txt").write_bytes(content)
    result = run("evaluate", model, "--text", tmp_path / "bad.txt")
    assert result.exit_code == 2
    assert f"--text {str(tmp_path / 'bad.txt')!r} {sentence}" in result.output


def test_a_mistyped_folder_is_not_reported_as_a_network_failure(text):
    result = run("evaluate", "models/missing", "--text", text)
    assert result.exit_code == 2
    assert "MODEL 'models/missing': no local folder has this name, nor did the hub give it: " in result.output


def test_a_damaged_checkpoint_is_one_sentence(model, text, tmp_path):
    folder = shutil.copytree(model, tmp_path / "damaged")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:3000])
    result = run("evaluate", folder, "--text", text, "--length", 32)
    assert result.exit_code == 2
    assert f"MODEL {str(folder)!r} cannot be read: " in result.output


def test_layers_that_are_not_linear_are_one_sentence(model, text, tmp_path, monkeypatch):
    quantized = tiny("llama")
    quantized.model.layers[0].mlp.up_proj = torch.nn.Identity()
    monkeypatch.setattr("optsci.compress.commands.run.load_model", lambda *_, **__: quantized)
    result = run("compress", model, tmp_path / "out", "--text", text, "--length", 32)
    assert result.exit_code == 2
    assert "mlp.up_proj is a Identity" in result.output


def test_version_has_one_value():
    assert run("--version").output == f"optsci {optsci.__version__}\n"
    assert version("optsci") == optsci.__version__


def test_the_package_runs_as_a_module():
    output = subprocess.run([sys.executable, "-m", "optsci", "--version"], check=True, capture_output=True, text=True)
    assert output.stdout == f"optsci {optsci.__version__}\n"


def test_bad_models_are_one_sentence(model, text, tmp_path):
    (tmp_path / "exists").mkdir()
    result = run("compress", model, tmp_path / "exists", "--text", text)
    assert result.exit_code == 2
    assert "exists; give --overwrite" in result.output

    result = run("compress", tmp_path / "nowhere", tmp_path / "out", "--text", text)
    assert result.exit_code == 2
    assert "neither a folder, a .gguf file nor a hub id" in result.output

    pickled = tmp_path / "pickled"
    broken = tiny("llama")
    broken.config.save_pretrained(pickled)
    torch.save(broken.state_dict(), pickled / "pytorch_model.bin")
    result = run("compress", pickled, tmp_path / "out", "--text", text)
    assert result.exit_code == 2
    assert "pickled checkpoint" in result.output


def test_weights_that_are_not_finite_are_named(model, text, tmp_path):
    folder = shutil.copytree(model, tmp_path / "broken")
    broken = tiny("llama")
    with torch.no_grad():
        broken.model.layers[1].mlp.down_proj.weight[0, 0] = float("inf")
    broken.save_pretrained(folder)
    result = run("compress", folder, tmp_path / "out", "--text", text, "--samples", 2, "--length", 32)
    assert result.exit_code == 2
    assert "the weights of model.layers.1.mlp.down_proj hold a NaN or an infinity" in result.output
    assert [p.name for p in tmp_path.iterdir()] == ["broken"]


def test_an_interrupted_run_goes_on(model, text, tmp_path, monkeypatch):
    from optsci import compress as c

    small = ("--text", text, "--samples", 4, "--length", 32, "--prune", "wanda", "--no-refit")
    assert run("compress", model, tmp_path / "whole", *small).exit_code == 0

    def fail(problem, **options):
        if ".layers.1.mlp" in problem.name:
            raise KeyboardInterrupt
        return c.magnitude(problem, **options)

    with monkeypatch.context() as patch:
        patch.setattr(
            "optsci.compress.commands.pruning.wanda", fail
        )  # another result in block 0, to tell who solved it
        assert run("compress", model, tmp_path / "out", *small).exit_code != 0
    assert {p.name for p in (tmp_path / "out.partial").iterdir()} == {"manifest.json", "block-00000.safetensors"}
    assert not (tmp_path / "out").exists()

    result = run("compress", model, tmp_path / "out", *small)
    assert result.exit_code == 2
    assert "out.partial' holds the finished blocks of an interrupted run: give --resume" in result.output
    result = run("compress", model, tmp_path / "out", *small, "--resume", "--seed", 3)
    assert result.exit_code == 2
    assert "holds a run of other settings: seed was 0 there and is 3 now" in result.output

    result = run("compress", model, tmp_path / "out", *small, "--resume")
    assert result.exit_code == 0, result.output
    assert "14 layers" in result.output
    assert {p.name for p in tmp_path.iterdir()} == {"whole", "out"}
    whole, out = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "out"))
    assert not torch.equal(whole["model.layers.0.mlp.up_proj.weight"], out["model.layers.0.mlp.up_proj.weight"])


def test_where_things_are_kept_does_not_change_the_result(model, text, tmp_path):
    small = ("--text", text, "--samples", 4, "--length", 32)
    (tmp_path / "states").mkdir()
    for name, options in {"plain": (), "kept": ("--offload", "--activations", tmp_path / "states")}.items():
        assert run("compress", model, tmp_path / name, *small, *options).exit_code == 0
    plain, kept = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("plain", "kept"))
    assert plain == kept
    assert list((tmp_path / "states").iterdir()) == []


def test_evaluate_before_and_after(model, text, tmp_path):
    half = shutil.copytree(model, tmp_path / "half")
    tiny("llama").bfloat16().save_pretrained(half)
    result = run("evaluate", half, "--against", model, "--text", text, "--length", 32, "--windows", 2)
    assert result.exit_code == 0, result.output
    before, after = result.stdout.split(f"{half}:\n")
    assert before.startswith(f"{model}:\nperplexity ")
    assert "torch.float32" in before
    assert "MB in memory, 0.07 MB on disk" in before
    assert "torch.bfloat16" in after
    assert "MB in memory, 0.04 MB on disk" in after
    if os.access("/proc/self/clear_refs", os.W_OK):
        for said in (before, after):
            held = re.search(r"memory of the process: (\d+) MB before loading, at most (\d+) MB while reading", said)
            assert 0 < int(held[1]) <= int(held[2]) + 20


def test_models_with_different_tokenizers_are_not_compared(model, text, tmp_path):
    other = shutil.copytree(model, tmp_path / "other")
    vocabulary = json.loads((other / "tokenizer.json").read_text())
    vocabulary["model"]["vocab"].update({"a": 1, "b": 0})
    (other / "tokenizer.json").write_text(json.dumps(vocabulary))
    result = run("evaluate", model, "--against", other, "--text", text, "--length", 32)
    assert result.exit_code == 2
    assert f"MODEL {str(model)!r} and --against {str(other)!r} cut the text into different tokens" in result.output


@pytest.mark.parametrize("method", ["flap", "fasp", "spap"])
def test_prune_units_writes_a_smaller_model_that_transformers_load(model, text, tmp_path, method):
    from transformers import AutoModelForCausalLM

    small = ("--samples", 4, "--length", 32, "--multiple", 8, "--sparsity", 0.15)
    result = run("prune-units", model, tmp_path / "out", "--text", text, "--method", method, *small)
    assert result.exit_code == 0, result.output
    smaller = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    width = smaller.config.intermediate_size
    assert f"2 MLPs, {width} of 48 neurons" in result.output
    assert width < 48
    assert smaller.model.layers[1].mlp.down_proj.weight.shape[1] == width
    report = json.loads((tmp_path / "out" / "compression.json").read_text())
    assert [layer["kept"] for layer in report["layers"]] == [width, width]
    assert "perplexity" in run("evaluate", tmp_path / "out", "--text", text, "--length", 32, "--windows", 2).output


@pytest.mark.filterwarnings("ignore:LookupLinear")
@pytest.mark.parametrize("method", ["round", "k-means", "gptq", "ganq", "ganq-star"])
def test_quantize_packed_and_dense_are_the_same_model(model, text, tmp_path, method):
    options = ("--text", text, "--samples", 4, "--length", 32, "--bits", 3, "--method", method)
    packed, dense = (
        run("quantize", model, tmp_path / "a", *options),
        run("quantize", model, tmp_path / "b", *options, "--no-pack"),
    )
    assert packed.exit_code == 0, packed.output
    assert dense.exit_code == 0, dense.output
    assert "14 layers of 3 bits" in packed.output
    assert (tmp_path / "a" / "codes.png").is_file()
    assert json.loads((tmp_path / "a" / "config.json").read_text())["quantization_config"]["quant_method"]
    weight = load_file(tmp_path / "b" / "model.safetensors")["model.layers.0.mlp.up_proj.weight"]
    if method != "ganq-star":
        assert max(len(row.unique()) for row in weight) <= 8
    tokens = torch.arange(20)[None]
    with torch.no_grad():
        logits = [optsci.compress.load_model(tmp_path / name)(tokens).logits for name in "ab"]
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-4)


def test_outliers_are_a_share_of_the_weights(model, text, tmp_path):
    """Those strictly beyond the quantiles of their row: of 32 weights one above and two below, of 48 two and three."""
    options = ("--text", text, "--samples", 4, "--length", 32, "--method", "ganq-star", "--outliers", 0.1)
    assert run("quantize", model, tmp_path / "out", *options).exit_code == 0
    layers = json.loads((tmp_path / "out" / "config.json").read_text())["quantization_config"]["layers"]
    assert layers["model.layers.0.self_attn.q_proj"]["outliers"] == 32 * 3
    assert layers["model.layers.0.mlp.down_proj"]["outliers"] == 32 * 5
    assert json.loads((tmp_path / "out" / "compression.json").read_text())["settings"]["outliers"] == 0.1


@pytest.mark.parametrize("command", ["compress", "quantize", "prune-units"])
def test_a_model_without_blocks_is_one_sentence(command, model, text, tmp_path):
    folder = shutil.copytree(model, tmp_path / "empty")
    tiny("llama", blocks=0).save_pretrained(folder)
    result = run(command, folder, tmp_path / "out", "--text", text, "--samples", 2, "--length", 16)
    assert result.exit_code == 2
    assert result.output.endswith("optsci: model has no decoder blocks: there is nothing to compress\n")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_quantized_model_is_not_quantized_again(model, text, tmp_path):
    options = ("--text", text, "--samples", 2, "--length", 16, "--method", "round")
    assert run("quantize", model, tmp_path / "once", *options).exit_code == 0
    result = run("quantize", tmp_path / "once", tmp_path / "twice", *options)
    assert result.exit_code == 2
    assert "self_attn.q_proj is a LookupLinear; only torch.nn.Linear can be compressed" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["once"]


def test_neurons_are_removed_by_one_process(model, text, tmp_path, monkeypatch):
    @contextmanager
    def of_two(device):
        yield 0, 2

    monkeypatch.setattr("optsci.compress.commands.run.process_group", of_two)
    result = run("prune-units", model, tmp_path / "out", "--text", text, "--samples", 2, "--length", 16)
    assert result.exit_code == 2
    assert "optsci: prune-units runs in one process" in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("prune-units", "--sparsity", 1.5), "sparsity"),
        (("quantize", "--bits", 9), "--bits"),
        (("quantize", "--bits", 5), "--bits 5 cannot be packed: take one of 2, 3, 4, 8, or --no-pack"),
        (("quantize", "--device", "nowhere"), "--device 'nowhere' cannot be used here"),
        (
            ("quantize", "--outliers", 0.01),
            "--outliers 0.01 needs --method ganq-star: ganq keeps no weights apart",
        ),
        (("quantize", "--outliers", 0.0, "--method", "gptq"), "--outliers 0.0 needs --method ganq-star"),
        (("quantize", "--outliers", 1, "--method", "ganq-star"), "outliers must lie in [0, 1): a share of the weights"),
        (("quantize", "--outliers", "nan", "--method", "ganq-star"), "outliers must lie in [0, 1)"),
        (
            ("quantize", "--bits", 8),
            "bits=8 makes tables of 256 values, more than the 32 weights in a row of model.layers.0.self_attn.q_proj",
        ),
    ],
)
def test_bad_options_of_the_other_commands(model, text, tmp_path, arguments, sentence):
    command, *options = arguments
    result = run(command, model, tmp_path / "out", "--text", text, "--samples", 2, "--length", 16, *options)
    assert result.exit_code == 2
    assert sentence in result.output
    assert not (tmp_path / "out").exists()
