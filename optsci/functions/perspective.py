r"""The perspective of a convex function, with one variable more.

.. math:: g(x, t) = \begin{cases} t \, f(x / t) & t > 0 \\ \lim_{\lambda \to \infty} f(\lambda x) / \lambda & t = 0 \\
          \infty & t < 0 \end{cases}

Vectors (x, t) of n + 1 entries run along the last dimension, t last; leading dimensions are a batch whose values are
added.

Reference: P. L. Combettes and C. L. Müller, Perspective functions: Proximal calculus and applications in
high-dimensional statistics, J. Math. Anal. Appl. 457 (2018) 1283-1306.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optsci._tensor import positive_scalar, require_floating, require_step
from optsci.functions._root import decreasing_root
from optsci.functions.calculus import Prox, scaled
from optsci.protocols import require


@dataclass(frozen=True, eq=False)
class Perspective:
    r"""``t f(x/t)`` of the vectors ``(x, t)``, infinite for negative t; convex where ``f`` is.

    .. math:: \operatorname{prox}_{s g}(v, \tau) = s \mu \, (\operatorname{prox}_{f / \mu}(v / (s \mu)), 1), \qquad
              \mu = \tau / s + f^*(\operatorname{prox}_{\mu f^*}(v / s))

    and 0 where :math:`f^*(v / s) + \tau / s \le 0`: Moreau's identity for the projection on the set
    :math:`f^*(y) + r \le 0`, whose indicator is the conjugate. The scalar equation is solved by bisections and
    secants in a fixed number; it is monotone. At ``t = 0`` stands the limit along rays, read off far out: it is
    infinite where ``f`` grows faster than linearly there.

    Args:
        f: a closed convex function of vectors along the last dimension, with a prox; for the prox of the
            perspective also with a conjugate that has one.

    Raises:
        TypeError: ``f`` has no prox.
        ValueError: ``x`` does not hold an entry besides t; or ``step`` varies within a vector.

    Reference: P. L. Combettes and C. L. Müller, J. Math. Anal. Appl. 457 (2018) 1283-1306.

    >>> from optsci import SquaredL2
    >>> g = Perspective(SquaredL2())
    >>> g(torch.tensor([2.0, 4.0, 2.0])), g.prox(torch.tensor([2.0, -1.0]), 1.0)
    (tensor(5.), tensor([0.4126, 0.2599]))
    """

    f: Any

    def __post_init__(self) -> None:
        require(self.f, "prox", by="Perspective", name="f")

    def __call__(self, x: Tensor) -> Tensor:
        _require_pair(x)
        body, t = x[..., :-1], x[..., -1]
        inner = torch.where(t <= 0, 1, t)
        values = inner * _row_values(self.f, body / inner[..., None])
        values = torch.where(t == 0, self._recession(body), values)
        return torch.where(t < 0, torch.inf, values).sum()

    @property
    def prox(self) -> Prox:
        """``x`` less ``step`` times a projection; ``step`` may differ from vector to vector."""
        require(self.f.conjugate, "prox", by="Perspective", name="f.conjugate")
        return self._prox

    def _prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        _require_pair(x)
        require_step(step, x[..., :1])
        zero = torch.zeros_like(x[..., :1]) + step == 0
        step = torch.where(zero, 1, torch.zeros_like(x[..., :1]) + step)
        a, b = (x / step)[..., :-1], (x / step)[..., -1:]
        dual = self.f.conjugate

        def excess(mu: Tensor) -> Tensor:
            return b - mu + _row_values(dual, dual.prox(a, mu))[..., None]

        with torch.no_grad():
            at_a = _row_values(dual, a)[..., None]
            some = x.abs().amax(-1, keepdim=True).clamp(min=1) / step
            # The conjugate falls along its prox: what it is at some mu bounds it at all larger ones.
            high = torch.maximum(some, excess(some) + some)
            least = some * torch.finfo(x.dtype).eps ** 2  # to divide by
        mu = decreasing_root(excess, torch.zeros_like(high), high)
        # Where a rounding error decides whether mu is positive, the result is negligible, unless x pays without t.
        inside = (at_a + b <= 0) | ((mu <= least) & at_a.isfinite())
        divisor = torch.maximum(mu, least)
        body = step * divisor * self.f.prox(a / divisor, 1 / divisor)
        return torch.where(zero, x, torch.where(inside, 0, torch.cat([body, step * mu.clamp(min=0)], -1)))

    def _recession(self, x: Tensor) -> Tensor:
        """``lim f(lambda x) / lambda`` (...,), from two far points; between them what is not linear has grown."""
        norms = x.abs().amax(-1)
        direction = x / torch.where(norms == 0, 1, norms)[..., None]
        largest = torch.finfo(x.dtype).max
        near, far = largest**0.25, largest**0.45  # whose squares do not overflow
        slope, steeper = (_row_values(self.f, size * direction) / size for size in (near, far))
        grows = ~(steeper - slope <= slope.abs() / 32 + torch.finfo(x.dtype).eps)
        return torch.where(norms == 0, 0, norms * torch.where(grows & ~norms.isnan(), torch.inf, steeper))

    __rmul__ = scaled


@dataclass(frozen=True, eq=False)
class QuadraticOverLinear:
    r"""``weight * ||x||^2 / (2 t)`` of the vectors ``(x, t)``, the perspective of a square; infinite for negative t.

    .. math:: \operatorname{prox}_{s g}(v, \tau) = \Bigl(\frac{r - l}{r} \, v, \; r - l\Bigr), \qquad
              r^3 - (\tau + l) \, r^2 = \tfrac{l}{2} \|v\|^2, \qquad l = s w

    with the positive root of the cubic equation, by Newton's method from below, where it is monotone; and 0 where
    :math:`\|v\|^2 + 2 l \tau \le 0`. At ``t = 0`` the value is 0 for ``x = 0`` and infinite else.

    Args:
        weight: ``w``, positive; a float or a 0-d tensor.

    Raises:
        ValueError: ``weight`` is not positive; ``x`` does not hold an entry besides t; or ``step`` varies within a
            vector.

    Reference: P. L. Combettes and C. L. Müller, J. Math. Anal. Appl. 457 (2018) 1283-1306.

    >>> g = QuadraticOverLinear()
    >>> g(torch.tensor([2.0, 4.0, 2.0])), g.prox(torch.tensor([4.0, 0.0]), 1.0)
    (tensor(5.), tensor([2.3298, 1.3949]))
    """

    weight: float | Tensor = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", positive_scalar(self.weight, "weight"))

    def __call__(self, x: Tensor) -> Tensor:
        _require_pair(x)
        t = x[..., -1]
        squares = x[..., :-1].square().sum(-1)
        values = self.weight / 2 * squares / torch.where(t <= 0, 1, t)
        values = torch.where((t == 0) & (squares == 0), 0, torch.where(t <= 0, torch.inf, values))
        return values.sum()

    def grad(self, x: Tensor) -> Tensor:
        """``weight (x/t, -||x||^2 / (2 t^2))``, for positive t."""
        _require_pair(x)
        ratio = x[..., :-1] / x[..., -1:]
        return self.weight * torch.cat([ratio, -ratio.square().sum(-1, keepdim=True) / 2], -1)

    def prox(self, x: Tensor, step: float | Tensor) -> Tensor:
        """Root of a cubic equation for every vector; ``step`` may differ from vector to vector."""
        _require_pair(x)
        require_step(step, x[..., :1])
        z = x.double()  # t is a difference, small where the step is large
        size = step * self.weight * torch.ones_like(z[..., :1])
        with torch.no_grad():
            unit = torch.maximum(z.abs().amax(-1, keepdim=True), size)  # no cube overflows
        v, tau, size = z[..., :-1] / unit, z[..., -1:] / unit, size / unit
        squares = v.square().sum(-1, keepdim=True)
        inside = squares + 2 * size * tau <= 0
        c = torch.where(inside, 1, size * squares / 2)
        b = torch.where(inside, 1, tau + size)
        r = _cubic_root(b, c)
        t = (r - size).clamp(min=0)
        return torch.where(inside, 0, unit * torch.cat([t / r * v, t], -1)).to(x.dtype)

    __rmul__ = scaled


def _cubic_root(b: Tensor, c: Tensor) -> Tensor:
    """The positive root of ``r^3 - b r^2 = c`` for nonnegative c, not 0 with a b that is at most 0."""
    with torch.no_grad():
        # r - b - c/r^2 is concave and increasing. A start below the root and within a factor 2 of it:
        cube = c.pow(1 / 3)
        r = torch.where(b > 0, torch.maximum(cube, b), torch.minimum(cube, (c / b.abs()).sqrt()) / 2**0.5)
        for _ in range(8):
            r = r - (r - b - c / r.square()) / (1 + 2 * c / r.pow(3))
        slope = 1 + 2 * c / r.pow(3)
    return r - (r - b - c / r.square()) / slope  # the last step carries the derivative


def _row_values(f: Any, x: Tensor) -> Tensor:
    """The value (...,) of ``f`` at every vector, where ``f`` itself adds them up."""
    if x.shape[:-1].numel() == 0:
        return x.new_zeros(x.shape[:-1])
    values: Tensor = torch.vmap(f)(x.reshape(-1, x.shape[-1]))
    return values.reshape(x.shape[:-1])


def _require_pair(x: Tensor) -> None:
    if x.dim() == 0 or x.shape[-1] < 2:
        raise ValueError(f"x must be (x, t), of at least two entries along its last dimension, got {tuple(x.shape)}")
    require_floating(x)
