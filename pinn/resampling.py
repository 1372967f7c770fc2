r"""Points where the residual is large: added to the others, or drawn more often.

A condition is a function of points that gives a loss, such as ``partial(Residual, problem)``.  The round that trains,
draws and trains again is the user's::

    x = problem.domain.sample(1000, seed=0)
    for k in range(10):
        solve(adam(u, Residual(problem, x) + boundary), max_iter=1000)
        x = torch.cat((x, rar(u, partial(Residual, problem), problem.domain.sample(10_000, seed=k), 100)))

Sources: Lu, Meng, Mao and Karniadakis, DeepXDE, arXiv 1907.04502 (refinement); Wu, Zhu, Tan, Kartha and Lu, arXiv
2207.10289 (distribution).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .losses import Loss

Condition = Callable[[Tensor], Loss]


def rar(u: Any, condition: Condition, candidates: Tensor, n: int) -> Tensor:
    """Return the n candidates of largest residual, (n, d), the largest first.

    Args:
        u: any function of points.
        condition: points -> loss.
        candidates: (m, d).
        n: at most m.

    >>> from functools import partial
    >>> from optsci.pinn import Interval, Poisson, Residual
    >>> problem = Poisson(Interval(0.0, 1.0), source=lambda x: x[0])
    >>> x = torch.tensor([[0.1], [0.8], [0.3]])
    >>> rar(lambda x: 0 * x, partial(Residual, problem), x, 2)
    tensor([[0.8000],
            [0.3000]])
    """
    size = _sizes(u, condition, candidates, n)
    return candidates[size.topk(n).indices]


def rad(
    u: Any, condition: Condition, candidates: Tensor, n: int, *, k: float = 1.0, c: float = 1.0, seed: int = 0
) -> Tensor:
    r"""Return n candidates, (n, d), drawn without repetition by a density that follows the residual.

    .. math:: p_i \propto |r_i|^k / \operatorname{mean} |r|^k + c

    Args:
        u, condition, candidates, n: as of `rar`.
        k: at least 0; the larger, the more the points gather.
        c: at least 0; the share that stays uniform.
        seed: of the draw.
    """
    for name, value in (("k", k), ("c", c)):
        if not value >= 0:
            raise ValueError(f"{name} must be at least 0, got {value}")
    power = _sizes(u, condition, candidates, n).double() ** k
    mean = power.mean()
    density = (power / mean if mean > 0 else torch.ones_like(power)) + c
    if int((density > 0).sum()) < n:
        raise ValueError(f"c must be above 0 where only {int((density > 0).sum())} candidates have a residual, got {c}")
    chosen = torch.multinomial(density.cpu(), n, generator=torch.Generator().manual_seed(seed))
    return candidates[chosen.to(candidates.device)]


def _sizes(u: Any, condition: Condition, candidates: Tensor, n: int) -> Tensor:
    """Return the absolute residuals of all candidates, up to one factor."""
    if not 1 <= n <= len(candidates):
        raise ValueError(f"n must be from 1 to the number of candidates, {len(candidates)}, got {n}")
    with torch.no_grad():
        size = condition(candidates).residuals(u).abs()
    if size.shape != (len(candidates),):
        raise ValueError(f"condition must give one residual for each of {len(candidates)} candidates, got {len(size)}")
    if not size.isfinite().all():
        raise ValueError("u must have finite residuals at all candidates")
    return size
