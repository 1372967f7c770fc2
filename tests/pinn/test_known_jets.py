"""Fixed functions at fixed points, whose derivatives are found once: the same jets, Jacobians and steps of training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import optsci
from optsci.pinn import MLP, BoundaryAnsatz, EachStep, Equation, Fields, FourierFeatures, PeriodicFeatures, gauss_newton
from optsci.pinn.ansatz import jet_of
from optsci.pinn.derivatives import start
from optsci.pinn.jacobians import jacobian_by_autograd, jacobian_of_equation
from optsci.pinn.known_jets import KnownJet, with_known_jets

X = torch.rand(7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
FUNCTIONS = {
    "a formula": lambda x: (x[:, :1] * x[:, 1:2]).sin() * x[:, 2:].exp(),
    "a constant": lambda x: torch.ones_like(x[:, :1]),
    "features": nn.Sequential(FourierFeatures(3, 4), PeriodicFeatures([1.0] + [None] * 7)),
}


def near(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-11 * float(wanted.abs().max()))


@pytest.mark.parametrize("axes", [(0, 1, 2), (1,), (2, 0)], ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_known_jets_are_those_of_the_function(name, axes):
    f, drift = FUNCTIONS[name], X.flip(0) - 0.4
    columns = 2**0.5 * torch.eye(3, dtype=X.dtype)[list(axes)][:, None].expand(-1, 7, 3)
    known = KnownJet(f, X, axes)
    for of in (start(X, columns, drift), start(X, columns[:0], drift), start(2 * X, columns, drift)):
        for found, wanted in zip(known.jet(of), jet_of(f, of), strict=True):
            assert found.shape == wanted.shape
            if wanted.numel():
                near(found, wanted)


def hard(lift, distance, seed=0):
    net = MLP(5, [6], 1, seed=seed)
    return BoundaryAnsatz(nn.Sequential(PeriodicFeatures([1.0, 2.0, None]), net), lift, distance)


def coupled(u, axes=(0, 1)):
    def residual(x, y, p):
        return y.laplacian + y.gradient[:, 2:] * p.value + p.laplacian * x[:, :1] - y.value**2

    return Equation(X, lambda u: (u.y, u.p), residual, axes=axes)


def test_jacobians_with_known_jets_are_the_same_and_each_function_is_differentiated_once():
    differentiated = []

    def distance(x):
        differentiated.append(x.requires_grad)
        return (x[:, :1] * (1 - x[:, :1])).sin()

    u = Fields(y=hard(lambda x: x[:, :1] ** 3, distance), p=hard(0.5, distance, seed=1))
    loss = coupled(u)
    wanted = jacobian_by_autograd(u, loss.terms[0])
    (term,) = with_known_jets(loss, u).terms
    differentiated.clear()
    for found in (jacobian_of_equation(u, term), jacobian_by_autograd(u, term)):
        for a, b in zip(found, wanted, strict=True):
            near(a, b)
    assert differentiated
    assert not any(differentiated)


def test_training_takes_the_same_steps_as_without():
    def trained(how):
        u = Fields(y=hard(lambda x: x[:, :1] ** 3, lambda x: x[:, :1]), p=hard(0.5, lambda x: x[:, 1:2], seed=1))
        return optsci.solve(gauss_newton(u, how(coupled(u))), tol=None, max_iter=6, track={"loss": lambda s: s.loss})

    # the loss of a step is not prepared, as it may have other points in the next one
    found, wanted = (trained(how).history["loss"] for how in (lambda loss: loss, lambda loss: EachStep(lambda k: loss)))
    assert len(wanted) == 6
    assert found == pytest.approx(wanted, rel=1e-9)


def test_what_changes_or_is_trained_is_differentiated_anew():
    scale = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
    u = Fields(
        y=hard(lambda x: scale.detach() * x[:, :1] ** 2, lambda x: scale * x[:, 1:2]), p=hard(0.0, lambda x: x[:, 1:2])
    )
    u.y.register_parameter("scale", scale)
    loss = coupled(u)
    (term,) = with_known_jets(loss, u).terms
    with torch.no_grad():
        scale.fill_(3.0)
    for a, b in zip(jacobian_by_autograd(u, term), jacobian_by_autograd(u, loss.terms[0]), strict=True):
        near(a, b)


def test_hooks_of_a_network_are_kept():
    u = Fields(y=hard(0.0, lambda x: x[:, :1]), p=hard(0.0, lambda x: x[:, :1]))
    u.y.net.register_forward_hook(lambda module, inputs, output: 2 * output)
    loss = coupled(u)
    near(with_known_jets(loss, u).residuals(u).detach(), loss.residuals(u).detach())
