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
A x_i = b_i, many i       x -> x A, A > 0       ``conjugate_gradient``            exact after n iterations
largest singular value    A(x), A.T(y)          ``power_iteration``               linear, (s_2/s_1)^2
========================  ====================  ================================  =========================

L is ``f.lipschitz()`` or ``1/step``.

Functions: ``L1 WeightedL1 SquaredL2 ElasticNet GroupL2``; ``Box Nonnegative Sparsity NM``; ``LeastSquares
Quadratic Logistic Autodiff``; ``Scaled Translated SeparableSum Conjugate MoreauEnvelope``. Your own is any
object with ``__call__`` and ``grad(x)``, or ``__call__`` and ``prox(x, step)``.
"""

from optsci.functions import (
    L1,
    NM,
    SLOPE,
    Autodiff,
    Box,
    Conjugate,
    ElasticNet,
    FusedLasso,
    GroupL2,
    L1Ball,
    LeastSquares,
    LInf,
    Logistic,
    Max,
    MonotoneCone,
    MoreauEnvelope,
    Nonnegative,
    Permutahedron,
    Quadratic,
    Scaled,
    SeparableSum,
    Simplex,
    Sparsity,
    SquaredL1,
    SquaredL2,
    SumLargest,
    TotalVariation1D,
    Translated,
    WeightedL1,
)
from optsci.functions.simplex import project_simplex
from optsci.functions.sorted_norms import OWL
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

__version__ = "0.1.0"

__all__ = [
    "L1",
    "NM",
    "OWL",
    "SLOPE",
    "Autodiff",
    "Box",
    "Conjugate",
    "ElasticNet",
    "FusedLasso",
    "GroupL2",
    "L1Ball",
    "LInf",
    "LeastSquares",
    "Logistic",
    "Matrix",
    "Max",
    "MonotoneCone",
    "MoreauEnvelope",
    "Nonnegative",
    "NotPositiveDefiniteError",
    "Permutahedron",
    "Quadratic",
    "Result",
    "Scaled",
    "SeparableSum",
    "Simplex",
    "SolveError",
    "Sparsity",
    "SquaredL1",
    "SquaredL2",
    "Status",
    "SumLargest",
    "TotalVariation1D",
    "Translated",
    "WeightedL1",
    "as_operator",
    "backtracking_fista",
    "chambolle_dossal",
    "conjugate_gradient",
    "damped_cholesky",
    "fista",
    "function_restart",
    "gradient_restart",
    "ista",
    "largest_eigenvalue",
    "monotone_fista",
    "nesterov",
    "no_momentum",
    "power_iteration",
    "project_simplex",
    "solve",
    "strongly_convex",
]
