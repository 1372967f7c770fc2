"""The root of a decreasing function: to the last digits, with its derivative, and where a bracket has none."""

from __future__ import annotations

import pytest
import torch

from optsci.functions._root import decreasing_root


@pytest.mark.parametrize("power", [0.2, 1.0, 7.0])
def test_roots_of_powers_and_their_derivatives(power):
    a = torch.tensor([[1e-3], [0.5], [1.0], [40.0]], dtype=torch.float64, requires_grad=True)
    low, high = torch.zeros_like(a), torch.full_like(a, 100.0)

    def root(a):
        return decreasing_root(lambda t: a**power - t**power, low, high)

    torch.testing.assert_close(root(a), a, rtol=1e-12, atol=0)
    torch.testing.assert_close(torch.autograd.grad(root(a).sum(), a)[0], torch.ones_like(a), rtol=1e-9, atol=0)


def test_a_kink_at_the_root_and_a_jump_of_the_slope_beside_it():
    root = decreasing_root(
        lambda t: torch.where(t < 3, 3 - t, 1e4 * (3 - t)), torch.tensor([[0.0]]), torch.tensor([[1e3]])
    )
    torch.testing.assert_close(root, torch.tensor([[3.0]]))


def test_problems_of_a_batch_do_not_mix():
    a = torch.tensor([[2.0], [torch.nan], [5.0]])
    root = decreasing_root(lambda t: a - t, torch.zeros(3, 1), torch.full((3, 1), 9.0))
    assert root[1].isnan()
    torch.testing.assert_close(root[[0, 2]], a[[0, 2]])
