r"""Operator splitting: minimise f + g, or f + g + h, one prox at a time.

.. math::

    x_k &= \operatorname{prox}_{s f}(z_k), \\
    y_k &= \operatorname{prox}_{s g}(2 x_k - z_k - s \nabla h(x_k)), \\
    z_{k+1} &= z_k + \lambda (y_k - x_k).

Without h that is Douglas-Rachford, without f it is the proximal gradient method. At a fixed point x = y is a minimiser.

Sources: Lions and Mercier, SIAM J. Numer. Anal. 16 (1979) 964; Eckstein and Bertsekas, Math. Program. 55 (1992) 293;
Davis and Yin, Set-Valued Var. Anal. 25 (2017) 829; He, Liu, Wang and Yuan, SIAM J. Optim. 24 (2014) 1011.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optsci._tensor import (
    as_coefficient,
    as_scalar,
    as_tensor,
    broadcasts,
    instance_norm,
    require_fit,
    require_positive,
)
from optsci.protocols import require
from optsci.proximal_gradient import known_constant, magnification, require_batch_dims


class SplittingState(NamedTuple):
    """An iteration of ``douglas_rachford`` or ``davis_yin``."""

    x: Tensor  # x_k, in the domain of f
    residual: Tensor  # c ||x_k - y_k|| / max(1, ||x_k||)
    y: Tensor  # y_k, in the domain of g
    z: Tensor  # z_{k+1}: the start that goes on from here


class PeacemanRachfordState(NamedTuple):
    """An iteration of ``peaceman_rachford``."""

    x: Tensor  # x_k, in the domain of f
    residual: Tensor  # the larger of ||x - z|| / max(1, ||x||) and ||z - z_old|| / max(step, ||u||)
    z: Tensor  # z_k, in the domain of g
    u: Tensor  # scaled dual variable: u / step tends to a subgradient of g


def douglas_rachford(
    f: Any, g: Any, x0: Any, *, step: float | Tensor, relaxation: float | Tensor = 1.0, batch_dims: int = 0
) -> Iterator[SplittingState]:
    r"""Douglas-Rachford splitting of f + g, neither of them smooth: ``z += relaxation (y - x)``.

    It converges for every step if f and g are convex; the step decides how fast.

    Args:
        f: has ``prox``, taken first.
        g: has ``prox``.
        x0: start of z, any shape; not modified.
        step: positive; a number or a tensor that broadcasts to x.
        relaxation: between 0 and 2.
        batch_dims: how many leading dimensions of x0 count problems that run side by side, each with a residual of
            its own; f and g must be sums over them, as those of this library are.

    The residual is ``c ||x_k - y_k|| / max(1, ||x_k||)``, ``c = max(1, 1/step)`` or, where f or g tells an L
    above 1, ``max(1, 1/(L step))``: with a short step x and y are close anywhere.

    Reference: Eckstein and Bertsekas (1992), Theorem 7.

    Example:
        >>> import optsci
        >>> f, g = optsci.LeastSquares([[2.0, 0.0], [0.0, 1.0]], [2.0, 3.0]), optsci.L1(1.0)
        >>> optsci.solve(douglas_rachford(f, g, [0.0, 0.0], step=0.5)).x
        tensor([0.7500, 2.0000])
    """
    x0 = starting_point("douglas_rachford", x0, f=f, g=g)
    step = _step(step, x0)
    relaxation = require_between(relaxation, 0, 2, "relaxation")
    require_batch_dims(batch_dims, x0)
    c = magnification(step, 1 / max(1.0, known_constant(f), known_constant(g)))

    def iterate(z: Tensor) -> Iterator[SplittingState]:
        while True:
            x = f.prox(z, step)
            y = g.prox(2 * x - z, step)
            z = z + relaxation * (y - x)
            yield SplittingState(x, relative(c * (x - y), x, batch_dims), y, z)

    return iterate(x0)


def davis_yin(f: Any, g: Any, h: Any, x0: Any, *, step: float | Tensor | None = None) -> Iterator[SplittingState]:
    r"""Davis-Yin splitting of f + g + h, h smooth: converges for ``step < 2/L``, L of the gradient of h.

    Args:
        f: has ``prox``, taken first.
        g: has ``prox``.
        h: has ``grad``, and ``lipschitz`` where the step is to be derived; a step is checked against it.
        x0: start of z, any shape; not modified.
        step: positive, below 2/L; a number or a tensor that broadcasts to x. None: ``1/h.lipschitz()``.

    The residual is ``c ||x_k - y_k|| / max(1, ||x_k||)``, ``c = max(1, min(1, 1/L)/step)``.

    Reference: Davis and Yin (2017), Algorithm 1.

    Example:
        >>> import optsci
        >>> h = optsci.LeastSquares([[2.0, 0.0], [0.0, 1.0]], [2.0, 3.0])
        >>> optsci.solve(davis_yin(optsci.Box(0.0, 1.5), optsci.L1(1.0), h, [0.0, 0.0])).x
        tensor([0.7500, 1.5000])
    """
    x0 = starting_point("davis_yin", x0, f=f, g=g)
    require(h, "grad", by="davis_yin", name="h")
    known = step is None or hasattr(h, "lipschitz")
    L = lipschitz(h, "davis_yin", "step" if step is None else None) if known else 1.0
    step = _step(1 / L if step is None else step, x0)
    largest = float(torch.as_tensor(step).detach().max())
    if known and not L * largest < 2:
        raise ValueError(f"step must be below 2/h.lipschitz() = {2 / L:.6g}, got {largest!r}")
    c = magnification(step, 1 / max(1.0, L))

    def iterate(z: Tensor) -> Iterator[SplittingState]:
        while True:
            x = f.prox(z, step)
            y = g.prox(2 * x - z - step * h.grad(x), step)
            z = z + y - x
            yield SplittingState(x, relative(c * (x - y), x), y, z)

    return iterate(x0)


def peaceman_rachford(
    f: Any, g: Any, x0: Any, *, step: float | Tensor, contraction: float | Tensor = 0.9, u0: Any = None
) -> Iterator[PeacemanRachfordState]:
    r"""Strictly contractive Peaceman-Rachford splitting of f + g: the dual moves after either prox.

    .. math::

        x &= \operatorname{prox}_{s f}(z - u), \quad u \leftarrow u + a (x - z), \\
        z &= \operatorname{prox}_{s g}(x + u), \quad u \leftarrow u + a (x - z).

    With a = 1 it need not converge, with a in (0, 1) it does for convex f and g.

    Args:
        f: has ``prox``.
        g: has ``prox``.
        x0: start of z, any shape; not modified.
        step: positive; a number or a tensor that broadcasts to x.
        contraction: a, above 0 and below 1.
        u0: start of the scaled dual variable, of the shape of x0. None: zero.

    The residual is the larger of ``||x - z|| / max(1, ||x||)`` and ``||z - z_old|| / max(step, ||u||)``.

    Reference: He, Liu, Wang and Yuan (2014).

    Example:
        >>> import optsci
        >>> f, g = optsci.LeastSquares([[2.0, 0.0], [0.0, 1.0]], [2.0, 3.0]), optsci.L1(1.0)
        >>> optsci.solve(peaceman_rachford(f, g, [0.0, 0.0], step=0.5)).x
        tensor([0.7500, 2.0000])
    """
    x0 = starting_point("peaceman_rachford", x0, f=f, g=g)
    u0 = torch.zeros_like(x0) if u0 is None else same_shape(u0, x0, "u0")
    step = _step(step, x0)
    a = require_between(contraction, 0, 1, "contraction")

    def iterate(z: Tensor, u: Tensor) -> Iterator[PeacemanRachfordState]:
        while True:
            x, z_old = f.prox(z - u, step), z
            u = u + a * (x - z)
            z = g.prox(x + u, step)
            u = u + a * (x - z)
            dual = ((z - z_old) / step).norm() / (u / step).norm().clamp(min=1)
            yield PeacemanRachfordState(x, torch.maximum(relative(x - z, x), dual), z, u)

    return iterate(x0, u0)


def starting_point(by: str, x0: Any, **functions: Any) -> Tensor:
    """Return x0 as a tensor for functions that all have a prox, and whose ``like``, where there is one, fits it."""
    likes = {}
    for name, function in functions.items():
        require(function, "prox", by=by, name=name)
        if (like := getattr(function, "like", None)) is not None:
            likes[name] = like
    if isinstance(x0, list | tuple) and any(isinstance(block, Tensor) for block in x0):
        raise TypeError(f"x0 must be one tensor, not a {type(x0).__name__} of tensors: {by} takes no blocks")
    x0 = as_tensor(x0, "x0", like=next(iter(likes.values()), None))
    for name, like in likes.items():
        if not broadcasts(like.shape, x0.shape):
            raise ValueError(f"x0 has shape {tuple(x0.shape)}, but {name} takes {tuple(like.shape)}")
    return x0


def same_shape(start: Any, like: Tensor, name: str) -> Tensor:
    """Return a further start as a tensor of the dtype, device and shape of ``like``."""
    tensor = as_tensor(start, name, like=like)
    if tensor.shape != like.shape:
        raise ValueError(f"{name} must have the shape {tuple(like.shape)}, not {tuple(tensor.shape)}")
    return tensor


def lipschitz(h: Any, by: str, missing: str | None) -> float:
    """Return the Lipschitz constant of the gradient of h, finite; 0 tells no step, and ``missing`` needs one."""
    require(h, "lipschitz", by=by, name="h")
    L = float(h.lipschitz())
    if not 0 <= L < math.inf:
        raise ValueError(f"h.lipschitz() must be at least 0 and finite, not {L!r}")
    if L == 0 and missing:
        raise ValueError(f"h.lipschitz() is 0, so that {by} leaves {missing} open: pass {missing}=")
    return L


def require_between(x: Any, low: float, high: float, name: str) -> float | Tensor:
    """Return a single number that lies strictly between two others.

    >>> require_between(2.0, 0, 2, "relaxation")
    Traceback (most recent call last):
    ValueError: relaxation must lie between 0 and 2, got 2.0
    """
    number = as_scalar(x, name)
    if not low < float(number) < high:
        raise ValueError(f"{name} must lie between {low:.6g} and {high:.6g}, got {float(number)!r}")
    return number


def relative(difference: Tensor, x: Tensor, batch_dims: int = 0) -> Tensor:
    """Return ``||difference|| / max(1, ||x||)``, for each problem of a batch."""
    return instance_norm(difference, batch_dims) / instance_norm(x, batch_dims).clamp(min=1)


def _step(step: Any, x0: Tensor) -> float | Tensor:
    step = as_coefficient(step, "step")
    require_positive(step, "step")
    require_fit(step, x0, "step", of="x0")
    return step
