"""ALPS against exhaustive search on tiny layers, the optimality of its refit, and what its schedule does."""

from itertools import combinations, islice, product
from statistics import median

import pytest
import torch
from torch import Tensor

from layers import layer
from optsci import solve
from optsci.compress import (
    NM,
    LayerProblem,
    Unstructured,
    admm_prune,
    alps_prune,
    alps_steps,
    magnitude,
    refit,
    refit_exact,
)
from optsci.compress.alps import AUTHORS_SCHEDULE, SLOW_SCHEDULE, ALPSState, cholesky_resolvent, eigen_resolvent

PATTERNS = [Unstructured(0.5), Unstructured(0.7, by_row=False), NM(2, 4)]


def best_error(problem: LayerProblem, supports: Tensor) -> float:
    """The smallest squared error over supports (count, k) of one output row."""
    gram = problem.gram[supports[:, :, None], supports[:, None, :]]
    target = problem.target[0][supports]
    return float((problem.energy - (torch.linalg.solve(gram, target) * target).sum(1)).min())


def ratios_to_the_best(prune, n: int, pattern, supports: Tensor) -> list[float]:
    """Squared error over that of the best support, both refitted exactly, on twenty layers of one output."""
    ratios = []
    for seed in range(20):
        problem, *_ = layer(1, n, seed=seed)
        weights = refit_exact(problem, prune(problem, sparsity=pattern))
        assert int((weights != 0).sum()) == supports.shape[1]
        ratios.append(float(problem.squared_error(weights)) / best_error(problem, supports))
    assert min(ratios) >= 1 - 1e-9
    return ratios


# Medians of magnitude with the same refit: 7 and 16 unstructured, 6 for 2:4; its worst are 820, 116 and 1300.
@pytest.mark.parametrize(("prune", "typical", "worst"), [(alps_prune, 1.01, 4), (admm_prune, 1.001, 2)])
@pytest.mark.parametrize("n", [12, 14])
def test_close_to_the_best_of_all_supports(prune, typical, worst, n):
    ratios = ratios_to_the_best(prune, n, Unstructured(1 - 5 / n), torch.tensor(list(combinations(range(n), 5))))
    assert median(ratios) <= typical
    assert max(ratios) <= worst


@pytest.mark.parametrize(("prune", "typical", "worst"), [(alps_prune, 1.2, 5), (admm_prune, 1.001, 2)])
def test_close_to_the_best_2_4_mask(prune, typical, worst):
    pairs = list(combinations(range(4), 2))
    masks = [[*a, *(4 + j for j in b), *(8 + j for j in c)] for a, b, c in product(pairs, repeat=3)]
    ratios = ratios_to_the_best(prune, 12, NM(2, 4), torch.tensor(masks))
    assert median(ratios) <= typical
    assert max(ratios) <= worst


@pytest.mark.parametrize("shift", [0.0, 0.05])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_masked_optimality_after_enough_conjugate_gradients(pattern, shift):
    problem, *_ = layer(6, 24, shift=shift)
    weights = alps_prune(problem, sparsity=pattern, refit_iterations=200)
    scaled, scale = problem.scaled()
    gradient = scaled.damped(0.01).grad(weights * scale)
    assert float(gradient[weights != 0].abs().max()) <= 1e-5 * float(scaled.target.abs().max())


@pytest.mark.parametrize("prune", [alps_prune, admm_prune])
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("shift", [0.0, 0.05])
def test_not_above_magnitude_with_refit(prune, pattern, shift):
    for seed in range(4):
        problem, *_ = layer(12, 48, seed=seed, shift=shift)
        weights, rival = prune(problem, sparsity=pattern), refit(problem, magnitude(problem, sparsity=pattern))
        assert (weights != 0).sum() == (rival != 0).sum()
        assert problem.relative_error(weights) < problem.relative_error(rival)


def test_the_refit_does_what_refit_does_and_can_be_left_out():
    problem, *_ = layer(6, 24)
    plain = alps_prune(problem, sparsity=NM(2, 4), refit_iterations=0)
    torch.testing.assert_close(
        alps_prune(problem, sparsity=NM(2, 4), refit_iterations=5), refit(problem, plain, damping=0.01, iterations=5)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("prune", [alps_prune, admm_prune])
def test_exact_counts_on_hard_layers(prune, pattern, dtype):
    few, *_ = layer(6, 32, tokens=10, dtype=dtype)  # rank 10 of 32
    tied = LayerProblem(torch.ones_like(few.weight), few.gram, few.gram, few.energy)
    wide = torch.logspace(-6, 6, 32, dtype=dtype)  # condition number of the Gram matrix 1e24 before scaling
    wild = LayerProblem(few.weight, few.gram * wide * wide[:, None], few.gram * wide * wide[:, None], few.energy)
    for problem in (few, tied, wild):
        weights = prune(problem, sparsity=pattern)
        assert weights.dtype is dtype
        assert weights.isfinite().all()
        assert torch.equal(weights != 0, pattern.mask(weights.abs()))


@pytest.mark.parametrize("prune", [alps_prune, admm_prune])
def test_a_nearly_singular_layer(prune):
    """Condition number 1e12: the damping makes it harmless."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(24, 24, dtype=torch.float64, generator=generator)).Q
    gram = (basis * torch.logspace(-12, 0, 24, dtype=torch.float64)) @ basis.T
    gram = ((gram + gram.T) / 2).float()
    weight = torch.randn(5, 24, generator=generator)
    energy = ((weight.double() @ gram.double()) * weight.double()).sum()
    problem = LayerProblem(weight, gram, gram, energy)
    weights = prune(problem, sparsity=Unstructured(0.5))
    assert ((weights != 0).sum(1) == 12).all()
    assert problem.relative_error(weights) < problem.relative_error(magnitude(problem, sparsity=Unstructured(0.5)))


@pytest.mark.parametrize("prune", [alps_prune, admm_prune])
def test_dead_channels_get_no_weight(prune):
    problem, *_ = layer(6, 16)
    alive = torch.ones(16, dtype=torch.float64)
    alive[[2, 7]] = 0
    gram = problem.gram * alive * alive[:, None]
    problem = LayerProblem(1e3 * problem.weight, gram, gram, problem.energy)
    weights = prune(problem, sparsity=Unstructured(0.5))
    assert (weights[:, alive == 0] == 0).all()
    assert ((weights != 0).sum(1) == 8).all()
    nothing = LayerProblem(problem.weight, 0 * gram, 0 * gram, problem.energy)
    assert prune(nothing, sparsity=Unstructured(0.5)).isfinite().all()


def test_both_resolvents_are_the_inverse():
    gram = layer(1, 20)[0].scaled()[0].gram
    for rho in (0.01, 1.0):
        exact = torch.linalg.inv(gram + rho * torch.eye(20, dtype=gram.dtype))
        for resolvent in (eigen_resolvent, cholesky_resolvent):
            torch.testing.assert_close(resolvent(gram, "layer")(rho), exact, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shift", [0.0, 0.05])
def test_the_states_are_those_of_the_published_iteration(shift):
    """B, D and A written out in float64, for a rho that doubles every third iteration."""
    problem, *_ = layer(4, 12, shift=shift)
    scaled, scale = problem.scaled()
    scaled, pattern, rho = scaled.damped(0.01), Unstructured(0.5), 0.1
    d = scaled.weight * pattern.mask(scaled.weight.abs())
    a = torch.zeros_like(d)
    for state in islice(alps_steps(problem, sparsity=pattern, schedule=lambda s: 2 * s.rho), 12):
        if state.iteration > 1 and state.iteration % 3 == 1:
            rho *= 2
        gram = scaled.gram + rho * torch.eye(12, dtype=d.dtype)
        b = torch.linalg.solve(gram, (scaled.target - a + rho * d).T).T
        d = (b + a / rho) * pattern.mask((b + a / rho).abs())
        a = a + rho * (b - d)
        assert state.rho == pytest.approx(rho)
        torch.testing.assert_close(state.x, d / scale, rtol=1e-6, atol=1e-8)
        assert float(state.residual) == pytest.approx(float((b - d).norm() / d.norm()), rel=1e-5)


@pytest.mark.parametrize("schedule", [AUTHORS_SCHEDULE, SLOW_SCHEDULE])
def test_the_schedule_ends_with_a_support_that_stays(schedule):
    problem, *_ = layer(12, 48)
    states = list(islice(alps_steps(problem, sparsity=Unstructured(0.5), schedule=schedule), 3000))
    assert len(states) < 3000
    assert int(states[-1].changed) == 0
    assert float(states[-1].residual) < 0.1


def test_the_rules_of_the_schedule():
    def after(changed: int, *, grown: bool, iteration: int = 3, rho: float = 1.0) -> float | None:
        zero = torch.zeros(())
        return AUTHORS_SCHEDULE(ALPSState(zero, zero, rho, torch.tensor(changed), 1000, iteration, grown))

    assert after(101, grown=False) == pytest.approx(1.3)
    assert after(100, grown=False) == pytest.approx(1.2)
    assert after(5, grown=True) == pytest.approx(1.1)
    assert after(5, grown=False) == pytest.approx(0.2)  # rho was too large from the start
    assert after(0, grown=False) == pytest.approx(0.2)
    assert after(0, grown=True) is None
    assert after(1, grown=True, iteration=27) == pytest.approx(1.1)
    assert after(0, grown=False, iteration=30) is None
    assert after(0, grown=False, rho=1e-8) is None


def test_a_smaller_rho_starts_over():
    problem, *_ = layer(4, 12)
    rhos = {3: 0.05, 6: None}
    states = list(alps_steps(problem, sparsity=NM(2, 4), schedule=lambda s: rhos[s.iteration]))
    fresh = list(islice(alps_steps(problem, sparsity=NM(2, 4), rho=0.05), 3))
    assert len(states) == 6
    for again, first in zip(states[3:], fresh, strict=True):
        torch.testing.assert_close(again.x, first.x)


def test_a_slower_schedule_is_no_worse_on_most_layers():
    better = 0
    for seed in range(6):
        problem, *_ = layer(16, 64, seed=seed)
        fast, slow = (
            float(problem.relative_error(alps_prune(problem, sparsity=Unstructured(0.5, by_row=False), schedule=s)))
            for s in (AUTHORS_SCHEDULE, SLOW_SCHEDULE)
        )
        better += slow <= fast * 1.001
    assert better >= 4


def test_it_runs_under_solve_with_a_history():
    problem, *_ = layer(4, 12)
    run = solve(
        alps_steps(problem, sparsity=NM(2, 4)),
        tol=None,
        max_iter=50,
        track={"rho": lambda s: s.rho, "error": lambda s: problem.relative_error(s.x)},
    )
    assert run.history["rho"][0] == 0.1
    assert len(run.history["error"]) == run.iterations


def test_bad_options_are_sentences():
    problem, *_ = layer(2, 8)
    for prune, options, sentence in [
        (alps_prune, {"rho": 0.0}, "rho must be positive and finite, got 0.0"),
        (alps_prune, {"damping": -1.0}, "damping must be at least 0"),
        (alps_prune, {"refit_iterations": -1}, "refit_iterations must be at least 0, got -1"),
        (admm_prune, {"growth": 0.5}, "growth must be finite, and at least 1, got 0.5"),
        (admm_prune, {"iterations": 0}, "iterations must be at least 1, got 0"),
        (alps_steps, {"every": 0}, "every must be a whole number, at least 1, got 0"),
        (alps_steps, {"sparsity": NM(2, 3)}, "needs a last dimension divisible by 3"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            prune(problem, **({"sparsity": Unstructured(0.5)} | options))
    with pytest.raises(ValueError, match="slow must be finite and above 1"):
        type(AUTHORS_SCHEDULE)(1.3, 1.2, 1.0)
