"""Jets against differentiation twice, and operators against formulas."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from optsci.pinn import (
    MLP,
    BoundaryAnsatz,
    Rows,
    cosine,
    divergence,
    generator,
    gradient,
    hessian,
    laplacian,
    sine,
    tanh,
)
from optsci.pinn.derivatives import by_autograd, has_jet, jet, jet_by_autograd, start
from pinn_networks import coefficients, moved, networks


@pytest.mark.parametrize("name", networks())
@pytest.mark.parametrize("m", [0, 1, 2])
def test_jets_are_what_differentiating_twice_gives_and_so_are_their_gradients(name, m):
    u = moved(networks()[name])
    x, sigma, drift, _, _ = coefficients(6, 2, m)
    x = 0.4 * x
    assert has_jet(u)
    value, second = generator(u, x, sigma, drift)
    expected = by_autograd(u, x, sigma, drift)
    torch.testing.assert_close(value, expected[0], rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(second, expected[1], rtol=1e-11, atol=1e-12)
    ours = torch.autograd.grad(second.square().sum(), list(u.parameters()), materialize_grads=True, allow_unused=True)
    theirs = torch.autograd.grad(
        expected[1].square().sum(), list(u.parameters()), materialize_grads=True, allow_unused=True
    )
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11)


class Squared(MLP):
    """A function that has not the jet of its class any more."""

    def forward(self, x):
        return super().forward(x) ** 2


class SquaredSequence(torch.nn.Sequential):
    def forward(self, x):
        return super().forward(x) ** 2


class SquaredAnsatz(BoundaryAnsatz):
    def forward(self, x):
        return super().forward(x) ** 2


def hooked():
    u = MLP(2, [5])
    u.register_forward_hook(lambda module, x, value: value**2)
    return u


@pytest.mark.parametrize(
    "u",
    [
        Squared(2, [5]),
        SquaredSequence(MLP(2, [5])),
        SquaredAnsatz(MLP(2, [5]), 1.0, lambda x: x[:, :1]),
        hooked(),
        BoundaryAnsatz(hooked(), 1.0, lambda x: x[:, :1]),
        torch.nn.Sequential(MLP(2, [5], 2), Squared(2, [5])),
    ],
)
def test_what_changes_a_function_is_seen_by_derivatives_and_losses(u):
    moved(u)
    x, sigma, drift, zeroth, target = coefficients(6, 2, 2)
    found, wanted = generator(u, x, sigma, drift), by_autograd(u, x, sigma, drift)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)
    rows = Rows(x, sigma, drift, zeroth, target, torch.ones_like(target))
    torch.testing.assert_close(rows.value(u), (wanted[1] + zeroth * wanted[0] - target).square().sum())


@pytest.mark.parametrize("operator", [gradient, hessian, laplacian])
@pytest.mark.parametrize("u", [lambda x: x, lambda x: x.sum(), lambda x: 0.0])
def test_derivatives_of_what_is_no_column_are_refused(operator, u):
    with pytest.raises(ValueError, match=r"u must return \(3, 1\) at points \(3, 2\), got"):
        operator(u, torch.ones(3, 2, dtype=torch.float64))


def test_the_divergence_is_that_of_a_field():
    with pytest.raises(ValueError, match=r"v must return \(3, 2\), the shape of its points, got \(3, 1\)"):
        divergence(lambda x: x[:, :1], torch.ones(3, 2))


def test_the_slopes_of_a_jet_are_derivatives_along_the_columns():
    u = moved(MLP(2, [8]))
    x, sigma, drift, _, _ = coefficients(6, 2, 3)
    for found in (jet(u, start(x, sigma, drift)), jet_by_autograd(u, start(x, sigma, drift))):
        torch.testing.assert_close(found.slopes[..., 0], (gradient(u, x) * sigma).sum(2), rtol=1e-12, atol=1e-13)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 4), st.integers(0, 4), st.integers(0, 10**6))
def test_the_operator_of_a_quadratic_function(d, m, seed):
    x, sigma, drift, _, _ = coefficients(5, d, m, seed)
    A = torch.randn(d, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    _, second = generator(lambda x: ((x @ A) * x).sum(1, keepdim=True), x, sigma, drift)
    expected = torch.einsum("mni,ij,mnj->n", sigma, A, sigma) + torch.einsum("ni,ij,nj->n", drift, A + A.T, x)
    torch.testing.assert_close(second[:, 0], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("activation", [tanh, sine, cosine])
def test_activations_know_their_derivatives(activation):
    h = torch.linspace(-3, 3, 31, dtype=torch.float64, requires_grad=True)
    found = activation(h)
    for value, derivative in pairwise(found):
        (expected,) = torch.autograd.grad(value.sum(), h, retain_graph=True)
        torch.testing.assert_close(derivative, expected, rtol=1e-12, atol=1e-13)
    memory = type(found)(*torch.empty(4, 31, dtype=torch.float64))
    with torch.no_grad():
        for part, lent, expected in zip(activation(h, memory), memory, found, strict=True):
            assert part.data_ptr() == lent.data_ptr()
            torch.testing.assert_close(part, expected.detach(), rtol=0, atol=0)


def test_hessian_divergence_and_laplacian_of_one_function():
    u = moved(MLP(3, [6]))
    x = coefficients(4, 3, 0)[0]
    H = hessian(u, x)
    torch.testing.assert_close(H, H.mT)
    trace = H.diagonal(dim1=1, dim2=2).sum(1, keepdim=True)
    torch.testing.assert_close(laplacian(u, x), trace, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(divergence(lambda x: gradient_with_graph(u, x), x), trace, rtol=1e-12, atol=1e-13)


def gradient_with_graph(u, x):
    return torch.autograd.grad(u(x).sum(), x, create_graph=True)[0]


def test_gradients_in_parameters_outside_of_u_are_kept():
    speed = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    x, sigma, drift, _, _ = coefficients(4, 2, 2)
    u = BoundaryAnsatz(MLP(2, [4]), lift=lambda x: speed * x[:, :1] ** 3, distance=lambda x: x[:, 1:])
    generator(u, x, sigma, drift)[1].sum().backward()
    expected = 3 * (x[:, 0] * sigma[..., 0].square().sum(0) + drift[:, 0] * x[:, 0] ** 2).sum()
    torch.testing.assert_close(speed.grad, expected)
