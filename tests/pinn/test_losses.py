"""Losses as sums of squares, and what they say to bad input."""

import pytest
import torch

from optsci.pinn import MLP, Ball, Boundary, Data, Poisson, Residual, residual_jacobian


def problem():
    return Poisson(Ball(dim=2), source=lambda x: 4 + 0 * x[0], boundary=lambda x: x[0] ** 2 - x[1] ** 2)


def exact(x):
    return 1 - x.square().sum(1, keepdim=True) + x[:, :1] ** 2 - x[:, 1:] ** 2


def test_the_exact_solution_has_no_loss():
    loss = Residual(problem(), 50) + 10 * Boundary(problem(), 20)
    assert loss(exact).item() < 1e-20


def test_the_loss_is_the_sum_of_the_squared_residuals_and_its_gradient_is_twice_their_jacobian_times_them():
    u, x = MLP(2, [8, 8], 1), Ball(dim=2).sample(7, 1)
    loss = Residual(problem(), 50) + 10 * Boundary(problem(), 20) + Data(x, exact(x), stderr=0.1 + x[:, :1] ** 2)
    r, jacobian = residual_jacobian(u, loss)
    value = loss(u)
    value.backward()
    torch.testing.assert_close(value.detach(), r.square().sum(), rtol=1e-12, atol=0)
    torch.testing.assert_close(
        torch.cat([p.grad.flatten() for p in u.parameters()]), 2 * jacobian.T @ r, rtol=1e-10, atol=1e-12
    )


def test_terms_are_means_and_weights_multiply_them():
    x = Ball(dim=2).sample(7, 1)
    twice = torch.cat((x, x))
    assert Data(twice, exact(twice))(lambda x: 0 * x[:, :1]).item() == pytest.approx(
        Data(x, exact(x))(lambda x: 0 * x[:, :1]).item()
    )
    assert (3 * Data(x, exact(x)))(lambda x: 0 * x[:, :1]).item() == pytest.approx(3 * exact(x).square().mean().item())


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match="weight of a loss must be at least 0, got -1"):
        -1 * Residual(problem(), 5)
    with pytest.raises(ValueError, match="weight must be a number or 5 of them"):
        Residual(problem(), 5, weight=[1.0, 2.0])
