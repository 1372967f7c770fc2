r"""Jacobians of the residuals of a loss in the parameters of u: what Gauss-Newton steps and spectra are made of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .losses import Loss


def parameters(u: nn.Module) -> list[Tensor]:
    """Return the trained parameters of u, in the order of all flat vectors here.

    >>> from optsci.pinn import MLP
    >>> sum(p.numel() for p in parameters(MLP(2, [8], 1)))
    33
    """
    return [p for p in u.parameters() if p.requires_grad]


def residual_jacobian(u: nn.Module, loss: Loss) -> tuple[Tensor, Tensor]:
    """Return the residuals r (N,) with ``loss(u) = r.square().sum()``, and J = dr/d(parameters), (N, P)."""
    names = [name for name, p in u.named_parameters() if p.requires_grad]

    def residuals(values: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        r = torch.func.functional_call(Residuals(u, loss), {f"u.{n}": v for n, v in zip(names, values, strict=True)})
        return r, r

    values = tuple(p.detach() for p in parameters(u))
    jacobian, r = torch.func.jacrev(residuals, has_aux=True, chunk_size=256)(values)
    return r.detach(), torch.cat([part.flatten(1) for part in jacobian], 1).detach()


class Residuals(nn.Module):
    """The residuals of a loss as a module without inputs."""

    def __init__(self, u: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.u, self.loss = u, loss

    def forward(self) -> Any:
        return self.loss.residuals(self.u)
