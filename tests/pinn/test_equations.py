"""Equations that couple functions: residuals, and Jacobians by the chain rule against automatic differentiation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import optsci
from optsci.pinn import (
    MLP,
    Ball,
    BoundaryAnsatz,
    Equation,
    Fields,
    Interval,
    Poisson,
    Residual,
    gauss_newton,
    residual_jacobian,
)
from optsci.pinn.jacobians import jacobian_by_autograd, jacobian_of_equation
from pinn_networks import moved, networks

NETWORKS = networks()


def points(n=9, d=2, seed=0):
    return 0.5 * torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def strange(x, y, p):
    """All that a residual may hold: products, a kink, every derivative, signs either way."""
    first = y.value * y.gradient[:, :1] - p.laplacian * y.laplacian.sin() + x[:, 1:] * p.gradient[:, 1:] ** 2
    return first + (-p.value).clamp(-0.1, 0.1) - 3 * y.laplacian


@pytest.mark.parametrize("axes", [None, (0,), (1,)], ids=str)
@pytest.mark.parametrize("name", [name for name, u in NETWORKS.items() if "any module" not in name])
def test_chain_rule_is_automatic_differentiation(name, axes):
    u = Fields(y=moved(NETWORKS[name]), p=moved(MLP(2, [5, 6], seed=3)))
    loss = Equation(points(), lambda u: (u.y, u.p), strange, torch.linspace(0.5, 2, 9, dtype=torch.float64), axes=axes)
    (term,) = loss.terms
    found, wanted = jacobian_of_equation(u, term), jacobian_by_autograd(u, term)
    if name in ("two stages", "ansatz of features"):  # features with parameters: by automatic differentiation alone
        assert found is None
        return
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9 * float(b.abs().max()))
    assert torch.allclose(found[0].square().sum(), loss(u))


def test_one_network_twice_and_a_frozen_one():
    shared, frozen = MLP(2, [6], seed=1), moved(MLP(2, [4], seed=2)).requires_grad_(False)
    inner = BoundaryAnsatz(shared, 0.3, lambda x: x[:, :1])
    outer = BoundaryAnsatz(shared, lambda x: x[:, 1:], lambda x: x[:, 1:] ** 2)
    u = Fields(inner=inner, frozen=frozen)
    loss = Equation(
        points(),
        lambda u: (u.inner, outer, u.frozen),
        lambda x, a, b, c: (
            2 * a.gradient[:, 0] * c.value[:, 0] - 5 * b.gradient[:, 1] + a.value[:, 0] * b.laplacian[:, 0]
        ),
    )
    (term,) = loss.terms
    for a, b in zip(jacobian_of_equation(u, term), jacobian_by_autograd(u, term), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9 * float(b.abs().max()))


def test_a_linear_equation_is_the_residual_of_its_problem():
    problem, u = Poisson(Ball(dim=2), source=4.0), moved(NETWORKS["ansatz"])
    x = problem.domain.sample(30, seed=0)
    mine = residual_jacobian(u, Equation(x, lambda u: (u,), lambda x, u: u.laplacian + 4))
    for a, b in zip(mine, residual_jacobian(u, Residual(problem, x)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_any_function_and_a_residual_with_parameters_go_by_automatic_differentiation():
    u = Fields(y=nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1)).double(), scale=nn.Linear(1, 1).double())
    net = Equation(points(), lambda u: (u.y,), lambda x, y: y.laplacian + y.value.square())
    assert jacobian_of_equation(u, net.terms[0]) is None
    learned = Fields(y=MLP(2, [5]), scale=nn.Linear(1, 1, bias=False).double())
    loss = Equation(points(), lambda u: (u.y,), lambda x, y: learned.scale(y.value) - 1)
    assert jacobian_of_equation(learned, loss.terms[0]) is None
    r, J = residual_jacobian(learned, loss)
    wanted = torch.autograd.grad(loss(learned), list(learned.parameters()))
    torch.testing.assert_close(2 * J.T @ r, torch.cat([g.flatten() for g in wanted]))


def test_an_unknown_coefficient_is_found_with_the_solution():
    x = Interval(0, 1).sample(30, seed=0)
    y = lambda x: (2 * x).sin()  # noqa: E731  (y'' = -4 y)

    class Unknown(nn.Module):
        def __init__(self):
            super().__init__()
            self.coefficient = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))

    u = Unknown()
    loss = Equation(x, lambda u: (y,), lambda x, y: y.laplacian + u.coefficient * y.value)
    optsci.solve(gauss_newton(u, loss), tol=1e-10, max_iter=20)
    assert u.coefficient.item() == pytest.approx(4, abs=1e-9)


def test_gauss_newton_solves_a_coupled_nonlinear_system():
    # y'' = p, p'' = 24 + y^2 - x^8 with y = x^4 and p = 12 x^2 on (0, 1)
    x = Interval(0, 1).sample(60, seed=0)
    u = Fields(
        y=BoundaryAnsatz(MLP(1, [16], seed=0), lambda x: x, lambda x: x * (1 - x)),
        p=BoundaryAnsatz(MLP(1, [16], seed=1), lambda x: 12 * x, lambda x: x * (1 - x)),
    )
    loss = Equation(x, lambda u: (u.y, u.p), lambda x, y, p: y.laplacian - p.value) + Equation(
        x, lambda u: (u.y, u.p), lambda x, y, p: p.laplacian - 24 - y.value**2 + x**8
    )
    optsci.solve(gauss_newton(u, loss), tol=None, max_iter=40)
    t = torch.linspace(0, 1, 201, dtype=torch.float64)[:, None]
    assert (u.y(t) - t**4).abs().max() < 5e-5
    assert (u.p(t) - 12 * t**2).abs().max() < 5e-4


def test_bad_input_is_refused_in_a_sentence():
    x = points()
    with pytest.raises(ValueError, match=r"axes must be different coordinates out of 0 to 1, got \(2,\)"):
        Equation(x, lambda u: (u,), strange, axes=(2,))
    with pytest.raises(TypeError, match="fields and residual must be functions, got MLP and float"):
        Equation(x, MLP(2, [3]), 0.0)
    with pytest.raises(TypeError, match=r"fields must return functions, as in .*, got float"):
        Equation(x, lambda u: (u, 1.0), strange)(MLP(2, [3]))
    with pytest.raises(
        ValueError, match=r"residual must return \(9, 1\) or \(9,\), one number for every point, got \(\)"
    ):
        Equation(x, lambda u: (u,), lambda x, u: u.value.sum())(MLP(2, [3]))
    with pytest.raises(TypeError, match="y must be a module, such as MLP"):
        Fields(y=lambda x: x)
    stray = MLP(2, [3])
    with pytest.raises(ValueError, match="one of them is not part of u"):
        residual_jacobian(Fields(y=MLP(2, [3])), Equation(x, lambda u: (stray,), lambda x, u: u.value))
    with pytest.raises(ValueError, match=r"u is torch\.float32"):
        Equation(x, lambda u: (u,), lambda x, u: u.value)(MLP(2, [3], dtype=torch.float32))
