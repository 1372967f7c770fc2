"""Files: whole or not there, safetensors or refused; texts and windows; the sample data."""

import json
from pathlib import Path

import pytest
import torch

from optsci.compress import (
    NM,
    Unstructured,
    calibration,
    check_out,
    encode,
    load_model,
    parse_sparsity,
    perplexity,
    sample_windows,
    whole_folder,
    windows,
)
from optsci.compress.evaluate import evaluation_mode
from optsci.compress.report import write_json
from optsci.compress.sample import Bytes, moby_dick
from tiny_models import tiny, tiny_tokens


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
    (out / "thesis.tex").write_text("")
    with pytest.raises(FileExistsError, match=r"OUT '.*out' exists; give --overwrite"), whole_folder(out):
        pass
    with pytest.raises(FileExistsError, match=r"holds no compression\.json"), whole_folder(out, overwrite=True):
        pass
    (out / "thesis.tex").rename(out / "compression.json")
    with pytest.raises(RuntimeError), whole_folder(out, overwrite=True):
        raise RuntimeError
    assert [p.name for p in out.iterdir()] == ["compression.json"]
    with whole_folder(out, overwrite=True) as part:
        (part / "new").write_text("")
    assert [p.name for p in out.iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_holds_what_is_needed_is_never_replaced(tmp_path, monkeypatch):
    (tmp_path / "out" / "model").mkdir(parents=True)
    (tmp_path / "out" / "compression.json").write_text("{}")
    with pytest.raises(FileExistsError, match=r"is or holds '.*model'"):
        check_out(tmp_path / "out", overwrite=True, keep=[tmp_path / "out" / "model"])
    monkeypatch.chdir(tmp_path / "out")
    with pytest.raises(FileExistsError, match="is or holds"):
        check_out(".", overwrite=True)
    (tmp_path / "link").symlink_to(tmp_path / "out")
    with pytest.raises(FileExistsError, match="link"):
        check_out(tmp_path / "link", overwrite=True)
    with pytest.raises(NotADirectoryError, match="not a folder"):
        check_out(tmp_path / "out" / "compression.json" / "deep", overwrite=True)


def test_a_result_is_not_lost_when_its_place_was_taken_meanwhile(tmp_path):
    def write():
        with whole_folder(tmp_path / "out") as part:
            (part / "weights").write_text("whole")
            (tmp_path / "out").mkdir()

    with pytest.raises(FileExistsError, match=r"exists; .*what was computed lies in"):
        write()
    (part,) = (path for path in tmp_path.iterdir() if path.name != "out")
    assert (part / "weights").read_text() == "whole"


def test_the_old_folder_comes_back_when_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    (out / "compression.json").write_text("old")
    rename = Path.rename

    def fail(self, target):
        if (self / "new").exists():
            raise OSError("disk full")
        return rename(self, target)

    def write():
        with whole_folder(out, overwrite=True) as part:
            (part / "new").write_text("")
            monkeypatch.setattr(Path, "rename", fail)

    with pytest.raises(FileExistsError, match="disk full; what was computed"):
        write()
    assert (out / "compression.json").read_text() == "old"
    assert len(list(tmp_path.glob(".out.*/new"))) == 1


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


def test_evaluation_mode_restores_the_mode_of_every_module():
    model = tiny("llama").train()
    model.model.layers[0].eval()  # frozen by its user
    before = [module.training for module in model.modules()]
    with evaluation_mode(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == before
    with pytest.raises(RuntimeError), evaluation_mode(model):
        raise RuntimeError
    assert [module.training for module in model.modules()] == before
    perplexity(model, tiny_tokens(1))
    assert [module.training for module in model.modules()] == before


def test_what_has_no_perplexity_is_a_sentence():
    model = tiny("llama")
    for tokens in (tiny_tokens(0), tiny_tokens(2, 1), tiny_tokens()[None]):
        with pytest.raises(ValueError, match=r"tokens must be windows \(K, T\), K at least 1 and T at least 2, got"):
            perplexity(model, tokens)
    for limit in (0, -1):
        with pytest.raises(ValueError, match=f"limit must be at least 1 window, got {limit}"):
            perplexity(model, tiny_tokens(), limit=limit)
        with pytest.raises(ValueError, match=f"limit must be at least 1 window, got {limit}"):
            windows(torch.arange(100), length=10, limit=limit)
    with pytest.raises(ValueError, match=r"tokens must lie in 0\.\.63"):
        perplexity(model, tiny_tokens() + 60)
    with torch.no_grad():
        model.model.norm.weight[0] = float("nan")
    with pytest.raises(ValueError, match="the logits of the model hold a NaN"):
        perplexity(model, tiny_tokens())


def test_sparsity_is_read_as_people_write_it():
    assert parse_sparsity("0.5") == Unstructured(0.5)
    assert parse_sparsity("0.5", by_row=False) == Unstructured(0.5, by_row=False)
    pattern = parse_sparsity("2:4")
    assert isinstance(pattern, NM)
    assert (pattern.n, pattern.m) == (2, 4)
    assert str(Unstructured(0.625)) == "62.5% unstructured, by row"
    assert str(Unstructured(0.07, by_row=False)) == "7% unstructured, whole matrix"


@pytest.mark.parametrize("text", ["", "half", "nan", "inf", "1", "-0.1", "4:2", "-1:4", "2:4:8", "2:", "0:0"])
def test_what_is_no_sparsity_is_a_sentence(text):
    with pytest.raises(ValueError, match=f"sparsity must be a fraction .* got '{text}'"):
        parse_sparsity(text)


def test_sparsities_that_cannot_be_meant_are_sentences():
    with pytest.raises(ValueError, match="sparsity '0:4' keeps nothing"):
        parse_sparsity("0:4")
    with pytest.raises(ValueError, match="'2:4' has its zeros in every group: only a fraction"):
        parse_sparsity("2:4", by_row=False)
    with pytest.raises(TypeError, match=r"sparsity must be a number, a fraction of zeros, got '0\.5'"):
        Unstructured("0.5")
