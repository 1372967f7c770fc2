"""Deliberately naive references: slow, short, and written without the code they check."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor


def prox_objective(g: Any, z: Tensor, v: Tensor, step: float) -> Tensor:
    """``g(z) + ||z - v||^2 / (2 step)``, what ``g.prox(v, step)`` minimises."""
    return g(z) + (z - v).square().sum() / (2 * step)


def naive_prox(g: Any, v: Tensor, step: float, *, radius: float = 20.0, points: int = 41) -> Tensor:
    """Prox of a function of one or two float64 variables, by grid search on ever smaller boxes around the best."""
    best = torch.zeros_like(v)
    while radius > 1e-6:
        axis = torch.linspace(-radius, radius, points, dtype=v.dtype)
        grid = best + torch.cartesian_prod(*[axis] * v.numel()).reshape(-1, *v.shape)
        # A kink at 0 or a constraint would slip between the points of a grid.
        grid = torch.cat([grid, torch.zeros_like(grid), torch.where(grid.abs() < 0.5 * radius, 0, grid)])
        values = torch.vmap(lambda z: prox_objective(g, z, v, step))(grid)
        best = grid[values.argmin()]
        radius /= 8
    return best


def naive_gradient(f: Callable[[Tensor], Tensor], x: Tensor, *, h: float = 1e-6) -> Tensor:
    """Gradient by central differences; ``x`` in float64."""
    gradient = torch.zeros_like(x)
    for index in np.ndindex(*x.shape):
        shift = torch.zeros_like(x)
        shift[index] = h
        gradient[index] = (f(x + shift) - f(x - shift)) / (2 * h)
    return gradient


def nearest_with_support_size(v: np.ndarray, keep: int) -> float:
    """Smallest ``||z - v||^2`` over all z with at most ``keep`` nonzeros, by enumeration of the supports."""
    return min(
        sum(v[i] ** 2 for i in range(len(v)) if i not in support)
        for support in itertools.combinations(range(len(v)), min(keep, len(v)))
    )


def naive_mask(scores: np.ndarray, keep: int) -> np.ndarray:
    """Mask of the ``keep`` largest entries of a vector, by sorting pairs: ties go to the lower index."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    return np.isin(np.arange(len(scores)), order[:keep])
