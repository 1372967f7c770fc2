"""First-order optimisation on torch tensors; numpy arrays are welcome.

A problem is made of functions, an algorithm is a generator of states, and ``solve`` runs it::

    f, g = optsci.LeastSquares(A, b), optsci.L1(0.1)
    run = optsci.solve(optsci.fista(f, g, x0), tol=1e-8)
    print(run, run.x)

========================  ====================  ================================  =========================
problem                   needs                 algorithm                         guarantee (F(x_k) - F*)
========================  ====================  ================================  =========================
min f + g                 f.grad, g.prox, L     ``ista``                          L R^2/(2 k)
the same                  the same              ``fista``                         2 L R^2/(k+1)^2
fast in practice          the same              ... ``restart=gradient_restart``  linear near a sharp x*
x_k must converge         the same              ... ``chambolle_dossal(a)``       a^2 L R^2/(2 (k+a-1)^2)
f strongly convex         q = mu/L              ... ``strongly_convex(q)``        (1 - sqrt q)^k
F must never rise         values of f and g     ``monotone_fista``                2 L R^2/(k+1)^2
L unknown                 values of f           ``backtracking_fista``            2 L R^2/(shrink (k+1)^2)
L unknown, no values      f.grad, g.prox        ``adaptive_proximal_gradient``    x_k converges
L unknown, few steps      values of f and g     ``barzilai_borwein``              max of the last F falls
few steps, L known        f.grad, g.prox, L     ``greedy_fista``                  fast in practice
f ill-conditioned         values of f and g     ``panoc``                         its envelope falls
min f over C              f.grad, C.lmo         ``frank_wolfe``                   2 L diam(C)^2/(k+2)
min f - h, both convex    argmin f - <u, x>     ``dca``                           F falls
derivative of x*(theta)   x = T(x, theta)       ``implicit``, ``one_step``        exact; off by the rate
A x_i = b_i, many i       x -> x A, A > 0       ``conjugate_gradient``            exact after n iterations
largest singular value    A(x), A.T(y)          ``power_iteration``               linear, (s_2/s_1)^2
========================  ====================  ================================  =========================

L is ``f.lipschitz()`` or ``1/step``.

When to stop besides ``tol``: ``solve(…, stop=gap(lasso_duality_gap(A, b, w), 1e-6) | max_seconds(60))``, of the rules
``absolute_change relative_change gap kkt max_seconds patience`` and your own ``Rule``.

Functions: ``L1 WeightedL1 SquaredL2 ElasticNet GroupL2``; ``Box Nonnegative Sparsity NM``; ``LeastSquares
Quadratic Logistic Autodiff``; ``Scaled Translated SeparableSum Conjugate MoreauEnvelope``. Your own is any
object with ``__call__`` and ``grad(x)``, or ``__call__`` and ``prox(x, step)``.
"""

from optsci.adaptive_gradient import adaptive_proximal_gradient, barzilai_borwein, greedy_fista
from optsci.differentiation import implicit, one_step, proximal_step
from optsci.frank_wolfe import dca, frank_wolfe, open_loop, short_step
from optsci.functions import (
    L1,
    NM,
    Autodiff,
    Box,
    Conjugate,
    ElasticNet,
    GroupL2,
    LeastSquares,
    Logistic,
    MoreauEnvelope,
    Nonnegative,
    Quadratic,
    Scaled,
    SeparableSum,
    Sparsity,
    SquaredL2,
    Translated,
    WeightedL1,
)
from optsci.iteration import Result, SolveError, Status, solve
from optsci.linalg import NotPositiveDefiniteError, conjugate_gradient, damped_cholesky, largest_eigenvalue
from optsci.momentum import (
    chambolle_dossal,
    function_restart,
    gradient_restart,
    nesterov,
    no_momentum,
    strongly_convex,
)
from optsci.operators import Matrix, as_operator, power_iteration
from optsci.proximal_gradient import backtracking_fista, fista, ista, monotone_fista
from optsci.quasi_newton import panoc
from optsci.stopping import (
    Rule,
    absolute_change,
    gap,
    kkt,
    lasso_duality_gap,
    max_seconds,
    patience,
    relative_change,
)

__version__ = "0.1.0"

__all__ = [
    "L1",
    "NM",
    "Autodiff",
    "Box",
    "Conjugate",
    "ElasticNet",
    "GroupL2",
    "LeastSquares",
    "Logistic",
    "Matrix",
    "MoreauEnvelope",
    "Nonnegative",
    "NotPositiveDefiniteError",
    "Quadratic",
    "Result",
    "Rule",
    "Scaled",
    "SeparableSum",
    "SolveError",
    "Sparsity",
    "SquaredL2",
    "Status",
    "Translated",
    "WeightedL1",
    "absolute_change",
    "adaptive_proximal_gradient",
    "as_operator",
    "backtracking_fista",
    "barzilai_borwein",
    "chambolle_dossal",
    "conjugate_gradient",
    "damped_cholesky",
    "dca",
    "fista",
    "frank_wolfe",
    "function_restart",
    "gap",
    "gradient_restart",
    "greedy_fista",
    "implicit",
    "ista",
    "kkt",
    "largest_eigenvalue",
    "lasso_duality_gap",
    "max_seconds",
    "monotone_fista",
    "nesterov",
    "no_momentum",
    "one_step",
    "open_loop",
    "panoc",
    "patience",
    "power_iteration",
    "proximal_step",
    "relative_change",
    "short_step",
    "solve",
    "strongly_convex",
]
