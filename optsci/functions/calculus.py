r"""Rules that make new functions from old ones, with their values, gradients and proximal operators.

.. math:: \operatorname{prox}_{s g}(x) = \operatorname*{argmin}_z \; g(z) + \tfrac{1}{2 s} \|z - x\|^2

A rule offers a method exactly when the functions it is built from allow it: ``hasattr(Scaled(f, 2), "prox")``
is ``hasattr(f, "prox")``.

References: A. Beck, First-Order Methods in Optimization, SIAM 2017, chapter 6; H. H. Bauschke and P. L.
Combettes, Convex Analysis and Monotone Operator Theory in Hilbert Spaces, 2nd ed., Springer 2017, chapters 12
to 14 and 24.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optsci._tensor import as_coefficient, as_float, positive_scalar, require_finite, require_fit, require_step
from optsci.protocols import require

Prox = Callable[[Tensor, float | Tensor], Tensor]
Gradient = Callable[[Tensor], Tensor]


def scaled(f: Any, scale: float | Tensor) -> Scaled:
    """Return ``scale * f``; as ``__rmul__`` of a class it lets one write ``0.1 * L1()``."""
    return Scaled(f, scale)


def added(f: Any, g: Any) -> Any:
    """Return ``f + g`` where its prox is known; as ``__add__`` of a class it lets one write ``L1() + Box(-1, 1)``."""
    from optsci.functions.sums import sum_of  # which is made of the rules of this file

    return sum_of(f, g)


@dataclass(frozen=True, eq=False)
class Scaled:
    r"""``scale * f(x)``.

    .. math:: \operatorname{prox}_{s (\alpha f)} = \operatorname{prox}_{(\alpha s) f}, \qquad
              \nabla (\alpha f) = \alpha \nabla f

    Args:
        f: the function.
        scale: positive; a float or a 0-d tensor.

    Raises:
        ValueError: ``scale`` is not a positive, finite number.

    >>> from optsci import L1
    >>> half = 0.5 * L1()
    >>> half(torch.tensor([3.0, -1.0])), half.prox(torch.tensor([3.0, -1.0]), 2.0)
    (tensor(2.), tensor([2., 0.]))
    """

    f: Any
    scale: float | Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", positive_scalar(self.scale, "scale"))

    def __call__(self, x: Tensor) -> Tensor:
        return self.scale * self.f(x)

    @property
    def grad(self) -> Gradient:
        """``grad(x) = scale * f.grad(x)``."""
        grad = self.f.grad
        return lambda x: self.scale * grad(x)

    @property
    def prox(self) -> Prox:
        """``prox(x, step) = f.prox(x, scale * step)``."""
        prox = self.f.prox

        def rescaled(x: Tensor, step: float | Tensor) -> Tensor:
            require_step(step, x)
            return prox(x, self.scale * step)

        return rescaled

    @property
    def lipschitz(self) -> Callable[[], float]:
        """``lipschitz() = scale * f.lipschitz()``."""
        lipschitz = self.f.lipschitz
        return lambda: as_float(self.scale) * lipschitz()

    @property
    def like(self) -> Tensor:
        return self.f.like

    __add__ = added
    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class Translated:
    r"""``f(x - shift)``.

    .. math:: \operatorname{prox}_{s f(\cdot - d)}(x) = d + \operatorname{prox}_{s f}(x - d), \qquad
              \nabla f(\cdot - d)(x) = \nabla f(x - d)

    Args:
        f: the function.
        shift: a number, or a tensor that broadcasts to ``x``; in the units of ``x``.

    Raises:
        ValueError: ``shift`` holds NaN or infinity, or does not broadcast to ``x``, or would change its dtype.

    >>> from optsci import L1
    >>> Translated(L1(), [1.0, 2.0]).prox(torch.tensor([5.0, 2.5]), 1.0)
    tensor([4., 2.])
    """

    f: Any
    shift: float | Tensor

    def __post_init__(self) -> None:
        shift = as_coefficient(self.shift, "shift")
        require_finite(shift, "shift")
        object.__setattr__(self, "shift", shift)

    def __call__(self, x: Tensor) -> Tensor:
        return self.f(self._translate(x))

    @property
    def grad(self) -> Gradient:
        """``grad(x) = f.grad(x - shift)``."""
        grad = self.f.grad
        return lambda x: grad(self._translate(x))

    @property
    def prox(self) -> Prox:
        """``prox(x, step) = shift + f.prox(x - shift, step)``."""
        prox = self.f.prox

        def translated(x: Tensor, step: float | Tensor) -> Tensor:
            require_step(step, x)
            return self.shift + prox(self._translate(x), step)

        return translated

    @property
    def lipschitz(self) -> Callable[[], float]:
        """``lipschitz() = f.lipschitz()``."""
        return self.f.lipschitz

    @property
    def like(self) -> Tensor:
        return self.f.like

    def _translate(self, x: Tensor) -> Tensor:
        require_fit(self.shift, x, "shift")
        return x - self.shift

    __add__ = added
    __rmul__ = scaled


@dataclass(frozen=True, eq=False, init=False)
class SeparableSum:
    r"""``f_1(x_1) + f_2(x_2) + ...`` of a tuple or list of tensors, one block a function.

    .. math:: \operatorname{prox}_{s f}(x)_i = \operatorname{prox}_{s f_i}(x_i), \qquad
              \nabla f(x)_i = \nabla f_i(x_i)

    ``prox`` and ``grad`` return tuples; one ``step`` serves all blocks; ``lipschitz()`` is the largest of
    theirs. **No algorithm here takes it**: their x is one tensor. It is for loops of your own.

    Args:
        functions: one a block.

    Raises:
        TypeError: ``x`` is a tensor.
        ValueError: no function at all; or ``x`` has another number of blocks.

    >>> from optsci import L1, Nonnegative
    >>> f = SeparableSum(L1(), Nonnegative())
    >>> f.prox((torch.tensor([3.0]), torch.tensor([-1.0, 1.0])), 1.0)
    (tensor([2.]), tensor([0., 1.]))
    """

    functions: tuple[Any, ...]

    def __init__(self, *functions: Any) -> None:
        if not functions:
            raise ValueError("SeparableSum needs at least one function, got none")
        object.__setattr__(self, "functions", functions)

    def __call__(self, x: Sequence[Tensor]) -> Tensor:
        return torch.stack([f(block) for f, block in zip(self.functions, self._blocks(x), strict=True)]).sum()

    @property
    def grad(self) -> Callable[[Sequence[Tensor]], tuple[Tensor, ...]]:
        """``grad(x)[i] = f_i.grad(x[i])``."""
        grads = [f.grad for f in self.functions]
        return lambda x: tuple(grad(block) for grad, block in zip(grads, self._blocks(x), strict=True))

    @property
    def prox(self) -> Callable[[Sequence[Tensor], float | Tensor], tuple[Tensor, ...]]:
        """``prox(x, step)[i] = f_i.prox(x[i], step)``."""
        proxes = [f.prox for f in self.functions]
        return lambda x, step: tuple(prox(block, step) for prox, block in zip(proxes, self._blocks(x), strict=True))

    @property
    def lipschitz(self) -> Callable[[], float]:
        """``lipschitz() = max_i f_i.lipschitz()``."""
        constants = [f.lipschitz for f in self.functions]
        return lambda: max(lipschitz() for lipschitz in constants)

    def _blocks(self, x: Sequence[Tensor]) -> Sequence[Tensor]:
        if isinstance(x, Tensor):
            raise TypeError(
                "x must be a tuple of tensors, one a function, got a tensor: no algorithm takes SeparableSum"
            )
        if len(x) != len(self.functions):
            raise ValueError(f"x must have {len(self.functions)} blocks, one a function, got {len(x)}")
        return x

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class Conjugate:
    r"""The convex conjugate of a convex function with a prox.

    .. math:: f^*(u) = \sup_x \; \langle u, x \rangle - f(x), \qquad
              \operatorname{prox}_{s f^*}(u) = u - s \operatorname{prox}_{f/s}(u/s)

    The prox is Moreau's identity: it needs nothing but ``f.prox``, and ``f`` convex and closed. The value is
    that of ``f.conjugate``, where there is one.

    Args:
        f: the convex function.

    Raises:
        TypeError: ``f`` has no prox; or its conjugate has no closed form here, and the value is asked for.

    >>> from optsci import L1
    >>> dual = Conjugate(L1(2.0))                            # the indicator of [-2, 2]
    >>> dual(torch.tensor([1.0, -2.0])), dual.prox(torch.tensor([5.0, -1.0]), 0.5)
    (tensor(0.), tensor([ 2., -1.]))
    """

    f: Any

    def __post_init__(self) -> None:
        require(self.f, "prox", by="Conjugate", name="f")

    def __call__(self, u: Tensor) -> Tensor:
        if not hasattr(self.f, "conjugate"):
            raise TypeError(
                f"Conjugate({type(self.f).__name__}) has a prox but no value: {type(self.f).__name__} has no "
                "`conjugate`; do not track the objective, or give it one"
            )
        return self.f.conjugate(u)

    def prox(self, u: Tensor, step: float | Tensor) -> Tensor:
        """``u - step * f.prox(u / step, 1 / step)``, of the shape of ``u``."""
        require_step(step, u, of="u")
        return u - step * self.f.prox(u / step, 1 / step)

    @property
    def conjugate(self) -> Any:
        """``f`` itself: a closed convex function is its own biconjugate."""
        return self.f

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class MoreauEnvelope:
    r"""The Moreau envelope of ``f``: a smooth lower bound with the same minimisers.

    .. math:: e(x) = \min_z \; f(z) + \tfrac{1}{2 t} \|z - x\|^2, \qquad
              \nabla e(x) = \tfrac1t \, (x - \operatorname{prox}_{t f}(x)), \qquad L = 1/t

    .. math:: \operatorname{prox}_{s e}(x) = x + \tfrac{s}{s + t} \, (\operatorname{prox}_{(s + t) f}(x) - x)

    The gradient, its Lipschitz constant and the prox hold for convex ``f``; the value for any. For example,
    the envelope of the magnitude is Huber's function.

    Args:
        f: the function, with a prox.
        step: ``t``, positive; a float or a 0-d tensor.

    Raises:
        TypeError: ``f`` has no prox.
        ValueError: ``step`` is not a positive, finite number.

    >>> from optsci import L1
    >>> huber = MoreauEnvelope(L1(), 1.0)
    >>> huber(torch.tensor([0.5, 3.0])), huber.grad(torch.tensor([0.5, 3.0]))
    (tensor(2.6250), tensor([0.5000, 1.0000]))
    """

    f: Any
    step: float | Tensor

    def __post_init__(self) -> None:
        require(self.f, "prox", by="MoreauEnvelope", name="f")
        object.__setattr__(self, "step", positive_scalar(self.step, "step"))

    def __call__(self, x: Tensor) -> Tensor:
        nearest = self.f.prox(x, self.step)
        return self.f(nearest) + (x - nearest).square().sum() / (2 * self.step)

    def grad(self, x: Tensor) -> Tensor:
        """``(x - f.prox(x, t)) / t``, of the shape of ``x``."""
        return (x - self.f.prox(x, self.step)) / self.step

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """``x + s/(s + t) (f.prox(x, s + t) - x)``, of the shape of ``x``."""
        require_step(step, x)
        return x + step / (step + self.step) * (self.f.prox(x, step + self.step) - x)

    def lipschitz(self) -> float:
        """Lipschitz constant of the gradient, ``1/t``."""
        return 1 / as_float(self.step)

    __add__ = added
    __rmul__ = scaled
