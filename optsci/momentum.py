r"""Momentum sequences and restart tests: what tells the variants of FISTA apart.

.. math:: y_{k+1} = x_k + \frac{t_k - 1}{t_{k+1}} (x_k - x_{k-1})

A momentum is a pure map ``t -> t_next`` on 0-d tensors. A restart is a test ``(y, x_new, x) -> 0-d bool tensor``;
where it is true t becomes 1, and the extrapolation begins anew. Nothing is read from the device.

Sources: Beck and Teboulle, SIAM J. Imaging Sci. 2 (2009) 183; Chambolle and Dossal, J. Optim. Theory Appl. 166 (2015)
968; Nesterov, Introductory Lectures on Convex Optimization (2004); O'Donoghue and Candès, Found. Comput. Math. 15
(2015) 715 (restart).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from optsci.protocols import require_value

Momentum = Callable[[Tensor], Tensor]  # t -> t_next, 0-d tensors
Restart = Callable[[Tensor, Tensor, Tensor], Tensor]  # (y, x_new, x) -> 0-d bool tensor


def nesterov(t: Tensor) -> Tensor:
    r"""The momentum of FISTA, :math:`t_{k+1} = (1 + \sqrt{1 + 4 t_k^2})/2`.

    Example:
        >>> nesterov(torch.tensor(1.0))
        tensor(1.6180)
    """
    return (1 + (1 + 4 * t * t).sqrt()) / 2


def no_momentum(t: Tensor) -> Tensor:
    """The momentum :math:`t_{k+1} = 1`: ``fista`` becomes ``ista``.

    Example:
        >>> no_momentum(torch.tensor(3.0))
        tensor(1.)
    """
    return torch.ones_like(t)


def chambolle_dossal(a: float) -> Momentum:
    r"""The momentum :math:`t_k = (k + a - 1)/a`, a > 2, with which the iterates themselves converge.

    :math:`F(x_k) - F^* \le a^2 L R^2 / (2 (k + a - 1)^2)`, and it is :math:`o(1/k^2)`.

    Reference: Chambolle and Dossal (2015).

    Example:
        >>> chambolle_dossal(4)(torch.tensor(1.0))
        tensor(1.2500)
    """
    if not a > 2:
        raise ValueError(f"a must be greater than 2, not {a!r}")
    return lambda t: t + 1 / a


def strongly_convex(q: float) -> Momentum:
    r"""The momentum for a mu-strongly convex F, :math:`q = \mu/L`: a gap of order :math:`(1 - \sqrt q)^k`.

    All extrapolations but the first, which is 0, are :math:`(1 - \sqrt q)/(1 + \sqrt q)`.

    Reference: Nesterov (2004), section 2.2.

    Example:
        >>> t = strongly_convex(0.25)(torch.tensor(1.0))
        >>> (t - 1) / t
        tensor(0.3333)
    """
    if not 0 < q <= 1:
        raise ValueError(f"q = mu/L must be positive and at most 1, not {q!r}")
    constant = (1 + math.sqrt(q)) / (2 * math.sqrt(q))  # the t with (t - 1)/t = (1 - sqrt q)/(1 + sqrt q)
    return lambda t: torch.full_like(t, constant)


def gradient_restart(y: Tensor, x_new: Tensor, x: Tensor) -> Tensor:
    r"""The restart test :math:`\langle y - x_{new}, x_{new} - x \rangle > 0`: the last move went uphill.

    It costs no evaluation of f or g.

    Reference: O'Donoghue and Candès (2015), section 3.

    Example:
        >>> gradient_restart(torch.tensor([1.0]), torch.tensor([0.0]), torch.tensor([-1.0]))
        tensor(True)
    """
    return ((y - x_new) * (x_new - x)).sum() > 0


def function_restart(f: Any, g: Any) -> Restart:
    r"""The restart test :math:`F(x_{new}) > F(x)`: the objective has risen. It costs two values of F.

    Reference: O'Donoghue and Candès (2015), section 3.

    Example:
        >>> import optsci
        >>> risen = function_restart(optsci.SquaredL2(), optsci.L1())
        >>> risen(torch.zeros(1), torch.tensor([2.0]), torch.tensor([1.0]))
        tensor(True)
    """
    require_value("function_restart", f=f, g=g)
    return lambda y, x_new, x: f(x_new) + g(x_new) > f(x) + g(x)
