r"""The rank of a matrix as a penalty and as a bound, and matrices with orthonormal columns.

.. math:: \operatorname{prox}(U \operatorname{diag}(\sigma) V^T) = U \operatorname{diag}(h(\sigma)) \, V^T, \qquad
          h \text{ hard thresholding, or } h = 1

None of them is convex. A matrix is the last two dimensions; the ones before them are a batch.

Reference: C. Eckart and G. Young, The Approximation of One Matrix by Another of Lower Rank, Psychometrika 1
(1936) 211-218.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

from optsci._tensor import nonnegative_scalar, require_step
from optsci.functions.calculus import scaled
from optsci.functions.indicators import _indicator
from optsci.functions.spectral import map_singular_values, singular_values, spectral_prox, spectral_slack


@dataclass(frozen=True, eq=False)
class Rank:
    r"""``weight * rank(x)``, the number of singular values that are not 0.

    .. math:: \operatorname{prox}_{s g}(x) = U \operatorname{diag}(h(\sigma)) \, V^T, \qquad
              h(\sigma)_i = \sigma_i \text{ if } \sigma_i > \sqrt{2 s w}, \text{ else } 0

    **Not convex.** A singular value at the threshold becomes 0. The value counts the singular values that
    exceed the rounding of the largest.

    Args:
        weight: ``w``, at least 0; a float or a 0-d tensor.

    Raises:
        ValueError: ``weight`` is negative, not finite, or not a single number; ``x`` is not a matrix; or
            ``step`` varies within a matrix.

    >>> Rank()(torch.ones(3, 2))
    tensor(1.)
    >>> Rank(2.0).prox(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), 1.0)
    tensor([[3., 0.],
            [0., 0.]])
    """

    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", nonnegative_scalar(self.weight, "weight"))

    def __call__(self, x: Tensor) -> Tensor:
        s = singular_values(x)
        return self.weight * (s > spectral_slack(x) * s[..., :1]).to(x.dtype).sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Hard threshold of the singular values; ``step`` may differ from matrix to matrix."""
        return spectral_prox(lambda s, t: torch.where(s.square() <= 2 * t * self.weight, 0, s), x, step)

    __rmul__ = scaled


@dataclass(frozen=True)
class RankBall:
    r"""Indicator of the matrices of rank at most ``rank``.

    .. math:: \operatorname{prox}(x) = \sum_{i \le r} \sigma_i u_i v_i^T

    **Not convex.** Where the singular values ``rank`` and ``rank + 1`` are equal, several matrices are nearest;
    the prox returns that of the singular vectors computed first. Membership allows for the rounding of
    singular values.

    Args:
        rank: at least 0; one beyond the size of the matrix allows everything.

    Raises:
        ValueError: ``rank`` is not a whole number, or negative; or ``x`` is not a matrix.

    >>> RankBall(1).prox(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), 1.0)
    tensor([[3., 0.],
            [0., 0.]])
    """

    rank: int

    def __post_init__(self) -> None:
        if not isinstance(self.rank, Integral) or self.rank < 0:
            raise ValueError(f"rank must be a whole number, at least 0, got {self.rank!r}")

    def __call__(self, x: Tensor) -> Tensor:
        s = singular_values(x)
        return _indicator((s[..., self.rank :] <= spectral_slack(x) * s[..., :1]).all(), x)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Truncated singular value decomposition, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        if self.rank >= min(x.shape[-2:]):
            return x.clone()
        return map_singular_values(lambda s: s * (torch.arange(s.shape[-1], device=s.device) < self.rank), x)

    __rmul__ = scaled


@dataclass(frozen=True)
class Stiefel:
    r"""Indicator of the matrices with orthonormal columns, ``x^T x = I``; of rows, if there are fewer of those.

    .. math:: \operatorname{prox}(x) = U V^T

    **Not convex.** The prox is the orthogonal polar factor; where ``x`` is rank-deficient several matrices are
    nearest, and it completes by the singular vectors as computed. Membership allows for the rounding of
    singular values.

    Raises:
        ValueError: ``x`` is not a matrix.

    Reference: N. J. Higham, Functions of Matrices, SIAM 2008, chapter 8.

    >>> Stiefel().prox(torch.tensor([[0.0, -3.0], [2.0, 0.0]]), 1.0)
    tensor([[ 0., -1.],
            [ 1.,  0.]])
    """

    def __call__(self, x: Tensor) -> Tensor:
        return _indicator(((singular_values(x) - 1).abs() <= spectral_slack(x)).all(), x)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Orthogonal polar factor, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        return map_singular_values(lambda s: 1 + 0 * s, x)

    __rmul__ = scaled
