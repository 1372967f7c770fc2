r"""Derivatives of a solution with respect to what the problem is made of, without its iterations.

A solution x* = T(x*, theta) is the fixed point of the step of some algorithm. With the partial derivatives of T there,

.. math::

    \frac{\partial x^*}{\partial \theta} = (I - \partial_x T)^{-1} \partial_\theta T
    \text{ (implicit)}, \qquad \frac{\partial x^*}{\partial \theta} \approx \partial_\theta T \text{ (one step)}.

The implicit derivative is exact where T is differentiable at x* and 1 is not an eigenvalue of its derivative; one step
errs by the rate of T, and needs neither memory nor a linear solve. The third way, unrolling, is to leave ``solve(…).x``
as it is: no algorithm here detaches its iterates.

Sources: Blondel et al., arXiv 2105.15183 (implicit); Bolte, Pauwels and Vaiter, arXiv 2305.13768 (one step); Saad and
Schultz, SIAM J. Sci. Stat. Comput. 7 (1986) 856 (GMRES).
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from optsci._tensor import as_scalar, require_positive
from optsci.protocols import require

FixedPoint = Callable[..., Tensor]  # x and the parameters to x, whose fixed point is the solution


def implicit(fixed_point: FixedPoint, x: Tensor, *parameters: Tensor, iterations: int = 50) -> Tensor:
    r"""Return x, a solution, with the derivative that x* = T(x*, theta) gives it.

    The backward pass takes u to :math:`\partial_\theta T^\top w` with :math:`(I - \partial_x T)^\top w = u`, solved by
    ``iterations`` steps of GMRES, each a product with the transposed derivative of T. That is exact, but for rounding,
    if the derivative is diagonalisable with at most so many distinct eigenvalues; for a lasso, one more than its
    nonzeros. The result can be differentiated again.

    Args:
        fixed_point: ``T(x, *parameters)``, of the shape of x, such as ``proximal_step(f, g, step)``, with f and g made
            inside of what is to be differentiated: parameters that T only closes over get no derivative.
        x: a solution, as ``solve`` returned it. Its own graph is cut off.
        parameters: tensors; each gets its derivative.
        iterations: steps of GMRES in the backward pass, at most the number of entries of x.

    Returns:
        A tensor equal to x.

    Reference: Blondel et al., arXiv 2105.15183.

    Example:
        >>> T = lambda x, b: x - 0.1 * (2 * x - b)  # gradient step on x^2 - b x, so that x* = b/2
        >>> b = torch.tensor([3.0], requires_grad=True)
        >>> implicit(T, torch.tensor([1.5]), b).backward()
        >>> b.grad
        tensor([0.5000])
    """
    _check(fixed_point, x, parameters)
    if not isinstance(iterations, Integral) or iterations < 1:
        raise ValueError(f"iterations must be a positive integer, not {iterations!r}")
    result: Tensor = _Implicit.apply(fixed_point, min(int(iterations), x.numel()), x.detach(), *parameters)
    return result


def one_step(fixed_point: FixedPoint, x: Tensor, *parameters: Tensor) -> Tensor:
    r"""Return T(x, theta), x being a solution, with the derivative of that one step.

    It is wrong by at most :math:`\rho / (1 - \rho)` times the norm of :math:`\partial_\theta T`,
    :math:`\rho = \|\partial_x T\|`: right for Newton's method, good for fast ones, poor for small steps.

    Args:
        fixed_point: ``T(x, *parameters)``, of the shape of x.
        x: a solution, as ``solve`` returned it. Its own graph is cut off.
        parameters: tensors; each gets its derivative.

    Reference: Bolte, Pauwels and Vaiter, arXiv 2305.13768.

    Example:
        >>> T = lambda x, b: x - 0.4 * (2 * x - b)  # x* = b/2, rate 0.2
        >>> b = torch.tensor([3.0], requires_grad=True)
        >>> one_step(T, torch.tensor([1.5]), b).backward()
        >>> b.grad
        tensor([0.4000])
    """
    _check(fixed_point, x, parameters)
    return fixed_point(x.detach(), *parameters)


def proximal_step(f: Any, g: Any, step: float | Tensor) -> Callable[[Tensor], Tensor]:
    r"""Return the map :math:`T(x) = \operatorname{prox}_{s g}(x - s \nabla f(x))`, whose fixed points minimise f + g.

    Args:
        f: has ``grad``.
        g: has ``prox``.
        step: positive, a single number.

    Example:
        >>> import optsci
        >>> proximal_step(optsci.SquaredL2(), optsci.L1(), 0.5)(torch.tensor([3.0, 0.5]))
        tensor([1., 0.])
    """
    require(f, "grad", by="proximal_step", name="f")
    require(g, "prox", by="proximal_step", name="g")
    step = as_scalar(step, "step")
    require_positive(step, "step")
    return lambda x: g.prox(x - step * f.grad(x), step)


class _Implicit(torch.autograd.Function):
    """The identity on x; its backward pass solves the adjoint system at the output, so it can be differentiated."""

    generate_vmap_rule = True

    @staticmethod
    def forward(fixed_point: FixedPoint, iterations: int, x: Tensor, *parameters: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.fixed_point, ctx.iterations = inputs[:2]
        ctx.save_for_backward(output, *inputs[3:])

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Any, ...]:
        x, *parameters = ctx.saved_tensors
        pull = torch.func.vjp(ctx.fixed_point, x, *parameters)[1]
        w = _gmres(lambda w: w - pull(w)[0], u, ctx.iterations)
        return None, None, None, *pull(w)[1:]


def _gmres(matvec: Callable[[Tensor], Tensor], b: Tensor, iterations: int) -> Tensor:
    """Solve ``matvec(w) = b`` by a fixed number of steps from 0; stops moving by itself when the basis is exhausted."""
    eps = torch.finfo(b.dtype).eps
    beta = b.norm()
    basis = [(b / torch.where(beta > 0, beta, 1.0)).flatten()]
    columns = []
    for k in range(iterations):
        w = matvec(basis[k].reshape(b.shape)).flatten()
        size = w.norm()
        V = torch.stack(basis)
        h = V @ w
        w = w - h @ V
        again = V @ w  # orthogonal to working precision
        w = w - again @ V
        length = w.norm()
        exhausted = length <= 10 * eps * size
        basis.append(torch.where(exhausted, 0.0, w / torch.where(exhausted, 1.0, length)))
        below = torch.where(exhausted, 0.0, length).reshape(1)
        columns.append(torch.cat([h + again, below, b.new_zeros(iterations - 1 - k)]))
    H = torch.stack(columns, dim=1)
    y = beta * torch.linalg.pinv(H, rtol=10 * eps * iterations)[:, 0]
    return (y @ torch.stack(basis[:-1])).reshape(b.shape)


def _check(fixed_point: Any, x: Any, parameters: tuple[Any, ...]) -> None:
    if not callable(fixed_point):
        raise TypeError(f"fixed_point must be a function (x, *parameters) -> x, not {fixed_point!r}")
    for name, value in (("x", x), *(("parameters", p) for p in parameters)):
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise TypeError(f"{name} must be floating-point tensors, got {value!r}")
