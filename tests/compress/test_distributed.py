"""Processes that share the blocks, and processes that are killed: the same bytes as one that is not."""

import os
import random
import subprocess
import sys
import time

import pytest
import torch
from typer.testing import CliRunner

from optsci.cli import app
from optsci.compress import Correction, compress_distributed
from optsci.compress.sample import moby_dick
from tiny_models import save_tokenizer, tiny, tiny_tokens

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}  # rounding depends on the number of threads
OPTSCI = (sys.executable, "-m", "optsci")


def files(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def start(*command, log):
    with log.open("a") as output:
        return subprocess.Popen([str(part) for part in command], env=ONE_THREAD, stdout=output, stderr=output)


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("command", ["compress", "quantize"])
def test_two_processes_write_the_bytes_of_one(command, model, text, tmp_path):
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "optsci")
    options = ("--text", text, "--samples", 4, "--length", 32, "--correction", "within-block")
    log = tmp_path / "log"
    two = start(*torchrun, command, model, tmp_path / "two", *options, log=log)
    one = CliRunner().invoke(app, [str(part) for part in (command, model, tmp_path / "one", *options)])
    assert one.exit_code == 0, one.output
    assert two.wait() == 0, log.read_text()
    assert log.read_text().count(": 14 layers") == 1
    assert files(tmp_path / "two") == files(tmp_path / "one")
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two", "log"}


@pytest.mark.parametrize("correction", [Correction.NONE, Correction.ACROSS_BLOCKS])
def test_blocks_that_are_not_independent_are_not_shared(correction, tmp_path):
    with pytest.raises(ValueError, match=f"correction '{correction.value}' carries the result of a block to the next"):
        compress_distributed(tiny("llama"), tiny_tokens(), None, tmp_path / "w", settings={}, correction=correction)


def test_without_a_group_there_is_nobody_to_share_with(tmp_path):
    with pytest.raises(RuntimeError, match="there is no process group: run under torchrun"):
        compress_distributed(tiny("llama"), tiny_tokens(), None, tmp_path / "work", settings={})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_killed_five_times_a_run_ends_with_the_same_bytes(tmp_path):
    """SIGKILL while it loads, solves or writes, at random moments; then --resume to the end."""
    tiny("llama", blocks=24).save_pretrained(tmp_path / "model")
    save_tokenizer(tmp_path / "model")
    text = tmp_path / "text.txt"
    text.write_text(moby_dick()[0][10_000:16_000], encoding="utf-8")
    options = ("--text", text, "--samples", 16, "--length", 64)
    log = tmp_path / "log"
    whole = start(*OPTSCI, "compress", tmp_path / "model", tmp_path / "whole", *options, log=log)
    assert whole.wait() == 0, log.read_text()

    def finished():
        return len(list(tmp_path.glob("out.partial/block-*.safetensors")))

    moments = random.Random(0)
    for count in [0, *sorted(moments.sample(range(1, 20), 4))]:
        run = start(*OPTSCI, "compress", tmp_path / "model", tmp_path / "out", *options, "--resume", log=log)
        while finished() < count and run.poll() is None:
            time.sleep(0.01)
        time.sleep(moments.uniform(0.0, 0.5))
        assert run.poll() is None, log.read_text()
        run.kill()
        run.wait()
        assert not (tmp_path / "out").exists()
    assert count <= finished() < 24
    run = start(*OPTSCI, "compress", tmp_path / "model", tmp_path / "out", *options, "--resume", log=log)
    assert run.wait() == 0, log.read_text()
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    assert not (tmp_path / "out.partial").exists()
