r"""The Euclidean norm, its ball and sphere, and its cube.

.. math:: \operatorname{prox}_{s w \|\cdot\|_2}(x) = \Bigl(1 - \frac{s w}{\|x\|_2}\Bigr)_+ x
          = x - P_{\|\cdot\|_2 \le s w}(x)

Vectors lie along the last dimension; the ones before it are a batch, whose values are summed.

Reference: A. Beck, First-Order Methods in Optimization, SIAM 2017, chapter 6.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from optsci._tensor import as_scalar, euclidean_norm, nonnegative_scalar, require_positive, require_step
from optsci.functions.calculus import added, scaled
from optsci.functions.indicators import _indicator


@dataclass(frozen=True, eq=False)
class L2:
    r"""``weight * ||x||_2``, the Euclidean norm; sets whole vectors to 0.

    .. math:: \operatorname{prox}_{s g}(x) = \Bigl(1 - \frac{s w}{\|x\|_2}\Bigr)_+ x

    ``Translated(L2(), b)`` is the square-root loss, of a scale that need not be known.

    Args:
        weight: ``w``, at least 0; a float or a 0-d tensor.

    Raises:
        ValueError: ``weight`` is negative, not finite, or not a single number; or ``step`` varies within a
            vector.

    >>> g = L2(0.5)
    >>> g(torch.tensor([3.0, -4.0])), g.prox(torch.tensor([3.0, -4.0]), 2.0)
    (tensor(2.5000), tensor([ 2.4000, -3.2000]))
    """

    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", nonnegative_scalar(self.weight, "weight"))

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight * euclidean_norm(x, dim=-1).sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Block soft threshold; ``step`` may differ from vector to vector."""
        return _shrink(x, step, self.weight, -1)

    @property
    def conjugate(self) -> L2Ball:
        """Indicator of the ball ``||u||_2 <= weight``."""
        return L2Ball(self.weight)

    __add__ = added
    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class L2Ball:
    r"""Indicator of the Euclidean ball ``||x||_2 <= radius``.

    .. math:: \operatorname{prox}(x) = \min\Bigl(1, \frac{r}{\|x\|_2}\Bigr) \, x

    Membership allows for the rounding of a norm.

    Args:
        radius: ``r``, at least 0; a float or a 0-d tensor.

    Raises:
        ValueError: ``radius`` is negative, not finite, or not a single number.

    >>> L2Ball(1).prox(torch.tensor([3.0, -4.0]), 1.0), L2Ball(1).lmo(torch.tensor([0.3, -0.4]))
    (tensor([ 0.6000, -0.8000]), tensor([-0.6000,  0.8000]))
    """

    radius: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius", nonnegative_scalar(self.radius, "radius"))

    def __call__(self, x: Tensor) -> Tensor:
        return _indicator(_in_balls(x, self.radius, -1), x)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        return _project(x, self.radius, -1)

    def lmo(self, d: Tensor) -> Tensor:
        """``-radius * d / ||d||``, the point of the ball farthest along ``-d``; 0 where ``d`` is 0."""
        return -self.radius * _unit(d, -1)

    @property
    def conjugate(self) -> L2:
        """``radius * ||u||_2``."""
        return L2(self.radius)

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class CubedL2:
    r"""``weight * ||x||_2^3``, the cubed norm, as in cubic regularisation; smooth.

    .. math:: \operatorname{prox}_{s g}(x) = \frac{2 x}{1 + \sqrt{1 + 12 s w \|x\|_2}}, \qquad
              \nabla g(x) = 3 w \|x\|_2 \, x

    The gradient is not Lipschitz continuous.

    Args:
        weight: ``w``, at least 0; a float or a 0-d tensor.

    Raises:
        ValueError: ``weight`` is negative, not finite, or not a single number; or ``step`` varies within a
            vector.

    >>> g = CubedL2()
    >>> g(torch.tensor([0.0, 2.0])), g.prox(torch.tensor([0.0, 2.0]), 1.0)
    (tensor(8.), tensor([0.0000, 0.6667]))
    """

    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", nonnegative_scalar(self.weight, "weight"))

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight * euclidean_norm(x, dim=-1).pow(3).sum()

    def grad(self, x: Tensor) -> Tensor:
        """``3 weight ||x|| x``."""
        return 3 * self.weight * euclidean_norm(x, dim=-1, keepdim=True) * x

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Shrinks towards 0; ``step`` may differ from vector to vector."""
        norms = euclidean_norm(x, dim=-1, keepdim=True)
        require_step(step, norms)
        return 2 * x / (1 + (1 + 12 * step * self.weight * norms).sqrt())

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class L2Sphere:
    r"""Indicator of the sphere ``||x||_2 = radius``.

    .. math:: \operatorname{prox}(x) = r \, x / \|x\|_2

    **Not convex.** Of 0 all points of the sphere are nearest; the prox returns ``radius * e_1``, the first unit
    vector. Membership allows for the rounding of a norm.

    Args:
        radius: ``r``, positive; a float or a 0-d tensor.

    Raises:
        ValueError: ``radius`` is not a positive, finite number.

    >>> L2Sphere(2).prox(torch.tensor([[3.0, -4.0], [0.0, 0.0]]), 1.0)
    tensor([[ 1.2000, -1.6000],
            [ 2.0000,  0.0000]])
    """

    radius: float | Tensor = 1.0

    def __post_init__(self) -> None:
        radius = as_scalar(self.radius, "radius")
        require_positive(radius, "radius")
        object.__setattr__(self, "radius", radius)

    def __call__(self, x: Tensor) -> Tensor:
        norms = euclidean_norm(x, dim=-1)
        return _indicator(((norms - self.radius).abs() <= self.radius * _slack(x, -1)).all(), x)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Nearest point of the sphere, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        first = torch.ones_like(x).cumsum(-1) == 1
        zero = (x == 0).all(-1, keepdim=True)
        return self.radius * _unit(torch.where(zero, first.to(x.dtype), x), -1)

    __rmul__ = scaled


def _shrink(x: Tensor, step: float | Tensor, weight: float | Tensor, dim: int | tuple[int, ...]) -> Tensor:
    norms = euclidean_norm(x, dim=dim, keepdim=True)
    require_step(step, norms)
    threshold = step * weight
    # Norms below the threshold leave a factor of exactly 0; a group of zeros no 0/0, even in the gradient.
    norms = norms.clamp(min=torch.finfo(x.dtype).tiny).clamp(min=threshold)
    return x * (1 - threshold / norms)


def _project(x: Tensor, radius: float | Tensor, dim: int | tuple[int, ...]) -> Tensor:
    norms = euclidean_norm(x, dim=dim, keepdim=True)
    norms = norms.clamp(min=torch.finfo(x.dtype).tiny).clamp(min=radius)
    return x * (radius / norms)  # a factor of exactly 1 inside


def _unit(x: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """``x / ||x||``, 0 where that is 0; scaled first, for squares of small and large entries leave the range."""
    largest = x.abs().amax(dim=dim, keepdim=True).detach()
    x = x / torch.where(largest == 0, 1, largest)
    norms = euclidean_norm(x, dim=dim, keepdim=True)
    return x / torch.where(largest == 0, 1, norms)


def _in_balls(x: Tensor, radius: float | Tensor, dim: int | tuple[int, ...]) -> Tensor:
    norms = euclidean_norm(x, dim=dim)
    return (norms <= radius * (1 + _slack(x, dim))).all()


def _slack(x: Tensor, dim: int | tuple[int, ...]) -> float:
    """Relative rounding error to allow for in the norm of so many entries."""
    dims = (dim,) if isinstance(dim, int) else dim
    count = math.prod(x.shape[d] for d in dims) if x.dim() else 1
    return 64 * torch.finfo(x.dtype).eps * math.sqrt(count)
