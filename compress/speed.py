"""How fast a language model reads and writes, and how much memory it takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from .evaluate import evaluation_mode
from .models import check_positions, check_vocabulary

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")  # of Linux
T = TypeVar("T")


@dataclass(frozen=True)
class Speed:
    """Medians over a few repetitions, one window at a time."""

    prompt: int  # tokens read at once
    prefill: float  # tokens a second, reading the prompt
    decode: float  # seconds a token after it, one at a time, with the cache of keys and values


@torch.no_grad()
def speed(model: nn.Module, tokens: Tensor, *, decoded: int = 16, repeats: int = 3) -> Speed:
    """Time a model as it stands, where it stands: reading a prompt, and then one token after another.

    Zeros inside dense weights are multiplied like other numbers: a pruned model is no faster unless its layers store
    or skip them.

    Args:
        model: causal language model of transformers.
        tokens: (T,) token ids, T at least 2.  The last ``decoded`` of them, half of them at most, are fed one by one.
        decoded: how many tokens to feed one by one.
        repeats: how often to measure; one repetition before them is not counted.
    """
    if tokens.ndim != 1 or len(tokens) < 2:
        raise ValueError(f"tokens must be (T,), T at least 2, got {tuple(tokens.shape)}")
    for name, value in (("decoded", decoded), ("repeats", repeats)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    check_positions(model, len(tokens))
    check_vocabulary(model, tokens)
    tokens = tokens.to(next(model.parameters()).device)
    prompt = len(tokens) - min(decoded, len(tokens) // 2)
    reading, writing = [], []
    with evaluation_mode(model):
        for _ in range(1 + repeats):
            begin = _now(tokens.device)
            cache = model(tokens[None, :prompt], use_cache=True).past_key_values
            middle = _now(tokens.device)
            for token in tokens[prompt:].split(1):
                model(token[None], past_key_values=cache, use_cache=True)
            reading.append(middle - begin)
            writing.append(_now(tokens.device) - middle)
    return Speed(
        prompt=prompt,
        prefill=prompt / statistics.median(reading[1:]),
        decode=statistics.median(writing[1:]) / (len(tokens) - prompt),
    )


def bytes_in_memory(model: nn.Module) -> int:
    """Size of all parameters and buffers, shared ones once."""
    return sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))


def memory_in_use(device: torch.device) -> int | None:
    """Bytes in use: of a CUDA device what torch has allocated there, of the CPU the resident set of this process.

    None where that is not known: of the CPU on other systems than Linux, and of other devices.

    The resident set is all of the process, libraries and what earlier work left behind included, and of files mapped
    into memory, such as safetensors, what was read so far: after loading a model it says little about it.
    """
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return _status("VmRSS") if device.type == "cpu" else None


def peak_memory(run: Callable[[], T], device: torch.device) -> tuple[T, int | None]:
    """The result of ``run()``, and the most bytes in use meanwhile, as :func:`memory_in_use` counts them.

    Peaks before the call do not count: it begins by setting the system's record of the peak to what is in use.  None
    where that cannot be done.

    >>> import torch
    >>> total, peak = peak_memory(lambda: torch.ones(100).sum().item(), torch.device("cpu"))
    >>> total
    100.0
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        result = run()
        return result, torch.cuda.max_memory_allocated(device)
    known = device.type == "cpu" and _forget_peak()
    result = run()
    return result, _status("VmHWM") if known else None


def _status(key: str) -> int | None:
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{key}:")), None)


def _forget_peak() -> bool:
    try:
        CLEAR.write_text("5")  # see proc(5)
    except OSError:
        return False
    return True


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
