r"""Step sizes of the primal-dual iteration for control: their product by the norm, their ratio by strong convexity.

.. math:: \tau \sigma \|S\|^2 < \tfrac43, \qquad \sigma = \sqrt\alpha / \|S\|

The product of the steps is fixed by the norm, their ratio decides how fast: both parts are strongly convex,
:math:`\theta` with a modulus :math:`\alpha`, the dual one with 1, and the contraction is best where
:math:`\tau \alpha = \sigma` up to the enlargement (Chambolle and Pock 2011, Algorithm 3).  This is the default; for
sparse elliptic control with alpha from 1e-2 to 1e-6 it needs at most a tenth more iterations than the best multiple of
it, see ``docs/benchmarks/control_primal_dual.md``.  Relaxation by 1.8 saves more than the enlarged steps do there, and
costs iterations for others.

Sources: Chambolle and Pock, J. Math. Imaging Vis. 40 (2011) 120; He, Ma, Xu and Yuan, SIAM J. Imaging Sci. 15 (2022)
1177 (4/3).
"""

from __future__ import annotations

import math
from typing import Any

from optsci._tensor import require_nonnegative, require_positive
from optsci.functions import Regularized, Restricted, SquaredL2, Tilted
from optsci.functions.calculus import Scaled, Translated
from optsci.splitting import require_between

from .newton_control import ControlCost

BOUND = 4 / 3
PRODUCT = 1.333  # of the steps and the squared norm, where a step is derived; 0.999 with relaxation


def tuned_steps(alpha: float, norm: float, product: float = PRODUCT) -> tuple[float, float]:
    r"""Return tau and sigma with ``tau sigma norm**2 = product`` and :math:`\sigma = \sqrt\alpha / \|S\|`.

    Args:
        alpha: modulus of strong convexity; for 0, both steps are equal.
        norm: of S, positive.
        product: positive, below 4/3 for convergence.

    >>> tuned_steps(alpha=0.25, norm=2.0, product=1.0)
    (1.0, 0.25)
    """
    require_nonnegative(alpha, "alpha")
    require_positive(norm, "norm")
    require_positive(product, "product")
    sigma = (math.sqrt(alpha) if alpha > 0 else math.sqrt(product)) / norm
    return product / (sigma * norm**2), sigma


def strong_convexity(theta: Any) -> float:
    r"""Return a modulus of strong convexity, alpha: that of `ControlCost`, or of a sum of the core with `SquaredL2`.

    >>> import optsci
    >>> strong_convexity(optsci.SquaredL2(0.5) + (optsci.L1(0.1) + optsci.Box(-1, 1)))
    0.5
    """
    match theta:
        case ControlCost():
            return float(theta.alpha)
        case SquaredL2():
            return float(theta.weight)
        case Regularized():
            return float(theta.mu) + strong_convexity(theta.f)
        case Scaled():
            return float(theta.scale) * strong_convexity(theta.f)
        case Restricted() | Tilted() | Translated():
            return strong_convexity(theta.f)
    return 0.0


def step_sizes(
    tau: float | None, sigma: float | None, norm: float, alpha: float, relaxation: float
) -> tuple[float, float]:
    """Return tau and sigma, derived where they are None; refuse those past the bound of the theory."""
    require_between(relaxation, 0, 2, "relaxation")
    for name, step in (("tau", tau), ("sigma", sigma)):
        if step is not None:
            require_positive(step, name)
    product = PRODUCT if relaxation == 1 else 0.999
    if sigma is None:
        sigma = tuned_steps(alpha, norm, product)[1] if tau is None else product / (tau * norm**2)
    tau = product / (sigma * norm**2) if tau is None else tau
    found = tau * sigma * norm**2
    if not found < BOUND:
        raise ValueError(
            f"tau sigma norm**2 must be below 4/3, got {found:.6g} from tau={tau:.6g}, sigma={sigma:.6g} and "
            f"norm={norm:.6g}: the iteration diverges for some problems"
        )
    if relaxation != 1 and not found <= 1 + 1e-9:
        raise ValueError(
            f"tau sigma norm**2 must be at most 1 with relaxation={relaxation:g}, got {found:.6g} from tau={tau:.6g}, "
            f"sigma={sigma:.6g} and norm={norm:.6g}: no theory covers both"
        )
    return tau, sigma
