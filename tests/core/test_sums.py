"""``+`` between functions, and sums, distances and restrictions against what is written out here."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from optsci import (
    L1,
    L2,
    Box,
    Distance,
    ElasticNet,
    Entropy,
    Halfspace,
    Hinge,
    Huber,
    KullbackLeibler,
    L2Ball,
    Linear,
    LogisticLoss,
    NegativeLog,
    Nonnegative,
    PointwiseMinimum,
    Precomposed,
    Regularized,
    Restricted,
    Sliced,
    Sparsity,
    SquaredDistance,
    SquaredL2,
    Tilted,
    Translated,
    WeightedL1,
    Zero,
)
from optsci.functions.sums import sum_of

DOUBLE = torch.float64
GRID = torch.cartesian_prod(*2 * (torch.linspace(-4, 4, 201, dtype=DOUBLE),))


def double(*data: float) -> Tensor:
    return torch.tensor(data, dtype=DOUBLE)


def points(count: int = 6) -> Tensor:
    return 1.5 * torch.randn(count, 2, generator=torch.Generator().manual_seed(3), dtype=DOUBLE)


SUMS = {
    "L1 + Box": (lambda: L1(0.7), lambda: Box(-0.5, 1.0), Restricted),
    "Box + L1": (lambda: Box(-0.5, 1.0), lambda: L1(0.7), Restricted),
    "L1 + Box away from 0": (lambda: L1(0.7), lambda: Box(0.3, 1.0), Restricted),
    "Scaled + Nonnegative": (lambda: 2 * (0.3 * Huber(0.7)), lambda: Nonnegative(), Restricted),
    "Translated + Box": (lambda: Translated(L1(0.7), 0.4), lambda: Box(-0.5, 1.0), Restricted),
    "Precomposed + Box": (lambda: Precomposed(Hinge(0.7), -2.0, 0.5), lambda: Box(-0.5, 1.0), Restricted),
    "Entropy + Box": (lambda: Entropy(0.7), lambda: Box(0.2, 1.0), Restricted),
    "NegativeLog + Nonnegative": (lambda: NegativeLog(0.7), lambda: Nonnegative(), Restricted),
    "ElasticNet + scaled Box": (lambda: ElasticNet(0.7, 0.6), lambda: 3 * Box(-0.5, 1.0), Restricted),
    "WeightedL1 + Linear": (lambda: WeightedL1(double(0.3, 1)), lambda: Linear(double(0.5, -1)), Tilted),
    "Linear + L2": (lambda: Linear(double(0.5, -1)), lambda: L2(0.8), Tilted),
    "L2 + scaled Linear": (lambda: L2(0.8), lambda: 2 * (0.5 * Linear(double(0.5, -1))), Tilted),
    "L2 + SquaredL2": (lambda: L2(0.8), lambda: SquaredL2(0.6), Regularized),
    "scaled SquaredL2 + Hinge": (lambda: 0.5 * SquaredL2(0.6), lambda: Hinge(0.7), Regularized),
    "Box + SquaredL2": (lambda: Box(-0.5, 1.0), lambda: SquaredL2(0.6), Regularized),
}


def best_on_grid(value, v: Tensor, step: float) -> Tensor:
    return (torch.vmap(value)(GRID) + (GRID - v).square().sum(-1) / (2 * step)).min()


@pytest.mark.parametrize("name", SUMS)
def test_prox_of_a_sum_beats_every_point_of_a_grid(name):
    left, right, kind = SUMS[name]
    f, g = left(), right()
    total = sum_of(f, g)
    assert type(total) is kind
    for v in points(4):
        for step in (0.3, 1.7):
            p = total.prox(v, step)
            ours = f(p) + g(p) + (p - v).square().sum() / (2 * step)
            best = best_on_grid(lambda z: f(z) + g(z), v, step)
            # and is not far below: the objective rises by at most slope * 0.04 to the nearest point of the grid
            assert best - 0.5 <= ours <= best + 1e-12


@pytest.mark.parametrize("name", SUMS)
def test_value_of_a_sum_is_the_sum_of_the_values(name):
    left, right, _ = SUMS[name]
    f, g = left(), right()
    for z in (points(20) * 0.4).clamp(-0.5, 1.0):
        torch.testing.assert_close(sum_of(f, g)(z), f(z) + g(z), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("name", ["L1 + Box", "Box + L1", "Scaled + Nonnegative", "Linear + L2", "L2 + SquaredL2"])
def test_plus_is_the_sum(name):
    left, right, kind = SUMS[name]
    assert type(left() + right()) is kind


def test_gradient_of_smooth_sums_is_the_sum_of_the_gradients():
    x = points()
    for f, g in ((Huber(0.7), Linear(double(0.5, -1))), (LogisticLoss(0.7), 0.5 * SquaredL2(0.6))):
        torch.testing.assert_close((f + g).grad(x), f.grad(x) + g.grad(x), rtol=1e-14, atol=1e-14)
        assert (f + g).lipschitz() == pytest.approx(f.lipschitz() + g.lipschitz(), rel=1e-14)


def test_elastic_net_is_a_sum():
    x, total, net = points(), L1(0.7) + SquaredL2(0.6), ElasticNet(0.7, 0.6)
    torch.testing.assert_close(total.prox(x, 1.3), net.prox(x, 1.3), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(total(x), net(x), rtol=1e-14, atol=1e-14)


def test_sums_of_three():
    total = (L1(0.7) + Box(-0.5, 1.0)).prox(points(), 0.4)
    tilted = sum_of(L1(0.7) + Box(-0.5, 1.0), Linear(0.25))
    torch.testing.assert_close(tilted.prox(points() + 0.1, 0.4), total, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(
    ("f", "g"), [(L1(), L2()), (L1(), L1()), (L2(), Box(-1, 1)), (Sparsity(1), Box(-1, 1)), (L1(), L2Ball())]
)
def test_refuses_a_sum_whose_prox_is_not_known(f, g):
    sentence = f"the prox of {type(f).__name__} \\+ {type(g).__name__} is not known: keep the two apart with davis_yin"
    with pytest.raises(TypeError, match=sentence):
        sum_of(f, g)


def test_coupled_functions_are_not_restricted_by_projecting():
    # Projection after the prox of L2 is not the prox of the sum; here is a point where the two differ.
    v, f, C = double(3.0, -4.0), L2(2.0), Nonnegative()
    wrong = C.prox(f.prox(v, 1.0), 1.0)
    with pytest.raises(TypeError, match="not known"):
        f + C
    right = f.prox(C.prox(v, 1.0), 1.0)
    assert (right - v).square().sum() / 2 + f(right) < (wrong - v).square().sum() / 2 + f(wrong) - 0.1


@pytest.mark.parametrize("C", [Box(-0.5, 1.0), L2Ball(1.2), Halfspace(double(1.0, -2.0), 0.5), Nonnegative()])
def test_prox_of_distances_beats_every_point_of_a_grid(C):
    def distance(z):
        return torch.linalg.vector_norm(z - C.prox(z, 1.0))

    for g, value in (
        (Distance(C, 0.7), lambda z: 0.7 * distance(z)),
        (SquaredDistance(C, 0.7), lambda z: 0.35 * distance(z).square()),
    ):
        for v in points():
            for step in (0.3, 1.7):
                p = g.prox(v, step)
                ours = value(p) + (p - v).square().sum() / (2 * step)
                assert best_on_grid(value, v, step) - 0.05 <= ours <= best_on_grid(value, v, step) + 1e-12


def test_distance_moves_by_step_times_weight_or_to_the_set():
    far, near, inside = double(4.0, 5.0), double(1.0, 1.1), double(0.5, 0.5)
    g = Distance(Box(0.0, 1.0), 2.0)
    torch.testing.assert_close((g.prox(far, 0.5) - far).norm(), double(1.0)[0])
    torch.testing.assert_close(g.prox(near, 0.5), double(1.0, 1.0))
    assert torch.equal(g.prox(inside, 0.5), inside)
    assert g(inside) == 0


def test_squared_distance_to_all_of_space_and_to_a_point():
    x = points()
    assert SquaredDistance(Zero(), 2.0)(x) == 0
    origin = SquaredDistance(Box(0.0, 0.0), 0.6)
    torch.testing.assert_close(origin(x), SquaredL2(0.6)(x))
    torch.testing.assert_close(origin.prox(x, 1.3), SquaredL2(0.6).prox(x, 1.3))


@pytest.mark.parametrize("wrong", [-1.0, float("nan")])
def test_distances_refuse_a_weight(wrong):
    for kind in (Distance, SquaredDistance):
        with pytest.raises(ValueError, match="weight"):
            kind(Box(0.0, 1.0), wrong)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Distance(abs), "Distance needs C.prox"),
        (lambda: Restricted(abs, Box(0, 1)), "Restricted needs f.prox"),
        (lambda: Restricted(L1(), abs), "Restricted needs C.prox"),
    ],
)
def test_refuses_what_has_no_prox(make, sentence):
    with pytest.raises(TypeError, match=sentence):
        make()


def test_slices_and_minima_refuse():
    with pytest.raises(ValueError, match="at least one function"):
        PointwiseMinimum()
    with pytest.raises(ValueError, match="as many as functions, got 1 and 2"):
        Sliced([L1(), L2()], [2])
    with pytest.raises(ValueError, match="positive"):
        Sliced([L1(), L2()], [2, 0])
    with pytest.raises(ValueError, match="last dimension of 5"):
        Sliced([L1(), L2()], [2, 3]).prox(torch.zeros(4), 1.0)


def test_poisson_on_a_box():
    # Two scalar problems: the root of t - v + s (1 - b/t) = 0, clipped.
    b, v, s = double(1.3, 2.0), double(-0.4, 3.0), 0.7
    root = ((v - s) + ((v - s).square() + 4 * s * b).sqrt()) / 2
    total = KullbackLeibler(b) + Box(0.5, 2.0)
    torch.testing.assert_close(total.prox(v, s), root.clamp(0.5, 2.0), rtol=1e-14, atol=1e-14)
