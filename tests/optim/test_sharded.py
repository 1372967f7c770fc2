"""Rows shared by two processes, as FSDP2 does it, against one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

WORKER = Path(__file__).parent / "sharded_worker.py"


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, WORKER, str(rank), str(world), tmp_path],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for world in (1, 2)
        for rank in range(world)
    ]
    try:
        for process in processes:
            output, _ = process.communicate(timeout=300)
            assert process.returncode == 0, output
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    (one, first, second) = (torch.load(tmp_path / f"{name}.pt") for name in ("1-0", "2-0", "2-1"))
    for name, (weights, size) in one.items():
        for mine, other, whole in zip(first[name][0], second[name][0], weights, strict=True):
            assert torch.equal(mine, other)
            torch.testing.assert_close(mine, whole, rtol=0, atol=1e-5)
        assert max(first[name][1], second[name][1]) < 0.62 * size  # U is in both


def test_a_parameter_sharded_by_columns_is_refused(monkeypatch):
    from torch.distributed.tensor import Replicate, Shard

    from optsci.optim.sharded import require_rows

    class Fake:
        shape = (4, 4)
        placements = (Replicate(), Shard(0))

    require_rows(Fake)
    monkeypatch.setattr(Fake, "placements", (Shard(1),))
    with pytest.raises(ValueError, match=r"shape \(4, 4\) has the placements .*takes Shard\(0\)"):
        require_rows(Fake)
