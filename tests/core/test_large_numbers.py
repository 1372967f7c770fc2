"""Entries far beyond the parameters, in single precision: no prox loses its point to rounding or overflow."""

from __future__ import annotations

import pytest
import torch

import optsci


@pytest.mark.parametrize(
    ("f", "x", "expected"),
    [
        (optsci.Permutahedron([3.0, 2.0, 1.0]), [3e8, 1e8, -2e8], [3.0, 2.0, 1.0]),
        (optsci.L1Ball(), [3e10, 1e10, -2e10], [1.0, 0.0, 0.0]),
        (optsci.L1Ball(), [-3e10, 1e10, -2e10], [-1.0, 0.0, 0.0]),
        (optsci.Simplex(), [3e10, 1e10, -2e10], [1.0, 0.0, 0.0]),
        (optsci.KullbackLeibler(2.0), [1e20, -1e20], [1e20, 2e-20]),
        (optsci.NegativeLog(), [1e20, -1e20], [1e20, 1e-20]),
        (optsci.LogSum(), [1e20, -1e20], [1e20, -1e20]),
        (optsci.LTwoThirds(), [1e20, -1e20], [1e20, -1e20]),
        (optsci.LHalf(), [1e20, -1e20], [1e20, -1e20]),
        (optsci.Huber(), [1e30, -1e30], [1e30, -1e30]),
        (optsci.Entropy(), [1e20], [1e20]),
        (optsci.Power(q=3.0), [1e20], [5.7735e9]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_prox_of_large_entries(f, x, expected):
    torch.testing.assert_close(f.prox(torch.tensor(x), 1.0), torch.tensor(expected), rtol=1e-5, atol=0)


def test_the_prox_of_a_squared_distance_keeps_what_a_long_step_leaves():
    p = optsci.SquaredDistance(optsci.Box(0.0, 1.0)).prox(torch.tensor([1e4, -1e4]), 1e8)
    torch.testing.assert_close(p, torch.tensor([1.0001, -1e-4]), rtol=1e-5, atol=0)


@pytest.mark.parametrize("scale", [0.0, 1e-25, 1.0, 1e25])
def test_nystrom_at_any_scale(scale):
    U, values = optsci.nystrom(scale * torch.eye(4), 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(values, scale * torch.ones(2), rtol=1e-4, atol=0)
    torch.testing.assert_close(U.T @ U, torch.eye(2), rtol=0, atol=1e-5)
