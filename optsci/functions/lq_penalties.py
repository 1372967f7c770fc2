r"""Powers of magnitudes below 1, :math:`|t|^q`, and the count of nonzeros, q = 0: a threshold and a closed form.

.. math:: \operatorname{prox}_{s g}(v) = \operatorname*{argmin}_t \; g(t) + \tfrac{1}{2 s} (t - v)^2

**None of them is convex**: the prox is a global minimiser of its scalar problem for every step, but an algorithm that
runs on it finds a stationary point. Where two minimisers tie, the one of smaller magnitude is returned.

References: T. Blumensath and M. Davies, J. Fourier Anal. Appl. 14 (2008) 629 (hard threshold); Z. Xu, X. Chang, F. Xu
and H. Zhang, IEEE Trans. Neural Netw. Learn. Syst. 23 (2012) 1013 (half threshold).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from optsci._tensor import positive_scalar, require_step
from optsci.functions.calculus import scaled


@dataclass(frozen=True, eq=False)
class L0:
    r"""``weight`` times the number of nonzeros of x; **not convex**.

    .. math:: \operatorname{prox}_{s g}(v) = \begin{cases} v & |v| > \sqrt{2 s w} \\ 0 & \text{else} \end{cases}

    Args:
        weight: ``w``, positive; a float or a 0-d tensor.

    Raises:
        ValueError: ``weight`` is not positive.

    Reference: T. Blumensath and M. Davies, J. Fourier Anal. Appl. 14 (2008) 629.

    >>> L0()(torch.tensor([3.0, 0.0])), L0().prox(torch.tensor([3.0, 1.0]), 1.0)
    (tensor(1.), tensor([3., 0.]))
    """

    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", positive_scalar(self.weight, "weight"))

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight * (x != 0).to(x.dtype).sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Hard threshold at ``sqrt(2 step weight)``; ties give 0."""
        require_step(step, x)
        return torch.where(x.square() <= 2 * step * self.weight, 0 * x, x)

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class GroupL0:
    r"""``weight`` times the number of rows of x that are not zero; **not convex**.

    .. math:: \operatorname{prox}_{s g}(v)_j = \begin{cases} v_j & \|v_j\| > \sqrt{2 s w} \\ 0 & \text{else} \end{cases}

    Rows run along the last dimension.

    Args:
        weight: ``w``, positive; a float or a 0-d tensor.

    Raises:
        ValueError: ``weight`` is not positive; or ``step`` varies within a row.

    >>> GroupL0()(torch.eye(2)), GroupL0().prox(torch.tensor([[3.0, 4.0], [1.0, 0.0]]), 1.0)
    (tensor(2.), tensor([[3., 4.],
            [0., 0.]]))
    """

    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", positive_scalar(self.weight, "weight"))

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight * (x != 0).any(-1).to(x.dtype).sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Hard threshold of rows; ties give 0."""
        squares = x.square().sum(-1, keepdim=True) if x.dim() else x.square()
        require_step(step, squares)
        return torch.where(squares <= 2 * step * self.weight, 0 * x, x)

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class LHalf:
    r"""``weight * sum_i |x_i|^(1/2)``; **not convex**.

    .. math:: \operatorname{prox}_{s g}(v) = \tfrac23 v \Bigl(1 + \cos\bigl(\tfrac{2 \pi}{3} - \tfrac23
              \arccos\bigl(\tfrac l4 (|v|/3)^{-3/2}\bigr)\bigr)\Bigr) \text{ for } |v| > \tfrac32 l^{2/3},
              \text{ else } 0, \qquad l = s w

    Args:
        weight: ``w``, positive; a float or a 0-d tensor.

    Raises:
        ValueError: ``weight`` is not positive.

    Reference: Z. Xu, X. Chang, F. Xu and H. Zhang, IEEE Trans. Neural Netw. Learn. Syst. 23 (2012) 1013.

    >>> LHalf()(torch.tensor([4.0, 0.0])), LHalf().prox(torch.tensor([1.0, 0.0]), 1.0)
    (tensor(2.), tensor([0., 0.]))
    """

    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", positive_scalar(self.weight, "weight"))

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight * x.abs().sqrt().sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Root of a cubic beyond the threshold, which gives 0 itself."""
        require_step(step, x)
        size = step * self.weight * torch.ones_like(x)
        small = x.abs() <= 1.5 * size.pow(2 / 3)
        r = torch.where(small, 3 * size.pow(2 / 3), x.abs())
        angle = torch.arccos(size / 4 * (r / 3).pow(-1.5))
        return torch.where(small, 0 * x, x.sign() * 2 / 3 * r * (1 + torch.cos(2 * math.pi / 3 - 2 / 3 * angle)))

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class LTwoThirds:
    r"""``weight * sum_i |x_i|^(2/3)``; **not convex**.

    .. math:: \operatorname{prox}_{s g}(v) = \operatorname{sgn}(v) \Bigl(\tfrac12 \bigl(A + \sqrt{2 |v| / A - A^2}\bigr)
              \Bigr)^3 \text{ for } |v| > 2 (2 l/3)^{3/4}, \text{ else } 0, \qquad l = s w

    with :math:`A = \tfrac{2}{\sqrt 3} (2 l)^{1/4} \cosh^{1/2}(c/3)` and
    :math:`c = \operatorname{arccosh}\bigl(\tfrac{27}{16} v^2 (2 l)^{-3/2}\bigr)`.

    Args:
        weight: ``w``, positive; a float or a 0-d tensor.

    Raises:
        ValueError: ``weight`` is not positive.

    >>> LTwoThirds()(torch.tensor([8.0, 0.0])), LTwoThirds().prox(torch.tensor([1.0, 0.0]), 1.0)
    (tensor(4.), tensor([0., 0.]))
    """

    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", positive_scalar(self.weight, "weight"))

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight * x.abs().pow(2 / 3).sum()

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Root of a quartic beyond the threshold, which gives 0 itself."""
        require_step(step, x)
        double = 2 * step * self.weight * torch.ones_like(x)
        threshold = 2 * (double / 3).pow(0.75)
        small = x.abs() <= threshold
        large = x.abs() > 1e6 * threshold  # where the penalty is a perturbation, and its squares might overflow
        shifted = x.abs() - double / 3 * torch.where(large, x.abs(), 1.0).pow(-1 / 3)
        r = torch.where(small | large, 2 * threshold, x.abs())
        c = torch.arccosh(27 / 16 * r.square() * double.pow(-1.5))
        A = 2 / math.sqrt(3) * double.pow(0.25) * torch.cosh(c / 3).sqrt()
        root = ((A + (2 * r / A - A * A).clamp(min=0).sqrt()) / 2).pow(3)
        return torch.where(small, 0 * x, x.sign() * torch.where(large, shifted, root))

    __rmul__ = scaled
