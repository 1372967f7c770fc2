"""Runs that stop, are kept in a file and go on, against runs that never stopped."""

from typing import NamedTuple

import numpy as np
import pytest
import torch

import optsci
from optsci.pinn import (
    MLP,
    Data,
    EachStep,
    Interval,
    adam,
    gauss_newton,
    lbfgs,
    load_checkpoint,
    natural_gradient,
    save_checkpoint,
)
from optsci.pinn.parameter_vectors import to_vector

X = torch.linspace(-1, 1, 15, dtype=torch.float64)[:, None]
LOSS = Data(X, (3 * X).sin())
DOMAIN = Interval(-1.0, 1.0)


def fresh(k):
    x = DOMAIN.sample(15, seed=k)
    return Data(x, (3 * x).sin())


def noisy(u):
    """A loss that draws from torch's own random numbers."""
    x = 2 * torch.rand(15, 1, dtype=torch.float64) - 1
    return (u(x) - (3 * x).sin()).square().mean()


ALGORITHMS = {
    "adam": lambda u, **start: adam(u, LOSS, lr=1e-2, **start),
    "adam with random points": lambda u, **start: adam(u, noisy, **start),
    "adam with fresh points": lambda u, **start: adam(u, EachStep(fresh), lr=lambda k: 1e-2 / (1 + k), **start),
    "lbfgs": lambda u, **start: lbfgs(u, LOSS, memory=5, **start),
    "gauss_newton": lambda u, **start: gauss_newton(u, LOSS, **start),
    "natural_gradient": lambda u, **start: natural_gradient(u, EachStep(fresh), momentum=0.5, **start),
}


def same(a, b):
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.mark.parametrize("name", ALGORITHMS)
def test_ten_steps_and_ten_more_from_a_file_are_twenty_steps_to_the_last_bit(name, tmp_path):
    steps = ALGORITHMS[name]
    torch.manual_seed(0)
    whole = optsci.solve(steps(MLP(1, [6], 1)), tol=None, max_iter=20)
    torch.manual_seed(0)
    half = optsci.solve(steps(MLP(1, [6], 1)), tol=None, max_iter=10)
    save_checkpoint(tmp_path / "run.npz", half.state)
    torch.manual_seed(1)  # another process, with another network
    state = load_checkpoint(tmp_path / "run.npz", MLP(1, [6], 1, seed=5))
    rest = optsci.solve(steps(state.x, start=state), tol=None, max_iter=10)
    assert torch.equal(to_vector(rest.x), to_vector(whole.x))
    assert type(rest.state) is type(whole.state)
    assert all(same(a, b) for a, b in zip(rest.state[1:], whole.state[1:], strict=True))


def test_a_checkpoint_is_one_file_and_takes_the_place_of_the_last(tmp_path):
    states = adam(MLP(1, [6], 1), LOSS)
    for _ in range(2):
        save_checkpoint(tmp_path / "run", next(states))
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert load_checkpoint(tmp_path / "run", MLP(1, [6], 1)).steps == 2


def test_a_write_that_fails_leaves_the_last_file(tmp_path, monkeypatch):
    states = adam(MLP(1, [6], 1), LOSS)
    save_checkpoint(tmp_path / "run", next(states))

    def full(file, **arrays):
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr("numpy.savez", full)
    with pytest.raises(OSError, match="no space left"):
        save_checkpoint(tmp_path / "run", next(states))
    assert load_checkpoint(tmp_path / "run", MLP(1, [6], 1)).steps == 1


class Odd(NamedTuple):
    x: torch.nn.Module
    what: str


@pytest.mark.parametrize("algorithm", [adam, lbfgs, gauss_newton, natural_gradient])
def test_a_run_goes_on_from_a_state_of_its_own_kind_and_size(algorithm):
    u, small = MLP(1, [6], 1), MLP(1, [3], 1)
    other = optsci.solve((lbfgs if algorithm is adam else adam)(u, LOSS), max_iter=1)
    for start in (other, other.state):
        with pytest.raises(TypeError, match=r"start must be a \w+State, such as `run.state`, got"):
            algorithm(u, LOSS, start=start)
    if algorithm is not gauss_newton:  # whose state holds no vectors
        state = optsci.solve(algorithm(small, LOSS), max_iter=1).state
        with pytest.raises(ValueError, match=r"start must be of a u with 19 parameters, its .* has 10"):
            algorithm(u, LOSS, start=state)
    with pytest.raises(TypeError, match=r"loss must be a function of u, .*, got Tensor"):
        algorithm(u, LOSS(u))


def test_what_does_not_fit_is_refused_in_a_sentence(tmp_path):
    state = next(adam(MLP(1, [6], 1), LOSS))
    save_checkpoint(tmp_path / "run", state)
    with pytest.raises(ValueError, match=r"u must be like the one in .*: biases.0 is \(\(6,\), 'float64'\) there"):
        load_checkpoint(tmp_path / "run", MLP(1, [7], 1))
    with pytest.raises(ValueError, match="float32"):
        load_checkpoint(tmp_path / "run", MLP(1, [6], 1, dtype=torch.float32))
    with pytest.raises(TypeError, match="what of the state must be a tensor, a number or None, got str"):
        save_checkpoint(tmp_path / "run", Odd(state.x, "a"))
    with pytest.raises(TypeError, match="bfloat16"):
        save_checkpoint(tmp_path / "run", state._replace(mean=state.mean.bfloat16()))
    with pytest.raises(TypeError, match=r"state must be a state of a training algorithm, .*, got Result"):
        save_checkpoint(tmp_path / "run", optsci.solve(adam(state.x, LOSS), max_iter=1))
    with pytest.raises(TypeError, match="u must be a module of the shapes in the file, got function"):
        load_checkpoint(tmp_path / "run", lambda x: x)


def test_a_file_that_is_damaged_or_of_another_kind_is_refused_and_leaves_u_alone(tmp_path):
    u, path = MLP(1, [6], 1), tmp_path / "run"
    save_checkpoint(path, next(adam(u, LOSS)))
    whole, before = path.read_bytes(), [p.clone() for p in u.parameters()]
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    np.save(tmp_path / "array.npy", np.zeros(3))
    array = (tmp_path / "array.npy").read_bytes()
    for content in (b"", whole[:10], whole[: len(whole) // 2], whole[:-1], bytes(flipped), array, b"text"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="path must be a file that save_checkpoint wrote, whole, got"):
            load_checkpoint(path, u)
    assert all(map(torch.equal, before, u.parameters()))
