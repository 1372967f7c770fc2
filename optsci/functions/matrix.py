r"""Norms of singular values and their balls.

.. math:: \operatorname{prox}_{s F}(U \operatorname{diag}(\sigma) V^T) =
          U \operatorname{diag}(\operatorname{prox}_{s f}(\sigma)) \, V^T

A matrix is the last two dimensions; the ones before them are a batch, whose values are summed.

Reference: A. S. Lewis, The Convex Analysis of Unitarily Invariant Matrix Functions, J. Convex Anal. 2 (1995)
173-183.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

from optsci._tensor import as_scalar, nonnegative_scalar, require_positive, require_step
from optsci.functions.calculus import scaled
from optsci.functions.indicators import _indicator
from optsci.functions.spectral import map_singular_values, singular_values, spectral_prox, spectral_slack


@dataclass(frozen=True, eq=False)
class Nuclear:
    r"""``weight * (sum of singular values)``, the nuclear norm; makes solutions low in rank.

    .. math:: \operatorname{prox}_{s g}(x) = U \operatorname{diag}((\sigma_i - s w)_+) \, V^T

    Args:
        weight: ``w``, at least 0; a float or a 0-d tensor.

    Raises:
        ValueError: ``weight`` is negative, not finite, or not a single number; ``x`` is not a matrix; or
            ``step`` varies within a matrix.

    Reference: J.-F. Cai, E. J. Candès and Z. Shen, A Singular Value Thresholding Algorithm for Matrix
    Completion, SIAM J. Optim. 20 (2010) 1956-1982.

    >>> Nuclear(0.5)(torch.tensor([[3.0, 0.0], [0.0, 1.0]]))
    tensor(2.)
    >>> Nuclear().prox(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), 2.0)
    tensor([[1., 0.],
            [0., 0.]])
    """

    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", nonnegative_scalar(self.weight, "weight"))

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight * singular_values(x).sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Soft threshold of the singular values; ``step`` may differ from matrix to matrix."""
        return spectral_prox(lambda s, t: (s - t * self.weight).clamp(min=0), x, step)

    @property
    def conjugate(self) -> SpectralBall:
        """Indicator of the matrices without singular values above ``weight``."""
        return SpectralBall(self.weight)

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class SpectralBall:
    r"""Indicator of the matrices whose singular values all are at most ``radius``.

    .. math:: \operatorname{prox}(x) = U \operatorname{diag}(\min(\sigma_i, r)) \, V^T

    Membership allows for the rounding of singular values.

    Args:
        radius: ``r``, at least 0; a float or a 0-d tensor.

    Raises:
        ValueError: ``radius`` is negative, not finite, or not a single number; or ``x`` is not a matrix.

    >>> SpectralBall(2).prox(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), 1.0)
    tensor([[2., 0.],
            [0., 1.]])
    """

    radius: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius", nonnegative_scalar(self.radius, "radius"))

    def __call__(self, x: Tensor) -> Tensor:
        return _indicator((singular_values(x) <= self.radius * (1 + spectral_slack(x))).all(), x)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        return map_singular_values(lambda s: s.clamp(max=self.radius), x, lambda s: (s <= self.radius).all(-1))

    def lmo(self, d: Tensor) -> Tensor:
        """``-radius * U V^T``."""
        return -self.radius * map_singular_values(lambda s: 1 + 0 * s, d)

    @property
    def conjugate(self) -> Nuclear:
        """``radius`` times the nuclear norm."""
        return Nuclear(self.radius)

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class Spectral:
    r"""``weight * (largest singular value)``, the spectral norm.

    .. math:: \operatorname{prox}_{s g}(x) = x - U \operatorname{diag}(P(\sigma)) \, V^T, \qquad
              P \text{ the projection onto } \{u \ge 0, \textstyle\sum_i u_i \le s w\}

    Args:
        weight: ``w``, at least 0; a float or a 0-d tensor.

    Raises:
        ValueError: ``weight`` is negative, not finite, or not a single number; ``x`` is not a matrix; or
            ``step`` varies within a matrix.

    >>> g = Spectral()
    >>> g(torch.tensor([[3.0, 0.0], [0.0, 1.0]]))
    tensor(3.)
    >>> g.prox(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), 1.0)
    tensor([[2., 0.],
            [0., 1.]])
    """

    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", nonnegative_scalar(self.weight, "weight"))

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight * singular_values(x)[..., :1].sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Lowers the largest singular values to one level; ``step`` may differ from matrix to matrix."""
        return spectral_prox(lambda s, t: s - _capped(s, t * self.weight, t * self.weight), x, step)

    @property
    def conjugate(self) -> NuclearBall:
        """Indicator of the ball of the nuclear norm of radius ``weight``."""
        return NuclearBall(self.weight)

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class NuclearBall:
    r"""Indicator of the matrices whose singular values sum to at most ``radius``.

    .. math:: \operatorname{prox}(x) = U \operatorname{diag}((\sigma_i - \nu)_+) \, V^T, \qquad
              \nu \ge 0 \text{ the least with } \textstyle\sum_i (\sigma_i - \nu)_+ \le r

    Membership allows for the rounding of singular values.

    Args:
        radius: ``r``, at least 0; a float or a 0-d tensor.

    Raises:
        ValueError: ``radius`` is negative, not finite, or not a single number; or ``x`` is not a matrix.

    >>> NuclearBall(2).prox(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), 1.0)
    tensor([[2., 0.],
            [0., 0.]])
    """

    radius: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius", nonnegative_scalar(self.radius, "radius"))

    def __call__(self, x: Tensor) -> Tensor:
        return _indicator((singular_values(x).sum(-1) <= self.radius * (1 + spectral_slack(x))).all(), x)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        return map_singular_values(
            lambda s: _capped(s, self.radius, self.radius), x, lambda s: s.sum(-1) <= self.radius
        )

    def lmo(self, d: Tensor) -> Tensor:
        """``-radius * u_1 v_1^T``, of the largest singular value of ``d``."""
        return -self.radius * map_singular_values(lambda s: 0 * s + _first(s, 1), d)

    @property
    def conjugate(self) -> Spectral:
        """``radius`` times the spectral norm."""
        return Spectral(self.radius)

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class KyFan:
    r"""``weight * (sum of the k largest singular values)``, the Ky Fan norm.

    .. math:: \operatorname{prox}_{s g}(x) = x - U \operatorname{diag}(P(\sigma)) \, V^T, \qquad
              P \text{ the projection onto } \{0 \le u_i \le s w, \textstyle\sum_i u_i \le s w k\}

    The spectral norm for ``k = 1``, the nuclear norm for a ``k`` of at least the number of singular values.

    Args:
        weight: ``w``, at least 0; a float or a 0-d tensor.
        k: how many singular values, at least 1.

    Raises:
        ValueError: ``weight`` is negative, not finite, or not a single number; ``k`` is not a whole number, or
            below 1; ``x`` is not a matrix; or ``step`` varies within a matrix.

    Reference: K. Fan, Maximum Properties and Inequalities for the Eigenvalues of Completely Continuous
    Operators, Proc. Natl. Acad. Sci. 37 (1951) 760-766.

    >>> KyFan(1.0, k=2)(torch.diag(torch.tensor([3.0, 2.0, 1.0])))
    tensor(5.)
    """

    weight: float | Tensor
    k: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", nonnegative_scalar(self.weight, "weight"))
        if not isinstance(self.k, Integral) or self.k < 1:
            raise ValueError(f"k must be a whole number, at least 1, got {self.k!r}")

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight * singular_values(x)[..., : self.k].sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Lowers the largest singular values; ``step`` may differ from matrix to matrix."""
        return spectral_prox(lambda s, t: s - _capped(s, t * self.weight, t * self.weight * self.k), x, step)

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class Schatten:
    r"""``weight * sum_i sigma_i^p`` of the singular values, the power of a Schatten norm; p is 1, 3/2, 2 or 3.

    .. math:: \operatorname{prox}_{s g}(x) = U \operatorname{diag}(z) \, V^T, \qquad
              z_i + s w p \, z_i^{p-1} = \sigma_i

    Args:
        weight: ``w``, positive; a float or a 0-d tensor.
        p: 1, 3/2, 2 or 3, for which that equation has a closed solution.

    Raises:
        ValueError: ``weight`` is not a positive, finite number; ``p`` is another; ``x`` is not a matrix; or
            ``step`` varies within a matrix.

    >>> g = Schatten(1.0, 3)
    >>> g(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
    tensor(9.)
    """

    weight: float | Tensor
    p: float

    def __post_init__(self) -> None:
        weight = as_scalar(self.weight, "weight")
        require_positive(weight, "weight")
        object.__setattr__(self, "weight", weight)
        if self.p not in (1, 1.5, 2, 3):
            raise ValueError(f"p must be 1, 3/2, 2 or 3, got {self.p!r}")

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight * singular_values(x).pow(self.p).sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Shrinks the singular values; ``step`` may differ from matrix to matrix."""
        return spectral_prox(lambda s, t: self._shrink(s, t * self.weight), x, step)

    @property
    def conjugate(self) -> Schatten | SpectralBall:
        """``weight (p - 1) sum_i (sigma_i / (weight p))^r``, ``r = p/(p - 1)``; a ball for ``p = 1``."""
        if self.p == 1:
            return SpectralBall(self.weight)
        r = {1.5: 3, 2: 2, 3: 1.5}[self.p]
        return Schatten(self.weight * (self.p - 1) * (self.weight * self.p) ** -r, r)

    def _shrink(self, s: Tensor, t: float | Tensor) -> Tensor:
        # Each root in the form without a difference, in which small ones would lose their digits.
        if self.p == 1:
            return (s - t).clamp(min=0)
        if self.p == 2:
            return s / (1 + 2 * t)
        if self.p == 3:
            return 2 * s / (1 + (1 + 12 * t * s).sqrt())
        return (2 * s / (1.5 * t + (2.25 * t * t + 4 * s).sqrt())).square()

    __rmul__ = scaled


def _first(s: Tensor, count: int) -> Tensor:
    return (torch.arange(s.shape[-1], device=s.device) < count).to(s.dtype)


def _capped(s: Tensor, cap: float | Tensor, total: float | Tensor) -> Tensor:
    """Projection of nonnegative ``s`` onto ``0 <= u <= cap, sum u <= total``: ``u = clip(s - nu, 0, cap)``.

    The sum falls with nu, linearly between the points s and s - cap. The last point at which it still reaches
    the total tells which entries are strictly between the bounds beyond it, and those give nu.
    """
    cap, total = (torch.as_tensor(bound, dtype=s.dtype, device=s.device) for bound in (cap, total))
    with torch.no_grad():
        points = torch.cat([s, s - cap], -1)
        rest = s[..., None, :] - points[..., :, None]
        sums = rest.clamp(min=0).minimum(cap[..., None]).sum(-1)
        last = torch.where(sums >= total, points, -torch.inf).amax(-1, keepdim=True)
        full = s - cap > last
        free = (s > last) & ~full
        count = free.sum(-1, keepdim=True)
    excess = torch.where(free, s, 0).sum(-1, keepdim=True) + full.sum(-1, keepdim=True) * cap - total
    level = (s - excess / count.clamp(min=1)).clamp(min=0)
    # Read off the masks, not clipped: where the sum is flat any nu will do, but the derivative is that of a bound.
    beyond = torch.where(full, cap, torch.where(free, level, 0 * s))
    inside = s.minimum(cap)
    return torch.where(inside.sum(-1, keepdim=True) <= total, inside, beyond)
