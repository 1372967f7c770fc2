"""Instances of the losses."""

from __future__ import annotations

from cases.contract import Case, array, gaussian, gram, operator
from optsci import Autodiff, BatchMatrix, LeastSquares, Logistic, Quadratic


class Doubled:
    """The operator ``x -> 2 x``, which is no matrix."""

    shape = (5, 5)

    def __call__(self, x):
        return 2 * x

    @property
    def T(self):
        return self

    def norm(self):
        return 2.0


def batch(tensor, size, m, n):
    return LeastSquares(BatchMatrix(gaussian(tensor, size, m, n)), gaussian(tensor, size, m))


CASES = [
    Case("LeastSquares, tall", lambda t: LeastSquares(gaussian(t, 6, 4), gaussian(t, 6)), ((4,),), coupled=True),
    Case("LeastSquares, fat", lambda t: LeastSquares(gaussian(t, 3, 5), gaussian(t, 3)), ((5,),), coupled=True),
    Case("LeastSquares, many", lambda t: LeastSquares(gaussian(t, 3, 5), gaussian(t, 3, 2)), ((5, 2),), coupled=True),
    Case("LeastSquares, batch of tall", lambda t: batch(t, 2, 6, 4), ((2, 4),), coupled=True),
    Case("LeastSquares, batch of fat", lambda t: batch(t, 2, 3, 4), ((2, 4),), coupled=True),
    Case("Quadratic", lambda t: Quadratic(gram(t), gaussian(t, 4), 2.0), ((4,), (3, 4), (2, 3, 4)), coupled=True),
    Case("Quadratic by row", lambda t: Quadratic(gram(t), gaussian(t, 3, 4)), ((3, 4),), coupled=True),
    Case("Quadratic, singular", lambda t: Quadratic(t([[1.0, 1.0], [1.0, 1.0]])), ((2,),), coupled=True),
    Case("Logistic", lambda t: Logistic(gaussian(t, 6, 4), t([1, -1, 1, 1, -1, -1])), ((4,),), coupled=True),
    Case("LeastSquares with an operator", lambda t: LeastSquares(Doubled(), t([1.0, 2, 3, 4, 5])), ((5,),)),
    Case("Autodiff", lambda t: Autodiff(lambda x: (x**4).sum() + x.cos().sum())),
]  # fmt: skip

METHODS = {
    "LeastSquares with an operator": "grad lipschitz",
    "LeastSquares": "grad prox lipschitz",
    "Quadratic": "grad prox lipschitz",
    "Logistic": "grad lipschitz",
    "Autodiff": "grad",
}

CVXPY = {
    "LeastSquares, tall": ((4,), lambda cp, x: (cp.sum_squares(array(6, 4) @ x - array(6)) / 2, [])),
    "LeastSquares, fat": ((5,), lambda cp, x: (cp.sum_squares(array(3, 5) @ x - array(3)) / 2, [])),
    "LeastSquares, many": ((5, 2), lambda cp, x: (cp.sum_squares(array(3, 5) @ x - array(3, 2)) / 2, [])),
    "Quadratic": ((4,), lambda cp, x: (cp.sum_squares(array(6, 4) @ x) / 2 - array(4) @ x + 2, [])),
    "Quadratic, singular": ((2,), lambda cp, x: (cp.square(cp.sum(x)) / 2, [])),
}

PYPROXIMAL = {
    "LeastSquares, tall": ((4,), lambda pp: pp.L2(operator(array(6, 4)), array(6))),
    "LeastSquares, fat": ((5,), lambda pp: pp.L2(operator(array(3, 5)), array(3))),
    "Quadratic": ((4,), lambda pp: pp.Quadratic(operator(array(6, 4).T @ array(6, 4)), -array(4), 2.0)),
}
