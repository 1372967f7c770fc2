"""Networks of every kind, and conditions on them with random coefficients."""

import torch
from torch import nn

from optsci.pinn import MLP, Ball, BoundaryAnsatz, FourierFeatures, PeriodicFeatures, Rows, cosine, sine
from optsci.pinn.networks import Derivatives


def coefficients(n, d, m, seed=0):
    random = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(shape, generator=random, dtype=torch.float64)
        for shape in ((n, d), (m, n, d), (n, d), (n, 1), (n, 1))
    )


def moved(u, seed=1):
    """The module with other parameters: biases are not zero any more."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in u.parameters():
            p += 0.3 * torch.randn(p.shape, generator=random, dtype=torch.float64).to(p)
    return u


def gaussian(h, out=None):
    """An activation as a user may write it."""
    value = (-h * h / 2).exp()
    return Derivatives(value, -h * value, (h * h - 1) * value, (3 - h * h) * h * value)


def networks():
    disk = Ball(dim=2)
    plain = MLP(2, [8, 7, 6], activation=sine, scale=3.0, box=disk)
    periodic = nn.Sequential(PeriodicFeatures([1.5, None]), MLP(3, [8, 7]))
    return {
        "MLP": plain,
        "linear": MLP(2, []),
        "cosine": MLP(2, [5], activation=cosine),
        "own activation": MLP(2, [5, 4], activation=gaussian),
        "Fourier": nn.Sequential(FourierFeatures(2, 5, scale=2.0), MLP(10, [8])),
        "two stages": nn.Sequential(MLP(2, [5], 3), MLP(3, [4])),
        "ansatz": BoundaryAnsatz(MLP(2, [8, 7]), lift=lambda x: x[:, :1] ** 2, distance=disk.vanishing),
        "periodic ansatz": BoundaryAnsatz(periodic, lift=1.0, distance=disk.vanishing),
        "ansatz around any module": BoundaryAnsatz(
            nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).double(), 0.5, disk.vanishing
        ),
        "ansatz of features": nn.Sequential(
            MLP(2, [5], 2), BoundaryAnsatz(MLP(2, [4]), 0.0, lambda h: h.prod(1, keepdim=True))
        ),
    }


def conditions(n, m, differentiated=True, dtype=torch.float64):
    x, sigma, drift, zeroth, target = (part.to(dtype) for part in coefficients(n, 2, m))
    weight = torch.rand(n, 1, generator=torch.Generator().manual_seed(9), dtype=torch.float64).to(dtype) / n
    return Rows(0.4 * x, sigma, drift if differentiated else None, zeroth, target, weight)
