"""Speed and size of models."""

import os
import sys
from pathlib import Path

import pytest
import torch

from optsci.compress import bytes_in_memory, bytes_on_disk, memory_in_use, peak_memory, speed
from tiny_models import TINY, tiny, tiny_tokens

CPU = torch.device("cpu")


@pytest.mark.parametrize("family", TINY)
def test_every_token_is_read_once_and_decoding_sees_the_cache(family, monkeypatch):
    """What is timed computes the logits of a plain forward pass, in pieces."""
    model, window = tiny(family), tiny_tokens()[0]
    logits = []
    forward = type(model).forward

    def record(self, *args, **kwargs):
        output = forward(self, *args, **kwargs)
        logits.append(output.logits[0])
        return output

    with monkeypatch.context() as patch:
        patch.setattr(type(model), "forward", record)
        result = speed(model, window, decoded=5, repeats=1)
    with torch.no_grad():
        expected = model(window[None], use_cache=False).logits[0]
    assert [len(x) for x in logits] == [19, 1, 1, 1, 1, 1] * 2
    torch.testing.assert_close(torch.cat(logits[6:]), expected, rtol=1e-4, atol=1e-4)
    assert result.prompt == 19
    assert result.prefill > 0
    assert result.decode > 0


def test_short_windows_are_split_in_halves():
    assert speed(tiny("llama"), tiny_tokens()[0, :2], repeats=1).prompt == 1
    assert speed(tiny("llama"), tiny_tokens()[0, :9], repeats=1).prompt == 5


def test_sizes(tmp_path):
    model = tiny("llama")
    size = 4 * sum(tensor.numel() for name, tensor in model.state_dict().items() if name != "lm_head.weight")
    assert 0 <= bytes_in_memory(model) - size < 100  # the frequencies of the positions are in no checkpoint
    assert bytes_in_memory(model.bfloat16()) < size
    model.save_pretrained(tmp_path)
    assert bytes_on_disk(tmp_path) == (tmp_path / "model.safetensors").stat().st_size
    assert bytes_on_disk("owner/name") is None
    (tmp_path / "model.gguf").write_bytes(b"12345")
    assert bytes_on_disk(tmp_path / "model.gguf") == 5


def grab(megabytes, device=CPU):
    """The most memory in use beyond what was in use before, in MB, where so much is taken and given back."""
    before = memory_in_use(device)
    total, peak = peak_memory(lambda: torch.ones(megabytes, 1_000_000 // 4, device=device).sum().item(), device)
    assert total == megabytes * 250_000
    return (peak - before) / 1e6


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the system keeps no peak to reset")
def test_the_peak_is_that_of_the_call():
    assert grab(200) == pytest.approx(200, abs=20)
    assert grab(1) < 20  # the peak before is forgotten
    before = memory_in_use(CPU)
    held = torch.ones(200, 250_000)
    assert (memory_in_use(CPU) - before) / 1e6 == pytest.approx(200, abs=20)
    assert grab(100) == pytest.approx(100, abs=20)
    del held


@pytest.mark.gpu
def test_the_peak_on_a_gpu_is_what_torch_allocated():
    device = torch.device("cuda")
    assert grab(200, device) == pytest.approx(200, abs=3)
    assert grab(1, device) == pytest.approx(1, abs=3)


def test_where_memory_is_not_known_the_result_still_comes(monkeypatch):
    assert memory_in_use(torch.device("meta")) is None
    assert peak_memory(lambda: 3, torch.device("meta")) == (3, None)
    module = sys.modules["optsci.compress.speed"]
    monkeypatch.setattr(module, "CLEAR", Path("/nowhere/clear_refs"))
    assert peak_memory(lambda: 3, CPU) == (3, None)
    monkeypatch.setattr(module, "STATUS", Path("/nowhere/status"))
    assert memory_in_use(CPU) is None


def test_bad_arguments_are_sentences():
    with pytest.raises(ValueError, match=r"tokens must be \(T,\), T at least 2, got \(6, 24\)"):
        speed(tiny("llama"), tiny_tokens())
    with pytest.raises(ValueError, match="repeats must be at least 1, got 0"):
        speed(tiny("llama"), tiny_tokens()[0], repeats=0)
    with pytest.raises(ValueError, match="decoded must be at least 1, got 0"):
        speed(tiny("llama"), tiny_tokens()[0], decoded=0)
