"""Spectra against dense matrices and closed forms."""

import pytest
import torch
from torch import nn

from optsci.pinn import (
    MLP,
    Boundary,
    Data,
    Interval,
    Poisson,
    Residual,
    hessian_density,
    hessian_extremes,
    kernel_spectrum,
    residual_jacobian,
)
from optsci.pinn.conditioning import hessian_product, lanczos


class Point(nn.Module):
    """A u that is its own parameter."""

    def __init__(self, n):
        super().__init__()
        self.x = nn.Parameter(torch.zeros(n, dtype=torch.float64))


def diagonal(values):
    u = Point(len(values))
    return u, lambda u: 0.5 * (values * u.x**2).sum() + u.x.sum()


def pinn():
    problem = Poisson(Interval(0.0, 1.0), source=lambda x: x[0])
    return MLP(1, [6], 1), Residual(problem, 12) + 10 * Boundary(problem, 4)


def dense_hessian(u, loss):
    product, size, like = hessian_product(u, loss)
    return torch.stack([product(e) for e in torch.eye(size).to(like)])


def test_kernel_eigenvalues_are_those_of_the_dense_kernel():
    u, loss = pinn()
    spectrum = kernel_spectrum(u, loss)
    _, J = residual_jacobian(u, loss)
    dense = torch.linalg.eigvalsh(J @ J.T).flip(0)[: len(spectrum.eigenvalues)]
    torch.testing.assert_close(spectrum.eigenvalues, dense, rtol=0, atol=1e-13 * float(dense[0]))
    assert spectrum.stable_rank == pytest.approx(float((J @ J.T).trace() / dense[0]), rel=1e-12)
    assert len(spectrum.eigenvalues) + spectrum.below_rounding == len(J) == 16


def test_no_condition_is_made_of_rounding_errors():
    x = torch.tensor([[0.3], [0.3], [0.7]], dtype=torch.float64)  # two rows of J are the same
    spectrum = kernel_spectrum(MLP(1, [6], 1), Data(x, x))
    assert spectrum.below_rounding == 1
    assert spectrum.kappa.isfinite().all()
    assert (spectrum.kappa >= 1).all()
    assert "1 of 3 eigenvalues below rounding" in str(spectrum)


def test_a_loss_without_influence_has_no_spectrum():
    u = MLP(1, [6], 1)
    x = torch.ones(1, 1, dtype=torch.float64)
    spectrum = kernel_spectrum(u, 0 * Data(x, x))
    assert (len(spectrum.eigenvalues), spectrum.below_rounding, str(spectrum)) == (0, 1, "K = 0")


def test_the_hessian_is_that_of_the_loss():
    u, loss = pinn()
    H = dense_hessian(u, loss)
    names = [name for name, _ in u.named_parameters()]

    def value(theta):
        parts = theta.split([p.numel() for p in u.parameters()])
        values = {n: part.view_as(p) for n, part, p in zip(names, parts, u.parameters(), strict=True)}
        return torch.func.functional_call(Value(u, loss), {f"u.{n}": v for n, v in values.items()})

    theta = torch.cat([p.detach().flatten() for p in u.parameters()])
    expected = torch.autograd.functional.hessian(value, theta)
    torch.testing.assert_close(H, expected, rtol=1e-9, atol=1e-9 * float(H.abs().max()))


class Value(nn.Module):
    def __init__(self, u, loss):
        super().__init__()
        self.u, self.loss = u, loss

    def forward(self):
        return self.loss.residuals(self.u).square().sum()


def test_extremes_are_those_of_the_dense_hessian():
    u, loss = pinn()
    found, exact = hessian_extremes(u, loss), torch.linalg.eigvalsh(dense_hessian(u, loss))
    scale = float(exact.abs().max())
    assert found.largest == pytest.approx(float(exact[-1]), rel=1e-10)
    assert found.smallest == pytest.approx(float(exact[0]), abs=1e-9 * scale)
    assert max(found.smallest_error, found.largest_error) < 1e-6 * scale


def test_few_steps_find_the_ends_within_the_errors_they_state():
    values = torch.cat((torch.linspace(-1, 1, 300, dtype=torch.float64), torch.tensor([-3.0, 10.0])))
    u, loss = diagonal(values)
    found = hessian_extremes(u, loss, steps=12)
    assert abs(found.largest - 10) <= found.largest_error + 1e-12
    assert abs(found.smallest + 3) <= found.smallest_error + 1e-12
    assert found.largest_error < 1e-6


def test_lanczos_stops_in_an_invariant_subspace():
    H = torch.diag(torch.tensor([1.0, 1.0, 4.0, 4.0], dtype=torch.float64))
    values, _, coupling = lanczos(lambda v: H @ v, torch.ones(4, dtype=torch.float64), 10)
    torch.testing.assert_close(values, torch.tensor([1.0, 4.0], dtype=torch.float64))
    assert coupling < 1e-12


def test_the_quadrature_is_exact_for_polynomials():
    values = torch.linspace(-2, 3, 9, dtype=torch.float64)
    u, loss = diagonal(values)
    steps = 3
    density = hessian_density(u, loss, probes=1, steps=steps, seed=4)
    v = torch.randn(9, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    for power in range(2 * steps):
        exact = (v**2 * values**power).sum() / v.square().sum()
        assert float(density.weights @ density.nodes**power) == pytest.approx(float(exact), rel=1e-10)


def test_the_density_has_the_mean_of_the_eigenvalues():
    values = torch.linspace(0, 1, 40, dtype=torch.float64)
    u, loss = diagonal(values)
    means = torch.tensor(
        [float(d.weights @ d.nodes) for d in (hessian_density(u, loss, probes=1, steps=3, seed=s) for s in range(60))]
    )
    z = (means.mean() - values.mean()) / (means.std() / 60**0.5)
    assert abs(z) < 4.5  # false alarm: 1e-5, Student's t with 59 degrees of freedom: 3e-5


def test_bad_input_is_refused_in_a_sentence():
    u, loss = pinn()
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        hessian_extremes(u, loss, steps=0)
    with pytest.raises(ValueError, match="probes must be at least 1, got 0"):
        hessian_density(u, loss, probes=0)
