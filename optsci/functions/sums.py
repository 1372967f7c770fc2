r"""Sums whose prox is known.

.. math:: f + \langle c, \cdot \rangle, \quad f + \tfrac\mu2 \|\cdot - a\|^2, \quad f + \iota_C \text{ (by entry)}

The prox of a sum is in general not made of those of its parts: ``+`` between functions is there only where it is.
For all other sums there are algorithms that keep the parts apart.

References: A. Beck, First-Order Methods in Optimization, SIAM 2017, chapter 6; H. H. Bauschke and P. L. Combettes,
Convex Analysis and Monotone Operator Theory in Hilbert Spaces, 2nd ed., Springer 2017, chapter 24.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from optsci._tensor import (
    as_coefficient,
    as_float,
    as_scalar,
    require_finite,
    require_fit,
    require_nonnegative,
    require_step,
)
from optsci.functions.calculus import Gradient, Prox, Translated, added, scaled
from optsci.functions.smooth_sum import SmoothSum
from optsci.protocols import require


@dataclass(frozen=True, eq=False)
class Tilted:
    r"""``f(x) + <c, x>``.

    .. math:: \operatorname{prox}_{s (f + \langle c, \cdot \rangle)}(x) = \operatorname{prox}_{s f}(x - s c), \qquad
              (f + \langle c, \cdot \rangle)^*(u) = f^*(u - c)

    Args:
        f: the function.
        c: a number, or a tensor that broadcasts to ``x``.

    Raises:
        ValueError: ``c`` holds NaN or infinity, or does not broadcast to ``x``, or would change its dtype.

    >>> import torch
    >>> from optsci import Nonnegative
    >>> Tilted(Nonnegative(), [1.0, -1.0]).prox(torch.tensor([0.5, 0.5]), 1.0)
    tensor([0.0000, 1.5000])
    """

    f: Any
    c: float | Tensor

    def __post_init__(self) -> None:
        _set_finite(self, "c")

    def __call__(self, x: Tensor) -> Tensor:
        require_fit(self.c, x, "c")
        return self.f(x) + (self.c * x).sum()

    @property
    def grad(self) -> Gradient:
        """``grad(x) = f.grad(x) + c``."""
        grad = self.f.grad
        return lambda x: grad(x) + self.c

    @property
    def prox(self) -> Prox:
        """``prox(x, step) = f.prox(x - step * c, step)``."""
        prox = self.f.prox

        def tilted(x: Tensor, step: float | Tensor) -> Tensor:
            require_step(step, x)
            require_fit(self.c, x, "c")
            return prox(x - step * self.c, step)

        return tilted

    @property
    def conjugate(self) -> Translated:
        """``f.conjugate``, translated by ``c``."""
        return Translated(self.f.conjugate, self.c)

    @property
    def lipschitz(self) -> Any:
        """``lipschitz() = f.lipschitz()``."""
        return self.f.lipschitz

    @property
    def like(self) -> Tensor:
        return self.f.like

    __add__ = added
    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class Regularized:
    r"""``f(x) + mu/2 ||x - center||^2``: strongly convex where f is convex.

    .. math:: \operatorname{prox}_{s}(x) = \operatorname{prox}_{s f / (1 + s \mu)}
              \Bigl(\frac{x + s \mu a}{1 + s \mu}\Bigr)

    Args:
        f: the function.
        mu: at least 0; a float or a 0-d tensor.
        center: a, a number, or a tensor that broadcasts to ``x``.

    Raises:
        ValueError: ``mu`` is negative, or ``center`` holds NaN or infinity or does not broadcast to ``x``.

    >>> import torch
    >>> from optsci import L1
    >>> Regularized(L1(), 1.0).prox(torch.tensor([4.0, 1.0]), 1.0)
    tensor([1.5000, 0.0000])
    """

    f: Any
    mu: float | Tensor
    center: float | Tensor = 0.0

    def __post_init__(self) -> None:
        mu = as_scalar(self.mu, "mu")
        require_nonnegative(mu, "mu")
        object.__setattr__(self, "mu", mu)
        _set_finite(self, "center")

    def __call__(self, x: Tensor) -> Tensor:
        require_fit(self.center, x, "center")
        return self.f(x) + self.mu / 2 * (x - self.center).square().sum()

    @property
    def grad(self) -> Gradient:
        """``grad(x) = f.grad(x) + mu (x - center)``."""
        grad = self.f.grad
        return lambda x: grad(x) + self.mu * (x - self.center)

    @property
    def prox(self) -> Prox:
        """That of f with a shorter step, at a mean of x and the center."""
        prox = self.f.prox

        def regularized(x: Tensor, step: float | Tensor) -> Tensor:
            require_fit(self.center, x, "center")
            require_step(step, x)
            weight = step * self.mu
            return prox((x + weight * self.center) / (1 + weight), step / (1 + weight))

        return regularized

    @property
    def lipschitz(self) -> Any:
        """``lipschitz() = f.lipschitz() + mu``."""
        lipschitz = self.f.lipschitz
        return lambda: lipschitz() + as_float(self.mu)

    @property
    def like(self) -> Tensor:
        return self.f.like

    __add__ = added
    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class Restricted:
    r"""``f(x)`` on a box, for convex f that act entry by entry, infinite outside.

    .. math:: \operatorname{prox}_{s (f + \iota_C)}(x) = P_C(\operatorname{prox}_{s f}(x))

    That this is the prox takes both properties: a sum of convex functions of single entries, and a set that limits
    single entries. Both are the caller's word; ``L1() + Box(-1, 1)`` gives it for you.

    Args:
        f: convex and elementwise, with a prox, such as ``L1``, ``ElasticNet``, ``Huber``, ``Entropy``.
        C: ``Box`` or ``Nonnegative``.

    Raises:
        TypeError: f or C has no prox.

    >>> import torch
    >>> from optsci import L1, Box
    >>> g = L1() + Box(-1, 1)
    >>> g.prox(torch.tensor([3.0, 1.5, -0.5]), 1.0), g(torch.tensor([0.5, 2.0]))
    (tensor([1.0000, 0.5000, 0.0000]), tensor(inf))
    """

    f: Any
    C: Any

    def __post_init__(self) -> None:
        require(self.f, "prox", by="Restricted", name="f")
        require(self.C, "prox", by="Restricted", name="C")

    def __call__(self, x: Tensor) -> Tensor:
        return self.f(x) + self.C(x)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """That of f, projected."""
        require_step(step, x)
        return self.C.prox(self.f.prox(x, step), step)

    __add__ = added
    __rmul__ = scaled


def sum_of(f: Any, g: Any) -> Any:
    """Return f + g as a function whose prox is known; it is what ``+`` between functions calls.

    Known are the sums of ``Linear`` or ``SquaredL2`` (both also scaled) with anything that has a prox, and those of a
    convex function that acts entry by entry with ``Box`` or ``Nonnegative``. Of two other smooth functions it is their
    ``SmoothSum``, which has a gradient and no prox.

    Raises:
        TypeError: the prox of the sum is not known.

    >>> from optsci import L1, L2, Box, SquaredL2
    >>> type(0.1 * L1() + Box(-1, 1)).__name__, type(L2() + SquaredL2(2.0)).__name__
    ('Restricted', 'Regularized')
    >>> L1() + L2()
    Traceback (most recent call last):
    TypeError: the prox of L1 + L2 is not known: keep the two apart with davis_yin, condat_vu or consensus_admm
    """
    for one, other in ((f, g), (g, f)):
        kind, scale = _scaled_kind(one)
        if kind == "Linear":
            return Tilted(other, scale * _inner(one).c)
        if kind == "SquaredL2":
            return Regularized(other, scale * _inner(one).weight)
        if kind in ("Box", "Nonnegative") and _acts_entry_by_entry(other):
            return Restricted(other, one)
    if hasattr(f, "grad") and hasattr(g, "grad"):
        return SmoothSum(f, g)
    raise TypeError(
        f"the prox of {type(f).__name__} + {type(g).__name__} is not known: "
        "keep the two apart with davis_yin, condat_vu or consensus_admm"
    )


ENTRY_BY_ENTRY = (
    "L1",
    "WeightedL1",
    "ElasticNet",
    "NonnegativeL1",
    "Huber",
    "Hinge",
    "SquaredHinge",
    "LogisticLoss",
    "Pinball",
    "EpsilonInsensitive",
    "SumPositive",
    "NegativeLog",
    "KullbackLeibler",
    "Entropy",
    "Power",
    "Box",
    "Nonnegative",
)


def _inner(f: Any) -> Any:
    return _inner(f.f) if type(f).__name__ == "Scaled" else f


def _scaled_kind(f: Any) -> tuple[str, Any]:
    """Class name without scalings, and their product."""
    if type(f).__name__ != "Scaled":
        return type(f).__name__, 1.0
    kind, scale = _scaled_kind(f.f)
    return kind, f.scale * scale


def _acts_entry_by_entry(f: Any) -> bool:
    while type(f).__name__ in ("Scaled", "Translated", "Tilted", "Precomposed", "Regularized"):
        f = f.f
    return type(f).__name__ in ENTRY_BY_ENTRY


def _set_finite(f: Any, name: str) -> None:
    value = as_coefficient(getattr(f, name), name)
    require_finite(value, name)
    object.__setattr__(f, name, value)
