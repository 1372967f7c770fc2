"""Functions written with NumPy give the same on tensors, with derivatives, and under Numba."""

import numpy as np
import pytest
import torch

from optsci.pinn.numpy_on_torch import on_tensors, under_numba

FUNCTIONS = {
    "constant": lambda x: 2.5,
    "constant array": lambda x: np.float64(2.5) + 0 * x[0],
    "polynomial": lambda x: 1 - x[0] ** 2 / 4 - 3 * x[1] ** 3,
    "reversed operators": lambda x: 2.0 / (3 + x[0] * x[0]) - 2 ** x[1],
    "transcendental": lambda x: np.exp(-x[0]) * np.cos(0.3 * x[1]) + np.arctan2(x[1], x[0]) + np.tanh(x[0]),
    "roots": lambda x: np.sqrt(x[0] * x[0] + x[1] * x[1] + 0.1) + np.log(np.abs(x[1]) + 1),
    "pieces": lambda x: np.where(x[0] < 0.1, x[1], 2.0 * x[0]) + np.maximum(x[0], 0.3) * (x[1] >= -0.2),
    "logic": lambda x: np.where((x[0] < 0) & ~(x[1] == 0.0), x[1], -x[0]),
}
by_name = pytest.mark.parametrize("name", FUNCTIONS)


def points(dtype=torch.float64):
    return torch.from_numpy(np.random.default_rng(0).normal(size=(2, 50))).to(dtype)


@by_name
def test_tensors_give_the_values_of_numpy(name):
    f, x = FUNCTIONS[name], points()
    value = on_tensors(f)(x)
    assert value.dtype == torch.float64
    torch.testing.assert_close(
        value, torch.from_numpy(np.broadcast_to(f(x.numpy()), 50).copy()), rtol=1e-15, atol=1e-15
    )
    assert on_tensors(f)(x.float()).dtype == torch.float32


@by_name
def test_numba_gives_the_values_of_numpy(name):
    f, x = FUNCTIONS[name], points()
    compiled = under_numba(f)
    np.testing.assert_allclose(compiled(x.numpy()), np.broadcast_to(f(x.numpy()), 50), rtol=1e-14, atol=1e-14)
    assert compiled(x.float().numpy()).dtype == np.float32


@pytest.mark.parametrize("name", ["polynomial", "reversed operators", "transcendental", "roots"])
def test_derivatives(name):
    x = points().requires_grad_()
    assert torch.autograd.gradcheck(on_tensors(FUNCTIONS[name]), x)
    assert torch.autograd.gradgradcheck(on_tensors(FUNCTIONS[name]), x)


def test_second_derivatives_of_powers_at_0():
    x = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(on_tensors(lambda x: x[0] ** 2)(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert first.tolist() == [[0.0] * 3]
    assert second.tolist() == [[2.0] * 3]


def test_sums_and_clips():
    x = points()
    torch.testing.assert_close(on_tensors(lambda x: np.sum(x, axis=0))(x), x.sum(0))
    torch.testing.assert_close(on_tensors(lambda x: np.clip(x[0], -0.5, 0.5))(x), x[0].clamp(-0.5, 0.5))


def test_what_torch_lacks_is_refused():
    with pytest.raises(TypeError):
        on_tensors(lambda x: np.linalg.norm(x, axis=0))(points())
    with pytest.raises(TypeError):
        on_tensors(lambda x: np.cbrt(x[0]))(points())
