"""Frank-Wolfe: bound at every k, certificate, sparsity; DCA: monotone decrease, critical points."""

from __future__ import annotations

import re
from itertools import islice, pairwise

import pytest
import torch

import optsci
from optsci import dca, frank_wolfe, ista, open_loop, short_step, solve
from problems import lasso


class ProbabilitySimplex:
    """Diameter sqrt 2."""

    def lmo(self, d):
        return torch.nn.functional.one_hot(d.argmin(), len(d)).to(d)


class CrossPolytope:
    """||x||_1 <= 1, diameter 2."""

    def lmo(self, d):
        vertex = torch.nn.functional.one_hot(d.abs().argmax(), len(d)).to(d)
        return -d.sign() * vertex


def projection_on_simplex(p):
    u = p.sort(descending=True).values
    theta = (u.cumsum(0) - 1) / torch.arange(1, len(p) + 1, dtype=p.dtype)
    return (p - theta[(u > theta).nonzero().max()]).clamp(min=0)


def problems():
    """(f, C, start, f*, L diam^2)."""
    generator = torch.Generator().manual_seed(0)
    vertex = torch.eye(20, dtype=torch.float64)[0]
    p = torch.randn(20, generator=generator, dtype=torch.float64)
    f = optsci.Translated(optsci.SquaredL2(), p)
    yield f, ProbabilitySimplex(), vertex, f(projection_on_simplex(p)).item(), 2.0
    A = torch.randn(10, 20, generator=generator, dtype=torch.float64)
    x = torch.rand(20, generator=generator, dtype=torch.float64)
    f = optsci.LeastSquares(A, A @ (x / x.sum()))
    yield f, ProbabilitySimplex(), vertex, 0.0, 2 * f.lipschitz()
    f = optsci.LeastSquares(A, 0.9 * A[:, 3])
    yield f, CrossPolytope(), vertex, 0.0, 4 * f.lipschitz()


CASES = list(problems())
ids = ["projection", "interior", "cross-polytope"]


@pytest.mark.parametrize(("f", "C", "start", "optimum", "curvature"), CASES, ids=ids)
@pytest.mark.parametrize("short", [False, True])
def test_bound_and_certificate_at_every_k(f, C, start, optimum, curvature, short):
    step = short_step(f.lipschitz() if hasattr(f, "lipschitz") else 1.0) if short else open_loop
    values, kept = [], start.clone()
    for k, state in enumerate(islice(frank_wolfe(f, C, start, step=step), 500)):
        gap = f(state.x).item() - optimum
        assert gap <= state.residual + 1e-12
        if k >= 1:
            assert gap <= 2 * curvature / (k + 2) + 1e-12
        assert state.x.count_nonzero() <= k + 1
        assert torch.equal(state.residual, -(f.grad(state.x) * (state.v - state.x)).sum())
        values.append(gap)
    assert torch.equal(start, kept)
    if short:
        assert all(b <= a + 1e-14 for a, b in pairwise(values))
    assert min(values[250:]) < 0.02 * values[0]


def test_the_first_state_is_x0_and_the_open_loop_forgets_it():
    f, C, start, *_ = CASES[1]
    first, second = islice(frank_wolfe(f, C, start), 2)
    assert torch.equal(first.x, start)
    assert torch.equal(second.x, first.v)
    x = start
    for k, state in enumerate(islice(frank_wolfe(f, C, start), 30)):
        torch.testing.assert_close(state.x, x)
        x = x + 2 / (k + 2) * (C.lmo(f.grad(x)) - x)


def test_the_open_loop_may_rise():
    f, C, start, *_ = CASES[1]
    values = [f(s.x).item() for s in islice(frank_wolfe(f, C, start), 60)]
    assert any(b > a for a, b in pairwise(values))


def test_short_step_minimises_the_upper_bound():
    d, gap = torch.tensor([3.0, 4.0]), torch.tensor(10.0)
    assert short_step(1.0)(5, gap, d) == 10 / 25
    assert short_step(0.1)(5, gap, d) == 1.0
    assert short_step(1.0)(0, torch.tensor(0.0), torch.zeros(2)) == 0.0


@pytest.mark.parametrize("step", [open_loop, short_step(1.0)], ids=["open_loop", "short_step"])
def test_no_step_reads_the_device(step):
    class Cube:
        def lmo(self, d):
            return -d.sign()

    f = optsci.Autodiff(lambda x: x.cos().sum())
    for state in islice(frank_wolfe(f, Cube(), torch.empty(3, device="meta"), step=step), 3):
        assert state.residual.is_meta


def test_derivative_of_an_unrolled_solve():
    A = CASES[1][0].A.entries

    def loss(b):
        f = optsci.LeastSquares(A, b)
        steps = frank_wolfe(f, ProbabilitySimplex(), torch.ones(20).double() / 20, step=short_step(50.0))
        return solve(steps, tol=None, max_iter=10).x.square().sum()

    b = torch.randn(10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    along = torch.randn(10, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    difference = (loss(b + 1e-6 * along) - loss(b - 1e-6 * along)) / 2e-6
    torch.testing.assert_close(torch.func.grad(loss)(b) @ along, difference, rtol=1e-6, atol=1e-9)
    b_ = b.clone().requires_grad_()
    torch.testing.assert_close(torch.autograd.grad(loss(b_), b_)[0], torch.func.grad(loss)(b))


# DCA


def test_dca_never_rises_and_falls_by_the_strong_convexity():
    generator = torch.Generator().manual_seed(0)
    Q = torch.diag(torch.linspace(1, 4, 6)).double()
    h = optsci.Autodiff(lambda x: 3 * (1 + x.square()).sqrt().sum())

    def objective(x):
        return 0.5 * x @ Q @ x - h(x)

    x = torch.randn(6, generator=generator, dtype=torch.float64)
    kept, last = x.clone(), x
    for state in islice(dca(lambda u, x: torch.linalg.solve(Q, u), h, x), 400):
        decrease = 0.5 * (state.x - last).square().sum()  # mu = 1
        assert objective(state.x) <= objective(last) - decrease + 1e-13
        last = state.x
    assert torch.equal(x, kept)
    torch.testing.assert_close(Q @ last, h.grad(last), rtol=0, atol=1e-9)
    expected = (9 / torch.linspace(1, 4, 6).double() ** 2 - 1).clamp(min=0).sqrt()  # q x = 3 x / sqrt(1 + x^2)
    torch.testing.assert_close(last.abs(), expected, rtol=0, atol=1e-9)


def test_dca_of_the_capped_l1_norm_with_an_inner_solve():
    """The penalty ``weight * sum min(|x|, 1)`` is weight |x|_1 - h."""
    p = lasso(30, 60, 4)
    h = optsci.Autodiff(lambda x: p.g.weight * (x.abs() - 1).clamp(min=0).sum())

    def inner(u, x):
        shifted = optsci.Autodiff(lambda z: p.f(z) - (u * z).sum())
        steps = optsci.fista(shifted, p.g, x, step=1 / p.f.lipschitz(), restart=optsci.gradient_restart)
        return solve(steps, tol=1e-10, max_iter=3000).x

    values = [p.objective(p.x) - h(p.x).item()]
    for state in islice(dca(inner, h, p.x), 4):
        values.append(p.objective(state.x) - h(state.x).item())
    assert all(b <= a + 1e-10 for a, b in pairwise(values))
    assert values[-1] < values[0] - 1e-3
    assert (state.x.abs() > 1).any()


def test_dca_with_a_prox_is_proximal_gradient_on_minus_h():
    h = optsci.Autodiff(lambda x: (1 + x.square()).sqrt().sum())
    g, s, x0 = optsci.L1(0.3), 0.5, torch.tensor([0.1, -2.0, 3.0]).double()

    class MinusH:
        def grad(self, x):
            return -h.grad(x)

    pairs = zip(dca(lambda u, x: g.prox(x + s * u, s), h, x0), ista(MinusH(), g, x0, step=s), strict=False)
    for a, b in islice(pairs, 10):
        torch.testing.assert_close(a.x, b.x)
        torch.testing.assert_close(a.residual, b.residual)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda f: frank_wolfe(abs, CrossPolytope(), [0.0]), TypeError, "frank_wolfe needs f.grad"),
        (lambda f: frank_wolfe(f, optsci.L1(), [0.0]), TypeError, "frank_wolfe needs C.lmo, but L1 has none"),
        (lambda f: frank_wolfe(f, CrossPolytope(), [0.0], step=0.1), TypeError, "step must be a function such as open"),
        (lambda f: frank_wolfe(f, CrossPolytope(), ["a"]), TypeError, "x0 must be a tensor"),
        (lambda f: short_step(0.0), ValueError, "L must be finite and positive, got 0.0"),
        (lambda f: dca(3, f, [0.0]), TypeError, "solve_convex must be a function such as `lambda u, x: …`, not 3"),
        (lambda f: dca(abs, abs, [0.0]), TypeError, "dca needs h.grad"),
    ],
)
def test_errors(call, error, sentence):
    with pytest.raises(error, match=re.escape(sentence)):
        call(optsci.SquaredL2())
