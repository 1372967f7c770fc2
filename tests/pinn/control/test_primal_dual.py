"""The primal-dual iteration for control: counts of the specification, the bound on steps, the choice of sigma."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

import optsci
from optsci.pinn.control import (
    BilinearHeatMap,
    BurgersMap,
    ControlCost,
    EllipticMap,
    HeatMap,
    SemilinearHeatMap,
    bilinear_parabolic,
    nonlinear_primal_dual,
    primal_dual,
    semismooth_newton,
    sparse_parabolic,
    sparse_target,
    strong_convexity,
    tuned_steps,
)

SPARSE = ControlCost(alpha=1e-5, rho=1e-3, lower=-30.0, upper=30.0)


def sparse_problem(cells):
    S = EllipticMap(cells)
    y_d = sparse_target(S.points)
    return S, y_d, torch.zeros_like(y_d)


def reference(S, y_d, cost):
    u0 = torch.zeros(S.shape[1], dtype=torch.float64)
    return optsci.solve(semismooth_newton(S, y_d, u0, cost=cost), tol=1e-12, max_iter=60).raise_if_failed().x


def rms(x):
    return float(x.norm()) / math.sqrt(len(x))


@pytest.mark.parametrize(
    ("sigma", "classical", "enlarged"),
    [
        (0.2, 408, 318),
        pytest.param(0.4, 741, 578, marks=pytest.mark.slow),
        pytest.param(1.0, 1615, 1266, marks=pytest.mark.slow),
        pytest.param(2.0, 2881, 2268, marks=pytest.mark.slow),
    ],
)
def test_iteration_counts_are_those_of_the_specification(sigma, classical, enlarged):
    S, y_d, u0 = sparse_problem(64)
    counts = []
    for product in (0.999, 1.333):
        tau = product / (sigma * S.norm() ** 2)
        counts.append(optsci.solve(primal_dual(S, S.T, SPARSE, y_d, u0, tau=tau, sigma=sigma)).iterations)
    assert counts == pytest.approx([classical, enlarged], rel=0.02)
    assert counts[1] / counts[0] == pytest.approx(0.78, abs=0.02)


def test_a_step_past_the_bound_is_refused_with_the_numbers():
    S, y_d, u0 = sparse_problem(8)
    message = r"tau sigma norm\*\*2 must be below 4/3, got 1.34 from tau=.*, sigma=0.2 and norm=0.05"
    with pytest.raises(ValueError, match=message):
        primal_dual(S, S.T, SPARSE, y_d, u0, sigma=0.2, tau=1.34 / (0.2 * S.norm() ** 2))
    primal_dual(S, S.T, SPARSE, y_d, u0, sigma=0.2, tau=1.33 / (0.2 * S.norm() ** 2))
    with pytest.raises(ValueError, match=r"at most 1 with relaxation=1.8, got 1.2 .* no theory covers both"):
        primal_dual(S, S.T, SPARSE, y_d, u0, sigma=0.2, tau=1.2 / (0.2 * S.norm() ** 2), relaxation=1.8)


def test_the_core_refuses_the_same_steps():
    with pytest.raises(ValueError, match="must be below 4/3"):
        optsci.chambolle_pock(optsci.L1(0.0), optsci.SquaredL2(1.0), [[1.0]], [1.0], tau=1.34, sigma=1.0)


def test_the_iterates_are_those_of_the_core():
    S, y_d, u0 = sparse_problem(12)
    tau, sigma = tuned_steps(SPARSE.alpha, S.norm())
    distance = optsci.SquaredL2(1.0)

    class Tracking:
        def __call__(self, y):
            return distance(y - y_d)

        def prox(self, y, step):
            return y_d + distance.prox(y - y_d, step)

    here = primal_dual(S, S.T, SPARSE, y_d, u0)
    there = optsci.chambolle_pock(SPARSE, Tracking(), S, u0, tau=tau, sigma=sigma)
    for _, a, b in zip(range(50), here, there, strict=False):
        assert torch.allclose(a.x, b.x, rtol=1e-12, atol=1e-12)
        assert torch.allclose(a.p, b.y, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("relaxation", [1.0, 0.7, 1.8])
def test_the_bound_holds_at_every_iteration_and_the_control_stays_in_the_box(relaxation):
    S, y_d, u0 = sparse_problem(16)
    exact = reference(S, y_d, SPARSE)
    outside = False
    for k, s in enumerate(primal_dual(S, S.T, SPARSE, y_d, u0, relaxation=relaxation)):
        error = rms(s.x - exact)
        assert error <= float(s.bound) * (1 + 1e-9)
        assert s.x.abs().max() <= 30
        outside = outside or bool(s.u.abs().max() > 30)
        if k > 5 and error > 1e-9:
            assert float(s.bound) < 40 * error
        if k == 200:
            break
    assert outside == (relaxation > 1)
    assert error < 2e-3


def test_stopping_at_a_bound_reaches_it_whatever_the_steps():
    S, y_d, u0 = sparse_problem(16)
    exact = reference(S, y_d, SPARSE)
    for sigma in (None, 0.3, 0.02):
        steps = primal_dual(S, S.T, SPARSE, y_d, u0, sigma=sigma)
        run = optsci.solve(steps, tol=None, stop=lambda s: s.bound < 1e-3)
        assert run.status is optsci.Status.STOPPED
        assert rms(run.x - exact) < 1e-3


@pytest.mark.parametrize(
    ("cost", "share"),
    [
        (ControlCost(1e-2), 1.05),
        (SPARSE, 1.1),
        pytest.param(ControlCost(1e-6, 1e-3, -30.0, 30.0), 1.3, marks=pytest.mark.slow),
    ],
)
def test_the_tuned_sigma_is_near_the_best(cost, share):
    S, y_d, u0 = sparse_problem(16)
    exact = reference(S, y_d, cost)
    best = math.sqrt(cost.alpha) / S.norm()

    def count(sigma):
        steps = primal_dual(S, S.T, cost, y_d, u0, sigma=sigma)
        run = optsci.solve(steps, tol=None, max_iter=5000, stop=lambda s: rms(s.x - exact) < 1e-6 * rms(exact))
        return run.iterations

    tuned = count(None)
    counts = [count(factor * best) for factor in (0.7, 1.4, 2.0)]
    assert tuned <= share * min(counts)
    if share < 1.3:
        assert count(0.35 * best) >= 1.5 * tuned
        assert count(4 * best) >= 1.5 * tuned


@pytest.mark.parametrize("step", [0.01, 1.0, 300.0])
def test_the_prox_of_the_cost_is_exact(step):
    cost = ControlCost(alpha=0.02, rho=0.3, lower=-1.0, upper=2.0)
    points = torch.linspace(-700, 700, 41, dtype=torch.float64) * max(step, 0.01) / 100
    for v, z in zip(points.tolist(), cost.prox(points, step).tolist(), strict=True):
        brute = minimize_scalar(
            lambda u, v=v: 0.01 * u * u + 0.3 * abs(u) + (u - v) ** 2 / (2 * step),
            bounds=(-1.0, 2.0),
            method="bounded",
            options={"xatol": 1e-12},
        )
        assert abs(brute.x - z) < 2e-6
    shrunk = (points.abs() - step * 0.3).clamp(min=0) * points.sign() / (1 + step * 0.02)
    assert torch.allclose(cost.prox(points, step), shrunk.clamp(-1, 2), rtol=1e-14, atol=1e-14)


def test_a_sum_of_the_core_gives_the_same_iterates():
    S, y_d, u0 = sparse_problem(12)
    for theta in (
        optsci.SquaredL2(1e-5) + (1e-3 * optsci.L1() + optsci.Box(-30.0, 30.0)),
        (optsci.SquaredL2(1e-5) + optsci.L1(1e-3)) + optsci.Box(-30.0, 30.0),
    ):
        assert strong_convexity(theta) == 1e-5
        runs = [optsci.solve(primal_dual(S, S.T, t, y_d, u0), tol=1e-8) for t in (theta, SPARSE)]
        assert torch.allclose(runs[0].x, runs[1].x, rtol=1e-12, atol=1e-12)


def test_finite_elements_are_exchanged_for_differences():
    """Linear elements on a uniform mesh with lumped masses are the five-point scheme."""
    skfem = pytest.importorskip("skfem")
    from scipy.sparse.linalg import splu
    from skfem.models.poisson import laplace

    cells = 12
    side = np.linspace(0, 1, cells + 1)
    basis = skfem.Basis(skfem.MeshTri.init_tensor(side, side), skfem.ElementTriP1())
    inside = basis.complement_dofs(basis.get_dofs())
    x, y = basis.doflocs[:, inside]
    inside = inside[np.lexsort((y, x))]
    solve = splu(laplace.assemble(basis)[inside][:, inside].tocsc()).solve

    def elements(u):
        return torch.from_numpy(solve(u.numpy() / cells**2))

    S, y_d, u0 = sparse_problem(cells)
    fem = optsci.solve(primal_dual(elements, elements, SPARSE, y_d, u0), tol=1e-10).raise_if_failed()
    fd = optsci.solve(primal_dual(S, S.T, SPARSE, y_d, u0), tol=1e-10)
    assert rms(fem.x - fd.x) < 1e-5 * rms(fd.x)


def test_the_heat_equation_agrees_with_semismooth_newton():
    S = HeatMap(8, 12)
    exact = sparse_parabolic(S.points)
    y_d = exact.y_d - S(exact.f)
    run = optsci.solve(primal_dual(S, S.T, exact.cost, y_d, torch.zeros_like(y_d)), tol=1e-11)
    assert rms(run.x - reference(S, y_d, exact.cost)) < 1e-8


def nonlinear_problems():
    x = HeatMap(6, 6).points
    exact = bilinear_parabolic(x)
    return {
        "burgers": (BurgersMap(100), torch.full((99,), 0.3, dtype=torch.float64), ControlCost(0.1, upper=0.3)),
        "semilinear": (SemilinearHeatMap(6, 6), sparse_parabolic(x).y_d, ControlCost(1e-3, 4e-3, -10.0, 5.0)),
        "bilinear": (BilinearHeatMap(6, 6, exact.f), exact.y_d, exact.cost),
    }


@pytest.mark.parametrize("name", ["burgers", "semilinear", "bilinear"])
@pytest.mark.parametrize("relaxation", [1.0, 1.618])
def test_nonlinear_equations_agree_with_semismooth_newton(name, relaxation):
    S, y_d, cost = nonlinear_problems()[name]
    u0 = torch.zeros(S.shape[1], dtype=torch.float64)

    def adjoint(p, u, y):
        return S.linearised(u, y).T(p)

    steps = nonlinear_primal_dual(S, adjoint, cost, y_d, u0, relaxation=relaxation)
    run = optsci.solve(steps, tol=1e-9, max_iter=300).raise_if_failed()
    exact = reference(S, y_d, cost)
    assert rms(run.x - exact) < 1e-7 * rms(exact)
    assert run.state.bound == math.inf


def test_pairs_that_are_not_transposed_are_refused_by_how_much():
    S, y_d, u0 = HeatMap(6, 4), torch.zeros(100, dtype=torch.float64), torch.zeros(100, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"<S u, p> = <u, S\* p> fails by \S+ of its size .* pair_tolerance=1e-10"):
        primal_dual(S, S, SPARSE, y_d, u0)  # forward in time both
    primal_dual(S, S, SPARSE, y_d, u0, pair_tolerance=1.0)
    B = BurgersMap(12)
    u0 = torch.ones(11, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"<S'\(u0\) v, p> = <v, S'\(u0\)\* p> fails by"):
        nonlinear_primal_dual(B, lambda p, u, y: B.linearised(u, 0 * y).T(p), ControlCost(0.1), u0, u0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_d": [math.nan] * 9}, "y_d must be finite, got nan"),
        ({"u0": torch.full((9,), math.inf)}, "u0 must be finite, got inf"),
        ({"u0": torch.zeros(3, 3)}, r"u0 must be a vector, one value a node, got shape \(3, 3\)"),
        ({"u0": torch.zeros(8)}, r"u must have the shape \(9,\), one value a node, got \(8,\)"),
        ({"p0": torch.zeros(4)}, r"p0 must have the shape \(9,\) of y_d, got \(4,\)"),
        ({"tau": -1.0}, "tau must be finite and positive, got -1.0"),
        ({"norm": 0.0}, "norm must be finite and positive, got 0.0"),
        ({"relaxation": 2.0}, "relaxation must lie between 0 and 2, got 2.0"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(change, message):
    S = EllipticMap(4)
    arguments = {"y_d": [1.0] * 9, "u0": torch.zeros(9)} | change
    with pytest.raises(ValueError, match=message):
        primal_dual(S, S.T, ControlCost(1.0), **arguments)


def test_a_cost_without_prox_is_refused():
    with pytest.raises(TypeError, match=r"primal_dual needs theta.prox, but function has none"):
        primal_dual(EllipticMap(4), EllipticMap(4).T, lambda u: 0.0, torch.zeros(9), torch.zeros(9))


def test_single_precision_goes_as_far_as_it_can():
    S = EllipticMap(12)
    y_d, u0 = sparse_target(S.points), torch.zeros(121)
    run = optsci.solve(primal_dual(S, S.T, SPARSE, y_d.float(), u0), tol=1e-5).raise_if_failed()
    assert run.x.dtype == torch.float32
    exact = reference(S, y_d, SPARSE)
    assert rms(run.x.double() - exact) < 1e-3 * rms(exact)
    B, cost = BurgersMap(20), ControlCost(0.1, upper=0.3)
    u0 = torch.zeros(19)
    steps = nonlinear_primal_dual(B, lambda p, u, y: B.linearised(u, y).T(p), cost, u0 + 0.3, u0)
    assert rms(optsci.solve(steps, tol=1e-5).raise_if_failed().x.double() - reference(B, 0.3, cost)) < 1e-4
