"""Runs that are broken off, shared or kept off the device: the same bytes as a run that is not."""

import json
import weakref
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save

from optsci.compress import (
    Correction,
    Shards,
    Unstructured,
    compress_model,
    compress_resumable,
    fista_path_prune,
    linear_layers,
    magnitude,
    walk,
    wanda,
)
from optsci.compress.hidden_states import HiddenStates
from optsci.compress.layerwise import Call, _moved
from tiny_models import TINY, tiny, tiny_tokens

PRUNE = partial(wanda, sparsity=Unstructured(0.5))
CPU = torch.device("cpu")


def weights(model):
    return save({name: tensor.clone() for name, tensor in model.state_dict().items()})


def bits(tensor):
    """The bytes of a tensor: a NaN equals itself."""
    return tensor.contiguous().flatten().view(torch.uint8)


def plain(reports):
    """The reports without their times."""
    return [(r.name, r.block, r.shape, r.zeros, r.error) for r in reports]


class Stop(Exception):  # noqa: N818 - what a test breaks a run off with
    pass


def stop_at(layer, solver):
    def solve(problem):
        if problem.name == layer:
            raise Stop
        return solver(problem)

    return solve


@pytest.mark.parametrize("correction", Correction)
@pytest.mark.parametrize("family", ["llama", "qwen2"])  # one kind of attention, and two
def test_a_run_that_was_broken_off_ends_with_the_same_bytes(family, correction, tmp_path):
    solver = partial(fista_path_prune, sparsity=Unstructured(0.5), iterations=5)
    whole = tiny(family)
    expected = compress_model(whole, tiny_tokens(), solver, correction=correction)
    run = partial(compress_resumable, settings={"prune": "fista"}, correction=correction)
    for layer in ("model.layers.0.mlp.down_proj", "model.layers.1.self_attn.o_proj"):
        with pytest.raises(Stop):
            run(tiny(family), tiny_tokens(), stop_at(layer, solver), tmp_path / "work")
    assert list(Shards(tmp_path / "work")) == [0]
    again = tiny(family)
    solved = []
    reports = run(again, tiny_tokens(), lambda p: solved.append(p.name) or solver(p), tmp_path / "work")
    assert all(".layers.1." in name for name in solved)
    assert len(solved) == 7
    assert plain(reports) == plain(expected)
    assert weights(again) == weights(whole)

    finished = tiny(family)  # nothing is left to solve
    assert plain(run(finished, tiny_tokens(), None, tmp_path / "work")) == plain(expected)
    assert weights(finished) == weights(whole)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"settings": {"sparsity": "0.6"}}, r"sparsity was '0\.5' there and is '0\.6' now"),
        ({"settings": {}}, r"sparsity was '0\.5' there and is None now"),
        ({"settings": {"sparsity": "0.5", "refit": True}}, "refit was None there and is True now"),
        ({"correction": Correction.WITHIN_BLOCK}, "correction was 'none' there and is 'within-block' now"),
        ({"blocks": 1}, "blocks was 2 there and is 1 now"),
        ({"tokens": tiny_tokens(seed=7)}, "tokens was "),
        ({"model": tiny("llama", seed=1)}, "weights was "),
        ({"model": tiny("llama").bfloat16()}, r"dtype was 'torch\.float32' there and is 'torch\.bfloat16' now"),
    ],
)
def test_other_settings_are_refused_before_any_work(change, sentence, tmp_path):
    same = {"model": tiny("llama"), "tokens": tiny_tokens(), "settings": {"sparsity": "0.5"}}
    run = partial(compress_resumable, solver=PRUNE, folder=tmp_path / "work")
    run(**same)
    before = {path.name: path.read_bytes() for path in (tmp_path / "work").iterdir()}
    with pytest.raises(ValueError, match=f"holds a run of other settings: {sentence}"):
        run(**{**same, "model": tiny("llama"), **change})
    assert {path.name: path.read_bytes() for path in (tmp_path / "work").iterdir()} == before


def test_another_configuration_with_the_same_weights_is_refused(tmp_path):
    run = partial(compress_resumable, solver=PRUNE, folder=tmp_path / "work", tokens=tiny_tokens(), settings={})
    run(tiny("llama"))
    other = tiny("llama")
    other.config.rms_norm_eps = 0.1
    with pytest.raises(ValueError, match="other settings: configuration was"):
        run(other)


def test_a_shard_that_was_half_written_does_not_count(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("optsci.compress.resume.os.fsync", lambda handle: (_ for _ in ()).throw(Stop))
        with pytest.raises(Stop):
            compress_resumable(tiny("llama"), tiny_tokens(), PRUNE, tmp_path / "work", settings={})
    assert list(Shards(tmp_path / "work")) == []
    whole, again = tiny("llama"), tiny("llama")
    compress_model(whole, tiny_tokens(), PRUNE)
    compress_resumable(again, tiny_tokens(), PRUNE, tmp_path / "work", settings={})
    assert weights(again) == weights(whole)


def test_damage_is_one_sentence(tmp_path):
    run = partial(compress_resumable, tokens=tiny_tokens(), solver=PRUNE, settings={})
    run(tiny("llama"), folder=tmp_path / "work")
    shard = tmp_path / "work" / "block-00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"block-00001\.safetensors' cannot be read .* the block is solved again"):
        run(tiny("llama"), folder=tmp_path / "work")
    (tmp_path / "work" / "manifest.json").write_text("[]")
    with pytest.raises(ValueError, match=r"manifest\.json' is not the manifest of a run"):
        run(tiny("llama"), folder=tmp_path / "work")
    (tmp_path / "work" / "manifest.json").unlink()
    with pytest.raises(ValueError, match=r"is no work folder: it holds other files, and no manifest\.json"):
        run(tiny("llama"), folder=tmp_path / "work")


def flipped(content):
    return content[:-5] + bytes([content[-5] ^ 0x40]) + content[-4:]


@pytest.mark.parametrize(
    "change",
    [
        flipped,
        lambda content: save({"a.weight": torch.zeros(2)}),
        lambda content: save({"a.weight": torch.zeros(2)}, {"reports": "[]"}),
        lambda content: content.replace(b"layers.1.mlp.up_proj", b"layers.0.mlp.up_proj"),
    ],
)
def test_a_shard_that_can_be_read_but_has_changed_is_refused(change, tmp_path):
    run = partial(compress_resumable, tokens=tiny_tokens(), solver=PRUNE, settings={}, folder=tmp_path)
    run(tiny("llama"))
    shard = tmp_path / "block-00001.safetensors"
    before = shard.read_bytes()
    shard.write_bytes(change(before))
    assert shard.read_bytes() != before
    with pytest.raises(ValueError, match=r"block-00001\.safetensors' does not hold what was written there; delete it"):
        run(tiny("llama"))
    shard.unlink()
    run(tiny("llama"))
    assert Shards(tmp_path)[1].keys() == {f"{name}.weight" for name, _ in linear_layers(tiny("llama")) if ".1." in name}


def test_only_what_runs_have_written_is_removed(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "work").symlink_to("scratch")
    for others in (["thesis.tex"], []):
        shards = Shards(tmp_path / "work")
        shards.claim({})
        shards.write(0, {"a": torch.zeros(2)}, [])
        (tmp_path / "work" / "block-00001.7.part").write_text("")  # of a process that was killed
        for name in others:
            (tmp_path / "work" / name).write_text("")
        shards.remove()
        assert [path.name for path in (tmp_path / "scratch").glob("*")] == others
        for name in others:
            (tmp_path / "work" / name).unlink()
    assert list(tmp_path.iterdir()) == []


def test_two_processes_may_claim_a_folder_at_once(tmp_path, monkeypatch):
    Shards(tmp_path).claim({"bits": 4})
    for settings in ({"bits": 4}, {"bits": 3}):
        looks, is_file = [], Path.is_file

        def seen_late(path, looks=looks, is_file=is_file):
            looks.append(path)
            return len(looks) > 1 and is_file(path)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "is_file", seen_late)
            if settings["bits"] == 4:
                Shards(tmp_path).claim(settings)
            else:
                with pytest.raises(ValueError, match="bits was 4 there and is 3 now"):
                    Shards(tmp_path).claim(settings)
        assert len(looks) == 2


@pytest.mark.parametrize("correction", Correction)
@pytest.mark.parametrize("lost", [0, 1])
def test_a_block_that_was_lost_is_solved_again(lost, correction, tmp_path):
    """As after a run shared by several processes that was broken off: any blocks may be missing."""
    run = partial(compress_resumable, tokens=tiny_tokens(), solver=PRUNE, settings={}, correction=correction)
    whole, again = tiny("llama"), tiny("llama")
    expected = run(whole, folder=tmp_path / "work")
    shard = tmp_path / "work" / f"block-0000{lost}.safetensors"
    before = load_file(shard)
    shard.unlink()
    assert plain(run(again, folder=tmp_path / "work")) == plain(expected)
    assert save(load_file(shard)) == save(before)
    assert weights(again) == weights(whole)


def test_bad_weights_leave_no_folder(tmp_path):
    model = tiny("llama")
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="hold a NaN"):
        compress_resumable(model, tiny_tokens(), PRUNE, tmp_path / "work", settings={})
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_says_what_the_run_was(tmp_path):
    compress_resumable(tiny("llama"), tiny_tokens(), PRUNE, tmp_path / "work", settings={"prune": "wanda"})
    manifest = json.loads((tmp_path / "work" / "manifest.json").read_text())
    assert manifest["settings"]["prune"] == "wanda"
    assert len(manifest["sha256"]) == 64
    assert {path.name for path in (tmp_path / "work").iterdir()} == {
        "manifest.json",
        "block-00000.safetensors",
        "block-00001.safetensors",
    }


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="is no work folder: it holds other files"):
        compress_resumable(tiny("llama"), tiny_tokens(), PRUNE, tmp_path, settings={})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("family", TINY)
@pytest.mark.parametrize("correction", Correction)
def test_hidden_states_on_disk_change_nothing(family, correction, tmp_path):
    models = {None: tiny(family), CPU: tiny(family), tmp_path: tiny(family)}
    for store, model in models.items():
        compress_model(model, tiny_tokens(), PRUNE, correction=correction, device=CPU, store=store)
    assert len({weights(model) for model in models.values()}) == 1
    assert list(tmp_path.iterdir()) == []


def test_half_precision_states_on_disk_change_nothing(tmp_path):
    models = {None: tiny("llama").bfloat16(), tmp_path: tiny("llama").bfloat16()}
    for store, model in models.items():
        compress_model(model, tiny_tokens(), PRUNE, store=store)
    assert len({weights(model) for model in models.values()}) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("on_disk", [False, True])
def test_states_come_back_bit_for_bit(dtype, on_disk, tmp_path):
    expected = [torch.randint(2**15, (1, 5, 7), dtype=torch.int16).view(torch.float16).to(dtype) for _ in range(3)]
    states = HiddenStates(iter(expected), 3, device=CPU, store=tmp_path if on_disk else CPU)
    other = states.copy()
    for _ in range(2):
        other.update(lambda x: x.flip(1))
        assert all(bits(x).equal(bits(y)) for x, y in zip(states, expected, strict=True))
    assert all(bits(x).equal(bits(y)) for x, y in zip(other, expected, strict=True))
    assert all(x.dtype == dtype for x in other)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("on_disk", [False, True])
def test_updates_replace_one_state_after_another(on_disk, tmp_path):
    """Never are there two generations of states: one more tensor at most than there are states, none with a file."""
    states = HiddenStates((torch.zeros(3) for _ in range(8)), 8, device=CPU, store=tmp_path if on_disk else CPU)
    made, most = [], 0

    def count(x):
        nonlocal most
        result = x + 1
        made.append(weakref.ref(result))
        most = max(most, sum(reference() is not None for reference in made))
        return result

    for _ in range(3):
        states.update(count)
    assert [x.tolist() for x in states] == [[3.0] * 3] * 8
    assert most <= (2 if on_disk else 9)


def test_what_a_block_is_called_with_is_moved_whole():
    call = Call((torch.ones(1), (torch.ones(1), None)), {"mask": {"full": torch.ones(1)}, "use_cache": False})
    moved = _moved(call, torch.device("meta"))
    assert moved.args[0].is_meta
    assert moved.args[1][0].is_meta
    assert moved.args[1][1] is None
    assert moved.kwargs["mask"]["full"].is_meta
    assert moved.kwargs["use_cache"] is False


def test_finished_blocks_are_written_when_the_walk_comes_by():
    """Also those between and after the ones that are solved; without weights a block stays as it is."""
    whole = tiny("llama")
    stages = list(walk(tiny("llama"), tiny_tokens(), finished={0: {}}))
    assert {stage.block for stage in stages} == {1}
    stages = list(walk(whole, tiny_tokens(), finished={1: {"model.layers.1.mlp.up_proj.weight": torch.ones(48, 32)}}))
    assert {stage.block for stage in stages} == {0}
    assert (whole.model.layers[1].mlp.up_proj.weight == 1).all()
    assert torch.equal(whole.model.layers[1].mlp.down_proj.weight, tiny("llama").model.layers[1].mlp.down_proj.weight)


def test_bad_places_are_sentences(tmp_path):
    with pytest.raises(TypeError, match=r"device must be a torch\.device, got 'cpu'"):
        walk(tiny("llama"), tiny_tokens(), device="cpu")
    with pytest.raises(TypeError, match=r"store must be a torch\.device or a Path, got 'disk'"):
        walk(tiny("llama"), tiny_tokens(), store="disk")
    with pytest.raises(FileNotFoundError, match=r"store must be an existing folder, got .*nowhere"):
        walk(tiny("llama"), tiny_tokens(), store=tmp_path / "nowhere")


@pytest.mark.gpu
def test_one_block_at_a_time_is_on_the_device():
    """The model stays in host memory; the device holds one block, and what the walk needs for it."""
    cuda = torch.device("cuda")
    whole, model = tiny("llama").to(cuda), tiny("llama")
    compress_model(whole, tiny_tokens(), partial(magnitude, sparsity=Unstructured(0.5)))
    for stage in walk(model, tiny_tokens(), device=cuda, store=CPU):
        on_device = {name.split(".")[2] for name, p in model.named_parameters() if p.is_cuda}
        assert on_device == {str(stage.block)}
        assert stage.problem.gram.is_cuda
        stage.write(magnitude(stage.problem, sparsity=Unstructured(0.5)))
    assert not any(parameter.is_cuda for parameter in model.parameters())
    for name, tensor in whole.cpu().state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])
