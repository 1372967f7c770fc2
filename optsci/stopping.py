r"""Rules for ``solve(…, stop=rule)``: predicates on a state, combined by ``|`` and ``&``.

.. code-block:: python

    stop = optsci.gap(certificate, 1e-6) | optsci.max_seconds(60)
    run = optsci.solve(optsci.fista(f, g, x0), tol=None, stop=stop, check_every=10)

``solve`` asks a rule at its checks alone: "the last x" below is the x of the last check, ``check_every`` states ago.
Rules that remember something (``absolute_change``, ``relative_change``, ``max_seconds``, ``patience``) are made anew
for every solve. A comparison with NaN is false: a rule never takes it for success.

Sources: Fercoq, Gramfort and Salmon, ICML 2015, arXiv 1505.03410 (dual point of the lasso by rescaling the residual).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Rule:
    """A stopping rule: a test of a state, which ``|`` and ``&`` combine. Both sides are always asked.

    Args:
        test: ``state -> bool``, or a 0-d bool tensor.

    Raises:
        TypeError: ``test``, or what a rule is combined with, cannot be called.

    Example:
        >>> import optsci
        >>> f, g = optsci.LeastSquares([[2.0, 0.0], [0.0, 1.0]], [2.0, 3.0]), optsci.L1(1.0)
        >>> found = Rule(lambda state: (state.x > 1).any()) & Rule(lambda state: state.t > 2)
        >>> print(optsci.solve(optsci.fista(f, g, [0.0, 0.0]), stop=found).status.name)
        STOPPED
    """

    test: Callable[[Any], Any]

    def __post_init__(self) -> None:
        _require_function(self.test, "test", "lambda state: …")

    def __call__(self, state: Any) -> Any:
        return self.test(state)

    def __or__(self, other: Callable[[Any], Any]) -> Rule:
        """Stop where one of both would; ``other`` may be any function of the state."""
        return self._combined(other, lambda a, b: a or b)

    def __and__(self, other: Callable[[Any], Any]) -> Rule:
        """Stop where both would at the same check."""
        return self._combined(other, lambda a, b: a and b)

    def _combined(self, other: Any, combine: Callable[[bool, bool], bool]) -> Rule:
        _require_function(other, "the other side", "lambda state: …")

        def test(state: Any) -> bool:
            a, b = bool(self(state)), bool(other(state))  # both, for what they remember
            return combine(a, b)

        return Rule(test)


def absolute_change(tol: float) -> Rule:
    r"""Stop when :math:`\|x - x_{last}\| \le` ``tol`` from one check to the next; never at the first.

    A small change is no proof: a method that takes short steps moves little anywhere.

    Args:
        tol: at least 0; x is a tensor or a tuple of tensors.

    Example:
        >>> import optsci
        >>> rule = absolute_change(0.1)
        >>> print(optsci.solve(optsci.ista(optsci.SquaredL2(), optsci.L1(), [3.0], step=0.5), stop=rule).x)
        tensor([0.])
    """
    tol = _nonnegative(tol, "tol")
    return Rule(_Change(lambda distance, size: distance <= tol))


def relative_change(tol: float) -> Rule:
    r"""Stop when :math:`\|x - x_{last}\| \le` ``tol`` :math:`\cdot \|x\|` from one check to the next.

    Args:
        tol: at least 0; x is a tensor or a tuple of tensors.

    Example:
        >>> from types import SimpleNamespace as State
        >>> rule = relative_change(0.01)
        >>> [bool(rule(State(x=torch.tensor([x])))) for x in (100.0, 110.0, 111.0)]
        [False, False, True]
    """
    tol = _nonnegative(tol, "tol")
    return Rule(_Change(lambda distance, size: distance <= tol * size))


def gap(function: Callable[[Any], Any], tol: float) -> Rule:
    """Stop when ``function(x) <= tol``, for a bound such as ``lasso_duality_gap(A, b, weight)``.

    Args:
        function: of ``state.x``; the value a number or a 0-d tensor.
        tol: at least 0.

    Example:
        >>> import optsci
        >>> f, g = optsci.LeastSquares([[2.0, 0.0], [0.0, 1.0]], [2.0, 3.0]), optsci.L1(1.0)
        >>> rule = gap(lasso_duality_gap([[2.0, 0.0], [0.0, 1.0]], [2.0, 3.0], 1.0), 1e-4)
        >>> print(optsci.solve(optsci.fista(f, g, [0.0, 0.0]), tol=None, stop=rule).status.name)
        STOPPED
    """
    _require_function(function, "function", "lasso_duality_gap(A, b, weight)")
    tol = _nonnegative(tol, "tol")
    return Rule(lambda state: function(state.x) <= tol)


def kkt(f: Any, g: Any, tol: float, *, step: float = 1.0) -> Rule:
    r"""Stop when x is optimal for f + g up to ``tol``, whatever the algorithm.

    .. math:: \frac1s \|x - \operatorname{prox}_{s g}(x - s \nabla f(x))\| \le \mathtt{tol}

    Without g this is the norm of the gradient.

    Args:
        f: has ``grad``.
        g: has ``prox``.
        tol: at least 0, on the scale of gradients.
        step: positive, at best 1/L; the left side falls as the step grows, and a large one flatters x.

    Example:
        >>> import optsci
        >>> f, g = optsci.LeastSquares([[2.0, 0.0], [0.0, 1.0]], [2.0, 3.0]), optsci.L1(1.0)
        >>> optsci.solve(optsci.fista(f, g, [0.0, 0.0]), tol=None, stop=kkt(f, g, 1e-5)).x.round(decimals=3)
        tensor([0.7500, 2.0000])
    """
    for name, function, method in (("f", f, "grad"), ("g", g, "prox")):
        if not callable(getattr(function, method, None)):
            raise TypeError(f"kkt needs {name}.{method}, but {type(function).__name__} has none")
    tol = _nonnegative(tol, "tol")
    if not 0 < step < math.inf:
        raise ValueError(f"step must be finite and positive, got {step!r}")
    return Rule(lambda state: (state.x - g.prox(state.x - step * f.grad(state.x), step)).norm() <= tol * step)


def max_seconds(seconds: float) -> Rule:
    """Stop at the first check at which so many seconds have passed since the rule was made.

    Args:
        seconds: at least 0.

    Example:
        >>> import optsci
        >>> steps = optsci.ista(optsci.SquaredL2(), optsci.L1(), [3.0], step=1e-9)
        >>> optsci.solve(steps, tol=None, stop=max_seconds(0.0)).iterations
        1
    """
    end = time.perf_counter() + _nonnegative(seconds, "seconds")
    return Rule(lambda state: time.perf_counter() >= end)


def patience(checks: int, quantity: Callable[[Any], Any]) -> Rule:
    """Stop when the quantity has not fallen below its smallest value for so many checks in a row.

    Args:
        checks: at least 1.
        quantity: ``state -> number`` or a 0-d tensor: a validation error, ``lambda state: state.residual``.

    Example:
        >>> rule = patience(2, lambda state: state)
        >>> [rule(value) for value in (3.0, 2.0, 2.5, 1.0, 1.0, 1.5)]
        [False, False, False, False, False, True]
    """
    if not isinstance(checks, Integral) or checks < 1:
        raise ValueError(f"checks must be a positive integer, not {checks!r}")
    _require_function(quantity, "quantity", "lambda state: state.residual")
    best, waited = math.inf, 0

    def test(state: Any) -> bool:
        nonlocal best, waited
        value = quantity(state)
        value = float(value.detach() if isinstance(value, Tensor) else value)
        waited = 0 if value < best else waited + 1
        best = value if value < best else best
        return waited >= checks

    return Rule(test)


def lasso_duality_gap(A: Any, b: Any, weight: float | Tensor) -> Callable[[Tensor], Tensor]:
    r"""Return a bound on how far x is from optimal for the lasso: :math:`F(x) - F^* \le \text{gap}(x)`.

    For :math:`F(x) = \frac12 \|A x - b\|^2 + w \|x\|_1`, with :math:`r = b - A x` and the dual point
    :math:`c\, r`, c nearest to :math:`\langle b, r \rangle / \|r\|^2` where :math:`c \|A^\top r\|_\infty \le w`,

    .. math:: \text{gap}(x) = \tfrac12 (1 - c)^2 \|r\|^2 + \sum_i \left( w |x_i| - c\, x_i (A^\top r)_i \right),

    the difference of the primal and the dual value, written so that nothing cancels: it is 0 at a solution, and no term
    is negative but for rounding.

    Args:
        A: (m, n), or an operator with ``A(x)`` and ``A.T(y)``.
        b: (m,).
        weight: w, positive.

    Reference: Fercoq, Gramfort and Salmon, arXiv 1505.03410.

    Example:
        >>> certificate = lasso_duality_gap([[2.0, 0.0], [0.0, 1.0]], [2.0, 3.0], 1.0)
        >>> certificate(torch.tensor([0.75, 2.0])), certificate(torch.tensor([0.0, 0.0]))
        (tensor(0.), tensor(3.6562))
    """
    if not (callable(A) and callable(getattr(A, "T", None))):
        A = torch.as_tensor(A)
        A = A if A.is_floating_point() else A.to(torch.get_default_dtype())
        b = torch.as_tensor(b).to(A)
    b = torch.as_tensor(b)
    if not 0 < weight < math.inf:
        raise ValueError(f"weight must be finite and positive, got {weight!r}")

    def certificate(x: Tensor) -> Tensor:
        r = b - (A @ x if isinstance(A, Tensor) else A(x))
        correlation = A.mT @ r if isinstance(A, Tensor) else A.T(r)
        square, largest = r.square().sum(), correlation.abs().amax()
        wanted = (b * r).sum() / torch.where(square > 0, square, 1.0)
        limit = weight / torch.where(largest > 0, largest, 1.0)
        limit = torch.where(largest > 0, limit, math.inf)
        c = torch.maximum(torch.minimum(wanted, limit), -limit)
        return 0.5 * (1 - c) ** 2 * square + (weight * x.abs() - c * x * correlation).sum()

    return certificate


class _Change:
    """Remember x from one call to the next; what is remembered is detached, and not the caller's own tensor."""

    def __init__(self, small: Callable[[Tensor, Tensor], Any]) -> None:
        self.small = small
        self.last: list[Tensor] | None = None

    def __call__(self, state: Any) -> Any:
        x = state.x if isinstance(state.x, list | tuple) else [state.x]
        last, self.last = self.last, [part.detach().clone() for part in x]
        if last is None:
            return False
        return self.small(_norm([a - b for a, b in zip(self.last, last, strict=True)]), _norm(self.last))


def _norm(parts: list[Tensor]) -> Tensor:
    return torch.stack([part.norm() for part in parts]).norm()


def _require_function(function: Any, name: str, example: str) -> None:
    if not callable(function):
        raise TypeError(f"{name} must be a function such as {example}, not {function!r}")


def _nonnegative(x: Any, name: str) -> float:
    if not (isinstance(x, Real) and 0 <= float(x) < math.inf):
        raise ValueError(f"{name} must be finite and at least 0, got {x!r}")
    return float(x)
