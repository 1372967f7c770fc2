r"""Sums of Euclidean norms of groups of variables, which set whole groups to 0, and the dual ball.

.. math:: g(x) = w \sum_j \|x_j\|_2

Reference: M. Yuan and Y. Lin, J. R. Stat. Soc. B 68 (2006) 49-67.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from optsci._tensor import euclidean_norm, nonnegative_scalar, require_step
from optsci.functions.calculus import added, scaled
from optsci.functions.euclidean import _in_balls, _project, _shrink, _slack, _unit
from optsci.functions.indicators import _indicator
from optsci.functions.norms import _soft_threshold


@dataclass(frozen=True, eq=False)
class GroupL2:
    r"""``weight * sum_j ||x_j||_2``, the sum of the Euclidean norms of groups; sets whole groups to 0.

    .. math:: \operatorname{prox}_{s g}(x)_j = \Bigl(1 - \frac{s w}{\|x_j\|_2}\Bigr)_+ x_j

    With the default ``dim`` every row of a matrix is a group, with ``dim=0`` every column; with a tuple of
    dimensions the slices that they span.

    Args:
        weight: ``w``, at least 0; a float or a 0-d tensor.
        dim: the dimension along which the norms are taken, or several.

    Raises:
        ValueError: ``weight`` is negative, not finite, or not a single number; or ``step`` varies within a
            group.

    Reference: M. Yuan and Y. Lin, J. R. Stat. Soc. B 68 (2006) 49-67.

    >>> g = GroupL2()
    >>> x = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    >>> g(x), g.prox(x, 1.0)
    (tensor(5.5000), tensor([[2.4000, 3.2000],
            [0.0000, 0.0000]]))
    """

    weight: float | Tensor = 1.0
    dim: int | tuple[int, ...] = -1

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", nonnegative_scalar(self.weight, "weight"))

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight * euclidean_norm(x, dim=self.dim).sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Block soft threshold; ``step`` may differ from group to group."""
        return _shrink(x, step, self.weight, self.dim)

    @property
    def conjugate(self) -> GroupL2Ball:
        """Indicator of the tensors whose groups all lie in the ball of radius ``weight``."""
        return GroupL2Ball(self.weight, self.dim)

    __add__ = added
    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class GroupL2Ball:
    r"""Indicator of ``max_j ||x_j||_2 <= radius``: every group lies in a Euclidean ball.

    .. math:: \operatorname{prox}(x)_j = \min\Bigl(1, \frac{r}{\|x_j\|_2}\Bigr) \, x_j

    Membership allows for the rounding of a norm.

    Args:
        radius: ``r``, at least 0; a float or a 0-d tensor.
        dim: the dimension along which the norms are taken, or several; as in GroupL2.

    Raises:
        ValueError: ``radius`` is negative, not finite, or not a single number.

    >>> GroupL2Ball(1, dim=0).prox(torch.tensor([[3.0, 0.5], [4.0, 0.5]]), 1.0)
    tensor([[0.6000, 0.5000],
            [0.8000, 0.5000]])
    """

    radius: float | Tensor = 1.0
    dim: int | tuple[int, ...] = -1

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius", nonnegative_scalar(self.radius, "radius"))

    def __call__(self, x: Tensor) -> Tensor:
        return _indicator(_in_balls(x, self.radius, self.dim), x)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        return _project(x, self.radius, self.dim)

    def lmo(self, d: Tensor) -> Tensor:
        """``-radius * d_j / ||d_j||`` in every group; 0 where ``d_j`` is 0."""
        return -self.radius * _unit(d, self.dim)

    @property
    def conjugate(self) -> GroupL2:
        """``radius * sum_j ||u_j||_2``."""
        return GroupL2(self.radius, self.dim)

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class SparseGroup:
    r"""``l1 * ||x||_1 + l2 * ||x||_2``: few groups, and few nonzeros in each; rows are the groups.

    .. math:: \operatorname{prox}_{s g}(x) = \Bigl(1 - \frac{s l_2}{\|u\|_2}\Bigr)_+ u, \qquad
              u_i = \operatorname{sgn}(x_i) \, (|x_i| - s l_1)_+

    Args:
        l1: weight of the sum of magnitudes, at least 0; a float or a 0-d tensor.
        l2: weight of the sum of the norms of the rows, likewise.

    Raises:
        ValueError: a weight is negative, not finite, or not a single number; or ``step`` varies within a row.

    Reference: N. Simon, J. Friedman, T. Hastie and R. Tibshirani, A Sparse-Group Lasso, J. Comput. Graph.
    Stat. 22 (2013) 231-245.

    >>> g = SparseGroup(1.0, 2.0)
    >>> g(torch.tensor([3.0, 4.0])), g.prox(torch.tensor([4.0, 0.5, 5.0]), 1.0)
    (tensor(17.), tensor([1.8000, 0.0000, 2.4000]))
    """

    l1: float | Tensor
    l2: float | Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "l1", nonnegative_scalar(self.l1, "l1"))
        object.__setattr__(self, "l2", nonnegative_scalar(self.l2, "l2"))

    def __call__(self, x: Tensor) -> Tensor:
        return self.l1 * x.abs().sum() + self.l2 * euclidean_norm(x, dim=-1).sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Soft threshold, then shrink, in this order only; ``step`` may differ from row to row."""
        return _shrink(_soft_threshold(x, step, self.l1), step, self.l2, -1)

    @property
    def conjugate(self) -> SparseGroupBall:
        """Indicator of the sum of the box ``|u| <= l1`` and, for every row, the ball ``||u||_2 <= l2``."""
        return SparseGroupBall(self.l1, self.l2)

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class SparseGroupBall:
    r"""Indicator of ``|| (|x| - l1)_+ ||_2 <= l2`` for every row, the set dual to SparseGroup: a box plus a ball.

    .. math:: \operatorname{prox}(x) = x - u + \min\Bigl(1, \frac{l_2}{\|u\|_2}\Bigr) \, u, \qquad
              u_i = \operatorname{sgn}(x_i) \, (|x_i| - l_1)_+

    Membership allows for the rounding of a norm.

    Args:
        l1: half the width of the box, at least 0; a float or a 0-d tensor.
        l2: radius of the ball, likewise.

    Raises:
        ValueError: ``l1`` or ``l2`` is negative, not finite, or not a single number.

    >>> ball = SparseGroupBall(1.0, 5.0)
    >>> ball.prox(torch.tensor([7.0, -9.0]), 1.0), ball.lmo(torch.tensor([3.0, -4.0]))
    (tensor([ 4., -5.]), tensor([-4.,  5.]))
    """

    l1: float | Tensor
    l2: float | Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "l1", nonnegative_scalar(self.l1, "l1"))
        object.__setattr__(self, "l2", nonnegative_scalar(self.l2, "l2"))

    def __call__(self, x: Tensor) -> Tensor:
        norms = torch.linalg.vector_norm(_soft_threshold(x, 1.0, self.l1), dim=-1)
        return _indicator((norms <= self.l2 + _slack(x, -1) * (self.l1 + self.l2)).all(), x)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Projection, of the shape of ``x``; independent of ``step``."""
        require_step(step, x)
        u = _soft_threshold(x, 1.0, self.l1)
        inside = torch.linalg.vector_norm(u.detach(), dim=-1, keepdim=True) <= self.l2
        boxed = x.clamp(min=-self.l1).clamp(max=self.l1)
        return torch.where(inside, x, boxed + _project(u, self.l2, -1))

    def lmo(self, d: Tensor) -> Tensor:
        """``-l1 sgn(d) - l2 d / ||d||`` in every row; 0 where ``d`` is 0."""
        return -self.l1 * d.sign() - self.l2 * _unit(d, -1)

    @property
    def conjugate(self) -> SparseGroup:
        """``l1 * ||u||_1 + l2 * ||u||_2``."""
        return SparseGroup(self.l1, self.l2)

    __rmul__ = scaled
