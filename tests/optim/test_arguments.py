"""Every bad argument is a sentence with its name and value, before any work; good ones become plain numbers."""

import math
import re
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from optsci.optim import Adapprox, AdaptiveRank, columns, doubling, low_rank, saves_memory, saving, state_numbers

SETTINGS = [
    ("lr", "x"),
    ("lr", None),
    ("lr", True),
    ("lr", torch.tensor(math.nan)),
    ("lr", torch.tensor([-1.0])),
    ("lr", torch.tensor(1)),
    ("lr", torch.ones(2)),
    ("betas", 0.9),
    ("betas", None),
    ("betas", "ab"),
    ("betas", (0.9, None)),
    ("betas", (0.9, 0.99, 0.999)),
    ("eps", None),
    ("weight_decay", None),
    ("weight_decay", "x"),
    ("rank", None),
    ("rank", "16"),
    ("rank", True),
    ("rank", math.nan),
    ("clip", None),
    ("clip", "x"),
    ("guidance", "x"),
    ("guidance", True),
    ("oversample", None),
    ("sweeps", True),
    ("refresh_every", "x"),
    ("maximize", "no"),
    ("maximize", 1),
    ("stochastic_rounding", "x"),
]


def parameter(*shape, dtype=torch.float32):
    return nn.Parameter(torch.ones(*shape, dtype=dtype))


@pytest.mark.parametrize(("name", "value"), SETTINGS)
def test_bad_settings(name, value):
    got = re.escape(f"a tensor of shape {(2,)}" if name == "lr" and str(value) == "tensor([1., 1.])" else repr(value))
    with pytest.raises(ValueError, match=rf"^{name} must be .*got {got}"):
        Adapprox([parameter(3, 3)], **{name: value})
    optimizer = Adapprox([parameter(3, 3)])
    group = {"params": [parameter(2)], name: value}
    with pytest.raises(ValueError, match=rf"^{name} must be .*got {got}"):
        optimizer.add_param_group(group)
    assert len(optimizer.param_groups) == 1
    assert set(group) == {"params", name}


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("adapt", True, "None or an AdaptiveRank"),
        ("adapt", "x", "None or an AdaptiveRank"),
        ("adapt", AdaptiveRank, "None or an AdaptiveRank"),
        ("truncate", "svd", "a function"),
        ("truncate", None, "a function"),
        ("denominator", "dense", "a function"),
        ("denominator", None, "a function"),
        ("factored", True, "a function"),
        ("factored", None, "a function"),
    ],
)
def test_what_is_the_same_for_all_groups(name, value, rule):
    with pytest.raises(TypeError, match=re.escape(f"{name} must be {rule}") + ".*got " + re.escape(repr(value))):
        Adapprox([parameter(3, 3)], **{name: value})
    with pytest.raises(ValueError, match=f"^{name} must be the same for all groups, got"):
        Adapprox([{"params": [parameter(3, 3)], name: value}])


def test_groups_that_are_none():
    optimizer = Adapprox([parameter(3, 3)])
    with pytest.raises(TypeError, match="param_group must be a dict with the key 'params', got list"):
        optimizer.add_param_group([parameter(2)])
    with pytest.raises(ValueError, match=r"param_group must have the key 'params', got the keys \['lr', 'param'\]"):
        optimizer.add_param_group({"param": [parameter(2)], "lr": 0.1})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("rnak", "rank"),
        ("Rank", "rank"),
        ("weight_decya", "weight_decay"),
        ("beta", "betas"),
        ("truncated", "truncate"),
    ],
)
def test_misspelt_keys_of_a_group(key, meant):
    with pytest.raises(ValueError, match=rf"must not have the key '{key}', got 4: is {meant} meant\?"):
        Adapprox([{"params": [parameter(3, 3)], key: 4}])


@pytest.mark.filterwarnings("ignore:.*optimizer.step():UserWarning")
def test_keys_of_schedulers_and_trainers_pass():
    strangers = (
        "initial_lr",
        "lr_scale",
        "lr_mult",
        "wd_mult",
        "weight_decay_scale",
        "name",
        "foreach",
        "fused",
        "step",
    )
    optimizer = Adapprox([{"params": [("w", parameter(3, 3))], **dict.fromkeys(strangers)}], lr=1e-3)
    optimizer.param_groups[0]["initial_lr"] = 1e-3
    torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=10)
    torch.optim.swa_utils.SWALR(optimizer, swa_lr=0.01)
    again = Adapprox([dict(optimizer.param_groups[0])])  # as it is now, with the keys of both
    assert {"max_lr", "min_lr", "max_momentum", "base_momentum", "swa_lr", *strangers} <= set(again.param_groups[0])


def test_numbers_of_numpy_become_plain(tmp_path):
    p = parameter(40, 36)
    numbers = {"lr": np.float64(0.5), "eps": np.float32(0.5), "betas": np.array([0.5, 0.25]), "rank": np.int64(4)}
    numbers |= {
        "clip": np.float32(2),
        "guidance": np.float64(1.5),
        "weight_decay": np.int64(1),
        "average_updates": True,
    }
    numbers |= {"oversample": np.int32(3), "sweeps": np.int64(2), "refresh_every": np.int64(7)}
    numbers |= {"average_updates": True}
    optimizer = Adapprox([p], **numbers)
    optimizer.add_param_group({"params": [parameter(2)], "rank": Fraction(1, 4), "lr": np.float32(0.25)})
    p.grad = torch.ones_like(p)
    optimizer.step()
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    first, second = torch.load(tmp_path / "state.pt", weights_only=True)["param_groups"]
    expected = {"lr": 0.5, "eps": 0.5, "betas": (0.5, 0.25), "rank": 4, "clip": 2.0, "guidance": 1.5}
    expected |= {"weight_decay": 1.0, "oversample": 3, "sweeps": 2, "refresh_every": 7}
    for name, value in expected.items():
        assert first[name] == value
        assert type(first[name]) is type(value)
        assert type(optimizer.defaults[name]) is type(value)
    assert [type(b) for b in first["betas"]] == [float, float]
    assert (second["rank"], second["lr"]) == (0.25, 0.25)
    assert [type(second["rank"]), type(second["lr"])] == [float, float]


def test_a_rate_of_one_entry_has_no_dimensions_and_its_own_memory():
    rate, plain = torch.tensor([0.5]), torch.tensor(0.5)
    optimizer = Adapprox([{"params": [parameter(3, 3)]}, {"params": [parameter(2)], "lr": plain}], lr=rate)
    first, second = (group["lr"] for group in optimizer.param_groups)
    assert first.shape == ()
    assert second is plain
    rate.fill_(0.25)
    assert float(first) == 0.25


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("tol", "x", ValueError),
        ("tol", None, ValueError),
        ("tol", True, ValueError),
        ("tol", -1.0, ValueError),
        ("start", 0, ValueError),
        ("start", True, ValueError),
        ("every", 2.5, ValueError),
        ("growth", "double", TypeError),
        ("growth", None, TypeError),
        ("keep_width", "no", ValueError),
    ],
)
def test_bad_rules_of_the_rank(name, value, error):
    with pytest.raises(error, match=f"^{name} must be .*got {re.escape(repr(value))}"):
        AdaptiveRank(**{name: value})


def test_a_rule_with_numbers_of_numpy_steps(tmp_path):
    p = parameter(40, 36)
    rule = AdaptiveRank(tol=np.float32(1e-6), start=np.int64(3), every=np.int64(2), growth=doubling, keep_width=False)
    optimizer = Adapprox([p], rank=4, adapt=rule)
    p.grad = torch.randn(40, 36, generator=torch.Generator().manual_seed(0))
    optimizer.step()
    assert optimizer.state[p]["Q"].shape == (40, 4)
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    assert int(torch.load(tmp_path / "state.pt", weights_only=True)["state"][0]["rank"]) == 4


@pytest.mark.parametrize("count", [state_numbers, saving])
def test_bad_arguments_of_the_count(count):
    parameters = [parameter(64, 64)]
    for rank in (-3, 0, 1.5, None, "x", True):
        with pytest.raises(ValueError, match=f"^rank must be .*got {rank!r}"):
            count(parameters, rank)
    for wrong, got in ((parameters[0], "Parameter"), (3, "int"), (nn.Linear(2, 2), "Linear")):
        with pytest.raises(TypeError, match=f"^parameters must be tensors, .*got {got}"):
            count(wrong, 4)
    with pytest.raises(TypeError, match=r"pairs of a name and a tensor, got {'params': 3} among them"):
        count([{"params": 3}], 4)
    with pytest.raises(ValueError, match=r"^first_moment must be True or False, got 'x'"):
        count(parameters, 4, first_moment="x")
    with pytest.raises(TypeError, match=r"^factored must be a function, got True"):
        count(parameters, 4, factored=True)


def test_the_count_takes_names_and_what_is_factored():
    layer = nn.Linear(64, 48, device="meta")
    for count in (state_numbers, saving):
        assert count(layer.named_parameters(), 4) == count(layer.parameters(), 4)
    assert saving(layer.parameters(), 4, factored=lambda m, n, k: False) == 0
    assert saving(layer.parameters(), 4) > 0.4


@pytest.mark.parametrize("parameters", [[], [torch.ones(0, 3)]], ids=["none", "empty"])
def test_no_share_of_nothing(parameters):
    with pytest.raises(ValueError, match=f"^parameters must have at least one number, got {len(parameters)} tensors"):
        saving(parameters, 16)


def test_a_refused_group_leaves_nothing_behind(monkeypatch):
    def refuse(p):
        raise ValueError("sharded by columns")

    optimizer = Adapprox([parameter(3, 3)])
    for bad in (parameter(2, dtype=torch.complex64), parameter(2, dtype=torch.float16)):
        with pytest.raises(ValueError, match="shape"):
            optimizer.add_param_group({"params": [parameter(2), bad], "stochastic_rounding": True})
        assert len(optimizer.param_groups) == 1
    monkeypatch.setattr("optsci.optim.adapprox.is_sharded", lambda p: True)
    monkeypatch.setattr("optsci.optim.adapprox.require_rows", refuse)
    late = parameter(2)
    with pytest.raises(ValueError, match="sharded by columns"):
        optimizer.add_param_group({"params": [late]})
    assert len(optimizer.param_groups) == 1
    monkeypatch.undo()
    optimizer.add_param_group({"params": [late]})  # it is not there already


def test_stochastic_rounding_is_of_bfloat16():
    sentence = r"stochastic_rounding must be False for a parameter of shape \(2,\) in torch.float16, got True"
    with pytest.raises(ValueError, match=sentence):
        Adapprox([parameter(2, dtype=torch.float16)], stochastic_rounding=True)
    others = [parameter(2, dtype=dtype) for dtype in (torch.bfloat16, torch.float32, torch.float64)]
    Adapprox(others, stochastic_rounding=True)
    Adapprox([parameter(2, dtype=torch.float16)])


def test_the_text_of_an_optimizer_shows_all_of_it():
    text = repr(Adapprox([parameter(3, 3)], rank=7, adapt=AdaptiveRank(growth=doubling), denominator=low_rank))
    assert "    rank: 7\n" in text
    assert text.endswith(
        "All groups\n"
        "    adapt: AdaptiveRank(tol=0.01, start=1, every=10, growth=doubling, keep_width=True)\n"
        "    denominator: low_rank\n"
        "    factored: saves_memory\n"
        "    truncate: svd\n)"
    )
    part = partial(saves_memory, rank=3)
    other = repr(Adapprox([parameter(3, 3)], truncate=columns, factored=part))
    assert f"    adapt: None\n    denominator: dense\n    factored: {part}\n    truncate: columns\n" in other
