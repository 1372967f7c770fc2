"""Speed and size of models."""

import pytest
import torch

from optsci.compress import bytes_in_memory, bytes_on_disk, speed
from tiny_models import TINY, tiny, tiny_tokens


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


def test_bad_arguments_are_sentences():
    with pytest.raises(ValueError, match=r"tokens must be \(T,\), T at least 2, got \(6, 24\)"):
        speed(tiny("llama"), tiny_tokens())
    with pytest.raises(ValueError, match="repeats must be at least 1, got 0"):
        speed(tiny("llama"), tiny_tokens()[0], repeats=0)
    with pytest.raises(ValueError, match="decoded must be at least 1, got 0"):
        speed(tiny("llama"), tiny_tokens()[0], decoded=0)
