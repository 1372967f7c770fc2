"""Coefficients are written once, with NumPy's functions; here they run on torch tensors, with derivatives.

``np.cos(x)`` of an unknown type asks that type what to do (NEP 13 and 18). `Traced` holds a tensor and answers with
torch's function of that name, so that ``lambda x: 1 - x[0]**2 - np.cos(x[1])`` runs on NumPy arrays, under Numba, and
on tensors that require gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

RENAMED = {"power": torch.pow, "equal": torch.eq, "invert": torch.bitwise_not}  # the others have NumPy's name


class Traced(np.lib.mixins.NDArrayOperatorsMixin):
    """A tensor on which NumPy's elementwise functions, ``np.where``, ``np.clip`` and ``np.sum`` act by way of torch.

    >>> x = torch.tensor([0.0, 1.0], requires_grad=True)
    >>> y = np.exp(2.0 * Traced(x)).tensor.sum()
    >>> torch.autograd.grad(y, x)[0]
    tensor([ 2.0000, 14.7781])
    """

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, index: Any) -> Traced:
        return Traced(self.tensor[index])

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any) -> Any:
        """Called by NumPy for ``np.cos(self)`` and for ``self + 1``, which is ``np.add(self, 1)``."""
        if method != "__call__" or keywords:
            return NotImplemented
        function: Any = RENAMED.get(ufunc.__name__, getattr(torch, ufunc.__name__, None))
        if function is None:
            return NotImplemented
        return Traced(function(*(self._plain(x) for x in inputs)))

    def __array_function__(self, function: Any, types: Any, inputs: Any, keywords: dict[str, Any]) -> Any:
        """Called by NumPy for functions that are not elementwise."""
        if function not in (np.where, np.clip, np.sum):
            return NotImplemented
        plain = [self._plain(x) if isinstance(x, (Traced, np.ndarray)) else x for x in inputs]
        return Traced(getattr(torch, function.__name__)(*plain, **keywords))

    def _plain(self, x: Any) -> Tensor:
        """Numbers become 0-d tensors of double precision, which take the dtype of what they meet."""
        return x.tensor if isinstance(x, Traced) else torch.as_tensor(np.asarray(x), device=self.tensor.device)


def on_tensors(function: Callable[[Any], Any]) -> Callable[[Tensor], Tensor]:
    """Return a function of NumPy arrays x (d, n) or (n,) -> (n,) as one of tensors, of the dtype of ``x``.

    >>> on_tensors(lambda x: np.maximum(x[0], 0.5) + x[1])(torch.tensor([[0.0, 1.0], [2.0, 3.0]]))
    tensor([2.5000, 4.0000])
    """

    def on_tensor(x: Tensor) -> Tensor:
        value = function(Traced(x))
        value = value.tensor if isinstance(value, Traced) else torch.as_tensor(value, device=x.device)
        return value.to(x.dtype).expand(x.shape[-1])

    return on_tensor


def constants_of(xp: Any, values: np.ndarray) -> Callable[[Any], Any]:
    """Return x -> the values, in the precision of x, for functions that run under torch or Numba.

    Under Numba they are constants of the compiled code, so that a function of one point needs no memory.
    """
    if xp is torch:
        return lambda x: torch.asarray(values, dtype=x.dtype)
    from numba.extending import overload

    single = values.astype(np.float32)

    def of(x: Any) -> Any:
        return values.astype(x.dtype)

    @overload(of, strict=False)
    def typed(x: Any) -> Any:
        return (lambda x: single) if str(x.dtype) == "float32" else (lambda x: values)

    return of


def under_numba(function: Callable[[Any], Any]) -> Any:
    """Return the same function compiled by Numba, with results of the dtype of ``x``.

    >>> under_numba(lambda x: 2.0 * x)(np.ones(1, dtype=np.float32)).dtype
    dtype('float32')
    """
    import numba

    raw = numba.njit(function, error_model="numpy", nogil=True)

    @numba.njit(error_model="numpy", nogil=True)
    def of_one_dtype(x: Any) -> Any:
        value = np.empty(x.shape[-1], x.dtype)
        value[:] = raw(x)
        return value

    return of_one_dtype
