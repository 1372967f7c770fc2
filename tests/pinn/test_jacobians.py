"""Jacobians written out against those of automatic differentiation, and products with them."""

import math

import pytest
import torch
from torch import nn

from optsci.pinn import MLP, Loss, Squares, jacobian_operator, parameters, residual_jacobian
from optsci.pinn.jacobians import jacobian_by_autograd
from pinn_networks import conditions, moved, networks


@pytest.mark.parametrize("name", networks())
@pytest.mark.parametrize(("n", "m", "differentiated"), [(70, 2, True), (9, 0, True), (9, 0, False)])
def test_the_jacobian_is_the_one_of_automatic_differentiation(name, n, m, differentiated):
    u, rows = moved(networks()[name]), conditions(n, m, differentiated)
    r, J = residual_jacobian(u, Loss((rows,)))
    expected, K = jacobian_by_autograd(u, rows)
    assert J.shape == (n, sum(p.numel() for p in parameters(u)))
    torch.testing.assert_close(r, expected, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(J, K, rtol=1e-11, atol=1e-12 * float(K.abs().max()))


def test_many_points_are_worked_on_in_parts():
    u, rows = moved(MLP(2, [4])), conditions(1100, 2)
    r, J = residual_jacobian(u, Loss((rows,)))
    for j in (slice(0, 3), slice(510, 514), slice(1097, 1100)):
        s, K = residual_jacobian(u, Loss((rows.part(j),)))
        torch.testing.assert_close(r[j], s, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(J[j], K, rtol=1e-12, atol=1e-14)


def test_the_jacobian_is_the_limit_of_differences():
    u, rows = moved(MLP(2, [6, 5])), conditions(5, 2)
    J = residual_jacobian(u, Loss((rows,)))[1]
    theta = nn.utils.parameters_to_vector(u.parameters()).detach()
    v = torch.randn(len(theta), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    errors = []
    for step in (1e-3, 1e-4):
        ends = []
        for sign in (1, -1):
            nn.utils.vector_to_parameters(theta + sign * step * v, u.parameters())
            ends.append(rows.residuals(u).detach())
        errors.append(float(((ends[0] - ends[1]) / (2 * step) - J @ v).norm()))
    assert math.log10(errors[0] / errors[1]) == pytest.approx(2, abs=0.05)


def test_terms_of_every_kind_lie_one_below_the_other():
    u, rows = moved(MLP(2, [6])), conditions(7, 2)
    loss = Loss((rows, Squares(lambda u: u(rows.points[:3]) ** 2), Squares(lambda u: rows.points[:2, :1])))
    r, J = residual_jacobian(u, loss)
    torch.testing.assert_close(r, loss.residuals(u).detach(), rtol=1e-12, atol=1e-14)
    assert (J[-2:] == 0).all()
    torch.testing.assert_close(
        torch.cat([g.flatten() for g in torch.autograd.grad(loss(u), list(u.parameters()))]), 2 * J.T @ r
    )


def test_frozen_parameters_have_no_column():
    u, rows = moved(MLP(2, [6])), conditions(7, 2)
    _, J = residual_jacobian(u, Loss((rows,)))
    u.weights[0].requires_grad_(False)
    _, K = residual_jacobian(u, Loss((rows,)))
    torch.testing.assert_close(K, J[:, 12:], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", ["MLP", "ansatz", "ansatz around any module"])
def test_products_without_the_matrix(name):
    u, loss = moved(networks()[name]), Loss((conditions(20, 2), Squares(lambda u: u(torch.ones(2, 2).double()))))
    r, A = jacobian_operator(u, loss)
    s, J = residual_jacobian(u, loss)
    random = torch.Generator().manual_seed(0)
    v, w = (torch.randn(k, dtype=torch.float64, generator=random) for k in (J.shape[1], J.shape[0]))
    assert A.shape == J.shape and A.T.shape == J.T.shape  # noqa: PT018
    torch.testing.assert_close(r, s, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(A(v), J @ v, rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(A.T(w), J.T @ w, rtol=1e-10, atol=1e-11)
    assert float(torch.linalg.matrix_norm(J, 2)) <= A.norm() <= 1.02 * float(torch.linalg.matrix_norm(J, 2))
