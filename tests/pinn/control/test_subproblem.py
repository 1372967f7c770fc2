"""The prox by training: against one known in closed form, its rule of inexactness, and the core's ADMM around it."""

import math
import re

import pytest
import torch
from torch import nn

import optsci
from optsci import Box, Status, TotalVariation1D
from optsci.pinn import MLP, Data, Loss, Squares, adam, lbfgs
from optsci.pinn.control import Subproblem, Summable, largest_gradient

N, ALPHA = 7, 0.3
NODES = torch.linspace(0, 1, N, dtype=torch.float64)[:, None]
TARGET = (3 * NODES).sin() + 0.4


class Pair(nn.Module):
    """State and adjoint that are their own parameters."""

    def __init__(self):
        super().__init__()
        self.y, self.p = (nn.Parameter(torch.zeros(N, 1, dtype=torch.float64)) for _ in range(2))


def identity_control(**options) -> Subproblem:
    """F(S u) = 1/2 |u + u^3 - y_d|^2 + alpha/2 |u|^2: the equation y = u + u^3 instead of a differential one."""
    fields = Pair()

    def control(v, step):
        return (v - step * fields.p) / (1 + step * ALPHA)

    def loss(v, step):
        def rows(u):
            w = control(v, step)
            return torch.cat([u.y - w - w**3, u.p - (1 + 3 * w**2) * (u.y - TARGET)])

        return Loss((Squares(rows),))

    return Subproblem(NODES, fields, loss, control, **options)


def optimality(u, v, step):
    """The derivative of F(S u) + |u - v|^2 / (2 step)."""
    return (1 + 3 * u**2) * (u + u**3 - TARGET) + ALPHA * u + (u - v) / step


@pytest.mark.parametrize("step", [0.1, torch.tensor(2.0, dtype=torch.float64)])
@pytest.mark.parametrize("shape", [(N,), (N, 1)])
def test_the_prox_obeys_its_optimality_condition(step, shape):
    f = identity_control(tolerance=Summable(1e-12))
    v = torch.linspace(-1, 1, N, dtype=torch.float64).reshape(shape)
    u = f.prox(v, step)
    assert u.shape == shape
    assert not u.requires_grad
    assert f.last.met
    assert f.last.status is Status.STOPPED
    assert optimality(u.reshape(N, 1), v.reshape(N, 1), float(step)).abs().max() < 1e-10


def test_the_error_asked_for_falls_summably_and_is_reached():
    f = identity_control(tolerance=Summable(1e-2, delta=0.5, floor=1e-7))
    v, asked = torch.zeros(N, 1, dtype=torch.float64), []
    for k in range(1, 21):
        f.prox(v.add_(0.05), 1.0)
        asked.append(f.last.asked)
        assert f.last.error <= f.last.asked == pytest.approx(max(1e-2 * k**-1.5, 1e-7))
        assert f.solves == k
    slope = math.log(asked[19] / asked[9]) / math.log(2)
    assert slope == pytest.approx(-1.5)


def test_a_solve_whose_steps_are_used_up_says_so():
    f = identity_control(inner_steps=1, tolerance=Summable(1e-14))
    f.prox(torch.ones(N, 1, dtype=torch.float64), 1.0)
    assert f.last.status is Status.MAX_ITER
    assert f.last.steps == 1
    assert not f.last.met
    assert f.last.error > f.last.asked


def test_a_warm_start_at_the_solution_takes_one_step():
    f = identity_control(tolerance=lambda k: 1e-10)
    v = torch.ones(N, 1, dtype=torch.float64)
    f.prox(v, 1.0)
    first = f.last.steps
    f.prox(v, 1.0)
    assert first > 3
    assert f.last.steps == 1
    f.prox(v + 1e-3, 1.0)  # the damping that the first solve ended with is used again
    assert f.last.steps <= 3


def test_training_that_cannot_go_on_leaves_a_damping_that_can():
    f = identity_control(tolerance=Summable(1e-300), inner_steps=200)
    f.prox(torch.ones(N, 1, dtype=torch.float64), 1.0)
    assert f.last.status is Status.EXHAUSTED
    assert f.memory.damping < 1e-2


@pytest.mark.parametrize("g", [Box(-0.1, 0.35), TotalVariation1D(0.2)], ids=lambda g: type(g).__name__)
def test_admm_around_it_is_admm_around_the_exact_prox(g):
    class Exact:
        def prox(self, v, step):
            u = v.clone()
            for _ in range(100):
                slope = (1 + 3 * u**2) ** 2 + 6 * u * (u + u**3 - TARGET[:, 0]) + ALPHA + 1 / step
                u = u - optimality(u[:, None], v[:, None], step)[:, 0] / slope
            return u

    start = torch.zeros(N, dtype=torch.float64)
    exact = optsci.solve(optsci.admm(Exact(), g, start, rho=2.0), tol=1e-11)
    f = identity_control(tolerance=Summable(1e-3, delta=1.0, floor=1e-12))
    run = optsci.solve(optsci.admm(f, g, start, rho=2.0), tol=1e-7, max_iter=400)
    assert run.status is Status.CONVERGED
    torch.testing.assert_close(run.x, exact.x, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "trainer",
    [
        pytest.param(lambda u, loss, last: lbfgs(u, loss), id="lbfgs"),
        pytest.param(lambda u, loss, last: adam(u, loss, lr=1e-2), id="adam"),
    ],
)
def test_any_training_algorithm_is_a_trainer(trainer):
    f = identity_control(trainer=trainer, inner_steps=3000, tolerance=Summable(1e-4))
    v = torch.ones(N, 1, dtype=torch.float64)
    u = f.prox(v, 0.5)
    assert f.last.met
    assert optimality(u, v, 0.5).abs().max() < 1e-2


def test_a_compromise_is_stopped_by_its_gradient():
    net = MLP(1, [5], 1)
    f = Subproblem(
        NODES,
        net,
        lambda v, step: Data(NODES, v) + Data(NODES, 0.0),
        lambda v, step: net(NODES),
        tolerance=Summable(1e-6),
        error=largest_gradient,
        inner_steps=300,
    )
    f.prox(torch.ones(N, dtype=torch.float64), 1.0)
    assert f.last.met
    assert f.memory.loss > 0.4  # 1/2 + 0: the loss stays, the gradient vanishes


def test_a_start_in_single_precision_is_promoted():
    run = optsci.solve(optsci.admm(identity_control(), Box(-1, 1), torch.zeros(N)), max_iter=2)
    assert run.x.dtype == run.state.z.dtype == torch.float64


def test_reading_trains_nothing():
    f = identity_control()
    v = torch.ones(N, dtype=torch.float64)
    torch.testing.assert_close(f.read(v, 1.0), v / (1 + ALPHA))
    assert f.solves == 0


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: identity_control().prox(torch.zeros(N + 1), 1.0), ValueError, "v must be a tensor (7, 1) or (7,)"),
        (lambda: identity_control().prox([0.0] * N, 1.0), ValueError, "v must be a tensor (7, 1) or (7,)"),
        (lambda: identity_control().prox(TARGET * torch.nan, 1.0), ValueError, "v must be finite, got nan"),
        (lambda: identity_control().prox(TARGET, 0.0), ValueError, "step must be finite and positive, got 0.0"),
        (lambda: identity_control(inner_steps=0), ValueError, "inner_steps must be a positive integer, got 0"),
        (lambda: identity_control(trainer="adam"), TypeError, "trainer must be a function, got 'adam'"),
        (lambda: Summable(first=-1.0), ValueError, "first must be finite and positive, got -1.0"),
        (lambda: Summable(delta=0.0), ValueError, "delta must be finite and positive, got 0.0"),
        (lambda: Summable(floor=-1.0), ValueError, "floor must be finite and at least 0, got -1.0"),
        (lambda: Subproblem(NODES, nn.Module(), abs, abs), ValueError, "u must have a parameter"),
    ],
)
def test_refusals_are_one_sentence(make, error, message):
    with pytest.raises(error, match="^" + re.escape(message)):
        make()
