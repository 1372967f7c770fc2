"""Entries far beyond the parameters, in single precision: no prox loses its point to rounding or overflow."""

from __future__ import annotations

import pytest
import torch

import optsci
from optsci._tensor import instance_norm


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
        (optsci.L2(), [3e25, -4e25], [3e25, -4e25]),
        (optsci.L2(1e-30), [3e-30, -4e-30], [2.4e-30, -3.2e-30]),
        (optsci.L2Ball(), [3e25, -4e25], [0.6, -0.8]),
        (optsci.L2Ball(1e-30), [3e-30, -4e-30], [6e-31, -8e-31]),
        (optsci.L2Sphere(), [3e25, -4e25], [0.6, -0.8]),
        (optsci.L2Sphere(), [3e-30, -4e-30], [0.6, -0.8]),
        (optsci.GroupL2(), [[3e25, -4e25]], [[3e25, -4e25]]),
        (optsci.CubedL2(), [3e25, -4e25], [2.44949e12, -3.265986e12]),
        (optsci.CubedL2(1e30), [3e-30, -4e-30], [6e-30 / (1 + 61**0.5), -8e-30 / (1 + 61**0.5)]),
        (optsci.SecondOrderCone(), [0.0, 3e25, -4e25], [2.5e25, 1.5e25, -2e25]),
        (optsci.SecondOrderCone(), [0.0, 3e-30, -4e-30], [2.5e-30, 1.5e-30, -2e-30]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_prox_of_large_entries(f, x, expected):
    torch.testing.assert_close(f.prox(torch.tensor(x), 1.0), torch.tensor(expected), rtol=1e-5, atol=0)


@pytest.mark.parametrize("scale", [1e25, 1e-30])
def test_values_of_large_and_tiny_vectors(scale):
    x = scale * torch.tensor([3.0, -4.0])
    close = {"rtol": 1e-6, "atol": 0}
    torch.testing.assert_close(optsci.L2()(x), torch.tensor(5 * scale), **close)
    torch.testing.assert_close(optsci.CubedL2().grad(1e-7 * x), 3 * 5e-7 * scale * 1e-7 * x, **close)
    assert optsci.L2Ball(5 * scale)(x) == 0
    assert optsci.L2Ball(4 * scale)(x) == torch.inf
    assert optsci.SecondOrderCone()(torch.cat([torch.tensor([5.1 * scale]), x])) == 0


def test_the_norm_in_a_residual_neither_overflows_nor_vanishes():
    for scale in (1e25, 1e-30):
        x = scale * torch.tensor([[3.0, -4.0], [0.0, 1.0]])
        torch.testing.assert_close(instance_norm(x, 1), scale * torch.tensor([5.0, 1.0]), rtol=1e-6, atol=0)
        torch.testing.assert_close(instance_norm(x), torch.tensor(26**0.5 * scale), rtol=1e-6, atol=0)


def test_the_prox_of_a_squared_distance_keeps_what_a_long_step_leaves():
    p = optsci.SquaredDistance(optsci.Box(0.0, 1.0)).prox(torch.tensor([1e4, -1e4]), 1e8)
    torch.testing.assert_close(p, torch.tensor([1.0001, -1e-4]), rtol=1e-5, atol=0)


@pytest.mark.parametrize("scale", [0.0, 1e-25, 1.0, 1e25])
def test_nystrom_at_any_scale(scale):
    U, values = optsci.nystrom(scale * torch.eye(4), 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(values, scale * torch.ones(2), rtol=1e-4, atol=0)
    torch.testing.assert_close(U.T @ U, torch.eye(2), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [1e7, 1e9, 1e12])
def test_the_ball_of_the_largest_entries_in_float32(size):
    ball = optsci.LargestL2Ball(1.0, 2)
    p = ball.prox(torch.tensor([size, -size, 1.0]), 1.0)
    torch.testing.assert_close(p, torch.full((3,), 0.5).sqrt().copysign(p), rtol=1e-5, atol=0)
    assert ball(p) == 0


@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_the_lmo_of_that_ball_does_not_square(size):
    z = optsci.LargestL2Ball(1.0, 2).lmo(torch.tensor([3 * size, 4 * size, 0.0]))
    torch.testing.assert_close(z, torch.tensor([-0.6, -0.8, 0.0]))


@pytest.mark.parametrize("step", [1e6, 1e8])
def test_a_long_step_over_a_quadratic_over_linear(step):
    p = optsci.QuadraticOverLinear().prox(torch.tensor([1.0, 1.0, 3.3]), step)
    torch.testing.assert_close(p, torch.tensor([0.0, 0.0, 3.3]), rtol=1e-6, atol=1e-5)
