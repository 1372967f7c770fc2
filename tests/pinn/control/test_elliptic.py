"""Control of Poisson's equation: proxes known in closed form, and the program of the documentation."""

import math
import re

import pytest
import torch

import optsci
from optsci import L1, Box, admm, solve
from optsci.pinn import MLP, Ball, BoundaryAnsatz, Interval, UnitSquare
from optsci.pinn.control import EllipticCompromise, EllipticControl, Summable

ALPHA = 0.01


def wave(x):
    return (math.pi * x).sin().prod(1, keepdim=True)


def posed(domain, nodes, make=EllipticControl, width=12, target=None, **options):
    y = BoundaryAnsatz(MLP(domain.dim, [width], seed=1, box=domain), 0.0, domain.vanishing)
    wanted = wave(nodes) if target is None else target
    return make(domain, nodes, y, MLP(domain.dim, [width], seed=2, box=domain), target=wanted, alpha=ALPHA, **options)


@pytest.mark.parametrize("domain", [Interval(0.0, 1.0), UnitSquare()], ids=["interval", "square"])
@pytest.mark.parametrize("step", [50.0, pytest.param(0.5, marks=pytest.mark.slow)])
def test_the_prox_of_an_eigenfunction(domain, step):
    """y_d = w, v = 2 w with -Lap w = lam w: u = c w with alpha c + (c/lam - 1)/lam + (c - 2)/step = 0."""
    x = domain.sample(60, seed=0)
    lam = domain.dim * math.pi**2
    c = (1 / lam + 2 / step) / (ALPHA + 1 / lam**2 + 1 / step)
    f = posed(domain, x, tolerance=Summable(3e-4), inner_steps=100)
    u = f.prox(2 * wave(x), step)
    assert f.last.met
    assert (u - c * wave(x)).norm() <= 2e-3 * (c * wave(x)).norm()


def test_other_domains_will_do():
    """The torsion problem: target 0 is reached by no control but 0, whatever the start of the networks."""
    disk = Ball(dim=2)
    x = disk.sample(40, seed=0)
    f = posed(disk, x, target=0.0, tolerance=Summable(1e-5), inner_steps=80)
    assert f.prox(torch.zeros(40, 1, dtype=torch.float64), 1e6).abs().max() <= 1e-2


def test_the_compromise_is_not_the_prox():
    domain, step = Interval(0.0, 1.0), 50.0
    x = domain.sample(60, seed=0)
    c = (1 / math.pi**2 + 2 / step) / (ALPHA + 1 / math.pi**4 + 1 / step)
    f = posed(domain, x, EllipticCompromise, tolerance=Summable(1e-6), inner_steps=100)
    u = f.prox(2 * wave(x), step)
    assert (u - c * wave(x)).norm() >= 0.1 * (c * wave(x)).norm()


def y_d(x):
    import numpy as np

    return np.exp(2 * x[0]) * np.sin(2 * np.pi * x[0]) * np.sin(2 * np.pi * x[1])


def test_the_program_of_the_architecture_runs():
    domain = UnitSquare()
    pts = domain.sample(64, seed=0)
    state = BoundaryAnsatz(MLP(2, [8] * 3, 1), lift=0.0, distance=domain.distance)
    control = MLP(2, [8] * 3, 1)
    smooth = EllipticControl(domain, pts, state, control, target=y_d, alpha=1e-3, inner_steps=10)
    g = 1e-2 * L1() + Box(-1, 1)
    zeros = []
    run = solve(
        admm(smooth, g, torch.zeros(64, 1), rho=1e-2),
        max_iter=6,
        tol=1e-4,
        callback=lambda k, s: zeros.append(float((s.z == 0).double().mean())),
    )
    u_sparse, y = run.x, state(pts)
    assert u_sparse.shape == y.shape == (64, 1)
    assert 0.1 < zeros[-1] < 1
    assert run.state.z.abs().max() <= 1
    assert smooth.solves == run.iterations


SQUARE = UnitSquare()
POINTS = SQUARE.sample(9, seed=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: posed(SQUARE, POINTS + 1), "nodes must lie in the domain, 9 of 9 do not"),
        (lambda: posed(SQUARE, POINTS * torch.nan, target=1.0), "points must be finite, got nan"),
        (lambda: posed(SQUARE, POINTS[:, :1], target=1.0), "points must have shape (n, 2), got (9, 1)"),
        (lambda: posed(SQUARE, POINTS, target=math.inf), "target must be finite, got inf"),
        (lambda: posed(SQUARE, POINTS, target=torch.zeros(3)), "target is torch.float32"),
        (lambda: posed(SQUARE, POINTS, target=POINTS), "target must be a number, (9,) or (9, 1), got (9, 2)"),
        (lambda: posed(SQUARE, POINTS).prox(POINTS, 1.0), "v must be a tensor (9, 1) or (9,) of values at the nodes"),
        (
            lambda: EllipticControl(SQUARE, POINTS, MLP(2, [3]), MLP(2, [3]), target=1.0, alpha=0.0),
            "alpha must be finite and positive, got 0.0",
        ),
        (lambda: optsci.Box(1.0, -1.0), "low"),
    ],
)
def test_refusals_are_one_sentence(make, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        make()
