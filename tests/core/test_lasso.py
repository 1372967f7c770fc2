"""The lasso by coordinate descent: certified gaps, optimality, known solutions, peers, refusals."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso
from sklearn.linear_model import lasso_path as peer_path

import optsci
import problems
from optsci import LassoFit, LassoPath, lasso, lasso_path


def design(m, n, *, seed=0, nonzeros=5, noise=0.3):
    """Correlated columns (neighbours .5), a sparse truth and noise."""
    generator = np.random.default_rng(seed)
    A = generator.standard_normal((m, n))
    for j in range(1, n):
        A[:, j] = 0.5 * A[:, j - 1] + 0.75**0.5 * A[:, j]
    x = np.zeros(n)
    x[generator.choice(n, nonzeros, replace=False)] = generator.choice([-1.0, 1.0], nonzeros)
    return A, A @ x + noise * generator.standard_normal(m)


def objective(A, b, x, weight):
    return 0.5 * np.sum((A @ x - b) ** 2) + weight * np.abs(x).sum()


def duality_gap(A, b, x, weight):
    """By Fenchel: f(Ax) + f*(-theta) with f = |. - b|^2/2, theta the residual made feasible; relative to |b|^2/2."""
    r = b - A @ x
    theta = r / max(1.0, np.abs(A.T @ r).max() / weight)
    conjugate = 0.5 * theta @ theta - b @ theta
    return (objective(A, b, x, weight) + conjugate) / (0.5 * b @ b)


def violation(A, b, x, weight):
    """How far A^T r is from weight * subdifferential of |x|_1, relative to the weight."""
    slope = A.T @ (b - A @ x)
    inside = np.maximum(np.abs(slope) - weight, 0)
    return np.where(x != 0, np.abs(slope - weight * np.sign(x)), inside).max() / weight


SHAPES = [(40, 100), (100, 40), (30, 30), (1, 5), (5, 1)]


# Certificates


@pytest.mark.parametrize("tol", [1e-3, 1e-6, 1e-10])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_point_of_the_path_has_the_gap_it_claims(shape, tol):
    A, b = design(*shape, nonzeros=min(5, shape[1]))
    path = lasso_path(A, b, count=20, tol=tol)
    assert path.converged.all()
    assert path.x.shape == (shape[1], 20)
    for weight, x, gap in zip(path.weights.tolist(), path.x.T.numpy(), path.gap.tolist(), strict=True):
        assert gap <= tol
        # The library scales the dual point at best, the formula here as is usual: so it can only be larger.
        assert -1e-14 <= gap <= duality_gap(A, b, x, weight) + 1e-13
        assert objective(A, b, x, weight) - objective(A, b, 0 * x, weight) <= 1e-13 * objective(A, b, 0 * x, weight)


@pytest.mark.parametrize("shape", SHAPES)
def test_optimality_conditions_hold_on_all_columns(shape):
    A, b = design(*shape, nonzeros=min(5, shape[1]))
    path = lasso_path(A, b, count=10, tol=1e-13)
    for weight, x in zip(path.weights.tolist(), path.x.T.numpy(), strict=True):
        assert violation(A, b, x, weight) <= 1e-5


def test_the_gap_bounds_the_distance_to_the_optimum():
    p = problems.lasso(50, 200, 10)
    A, b = p.data
    for tol in (1e-2, 1e-4, 1e-6, 1e-8):
        fit = lasso(A, b, p.g.weight, tol=tol)
        distance = (p.objective(fit.x) - p.optimum) / (b.square().sum().item() / 2)
        assert -1e-14 <= distance <= fit.gap + 1e-15
        assert fit.gap <= tol


def test_descent_that_rounding_stops_says_so():
    A, b = design(20, 50)
    fit = lasso(A, b, 0.1, tol=1e-30)
    assert not fit.converged
    assert 1e-30 < fit.gap <= 1e-12
    assert not lasso_path(A, b, [0.1], tol=1e-30).converged.any()


# Known solutions and peers


@pytest.mark.parametrize(("m", "n", "nonzeros"), [(200, 1000, 20), (200, 100, 20), (60, 60, 10)])
def test_known_solution(m, n, nonzeros):
    p = problems.lasso(m, n, nonzeros)
    fit = lasso(*p.data, p.g.weight, tol=1e-13)
    assert fit.converged
    torch.testing.assert_close(fit.x, p.x, rtol=0, atol=1e-5)
    assert torch.equal(fit.x != 0, p.x != 0)


@pytest.mark.parametrize("shape", [(60, 200), (200, 60)])
def test_scikit_learn_with_its_scaling(shape):
    A, b = design(*shape)
    path = lasso_path(A, b, count=15, tol=1e-10)
    alphas, coefficients, _ = peer_path(A, b, alphas=path.weights.numpy() / shape[0], tol=1e-12, max_iter=100_000)
    np.testing.assert_allclose(alphas * shape[0], path.weights)
    for weight, x, peer in zip(path.weights.tolist(), path.x.T.numpy(), coefficients.T, strict=True):
        assert objective(A, b, x, weight) == pytest.approx(objective(A, b, peer, weight), rel=1e-8)
    weight = path.weights[10].item()
    peer = Lasso(weight / shape[0], fit_intercept=False, tol=1e-12, max_iter=100_000).fit(A, b).coef_
    fit = lasso(A, b, weight, tol=1e-10)
    assert objective(A, b, fit.x.numpy(), weight) == pytest.approx(objective(A, b, peer, weight), rel=1e-8)


def test_fista_finds_the_same():
    A, b = design(30, 50)
    fit = lasso(A, b, 2.0, tol=1e-13)
    f, g = optsci.LeastSquares(A, b), optsci.L1(2.0)
    run = optsci.solve(optsci.fista(f, g, np.zeros(50), restart=optsci.gradient_restart), tol=1e-12, max_iter=20_000)
    torch.testing.assert_close(fit.x, run.x, rtol=0, atol=1e-6)


def test_orthonormal_columns_are_thresholded():
    A = np.linalg.qr(np.random.default_rng(0).standard_normal((20, 8)))[0]
    b = np.random.default_rng(1).standard_normal(20)
    z = A.T @ b
    fit = lasso(A, b, 0.3, tol=1e-14)
    np.testing.assert_allclose(fit.x, np.sign(z) * np.maximum(np.abs(z) - 0.3, 0), atol=1e-12)


# Facts about paths


def test_path_of_weights_and_its_monotone_quantities():
    A, b = design(50, 120)
    path = lasso_path(A, b, count=30, ratio=1e-3, tol=1e-9)
    weights = path.weights.numpy()
    np.testing.assert_allclose(weights, np.abs(A.T @ b).max() * 1e-3 ** (np.arange(30) / 29))
    norms = path.x.abs().sum(0).numpy()
    residuals = np.square(A @ path.x.numpy() - b[:, None]).sum(0)
    assert (np.diff(norms) >= -1e-5 * norms.max()).all()
    assert (np.diff(residuals) <= 1e-6 * (b @ b)).all()
    assert not path.x[:, 0].any()
    assert path.x[:, 1].any()
    assert norms[-1] > norms[1]
    assert (path.x[:, -1] != 0).sum() <= 50  # a lasso has a solution with at most m nonzeros; this design, only it


def test_path_and_single_fits_agree():
    A, b = design(40, 100)
    path = lasso_path(A, b, count=8, tol=1e-11)
    for weight, x in zip(path.weights.tolist()[1:], path.x.T[1:], strict=True):
        torch.testing.assert_close(lasso(A, b, weight, tol=1e-11).x, x, rtol=0, atol=1e-4)


@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_weights_from_the_largest_on_give_zeros_at_once(factor):
    A, b = design(30, 60)
    weight = np.abs(b @ A).max() * factor
    fit = lasso(A, b, weight, x0=np.ones(60))
    assert not fit.x.any()
    assert (fit.gap, fit.iterations, fit.converged) == (0.0, 0, True)
    path = lasso_path(A, b, [2 * weight, weight, weight / (3 * factor)])
    assert not path.x[:, :2].any()
    assert path.x[:, 2].any()
    assert lasso(A, b, 0.99 * weight / factor).x.any()


# Starts, memory, inputs


def test_a_good_start_saves_passes():
    A, b = design(60, 200)
    cold = lasso(A, b, 3.0, tol=1e-9)
    warm = lasso(A, b, 3.0, tol=1e-9, x0=cold.x)
    assert cold.iterations >= 5
    assert warm.iterations <= 1
    torch.testing.assert_close(warm.x, cold.x, rtol=0, atol=1e-6)
    near = lasso(A, b, 2.9, tol=1e-9, x0=cold.x)
    assert near.iterations < lasso(A, b, 2.9, tol=1e-9).iterations


def test_a_bad_start_is_no_obstacle():
    A, b = design(60, 200)
    fit = lasso(A, b, 3.0, tol=1e-11, x0=100 * np.random.default_rng(0).standard_normal(200))
    assert fit.converged
    torch.testing.assert_close(fit.x, lasso(A, b, 3.0, tol=1e-11).x, rtol=0, atol=1e-5)


def test_a_small_cache_changes_no_answer(monkeypatch):
    A, b = design(40, 150)
    path = lasso_path(A, b, count=15, tol=1e-10)
    monkeypatch.setattr(optsci.sparse_regression, "CACHED_COLUMNS", 20)
    small = lasso_path(A, b, count=15, tol=1e-10)
    assert small.converged.all()
    torch.testing.assert_close(small.x, path.x, rtol=0, atol=1e-4)


def test_few_columns_a_round_change_no_answer(monkeypatch):
    A, b = design(40, 150)
    fit = lasso(A, b, 1.0, tol=1e-11)
    monkeypatch.setattr(optsci.sparse_regression, "FIRST", 2)
    slow = lasso(A, b, 1.0, tol=1e-11)
    assert slow.converged
    torch.testing.assert_close(slow.x, fit.x, rtol=0, atol=1e-5)


def test_columns_of_zeros_get_zero():
    A, b = design(30, 60)
    A[:, ::7] = 0
    path = lasso_path(A, b, count=10, tol=1e-10)
    assert path.converged.all()
    assert not path.x[::7].any()
    without = np.delete(A, np.arange(0, 60, 7), axis=1)
    keep = np.delete(np.arange(60), np.arange(0, 60, 7))
    torch.testing.assert_close(path.x[keep], lasso_path(without, b, count=10, tol=1e-10).x, rtol=0, atol=1e-4)


def test_duplicate_columns_share_the_optimum():
    A, b = design(30, 40)
    twice = np.hstack([A, A, -A])
    once, fit = lasso(A, b, 1.5, tol=1e-12), lasso(twice, b, 1.5, tol=1e-12)
    assert fit.converged
    assert objective(twice, b, fit.x.numpy(), 1.5) == pytest.approx(objective(A, b, once.x.numpy(), 1.5), rel=1e-10)
    x = fit.x.reshape(3, 40)
    torch.testing.assert_close(x[0] + x[1] - x[2], once.x, rtol=0, atol=1e-5)


def test_zero_right_hand_side():
    A, _ = design(10, 20)
    fit = lasso(A, np.zeros(10), 0.1)
    assert not fit.x.any()
    assert fit.converged
    with pytest.raises(ValueError, match=re.escape("weights cannot be derived where A^T b = 0: pass weights=")):
        lasso_path(A, np.zeros(10))


@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_order_and_container_do_not_matter(order):
    A, b = design(30, 60)
    wanted = lasso(A, b, 1.0, tol=1e-12).x
    for matrix in (np.array(A, order=order), torch.from_numpy(np.array(A, order=order)), A[:, ::-1][:, ::-1]):
        before = matrix.copy() if isinstance(matrix, np.ndarray) else matrix.clone()
        fit = lasso(matrix, torch.from_numpy(b), 1.0, tol=1e-12)
        torch.testing.assert_close(fit.x, wanted, rtol=0, atol=1e-9)
        assert (matrix == before).all()


def test_float32_keeps_its_dtype_and_has_the_gap():
    A, b = (v.astype(np.float32) for v in design(40, 100))
    path = lasso_path(A, b, count=10)
    assert path.x.dtype == path.weights.dtype == torch.float32
    assert path.converged.all()
    for weight, x in zip(path.weights.tolist()[1:], path.x.T.double().numpy()[1:], strict=True):
        assert duality_gap(A.astype(float), b.astype(float), x, weight) <= 2e-6
    fit = lasso(A, b, path.weights[5])
    assert fit.x.dtype == torch.float32
    torch.testing.assert_close(fit.x, path.x[:, 5], rtol=0, atol=2e-2)


def test_types_of_the_results():
    A, b = design(10, 5)
    assert isinstance(lasso(A, b, 1.0), LassoFit)
    assert isinstance(lasso_path(A, b), LassoPath)
    assert lasso_path(A, b).x.shape == (5, 50)


# Refusals

A, b = design(6, 4, nonzeros=2)


@pytest.mark.parametrize(
    ("arguments", "keywords", "sentence"),
    [
        ((A[0], b), {}, "A must be a matrix with rows and columns, got shape (4,)"),
        ((A[:, :0], b), {}, "A must be a matrix with rows and columns, got shape (6, 0)"),
        ((A, b[1:]), {}, "b has shape (5,), but A has 6 rows"),
        ((A, b * np.nan), {}, "b must be finite, got nan"),
        ((np.where(A[2, 1] == A, np.inf, A), b), {}, "A must be finite, got inf"),
        ((np.where(A[2, 1] == A, np.nan, A), b), {}, "A must be finite, got nan"),
        ((1e200 * A, b), {}, "A is too large to be squared: scale A and b"),
        ((A, b.astype(np.float32)), {}, "b is torch.float32, what it is combined with is torch.float64"),
        ((A, b), {"tol": 0.0}, "tol must be finite and positive, got 0.0"),
        ((A, b), {"tol": float("nan")}, "tol must be finite and positive, got nan"),
    ],
)
def test_refusals_of_both(arguments, keywords, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        lasso_path(*arguments, [1.0], **keywords)
    with pytest.raises(ValueError, match=re.escape(sentence)):
        lasso(*arguments, 1.0, **keywords)


@pytest.mark.parametrize(
    ("weights", "keywords", "sentence"),
    [
        ([1.0, 0.0], {}, "weights must be finite and positive, got 0.0"),
        ([1.0, 2.0], {}, "weights must be a strictly decreasing vector, got [1.0, 2.0]"),
        ([1.0, 1.0], {}, "weights must be a strictly decreasing vector, got [1.0, 1.0]"),
        ([], {}, "weights must be a strictly decreasing vector, got []"),
        ([1.0, float("nan")], {}, "weights must be finite, got nan"),
        (None, {"ratio": 1.0}, "ratio must lie between 0 and 1, not 1.0"),
        (None, {"ratio": 0.0}, "ratio must lie between 0 and 1, not 0.0"),
        (None, {"count": 0}, "count must be at least 1, not 0"),
    ],
)
def test_refusals_of_the_path(weights, keywords, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        lasso_path(A, b, weights, **keywords)


@pytest.mark.parametrize(
    ("weight", "keywords", "sentence"),
    [
        (0.0, {}, "weight must be finite and positive, got 0.0"),
        (-1.0, {}, "weight must be finite and positive, got -1.0"),
        (float("inf"), {}, "weight must be finite and positive, got inf"),
        (1.0, {"x0": np.zeros(3)}, "x0 has shape (3,), but A takes (4,)"),
        (1.0, {"x0": np.array([0, np.nan, 0, 0])}, "x0 must be finite, got nan"),
    ],
)
def test_refusals_of_one_weight(weight, keywords, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        lasso(A, b, weight, **keywords)
