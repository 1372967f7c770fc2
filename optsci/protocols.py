"""What algorithms ask of the objects they are given: the methods alone count, there is no base class."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor


class Smooth(Protocol):
    """A differentiable function: value and gradient.

    A method ``lipschitz() -> float``, a Lipschitz constant of the gradient, spares the caller the choice of a
    step. An attribute ``like``, a tensor of the dtype and device of x whose shape broadcasts to that of x, lets
    algorithms take x0 as a list, and check it before they begin.
    """

    def __call__(self, x: Tensor, /) -> Tensor:
        """Return the value at ``x``, a 0-d tensor."""
        ...

    def grad(self, x: Tensor, /) -> Tensor:
        """Return the gradient at ``x``, of the shape of ``x``."""
        ...


class Proximable(Protocol):
    """A function, perhaps neither smooth nor finite everywhere, whose prox is known."""

    def __call__(self, x: Tensor, /) -> Tensor:
        """Return the value at ``x``, a 0-d tensor; infinite outside the domain."""
        ...

    def prox(self, x: Tensor, step: float | Tensor, /) -> Tensor:
        """Return ``argmin_z g(z) + ||z - x||^2 / (2 step)``, of the shape of ``x``."""
        ...


class Operator(Protocol):
    """A linear map with its adjoint: ``<A(x), y> = <x, A.T(y)>``."""

    def __call__(self, x: Tensor, /) -> Tensor:
        """Apply the operator."""
        ...

    @property
    def T(self) -> Operator:
        """The adjoint operator."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """Return ``(m, n)``: it takes x (n,) and gives (m,)."""
        ...

    def norm(self) -> float:
        """Return the largest singular value."""
        ...


def require(obj: object, method: str, *, by: str, name: str) -> None:
    """Raise a TypeError, as a sentence, unless ``obj`` has the method.

    Args:
        obj: the object the user passed.
        method: the method the algorithm will call, such as ``"prox"``.
        by: the algorithm.
        name: what the algorithm calls the object.

    >>> require(abs, "grad", by="fista", name="f")
    Traceback (most recent call last):
    TypeError: fista needs f.grad, but builtin_function_or_method has none; wrap a callable in optsci.Autodiff
    """
    if not callable(getattr(obj, method, None)):
        remedy = _REMEDIES.get(method, "pass one that has it")
        raise TypeError(f"{by} needs {name}.{method}, but {type(obj).__name__} has none; {remedy}")


def require_value(by: str, **functions: Any) -> None:
    """Raise a TypeError where the algorithm ``by`` needs the value of a function that cannot be called."""
    for name, function in functions.items():
        if not callable(function):
            raise TypeError(f"{by} needs the value {name}(x), but {type(function).__name__} is not callable")


_REMEDIES = {
    "grad": "wrap a callable in optsci.Autodiff",
    "prox": "pass a function whose prox(x, step) is known, or an object of your own with that method",
    "lipschitz": "pass step=, at most 1/L for gradients of Lipschitz constant L, or take backtracking_fista",
}
