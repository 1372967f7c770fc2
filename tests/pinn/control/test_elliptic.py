"""Control of Poisson's equation: proxes known in closed form, and the program of the documentation."""

import math
import re

import numpy as np
import pytest
import torch
from scipy.interpolate import RegularGridInterpolator

import optsci
from optsci import L1, Box, admm, solve
from optsci.pinn import MLP, Ball, BoundaryAnsatz, Interval, UnitSquare
from optsci.pinn.control import EllipticCompromise, EllipticControl, Summable

ALPHA = 0.01


def wave(x):
    return (math.pi * x).sin().prod(1, keepdim=True)


def posed(domain, nodes, make=EllipticControl, width=12, target=None, alpha=ALPHA, **options):
    y = BoundaryAnsatz(MLP(domain.dim, [width], seed=1, box=domain), 0.0, domain.vanishing)
    wanted = wave(nodes) if target is None else target
    return make(domain, nodes, y, MLP(domain.dim, [width], seed=2, box=domain), target=wanted, alpha=alpha, **options)


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


@pytest.mark.slow
def test_the_compromise_is_the_minimum_of_its_rows_and_not_the_prox():
    """On (0, 3), with w = sin(pi x / 3), u = c w and y = d w: a quadratic function of c and d."""
    domain, alpha, step, lam = Interval(0.0, 3.0), 1.0, 1.0, (math.pi / 3) ** 2
    x = 3 * (torch.arange(200, dtype=torch.float64)[:, None] + 0.5) / 200  # many more than parameters
    w = (math.pi / 3 * x).sin()
    weight = alpha + 1 / step
    rows = torch.tensor([[1 + weight, -lam], [-lam, lam**2 + 1]], dtype=torch.float64)
    compromise, _ = torch.linalg.solve(rows, torch.tensor([-weight * 2 / (1 + step * alpha), 1.0], dtype=torch.float64))
    exact = (1 / lam - 2 / step) / (alpha + 1 / lam**2 + 1 / step)
    f = posed(domain, x, EllipticCompromise, target=w, alpha=alpha, width=5, tolerance=Summable(1e-4), inner_steps=60)
    u = f.prox(-2 * w, step)
    assert abs(compromise - exact) >= 0.5 * abs(exact)
    assert (u - compromise * w).norm() <= 0.1 * abs(compromise - exact) * w.norm()


def y_d(x):
    return np.sin(np.pi * x[0]) * np.sin(np.pi * x[1])


def program(distance, size, widths, inner_steps, max_iter):
    """The program of the documentation, with its sizes reduced."""
    domain = UnitSquare()
    pts = domain.sample(size, seed=0)
    state = BoundaryAnsatz(MLP(2, widths, 1), lift=0.0, distance=getattr(domain, distance))
    control = MLP(2, widths, 1)
    smooth = EllipticControl(domain, pts, state, control, target=y_d, alpha=1e-3, inner_steps=inner_steps)
    g = 1e-2 * L1() + Box(-1, 1)
    zeros = []
    run = solve(
        admm(smooth, g, torch.zeros(size, 1), rho=1e-2),
        max_iter=max_iter,
        tol=1e-4,
        callback=lambda k, s: zeros.append(float((s.z == 0).double().mean())),
    )
    u_sparse, y = run.x, state(pts)
    assert u_sparse.shape == y.shape == (size, 1)
    assert smooth.solves == run.iterations
    assert run.state.z.abs().max() <= 1
    return pts, run, zeros


def test_the_program_of_the_architecture_runs_and_warns_of_kinks():
    with pytest.warns(UserWarning, match="kinks inside act on y like sources that no node sees"):
        _, _, zeros = program("distance", 40, [6] * 3, inner_steps=5, max_iter=3)
    assert len(zeros) == 3


@pytest.mark.slow
def test_the_program_without_kinks_finds_the_sparse_control():
    """Against the same problem with five-point differences, by the core's ADMM with an exact prox."""
    cells = 24
    h, n = 1 / cells, cells - 1
    second = (2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)) / h**2
    S = np.linalg.inv(np.kron(second, np.eye(n)) + np.kron(np.eye(n), second))
    inside = np.arange(1, cells) * h
    wanted = y_d(np.stack([part.ravel() for part in np.meshgrid(inside, inside, indexing="ij")]))
    f = optsci.LeastSquares(np.vstack([S, np.eye(n * n) * 1e-3**0.5]), np.concatenate([wanted, np.zeros(n * n)]))
    g = 1e-2 * L1() + Box(-1, 1)
    exact = solve(admm(f, g, torch.zeros(n * n, dtype=torch.float64), rho=1e-2), tol=1e-7).state.z.numpy()
    p = (S @ (S @ exact - wanted)).reshape(n, n)  # smooth, while u rises within a sixth of the spacing
    grid = RegularGridInterpolator((np.linspace(0, 1, cells + 1),) * 2, np.pad(p, 1), method="cubic")

    pts, run, zeros = program("vanishing", 200, [16, 16], inner_steps=30, max_iter=25)
    u = g.prox(-torch.from_numpy(grid(pts.numpy()))[:, None] / 1e-3, 1 / 1e-3)  # the gradient condition
    assert 0.2 < zeros[-1] < 0.8
    assert (run.state.z - u).norm() <= 0.08 * u.norm()


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
        (
            lambda: EllipticControl(SQUARE, POINTS, MLP(2, [3]), MLP(2, [3]), target=1.0, alpha=1.0),
            "state must be 0 on the boundary, got ",
        ),
        (lambda: optsci.Box(1.0, -1.0), "low"),
    ],
)
def test_refusals_are_one_sentence(make, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        make()
