"""Functions of matrices: derivatives at repeated singular values, naive projections, special cases, refusals."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

import optsci
from cases.contract import gaussian
from optsci import (
    L1,
    PSD,
    EigenFunction,
    KyFan,
    NegativeLogDet,
    Nuclear,
    NuclearBall,
    Rank,
    RankBall,
    Schatten,
    Spectral,
    SpectralBall,
    SpectralFunction,
    Stiefel,
)
from optsci.functions.matrix import _capped


def orthogonal(*shape):
    return torch.linalg.qr(gaussian(torch.as_tensor, *shape)).Q


REPEATED = (
    torch.tensor([[2.0, 2.0, 2.0]]).mT * torch.eye(3, dtype=torch.float64),
    orthogonal(4, 4)[:, :3] * 2,
    orthogonal(4, 4)[:, :3] * 2 @ torch.diag(torch.tensor([1.0, 1.0, 0.2], dtype=torch.float64)) @ orthogonal(3, 3),
    3 * orthogonal(4, 4)[:, :1] @ orthogonal(3, 3)[:1],
    torch.zeros(3, 2, dtype=torch.float64),
)


@pytest.mark.parametrize("x", REPEATED, ids=["identity", "orthonormal", "a pair", "two zeros", "zero"])
@pytest.mark.parametrize(
    "f",
    [Nuclear(0.7), SpectralBall(1.1), NuclearBall(9), Schatten(0.7, 3), Schatten(0.7, 2), SpectralFunction(L1(0.7))],
    ids=lambda f: type(f).__name__,
)
def test_derivative_of_a_prox_holds_where_singular_values_repeat_or_vanish(f, x):
    # torch's own derivative of an SVD is NaN there
    assert torch.autograd.gradcheck(lambda v: f.prox(v, 0.8), (x.clone().requires_grad_(),), atol=1e-5)


@pytest.mark.parametrize("w", [[2.0, 2.0, 2.0], [2.0, -1.0, 2.0], [1.0, -1.0, -1.0]])
@pytest.mark.parametrize("f", [PSD(), NegativeLogDet(0.7), EigenFunction(L1(0.7))], ids=lambda f: type(f).__name__)
def test_derivative_of_a_prox_holds_where_eigenvalues_repeat(f, w):
    Q = orthogonal(3, 3)
    x = Q @ torch.diag(torch.tensor(w, dtype=torch.float64)) @ Q.T
    assert torch.autograd.gradcheck(lambda v: f.prox(v, 0.8), (x.requires_grad_(),), atol=1e-5)


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5), (2, 4, 3)])
def test_derivative_agrees_with_that_of_a_formula_without_singular_vectors(shape):
    # Schatten 2 is a multiple of the identity, and the polar factor X (X^T X)^(-1/2) solves X = Q H.
    x = gaussian(torch.as_tensor, *shape).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: Schatten(0.5, 2).prox(v, 1.0), (x,))
    assert torch.autograd.gradcheck(lambda v: Stiefel().prox(v, 1.0), (x,), atol=1e-5)
    direction = gaussian(torch.as_tensor, *reversed(shape)).reshape(shape)
    _, pulled = torch.func.vjp(lambda v: Schatten(0.5, 2).prox(v, 1.0), x.detach())
    torch.testing.assert_close(pulled(direction)[0], direction / 2)


def test_prox_is_differentiable_in_the_weight():
    v = gaussian(torch.as_tensor, 3, 4).requires_grad_()
    w = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    for make in (Nuclear, Spectral, SpectralBall, NuclearBall, lambda w: KyFan(w, 2), lambda w: Schatten(w, 1.5)):
        assert torch.autograd.gradcheck(lambda v, w, make=make: make(w).prox(v, 0.5), (v, w))


def test_a_second_derivative_is_refused_not_wrong():
    x = gaussian(torch.as_tensor, 3, 4).requires_grad_()
    (slope,) = torch.autograd.grad(Nuclear().prox(x, 0.5).pow(3).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(slope.sum(), x)


# --- the projection behind the spectral and the Ky Fan norm -------------------------------------------------------


def naive_capped(s, cap, total):
    """Bisection for the level, 200 halvings."""
    low, high = 0.0, float(s.max())
    if np.clip(s, 0, cap).sum() <= total:
        return np.clip(s, 0, cap)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.clip(s - middle, 0, cap).sum() > total else (low, middle)
    return np.clip(s - high, 0, cap)


@pytest.mark.parametrize("cap", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize(
    "s", [[5.0, 4.0, 1.0, 0.5], [2.0, 2.0, 2.0, 0.0], [0.1, 0.05, 0.0, 0.0], [3.0, 2.0, 1.0, 0.0], [0.0] * 4]
)
def test_capped_projection_agrees_with_bisection(s, cap, count):
    found = _capped(torch.tensor(s, dtype=torch.float64), cap, cap * count)
    np.testing.assert_allclose(found, naive_capped(np.array(s), cap, cap * count), atol=1e-12)


def test_ky_fan_lies_between_the_spectral_and_the_nuclear_norm():
    x = gaussian(torch.as_tensor, 4, 3)
    for k, other in ((1, Spectral(0.7)), (3, Nuclear(0.7)), (9, Nuclear(0.7))):
        torch.testing.assert_close(KyFan(0.7, k)(x), other(x))
        torch.testing.assert_close(KyFan(0.7, k).prox(x, 0.8), other.prox(x, 0.8))


def test_schatten_1_is_nuclear():
    x = gaussian(torch.as_tensor, 4, 3)
    torch.testing.assert_close(Schatten(0.7, 1)(x), Nuclear(0.7)(x))
    torch.testing.assert_close(Schatten(0.7, 1).prox(x, 0.8), Nuclear(0.7).prox(x, 0.8))


# --- rank, orthogonality, definiteness ----------------------------------------------------------------------------


def test_truncation_is_as_near_as_eckart_and_young_say():
    x = gaussian(torch.as_tensor, 5, 4)
    s = np.linalg.svd(x.numpy(), compute_uv=False)
    for rank in range(6):
        p = RankBall(rank).prox(x, 1.0)
        assert np.linalg.matrix_rank(p.numpy()) == min(rank, 4)
        assert (x - p).square().sum().item() == pytest.approx((s[rank:] ** 2).sum(), abs=1e-12)


def test_points_of_a_set_do_not_change():
    x = gaussian(torch.as_tensor, 2, 3, 3)
    for f in (SpectralBall(9), NuclearBall(20), RankBall(3)):
        assert torch.equal(f.prox(x, 1.0), x)
    x = x @ x.mT
    x = (x + x.mT) / 2
    assert torch.equal(PSD().prox(x, 1.0), x)


def test_rank_penalty_drops_a_singular_value_at_the_threshold():
    x = torch.diag(torch.tensor([3.0, 2.0, 1.0]))
    assert Rank(2.0).prox(x, 1.0).diagonal().tolist() == [3.0, 0.0, 0.0]
    assert Rank(0.5)(x) == 1.5


def test_polar_factor_of_batches_is_orthonormal_and_nearest():
    x = gaussian(torch.as_tensor, 3, 5, 2)
    q = Stiefel().prox(x, 1.0)
    torch.testing.assert_close(q.mT @ q, torch.eye(2, dtype=x.dtype).expand(3, 2, 2))
    H = q.mT @ x  # nearest exactly if this is symmetric and positive semidefinite
    torch.testing.assert_close(H, H.mT)
    assert (torch.linalg.eigvalsh(H) > 0).all()


def test_projection_onto_the_cone_satisfies_moreau():
    x = gaussian(torch.as_tensor, 4, 4)
    p = PSD().prox(x, 1.0)
    rest = (x + x.T) / 2 - p
    torch.testing.assert_close(p, p.T, atol=0, rtol=0)
    assert (p * rest).sum().abs() < 1e-13
    assert torch.linalg.eigvalsh(-rest)[0] > -1e-13


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_prox_of_log_det_keeps_its_digits_far_below_zero(dtype):
    # The root of z - t/z = w is t/|w| for a large negative w, where w + sqrt(w^2 + 4 t) is 0 in rounding.
    z = NegativeLogDet().prox(torch.tensor([[-1e6]], dtype=dtype), 1.0)
    torch.testing.assert_close(z, torch.tensor([[1e-6]], dtype=dtype), rtol=1e-6, atol=0)


def test_log_det_is_that_of_numpy():
    x = gaussian(torch.as_tensor, 3, 5)
    x = x @ x.T
    assert NegativeLogDet(0.7)(x).item() == pytest.approx(-0.7 * np.linalg.slogdet(x.numpy())[1])


# --- doors --------------------------------------------------------------------------------------------------------


def test_steps_may_differ_from_matrix_to_matrix():
    x = gaussian(torch.as_tensor, 2, 3, 3)
    steps = torch.tensor([0.3, 2.0], dtype=x.dtype).reshape(2, 1, 1)
    for f in (Nuclear(), Spectral(), KyFan(0.7, 2), Schatten(0.7, 1.5), Rank(), NegativeLogDet()):
        each = torch.stack([f.prox(m, step.item()) for m, step in zip(x, steps, strict=True)])
        torch.testing.assert_close(f.prox(x, steps), each)


def test_a_matrix_with_infinity_spoils_no_other():
    x = torch.ones(2, 2, 2)
    x[0, 0, 0] = torch.inf
    p = Nuclear().prox(x, 0.5)
    assert p[0].isnan().all()
    torch.testing.assert_close(p[1], torch.full((2, 2), 0.75))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Nuclear(-1), "weight must be finite and at least 0, got -1.0"),
        (lambda: SpectralBall(-1), "radius must be finite and at least 0, got -1.0"),
        (lambda: NegativeLogDet(0), "weight must be finite and positive, got 0.0"),
        (lambda: Schatten(1, 4), "p must be 1, 3/2, 2 or 3, got 4"),
        (lambda: Schatten(0, 2), "weight must be finite and positive, got 0.0"),
        (lambda: KyFan(1, 0), "k must be a whole number, at least 1, got 0"),
        (lambda: RankBall(-1), "rank must be a whole number, at least 0, got -1"),
        (lambda: RankBall(1.5), "rank must be a whole number, at least 0, got 1.5"),
        (lambda: Nuclear()(torch.ones(3)), "x must be a matrix or a batch of matrices, got shape (3,)"),
        (lambda: PSD().prox(torch.ones(3, 2), 1.0), "x must be a square matrix or a batch of them, got shape (3, 2)"),
        (
            lambda: Nuclear().prox(torch.ones(2, 3, 3), torch.ones(2)),
            "step of shape (2,) does not broadcast to the shape (2, 1, 1) of x",
        ),
    ],
)
def test_matrix_functions_refuse_in_one_sentence(make, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        make()


@pytest.mark.parametrize(
    "f",
    [optsci.PSD(), optsci.NegativeLogDet(), optsci.Nuclear(), optsci.Spectral(), optsci.RankBall(1), optsci.Rank()],
    ids=lambda f: type(f).__name__,
)
@pytest.mark.parametrize("shape", [(0, 0), (2, 0, 0)])
def test_matrices_without_entries_have_the_value_zero(f, shape):
    x = torch.zeros(shape)
    assert f(x) == 0
    assert f.prox(x, 1.0).shape == shape
    if hasattr(f, "grad"):
        assert f.grad(x).shape == shape
