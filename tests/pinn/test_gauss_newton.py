"""Gauss-Newton and natural gradient steps: linear least squares in one step, the damped systems, and their ends."""

from itertools import pairwise

import pytest
import torch
from torch import nn

import optsci
from optsci.pinn import (
    MLP,
    Data,
    EachStep,
    Interval,
    Loss,
    Squares,
    gauss_newton,
    jacobian_operator,
    kernel_spectrum,
    natural_gradient,
    residual_jacobian,
)
from optsci.pinn.damped_steps import DampedSteps
from optsci.pinn.parameter_vectors import Ended, set_vector, to_vector


class Line(nn.Module):
    """u = w . x + b, linear in its parameters."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2, 1, dtype=torch.float64))
        self.b = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, x):
        return x @ self.w + self.b


class Point(nn.Module):
    """A u that is its own parameter."""

    def __init__(self, *x):
        super().__init__()
        self.x = nn.Parameter(torch.tensor(x, dtype=torch.float64))


def regression(seed=0, n=12):
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 2, generator=random, dtype=torch.float64)
    return Data(x, torch.randn(n, 1, generator=random, dtype=torch.float64))


def minimum(loss):
    """Return the parameters of the least squares solution, by QR."""
    r, J = residual_jacobian(Line(), loss)
    return torch.linalg.lstsq(J, -r[:, None]).solution[:, 0]


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (5, 5)])
@pytest.mark.parametrize("mu", [1e-6, 1.0])
def test_both_systems_give_the_step_of_the_normal_equations(shape, mu):
    random = torch.Generator().manual_seed(1)
    J = torch.randn(shape, generator=random, dtype=torch.float64)
    r = torch.randn(shape[0], generator=random, dtype=torch.float64)
    expected = torch.linalg.solve(J.T @ J + mu * torch.eye(shape[1]), J.T @ r)
    d, taken = DampedSteps(J).solve(r, mu)
    assert taken == mu
    torch.testing.assert_close(d, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("shape", [(400, 900), (900, 400)])
def test_conjugate_gradients_give_the_step_that_factoring_gives(shape):
    random = torch.Generator().manual_seed(2)
    J = torch.randn(shape, generator=random, dtype=torch.float64) * torch.logspace(0, -4, shape[1])
    r = torch.randn(shape[0], generator=random, dtype=torch.float64)
    expected, _ = DampedSteps(J).solve(r, 1e-5)
    d, _ = DampedSteps(J, largest=100).solve(r, 1e-5)
    assert (d - expected).norm() <= 1e-4 * expected.norm()


def test_damping_rises_until_the_factorisation_succeeds():
    J = torch.ones(3, 5, dtype=torch.float64)
    d, mu = DampedSteps(J).solve(torch.ones(3, dtype=torch.float64), 0.0)
    assert 0 < mu < 1e-12
    torch.testing.assert_close(d, torch.full((5,), 0.2, dtype=torch.float64), rtol=1e-6, atol=0)


def test_a_jacobian_of_nan_is_refused():
    with pytest.raises(ValueError, match="the Jacobian holds NaN or infinite entries"):
        DampedSteps(torch.full((2, 3), torch.nan)).solve(torch.ones(2), 1.0)


def test_linear_least_squares_take_one_step_without_damping():
    u, loss = Line(), regression()
    state = next(gauss_newton(u, loss, damping=0.0))
    torch.testing.assert_close(to_vector(u), minimum(loss), rtol=1e-10, atol=1e-12)
    assert state.gain == pytest.approx(1)
    assert state.damping == 0


def test_a_natural_gradient_of_little_damping_takes_one_step_too():
    u, loss = Line(), regression()
    state = next(natural_gradient(u, loss, damping=1e-14))
    torch.testing.assert_close(to_vector(u), minimum(loss), rtol=1e-8, atol=1e-10)
    assert state.step == 1


def test_much_damping_makes_a_step_along_the_gradient():
    u, loss = Line(), regression()
    r, J = residual_jacobian(u, loss)
    next(gauss_newton(u, loss, damping=1e8))
    torch.testing.assert_close(-1e8 * to_vector(u), J.T @ r, rtol=1e-6, atol=0)


def rosenbrock():
    return Loss((Squares(lambda u: torch.stack((10 * (u.x[1] - u.x[0] ** 2), 1 - u.x[0])), weight=2.0),))


def test_rosenbrock_ends_at_its_minimum_quadratically():
    u = Point(-1.2, 1.0)
    states = list(gauss_newton(u, rosenbrock()))
    torch.testing.assert_close(u.x.detach(), torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-9)
    assert states[-1].reason in (Ended.STATIONARY, Ended.NO_LOWER_LOSS)
    assert len(states) < 60
    losses = [float(s.loss) for s in states]
    assert all(b <= a for a, b in pairwise(losses))


def test_steps_stay_where_the_residuals_are_finite():
    u = Point(0.9)
    loss = Loss((Squares(lambda u: (u.x - 3) ** 2 + (2 - u.x).sqrt() * 0),))  # NaN beyond 2
    states = list(gauss_newton(u, loss, damping=0.0))
    assert states[-1].reason is Ended.NO_LOWER_LOSS
    assert 1.99 < u.x.item() <= 2
    assert (u.x - 3).pow(4).item() == pytest.approx(states[-1].loss.item())


def test_a_loss_without_values_ends_at_once():
    u = Point(1.0)
    states = list(gauss_newton(u, Loss((Squares(lambda u: u.x * float("nan")),))))
    assert [s.reason for s in states] == [Ended.NOT_FINITE]
    assert u.x.item() == 1


def test_a_stationary_point_says_so():
    u, loss = Line(), regression()
    set_vector(u, torch.zeros(3))
    states = list(gauss_newton(u, Loss(tuple(term.scaled(0.0) for term in loss.terms))))
    assert [s.reason for s in states] == [Ended.STATIONARY]


def test_fresh_points_at_every_step_fit_a_function_on_the_whole_interval():
    domain = Interval(-1.0, 1.0)

    def batch(k):
        x = domain.sample(30, seed=k)
        return Data(x, (3 * x).sin())

    u = MLP(1, [12], 1)
    optsci.solve(natural_gradient(u, EachStep(batch), damping=1e-8), tol=None, max_iter=40)
    x = torch.linspace(-1, 1, 200, dtype=torch.float64)[:, None]
    assert (u(x) - (3 * x).sin()).abs().max() < 1e-2


def test_natural_gradients_end_at_the_minimum_and_say_so():
    u, loss = Line(), regression()
    states = list(natural_gradient(u, loss, damping=1e-12))
    torch.testing.assert_close(to_vector(u), minimum(loss), rtol=1e-10, atol=1e-12)
    assert states[-1].reason is Ended.NO_LOWER_LOSS
    assert len(states) < 10


def test_natural_gradients_end_where_there_is_no_value():
    u = Point(1.0)
    run = optsci.solve(natural_gradient(u, Loss((Squares(lambda u: u.x * float("nan")),))))
    assert run.state.reason is Ended.NOT_FINITE
    assert run.status is optsci.Status.NON_FINITE
    assert u.x.item() == 1


def test_momentum_is_the_proximal_step_from_the_last_direction():
    u, loss = Line(), regression()
    states = natural_gradient(u, loss, damping=0.1, momentum=0.9)
    first = next(states)
    r, J = residual_jacobian(u, loss)
    second = next(states)
    # argmin |J d - r|^2 + mu |d - beta d_1|^2
    left = J.T @ J + second.damping * torch.eye(3, dtype=torch.float64)
    expected = torch.linalg.solve(left, J.T @ r + second.damping * 0.9 * first.direction)
    torch.testing.assert_close(second.direction, expected, rtol=1e-10, atol=1e-12)


def test_bad_input_is_refused_in_a_sentence():
    u, loss = Line(), regression()
    with pytest.raises(ValueError, match="damping must be finite and at least 0, got -1"):
        gauss_newton(u, loss, damping=-1)
    with pytest.raises(ValueError, match="damping must be positive or a function of the loss, got 0"):
        natural_gradient(u, loss, damping=0)
    with pytest.raises(ValueError, match="momentum must be from 0 to below 1, got 1"):
        natural_gradient(u, loss, momentum=1)


@pytest.mark.parametrize("algorithm", [gauss_newton, natural_gradient])
def test_a_loss_without_gradient_ends_at_once(algorithm):
    run = optsci.solve(algorithm(Line(), 0.0 * regression()), tol=None, max_iter=5)
    assert (run.state.reason, run.iterations) == (Ended.STATIONARY, 1)
    assert not to_vector(run.x).any()


def test_a_jacobian_of_zeros_gives_a_step_of_zeros():
    d, _ = DampedSteps(torch.zeros(3, 5, dtype=torch.float64)).solve(torch.ones(3, dtype=torch.float64), 0.0)
    assert not d.any()


@pytest.mark.parametrize("use", [gauss_newton, natural_gradient, residual_jacobian, jacobian_operator, kernel_spectrum])
def test_a_function_without_residuals_is_refused(use):
    with pytest.raises(TypeError, match=r"loss must be a Loss, such as Residual\(problem, 100\), got function"):
        use(Line(), lambda u: regression()(u))


def test_the_damping_of_a_function_is_looked_at():
    with pytest.raises(ValueError, match=r"damping must be positive at the loss .*, got -1"):
        next(natural_gradient(Line(), regression(), damping=lambda loss: -1))
