"""Steps in the backward pass: which parameters take them, what stays behind, and what they look at."""

import pytest
import torch
from torch import nn

from optsci.optim import Adapprox, step_in_backward


def hooks(p):
    return len(p._post_accumulate_grad_hooks or ())


def test_frozen_parameters_are_left_alone():
    layers = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    layers[0].requires_grad_(False)
    before = [p.detach().clone() for p in layers.parameters()]
    with step_in_backward(Adapprox(layers.parameters())):
        layers(torch.ones(2, 3)).square().sum().backward()
    moved = [not torch.equal(p, q) for p, q in zip(layers.parameters(), before, strict=True)]
    assert moved == [False, False, True, True]
    assert [hooks(p) for p in layers.parameters()] == [0, 0, 0, 0]


def test_no_hook_stays_behind_where_a_later_one_is_refused():
    leaf = nn.Parameter(torch.ones(2))
    inner = leaf * 2
    inner.retain_grad()  # an optimizer takes it, and PyTorch has no such hooks for it
    optimizer = Adapprox([leaf, inner])
    with pytest.raises(RuntimeError, match="leaf"), step_in_backward(optimizer):
        pass
    assert hooks(leaf) == 0


def test_another_optimizer_is_refused():
    leaf = nn.Parameter(torch.ones(2))
    with (
        pytest.raises(TypeError, match="optimizer must be an Adapprox, got SGD"),
        step_in_backward(torch.optim.SGD([leaf], lr=0.1)),
    ):
        pass
    assert hooks(leaf) == 0


def test_groups_keep_their_settings_and_random_numbers():
    """Stochastic rounding depends on the index among all parameters, the rate on the group."""
    weights = [torch.randn(40, 36, generator=torch.Generator().manual_seed(i)).bfloat16() for i in range(4)]
    results = []
    for hooked in (False, True):
        first, second, *others = [nn.Parameter(w.clone()) for w in weights]
        optimizer = Adapprox([first, second], lr=1e-3, rank=2, stochastic_rounding=True)
        optimizer.add_param_group({"params": others, "lr": 1e-2, "rank": 3})
        for _ in range(2):
            loss = sum(p.float().sin().sum() for p in (first, second, *others))
            if hooked:
                with step_in_backward(optimizer):
                    loss.backward()
            else:
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
        results.append([first, second, *others])
    for p, q in zip(*results, strict=True):  # matrices alone and stacked may differ in a last digit, and that may round
        assert (p != q).float().mean() < 0.01


def test_a_step_looks_at_its_own_parameter_only():
    """Quadratic work shows: every hook would walk through all parameters of the optimizer."""

    class Counted(list):
        walks = 0

        def __iter__(self):
            Counted.walks += 1
            return super().__iter__()

    parameters = [nn.Parameter(torch.ones(2)) for _ in range(5)]
    optimizer = Adapprox(parameters)
    optimizer.param_groups[0]["params"] = Counted(parameters)
    with step_in_backward(optimizer):
        opened = Counted.walks
        sum(p.sum() for p in parameters).backward()
        assert Counted.walks == opened
    assert all(int(optimizer.state[p]["step"]) == 1 for p in parameters)
