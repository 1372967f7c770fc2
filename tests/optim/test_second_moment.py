"""The factors of the second moment: errors, ranks, negative entries, and what a pass keeps."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from optsci.lowrank import subspace_iteration
from optsci.optim import AdaptiveRank, columns, doubling, sigmoid_growth, svd
from optsci.optim.rank_growth import adaptive_subspace
from optsci.optim.second_moment import (
    directions,
    finish_pass,
    one_pass,
    orthonormal,
    relative_error,
    second_moment,
    subspace,
)


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def moments(m=256, n=384, rank=8, steps=200, decay=0.99, noise=0.05):
    """Second moment of gradients whose variance has a low rank, with some noise on it."""
    a, b = normal(m, rank, seed=1).exp(), normal(rank, n, seed=2).exp()
    deviation = (a @ b + noise * normal(m, n, seed=3).square()).sqrt()
    generator, V = torch.Generator().manual_seed(4), torch.zeros(m, n)
    for _ in range(steps):
        V = decay * V + (1 - decay) * (deviation * torch.randn(m, n, generator=generator)).square()
    return V


def explicit(A, Q, U):
    return torch.linalg.matrix_norm(A - Q @ U.mT) / torch.linalg.matrix_norm(A)


def test_rank_one_is_exact_on_an_outer_product():
    V = torch.outer(normal(70).abs() + 0.1, normal(50, seed=1).abs() + 0.1)[None]
    for sweeps in (1, 2, 5):
        Q, U = columns(*subspace(V, normal(1, 50, 6, seed=2), sweeps=sweeps), 1)
        assert explicit(V, Q, U) < 1e-5


def test_the_iteration_is_that_of_the_core():
    A, start = normal(2, 40, 30, dtype=torch.float64), normal(2, 30, 9, seed=1, dtype=torch.float64)
    Q, U = subspace(A, start, sweeps=3)
    for i in range(2):
        Q_core, U_core = subspace_iteration(A[i], 9, oversample=0, sweeps=3, start=start[i])
        torch.testing.assert_close(Q[i] @ U[i].mT, Q_core @ U_core.mT, rtol=0, atol=1e-12)


@pytest.mark.parametrize("truncate", [columns, svd])
@pytest.mark.parametrize("rank", [1, 4, 16])
def test_the_error_formula_is_the_residual(truncate, rank):
    V = moments(80, 60, steps=30)[None].expand(2, -1, -1) * torch.tensor([1.0, 3.0])[:, None, None]
    full = subspace(V, normal(2, 60, rank + 5))
    for Q, U in (full, truncate(*full, rank)):
        torch.testing.assert_close(relative_error(V, Q, U).float(), explicit(V, Q, U), rtol=2e-4, atol=1e-6)


def test_the_error_of_an_exact_approximation_is_rounding_and_not_its_root():
    V = (normal(50, 3).abs() @ normal(3, 40, seed=1).abs())[None]
    Q, U = subspace(V, normal(1, 40, 8))
    assert relative_error(V, Q, U) < 1e-5  # from norms alone it would be near 3e-4
    zero = torch.zeros(1, 5, 4)
    assert relative_error(zero, *subspace(zero, torch.ones(1, 4, 1))) == 0


def test_best_then_svd_then_columns():
    """The ordering of errors, and negative entries where the spectrum is flat."""
    V = moments()[None]
    values = torch.linalg.svdvals(V[0])
    for rank in (4, 16, 36):
        Q, U = subspace(V, normal(1, 384, rank + 5))
        best = (values[rank:].norm() / values.norm()).item()
        cut, rotated = (explicit(V, *truncate(Q, U, rank)).item() for truncate in (columns, svd))
        assert best <= rotated * (1 + 1e-5)
        assert rotated <= cut * (1 + 1e-5)
        assert rotated <= 1.05 * best
        Q, U = columns(Q, U, rank)
        share = (Q @ U.mT < 0).float().mean()
        assert share > 0 if rank == 16 else share < 0.2


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 5))
def test_the_bound_on_the_update_holds_whatever_the_factors(m, n, seed):
    k = min(m, n, 4)
    Q, U, G = normal(1, m, k, seed=seed), normal(1, n, k, seed=seed + 1), normal(1, m, n, seed=seed + 2)
    V = second_moment(Q, U, G, 0.999)
    assert V.isfinite().all()
    assert (G.abs() / (V.sqrt() + 1e-8)).max() <= 31.63
    torch.testing.assert_close(V, 0.999 * (Q @ U.mT).clamp(min=0) + 0.001 * G * G)


def test_one_pass_from_the_last_factors_is_nearly_the_full_iteration():
    """What pursuit loses against five sweeps from scratch in every step, on gradients that drift."""
    rank, b2, errors = 16, 0.99, {}
    for name in ("pursued", "afresh"):
        generator = torch.Generator().manual_seed(0)
        a, b = normal(120, 8, seed=1).abs() ** 3, normal(90, 8, seed=2).abs() ** 3
        Q, U, exact = torch.zeros(1, 120, rank), torch.zeros(1, 90, rank), torch.zeros(1, 120, 90)
        for t in range(100):
            a = (a + 0.02 * torch.randn(a.shape, generator=generator)).abs()
            G = ((a @ b.T).sqrt() * torch.randn(120, 90, generator=generator))[None]
            exact = b2 * exact + (1 - b2) * G * G
            V = second_moment(Q, U, G, b2)
            if name == "afresh" or t == 0:
                Q, U = svd(*subspace(V, normal(1, 90, rank + 5, seed=100 + t)), rank)
            else:
                Q, U = one_pass(V, directions(U, None, lambda: normal(1, 90, rank)))
        errors[name] = explicit(exact, Q, U).item()
    values = torch.linalg.svdvals(exact[0])
    best = (values[rank:].norm() / values.norm()).item()
    assert best < errors["afresh"] < 1.2 * best
    assert errors["pursued"] < 1.01 * errors["afresh"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_pass_is_orthonormal_and_a_projection(dtype):
    V = moments(100, 80, steps=20).to(dtype)[None]
    Q, U = one_pass(V, directions(normal(1, 80, 12, dtype=dtype), None, lambda: normal(1, 80, 12)))
    eps = torch.finfo(dtype).eps
    assert (Q.mT @ Q - torch.eye(12, dtype=dtype)).abs().max() < 20 * eps
    torch.testing.assert_close(U, V.mT @ Q, rtol=1e4 * eps, atol=1e4 * eps * float(V.max()))


def test_dependent_columns_become_zero_and_start_anew():
    V = torch.outer(torch.rand(60) + 0.1, torch.rand(50) + 0.1)[None]  # rank 1
    Q, U = one_pass(V, directions(normal(1, 50, 4), None, lambda: normal(1, 50, 4)))
    assert explicit(V, Q, U) < 1e-4
    assert (Q[..., 1:] == 0).all()
    assert (U[..., 1:] == 0).all()
    start = directions(U, None, lambda: normal(1, 50, 4, seed=9)) * U[..., 0].norm()
    torch.testing.assert_close(start[..., 1:], normal(1, 50, 4, seed=9)[..., 1:])
    counted = directions(U, torch.tensor([3], dtype=torch.int32), lambda: normal(1, 50, 4, seed=9))
    assert (counted[..., 3] == 0).all()
    assert (counted[..., 1:3] != 0).all()


def test_zero_gives_zero():
    Y, B = torch.zeros(2, 10, 3), torch.zeros(2, 8, 3)
    Q, U = finish_pass(Y, Y.mT @ Y, B)
    assert (Q == 0).all()
    assert (U == 0).all()


def test_cholesky_three_times_is_orthonormal_also_for_a_bad_basis():
    Y = normal(1, 200, 6) @ torch.diag(10.0 ** -torch.arange(6.0)) @ normal(1, 6, 6, seed=1)
    Q = orthonormal(Y, total=lambda *tensors: tensors)
    assert (Q.mT @ Q - torch.eye(6)).abs().max() < 1e-5
    assert (Y - Q @ (Q.mT @ Y)).norm() < 1e-5 * Y.norm()


@pytest.mark.parametrize("growth", [sigmoid_growth, doubling, lambda error, rank: 0])
def test_the_rank_grows_until_the_error_is_small_and_no_further(growth):
    V, tried = moments(96, 80, rank=3, steps=50, noise=0.0)[None], []

    def start(r):
        tried.append(r - 5)
        return normal(1, 80, r, seed=r)

    Q, U, error = adaptive_subspace(V, AdaptiveRank(tol=0.6, growth=growth), 40, start, truncate=columns)
    assert error <= 0.6
    assert explicit(V, Q, U).item() == pytest.approx(error, rel=1e-3)
    assert tried == sorted(set(tried))
    assert Q.shape[-1] == tried[-1]
    if len(tried) > 1:
        Q, U = columns(*subspace(V, normal(1, 80, tried[-2] + 5, seed=tried[-2] + 5)), tried[-2])
        assert explicit(V, Q, U) > 0.6
    impossible = adaptive_subspace(V, AdaptiveRank(tol=0.0, growth=growth), 7, start, truncate=svd)
    assert impossible[0].shape[-1] == 7


def test_growth_rules():
    errors = [i / 100 for i in range(101)]
    grown = [sigmoid_growth(error, 1) for error in errors]
    assert grown == sorted(grown)
    assert min(grown) >= 1
    assert [doubling(0.5, k) for k in (1, 2, 4)] == [1, 2, 4]
    assert math.isclose(grown[0], 6, abs_tol=1)


@pytest.mark.parametrize(("name", "value"), [("tol", -1.0), ("start", 0), ("every", 0), ("every", 1.5)])
def test_a_search_out_of_range_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be .*got {value}"):
        AdaptiveRank(**{name: value})
