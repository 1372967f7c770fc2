"""The door for user data: what passes unchanged, what is converted, what is refused, and in which words."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from optsci._tensor import (
    as_coefficient,
    as_finite,
    as_scalar,
    as_tensor,
    require_fit,
    require_nonnegative,
    require_positive,
)
from optsci.protocols import require


def test_a_tensor_passes_with_its_graph():
    x = torch.ones(3, requires_grad=True)
    assert as_tensor(x, "x") is x
    assert as_tensor(x, "x", like=torch.zeros(1)) is x


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_array_shares_memory_and_keeps_its_precision(dtype):
    array = np.zeros((2, 3), dtype)
    tensor = as_tensor(array, "A")
    tensor[0, 0] = 7
    assert array[0, 0] == 7
    assert tensor.numpy().dtype == dtype


@pytest.mark.parametrize("x", [[1, 2], (True, False), np.arange(3), torch.arange(3), 3, np.int64(3)])
def test_integers_take_the_default_dtype_or_that_of_like(x):
    assert as_tensor(x, "x").dtype is torch.float32
    assert as_tensor(x, "x", like=torch.zeros(1, dtype=torch.float64)).dtype is torch.float64


def test_integers_follow_a_changed_default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        assert as_tensor([1, 2], "x").dtype is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("x", [0.1, [0.1, 0.2], np.float64(0.1), np.float32(0.1)])
def test_numbers_and_lists_adopt_the_dtype_of_like(x):
    assert as_tensor(x, "x", like=torch.zeros(1, dtype=torch.float64)).dtype is torch.float64
    assert as_tensor(x, "x", like=torch.zeros(1)).dtype is torch.float32


def test_numbers_lose_no_digits_on_the_way_to_double():
    assert as_tensor(0.1, "x", like=torch.zeros(1, dtype=torch.float64)).item() == 0.1
    assert as_tensor([0.1], "x", like=torch.zeros(1, dtype=torch.float64)).item() == 0.1


def test_read_only_and_reversed_arrays_are_copied_without_a_warning():
    array = np.arange(3.0)
    array.flags.writeable = False
    assert as_tensor(array, "x").tolist() == [0, 1, 2]
    assert as_tensor(np.arange(3.0)[::-1], "x").tolist() == [2, 1, 0]
    assert as_tensor(np.broadcast_to(1.0, 3), "x").tolist() == [1, 1, 1]


def test_anything_with_an_array_inside_is_welcome():
    class Column:
        def __array__(self, dtype=None, copy=None):
            return np.ones(2, dtype)

    assert as_tensor(Column(), "x").tolist() == [1, 1]


@pytest.mark.parametrize("x", [torch.zeros(1, dtype=torch.float64), np.zeros(1)])
def test_another_precision_is_refused(x):
    with pytest.raises(ValueError, match=r"^b is torch.float64, what it is combined with is torch.float32"):
        as_tensor(x, "b", like=torch.zeros(1))


def test_another_device_is_refused():
    with pytest.raises(ValueError, match=r"^b is on meta, what it is combined with is on cpu"):
        as_tensor(torch.zeros(1, device="meta"), "b", like=torch.zeros(1))


@pytest.mark.parametrize("x", [1j, np.zeros(2, complex), torch.zeros(2, dtype=torch.complex64)])
def test_complex_data_is_refused(x):
    with pytest.raises(ValueError, match=r"^A must be real, got torch.complex"):
        as_tensor(x, "A")


@pytest.mark.parametrize("x", ["text", None, [[1], [2, 3]], object(), {"a": 1}, np.array(["text"])])
def test_what_holds_no_numbers_is_refused(x):
    with pytest.raises(TypeError, match=r"^A must be a tensor, an array or numbers, got "):
        as_tensor(x, "A")


def test_coefficients_stay_numbers_or_become_tensors():
    for number in (2, 2.0, np.float32(2), np.int8(2), True):
        assert type(as_coefficient(number, "weight")) is float
    weight = torch.tensor(2.0, requires_grad=True)
    assert as_coefficient(weight, "weight") is weight
    assert as_scalar(weight, "weight") is weight


@pytest.mark.parametrize("x", [-1, -1e-300, np.nan, np.inf, torch.tensor([1, -2.5]), torch.tensor([1.0, torch.nan])])
def test_weights_are_finite_and_nonnegative(x):
    with pytest.raises(ValueError, match=r"^weight must be finite and at least 0, got (-|nan|inf)"):
        require_nonnegative(x, "weight")
    with pytest.raises(ValueError, match=r"^scale must be finite and positive, got (-|nan|inf)"):
        require_positive(x, "scale")


@pytest.mark.parametrize("zero", [0, -0.0, torch.zeros(2)])
def test_zero_is_nonnegative_and_not_positive(zero):
    require_nonnegative(zero, "weight")
    with pytest.raises(ValueError, match=r"^scale must be finite and positive, got -?0\.0"):
        require_positive(zero, "scale")


@pytest.mark.parametrize("x", [float("nan"), [0, float("-inf")], np.array([np.inf, 0.0])])
def test_data_are_finite(x):
    with pytest.raises(ValueError, match=r"^b must be finite, got (nan|-inf|inf)$"):
        as_finite(x, "b")


@pytest.mark.parametrize(
    ("shape", "onto"), [((), (3,)), ((3,), (2, 3)), ((1, 3), (2, 3)), ((2, 1), (2, 3)), ((0,), (0,)), ((), ())]
)
def test_coefficients_that_broadcast_to_x_fit(shape, onto):
    require_fit(torch.ones(shape), torch.ones(onto), "w")
    require_fit(2.0, torch.ones(onto), "w")


@pytest.mark.parametrize(("shape", "onto"), [((3, 1), (3,)), ((1,), ()), ((2,), (3,)), ((2, 3), (1, 3)), ((2,), (0,))])
def test_coefficients_that_would_enlarge_x_are_refused(shape, onto):
    with pytest.raises(ValueError, match=re.escape(f"w of shape {shape} does not broadcast to the shape {onto} of x")):
        require_fit(torch.ones(shape), torch.ones(onto), "w")


def test_require_names_what_is_missing_and_what_to_do():
    class Value:
        prox = None

        def grad(self, x):
            return x

    require(Value(), "grad", by="fista", name="f")
    with pytest.raises(TypeError, match=r"^fista needs g\.prox, but Value has none; pass a function whose prox"):
        require(Value(), "prox", by="fista", name="g")
    with pytest.raises(TypeError, match=r"^ista needs f\.lipschitz, but Value has none; pass step=, at most 1/L"):
        require(Value(), "lipschitz", by="ista", name="f")
    with pytest.raises(TypeError, match=r"^cg needs A\.T, but Value has none; pass one that has it"):
        require(Value(), "T", by="cg", name="A")


def test_coefficients_that_would_change_the_dtype_of_x_are_refused():
    x = torch.ones(3)
    require_fit(torch.ones(3), x.double(), "w")
    require_fit(torch.tensor(1.0).double(), x, "w")
    with pytest.raises(ValueError, match=r"^w is torch\.float64, x is torch\.float32: convert one of them"):
        require_fit(torch.ones(3).double(), x, "w")
    with pytest.raises(ValueError, match=r"^w is on meta, x is on cpu: move one of them"):
        require_fit(x.to("meta"), x, "w")
