"""Losses against closed forms and scipy; the cached factor; what the constructors refuse."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest
import scipy.optimize
import torch

from optsci import L1, Autodiff, LeastSquares, Logistic, Matrix, Quadratic
from optsci.protocols import require


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Shift:
    """The operator that moves the entries of a vector by one place, round in a circle."""

    shape = (5, 5)

    def __init__(self, places=1):
        self.places = places

    def __call__(self, x):
        return x.roll(self.places)

    @property
    def T(self):
        return Shift(-self.places)

    def norm(self):
        return 1.0


# --- least squares ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("m", "n"), [(8, 3), (3, 8), (4, 4)])
def test_prox_of_least_squares_solves_the_ridge_problem(m, n):
    A, b, v, step = gaussian(m, n), gaussian(m, seed=1), gaussian(n, seed=2), 0.7
    rows = torch.cat([A, torch.eye(n, dtype=A.dtype) / step**0.5])
    expected = torch.linalg.lstsq(rows, torch.cat([b, v / step**0.5]))[0]
    torch.testing.assert_close(LeastSquares(A, b).prox(v, step), expected)


@pytest.mark.parametrize(("m", "n"), [(8, 3), (3, 8)])
def test_a_huge_step_gives_the_solution_nearest_to_the_point(m, n):
    A, b, v = gaussian(m, n), gaussian(m, seed=1), gaussian(n, seed=2)
    nearest = v + torch.linalg.pinv(A) @ (b - A @ v)
    torch.testing.assert_close(LeastSquares(A, b).prox(v, 1e8), nearest, rtol=1e-6, atol=1e-6)


def test_columns_are_separate_problems():
    A, b, x = gaussian(4, 6), gaussian(4, 3, seed=1), gaussian(6, 3, seed=2)
    many, each = LeastSquares(A, b), [LeastSquares(A, column) for column in b.T]
    torch.testing.assert_close(many(x), sum(f(column) for f, column in zip(each, x.T, strict=True)))
    columns = [f.prox(column, 0.3) for f, column in zip(each, x.T, strict=True)]
    torch.testing.assert_close(many.prox(x, 0.3), torch.stack(columns, dim=1))


def test_the_factor_is_kept_for_the_last_step(monkeypatch):
    calls = []
    cholesky = torch.linalg.cholesky_ex
    monkeypatch.setattr(torch.linalg, "cholesky_ex", lambda H: calls.append(H) or cholesky(H))
    for f in (LeastSquares(gaussian(5, 3), gaussian(5)), Quadratic(torch.eye(3, dtype=torch.float64))):
        calls.clear()
        for step in (0.5, 0.5, 0.5, 2.0, 2.0):
            f.prox(gaussian(3), step)
        assert len(calls) == 2
        f.prox(gaussian(3), torch.tensor(2.0))
        assert len(calls) == 3


def test_prox_is_differentiable_in_the_data():
    A, b, v = gaussian(4, 3), gaussian(4, seed=1), gaussian(3, seed=2)
    Q = A.T @ A
    for prox in (
        lambda A, b: LeastSquares(A, b).prox(v, 0.5),
        lambda A, b: LeastSquares(A.T, b[:3]).prox(b, 0.5),
        lambda A, b: Quadratic(A.T @ A, b[:3]).prox(v, 0.5),
    ):
        assert torch.autograd.gradcheck(prox, (A.requires_grad_(), b.requires_grad_()))
    # The factor of a constant matrix holds no graph: one may go backward as often as one likes.
    f, c = Quadratic(Q.detach()), v.clone().requires_grad_()
    for _ in range(2):
        f.prox(c, 0.5).sum().backward()
    g = Quadratic(Q.detach().requires_grad_())
    for _ in range(2):
        g.prox(v, 0.5).sum().backward()


def test_operators_have_a_gradient_and_no_prox():
    f = LeastSquares(Shift(), np.arange(5.0))
    x = gaussian(5)
    torch.testing.assert_close(f.grad(x), torch.func.grad(f)(x))
    assert f.lipschitz() == 1
    with pytest.raises(AttributeError, match="LeastSquares has no prox in this form: its A is an operator"):
        f.prox  # noqa: B018
    with pytest.raises(TypeError, match=r"^admm needs g\.prox, but LeastSquares has none"):
        require(f, "prox", by="admm", name="g")


def test_matrices_may_come_as_arrays_lists_or_operators():
    A, b = gaussian(3, 2), gaussian(3, seed=1)
    x = gaussian(2, seed=2)
    values = [LeastSquares(*data)(x) for data in ((A, b), (A.numpy(), b.numpy()), (Matrix(A), b), (A, b.tolist()))]
    assert all(value == values[0] for value in values)


def test_a_loss_survives_pickling_after_use():
    f = LeastSquares(gaussian(4, 3), gaussian(4))
    x = gaussian(3)
    p = f.prox(x, 0.5)
    again = pickle.loads(pickle.dumps(f))
    assert torch.equal(again.prox(x, 0.5), p)
    assert again.lipschitz() == f.lipschitz()


@pytest.mark.parametrize(
    ("A", "b", "message"),
    [
        (np.eye(3), np.zeros(2), "b must have the 3 rows of A, got shape (2,)"),
        (np.eye(3), 1.0, "b must have the 3 rows of A, got shape ()"),
        (np.ones(3), np.zeros(3), "A must be a matrix (m, n)"),
        (np.eye(2), np.zeros(2, np.float32), "b is torch.float32, what it is combined with is torch.float64"),
        (np.eye(2), [0, np.nan], "b must be finite, got nan"),
        (np.diag([1, np.inf]), np.zeros(2), "A must be finite, got inf"),
    ],
)
def test_least_squares_refuses_in_one_sentence(A, b, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        LeastSquares(A, b)


def test_shapes_that_would_broadcast_are_refused():
    f = LeastSquares(gaussian(3, 2), gaussian(3, 1))
    for use in (f, f.grad, lambda x: f.prox(x, 1.0)):
        with pytest.raises(ValueError, match=r"^A x has shape \(3,\), but b has \(3, 1\)"):
            use(gaussian(2))


@pytest.mark.parametrize("f", [LeastSquares(gaussian(3, 2), gaussian(3)), Quadratic(torch.eye(2, dtype=torch.float64))])
def test_a_step_for_every_entry_is_refused(f):
    with pytest.raises(ValueError, match=r"^step must be a single number: all entries are coupled, got \(2,\)"):
        f.prox(gaussian(2), torch.ones(2, dtype=torch.float64))


# --- quadratics ---------------------------------------------------------------------------------------------------


def test_the_matrix_form_is_least_squares_in_the_rows():
    W, X, Y, step = gaussian(3, 4), gaussian(4, 9, seed=1), gaussian(3, 9, seed=2), 0.4
    f, g = Quadratic(X @ X.T, Y @ X.T, Y.square().sum() / 2), LeastSquares(X.T, Y.T)
    torch.testing.assert_close(f(W), g(W.T))
    torch.testing.assert_close(f.grad(W), g.grad(W.T).T)
    torch.testing.assert_close(f.prox(W, step), g.prox(W.T, step).T)
    assert f.lipschitz() == pytest.approx(g.lipschitz())


def test_an_indefinite_quadratic_has_a_prox_while_the_step_is_short():
    f = Quadratic(torch.diag(torch.tensor([1.0, -2.0])))
    torch.testing.assert_close(f.prox(torch.ones(2), 0.25), torch.tensor([0.8, 2.0]))
    with pytest.raises(ValueError, match=r"^no prox: I \+ step H is not positive definite for step = 0.5"):
        f.prox(torch.ones(2), 0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((2, 3)),), "Q must be a square matrix, got shape (2, 3)"),
        ((np.ones(4),), "Q must be a square matrix, got shape (4,)"),
        ((np.zeros((0, 0)),), "Q must be a square matrix, got shape (0, 0)"),
        (([[1.0, 2.0], [0.0, 1.0]],), "Q must be symmetric, got entries that differ from their mirror by up to 2"),
        (([[np.nan]],), "Q must be finite, got nan"),
        ((np.eye(2), np.ones(3)), "c must have a last dimension of 2, as Q has, got shape (3,)"),
        ((np.eye(2), 1.0), "c must have a last dimension of 2, as Q has, got shape ()"),
        ((np.eye(2), [0, np.inf]), "c must be finite, got inf"),
        ((np.eye(2), None, np.nan), "constant must be finite, got nan"),
    ],
)
def test_quadratic_refuses_in_one_sentence(arguments, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        Quadratic(*arguments)


def test_rows_of_c_do_not_broadcast_a_vector():
    f = Quadratic(gaussian(2, 2).square().diag_embed().sum(0), gaussian(3, 2))
    for use in (f, f.grad, lambda x: f.prox(x, 1.0)):
        with pytest.raises(ValueError, match=r"^c of shape \(3, 2\) does not broadcast to the shape \(2,\) of x"):
            use(gaussian(2))


def test_rounding_in_a_gram_matrix_is_no_asymmetry():
    X = gaussian(50, 200).float()
    Quadratic(X @ X.T + 1e-7 * X[:, :50])


# --- logistic -----------------------------------------------------------------------------------------------------


def test_logistic_regression_agrees_with_scipy():
    A, y = gaussian(30, 3), gaussian(30, seed=1).sign()
    f = Logistic(A, y)

    def naive(x):
        return np.log1p(np.exp(-y.numpy() * (A.numpy() @ x))).sum()

    x = gaussian(3, seed=2)
    assert f(x).item() == pytest.approx(naive(x.numpy()), rel=1e-12)
    best = torch.tensor(scipy.optimize.minimize(naive, np.zeros(3), tol=1e-10).x)
    torch.testing.assert_close(f.grad(best), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-4)


@pytest.mark.parametrize("margin", [-1e4, -21.0, 0.5, 30.0, 1e4])
def test_far_margins_neither_overflow_nor_lose_their_digits(margin):
    x = torch.tensor([margin], dtype=torch.float64)
    f = Logistic(torch.ones(1, 1, dtype=torch.float64), [1])
    tail = np.exp(-abs(margin))
    assert f(x).item() == pytest.approx(max(-margin, 0) + np.log1p(tail), rel=1e-13, abs=0)
    assert f.grad(x).item() == pytest.approx(-(tail if margin > 0 else 1) / (1 + tail), rel=1e-13, abs=0)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0, 1], "y must hold only -1 and +1, got 0; 0/1 labels become 2*y - 1"),
        ([1, 2], "y must hold only -1 and +1, got 2"),
        ([1, 0.5], "y must hold only -1 and +1, got 0.5"),
        ([1, np.nan], "y must be finite, got nan"),
        ([1], "y must have the 2 rows of A, got shape (1,)"),
    ],
)
def test_labels_are_checked(y, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        Logistic(np.eye(2), y)


def test_margins_must_have_the_shape_of_the_labels():
    with pytest.raises(ValueError, match=r"^A x has shape \(2, 3\), but y has \(2,\)"):
        Logistic(np.eye(2), [1, -1])(gaussian(2, 3))


# --- autodiff -----------------------------------------------------------------------------------------------------


def test_a_callable_gets_a_gradient_also_where_gradients_are_off():
    f = Autodiff(lambda x: (x**3).sum())
    with torch.no_grad():
        assert f.grad(torch.tensor([1.0, 2.0])).tolist() == [3, 12]
    assert not hasattr(f, "lipschitz")


def test_derivatives_flow_through_the_gradient_to_what_the_callable_uses():
    weight = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    gradient = Autodiff(lambda x: weight * x.square().sum()).grad(torch.ones(3, dtype=torch.float64))
    gradient.sum().backward()
    assert weight.grad == 6


def test_autodiff_needs_a_callable():
    with pytest.raises(TypeError, match=r"^f must be a function of a tensor, got 3"):
        Autodiff(3)


def test_a_penalty_is_no_smooth_function():
    with pytest.raises(TypeError, match=r"^fista needs f\.grad, but L1 has none; wrap a callable in optsci\.Autodiff"):
        require(L1(), "grad", by="fista", name="f")
