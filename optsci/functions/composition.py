r"""Functions of a linear map of x.

.. math:: x \mapsto f(a x + b), \qquad x \mapsto f(L x) \text{ with } L L^\top = \nu I, \qquad
          x \mapsto f(A x - b) \text{ with smooth } f

Reference: A. Beck, First-Order Methods in Optimization, SIAM 2017, Theorems 6.11 and 6.15.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optsci._tensor import (
    as_coefficient,
    as_finite,
    euclidean_norm,
    require_finite,
    require_fit,
    require_positive,
    require_step,
)
from optsci.functions.calculus import Gradient, Prox, added, scaled
from optsci.operators import Matrix, as_operator
from optsci.protocols import require


@dataclass(frozen=True, eq=False)
class Precomposed:
    r"""``f(scale * x + shift)``.

    .. math:: \operatorname{prox}_{s f(a \cdot + b)}(x) = \frac{\operatorname{prox}_{a^2 s f}(a x + b) - b}{a}

    Args:
        f: the function.
        scale: a, not 0; a number, or, for f that act entry by entry, a tensor that broadcasts to ``x``.
        shift: b, a number, or a tensor that broadcasts to ``x``.

    Raises:
        ValueError: ``scale`` is 0 somewhere, or a parameter is not finite or does not broadcast to ``x``.

    >>> from optsci import Hinge
    >>> Precomposed(Hinge(), -1.0).prox(torch.tensor([-2.0, -0.5]), 1.0)
    tensor([-2., -1.])
    """

    f: Any
    scale: float | Tensor
    shift: float | Tensor = 0.0

    def __post_init__(self) -> None:
        for name in ("scale", "shift"):
            value = as_coefficient(getattr(self, name), name)
            require_finite(value, name)
            object.__setattr__(self, name, value)
        scale = self.scale
        require_positive(scale.abs() if isinstance(scale, Tensor) else abs(scale), "the magnitude of scale")

    def __call__(self, x: Tensor) -> Tensor:
        return self.f(self._map(x))

    @property
    def grad(self) -> Gradient:
        """``grad(x) = scale * f.grad(scale * x + shift)``."""
        grad = self.f.grad
        return lambda x: self.scale * grad(self._map(x))

    @property
    def prox(self) -> Prox:
        """``prox(x, step) = (f.prox(scale x + shift, scale^2 step) - shift) / scale``."""
        prox = self.f.prox

        def composed(x: Tensor, step: float | Tensor) -> Tensor:
            require_step(step, x)
            return (prox(self._map(x), self.scale * self.scale * step) - self.shift) / self.scale

        return composed

    @property
    def lipschitz(self) -> Any:
        """``lipschitz() = max scale^2 * f.lipschitz()``."""
        lipschitz = self.f.lipschitz
        largest = float(torch.as_tensor(self.scale).abs().max()) ** 2
        return lambda: largest * lipschitz()

    def _map(self, x: Tensor) -> Tensor:
        require_fit(self.scale, x, "scale")
        require_fit(self.shift, x, "shift")
        return self.scale * x + self.shift

    __add__ = added
    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class TightFrame:
    r"""``f(L x)`` for L with ``L L^T = nu I``; orthogonal transforms are those with nu = 1.

    .. math:: \operatorname{prox}_{s f \circ L}(x) = x + \tfrac1\nu L^\top
              \bigl(\operatorname{prox}_{\nu s f}(L x) - L x\bigr)

    Args:
        f: the function.
        L: (m, n) matrix or operator; that :math:`L L^\top = \nu I` is checked on a random vector.
        nu: positive.

    Raises:
        ValueError: ``nu`` is not positive, or L has not the property.

    >>> from optsci import L1
    >>> TightFrame(L1(), [[1.0, 1.0]], 2.0).prox(torch.tensor([3.0, 1.0]), 1.0)
    tensor([2., 0.])
    """

    f: Any
    L: Any
    nu: float = 1.0

    def __post_init__(self) -> None:
        L = as_operator(self.L)
        object.__setattr__(self, "L", L)
        require_positive(self.nu, "nu")
        _require_tight(L, self.nu)

    def __call__(self, x: Tensor) -> Tensor:
        return self.f(self.L(x))

    @property
    def grad(self) -> Gradient:
        """``grad(x) = L^T f.grad(L x)``."""
        grad = self.f.grad
        return lambda x: self.L.T(grad(self.L(x)))

    @property
    def prox(self) -> Prox:
        """One prox of f, one product with L and one with its adjoint."""
        prox = self.f.prox

        def composed(x: Tensor, step: float | Tensor) -> Tensor:
            require_step(step)
            Lx = self.L(x)
            return x + self.L.T(prox(Lx, self.nu * step) - Lx) / self.nu

        return composed

    @property
    def lipschitz(self) -> Any:
        """``lipschitz() = nu * f.lipschitz()``."""
        lipschitz = self.f.lipschitz
        return lambda: self.nu * lipschitz()

    __add__ = added
    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class Epicomposition:
    r"""``inf of f(y) over L y = x``, the image of f under L, for L with ``L^T L = nu I``.

    .. math:: \operatorname{prox}_{s (L \triangleright f)}(x) = L \operatorname{prox}_{s f / \nu}(L^\top x / \nu)

    L then is one-to-one: the value is :math:`f(L^\top x / \nu)` on the range of L, and infinite elsewhere.

    Args:
        f: the function.
        L: (m, n) matrix or operator; that :math:`L^\top L = \nu I` is checked on a random vector.
        nu: positive.

    Raises:
        ValueError: ``nu`` is not positive, or L has not the property.

    >>> from optsci import L1
    >>> image = Epicomposition(L1(), [[1.0], [1.0]], 2.0)
    >>> image(torch.tensor([3.0, 3.0])), image.prox(torch.tensor([3.0, 1.0]), 1.0)
    (tensor(3.), tensor([1.5000, 1.5000]))
    """

    f: Any
    L: Any
    nu: float = 1.0

    def __post_init__(self) -> None:
        L = as_operator(self.L)
        object.__setattr__(self, "L", L)
        require(self.f, "prox", by="Epicomposition", name="f")
        require_positive(self.nu, "nu")
        _require_tight(L.T, self.nu)

    def __call__(self, x: Tensor) -> Tensor:
        y = self.L.T(x) / self.nu
        away = euclidean_norm(x - self.L(y))
        inside = away <= 64 * torch.finfo(x.dtype).eps * (1 + euclidean_norm(x))
        return torch.where(inside, self.f(y), torch.inf)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """``L f.prox(L^T x / nu, step / nu)``."""
        require_step(step)
        return self.L(self.f.prox(self.L.T(x) / self.nu, step / self.nu))

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class AffineComposition:
    r"""``f(A x - b)`` for smooth f: a loss of a linear model, such as robust regression.

    .. math:: \nabla (f(A \cdot - b))(x) = A^\top \nabla f(A x - b), \qquad L = L_f \|A\|^2

    Args:
        f: has ``grad``, and ``lipschitz`` where the step is to be derived; ``Huber``, ``SquaredHinge``, ...
        A: (m, n) matrix or operator.
        b: (m,), or a number.

    Raises:
        TypeError: f has no gradient.
        ValueError: ``b`` is not finite, or has not the rows of A.

    >>> from optsci import Huber
    >>> f = AffineComposition(Huber(), [[1.0, 0.0], [0.0, 2.0]], [1.0, 2.0])
    >>> f(torch.zeros(2)), f.grad(torch.zeros(2)), f.lipschitz()
    (tensor(2.), tensor([-1., -2.]), 4.0)
    """

    f: Any
    A: Any
    b: Any = 0.0

    def __post_init__(self) -> None:
        require(self.f, "grad", by="AffineComposition", name="f")
        A = as_operator(self.A)
        object.__setattr__(self, "A", A)
        b = as_finite(self.b, "b", like=A.entries if isinstance(A, Matrix) else None)
        if b.dim() and b.shape[0] != A.shape[0]:
            raise ValueError(f"b must have the {A.shape[0]} rows of A, got shape {tuple(b.shape)}")
        object.__setattr__(self, "b", b)

    def __call__(self, x: Tensor) -> Tensor:
        return self.f(self.A(x) - self.b)

    def grad(self, x: Tensor) -> Tensor:
        """``A^T f.grad(A x - b)``."""
        return self.A.T(self.f.grad(self.A(x) - self.b))

    @property
    def lipschitz(self) -> Any:
        """``lipschitz() = f.lipschitz() * ||A||^2``."""
        lipschitz = self.f.lipschitz
        return lambda: lipschitz() * self.A.norm() ** 2

    __add__ = added
    __rmul__ = scaled


def _require_tight(L: Any, nu: float) -> None:
    """Refuse L unless L L^T = nu I, as far as a random vector can tell."""
    like = L.entries if isinstance(L, Matrix) else torch.zeros((), dtype=torch.get_default_dtype())
    y = torch.randn(L.shape[0], generator=torch.Generator().manual_seed(0)).to(like)
    error = float((L(L.T(y)) - nu * y).norm() / (nu * y.norm()))
    if not error <= 1e3 * torch.finfo(y.dtype).eps:
        raise ValueError(f"L must satisfy L L^T = nu I with nu = {nu:g}, it is off by {error:.1e} on a random vector")
