"""Committors, reflecting boxes, and points of problems: against closed forms and mirror images.

A z-score beyond 4 in one of about twenty is a false alarm of less than one in 700; the seeds are fixed.
"""

import numpy as np
import pytest
import torch

from optsci.pinn import (
    Ball,
    Box,
    Committor,
    Complement,
    EulerMaruyama,
    HalfSpace,
    Interval,
    MeanExitTime,
    Poisson,
    Problem,
    WalkOnSpheres,
    labels,
)

RING = Committor(
    Ball(radius=0.5),
    Complement(Ball(radius=2.0)),
    Box((-2, -2), (2, 2)),
    exact=lambda x: (x.norm(dim=1, keepdim=True) / 0.5).log() / np.log(4),
)
SLAB = Committor(  # between x = -1 and 1, with reflecting faces y = -2 and .5
    HalfSpace((1.0, 0.0), -1.0),
    HalfSpace((-1.0, 0.0), -1.0),
    Box((-1.0, -2.0), (1.0, 0.5)),
    exact=lambda x: (x[:, :1] + 1) / 2,
)


def z_scores(problem, points, **options):
    points = torch.tensor(points, dtype=torch.float64)
    found = labels(problem, points, seed=2, **options)
    return ((found.mean - problem.exact(points)) / found.stderr).abs()


def test_the_committor_of_a_ring():
    """q = log(r/a) / log(b/a); all faces of the box lie in B: none reflects, and the distance is that of the ring."""
    assert RING.reflecting is None
    x = RING.sample(500, 0)
    r = x.norm(dim=1, keepdim=True)
    assert ((r > 0.5) & (r < 2)).all()
    torch.testing.assert_close(RING.domain.distance(x), torch.minimum(r - 0.5, 2 - r))


@pytest.mark.slow
@pytest.mark.parametrize("method", [WalkOnSpheres(1e-4), EulerMaruyama(2e-3)], ids=str)
def test_faces_reflect(method):
    """q is linear between the planes, whatever the other coordinate: near a reflecting face, too."""
    assert z_scores(SLAB, [[-0.5, 0.45], [0.8, -1.9]], paths=20000, method=method).max() < 4


@pytest.mark.slow
def test_a_wall_is_a_mirror():
    """A walk between a wall at 0 and the end 1, with a source that varies: as one in (-1, 1) of the even source."""
    half = Problem(HalfSpace((1.0,), 1.0), source=lambda x: np.cos(x[0]), reflecting=Interval(0.0, 3.0))
    assert half.sample(100, 0).min() > 0
    assert half.sample(100, 0).max() < 1
    exact = 2 * (np.cos(0.1) - np.cos(1.0))  # u'' / 2 = -cos x, u'(0) = 0
    found = labels(half, [[0.1]], paths=20000, method=WalkOnSpheres(1e-5))
    assert abs(found.mean.item() - exact) < 4 * found.stderr.item()


def test_points_of_the_boundary_and_of_the_walls():
    on, inward = SLAB.sample_boundary(200, 0)
    torch.testing.assert_close(on[:, 0].abs(), torch.ones(200, dtype=torch.float64))
    torch.testing.assert_close(inward[:, 0], -on[:, 0])
    assert on[:, 1].min() >= -2
    assert on[:, 1].max() <= 0.5
    walls, inward = SLAB.sample_walls(200, 0)
    assert walls[:, 0].abs().max() < 1
    assert walls[:, 1].unique().tolist() == [-2.0, 0.5]
    assert SLAB.region.contains(walls + 1e-3 * inward).all()
    assert set(SLAB.values("boundary", on)[:, 0].tolist()) == {0.0, 1.0}
    with pytest.raises(ValueError, match="the problem has no walls: its `reflecting` is None"):
        RING.sample_walls(1, 0)


def test_a_disk_across_a_wall_has_only_its_part_inside():
    problem = Problem(Complement(Ball((1.0, 0.0), 0.5)), reflecting=Box((-1, -1), (1, 1)))
    on, _ = problem.sample_boundary(300, 0)
    assert on[:, 0].max() <= 1
    torch.testing.assert_close((on - torch.tensor([1.0, 0.0])).norm(dim=1), torch.full((300,), 0.5).double())
    walls, _ = problem.sample_walls(2000, 0)
    right = walls[walls[:, 0] == 1.0]
    assert right[:, 1].abs().min() >= 0.5
    assert abs(len(right) / 2000 - 1 / 7) < 0.04  # one of seven units of length; five standard errors


def test_walls_in_many_dimensions():
    d = 6
    normal = np.eye(d)[0]
    problem = Committor(HalfSpace(normal, -1.0), HalfSpace(-normal, -1.0), Box([-1.0] * d, [1.0] * d))
    assert problem.sample(100, 0)[:, 0].abs().max() < 1
    assert problem.sample_boundary(100, 0)[0].shape == (100, d)
    assert problem.reflecting.lower == (-2.0, *[-1.0] * (d - 1))


def test_relative_errors():
    problem = Poisson(Ball(dim=2), source=4.0, exact=lambda x: 1 - x.square().sum(1, keepdim=True))
    assert problem.relative_error(problem.exact) == 0
    constant = problem.relative_error(lambda x: torch.full_like(x[:, :1], 0.5), n=200_000)
    assert abs(constant - 0.5) < 0.01  # the root of 1/12 over 1/3
    network = torch.nn.Linear(2, 1)  # in single precision
    assert 0 < problem.relative_error(network) < 10
    assert problem.relative_error(network, seed=1) != problem.relative_error(network, seed=2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: MeanExitTime(Ball(dim=2)).relative_error(lambda x: x[:, :1]), ValueError, "is not known: give it as"),
        (lambda: RING.relative_error(lambda x: x[:, 0]), ValueError, r"u must return \(n, 1\), got \(10000,\)"),
        (lambda: Problem(Ball(dim=2), reflecting=Ball(dim=2)), TypeError, "reflecting must be a Box or None"),
        (lambda: Problem(Ball(dim=2), reflecting=Interval(0, 1)), ValueError, "the dimension 2 of the domain, got 1"),
        (lambda: Problem(HalfSpace((1.0,), 0.0)), ValueError, "is unbounded and has no uniform points"),
        (
            lambda: Committor(Ball(), Ball((0.5, 0.0)), Box((-2, -2), (2, 2))),
            ValueError,
            "A and B must not meet, but .* is in both",
        ),
        (
            lambda: Committor(Ball(radius=0.5), Ball((9.0, 9.0)), Box((-2, -2), (2, 2))),
            ValueError,
            "the boundary of B must lie in the box",
        ),
        (
            lambda: Committor(Ball(dim=3), Ball((9.0, 9.0)), Box((-2, -2), (2, 2))),
            ValueError,
            "A must have the dimension 2 of the box, got 3",
        ),
        (lambda: labels(SLAB, [[0.0, 3.0]], paths=10), ValueError, "points must lie inside the domain, 1 do not"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
