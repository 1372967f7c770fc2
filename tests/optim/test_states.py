"""States that do not fit, that come from elsewhere, and that change with the settings."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from optsci.optim import Adapprox, AdaptiveRank, doubling


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def stepped(shape, steps=1, *, optimizer=Adapprox, **options):
    p = nn.Parameter(normal(*shape))
    made = optimizer([p], **options)
    for i in range(steps):
        p.grad = normal(*shape, seed=10 + i)
        made.step()
    return p, made


SHAPES = [(64, 48), (48, 64), (20, 20), (128, 48), (64, 50), (64,), (60,), (3072,), (64, 4, 12)]


@pytest.mark.parametrize("there", SHAPES)
def test_only_a_state_of_the_shape_is_loaded(there):
    _, saved = stepped((64, 48), 2)
    p, other = stepped(there)
    before = deepcopy(other.state_dict())
    if there == (64, 48):
        other.load_state_dict(saved.state_dict())
        return
    with pytest.raises(ValueError, match=r"state_dict does not fit: a parameter of shape"):
        other.load_state_dict(saved.state_dict())
    torch.testing.assert_close(other.state_dict(), before, rtol=0, atol=0)
    p.grad = normal(*there)
    other.step()


@pytest.mark.parametrize(("old", "new"), [((64,), (4000,)), ((2000, 64), (2000, 128)), ((64, 48), (48, 64))])
def test_a_parameter_that_changed_its_shape_is_refused_until_its_state_is_gone(old, new):
    p, optimizer = stepped(old)
    p.data = normal(*new)
    p.grad = None
    p.grad = normal(*new)
    before = p.detach().clone()
    with pytest.raises(RuntimeError, match=r"pop\(parameter\)"):
        optimizer.step()
    torch.testing.assert_close(p.detach(), before, rtol=0, atol=0)
    optimizer.state.pop(p)
    optimizer.step()
    assert p.isfinite().all()


def test_a_gradient_of_another_shape_is_refused():
    p, optimizer = stepped((40, 36))
    optimizer.state.pop(p)
    p.data = normal(40, 40)
    with pytest.raises(RuntimeError, match="gradient of shape"):
        optimizer.step()


def test_nothing_moves_where_a_later_gradient_is_refused():
    first, second = nn.Parameter(normal(40, 36)), nn.Parameter(normal(40, 36))
    optimizer = Adapprox([{"params": [first]}, {"params": [second]}])
    first.grad, second.grad = normal(40, 36), normal(40, 36).to_sparse()
    before = first.detach().clone()
    with pytest.raises(RuntimeError, match="sparse"):
        optimizer.step()
    assert torch.equal(first.detach(), before)


@pytest.mark.parametrize("other", [torch.optim.AdamW, torch.optim.SGD])
def test_the_state_of_another_optimizer_is_refused(other):
    _, saved = stepped((40, 36), optimizer=other)
    p, mine = stepped((40, 36))
    with pytest.raises(ValueError, match="not one of Adapprox, or of another version"):
        mine.load_state_dict(saved.state_dict())
    p.grad = normal(40, 36)
    mine.step()


def test_groups_of_another_number_are_refused_by_pytorch():
    _, saved = stepped((40, 36))
    both = Adapprox([{"params": [nn.Parameter(normal(40, 36))]}, {"params": [nn.Parameter(normal(4))]}])
    with pytest.raises(ValueError, match="different number of parameter groups"):
        both.load_state_dict(saved.state_dict())


def test_hooks_of_the_user_have_their_way():
    _, saved = stepped((40, 36), 3)
    p, optimizer = stepped((40, 36))

    def halve(_, state_dict):
        state_dict = deepcopy(state_dict)
        state_dict["state"][0]["exp_avg"] *= 0.5
        return state_dict

    def begin_again(optimizer):
        optimizer.state[p]["step"].zero_()

    optimizer.register_load_state_dict_pre_hook(halve)
    hook = optimizer.register_load_state_dict_post_hook(begin_again)
    optimizer.load_state_dict(saved.state_dict())
    (state,), (source,) = optimizer.state.values(), saved.state.values()
    assert torch.equal(state["exp_avg"], 0.5 * source["exp_avg"])
    assert state["step"] == 0
    assert (
        len(optimizer._optimizer_load_state_dict_pre_hooks) == len(optimizer._optimizer_load_state_dict_post_hooks) == 1
    )

    hook.remove()

    def forget(_, state_dict):
        return {**state_dict, "state": {}}

    optimizer.register_load_state_dict_pre_hook(forget)
    optimizer.load_state_dict(saved.state_dict())
    assert not optimizer.state


def test_a_first_moment_may_begin_later():
    p, optimizer = stepped((40, 36), 2, betas=(0.0, 0.999))
    optimizer.param_groups[0]["betas"] = (0.9, 0.999)
    p.grad = normal(40, 36)
    optimizer.step()
    assert optimizer.state[p]["exp_avg"].any()


@pytest.mark.parametrize("by", ["load", "double"])
def test_weights_in_double_precision_stay_so(by):
    p, optimizer = stepped((40, 36), 2)
    if by == "load":
        saved, (p, optimizer) = optimizer, stepped((40, 36))
        p.data = p.data.double()
        p.grad = None
        optimizer.load_state_dict(saved.state_dict())
    else:
        p.data = p.data.double()
        p.grad = None
    p.data += normal(40, 36, seed=5, dtype=torch.float64) * 1e-12
    before = p.detach().clone()
    optimizer.param_groups[0]["lr"] = 0.0
    p.grad = normal(40, 36, dtype=torch.float64)
    optimizer.step()
    assert torch.equal(p.detach(), before)
    assert optimizer.state[p]["U"].dtype is torch.float64
    assert optimizer.state[p]["step"].dtype is torch.float32


def test_short_weights_have_states_in_single_precision_after_loading():
    p, optimizer = stepped((40, 36), 2)
    q = nn.Parameter(p.detach().bfloat16())
    other = Adapprox([q])
    other.load_state_dict(optimizer.state_dict())
    assert {x.dtype for x in other.state[q].values()} == {torch.float32, torch.int32}


def test_another_rank_takes_over_at_the_next_fresh_factors():
    p, optimizer = stepped((64, 60), 2, rank=4, refresh_every=4)
    widths = []
    for i, rank in enumerate([8, 8, 8, 2, 2, 2, 2]):  # fresh factors in steps 1, 5, 9
        optimizer.param_groups[0]["rank"] = rank
        p.grad = normal(64, 60, seed=i)
        optimizer.step()
        assert int(optimizer.state[p]["rank"]) == optimizer.state[p]["Q"].shape[1]
        widths.append(optimizer.state[p]["Q"].shape[1])
    assert widths == [4, 4, 8, 8, 8, 8, 2]


def test_a_narrow_state_widens_where_the_width_is_to_be_kept():
    narrow = AdaptiveRank(tol=0.9, every=2, growth=doubling, keep_width=False)
    _, saved = stepped((64, 60), 3, rank=8, adapt=narrow)
    ((state),) = saved.state.values()
    assert state["Q"].shape[1] < 8
    wide = AdaptiveRank(tol=1e-6, every=2, growth=doubling)
    p, optimizer = stepped((64, 60), 1, rank=8, adapt=wide)
    optimizer.load_state_dict(saved.state_dict())
    for i in range(3):
        p.grad = normal(64, 60, seed=i)
        optimizer.step()
    assert optimizer.state[p]["Q"].shape == (64, 8)
    assert int(optimizer.state[p]["rank"]) == 8


def test_the_step_counts_where_it_does_not_wait_for_a_device():
    with torch.device("meta"):
        p = nn.Parameter(torch.empty(40, 36))
        optimizer = Adapprox([p])
        p.grad = torch.empty(40, 36)
        optimizer.step()
    assert optimizer.state[p]["step"] == 1


@pytest.mark.parametrize("name", ["exp_avg", "exp_avg_sq"])
def test_states_in_another_order_in_memory_are_put_in_order(name):
    shape = (40, 5, 3, 3)
    _, saved = stepped(shape, 2, rank=0.9999 if name == "exp_avg_sq" else 4)
    (p, other), (q, same) = (stepped(shape, 1, rank=0.9999 if name == "exp_avg_sq" else 4) for _ in range(2))
    state = deepcopy(saved.state_dict())
    same.load_state_dict(state)
    state["state"][0][name] = state["state"][0][name].contiguous(memory_format=torch.channels_last)
    other.load_state_dict(state)
    other.state[p]["exp_avg"] = other.state[p]["exp_avg"].contiguous(memory_format=torch.channels_last)
    p.data = q.detach().clone()
    for i in range(3):
        p.grad, q.grad = normal(*shape, seed=i), normal(*shape, seed=i)
        other.step()
        same.step()
    assert torch.equal(p, q)
