"""Dykstra's algorithm: the nearest point, not just any; sweeps that do not suffice; refusals."""

from __future__ import annotations

import re

import pytest
import torch

from optsci import L1, Birkhoff, Box, BoxSection, Halfspace, Hyperplane, Intersection, Nonnegative


def test_it_finds_the_nearest_point_where_alternating_projections_do_not():
    box, half = Box(0, 1), Halfspace(torch.tensor([1.0, 3.0]).double(), 1.5)
    v = torch.tensor([2.0, 1.0], dtype=torch.float64)
    alternating = half.prox(box.prox(v, 1.0), 1.0)
    p = Intersection(half, box).prox(v, 1.0)
    assert box(alternating) + half(alternating) == 0
    torch.testing.assert_close(p, torch.tensor([1.0, 1 / 6], dtype=torch.float64), rtol=0, atol=1e-14)
    assert (p - v).norm() < (alternating - v).norm()


def test_a_section_of_a_box_by_its_two_sets():
    v = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a = torch.tensor([1.0, -2.0, 0.5, 1.0], dtype=torch.float64)
    p = Intersection(Hyperplane(a, 0.7), Box(-1, 2)).prox(v, 1.0)
    torch.testing.assert_close(p, BoxSection(-1, 2, a, 0.7).prox(v, 1.0), rtol=0, atol=1e-13)


def test_an_empty_intersection_and_too_few_sweeps_show_in_the_value():
    v = torch.tensor([3.0, -1.0])
    empty = Intersection(Box(0, 1), Halfspace([1.0, 1.0], -1.0))
    assert empty(empty.prox(v, 1.0)) == torch.inf
    sharp = (Halfspace([1.0, 0.1], 0.0), Halfspace([-1.0, 0.1], 0.0))
    few, many = Intersection(*sharp, sweeps=2), Intersection(*sharp, sweeps=2000)
    w = torch.tensor([0.1, 5.0])
    assert few(few.prox(w, 1.0)) == torch.inf
    torch.testing.assert_close(many.prox(w, 1.0), torch.zeros(2), rtol=0, atol=1e-5)


def test_more_sweeps_approach_the_doubly_stochastic_matrices():
    class Rows:
        def prox(self, x, step):
            return x - (x.sum(-1, keepdim=True) - 1) / x.shape[-1]

    class Columns:
        def prox(self, x, step):
            return x - (x.sum(-2, keepdim=True) - 1) / x.shape[-2]

    v = torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = Intersection(Rows(), Columns(), Nonnegative(), sweeps=1000).prox(v, 1.0)
    torch.testing.assert_close(p, Birkhoff().prox(v, 1.0), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Intersection(), ValueError, "Intersection needs at least one set, got none"),
        (lambda: Intersection(Box(0, 1), abs), TypeError, "Intersection needs sets[1].prox, but"),
        (lambda: Intersection(L1(), sweeps=0), ValueError, "sweeps must be a whole number, at least 1, got 0"),
        (lambda: Intersection(L1(), sweeps=1.5), ValueError, "sweeps must be a whole number, at least 1, got 1.5"),
    ],
)
def test_it_refuses_in_one_sentence(make, error, message):
    with pytest.raises(error, match="^" + re.escape(message)):
        make()
