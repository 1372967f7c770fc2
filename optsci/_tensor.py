"""The single door for user data: NumPy arrays, lists and numbers become tensors; tensors pass unchanged.

It is called where functions and operators are built and on starting points, nowhere else: inside, everything
is a tensor, and dtype and device are decided once, by the inputs.
"""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor


def as_tensor(x: Any, name: str, *, like: Tensor | None = None) -> Tensor:
    """Return ``x`` as a real floating-point tensor.

    Args:
        x: a tensor (returned as it is, with its graph), a NumPy array (shares memory, keeps float32 and
            float64), a number or nested lists of numbers. Integers and booleans become floating point: the
            dtype of ``like``, or torch's default one.
        name: what the caller calls this argument; it stands in the error messages.
        like: a tensor whose dtype and device the result must have. Numbers and lists adopt them; an array of
            another precision, or a tensor of another precision or device, is refused, for to convert it
            silently would hide where precision or time is lost.

    Raises:
        TypeError: ``x`` does not hold numbers.
        ValueError: ``x`` is complex, or disagrees with ``like``.

    >>> as_tensor([1, 2], "b")
    tensor([1., 2.])
    >>> as_tensor(np.zeros(2), "b").dtype
    torch.float64
    >>> as_tensor(np.zeros(2), "b", like=torch.zeros(3))
    Traceback (most recent call last):
    ValueError: b is torch.float64, what it is combined with is torch.float32: convert one of them
    """
    tensor = _convert(x, name, None if like is None else like.dtype)
    if tensor.is_complex():
        raise ValueError(f"{name} must be real, got {tensor.dtype}: stack its real and imaginary parts instead")
    if like is None:
        return tensor if tensor.is_floating_point() else tensor.to(torch.get_default_dtype())
    if tensor.is_floating_point() and tensor.dtype != like.dtype:
        raise ValueError(f"{name} is {tensor.dtype}, what it is combined with is {like.dtype}: convert one of them")
    if isinstance(x, Tensor) and tensor.device != like.device:
        raise ValueError(
            f"{name} is on {tensor.device}, what it is combined with is on {like.device}: move one of them"
        )
    return tensor.to(like.device, like.dtype)


def as_finite(x: Any, name: str, *, like: Tensor | None = None) -> Tensor:
    """Return `as_tensor(x, name, like=like)` after making sure that every entry is finite.

    >>> as_finite([1.0, float("nan")], "b")
    Traceback (most recent call last):
    ValueError: b must be finite, got nan
    """
    tensor = as_tensor(x, name, like=like)
    require_finite(tensor, name)
    return tensor


def require_finite(x: float | Tensor, name: str) -> None:
    """Refuse NaN and infinity."""
    values = _values(x)
    _refuse(values[~values.isfinite()], name, "finite")


def as_coefficient(x: Any, name: str) -> float | Tensor:
    """Return a number as a float, which takes the dtype of the tensor it meets; all else by `as_tensor`.

    >>> as_coefficient(np.float32(2), "weight")
    2.0
    """
    return float(x) if isinstance(x, Real) else as_tensor(x, name)


def as_scalar(x: Any, name: str) -> float | Tensor:
    """Return a single number: a float, or a 0-d tensor, so that one can differentiate with respect to it.

    >>> as_scalar([1.0, 2.0], "weight")
    Traceback (most recent call last):
    ValueError: weight must be a single number, got shape (2,)
    """
    number = as_coefficient(x, name)
    if isinstance(number, Tensor) and number.dim() > 0:
        raise ValueError(f"{name} must be a single number, got shape {tuple(number.shape)}")
    return number


def as_float(x: float | Tensor) -> float:
    """Return a coefficient as a constant, outside of any graph.

    >>> as_float(torch.tensor(2.0, requires_grad=True))
    2.0
    """
    return float(x.detach() if isinstance(x, Tensor) else x)


def require_nonnegative(x: float | Tensor, name: str) -> None:
    """Refuse what is negative, infinite or NaN anywhere.

    >>> require_nonnegative(-1, "weight")
    Traceback (most recent call last):
    ValueError: weight must be finite and at least 0, got -1.0
    """
    values = _values(x)
    _refuse(values[~((values >= 0) & values.isfinite())], name, "finite and at least 0")


def require_positive(x: float | Tensor, name: str) -> None:
    """Refuse what is not positive, infinite or NaN anywhere.

    >>> require_positive(0, "scale")
    Traceback (most recent call last):
    ValueError: scale must be finite and positive, got 0.0
    """
    values = _values(x)
    _refuse(values[~((values > 0) & values.isfinite())], name, "finite and positive")


def nonnegative_scalar(x: Any, name: str) -> float | Tensor:
    """Return a single number, finite and at least 0, by `as_scalar`.

    >>> nonnegative_scalar(-1, "weight")
    Traceback (most recent call last):
    ValueError: weight must be finite and at least 0, got -1.0
    """
    number = as_scalar(x, name)
    require_nonnegative(number, name)
    return number


def positive_scalar(x: Any, name: str) -> float | Tensor:
    """Return a single number, finite and positive, by `as_scalar`.

    >>> positive_scalar(0, "scale")
    Traceback (most recent call last):
    ValueError: scale must be finite and positive, got 0.0
    """
    number = as_scalar(x, name)
    require_positive(number, name)
    return number


def require_entries(x: Tensor) -> None:
    """Refuse what has no vectors along its last dimension, or only empty ones.

    >>> require_entries(torch.tensor(1.0))
    Traceback (most recent call last):
    ValueError: x must be a vector of at least one entry, or a batch of them, got shape ()
    """
    if x.dim() == 0 or x.shape[-1] == 0:
        raise ValueError(f"x must be a vector of at least one entry, or a batch of them, got shape {tuple(x.shape)}")


def require_fit(coefficient: float | Tensor, x: Tensor, name: str, *, of: str = "x") -> None:
    """Refuse a coefficient that would change the shape or the dtype of ``x``, or that lies elsewhere.

    Numbers and 0-d tensors change neither, and a coefficient of lower precision does not.

    >>> require_fit(torch.ones(3, 1), torch.ones(3), "weights")
    Traceback (most recent call last):
    ValueError: weights of shape (3, 1) does not broadcast to the shape (3,) of x
    >>> require_fit(torch.ones(3).double(), torch.ones(3), "weights")
    Traceback (most recent call last):
    ValueError: weights is torch.float64, x is torch.float32: convert one of them
    """
    if not isinstance(coefficient, Tensor) or coefficient.dim() == 0:
        return
    if not broadcasts(coefficient.shape, x.shape):
        raise ValueError(
            f"{name} of shape {tuple(coefficient.shape)} does not broadcast to the shape {tuple(x.shape)} of {of}"
        )
    if torch.promote_types(coefficient.dtype, x.dtype) != x.dtype:
        raise ValueError(f"{name} is {coefficient.dtype}, {of} is {x.dtype}: convert one of them")
    if coefficient.device != x.device:
        raise ValueError(f"{name} is on {coefficient.device}, {of} is on {x.device}: move one of them")


def require_floating(x: Tensor, *, of: str = "x") -> None:
    """Refuse integers and booleans, of which functions have no prox and no gradient.

    >>> require_floating(torch.tensor([1, 2]))
    Traceback (most recent call last):
    ValueError: x must be floating point, got torch.int64: convert it, as in x.float()
    """
    if not x.is_floating_point():
        raise ValueError(f"{of} must be floating point, got {x.dtype}: convert it, as in {of}.float()")


def require_step(step: float | Tensor, x: Tensor | None = None, *, of: str = "x") -> None:
    """Refuse a step below 0 or NaN, one that does not fit ``x``, and an ``x`` of integers.

    The sign of a tensor is not looked at: that would wait for its device. ``x`` is None where the shape of the step
    is the concern of another function.

    >>> require_step(-0.5, torch.ones(3))
    Traceback (most recent call last):
    ValueError: step must be at least 0, got -0.5
    """
    if not isinstance(step, Tensor) and not step >= 0:
        raise ValueError(f"step must be at least 0, got {step}")
    if x is not None:
        require_floating(x, of=of)
        require_fit(step, x, "step", of=of)


def broadcasts(shape: torch.Size, onto: torch.Size) -> bool:
    """Whether a tensor of this shape broadcasts to the other shape, and leaves that as it is.

    >>> broadcasts(torch.Size([1, 3]), torch.Size([2, 3])), broadcasts(torch.Size([2, 3]), torch.Size([1, 3]))
    (True, False)
    """
    return len(shape) <= len(onto) and all(a in (1, b) for a, b in zip(reversed(shape), reversed(onto), strict=False))


def euclidean_norm(x: Tensor, dim: int | tuple[int, ...] | None = None, *, keepdim: bool = False) -> Tensor:
    """Return the Euclidean norm along ``dim``, by default of all entries.

    Squares are summed in double precision, where those of single precision neither overflow nor vanish.

    >>> euclidean_norm(torch.tensor([3e25, 4e25])), euclidean_norm(torch.tensor([3e-30, 4e-30]))
    (tensor(5.0000e+25), tensor(5.0000e-30))
    """
    require_floating(x)
    return torch.linalg.vector_norm(x, dim=dim, keepdim=keepdim, dtype=torch.float64).to(x.dtype)


def instance_norm(x: Tensor, batch_dims: int = 0) -> Tensor:
    """Return the Euclidean norm over all dimensions from ``batch_dims`` on: one for each problem of a batch.

    >>> instance_norm(torch.tensor([[3.0, 4.0], [0.0, 1.0]]), 1)
    tensor([5., 1.])
    """
    if batch_dims == 0:
        return euclidean_norm(x)
    return euclidean_norm(x.flatten(batch_dims) if batch_dims < x.dim() else x[..., None], -1)


def _values(x: float | Tensor) -> Tensor:
    """Entries for inspection; a number in double precision, in which Python keeps it."""
    return x.detach().flatten() if isinstance(x, Tensor) else torch.tensor([x], dtype=torch.float64)


def _refuse(wrong: Tensor, name: str, rule: str) -> None:
    if len(wrong):
        raise ValueError(f"{name} must be {rule}, got {wrong[0].item()}")


def _convert(x: Any, name: str, dtype: torch.dtype | None) -> Tensor:
    """Numbers and lists are made in ``dtype`` at once: by way of the default one they would lose digits."""
    if isinstance(x, Tensor):
        return x
    if hasattr(x, "__array__") and not isinstance(x, np.generic):
        x = np.asarray(x)
        if not x.flags.writeable or any(stride < 0 for stride in x.strides):
            x = x.copy()  # torch cannot mark memory as read-only, and has no negative strides
        dtype = None
    try:
        return torch.as_tensor(x, dtype=dtype)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must be a tensor, an array or numbers, got {x!r}") from error
