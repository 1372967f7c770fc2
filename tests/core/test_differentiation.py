"""Derivatives of solutions: exact formulas, finite differences, and the three ways against each other."""

from __future__ import annotations

import math
import re

import pytest
import torch

import optsci
from optsci import implicit, one_step, proximal_step, solve
from problems import lasso


@pytest.fixture(scope="module")
def data():
    return lasso(30, 20, 5).data


def ridge_map(A, step):
    """Gradient step of 1/2 ||A x - b||^2 + weight/2 ||x||^2."""
    return lambda x, b, weight: x - step * (A.T @ (A @ x - b) + weight * x)


def ridge_solution(A, b, weight):
    return torch.linalg.solve(A.T @ A + weight * torch.eye(A.shape[1], dtype=A.dtype), A.T @ b)


def lasso_map(A, step):
    def T(x, b, weight):
        return proximal_step(optsci.LeastSquares(A, b), optsci.L1(weight), step)(x)

    return T


def lasso_solution(A, b, weight, tol=1e-14):
    f, g = optsci.LeastSquares(A, b.detach()), optsci.L1(weight.detach())
    steps = optsci.fista(f, g, A.new_zeros(A.shape[1]), restart=optsci.gradient_restart)
    return solve(steps, tol=tol, max_iter=20_000).x


def step_of(A):
    return 1 / torch.linalg.matrix_norm(A, 2).item() ** 2


def test_ridge_is_exact(data):
    A, b = data
    weight = torch.tensor(0.5, dtype=A.dtype)
    x = ridge_solution(A, b, weight)
    H = A.T @ A + weight * torch.eye(20, dtype=A.dtype)
    by_b, by_weight = torch.func.jacrev(
        lambda b, weight: implicit(ridge_map(A, step_of(A)), x, b, weight), argnums=(0, 1)
    )(b, weight)
    torch.testing.assert_close(by_b, torch.linalg.solve(H, A.T), rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(by_weight, -torch.linalg.solve(H, x), rtol=1e-9, atol=1e-11)


def test_backward_func_grad_and_jacrev_agree(data):
    A, b = data
    weight = torch.tensor(0.3, dtype=A.dtype)
    x, T = lasso_solution(A, b, weight), lasso_map(A, step_of(A))

    def loss(b, weight):
        return (implicit(T, x, b, weight) ** 2).sum()

    b_, weight_ = b.clone().requires_grad_(), weight.clone().requires_grad_()
    loss(b_, weight_).backward()
    by_b, by_weight = torch.func.grad(loss, argnums=(0, 1))(b, weight)
    assert torch.equal(by_b, b_.grad)
    assert torch.equal(by_weight, weight_.grad)
    jacobian = torch.func.jacrev(lambda b: implicit(T, x, b, weight))(b)
    torch.testing.assert_close(2 * x @ jacobian, by_b, rtol=1e-9, atol=1e-11)


def test_lasso_agrees_with_finite_differences_and_unrolling(data):
    A, b = data
    weight, h = torch.tensor(0.3, dtype=A.dtype), 1e-5
    x, step = lasso_solution(A, b, weight), step_of(A)
    difference = (lasso_solution(A, b, weight + h) - lasso_solution(A, b, weight - h)) / (2 * h)

    def unrolled(weight):
        f, g = optsci.LeastSquares(A, b), optsci.L1(weight)
        return solve(optsci.ista(f, g, A.new_zeros(20), step=step), tol=None, max_iter=1500).x

    T = lasso_map(A, step)
    jacobian = torch.func.jacrev(lambda weight: implicit(T, x, b, weight))(weight)
    torch.testing.assert_close(jacobian, difference, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(torch.func.jacrev(unrolled)(weight), jacobian, rtol=1e-6, atol=1e-8)
    # On the support S the exact formula is -(A_S^T A_S)^-1 sign(x_S), and elsewhere 0.
    S = x != 0
    assert 0 < S.sum() < 20
    exact = -torch.linalg.solve(A[:, S].T @ A[:, S], x[S].sign())
    torch.testing.assert_close(jacobian[S], exact, rtol=1e-9, atol=1e-11)
    assert (jacobian[~S] == 0).all()


def test_gmres_needs_one_step_more_than_nonzeros(data):
    A, b = data
    weight = torch.tensor(0.3, dtype=A.dtype)
    x, T = lasso_solution(A, b, weight), lasso_map(A, step_of(A))
    S = x != 0
    exact = -torch.linalg.solve(A[:, S].T @ A[:, S], x[S].sign()).sum()

    def error(iterations):
        total = torch.func.grad(lambda weight: implicit(T, x, b, weight, iterations=iterations).sum())(weight)
        return (total - exact).abs().item()

    assert error(int(S.sum()) + 1) < 1e-9 < error(2)


def test_one_step_errs_by_the_rate(data):
    A, b = data
    weight = torch.tensor(50.0, dtype=A.dtype)
    x = ridge_solution(A, b, weight)
    H = A.T @ A + weight * torch.eye(20, dtype=A.dtype)
    exact, values = -torch.linalg.solve(H, x), torch.linalg.eigvalsh(H)
    step = (2 / (values[0] + values[-1])).item()
    rho = ((values[-1] - values[0]) / (values[-1] + values[0])).item()
    approximate = torch.func.jacrev(lambda weight: one_step(ridge_map(A, step), x, b, weight))(weight)
    torch.testing.assert_close(approximate, -step * x)
    error = (approximate - exact).norm()
    assert 0.01 * exact.norm() < error <= rho * exact.norm() * (1 + 1e-12)


def test_one_step_of_newton_is_exact(data):
    A, b = data
    weight = torch.tensor(0.5, dtype=A.dtype)
    x = ridge_solution(A, b, weight)

    def newton(x, weight):
        H = A.T @ A + weight * torch.eye(20, dtype=A.dtype)
        return x - torch.linalg.solve(H, H @ x - A.T @ b)

    jacobians = [torch.func.jacrev(lambda w, way=way: way(newton, x, w))(weight) for way in (one_step, implicit)]
    exact = torch.func.jacrev(lambda weight: ridge_solution(A, b, weight))(weight)
    for jacobian in jacobians:
        torch.testing.assert_close(jacobian, exact, rtol=1e-9, atol=1e-11)


def test_second_derivatives(data):
    """Of the ridge solution with respect to its weight: 2 H^-2 x."""
    A, b = data
    weight = torch.tensor(0.5, dtype=A.dtype)
    x = ridge_solution(A, b, weight)

    def total(weight):
        return implicit(ridge_map(A, step_of(A)), x, b, weight).sum()

    H = A.T @ A + weight * torch.eye(20, dtype=A.dtype)
    exact = 2 * torch.linalg.solve(H, torch.linalg.solve(H, x)).sum()
    torch.testing.assert_close(torch.func.grad(torch.func.grad(total))(weight), exact, rtol=1e-7, atol=0)
    weight_ = weight.clone().requires_grad_()
    (first,) = torch.autograd.grad(total(weight_), weight_, create_graph=True)
    torch.testing.assert_close(torch.autograd.grad(first, weight_)[0], exact, rtol=1e-7, atol=0)


def test_a_map_that_is_not_symmetric():
    generator = torch.Generator().manual_seed(0)
    M = 0.2 * torch.randn(6, 6, generator=generator, dtype=torch.float64)
    b = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    x = torch.linalg.solve(torch.eye(6).double() - M, b.flatten()).reshape(2, 3)
    jacobian = torch.func.jacrev(lambda b: implicit(lambda x, b: (M @ x.flatten()).reshape(2, 3) + b, x, b))(b)
    exact = torch.linalg.inv(torch.eye(6).double() - M)
    torch.testing.assert_close(jacobian.reshape(6, 6), exact, rtol=1e-10, atol=1e-12)


def test_values_are_kept_and_the_graph_of_x_is_cut(data):
    A, b = data
    b_ = b.clone().requires_grad_()
    weight = torch.tensor(0.5, dtype=A.dtype, requires_grad=True)
    x = ridge_solution(A, b_, weight)
    y = implicit(ridge_map(A, step_of(A)), x, b, weight)
    assert torch.equal(x, y)
    y.sum().backward()
    assert b_.grad is None
    assert weight.grad is not None


def test_a_batch_of_parameters_by_vmap(data):
    A, _ = data
    b = torch.randn(3, 30, generator=torch.Generator().manual_seed(0), dtype=A.dtype)
    weight = torch.tensor(0.5, dtype=A.dtype)
    x = torch.stack([ridge_solution(A, row, weight) for row in b])

    def gradient(x, b):
        return torch.func.grad(lambda b: implicit(ridge_map(A, step_of(A)), x, b, weight).sum())(b)

    expected = torch.stack([gradient(*pair) for pair in zip(x, b, strict=True)])
    torch.testing.assert_close(torch.vmap(gradient)(x, b), expected)


def test_a_zero_cotangent_and_a_solved_system_give_no_nan():
    b = torch.ones(3, dtype=torch.float64, requires_grad=True)
    y = implicit(lambda x, b: 0.5 * x + b, 2 * b.detach(), b)  # exhausted after one step of GMRES
    y[:0].sum().backward()
    assert torch.equal(b.grad, torch.zeros(3).double())
    (gradient,) = torch.autograd.grad(implicit(lambda x, b: 0.5 * x + b, 2 * b.detach(), b).sum(), b)
    torch.testing.assert_close(gradient, torch.full((3,), 2.0).double())


def test_float32_keeps_its_dtype():
    b = torch.ones(3, requires_grad=True)
    y = implicit(lambda x, b: 0.5 * x + b, torch.full((3,), 2.0), b)
    y.sum().backward()
    assert y.dtype == b.grad.dtype == torch.float32
    torch.testing.assert_close(b.grad, torch.full((3,), 2.0))


def test_proximal_step_is_ista(data):
    p = lasso(20, 40, 4)
    T = proximal_step(p.f, p.g, 1 / p.f.lipschitz())
    torch.testing.assert_close(T(p.start), next(optsci.ista(p.f, p.g, p.start)).x, rtol=0, atol=0)
    torch.testing.assert_close(T(p.x), p.x, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda x: implicit(3, x), TypeError, "fixed_point must be a function (x, *parameters) -> x, not 3"),
        (lambda x: implicit(abs, [1.0]), TypeError, "x must be floating-point tensors, got [1.0]"),
        (lambda x: one_step(abs, x, 0.5), TypeError, "parameters must be floating-point tensors, got 0.5"),
        (lambda x: implicit(abs, x, iterations=0), ValueError, "iterations must be a positive integer, not 0"),
        (lambda x: proximal_step(abs, optsci.L1(), 1.0), TypeError, "proximal_step needs f.grad"),
        (lambda x: proximal_step(optsci.SquaredL2(), abs, 1.0), TypeError, "proximal_step needs g.prox"),
        (lambda x: proximal_step(optsci.SquaredL2(), optsci.L1(), math.nan), ValueError, "step must be finite and pos"),
    ],
)
def test_errors(call, error, sentence):
    with pytest.raises(error, match=re.escape(sentence)):
        call(torch.ones(2))
