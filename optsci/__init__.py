"""First-order optimisation on torch tensors; numpy arrays are welcome.

A problem is made of functions, an algorithm is a generator of states, and ``solve`` runs it::

    f, g = optsci.LeastSquares(A, b), optsci.L1(0.1)
    run = optsci.solve(optsci.fista(f, g, x0), tol=1e-8)
    print(run, run.x)

========================  ====================  ================================  =================================
problem                   needs                 algorithm                         guarantee (F(x_k) - F*)
========================  ====================  ================================  =================================
min f + g                 f.grad, g.prox, L     ``ista``                          L R^2/(2 k)
the same                  the same              ``fista``                         2 L R^2/(k+1)^2
fast in practice          the same              ... ``restart=gradient_restart``  linear near a sharp x*
x_k must converge         the same              ... ``chambolle_dossal(a)``       a^2 L R^2/(2 (k+a-1)^2)
f strongly convex         q = mu/L              ... ``strongly_convex(q)``        (1 - sqrt q)^k
F must never rise         values of f and g     ``monotone_fista``                2 L R^2/(k+1)^2
L unknown                 values of f           ``backtracking_fista``            2 L R^2/(shrink (k+1)^2)
min f + g, no gradient    f.prox, g.prox        ``douglas_rachford``              ||z - z_old||^2 = O(1/k)
the same                  the same              ``peaceman_rachford``             strictly contractive
the same                  the same              ``admm``                          ||z - z_old||^2 = O(1/k)
min f(x) + g(A x)         f.prox, g.prox, A     ``linearized_admm``               O(1/k) ergodic
min f(x) + g(K x)         f.prox, g.prox, K     ``chambolle_pock``                O(1/k) ergodic, steps below 4/3
f strongly convex         the same              ``accelerated_chambolle_pock``    ||x - x*||^2 = O(1/k^2)
||K|| unknown             the same              ``adaptive_chambolle_pock``       O(1/k) ergodic
min f(x) + g(K x) + h(x)  the same, h.grad, L   ``condat_vu``                     O(1/k) ergodic
the same                  the same              ``pd3o``                          O(1/k) ergodic, step < 2/L
min sum f_i(x)            every f_i.prox        ``consensus_admm``                O(1/k) ergodic
sum A_i x_i = b           argmin of each block  ``multiblock_admm``               corrected beyond two blocks
min f + g + h             the same, h.grad      ``davis_yin``                     o(1/sqrt k), step < 2/L
x = T(x)                  a map x -> x          ``anderson``                      GMRES if T is linear
A x_i = b_i, many i       x -> x A, A > 0       ``conjugate_gradient``            exact after n iterations
largest singular value    A(x), A.T(y)          ``power_iteration``               linear, (s_2/s_1)^2
========================  ====================  ================================  =================================

L is ``f.lipschitz()`` or ``1/step``.

Functions: ``L1 WeightedL1 SquaredL2 ElasticNet GroupL2``; ``Box Nonnegative Sparsity NM``; ``LeastSquares
Quadratic Logistic Autodiff``; ``Scaled Translated SeparableSum Conjugate MoreauEnvelope``. Your own is any
object with ``__call__`` and ``grad(x)``, or ``__call__`` and ``prox(x, step)``.
"""

from optsci.admm import ResidualBalancing, admm, linearized_admm
from optsci.anderson import anderson
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
from optsci.multiblock import Block, GaussianBackSubstitution, Uncorrected, consensus_admm, multiblock_admm
from optsci.operators import Matrix, as_operator, power_iteration
from optsci.primal_dual import accelerated_chambolle_pock, adaptive_chambolle_pock, chambolle_pock, condat_vu, pd3o
from optsci.proximal_gradient import backtracking_fista, fista, ista, monotone_fista
from optsci.splitting import davis_yin, douglas_rachford, peaceman_rachford

__version__ = "0.1.0"

__all__ = [
    "L1",
    "NM",
    "Autodiff",
    "Block",
    "Box",
    "Conjugate",
    "ElasticNet",
    "GaussianBackSubstitution",
    "GroupL2",
    "LeastSquares",
    "Logistic",
    "Matrix",
    "MoreauEnvelope",
    "Nonnegative",
    "NotPositiveDefiniteError",
    "Quadratic",
    "ResidualBalancing",
    "Result",
    "Scaled",
    "SeparableSum",
    "SolveError",
    "Sparsity",
    "SquaredL2",
    "Status",
    "Translated",
    "Uncorrected",
    "WeightedL1",
    "accelerated_chambolle_pock",
    "adaptive_chambolle_pock",
    "admm",
    "anderson",
    "as_operator",
    "backtracking_fista",
    "chambolle_dossal",
    "chambolle_pock",
    "condat_vu",
    "conjugate_gradient",
    "consensus_admm",
    "damped_cholesky",
    "davis_yin",
    "douglas_rachford",
    "fista",
    "function_restart",
    "gradient_restart",
    "ista",
    "largest_eigenvalue",
    "linearized_admm",
    "monotone_fista",
    "multiblock_admm",
    "nesterov",
    "no_momentum",
    "pd3o",
    "peaceman_rachford",
    "power_iteration",
    "solve",
    "strongly_convex",
]
