"""Random numbers by counter: reproducible, independent of each other, and of the right law."""

import math

import pytest
import torch

from optsci.optim.counter import gaussian, round_stochastically, uniform_bits


def test_streams_depend_on_the_parameter_and_the_step_only():
    both = gaussian(torch.tensor([2, 7]), 5, 30, 7)
    torch.testing.assert_close(both[1:], gaussian(torch.tensor([7]), 5, 30, 7), rtol=0, atol=0)
    others = [gaussian(torch.tensor([i]), t, 30, 7) for i, t in ((2, 6), (3, 5), (7, 2))]
    for other in others:
        assert abs(torch.corrcoef(torch.stack([both[0].flatten(), other.flatten()]))[0, 1]) < 0.3  # 4.3 deviations


def test_normal_numbers():
    """Moments within 5 standard errors, and the largest deviation of the distribution within that of Kolmogorov."""
    x = gaussian(torch.arange(20), 3, 100, 101).flatten().double()
    n = len(x)
    assert abs(x.mean()) < 5 / math.sqrt(n)
    assert abs(x.square().mean() - 1) < 5 * math.sqrt(2 / n)
    assert abs((x**4).mean() - 3) < 5 * math.sqrt(96 / n)
    level = torch.special.ndtr(x.sort().values)
    distance = (level - (torch.arange(n) + 0.5) / n).abs().max() + 0.5 / n
    assert distance < 1.95 / math.sqrt(n)  # false alarm: 0.1 %, once, as the numbers never change
    columns = gaussian(torch.tensor([0]), 1, 2000, 8)[0]
    assert (torch.corrcoef(columns.T) - torch.eye(8)).abs().max() < 5 / math.sqrt(2000)


def test_bits_are_even():
    bits = uniform_bits(torch.tensor([0, 1]), 1, 1 << 15)
    assert bits.min() >= 0
    assert bits.max() < 1 << 32
    ones = torch.stack([(bits >> i) & 1 for i in range(32)]).double().mean(-1)
    assert (ones - 0.5).abs().max() < 5 * 0.5 / math.sqrt(1 << 15)
    assert bits.unique().numel() > (1 << 16) - 20


def test_rounding_is_right_in_the_mean_and_goes_to_neighbours():
    x = torch.tensor([1.001, -1.001, 3.0, -0.1, 1e-30, 300.7]).repeat(20_000, 1)
    bits = uniform_bits(torch.tensor([4]), 2, x.numel())
    rounded = round_stochastically(x, bits)
    gap = torch.finfo(torch.bfloat16).eps * x.abs()
    assert rounded.dtype is torch.bfloat16
    assert ((rounded.float() - x).abs() <= gap).all()
    error = (rounded.double() - x.double()).mean(0).abs()
    assert (error <= 5 * gap[0] / math.sqrt(12 * len(x)) * 2).all()
    exact = torch.tensor([1.0, -2.5, 0.0, math.inf, -math.inf])
    torch.testing.assert_close(round_stochastically(exact, torch.full((5,), 0xFFFF)).float(), exact, rtol=0, atol=0)
    assert round_stochastically(torch.tensor([math.nan]), torch.tensor([0xFFFF])).isnan().all()


@pytest.mark.parametrize("rows", [1, 3])
def test_a_part_has_the_numbers_of_the_whole(rows):
    index, step = torch.tensor([1]), 9
    whole = uniform_bits(index, step, 40)
    parts = [uniform_bits(index, step, min(10 * rows, 40 - i), first=i) for i in range(0, 40, 10 * rows)]
    assert (torch.cat(parts, 1) == whole).all()
