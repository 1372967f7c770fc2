"""Total variation against its optimality condition on longer sequences."""

from __future__ import annotations

import re

import pytest
import torch

from optsci import FusedLasso, TotalVariation1D


@pytest.mark.parametrize("weight", [0.0, 0.01, 0.5, 3.0, 100.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_dual_certificate_of_a_denoised_sequence_lies_in_its_tube(weight, seed):
    # x - p = D^T u with |u| <= w, and u = w sgn(jump) at every jump: necessary and sufficient.
    x = torch.randn(300, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).cumsum(0)
    p = TotalVariation1D(weight).prox(x, 1.0)
    u = -(x - p).cumsum(0)
    assert u[-1].abs() <= 1e-10
    assert (u.abs() <= weight + 1e-10).all()
    jumps = p.diff().sign()
    torch.testing.assert_close(u[:-1][jumps != 0], weight * jumps[jumps != 0], rtol=0, atol=1e-10)


def test_a_large_weight_leaves_the_mean():
    x = torch.tensor([1.0, 5.0, -3.0, 9.0])
    torch.testing.assert_close(TotalVariation1D(1e3).prox(x, 1.0), torch.full((4,), 3.0))


def test_one_nan_spoils_its_sequence_and_no_other():
    p = TotalVariation1D().prox(torch.tensor([[1.0, torch.nan, 2.0], [1.0, 2.0, 6.0]]), 1.0)
    assert p[0].isnan().all()
    assert torch.equal(p[1], torch.tensor([2.0, 2.0, 5.0]))


@pytest.mark.parametrize("f", [TotalVariation1D(0.7), FusedLasso(0.4, 0.7)], ids=lambda f: type(f).__name__)
def test_step_may_differ_from_sequence_to_sequence(f):
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    p = f.prox(x, torch.tensor([[0.0], [0.5], [9.0]]))
    for row, step in enumerate((0.0, 0.5, 9.0)):
        torch.testing.assert_close(p[row], f.prox(x[row], step))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TotalVariation1D(-1), "weight must be finite and at least 0, got -1.0"),
        (lambda: FusedLasso(-1, 1), "l1 must be finite and at least 0, got -1.0"),
        (lambda: FusedLasso(1, -1), "tv must be finite and at least 0, got -1.0"),
        (lambda: TotalVariation1D().prox(torch.ones(2, 3), torch.ones(3)), "step of shape (3,) does not broadcast"),
    ],
)
def test_refusals_are_one_sentence(make, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        make()
