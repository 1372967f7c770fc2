"""The cross entropy against torch's, against its optimality condition at all sizes, and what it refuses."""

from __future__ import annotations

import re

import pytest
import torch

import optsci
from optsci import CrossEntropy, LogisticLoss


def scores(*shape: int) -> torch.Tensor:
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_value_and_gradient_are_those_of_torch():
    z, labels = scores(8, 5).requires_grad_(), torch.arange(8) % 5
    expected = torch.nn.functional.cross_entropy(z, labels, reduction="sum")
    (slope,) = torch.autograd.grad(expected, z)
    torch.testing.assert_close(CrossEntropy(labels)(z), expected)
    torch.testing.assert_close(CrossEntropy(labels).grad(z), slope)
    p = scores(8, 5).softmax(-1)
    expected = torch.nn.functional.cross_entropy(z, p, reduction="sum")
    torch.testing.assert_close(CrossEntropy(p, 0.3)(z), 0.3 * expected)


@pytest.mark.parametrize("size", [1e-6, 1e-2, 1.0, 30.0, 1e3, 1e9])
@pytest.mark.parametrize("spread", [1e-3, 1.0, 100.0, 1e4])
@pytest.mark.parametrize("classes", [2, 7, 300])
def test_prox_solves_its_equation(size, spread, classes):
    v, p = spread * scores(30, classes), scores(30, classes).flip(0).softmax(-1)
    z = CrossEntropy(p).prox(v, size)
    rest = z + size * (z.softmax(-1) - p) - v
    assert (rest.abs() <= 1e-10 * v.abs().clamp(min=max(1.0, size))).all()


def test_two_classes_are_the_logistic_loss_of_the_margin():
    # In the margin m = z_1 - z_2, whose prox has the step 2 s; the mean of the scores stays.
    v = scores(20, 2)
    z = CrossEntropy(torch.tensor(0)).prox(v, 1.3)
    margin = LogisticLoss().prox(v[:, 0] - v[:, 1], 2.6)
    torch.testing.assert_close(z[:, 0] - z[:, 1], margin)
    torch.testing.assert_close(z.mean(-1), v.mean(-1))


def test_scores_far_apart_neither_overflow_nor_vanish():
    z = torch.tensor([[1e4, -1e4, 0.0]])
    f = CrossEntropy(torch.tensor([1]))
    assert f(z) == 2e4
    torch.testing.assert_close(f.prox(z, 1.0), torch.tensor([[9999.0, -9999.0, 0.0]]))
    assert torch.equal(CrossEntropy(torch.tensor([1]), 0.0).prox(z, 1.0), z)


def test_each_item_may_have_its_own_step():
    v, steps = scores(3, 4), torch.tensor([[0.1], [1.0], [50.0]], dtype=torch.float64)
    f = CrossEntropy(torch.tensor(2))
    alone = torch.stack([f.prox(x, step.item()) for x, step in zip(v, steps, strict=True)])
    torch.testing.assert_close(f.prox(v, steps), alone)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CrossEntropy(0, -1), "weight must be finite and at least 0, got -1.0"),
        (lambda: CrossEntropy([0, -1]), "targets must be finite and at least 0, got -1"),
        (lambda: CrossEntropy([0.5, 0.6]), "targets must be probabilities that sum to 1 along the last dimension, got"),
        (lambda: CrossEntropy([0, 3])(torch.ones(2, 3)), "a target is 3, but x has 3 classes, from 0"),
        (lambda: CrossEntropy([0, 1])(torch.ones(3, 2)), "targets of shape (2, 2) does not broadcast"),
        (lambda: CrossEntropy([0.5, 0.5])(torch.ones(3)), "targets of shape (2,) does not broadcast"),
        (lambda: CrossEntropy([1.0])(torch.ones(3)), "x must have 1 classes, got shape (3,)"),
        (lambda: CrossEntropy(0).prox(torch.ones(2), torch.ones(2)), "step of shape (2,) does not broadcast"),
    ],
)
def test_refusals_are_one_sentence(make, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        make()


def test_a_class_that_is_ruled_out():
    x = torch.tensor([-torch.inf, 1.0, 2.0])
    torch.testing.assert_close(optsci.CrossEntropy(1)(x), torch.nn.functional.cross_entropy(x[None], torch.tensor([1])))
