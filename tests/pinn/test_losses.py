"""Losses as sums of squares, their gradients written out, and what they say to bad input."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from optsci.pinn import (
    MLP,
    Ball,
    Boundary,
    BoundaryAnsatz,
    Data,
    Loss,
    Neumann,
    Periodic,
    PeriodicFeatures,
    Poisson,
    Problem,
    Residual,
    Robin,
    Rows,
    Squares,
    UnitSquare,
    residual_jacobian,
    sketched,
)
from optsci.pinn.derivatives import by_autograd
from optsci.pinn.named_problems import mueller_brown_committor
from pinn_networks import conditions, moved, networks


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


def by_differentiating_twice(u, rows):
    if rows.drift is None:
        value, second = u(rows.points), 0.0
    else:
        value, second = by_autograd(u, rows.points, rows.sigma, rows.drift)
    return (rows.weight * (second + rows.zeroth * value - rows.target).square()).sum()


def gradient_in_parameters(value, u, **how):
    parts = torch.autograd.grad(value, list(u.parameters()), materialize_grads=True, allow_unused=True, **how)
    return torch.cat([part.flatten() for part in parts])


WRITTEN_OUT = ("MLP", "linear", "cosine", "own activation", "Fourier", "ansatz", "periodic ansatz")


@pytest.mark.parametrize("name", networks())
@pytest.mark.parametrize(("n", "m", "differentiated"), [(700, 2, True), (9, 1, True), (9, 0, True), (9, 0, False)])
def test_the_gradient_written_out_is_the_one_of_automatic_differentiation(name, n, m, differentiated):
    u, rows = moved(networks()[name]), conditions(n, m, differentiated)
    assert (rows.on_network(u) is not None) == (name in WRITTEN_OUT)
    (value,) = Loss((rows,)).values(u)
    expected = by_differentiating_twice(u, rows)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
    ours, theirs = gradient_in_parameters(3 * value, u), gradient_in_parameters(3 * expected, u)
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-12 * float(theirs.abs().max()))


def test_single_precision_keeps_its_digits_and_its_dtype():
    double, single = moved(MLP(2, [16, 16])), moved(MLP(2, [16, 16])).float()
    value = conditions(600, 2, dtype=torch.float32).value(single)
    expected = conditions(600, 2).value(double)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=0)
    ours, theirs = gradient_in_parameters(value, single).double(), gradient_in_parameters(expected, double)
    assert float((ours - theirs).norm() / theirs.norm()) < 1e-5


def test_without_gradients_the_value_is_the_same():
    u, rows = moved(MLP(2, [8])), conditions(20, 2)
    with torch.no_grad():
        value = rows.value(u)
    assert not value.requires_grad
    torch.testing.assert_close(value, rows.value(u).detach(), rtol=1e-13, atol=0)


def test_gradients_can_be_differentiated_again():
    u, rows = moved(networks()["periodic ansatz"]), conditions(9, 2)
    v = torch.randn(
        sum(p.numel() for p in u.parameters()), dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    products = []
    for value in (2 * rows.value(u), 2 * by_differentiating_twice(u, rows)):
        slope = gradient_in_parameters(value, u, create_graph=True) @ v
        products.append(gradient_in_parameters(slope, u))
    torch.testing.assert_close(*products, rtol=1e-9, atol=1e-11)


def test_a_shared_weight_is_counted_once_when_gradients_are_differentiated():
    u = moved(MLP(2, [6, 6, 6]))
    u.weights[2] = u.weights[1]
    rows = conditions(9, 2)
    expected = torch.autograd.grad(rows.residuals(u).square().sum(), list(u.parameters()))
    for keep in (False, True):
        found = torch.autograd.grad(rows.value(u), list(u.parameters()), create_graph=keep)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b)


def test_what_is_trained_outside_of_the_network_is_trained():
    speed = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    u, rows = BoundaryAnsatz(MLP(2, [4]), lambda x: speed * x[:, :1] ** 3, lambda x: x[:, 1:]), conditions(9, 2)
    assert rows.on_network(u) is None
    (ours,) = torch.autograd.grad(rows.value(u), speed)
    (theirs,) = torch.autograd.grad(by_differentiating_twice(u, rows), speed)
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=0)
    unknown = Rows(rows.points, rows.sigma, rows.drift, speed.expand(9, 1), rows.target, rows.weight)
    plain = MLP(2, [4])
    (ours,) = torch.autograd.grad(unknown.value(plain), speed)
    (theirs,) = torch.autograd.grad(by_differentiating_twice(plain, unknown), speed)
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=0)


def test_frozen_parameters_get_no_gradient_and_calls_with_others_get_theirs():
    u, rows = moved(MLP(2, [5, 4])), conditions(9, 2)
    u.weights[0].requires_grad_(False)
    rows.value(u).backward()
    assert u.weights[0].grad is None
    expected = torch.autograd.grad(by_differentiating_twice(u, rows), u.weights[1])[0]
    torch.testing.assert_close(u.weights[1].grad, expected, rtol=1e-11, atol=1e-13)
    values = {name: 2 * p.detach() for name, p in u.named_parameters()}
    other = torch.func.grad(lambda values: functional_value(u, rows, values))(values)["weights.1"]
    with torch.no_grad():
        for p in u.parameters():
            p *= 2
    expected = torch.autograd.grad(by_differentiating_twice(u, rows), u.weights[1])[0]
    torch.testing.assert_close(other, expected, rtol=1e-10, atol=1e-12)


def functional_value(u, rows, values):
    class Value(nn.Module):
        def __init__(self):
            super().__init__()
            self.u = u

        def forward(self):
            return rows.value(self.u)

    return torch.func.functional_call(Value(), {f"u.{name}": p for name, p in values.items()}, ())


def test_calls_in_turn_do_not_disturb_each_other():
    u, v, rows = moved(MLP(2, [8, 8]), 1), moved(MLP(2, [8, 8]), 2), conditions(30, 2)
    apart = [gradient_in_parameters(rows.value(w), w) for w in (u, v)]
    values = [rows.value(w) for w in (u, v)]
    for value, w, expected in zip(values, (u, v), apart, strict=True):
        torch.testing.assert_close(gradient_in_parameters(value, w), expected, rtol=0, atol=0)


def test_terms_are_means_and_weights_multiply_them():
    x = Ball(dim=2).sample(7, 1)
    twice = torch.cat((x, x))
    assert Data(twice, exact(twice))(lambda x: 0 * x[:, :1]).item() == pytest.approx(
        Data(x, exact(x))(lambda x: 0 * x[:, :1]).item()
    )
    assert (3 * Data(x, exact(x)))(lambda x: 0 * x[:, :1]).item() == pytest.approx(3 * exact(x).square().mean().item())
    squares = Loss((Squares(lambda u: u(x)),))
    assert (3 * squares)(exact).item() == pytest.approx(3 * exact(x).square().mean().item())


def test_normal_derivatives_and_robin_conditions_of_a_formula():
    x, inward = UnitSquare().sample_boundary(40, 0)
    slope = (inward * torch.cat((2 * x[:, :1], torch.ones_like(x[:, :1])), 1)).sum(1, keepdim=True)
    u = lambda x: x[:, :1] ** 2 + x[:, 1:]  # noqa: E731
    assert Neumann(x, inward, slope)(u).item() < 1e-28
    assert Neumann(x, inward)(u).item() == pytest.approx(slope.square().mean().item())
    alpha = 1 + x[:, 0]
    assert Robin(x, -inward, alpha, alpha[:, None] * u(x) - slope)(u).item() < 1e-28


def test_a_periodic_condition_compares_points_and_their_images():
    x = torch.rand(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    images = x + torch.tensor([1.0, 0.0])
    u = nn.Sequential(PeriodicFeatures([1.0, None]), MLP(3, [8]))
    assert Periodic(x, images)(u).item() < 1e-26
    assert Periodic(x, images, 5.0)(lambda x: x[:, :1]).item() == pytest.approx(5.0)


def test_a_sketch_has_the_same_residuals_in_the_mean():
    d, n = 6, 4000
    loss = Residual(Poisson(Ball(dim=d)), n)
    u = lambda x: (x[:, :1] + x[:, 1:2] + x[:, 2:3]) ** 2  # noqa: E731 - Laplacian 6, its estimates depend on signs
    r = n**0.5 * sketched(loss, 2, 1).residuals(u).detach()
    assert float(r.std()) > 1
    assert abs(float((r.mean() - 6) / (r.std() / n**0.5))) < 5  # fails for one seed in two million
    torch.testing.assert_close(sketched(loss, 6, 1).residuals(u), loss.residuals(u), rtol=0, atol=0)


def test_losses_follow_the_precision_of_their_points():
    x = Ball(dim=2).sample(9, 0).float()
    u = MLP(2, [4], dtype=torch.float32)
    loss = Residual(problem(), x) + Boundary(problem(), 9, dtype=torch.float32) + Neumann(x, x)
    assert loss(u).dtype == torch.float32


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: -1 * Residual(problem(), 5), "weight must be finite and at least 0, got -1"),
        (lambda: Residual(problem(), 5) * math.inf, "weight must be finite and at least 0, got inf"),
        (lambda: torch.ones(1, 2) * Residual(problem(), 5), "weight must be a single number, got shape \\(1, 2\\)"),
        (lambda: np.ones(2) * Residual(problem(), 5), "weight must be a single number, got shape \\(2,\\)"),
        (lambda: torch.ones((), requires_grad=True) * Residual(problem(), 5), "weight must be a constant"),
        (lambda: Residual(problem(), 5, weight=[1.0, 2.0]), "weight must be a number or 5 of them"),
        (lambda: Residual(problem(), 5, weight=float("inf")), "weight must be finite and at least 0"),
        (lambda: Residual(problem(), [[0.0, 0.0], [2.0, 0.0]]), r"1 of 2 do not: \[2.0, 0.0\]"),
        (lambda: Residual(problem(), torch.zeros(3, 3)), r"points must have shape \(n, 2\), got \(3, 3\)"),
        (lambda: Residual(problem(), torch.zeros(0, 2)), "points must not be empty"),
        (lambda: Residual(problem(), torch.full((1, 2), torch.nan)), "points must be finite, got nan"),
        (lambda: Data(torch.zeros(3, 2), torch.zeros(4)), r"values must be a number, \(3,\) or \(3, 1\), got \(4,\)"),
        (lambda: Data(torch.zeros(1, 2), [torch.inf]), "values must be finite, got inf"),
        (lambda: Data(torch.zeros(1, 2), [0.0], [-1.0]), "stderr must be at least 0, got -1.0"),
        (lambda: Data(torch.zeros(1, 2), torch.zeros(1).double()), "values is torch.float64"),
        (lambda: Data(torch.zeros(1, 2), 0.0, 1.0, floor=-1.0), "floor must be finite and at least 0, got -1.0"),
        (lambda: Boundary(problem(), [[1.0, 0.0], [0.5, 0.0]]), r"boundary, 1 of 2 do not: \[0.5, 0.0\]"),
        (lambda: Neumann(torch.zeros(3, 2), torch.zeros(2)), r"normals must have the shape \(3, 2\) of the points"),
        (lambda: Periodic(torch.zeros(3, 2), torch.zeros(2, 2)), r"images must have the shape \(3, 2\)"),
        (lambda: sketched(Residual(problem(), 5), 0, 0), "columns must be at least 1, got 0"),
        (lambda: Residual(problem(), 5)(MLP(2, [4], dtype=torch.float32)), "u is torch.float32 on cpu, the points"),
        (
            lambda: Data(torch.zeros(3, 2), 0.0)(lambda x: x[:, 0]),
            r"u must return \(3, 1\) at points \(3, 2\), got \(3,\)",
        ),
        (lambda: Data(torch.zeros(3, 2), 0.0)(lambda x: x[:1, :1]), r"u must return \(3, 1\) .* got \(1, 1\)"),
        (lambda: Data(torch.zeros(3, 2), 0.0)(lambda x: x[:, :1].numpy()), r"u must return \(3, 1\) .* got ndarray"),
        (lambda: Data(torch.zeros(3, 1).double(), 0.0)(MLP(2, [4])), "points must have the 2 coordinates"),
        (lambda: Residual(problem(), 5)(MLP(3, [4])), "points must have the 3 coordinates"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize("condition", [Residual, Boundary])
def test_a_problem_is_asked_for(condition):
    with pytest.raises(TypeError, match=r"problem must be a Problem, such as Poisson\(Ball\(dim=2\)\), got Ball"):
        condition(Ball(dim=2), 5)


def test_numbers_of_points_and_weights_may_be_those_of_numpy():
    loss = np.float64(2.0) * Residual(problem(), np.int64(5)) * torch.tensor(2.0)
    torch.testing.assert_close(loss.terms[0].weight, torch.full((5, 1), 0.8, dtype=torch.float64))


def test_lists_of_points_are_in_double_precision():
    u = MLP(2, [4])
    for loss in (Data([[0, 0]], [0.1], [0.1]), Neumann([[0, 1]], [[0, 1]]), Periodic([[0, 0]], [[0, 1]])):
        assert loss(u).dtype == torch.float64


def test_labels_that_are_exact_for_the_most_part_are_weighted_still():
    s = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0])  # median 0, mean 0.4
    weight = 5 * Data(torch.zeros(5, 2), 0.0, s).terms[0].weight[:, 0]
    torch.testing.assert_close(weight[0] / weight[-1], torch.tensor((1 + 0.4**2) / 0.4**2))


def test_coefficients_must_be_finite_where_they_are_used():
    singular = Problem(Ball(dim=2), source=lambda x: 1 / x[0])
    with (
        pytest.raises(ValueError, match=r"source is not finite at the point \[0.0, 0.5\]"),
        pytest.warns(RuntimeWarning),
    ):
        Residual(singular, [[0.0, 0.5]])
    flat = Problem(Ball(dim=2), diffusion=lambda x: x[0] ** 2)
    with pytest.raises(ValueError, match=r"diffusion must be positive definite, is not at the point \[0.0, 0.5\]"):
        Residual(flat, [[0.0, 0.5]])


def test_points_of_a_problem_with_walls_lie_between_them():
    problem = mueller_brown_committor()
    interior, absorbing = Residual(problem, 50).terms[0].points, Boundary(problem, 50).terms[0].points
    assert problem.region.contains(interior).all()
    nearest = torch.minimum(
        *((absorbing - torch.tensor(c, dtype=torch.float64)).norm(dim=1) for c in ((-0.558, 1.441), (0.623, 0.028)))
    )
    torch.testing.assert_close(nearest, torch.full_like(nearest, 0.1), rtol=1e-12, atol=0)
    with pytest.raises(ValueError, match="points must lie in the domain, 1 of 1 do not"):
        Residual(problem, torch.tensor([[-1.6, 0.0]]).double())
