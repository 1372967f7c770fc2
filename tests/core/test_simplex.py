"""The simplex and its relatives beyond the contract: refusals, batches, known points."""

from __future__ import annotations

import re

import pytest
import torch

from optsci import L1Ball, LInf, Max, Simplex, project_simplex
from optsci.functions.simplex import _by_sort, simplex_threshold


def by_bisection(x, radius):
    low, high = x.min() - radius, x.max()
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if (x - middle).clamp(min=0).sum() > radius else (low, middle)
    return (x - low).clamp(min=0)


@pytest.mark.parametrize("n", [1, 2, 7, 100])
@pytest.mark.parametrize("radius", [0.0, 1e-3, 1.0, 50.0])
def test_projection_on_the_simplex_agrees_with_bisection(n, radius):
    x = torch.randn(n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    torch.testing.assert_close(project_simplex(x, radius), by_bisection(x, radius), rtol=0, atol=1e-12)


def test_thresholds_by_sorting_and_by_the_kernel_agree():
    x = torch.randn(20, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64).mul(3).round()
    radius = torch.linspace(0, 30, 20, dtype=torch.float64)[:, None]
    torch.testing.assert_close(simplex_threshold(x, radius), _by_sort(x, radius))


def test_every_vector_of_a_batch_has_its_own_radius():
    x = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    radius = torch.arange(6, dtype=torch.float64).view(2, 3, 1)
    p = project_simplex(x, radius)
    torch.testing.assert_close(p.sum(-1, keepdim=True), radius)
    torch.testing.assert_close(p[1, 2], project_simplex(x[1, 2], 5.0))


def test_a_common_offset_costs_no_digits():
    x = torch.tensor([0.25, 0.5, 0.0, 0.75], dtype=torch.float64)
    assert torch.equal(project_simplex(x + 2.0**40, 1.0), project_simplex(x, 1.0))


def test_derivative_inside_the_simplex_is_that_of_the_projection_on_its_plane():
    x = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    jacobian = torch.func.jacrev(lambda v: Simplex().prox(v, 1.0))(x)
    torch.testing.assert_close(jacobian, torch.eye(3, dtype=torch.float64) - 1 / 3)
    assert torch.equal(Simplex().prox(x, 1.0), x)


def test_a_point_inside_the_ball_is_returned_unchanged():
    x = torch.tensor([0.3, -0.2, 0.1])
    assert torch.equal(L1Ball().prox(x, 1.0), x)


@pytest.mark.parametrize("f", [Simplex(), Max(), L1Ball(), LInf()], ids=lambda f: type(f).__name__)
def test_one_nan_spoils_its_vector_and_no_other(f):
    x = torch.tensor([[1.0, torch.nan, 2.0], [1.0, 0.0, 2.0]])
    p = f.prox(x, 1.0)
    assert p[0].isnan().all()
    torch.testing.assert_close(p[1], f.prox(x[1], 1.0))


@pytest.mark.parametrize("f", [Max(0.7), LInf(0.7)], ids=lambda f: type(f).__name__)
def test_step_may_differ_from_vector_to_vector(f):
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    p = f.prox(x, torch.tensor([[0.0], [0.5], [9.0]]))
    for row, step in enumerate((0.0, 0.5, 9.0)):
        torch.testing.assert_close(p[row], f.prox(x[row], step))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Simplex(-1), "radius must be finite and at least 0, got -1.0"),
        (lambda: L1Ball(float("inf")), "radius must be finite and at least 0, got inf"),
        (lambda: Max(float("nan")), "weight must be finite and at least 0, got nan"),
        (lambda: LInf([1, 2]), "weight must be a single number, got shape (2,)"),
        (lambda: LInf().prox(torch.ones(2, 3), torch.ones(3)), "step of shape (3,) does not broadcast"),
        (lambda: project_simplex(torch.ones(2, 3), torch.ones(3)), "radius of shape (3,) does not broadcast"),
    ],
)
def test_refusals_are_one_sentence(make, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        make()
