"""Weights of terms and points, and points drawn by their residuals, against closed forms."""

from functools import partial

import pytest
import torch

from optsci.pinn import (
    MLP,
    Boundary,
    Data,
    Interval,
    Poisson,
    Residual,
    gradient_norm_weights,
    moving_average,
    ntk_trace_weights,
    rad,
    rar,
    residual_jacobian,
    self_adaptive,
    weighted,
)
from optsci.pinn.parameter_vectors import value_and_gradient

PROBLEM = Poisson(Interval(0.0, 1.0), source=lambda x: x[0])


def pinn():
    return MLP(1, [8], 1), Residual(PROBLEM, 30) + Boundary(PROBLEM, 10) + Data(
        *torch.tensor([[[0.5]], [[1.0]]], dtype=torch.float64)
    )


def test_weighted_gradients_are_equally_long():
    u, loss = pinn()
    better = weighted(loss, gradient_norm_weights(u, loss))
    norms = [value_and_gradient(u, lambda u, i=i: better.values(u)[i])[1].norm() for i in range(3)]
    total = sum(value_and_gradient(u, lambda u, i=i: loss.values(u)[i])[1].norm() for i in range(3))
    torch.testing.assert_close(torch.stack(norms), total.expand(3), rtol=1e-10, atol=0)


def test_weighted_kernels_have_equal_traces():
    u, loss = pinn()
    better = weighted(loss, ntk_trace_weights(u, loss))
    _, J = residual_jacobian(u, better)
    _, J_before = residual_jacobian(u, loss)
    traces = [part.square().sum() for part in J.split([30, 10, 1])]
    torch.testing.assert_close(torch.stack(traces), J_before.square().sum().expand(3), rtol=1e-10, atol=0)


def test_a_term_without_gradient_keeps_its_weight():
    u = MLP(1, [4], 1)
    x = torch.ones(2, 1, dtype=torch.float64)
    weights = gradient_norm_weights(u, Data(x, u(x).detach()) + Data(x, x))
    assert weights[0] == 1
    assert weights[1] == 1


def test_self_adaptive_weights_ascend_their_loss():
    torch.manual_seed(0)
    weights, r = torch.rand(5, dtype=torch.float64).requires_grad_(), torch.randn(5, dtype=torch.float64)
    (slope,) = torch.autograd.grad((weights**2 * r**2).sum(), weights)
    torch.testing.assert_close(self_adaptive(weights, r, lr=0.1), weights + 0.1 * slope)


def zero(x):
    return 0 * x


def test_refinement_takes_the_points_of_largest_residual():
    candidates = PROBLEM.domain.sample(50, seed=0)  # |r| = x where u = 0
    chosen = rar(zero, partial(Residual, PROBLEM), candidates, 7)
    assert torch.equal(chosen, candidates.sort(0, descending=True).values[:7])


def test_the_distribution_has_its_density():
    # |r| = x on [0, 1]: one draw has the density (2 x + c) / (1 + c), with c = 1 and the mean 7/12, variance 11/144
    candidates = torch.linspace(0, 1, 1001, dtype=torch.float64)[:, None]
    draws = [rad(zero, partial(Residual, PROBLEM), candidates, 1, seed=seed) for seed in range(400)]
    z = (torch.stack(draws).mean() - 7 / 12) / (11 / 144 / 400) ** 0.5
    assert abs(z) < 4  # false alarm: 6e-5


def test_no_candidate_is_drawn_twice_and_all_are_drawn_in_the_end():
    candidates = PROBLEM.domain.sample(20, seed=0)
    everything = rad(zero, partial(Residual, PROBLEM), candidates, 20, k=3.0, c=0.0)
    assert torch.equal(everything.sort(0).values, candidates.sort(0).values)


def test_bad_input_is_refused_in_a_sentence():
    u, loss = pinn()
    candidates = PROBLEM.domain.sample(20, seed=0)
    with pytest.raises(ValueError, match="n must be from 1 to the number of candidates, 20, got 21"):
        rar(u, partial(Residual, PROBLEM), candidates, 21)
    with pytest.raises(ValueError, match="c must be at least 0, got -1"):
        rad(u, partial(Residual, PROBLEM), candidates, 2, c=-1)
    with pytest.raises(ValueError, match="weights must be 3 numbers, one for every term, got 2"):
        weighted(loss, [1.0, 2.0])
    with pytest.raises(ValueError, match="weights must be finite and at least 0, got -1"):
        weighted(loss, [1.0, 2.0, -1.0])
    with pytest.raises(ValueError, match="decay must be from 0 to below 1, got 1"):
        moving_average([1.0], torch.ones(1), decay=1)
    with pytest.raises(ValueError, match="lr must be positive, got 0"):
        self_adaptive(torch.ones(1), torch.ones(1), lr=0)
    with pytest.raises(ValueError, match="finite residuals at all candidates"):
        rar(lambda x: x * float("nan"), partial(Residual, PROBLEM), candidates, 2)


def test_weights_of_points_have_the_shape_of_the_residuals():
    with pytest.raises(ValueError, match=r"weights must have the shape \(3,\) of residuals, got \(3, 1\)"):
        self_adaptive(torch.ones(3, 1), torch.ones(3), lr=0.1)


def test_candidates_have_one_residual_each():
    x = PROBLEM.domain.sample(5, 0)
    with pytest.raises(ValueError, match="condition must give one residual for each of 5 candidates, got 10"):
        rar(lambda x: 0 * x, lambda x: Residual(PROBLEM, x) + Data(x, 0.0), x, 2)
