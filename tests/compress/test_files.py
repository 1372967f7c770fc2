"""Files: whole or not there, safetensors or refused; texts and windows; the sample data."""

import json
from pathlib import Path

import pytest
import torch

from optsci.compress import calibration, encode, load_model, sample_windows, whole_folder, windows
from optsci.compress.report import write_json
from optsci.compress.sample import Bytes, moby_dick
from tiny_models import tiny


def test_a_folder_appears_only_when_it_is_whole(tmp_path):
    with pytest.raises(TypeError), whole_folder(tmp_path / "out") as part:
        (part / "weights").write_text(3)
    assert list(tmp_path.iterdir()) == []
    with whole_folder(tmp_path / "deep" / "out") as part:
        assert not (tmp_path / "deep" / "out").exists()
        (part / "weights").write_text("whole")
    assert (tmp_path / "deep" / "out" / "weights").read_text() == "whole"


def test_an_existing_folder_is_replaced_only_on_request_and_only_by_a_whole_one(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("")
    with pytest.raises(FileExistsError, match=r"OUT '.*out' exists; give --overwrite"), whole_folder(out):
        pass
    with pytest.raises(RuntimeError), whole_folder(out, overwrite=True):
        raise RuntimeError
    assert [p.name for p in out.iterdir()] == ["old"]
    with whole_folder(out, overwrite=True) as part:
        (part / "new").write_text("")
    assert [p.name for p in out.iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_json_is_never_half_written(tmp_path):
    write_json(tmp_path / "report.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "report.json", {"a": object()})
    assert json.loads((tmp_path / "report.json").read_text()) == {"a": 1}


def test_a_pickled_checkpoint_is_refused(tmp_path):
    model = tiny("llama")
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pickled checkpoint \(pytorch_model\.bin\), which can run any code"):
        load_model(tmp_path)


def test_an_unknown_architecture_is_refused_before_its_weights_are_read(tmp_path):
    from transformers import GPT2Config

    GPT2Config(n_layer=1).save_pretrained(tmp_path)  # and no weights at all
    with pytest.raises(ValueError, match="'gpt2'; supported are llama, mistral, opt, qwen2, qwen3"):
        load_model(tmp_path)


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/folder", "a/b/c", "missing.gguf"])
def test_a_model_that_is_not_there_is_a_sentence(name):
    with pytest.raises(FileNotFoundError, match=r"MODEL '.*(neither a folder|no such file)"):
        load_model(name)


def test_a_folder_that_is_no_model_is_a_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        load_model(tmp_path)


def test_loading_keeps_the_type_of_the_checkpoint(tmp_path):
    tiny("qwen2").to(torch.bfloat16).save_pretrained(tmp_path)
    assert load_model(tmp_path).dtype == torch.bfloat16
    assert load_model(tmp_path, dtype=torch.float32).dtype == torch.float32


def test_windows_are_consecutive_and_samples_are_reproducible():
    tokens = torch.arange(100)
    assert windows(tokens, length=30).tolist() == tokens[:90].view(3, 30).tolist()
    assert windows(tokens, length=30, limit=2).shape == (2, 30)
    drawn = sample_windows(tokens, samples=50, length=10, seed=3)
    assert (drawn[:, 1:] - drawn[:, :-1] == 1).all()
    assert drawn.min() >= 0
    assert drawn.max() <= 99
    assert torch.equal(drawn, sample_windows(tokens, samples=50, length=10, seed=3))
    assert not torch.equal(drawn, sample_windows(tokens, samples=50, length=10, seed=4))
    whole = sample_windows(tokens, samples=2, length=100)
    assert torch.equal(whole[0], tokens)


def test_a_text_shorter_than_a_window_is_a_sentence():
    with pytest.raises(ValueError, match="the text has 5 tokens, fewer than one window of length=8"):
        calibration("Whale", Bytes(), samples=2, length=8)
    with pytest.raises(ValueError, match="the text has 5 tokens, fewer than one window of length=8"):
        windows(encode("Whale", Bytes()), length=8)
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        calibration("Whale", Bytes(), samples=0, length=4)
    with pytest.raises(ValueError, match="length must be at least 2 tokens, got 1"):
        calibration("Whale", Bytes(), samples=1, length=1)


def test_several_texts_are_joined():
    assert bytes(calibration(["ab", "cd"], Bytes(), samples=1, length=6)[0].tolist()) == b"ab\n\ncd"


def test_the_sample_text_is_split_by_position():
    first, last = moby_dick()
    assert "Call me Ishmael" in first
    assert "rolled five thousand years ago" in last[-300:]
    assert len(first) == pytest.approx(0.8 * (len(first) + len(last)), abs=1)
    original = Path(__file__).parents[2] / "compress" / "data" / "README.md"
    assert "public\ndomain" in original.read_text(encoding="utf-8")
