"""Randomised low rank: the bounds of the sources, exactness where rank allows it, certificates that hold."""

from __future__ import annotations

import math
import re

import pytest
import torch

import optsci
from optsci.sketch import orthonormalize

DTYPES = [torch.float32, torch.float64]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def with_spectrum(m: int, n: int, values: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Matrix (m, n) with these singular values and random singular vectors."""
    generator = seeded(seed)
    k = len(values)
    U = torch.linalg.qr(torch.randn(m, k, generator=generator, dtype=values.dtype)).Q
    V = torch.linalg.qr(torch.randn(n, k, generator=generator, dtype=values.dtype)).Q
    return (U * values) @ V.T


HARMONIC = 1 / torch.arange(1, 201, dtype=torch.float64)


@pytest.mark.parametrize("powers", [0, 1, 2])
def test_range_finder_satisfies_the_bounds_of_halko_martinsson_and_tropp(powers):
    # In the mean over sketches; 20 draws lie a factor 2 and more below, with a spread of a few per cent.
    k, p, s = 20, 10, HARMONIC
    A = with_spectrum(300, 200, s)
    spectral, frobenius = [], []
    for seed in range(20):
        Q = optsci.range_finder(A, k, oversample=p, powers=powers, generator=seeded(seed))
        error = A - Q @ (Q.T @ A)
        spectral.append(torch.linalg.matrix_norm(error, 2).item())
        frobenius.append(error.norm().item())
    tail = s[k:].square().sum().sqrt().item()
    factor = 1 + math.sqrt(k / (p - 1)) + math.e * math.sqrt(k + p) / p * math.sqrt(200 - k)
    bound = factor ** (1 / (2 * powers + 1)) * s[k].item()
    if powers == 0:
        bound = (1 + math.sqrt(k / (p - 1))) * s[k].item() + math.e * math.sqrt(k + p) / p * tail
    assert sum(spectral) / 20 <= bound
    assert sum(frobenius) / 20 <= math.sqrt(1 + k / (p - 1)) * tail
    assert min(spectral) >= s[k + p].item() * (1 - 1e-12)  # no basis of k + p columns does better


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", [optsci.randomized_svd, optsci.block_krylov_svd])
@pytest.mark.parametrize("shape", [(60, 40), (40, 60)])
def test_svd_of_a_matrix_of_low_rank_is_exact(method, shape, dtype):
    A = with_spectrum(*shape, torch.tensor([5.0, 3.0, 2.0, 1.0], dtype=dtype))
    U, S, Vh = method(A, 4, generator=seeded(1))
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close((U * S) @ Vh, A, rtol=0, atol=100 * eps * 5)  # 5 is the norm of A
    torch.testing.assert_close(S, torch.tensor([5.0, 3.0, 2.0, 1.0], dtype=dtype), rtol=50 * eps, atol=0)
    for factor in (U.T @ U, Vh @ Vh.T):
        torch.testing.assert_close(factor, torch.eye(4, dtype=dtype), rtol=0, atol=50 * eps)


def test_block_krylov_beats_powers_with_the_same_products():
    A = with_spectrum(300, 200, HARMONIC.sqrt())

    def error(svd: optsci.SVD) -> float:
        return torch.linalg.matrix_norm(A - (svd.U * svd.S) @ svd.Vh, 2).item()

    for seed in range(5):
        krylov = error(optsci.block_krylov_svd(A, 10, oversample=5, depth=3, generator=seeded(seed)))
        powers = error(optsci.randomized_svd(A, 10, oversample=5, powers=3, generator=seeded(seed)))
        assert krylov < powers
        assert krylov <= 1.01 * HARMONIC[10].sqrt().item()


def test_same_seed_same_result_and_the_global_generator_is_left_alone():
    A = with_spectrum(30, 20, HARMONIC[:20])
    state = torch.get_rng_state()
    first, second = (optsci.randomized_svd(A, 3, generator=seeded(5)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_an_operator_that_is_no_matrix_will_do():
    A = with_spectrum(30, 20, HARMONIC[:20]).float()

    class Product:
        shape = (30, 20)

        def __init__(self, entries):
            self.entries = entries

        def __call__(self, x):
            return self.entries @ x

        @property
        def T(self):
            return Product(self.entries.T)

        def norm(self):
            return 1.0

    first = optsci.randomized_svd(Product(A), 3, generator=seeded(5))
    torch.testing.assert_close(first.S, torch.linalg.svdvals(A)[:3], rtol=1e-3, atol=0)


def test_nystrom_satisfies_its_bound_in_the_nuclear_norm():
    values = 1 / torch.arange(1, 201, dtype=torch.float64) ** 2
    A = with_spectrum(200, 200, values)
    A = torch.linalg.qr(A).Q
    A = (A * values) @ A.T
    k, p, errors = 20, 10, []
    for seed in range(20):
        U, found = optsci.nystrom(A, k + p, oversample=0, generator=seeded(seed))
        error = torch.linalg.eigvalsh(A - (U * found) @ U.T)
        assert error[0] >= -1e-12  # never above A
        errors.append(error.abs().sum().item())
    assert sum(errors) / 20 <= (1 + k / (p - 1)) * values[k:].sum().item()


def test_nystrom_preconditioner_has_the_condition_number_and_saves_iterations():
    n, mu = 400, 1e-3
    values = 1 / torch.arange(1, n + 1, dtype=torch.float64) ** 2
    basis = torch.linalg.qr(torch.randn(n, n, generator=seeded(0), dtype=torch.float64)).Q
    A = (basis * values) @ basis.T
    effective = (values / (values + mu)).sum().item()
    sketch = 2 * math.ceil(1.5 * effective) + 1
    P = optsci.NystromPreconditioner(optsci.nystrom(A, sketch, oversample=0, generator=seeded(1)), mu)
    identity = torch.eye(n, dtype=torch.float64)
    torch.testing.assert_close(P.inverse(P(identity)), identity, rtol=0, atol=1e-12)
    spectrum = torch.linalg.eigvals(P(A + mu * identity)).real
    assert spectrum.max() / spectrum.min() < 28
    b = torch.randn(3, n, generator=seeded(2), dtype=torch.float64)

    def iterations(preconditioner):
        steps = optsci.conjugate_gradient(lambda x: x @ A + mu * x, b, preconditioner=preconditioner)
        run = optsci.solve(steps, tol=1e-10, max_iter=2000).raise_if_failed()
        torch.testing.assert_close(run.x @ A + mu * run.x, b, rtol=0, atol=1e-8)
        return run.iterations

    assert iterations(P) <= 30
    assert iterations(None) >= 5 * iterations(P)
    with pytest.raises(ValueError, match="mask must be None"):
        optsci.conjugate_gradient(lambda x: x, b, mask=b > 0, preconditioner=P)


@pytest.mark.parametrize("tol", [1e-2, 1e-6, 1e-11])
def test_adaptive_range_certifies_the_error_it_stops_at(tol):
    # The bound fails with probability 10^-8 a state.
    s = torch.logspace(0, -14, 100, dtype=torch.float64)
    A = with_spectrum(150, 120, s)
    run = optsci.solve(optsci.adaptive_range(A, block=8, generator=seeded(3)), tol=tol).raise_if_failed()
    Q, B = run.x, run.state.B
    assert torch.linalg.matrix_norm(A - Q @ B, 2) <= tol
    needed = int((s > tol).sum())
    assert needed <= Q.shape[1] <= needed + 40
    torch.testing.assert_close(Q.T @ Q, torch.eye(Q.shape[1], dtype=torch.float64), rtol=0, atol=1e-12)


def test_adaptive_range_ends_with_the_whole_space():
    A = torch.randn(10, 7, generator=seeded(0), dtype=torch.float64)
    run = optsci.solve(optsci.adaptive_range(A, block=3, generator=seeded(1)), tol=0.0)
    assert (run.status, run.x.shape[1]) == (optsci.Status.CONVERGED, 7)
    torch.testing.assert_close(run.x @ run.state.B, A)


def test_posterior_error_is_an_upper_bound():
    # Each fails with probability 1e-10.
    A = with_spectrum(100, 80, HARMONIC[:80])
    for seed in range(20):
        Q = optsci.range_finder(A, 5, powers=0, generator=seeded(seed))
        true = torch.linalg.matrix_norm(A - Q @ (Q.T @ A), 2).item()
        bound = optsci.posterior_error(A, Q, generator=seeded(100 + seed))
        assert true <= bound <= 10 * math.sqrt(2 / math.pi) * 3 * (A - Q @ (Q.T @ A)).norm().item()


def test_subspace_iteration_needs_one_sweep_from_a_good_start():
    A = with_spectrum(120, 80, 0.7 ** torch.arange(80, dtype=torch.float64))
    best = (0.7 ** torch.arange(80, dtype=torch.float64))[13:].norm().item()

    def error(**options):
        Q, U = optsci.subspace_iteration(A, 8, oversample=5, generator=seeded(0), **options)
        return (A - Q @ U.T).norm().item(), U

    cold, _ = error(sweeps=1)
    full, U = error(sweeps=5)
    warm, _ = error(sweeps=1, start=U)
    assert warm <= full <= 1.001 * best < cold


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("condition", [1.0, 1e3, 1e6, 1e10, math.inf])
def test_orthonormalize_at_any_condition_number(condition, dtype):
    values = torch.logspace(0, -math.log10(condition), 8, dtype=dtype) if condition < math.inf else torch.eye(8)[0]
    Y = with_spectrum(50, 8, values.to(dtype))
    Q = orthonormalize(Y)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(Q.T @ Q, torch.eye(8, dtype=dtype), rtol=0, atol=100 * eps)
    torch.testing.assert_close(Q @ (Q.T @ Y), Y, rtol=0, atol=100 * eps)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: optsci.randomized_svd(torch.eye(3), 4), "rank must be at most 3, the smaller dimension of A, got 4"),
        (lambda: optsci.range_finder(torch.eye(3), 0), "rank must be a whole number, at least 1, got 0"),
        (lambda: optsci.range_finder(torch.eye(3), 1.5), "rank must be a whole number, at least 1, got 1.5"),
        (lambda: optsci.range_finder(torch.eye(3), 1, oversample=-1), "oversample must be a whole number, at least 0"),
        (
            lambda: optsci.block_krylov_svd(torch.eye(3), 1, depth=-1),
            "depth must be a whole number, at least 0, got -1",
        ),
        (lambda: optsci.subspace_iteration(torch.eye(3), 1, sweeps=0), "sweeps must be at least 1, got 0"),
        (
            lambda: optsci.subspace_iteration(torch.eye(3), 1, start=torch.ones(3, 1)),
            "start must have the shape (3, 3)",
        ),
        (lambda: optsci.nystrom(torch.ones(3, 2), 1), "A must be square, got shape (3, 2)"),
        (lambda: optsci.nystrom(-torch.eye(3), 1), "A must be positive semidefinite"),
        (lambda: optsci.NystromPreconditioner(None, 0.0), "mu must be finite and positive, got 0.0"),
        (lambda: optsci.posterior_error(torch.eye(3), torch.eye(2)), "Q must have the 3 rows of A, got shape (2, 2)"),
        (lambda: optsci.adaptive_range(torch.eye(3), block=0), "block must be a whole number, at least 1, got 0"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        call()
