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
L unknown, no values      f.grad, g.prox        ``adaptive_proximal_gradient``    x_k converges
L unknown, few steps      values of f and g     ``barzilai_borwein``              max of the last F falls
few steps, L known        f.grad, g.prox, L     ``greedy_fista``                  fast in practice
f ill-conditioned         values of f and g     ``panoc``                         its envelope falls
min f over C              f.grad, C.lmo         ``frank_wolfe``                   2 L diam(C)^2/(k+2)
min f - h, both convex    argmin f - <u, x>     ``dca``                           F falls
derivative of x*(theta)   x = T(x, theta)       ``implicit``, ``one_step``        exact; off by the rate
A x_i = b_i, many i       x -> x A, A > 0       ``conjugate_gradient``            exact after n iterations
largest singular value    A(x), A.T(y)          ``power_iteration``               linear, (s_2/s_1)^2
H(x, y) + f(x) + g(y)     prox, gradients of H  ``palm``                          sufficient decrease
<x,Qx>/2 - <c,x> + g      elementwise g.prox    ``coordinate_descent``            1 - mu/tr(Q) a coordinate
min f, c(x) = 0           inner minimiser       ``augmented_lagrangian``          linear, rate ~ 1/rho
the same, any penalty     the same              ``penalty_continuation``          ||c(x)|| = O(1/rho)
min f, A x = b            f.prox                ``balanced_augmented_lagrangian`` for any step
top k singular triplets   A(x), A.T(y)          ``randomized_svd``                near s_{k+1}, in the mean
the same, slow decay      the same              ``block_krylov_svd``              (1 + eps) s_{k+1}
range to a tolerance      the same              ``adaptive_range``                certified
psd A, one product        A(x)                  ``nystrom``                       nuclear norm of the tail
lasso, a dense A          A (m, n), b (m,)      ``lasso`` ``lasso_path``          duality gap, certified
graphical lasso           S (p, p), weight      ``graphical_lasso``               superlinear near the solution
min f + g, no gradient    f.prox, g.prox        ``douglas_rachford``              ||z - z_old||^2 = O(1/k)
the same                  the same              ``peaceman_rachford``             strictly contractive
the same                  the same              ``admm``                          ||z - z_old||^2 = O(1/k)
min f(x) + g(A x)         f.prox, g.prox, A     ``linearized_admm``               O(1/k) ergodic
min f(x) + g(K x)         f.prox, g.prox, K     ``chambolle_pock``                O(1/k) ergodic, steps below 4/3
f strongly convex         the same              ``accelerated_chambolle_pock``    ||x - x*||^2 = O(1/k^2)
f, g piecewise linear     the same              ``restarted_chambolle_pock``      linear, as |z - T(z)| bounds dist
||K|| unknown             the same              ``adaptive_chambolle_pock``       O(1/k) ergodic
min f(x) + g(K x) + h(x)  the same, h.grad, L   ``condat_vu``                     O(1/k) ergodic
the same                  the same              ``pd3o``                          O(1/k) ergodic, step < 2/L
min sum f_i(x)            every f_i.prox        ``consensus_admm``                O(1/k) ergodic
sum A_i x_i = b           argmin of each block  ``multiblock_admm``               corrected beyond two blocks
min f + g + h             the same, h.grad      ``davis_yin``                     o(1/sqrt k), step < 2/L
x = T(x)                  a map x -> x          ``anderson``                      GMRES if T is linear
========================  ====================  ================================  =================================

L is ``f.lipschitz()`` or ``1/step``. When to stop besides ``tol``: ``solve(…, stop=gap(certificate, 1e-6) |
max_seconds(60))``, of the rules ``absolute_change relative_change gap kkt max_seconds patience`` and your own ``Rule``.

Functions, by kind: norms and penalties, losses, barriers and entropies, non-convex penalties, functions of matrices,
sets and cones, total variation, and the rules that make new ones (``Scaled Translated Tilted Regularized Conjugate
MoreauEnvelope Distance Sliced TightFrame ...``, and ``+`` where the prox of a sum is known); the documentation has the
table of all. Your own is any object with ``__call__`` and ``grad(x)``, or ``__call__`` and ``prox(x, step)``.
"""

from optsci.adaptive_gradient import adaptive_proximal_gradient, barzilai_borwein, greedy_fista
from optsci.admm import ResidualBalancing, admm, linearized_admm
from optsci.alternating import coordinate_descent, greatest_change, greatest_scaled_change, palm
from optsci.anderson import anderson
from optsci.differentiation import implicit, one_step, proximal_step
from optsci.frank_wolfe import dca, frank_wolfe, open_loop, short_step
from optsci.functions import (
    L0,
    L1,
    L2,
    MCP,
    NM,
    PSD,
    SCAD,
    SLOPE,
    Affine,
    AffineComposition,
    Autodiff,
    Binary,
    Birkhoff,
    Box,
    BoxSection,
    BoxSupport,
    CappedL1,
    CappedSimplex,
    Codebook,
    Conjugate,
    CrossEntropy,
    CubedL2,
    Distance,
    EigenFunction,
    ElasticNet,
    Entropy,
    Epicomposition,
    EpsilonInsensitive,
    ExponentialCone,
    FusedLasso,
    Graph,
    GroupL0,
    GroupL2,
    GroupL2Ball,
    Halfspace,
    Hinge,
    Huber,
    Hyperplane,
    Hyperslab,
    Intersection,
    KSupport,
    KullbackLeibler,
    KyFan,
    L1Ball,
    L2Ball,
    L2Sphere,
    LargestL2Ball,
    LeastSquares,
    LHalf,
    Linear,
    LInf,
    Logistic,
    LogisticLoss,
    LogSum,
    LTwoThirds,
    Max,
    MonotoneCone,
    MoreauEnvelope,
    NegativeLog,
    NegativeLogDet,
    Nonnegative,
    NonnegativeL1,
    Nonpositive,
    Nuclear,
    NuclearBall,
    Permutahedron,
    PermutahedronSupport,
    Perspective,
    Pinball,
    PointwiseMinimum,
    PolarCone,
    Power,
    Precomposed,
    Quadratic,
    QuadraticOverLinear,
    Rank,
    RankBall,
    Regularized,
    Restricted,
    Scaled,
    Schatten,
    SecondOrderCone,
    SeparableSum,
    Simplex,
    Sliced,
    SLOPEBall,
    SmoothSum,
    SparseGroup,
    SparseGroupBall,
    SparseSimplex,
    Sparsity,
    Spectral,
    SpectralBall,
    SpectralFunction,
    SquaredDistance,
    SquaredHinge,
    SquaredKSupport,
    SquaredL1,
    SquaredL2,
    SquaredLargestL2,
    Stiefel,
    SumLargest,
    SumPositive,
    TightFrame,
    Tilted,
    TotalVariation1D,
    TotalVariation2D,
    TransformedL1,
    Translated,
    TransportPolytope,
    WeightedL1,
    Zero,
)
from optsci.functions.simplex import project_simplex
from optsci.functions.sorted_norms import OWL
from optsci.inverse_covariance import GraphicalLassoState, graphical_lasso
from optsci.iteration import Instances, Result, SolveError, Status, solve
from optsci.linalg import NotPositiveDefiniteError, conjugate_gradient, damped_cholesky, largest_eigenvalue
from optsci.linear_maps import BatchMatrix, Diagonal, Gradient, Identity, Marginals
from optsci.lowrank import (
    SVD,
    adaptive_range,
    block_krylov_svd,
    posterior_error,
    randomized_svd,
    range_finder,
    subspace_iteration,
)
from optsci.momentum import (
    chambolle_dossal,
    function_restart,
    gradient_restart,
    nesterov,
    no_momentum,
    strongly_convex,
)
from optsci.multiblock import Block, GaussianBackSubstitution, Uncorrected, consensus_admm, multiblock_admm
from optsci.nystrom_approximation import Eigen, NystromPreconditioner, nystrom
from optsci.operator_algebra import Composition, Difference, Stack
from optsci.operators import Matrix, as_operator, power_iteration
from optsci.penalty import augmented_lagrangian, balanced_augmented_lagrangian, penalty_continuation
from optsci.primal_dual import accelerated_chambolle_pock, adaptive_chambolle_pock, chambolle_pock, condat_vu, pd3o
from optsci.proximal_gradient import backtracking_fista, fista, ista, monotone_fista
from optsci.quasi_newton import panoc
from optsci.restarted_primal_dual import restarted_chambolle_pock
from optsci.sparse_regression import LassoFit, LassoPath, lasso, lasso_path
from optsci.splitting import davis_yin, douglas_rachford, peaceman_rachford
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
    "L0",
    "L1",
    "L2",
    "MCP",
    "NM",
    "OWL",
    "PSD",
    "SCAD",
    "SLOPE",
    "SVD",
    "Affine",
    "AffineComposition",
    "Autodiff",
    "BatchMatrix",
    "Binary",
    "Birkhoff",
    "Block",
    "Box",
    "BoxSection",
    "BoxSupport",
    "CappedL1",
    "CappedSimplex",
    "Codebook",
    "Composition",
    "Conjugate",
    "CrossEntropy",
    "CubedL2",
    "Diagonal",
    "Difference",
    "Distance",
    "Eigen",
    "EigenFunction",
    "ElasticNet",
    "Entropy",
    "Epicomposition",
    "EpsilonInsensitive",
    "ExponentialCone",
    "FusedLasso",
    "GaussianBackSubstitution",
    "Gradient",
    "Graph",
    "GraphicalLassoState",
    "GroupL0",
    "GroupL2",
    "GroupL2Ball",
    "Halfspace",
    "Hinge",
    "Huber",
    "Hyperplane",
    "Hyperslab",
    "Identity",
    "Instances",
    "Intersection",
    "KSupport",
    "KullbackLeibler",
    "KyFan",
    "L1Ball",
    "L2Ball",
    "L2Sphere",
    "LHalf",
    "LInf",
    "LTwoThirds",
    "LargestL2Ball",
    "LassoFit",
    "LassoPath",
    "LeastSquares",
    "Linear",
    "LogSum",
    "Logistic",
    "LogisticLoss",
    "Marginals",
    "Matrix",
    "Max",
    "MonotoneCone",
    "MoreauEnvelope",
    "NegativeLog",
    "NegativeLogDet",
    "Nonnegative",
    "NonnegativeL1",
    "Nonpositive",
    "NotPositiveDefiniteError",
    "Nuclear",
    "NuclearBall",
    "NystromPreconditioner",
    "Permutahedron",
    "PermutahedronSupport",
    "Perspective",
    "Pinball",
    "PointwiseMinimum",
    "PolarCone",
    "Power",
    "Precomposed",
    "Quadratic",
    "QuadraticOverLinear",
    "Rank",
    "RankBall",
    "Regularized",
    "ResidualBalancing",
    "Restricted",
    "Result",
    "Rule",
    "SLOPEBall",
    "Scaled",
    "Schatten",
    "SecondOrderCone",
    "SeparableSum",
    "Simplex",
    "Sliced",
    "SmoothSum",
    "SolveError",
    "SparseGroup",
    "SparseGroupBall",
    "SparseSimplex",
    "Sparsity",
    "Spectral",
    "SpectralBall",
    "SpectralFunction",
    "SquaredDistance",
    "SquaredHinge",
    "SquaredKSupport",
    "SquaredL1",
    "SquaredL2",
    "SquaredLargestL2",
    "Stack",
    "Status",
    "Stiefel",
    "SumLargest",
    "SumPositive",
    "TightFrame",
    "Tilted",
    "TotalVariation1D",
    "TotalVariation2D",
    "TransformedL1",
    "Translated",
    "TransportPolytope",
    "Uncorrected",
    "WeightedL1",
    "Zero",
    "absolute_change",
    "accelerated_chambolle_pock",
    "adaptive_chambolle_pock",
    "adaptive_proximal_gradient",
    "adaptive_range",
    "admm",
    "anderson",
    "as_operator",
    "augmented_lagrangian",
    "backtracking_fista",
    "balanced_augmented_lagrangian",
    "barzilai_borwein",
    "block_krylov_svd",
    "chambolle_dossal",
    "chambolle_pock",
    "condat_vu",
    "conjugate_gradient",
    "consensus_admm",
    "coordinate_descent",
    "damped_cholesky",
    "davis_yin",
    "dca",
    "douglas_rachford",
    "fista",
    "frank_wolfe",
    "function_restart",
    "gap",
    "gradient_restart",
    "graphical_lasso",
    "greatest_change",
    "greatest_scaled_change",
    "greedy_fista",
    "implicit",
    "ista",
    "kkt",
    "largest_eigenvalue",
    "lasso",
    "lasso_duality_gap",
    "lasso_path",
    "linearized_admm",
    "max_seconds",
    "monotone_fista",
    "multiblock_admm",
    "nesterov",
    "no_momentum",
    "nystrom",
    "one_step",
    "open_loop",
    "palm",
    "panoc",
    "patience",
    "pd3o",
    "peaceman_rachford",
    "penalty_continuation",
    "posterior_error",
    "power_iteration",
    "project_simplex",
    "proximal_step",
    "randomized_svd",
    "range_finder",
    "relative_change",
    "restarted_chambolle_pock",
    "short_step",
    "solve",
    "strongly_convex",
    "subspace_iteration",
]
