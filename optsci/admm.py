r"""Alternating direction method of multipliers: minimise f(x) + g(z) subject to x = z, or A x = z.

.. math::

    x &\leftarrow \operatorname{argmin}_x f(x) + \tfrac{\rho}{2} \|x - z + u\|^2
        = \operatorname{prox}_{f/\rho}(z - u), \\
    z &\leftarrow \operatorname{prox}_{g/\rho}(x + u), \qquad
    u \leftarrow u + x - z.

``rho u`` is the dual variable. A prox may be any callable, inexact ones included: one that trains a network, say.

Sources: Boyd et al., Found. Trends Mach. Learn. 3 (2011) 1; Glowinski, Numerical Methods for Nonlinear Variational
Problems (1984) (dual step); Eckstein and Bertsekas, Math. Program. 55 (1992) 293 (relaxation); He, Ma and Yuan,
Comput. Optim. Appl. 75 (2020) 361 (linearised, the factor 0.75).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optsci._tensor import as_scalar, instance_norm, require_positive
from optsci.operators import as_operator
from optsci.protocols import require
from optsci.proximal_gradient import require_batch_dims
from optsci.splitting import require_between, same_shape, starting_point

Balance = Callable[[int, Tensor, Tensor, Tensor], Tensor]


class ADMMState(NamedTuple):
    """An iteration of ``admm`` or ``linearized_admm``."""

    x: Tensor  # x_k, the argument of f
    residual: Tensor  # the larger of primal / max(1, ||z_k||) and dual / max(1, ||rho u_k||)
    z: Tensor  # z_k, the argument of g
    u: Tensor  # u_k, the scaled dual variable: rho u_k tends to a subgradient of g at z_k
    primal: Tensor  # ||x_k - z_k||, or ||A x_k - z_k||
    dual: Tensor  # rho ||z_k - z_{k-1}||; linearised: the norm of what lacks in the optimality of x_k
    rho: float | Tensor  # penalty of the next iteration, to which u_k belongs


@dataclass(frozen=True)
class ResidualBalancing:
    """Keep the primal and the dual residual within a ratio: multiply or divide rho by a factor, now and then.

    It ends after a finite number of iterations, for a rho that changes for ever need not converge.

    Args:
        factor: of rho, above 1.
        ratio: what one residual may be of the other, at least 1.
        every: iterations between two decisions.
        last: iteration after which rho stays.

    Reference: Boyd et al. (2011), section 3.4.1.

    Example:
        >>> balance = ResidualBalancing(every=1)
        >>> balance(1, torch.tensor(3.0), torch.tensor(50.0), torch.tensor(1.0))
        tensor(6.)
    """

    factor: float = 2.0
    ratio: float = 10.0
    every: int = 10
    last: int = 400

    def __post_init__(self) -> None:
        if not 1 < self.factor < math.inf:
            raise ValueError(f"factor must be finite and above 1, not {self.factor!r}")
        if not self.ratio >= 1:
            raise ValueError(f"ratio must be at least 1, not {self.ratio!r}")
        if self.every < 1:
            raise ValueError(f"every must be at least 1, not {self.every!r}")

    def __call__(self, k: int, rho: Tensor, primal: Tensor, dual: Tensor) -> Tensor:
        """Return rho for the iteration after the k-th, of the given residuals."""
        if k > self.last or k % self.every:
            return rho
        rho = torch.where(primal > self.ratio * dual, rho * self.factor, rho)
        return torch.where(dual > self.ratio * primal, rho / self.factor, rho)


def admm(
    f: Any,
    g: Any,
    x0: Any,
    *,
    rho: float | Tensor = 1.0,
    relaxation: float | Tensor = 1.0,
    dual_step: float | Tensor = 1.0,
    z0: Any = None,
    u0: Any = None,
    balance: Balance | None = None,
    batch_dims: int = 0,
) -> Iterator[ADMMState]:
    r"""ADMM for f + g, neither of them smooth: converges for every rho if f and g are convex.

    ``relaxation`` replaces x by ``relaxation x + (1 - relaxation) z_old`` after the first prox, ``dual_step``
    multiplies the move of u. Only one of them may differ from 1: no theory covers both.

    Args:
        f: has ``prox``, exact or not.
        g: has ``prox``.
        x0: start, any shape; not modified. It counts where z0 is None.
        rho: positive penalty; the first one with ``balance``.
        relaxation: between 0 and 2; 1.5 to 1.8 often saves a third of the iterations.
        dual_step: between 0 and (1 + sqrt 5)/2.
        z0: start of z. None: x0.
        u0: start of u. None: zero. A state's z and u go on from there, with its rho.
        balance: a rule ``(k, rho, primal, dual) -> rho``, such as ``ResidualBalancing()``; u is rescaled
            by the old over the new rho. Not for a batch, whose problems have one rho in common.
        batch_dims: how many leading dimensions of x0 count problems that run side by side, each with a residual of
            its own; f and g must be sums over them, as those of this library are.

    The residual is the larger of ``||x - z|| / max(1, ||z||)`` and ``rho ||z - z_old|| / max(1, ||rho u||)``.

    Reference: Boyd et al. (2011), sections 3.1 to 3.4.

    Example:
        >>> import optsci
        >>> f, g = optsci.LeastSquares([[2.0, 0.0], [0.0, 1.0]], [2.0, 3.0]), optsci.L1(1.0)
        >>> optsci.solve(admm(f, g, [0.0, 0.0], rho=2.0)).x
        tensor([0.7500, 2.0000])
    """
    x0 = starting_point("admm", x0, f=f, g=g)
    z0 = x0 if z0 is None else same_shape(z0, x0, "z0")
    u0 = torch.zeros_like(x0) if u0 is None else same_shape(u0, x0, "u0")
    rho = _penalty(rho)
    relaxation = require_between(relaxation, 0, 2, "relaxation")
    gamma = require_between(dual_step, 0, (1 + math.sqrt(5)) / 2, "dual_step")
    if float(relaxation) != 1 and float(gamma) != 1:
        raise ValueError(f"relaxation={float(relaxation)!r} and dual_step={float(gamma)!r}: one of them must be 1")
    if balance is not None and not callable(balance):
        raise TypeError(f"balance must be a rule such as ResidualBalancing(), not {balance!r}")
    require_batch_dims(batch_dims, x0)
    if balance is not None and batch_dims:
        raise ValueError(f"balance must be None for a batch (batch_dims={batch_dims}): its problems share one rho")

    def iterate(z: Tensor, u: Tensor, rho: float | Tensor) -> Iterator[ADMMState]:
        if balance is not None:
            rho = z.new_ones(()) * rho
        k = 0
        while True:
            k += 1
            x, z_old = f.prox(z - u, 1 / rho), z
            x_relaxed = relaxation * x + (1 - relaxation) * z
            z = g.prox(x_relaxed + u, 1 / rho)
            u = u + gamma * (x_relaxed - z)
            primal, dual = instance_norm(x - z, batch_dims), instance_norm(rho * (z - z_old), batch_dims)
            residual = _residual(primal, z, dual, rho * u, batch_dims)
            if balance is not None:
                rho_old, rho = rho, balance(k, torch.as_tensor(rho), primal, dual)
                u = u * (rho_old / rho)
            yield ADMMState(x, residual, z, u, primal, dual, rho)

    return iterate(z0, u0, rho)


def linearized_admm(
    f: Any,
    g: Any,
    A: Any,
    x0: Any,
    *,
    rho: float | Tensor = 1.0,
    tau: float | None = None,
    z0: Any = None,
    u0: Any = None,
) -> Iterator[ADMMState]:
    r"""Linearised ADMM for f(x) + g(A x): the x-step needs the prox of f alone, no solve with A.

    .. math::

        x \leftarrow \operatorname{prox}_{f/\tau}\!\big(x - \tfrac{\rho}{\tau} A^\top (A x - z + u)\big), \quad
        z \leftarrow \operatorname{prox}_{g/\rho}(A x + u), \quad u \leftarrow u + A x - z.

    It converges for :math:`\tau > 0.75\,\rho \|A\|^2`, and the factor is sharp. With the dual variable extrapolated
    in place of the primal one, it is the method of Chambolle and Pock with step product ``rho/tau``.

    Args:
        f: has ``prox``.
        g: has ``prox``, on the range of A.
        A: (m, n), an operator or a matrix.
        x0: (n,) or (n, k) start; not modified.
        rho: positive penalty.
        tau: above ``0.75 rho A.norm()**2``. None: ``0.8 rho A.norm()**2``.
        z0: start of z, of the shape of A x. None: ``A x0``.
        u0: start of u, of the shape of A x. None: zero.

    The residual is the larger of ``||A x - z|| / max(1, ||z||)`` and ``dual / max(1, ||rho A^T u||)``, where ``dual``
    is the distance between a subgradient of f at x and ``-rho A^T u``.

    Reference: He, Ma and Yuan (2020).

    Example:
        >>> import optsci
        >>> f, g, A = optsci.SquaredL2(1.0), optsci.Box(2.0, 9.0), [[1.0, 1.0]]
        >>> optsci.solve(linearized_admm(f, g, A, [0.0, 0.0])).x.round(decimals=3)
        tensor([1., 1.])
    """
    A = as_operator(A)
    x0 = starting_point("linearized_admm", x0, f=f)
    require(g, "prox", by="linearized_admm", name="g")
    Ax0 = A(x0)
    z0 = Ax0 if z0 is None else same_shape(z0, Ax0, "z0")
    u0 = torch.zeros_like(Ax0) if u0 is None else same_shape(u0, Ax0, "u0")
    rho = _penalty(rho)
    bound = 0.75 * float(rho) * A.norm() ** 2
    if not 0 < bound < math.inf:
        raise ValueError(f"A.norm() must be positive and finite, not {A.norm()!r}")
    t = bound * 0.8 / 0.75 if tau is None else float(tau)
    if not bound < t < math.inf:
        raise ValueError(f"tau must be above 0.75 rho A.norm()**2 = {bound:.6g}, got {t!r}")

    def iterate(x: Tensor, z: Tensor, u: Tensor) -> Iterator[ADMMState]:
        Ax = A(x)
        while True:
            x_old, force = x, A.T(Ax - z + u)
            x = f.prox(x - rho / t * force, 1 / t)
            Ax = A(x)
            z = g.prox(Ax + u, 1 / rho)
            u = u + Ax - z
            primal = (Ax - z).norm()
            ATu = A.T(u)
            dual = (t * (x_old - x) + rho * (ATu - force)).norm()  # t (x_old - x) - rho force is a subgradient of f
            yield ADMMState(x, _residual(primal, z, dual, rho * ATu), z, u, primal, dual, rho)

    return iterate(x0, z0, u0)


def _penalty(rho: Any) -> float | Tensor:
    rho = as_scalar(rho, "rho")
    require_positive(rho, "rho")
    return rho


def _residual(primal: Tensor, z: Tensor, dual: Tensor, y: Tensor, batch_dims: int = 0) -> Tensor:
    sizes = (instance_norm(v, batch_dims).clamp(min=1) for v in (z, y))
    return torch.maximum(primal / next(sizes), dual / next(sizes))
