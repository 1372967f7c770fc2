"""Networks, features and the ansatz for boundary conditions: what they promise, and what they refuse."""

import math

import pytest
import torch
from torch import nn

from optsci.pinn import MLP, Ball, BoundaryAnsatz, Box, FourierFeatures, HalfSpace, PeriodicFeatures, gradient
from optsci.pinn.derivatives import start


def test_a_network_is_its_formula():
    box = Box((0.0, -1.0), (2.0, 3.0))
    u = MLP(2, [4], 1, scale=5.0, box=box, seed=3)
    x = box.sample(6, 0)
    inside = (x - torch.tensor([1.0, 1.0])) / torch.tensor([1.0, 2.0])
    expected = 5 * (torch.tanh(inside @ u.weights[0].T + u.biases[0]) @ u.weights[1].T + u.biases[1])
    torch.testing.assert_close(u(x), expected, rtol=1e-13, atol=1e-14)


def test_weights_are_glorot_normal_and_belong_to_their_seed():
    u = MLP(300, [500], seed=1)
    z = (u.weights[0].var() / (2 / 800) - 1) / math.sqrt(2 / (300 * 500))
    assert abs(z) < 5  # fails for one seed in two million
    assert all(torch.equal(a, b) for a, b in zip(u.parameters(), MLP(300, [500], seed=1).parameters(), strict=True))
    assert not torch.equal(u.weights[0], MLP(300, [500], seed=2).weights[0])
    single = MLP(300, [500], seed=1, dtype=torch.float32)
    torch.testing.assert_close(single.weights[0].double(), u.weights[0], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: MLP(0, [4]), "inputs, hidden and outputs must be integers of at least 1, got 0"),
        (lambda: MLP(2, [4, 0]), "inputs, hidden and outputs must be integers of at least 1"),
        (lambda: MLP(2, [4.0]), "inputs, hidden and outputs must be integers"),
        (lambda: MLP(2, [4], scale=0.0), "scale must be finite and not 0, got 0.0"),
        (lambda: MLP(2, [4], box=Ball(dim=3)), "box must be a bounded domain in 2 dimensions"),
        (lambda: MLP(2, [4], box=HalfSpace((1.0, 0.0), 0.0)), "box must be a bounded domain in 2 dimensions"),
        (lambda: FourierFeatures(2, 0), "inputs and count must be at least 1, got 2 and 0"),
        (lambda: FourierFeatures(2, 4, scale=-1.0), "scale must be finite and positive, got -1.0"),
        (lambda: PeriodicFeatures([None, None]), "periods must hold at least one number"),
        (lambda: PeriodicFeatures([0.0]), "periods must be finite and positive, or None"),
        (
            lambda: BoundaryAnsatz(MLP(2, [4]), [1.0, 2.0], torch.norm),
            r"lift must be a single number, got shape \(2,\)",
        ),
        (lambda: BoundaryAnsatz(MLP(2, [4]), math.nan, torch.norm), "lift must be finite, or a function of points"),
    ],
)
def test_bad_arguments_are_refused_in_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize("u", [MLP(2, [4]), FourierFeatures(2, 3), PeriodicFeatures([1.0, None])])
@pytest.mark.parametrize("d", [1, 3])
def test_points_of_another_dimension_are_refused(u, d):
    x = torch.zeros(5, d, dtype=torch.float64)
    for call in (u, lambda x: u.jet(start(x, x[None], x))):
        with pytest.raises(ValueError, match=rf"points must have the 2 coordinates .* got \(5, {d}\)"):
            call(x)


@pytest.mark.parametrize("activation", [torch.tanh, nn.Tanh(), nn.Tanh, lambda h, out: h])
def test_an_activation_without_derivatives_is_refused(activation):
    with pytest.raises(TypeError, match=r"activation must .* Derivatives, as optsci\.pinn\.tanh does"):
        MLP(2, [4], activation=activation)


def test_widths_are_a_list():
    with pytest.raises(TypeError, match=r"hidden must be a list of widths, such as \[64, 64\], got 64"):
        MLP(2, 64)


def test_an_ansatz_says_what_is_wrong_with_its_functions():
    with pytest.raises(TypeError, match=r"distance must be a function of points, such as domain\.vanishing, got 1\.0"):
        BoundaryAnsatz(MLP(2, [4]), 0.0, 1.0)
    u = BoundaryAnsatz(MLP(2, [4]), 0.0, lambda x: x[:, 0])
    with pytest.raises(ValueError, match=r"distance must return \(5, 1\) at points \(5, 2\), got \(5,\)"):
        u(torch.zeros(5, 2, dtype=torch.float64))
    flat = nn.Sequential(nn.Linear(2, 1, dtype=torch.float64), nn.Flatten(0))
    u = BoundaryAnsatz(flat, 0.0, lambda x: x[:, :1])
    with pytest.raises(ValueError, match=r"net must return \(5, 1\) at points \(5, 2\), got \(5,\)"):
        u(torch.zeros(5, 2, dtype=torch.float64))


def test_an_ansatz_holds_on_the_boundary_whatever_the_network():
    disk = Ball(dim=2)
    x, _ = disk.sample_boundary(50, 0)
    u = BoundaryAnsatz(MLP(2, [8], scale=100.0), lift=lambda x: x[:, :1] ** 2 - x[:, 1:] ** 2, distance=disk.vanishing)
    torch.testing.assert_close(u(x).detach(), x[:, :1] ** 2 - x[:, 1:] ** 2, rtol=0, atol=1e-12)


def test_modules_in_an_ansatz_are_trained_and_moved_with_it():
    lift = MLP(2, [3])
    u = BoundaryAnsatz(MLP(2, [4]), lift, Ball(dim=2).vanishing)
    assert {id(p) for p in lift.parameters()} < {id(p) for p in u.parameters()}
    assert u.float()(torch.zeros(3, 2)).dtype == torch.float32


def test_periodic_features_repeat_values_and_gradients():
    u = nn.Sequential(PeriodicFeatures([None, 0.7, 2.0]), MLP(5, [8]))
    x = Box((0.0,) * 3, (1.0,) * 3).sample(9, 0)
    moved = x + torch.tensor([0.0, 3 * 0.7, -2.0], dtype=torch.float64)
    torch.testing.assert_close(u(moved), u(x), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(gradient(u, moved), gradient(u, x), rtol=1e-11, atol=1e-12)
    assert (u(x + torch.tensor([0.1, 0.0, 0.0], dtype=torch.float64)) - u(x)).abs().min() > 0


def test_frequencies_have_their_scale():
    features = FourierFeatures(50, 400, scale=3.0, seed=4)
    z = (features.frequencies.var() / 9 - 1) / math.sqrt(2 / (50 * 400))
    assert abs(z) < 5  # fails for one seed in two million
    assert features.outputs == 800
    x = torch.randn(3, 50, dtype=torch.float64)
    torch.testing.assert_close(features(x).square().sum(1), torch.full((3,), 400.0, dtype=torch.float64))
