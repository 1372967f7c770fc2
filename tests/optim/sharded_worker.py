"""What the processes of test_sharded.py run: a model under FSDP2, stepped with given gradients.

``python sharded_worker.py RANK WORLD FOLDER``; without FSDP2 where WORLD is 1. The states and weights go into FOLDER.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed, nn

from optsci.optim import Adapprox, AdaptiveRank

SETTINGS = {
    "fixed": {"rank": 5, "refresh_every": 4},
    "adaptive": {"rank": 0.3, "adapt": AdaptiveRank(tol=0.5, every=3)},
    "guided": {"rank": 3, "guidance": 1.5, "betas": (0.8, 0.99), "average_updates": True, "clip": 1.0},
}


def model() -> nn.Module:
    """An embedding of an odd number of rows, matrices, vectors, and a convolution."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(51, 40), nn.Linear(40, 64), nn.Linear(64, 40), nn.Conv2d(34, 36, 3))


def gradient(p: torch.Tensor, i: int, t: int) -> torch.Tensor:
    """Any one, the same in all processes."""
    generator = torch.Generator().manual_seed(1000 * t + i)
    rows = (0.2 * torch.randn(p.shape[0], *[1] * (p.dim() - 1), generator=generator)).exp()
    return 1e-2 * rows * torch.randn(p.shape, generator=generator)


def main(rank: int, world: int, folder: Path) -> None:
    """Ten steps with each of the settings; writes whole weights and the sizes of states."""
    torch.set_num_threads(1)
    if world > 1:
        store = f"file://{folder}/store"
        distributed.init_process_group("gloo", store, timedelta(minutes=5), world_size=world, rank=rank)
    results = {}
    for name, settings in SETTINGS.items():
        net = model()
        if world > 1:
            from torch.distributed.device_mesh import init_device_mesh
            from torch.distributed.fsdp import fully_shard

            mesh = init_device_mesh("cpu", (world,))
            for layer in (*net, net):
                fully_shard(layer, mesh=mesh)
        parameters = list(net.parameters())
        optimizer = Adapprox(parameters, lr=5e-3, **settings)
        for t in range(10):
            for i, p in enumerate(parameters):
                g = gradient(p, i, t)
                if world > 1:
                    from torch.distributed.tensor import distribute_tensor

                    g = distribute_tensor(g, p.device_mesh, p.placements)
                p.grad = g
            optimizer.step()
            if t == 5 and world > 1:  # states are sharded tensors: PyTorch's own checkpoints take them
                reloaded(net, optimizer)
        whole = [p.full_tensor() if world > 1 else p for p in parameters]
        results[name] = ([p.detach().clone() for p in whole], optimizer.state_bytes())
    torch.save(results, folder / f"{world}-{rank}.pt")
    if world > 1:
        distributed.destroy_process_group()


def reloaded(net: nn.Module, optimizer: Adapprox) -> None:
    """To whole tensors and back."""
    from torch.distributed.checkpoint.state_dict import (
        StateDictOptions,
        get_optimizer_state_dict,
        set_optimizer_state_dict,
    )

    options = StateDictOptions(full_state_dict=True)
    states = get_optimizer_state_dict(net, optimizer, options=options)
    set_optimizer_state_dict(net, optimizer, states, options=options)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
