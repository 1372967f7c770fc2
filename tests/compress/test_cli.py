"""The command line, in its own process where that matters: what it writes, and one sentence for every bad input."""

import json

import pytest
import torch
from typer.testing import CliRunner

from optsci.cli import app
from optsci.compress.sample import moby_dick
from tiny_models import tiny

runner = CliRunner()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with a tiny model and a tokenizer of single characters."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("model")
    tiny("llama").save_pretrained(folder)
    letters = {letter: i for i, letter in enumerate("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ .,;:'!?-\n")}
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE(vocab=letters, merges=[]))).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(moby_dick()[0][10_000:16_000], encoding="utf-8")
    return path


def run(*arguments):
    return runner.invoke(app, [str(a) for a in arguments])


@pytest.mark.parametrize(
    "options", [(), ("--prune", "wanda", "--no-refit"), ("--sparsity", "2:4", "--correction", "within-block")]
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
    } <= names
    assert not any(name.endswith((".bin", ".pt")) for name in names)
    report = json.loads((tmp_path / "out" / "compression.json").read_text())
    assert len(report["layers"]) == 14
    assert report["settings"]["samples"] == 4
    result = run("evaluate", tmp_path / "out", "--text", text, "--length", 32, "--windows", 3)
    assert result.exit_code == 0, result.output
    assert "on 96 tokens: 3 windows of 32, 93 predictions, no special tokens, torch.float32" in result.output


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--sparsity", "1"), "sparsity must be a fraction of zeros in [0, 1)"),
        (("--sparsity", "-0.5"), "sparsity must be a fraction of zeros in [0, 1)"),
        (("--sparsity", "2:5"), "sparsity 2:5 does not fit model.layers.0.self_attn.q_proj"),
        (("--length", "100000"), "fewer than one window of length=100000"),
        (("--length", "1000"), "length=1000 is more than the 512 positions"),
        (("--samples", "0"), "samples must be at least 1, got 0"),
        (("--text", "missing.txt"), "--text 'missing.txt': there is no such file"),
    ],
)
def test_bad_options_are_one_sentence(model, text, tmp_path, options, sentence):
    result = run("compress", model, tmp_path / "out", "--text", text, "--length", 32, *options)
    assert result.exit_code == 2
    assert sentence in result.output
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


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
    import shutil

    folder = shutil.copytree(model, tmp_path / "broken")
    broken = tiny("llama")
    with torch.no_grad():
        broken.model.layers[1].mlp.down_proj.weight[0, 0] = float("inf")
    broken.save_pretrained(folder)
    result = run("compress", folder, tmp_path / "out", "--text", text, "--samples", 2, "--length", 32)
    assert result.exit_code == 2
    assert "the weights of model.layers.1.mlp.down_proj hold a NaN or an infinity" in result.output
    assert [p.name for p in tmp_path.iterdir()] == ["broken"]
