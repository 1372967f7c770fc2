r"""Sums whose prox is known, and distances to sets.

.. math:: f + \langle c, \cdot \rangle, \quad f + \tfrac\mu2 \|\cdot - a\|^2, \quad f + \iota_C \text{ (by entry)},
          \quad \operatorname{dist}_C, \quad \min_i f_i

The prox of a sum is in general not made of those of its parts: ``+`` between functions is there only where it is.
For all other sums there are algorithms that keep the parts apart.

References: A. Beck, First-Order Methods in Optimization, SIAM 2017, chapter 6; H. H. Bauschke and P. L. Combettes,
Convex Analysis and Monotone Operator Theory in Hilbert Spaces, 2nd ed., Springer 2017, chapter 24.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
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


@dataclass(frozen=True, eq=False)
class Distance:
    r"""``weight`` times the Euclidean distance of x to a closed convex set.

    .. math:: \operatorname{prox}_{s g}(x) = x + \min\Bigl(1, \frac{s w}{\operatorname{dist}(x)}\Bigr)(P_C(x) - x)

    The distance is that of the whole tensor.

    Args:
        C: the indicator of the set; its prox is the projection.
        weight: ``w``, at least 0; a float or a 0-d tensor.

    Raises:
        TypeError: C has no prox.
        ValueError: ``weight`` is negative.

    >>> from optsci import Box
    >>> g = Distance(Box(0, 1))
    >>> g(torch.tensor([4.0, 5.0])), g.prox(torch.tensor([4.0, 5.0]), 1.0)
    (tensor(5.), tensor([3.4000, 4.2000]))
    """

    C: Any
    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        _set_set_and_weight(self, "Distance")

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight * torch.linalg.vector_norm(x - self.C.prox(x, 1.0))

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Towards the projection, by at most ``step * weight``."""
        require_step(step, x)
        away = x - self.C.prox(x, 1.0)
        square = away.square().sum()
        inside = square == 0
        length = torch.where(inside, 1.0, square).sqrt()
        fraction = torch.where(inside, 1.0, (step * self.weight / length).clamp(max=1.0))
        return x - fraction * away

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class SquaredDistance:
    r"""``weight/2`` times the squared distance of x to a closed convex set; smooth.

    .. math:: \operatorname{prox}_{s g}(x) = \frac{x + s w \, P_C(x)}{1 + s w}, \qquad
              \nabla g(x) = w (x - P_C(x)), \qquad L = w

    Args:
        C: the indicator of the set; its prox is the projection.
        weight: ``w``, at least 0; a float or a 0-d tensor.

    Raises:
        TypeError: C has no prox.
        ValueError: ``weight`` is negative.

    >>> from optsci import Box
    >>> g = SquaredDistance(Box(0, 1))
    >>> g(torch.tensor([3.0, 0.5])), g.grad(torch.tensor([3.0, 0.5])), g.prox(torch.tensor([3.0, 0.5]), 1.0)
    (tensor(2.), tensor([2., 0.]), tensor([2.0000, 0.5000]))
    """

    C: Any
    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        _set_set_and_weight(self, "SquaredDistance")

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight / 2 * (x - self.C.prox(x, 1.0)).square().sum()

    def grad(self, x: Tensor) -> Tensor:
        """``weight (x - P(x))``."""
        return self.weight * (x - self.C.prox(x, 1.0))

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Mean of x and its projection."""
        require_step(step, x)
        projection = self.C.prox(x, 1.0)
        return projection + (x - projection) / (1 + step * self.weight)

    def lipschitz(self) -> float:
        """Lipschitz constant of the gradient, ``weight``."""
        return as_float(self.weight)

    __add__ = added
    __rmul__ = scaled


@dataclass(frozen=True, eq=False, init=False)
class PointwiseMinimum:
    r"""``min_i f_i(x)``; **not convex**.

    .. math:: \operatorname{prox}_{s f}(x) = \text{the best of } \operatorname{prox}_{s f_i}(x)

    Of equally good ones it is that of the first function. For example, the minimum of the indicators of two sets is
    that of their union.

    Args:
        functions: one or more, with a prox.

    Raises:
        TypeError: one has no prox.
        ValueError: no function at all.

    >>> from optsci import Box
    >>> union = PointwiseMinimum(Box(0, 1), Box(3, 4))
    >>> union.prox(torch.tensor([1.5]), 1.0), union.prox(torch.tensor([2.5]), 1.0)
    (tensor([1.]), tensor([3.]))
    """

    functions: tuple[Any, ...]

    def __init__(self, *functions: Any) -> None:
        if not functions:
            raise ValueError("PointwiseMinimum needs at least one function, got none")
        for k, f in enumerate(functions):
            require(f, "prox", by="PointwiseMinimum", name=f"functions[{k}]")
        object.__setattr__(self, "functions", functions)

    def __call__(self, x: Tensor) -> Tensor:
        return torch.stack([f(x) for f in self.functions]).min()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """The best of the proxes."""
        best, value = x, None
        for f in self.functions:
            p = f.prox(x, step)
            objective = f(p) + ((p - x).square() / (2 * step)).sum()
            if value is None:
                best, value = p, objective
            else:
                better = objective < value
                best, value = torch.where(better, p, best), torch.where(better, objective, value)
        return best

    __rmul__ = scaled


@dataclass(frozen=True, eq=False, init=False)
class Sliced:
    r"""``sum_i f_i(x[..., slice_i])`` over disjoint slices of the last dimension that cover it.

    .. math:: \operatorname{prox}_{s f}(x)_{S_i} = \operatorname{prox}_{s f_i}(x_{S_i})

    As x is one tensor, every algorithm takes it.

    Args:
        functions: one a slice.
        sizes: lengths of the slices, in order.

    Raises:
        ValueError: there are not as many sizes as functions, a size is not positive, or x has another length.

    >>> from optsci import L1, Nonnegative
    >>> Sliced([L1(), Nonnegative()], [1, 2]).prox(torch.tensor([3.0, -1.0, 1.0]), 1.0)
    tensor([2., 0., 1.])
    """

    functions: tuple[Any, ...]
    sizes: tuple[int, ...]

    def __init__(self, functions: Sequence[Any], sizes: Sequence[int]) -> None:
        if len(functions) != len(sizes) or not functions:
            raise ValueError(f"sizes must be as many as functions, got {len(sizes)} and {len(functions)}")
        if any(size <= 0 for size in sizes):
            raise ValueError(f"sizes must be positive, got {list(sizes)}")
        object.__setattr__(self, "functions", tuple(functions))
        object.__setattr__(self, "sizes", tuple(sizes))

    def __call__(self, x: Tensor) -> Tensor:
        return torch.stack([f(part) for f, part in zip(self.functions, self._split(x), strict=True)]).sum()

    @property
    def grad(self) -> Gradient:
        """Gradients of the parts, side by side."""
        grads = [f.grad for f in self.functions]
        return lambda x: torch.cat([grad(part) for grad, part in zip(grads, self._split(x), strict=True)], -1)

    @property
    def prox(self) -> Prox:
        """Proxes of the parts, side by side; a step of many entries is cut like x."""
        proxes = [f.prox for f in self.functions]

        def sliced(x: Tensor, step: float | Tensor) -> Tensor:
            parts = self._split(x)
            wide = isinstance(step, Tensor) and step.dim() > 0 and step.shape[-1] > 1
            steps = self._split(step) if wide and isinstance(step, Tensor) else [step] * len(parts)
            return torch.cat([prox(part, s) for prox, part, s in zip(proxes, parts, steps, strict=True)], -1)

        return sliced

    @property
    def lipschitz(self) -> Any:
        """``lipschitz() = max_i f_i.lipschitz()``."""
        constants = [f.lipschitz for f in self.functions]
        return lambda: max(lipschitz() for lipschitz in constants)

    def _split(self, x: Tensor) -> Sequence[Tensor]:
        if x.dim() == 0 or x.shape[-1] != sum(self.sizes):
            raise ValueError(f"x must have a last dimension of {sum(self.sizes)}, got shape {tuple(x.shape)}")
        return x.split(self.sizes, dim=-1)

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


def _set_set_and_weight(f: Any, by: str) -> None:
    require(f.C, "prox", by=by, name="C")
    weight = as_scalar(f.weight, "weight")
    require_nonnegative(weight, "weight")
    object.__setattr__(f, "weight", weight)
