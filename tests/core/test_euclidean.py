"""The Euclidean norm and its relatives: nearest points going round the circle, conventions at 0, and refusals."""

from __future__ import annotations

import math
import re

import pytest
import torch

from optsci import L2, CubedL2, GroupL2, GroupL2Ball, L2Ball, L2Sphere, Linear, NonnegativeL1, SparseGroup


def circle(radius):
    angles = torch.linspace(0, 2 * math.pi, 20001, dtype=torch.float64)
    return radius * torch.stack([angles.cos(), angles.sin()], -1)


@pytest.mark.parametrize("v", [[3.0, -1.0], [0.1, 0.05], [-2.0, 0.0]])
def test_projections_are_nearest_on_a_fine_circle(v):
    v = torch.tensor(v, dtype=torch.float64)
    on = circle(1.5)
    nearest = on[(on - v).square().sum(-1).argmin()]
    torch.testing.assert_close(L2Sphere(1.5).prox(v, 1.0), nearest, atol=3e-4, rtol=0)
    expected = nearest if v.norm() > 1.5 else v
    torch.testing.assert_close(L2Ball(1.5).prox(v, 1.0), expected, atol=3e-4, rtol=0)


def test_points_inside_a_ball_do_not_change():
    x = torch.tensor([[0.1, 0.7], [0.0, 0.0], [0.6, 0.8]])
    assert torch.equal(L2Ball(1.1).prox(x, 1.0), x)
    assert torch.equal(GroupL2Ball(1.1, dim=0).prox(x, 1.0), x)


def test_the_nearest_point_of_a_sphere_is_found_for_entries_whose_squares_leave_the_range():
    x = torch.tensor([[3e-30, 4e-30], [3e30, -4e30], [0.0, 0.0]])
    torch.testing.assert_close(L2Sphere().prox(x, 1.0), torch.tensor([[0.6, 0.8], [0.6, -0.8], [1.0, 0.0]]))


def test_rows_are_a_batch_and_steps_may_differ_from_row_to_row():
    x = torch.tensor([[3.0, 4.0], [0.3, 0.4]], dtype=torch.float64)
    steps = torch.tensor([[1.0], [0.25]], dtype=torch.float64)
    for f in (L2(), SparseGroup(0.2, 0.3), CubedL2(), GroupL2()):
        rows = torch.stack([f.prox(row, step.item()) for row, step in zip(x, steps, strict=True)])
        torch.testing.assert_close(f.prox(x, steps), rows)
        torch.testing.assert_close(f(x), f(x[0]) + f(x[1]))


def test_sparse_group_is_both_of_its_parts_where_one_weight_is_zero():
    x = torch.tensor([2.0, -0.5, 1.0])
    torch.testing.assert_close(SparseGroup(0, 0.8).prox(x, 0.7), L2(0.8).prox(x, 0.7))
    assert torch.equal(SparseGroup(1, 0).prox(x, 1.0), torch.tensor([1.0, 0.0, 0.0]))


def test_cube_keeps_its_digits_for_a_small_weight():
    # 1 - sqrt(1 + small) over small would lose them all
    x = torch.tensor([3.0, 4.0])
    torch.testing.assert_close(CubedL2(1e-12).prox(x, 1.0), x, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: L2(-1), "weight must be finite and at least 0, got -1.0"),
        (lambda: L2Ball(-1), "radius must be finite and at least 0, got -1.0"),
        (lambda: L2Sphere(0), "radius must be finite and positive, got 0.0"),
        (lambda: GroupL2Ball([1.0, 2.0]), "radius must be a single number, got shape (2,)"),
        (lambda: SparseGroup(1, -2), "l2 must be finite and at least 0, got -2.0"),
        (lambda: CubedL2(float("inf")), "weight must be finite and at least 0, got inf"),
        (lambda: Linear([0.0, float("nan")]), "c must be finite, got nan"),
        (lambda: Linear([0.0, 1.0])(torch.ones(3)), "c of shape (2,) does not broadcast to the shape (3,) of x"),
        (lambda: NonnegativeL1(-1), "weight must be finite and at least 0, got -1.0"),
        (
            lambda: L2().prox(torch.ones(2, 3), torch.ones(3)),
            "step of shape (3,) does not broadcast to the shape (2, 1)",
        ),
    ],
)
def test_euclidean_functions_refuse_in_one_sentence(make, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        make()
