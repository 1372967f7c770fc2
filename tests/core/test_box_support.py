"""The support function of a box, and the linear minimisation over it."""

from __future__ import annotations

import pytest
import torch

from optsci import L1, Box, BoxSupport


def test_an_infinite_bound_forbids_a_sign():
    g = BoxSupport(0.0, torch.inf)
    assert g(torch.tensor([-2.0, 0.0])) == 0
    assert g(torch.tensor([-2.0, 1e-30])) == torch.inf
    assert g.prox(torch.tensor([-2.0, 3.0]), 0.5).tolist() == [-2.0, 0.0]


def test_it_is_the_magnitude_for_bounds_of_equal_size():
    x = torch.tensor([-3.0, 0.0, 0.2, 2.0])
    assert BoxSupport(-0.5, 0.5)(x) == L1(0.5)(x)
    assert torch.equal(BoxSupport(-0.5, 0.5).prox(x, 2.0), L1(0.5).prox(x, 2.0))


def test_only_boxes_with_finite_bounds_minimise_linear_functions():
    assert Box(-1, torch.tensor([2.0, 3.0, 4.0])).lmo(torch.tensor([1.0, -1.0, 0.0])).tolist() == [-1, 3, 4]
    assert not hasattr(Box(0, torch.inf), "lmo")
    with pytest.raises(AttributeError, match="has no lmo: lower is not finite"):
        Box(-torch.inf, 0).lmo(torch.ones(2))


def test_bounds_are_those_of_a_box():
    with pytest.raises(ValueError, match=r"^lower must be at most upper"):
        BoxSupport(1, 0)
