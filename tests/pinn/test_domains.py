"""Domains: distances against brute force, points uniform, normals and projections consistent, Numba equal to torch.

Statistical tests stand at fixed seeds; the bound on |z| and the number of numbers looked at give the chance that a
right library would have failed when the seed was chosen.
"""

import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from optsci.pinn import (
    Annulus,
    Ball,
    Box,
    HalfSpace,
    Interval,
    LevelSet,
    Polygon,
    Star,
    UnitSquare,
    compiled,
    difference,
    intersection,
    l_shape,
    latin_hypercube,
    sobol,
    uniform,
    union,
)

SPIRAL = Polygon([(0, 0), (4, 0), (4, 4), (1, 4), (1, 2), (2, 2), (2, 3), (3, 3), (3, 1), (0, 1)])
ZIGZAG = Polygon([(0.0, 0.0), (1.0, 2.0), (2.0, 0.3), (3.1, 1.7), (2.6, -1.0), (1.2, -0.2)])  # clockwise, sharp corners

# Whose distance is exact on both sides.
EXACT = {
    "interval": Interval(-0.5, 2.0),
    "box": Box((-1.0, 0.0), (1.0, 0.5)),
    "box 4-d": Box((0.0, 0.0, -1.0, 2.0), (1.0, 2.0, 0.5, 2.5)),
    "ball 1-d": Ball((0.5,), 0.7),
    "disk": Ball((0.3, -0.2), 0.8),
    "ball 3-d": Ball(dim=3),
    "ball 10-d": Ball(radius=2.0, dim=10),
    "annulus": Annulus((0.1, 0.2), 0.3, 1.1),
    "shell 3-d": Annulus(inner=0.5, outer=1.0, dim=3),
    "triangle": Polygon([(0, 0), (4, 0), (0, 3)]),
    "L": l_shape(),
    "spiral": SPIRAL,
    "zigzag": ZIGZAG,
}
BOUNDED_BELOW = {
    "star": Star(lambda angle: 1 + 0.3 * np.cos(5 * angle), 1.5, (0.2, -0.1)),
    "round star": Star(lambda angle: 0.8 + 0 * angle, 0.0),
    "ellipse": LevelSet(lambda x: 1 - x[0] ** 2 / 4 - x[1] ** 2, 5.0, (-2.1, -1.1), (2.1, 1.1)),
    "ellipsoid": LevelSet(
        lambda x: 1 - np.sqrt(x[0] ** 2 / 4 + x[1] ** 2 + x[2] ** 2 + 1e-12), 1.0, (-2.1, -1.1, -1.1), (2.1, 1.1, 1.1)
    ),
}
COMPOSED = {
    "two disks": Ball((0.0, 0.0)) | Ball((1.0, 0.3), 0.8),
    "lens": Ball((0.0, 0.0)) & Ball((1.0, 0.3), 0.8),
    "plate with hole": Box((-1.0, -1.0), (1.0, 1.0)) - Ball((0.4, 0.2), 0.5),
    "half disk": Ball(dim=2) & HalfSpace((1.0, 2.0), 0.3),
    "wedge 3-d": Ball(dim=3) & HalfSpace((1.0, 2.0, 0.0), 0.3) & HalfSpace((0.0, -1.0, 1.0), 0.3),
    "nested": (l_shape() | Ball((1.0, -1.0), 0.6)) - Box((-0.7, -0.4), (-0.2, 0.4)),
}
DOMAINS = EXACT | BOUNDED_BELOW | COMPOSED
domains = pytest.mark.parametrize("name", DOMAINS)
# Numba takes seconds for each: the others run with --slow.
QUICK = ("box", "annulus", "L")


def around(domain, n, seed=0):
    """Points of the bounding box and of a margin around it."""
    a, b = torch.tensor(domain.lower).double(), torch.tensor(domain.upper).double()
    return a - 0.3 * (b - a) + 1.6 * (b - a) * uniform(n, domain.dim, seed)


def pairs(domain):
    """Two points each, on a coarse grid that holds corners, centres and edges, or anywhere."""
    a, b = domain.lower, domain.upper
    fractions = st.one_of(st.integers(-4, 12).map(lambda k: k / 8), st.floats(-0.5, 1.5))
    point = st.tuples(*[fractions] * domain.dim).map(
        lambda t: [low + (high - low) * s for low, high, s in zip(a, b, t, strict=True)]
    )
    return st.tuples(point, point)


@domains
def test_distance_is_1_lipschitz(name):
    domain = DOMAINS[name]

    @given(pairs(domain))
    @settings(max_examples=60)
    def check(two):
        x = torch.tensor(two, dtype=torch.float64)
        f = domain.distance(x)[:, 0]
        assert abs(f[0] - f[1]) <= (x[0] - x[1]).norm() * (1 + 1e-12) + 1e-12

    check()
    x, y = around(domain, 2000, 1), around(domain, 2000, 2)
    y[1000:] = x[1000:] + 1e-4 * (y[1000:] - x[1000:])  # and close by
    change = (domain.distance(x) - domain.distance(y)).abs()[:, 0]
    assert (change <= (x - y).norm(dim=1) * (1 + 1e-9) + 1e-12).all()


@domains
def test_boundary_points_have_distance_0_and_inward_unit_normals(name):
    domain = DOMAINS[name]
    x, normals = domain.sample_boundary(2000, seed=3)
    assert x.shape == normals.shape == (2000, domain.dim)
    assert domain.distance(x).abs().max() <= 1e-9
    assert (normals.norm(dim=1) - 1).abs().max() <= 1e-12
    step = 1e-5
    # Within a step of a sharp corner the two sides may differ: rare, as 2000 points and 1e-5 say.
    wrong = ~domain.contains(x + step * normals) | domain.contains(x - step * normals)
    assert wrong.sum() <= 2
    torch.testing.assert_close(domain.distance(x), torch.zeros(2000, 1).double(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", EXACT)
def test_distance_moves_along_the_normals(name):
    domain = EXACT[name]
    x, normals = domain.sample_boundary(500, seed=4)
    step = 1e-6
    near = (domain.distance(x + step * normals) - step).abs()[:, 0] + (
        domain.distance(x - step * normals) + step
    ).abs()[:, 0]
    assert (near > 1e-12).sum() <= 2  # next to corners


@pytest.mark.parametrize("name", EXACT)
def test_projection_of_exact_domains_is_as_far_as_the_distance_says(name):
    domain = EXACT[name]
    x = around(domain, 1000)
    y = domain.project(x)
    torch.testing.assert_close((x - y).norm(dim=1, keepdim=True), domain.distance(x).abs(), rtol=1e-12, atol=1e-12)
    assert domain.distance(y).abs().max() <= 1e-12


@pytest.mark.parametrize("name", BOUNDED_BELOW | COMPOSED)
def test_projection_of_other_domains(name):
    """On the boundary, never nearer than the lower bound says, and no farther than the nearest of many samples."""
    domain = DOMAINS[name]
    x = around(domain, 300)
    y = domain.project(x)
    way = (x - y).norm(dim=1)
    crease = 1e-5 if name in COMPOSED else 1e-10
    assert domain.distance(y).abs().max() <= crease
    assert (domain.distance(x).abs()[:, 0] <= way + crease).all()
    best = torch.cdist(x, domain.sample_boundary(4000, seed=5)[0]).amin(1)
    assert (way <= 1.25 * best + 1e-6).all()
    # Where the nearest point is on a crease, compositions find one that is a little farther.
    assert (way <= best + 1e-6).double().mean() >= (0.95 if name in BOUNDED_BELOW and name != "star" else 0.5)


def test_projection_to_an_ellipse_is_nearest():
    """Where the distance is below half the least radius of curvature, 1/2, and outside."""
    domain = DOMAINS["ellipse"]
    t = torch.linspace(-math.pi, math.pi, 2**14 + 1).double()
    x = around(domain, 500)
    curve = torch.stack((2 * t.cos(), t.sin()), 1)
    true = torch.cdist(x, curve).amin(1)  # off by 1e-8/distance: the gap between points, squared
    x, true = x[(true < 0.25) | ~domain.contains(x)], true[(true < 0.25) | ~domain.contains(x)]
    far = true > 0.05
    assert ((x - domain.project(x)).norm(dim=1) - true).abs()[far].max() <= 1e-6
    assert far.sum() > 100


@domains
def test_lower_bound_of_the_true_distance(name):
    """Safe for walk on spheres: no boundary point is nearer than the distance says."""
    domain = DOMAINS[name]
    x = torch.cat((domain.sample(300, seed=6), around(domain, 300)))
    nearest = torch.cdist(x, domain.sample_boundary(2000, seed=7)[0]).amin(1)
    assert (domain.distance(x).abs()[:, 0] <= nearest + 1e-9).all()


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in DOMAINS]
)
def test_numba_equals_torch(name):
    domain = DOMAINS[name]
    f = compiled(domain)
    assert f is compiled(domain)
    x = around(domain, 64 * 8)
    double, single = x.T.contiguous().numpy(), x.float().T.contiguous().numpy()
    for lanes in (1, 64):
        for k in range(0, 512, 64):
            block = np.ascontiguousarray(double[:, k : k + lanes])
            torch.testing.assert_close(
                torch.from_numpy(f(block)), domain.distance(x[k : k + lanes])[:, 0], rtol=0, atol=1e-12
            )
            block = np.ascontiguousarray(single[:, k : k + lanes])
            assert f(block).dtype == np.float32
            torch.testing.assert_close(
                torch.from_numpy(f(block)).double(), domain.distance(x[k : k + lanes])[:, 0], rtol=1e-5, atol=1e-5
            )


@pytest.mark.parametrize("name", ["box", "annulus", "L", "ball 10-d"])
def test_single_precision_stays_single(name):
    """No float is made a double in the machine code, but for constants that are made floats."""
    f = compiled(EXACT[name])
    f(np.zeros((EXACT[name].dim, 64), dtype=np.float32))
    (signature,) = [s for s in f.signatures if "float32" in str(s)]
    code = f.inspect_llvm(signature)
    assert "fpext" not in code
    assert "fmul double" not in code


@domains
def test_distance_has_finite_gradients_everywhere(name):
    domain = DOMAINS[name]
    a, b = torch.tensor(domain.lower).double(), torch.tensor(domain.upper).double()
    special = torch.stack((a, b, 0.5 * (a + b), torch.zeros_like(a)))
    center = getattr(domain, "center", domain.lower)
    vertices = getattr(domain, "vertices", [domain.lower])
    x = torch.cat((special, torch.tensor([center, *vertices]).double(), domain.sample_boundary(50, seed=8)[0]))
    x = x.requires_grad_()
    for f in (domain.distance, domain.vanishing):
        (gradient,) = torch.autograd.grad(f(x).sum(), x)
        assert gradient.isfinite().all()
    (gradient,) = torch.autograd.grad(domain.distance(x).sum(), x)
    assert gradient.norm(dim=1).max() <= 1 + 1e-9


@domains
def test_gradient_of_the_distance_is_the_inward_normal(name):
    domain = DOMAINS[name]
    x, normals = domain.sample_boundary(500, seed=9)
    x = x.requires_grad_()
    (gradient,) = torch.autograd.grad(domain.distance(x).sum(), x)
    direction = gradient / gradient.norm(dim=1, keepdim=True)
    assert ((direction - normals).norm(dim=1) > 1e-6).sum() <= 1


@domains
def test_vanishing_is_0_on_the_boundary_positive_inside_with_a_slope(name):
    domain = DOMAINS[name]
    x, normals = domain.sample_boundary(300, seed=10)
    assert domain.vanishing(x).abs().max() <= 1e-9
    step = 1e-6
    slope = domain.vanishing(x + step * normals)[:, 0] / step
    # It falls to 0 in corners, and where another side of a box begins: few points are so near to one.
    assert (slope > 1e-4).sum() >= 297
    y = domain.sample(500, seed=11)
    assert (domain.vanishing(y) > 0).all()
    assert domain.vanishing(y).max() <= 3 * max(b - a for a, b in zip(domain.lower, domain.upper, strict=True))


@domains
def test_level_has_the_sign_of_the_distance(name):
    domain = DOMAINS[name]
    x = around(domain, 2000)
    x = x[domain.distance(x).abs()[:, 0] > 1e-9]
    assert (domain.level(x).sign() == domain.distance(x).sign()).all()


@domains
def test_vanishing_has_a_finite_laplacian_inside(name):
    """By autograd; and it is that of a smooth function: central differences agree."""
    domain = DOMAINS[name]
    x = domain.sample(100, seed=12)

    def laplacian(x):
        x = x.requires_grad_()
        (gradient,) = torch.autograd.grad(domain.vanishing(x).sum(), x, create_graph=True)
        return sum(torch.autograd.grad(gradient[:, i].sum(), x, retain_graph=True)[0][:, i] for i in range(domain.dim))

    exact = laplacian(x.clone())
    assert exact.isfinite().all()
    h = 1e-4
    away = x[domain.distance(x)[:, 0] > 0.05]
    shifts = torch.cat((h * torch.eye(domain.dim), -h * torch.eye(domain.dim))).double()
    f = domain.vanishing
    difference = (sum(f(away + s) for s in shifts) - 2 * domain.dim * f(away))[:, 0] / h**2
    torch.testing.assert_close(difference, laplacian(away.clone()), rtol=1e-3, atol=1e-3)


def brute_force(vertices, x):
    """Signed distance to a polygon: nearest of the edges one by one, sign by counting crossings of a ray."""
    out = []
    for px, py in x.tolist():
        best, inside = math.inf, False
        for (ax, ay), (bx, by) in zip(vertices, vertices[1:] + vertices[:1], strict=True):
            ex, ey = bx - ax, by - ay
            s = min(1.0, max(0.0, ((px - ax) * ex + (py - ay) * ey) / (ex * ex + ey * ey)))
            best = min(best, math.hypot(px - ax - s * ex, py - ay - s * ey))
            if (ay > py) != (by > py) and px < ax + (py - ay) / (by - ay) * ex:
                inside = not inside
        out.append(best if inside else -best)
    return torch.tensor(out, dtype=torch.float64)


@pytest.mark.parametrize("name", ["triangle", "L", "spiral", "zigzag"])
def test_polygon_is_brute_force(name):
    domain = EXACT[name]
    x = around(domain, 3000)
    torch.testing.assert_close(domain.distance(x)[:, 0], brute_force(domain.vertices, x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["triangle", "L", "spiral", "zigzag"])
def test_vanishing_of_polygons_is_the_formula_of_the_paper(name):
    """R-equivalence of the edges, one by one, without the rewriting that gives it derivatives on the edges."""
    domain = EXACT[name]
    x = domain.sample(500, seed=20).numpy()
    inverse = 0.0
    corners = np.array(domain.vertices)
    for a, b in zip(corners, np.roll(corners, -1, 0), strict=True):
        size = np.hypot(*(b - a))
        f = ((b - a)[0] * (x - a)[:, 1] - (b - a)[1] * (x - a)[:, 0]) / size
        trim = ((size / 2) ** 2 - ((x - (a + b) / 2) ** 2).sum(1)) / size
        inverse = inverse + 1 / np.sqrt(f**2 + 0.25 * (np.sqrt(trim**2 + f**4 / size**2) - trim) ** 2)
    torch.testing.assert_close(domain.vanishing(x)[:, 0], torch.from_numpy(1 / inverse), rtol=1e-12, atol=0)


@given(st.integers(3, 9), st.integers(0, 10**6))
@settings(max_examples=60)
def test_random_star_polygons_are_brute_force(m, seed):
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, m))
    assume(np.diff(angle).min() > 0.05)
    assume(angle[0] + 2 * np.pi - angle[-1] < 3.1)
    assume(np.diff(angle).max() < 3.1)
    vertices = rng.uniform(0.2, 1.5, (m, 1)) * np.column_stack((np.cos(angle), np.sin(angle)))
    polygon = Polygon(vertices[:: rng.choice([-1, 1])])
    x = torch.from_numpy(rng.uniform(-2, 2, (200, 2)))
    torch.testing.assert_close(polygon.distance(x)[:, 0], brute_force(polygon.vertices, x), rtol=0, atol=1e-12)
    assert polygon.contains(torch.zeros(1, 2).double()).all()


@pytest.mark.parametrize("name", ["box", "box 4-d"])
def test_distance_of_boxes_is_brute_force(name):
    """Outside by clamping, inside the nearest face."""
    domain = EXACT[name]
    x = around(domain, 1000)
    a, b = torch.tensor(domain.lower).double(), torch.tensor(domain.upper).double()
    outside = (x - x.clamp(a, b)).norm(dim=1)
    inside = torch.minimum(x - a, b - x).amin(1)
    torch.testing.assert_close(domain.distance(x)[:, 0], torch.where(inside >= 0, inside, -outside), rtol=0, atol=1e-14)


VOLUMES = {
    "two disks": None,
    "plate with hole": 4 - math.pi / 4,
    "nested": None,
    "half disk": math.acos(-0.3 / math.sqrt(5)) + 0.3 / math.sqrt(5) * math.sqrt(1 - 0.09 / 5),
    "star": math.pi * (1 + 0.045),
    "round star": math.pi * 0.64,
    "ellipse": 2 * math.pi,
    "ellipsoid": 8 / 3 * math.pi,
    "spiral": 10.0,
    "annulus": math.pi * (1.21 - 0.09),
    "shell 3-d": 4 / 3 * math.pi * (1 - 0.125),
    "ball 10-d": math.pi**5 / 120 * 2**10,
    "box 4-d": 1.5,
}
PERIMETERS = {
    "plate with hole": 8 + math.pi,
    "half disk": 2 * math.acos(-0.3 / math.sqrt(5)) + 2 * math.sqrt(1 - 0.09 / 5),
    "ellipse": 9.688448220547675,
    "ellipsoid": 2 * math.pi * (1 + 2 / math.sqrt(0.75) * math.asin(math.sqrt(0.75))),
    "round star": 1.6 * math.pi,
    "interval": 2.0,
    "annulus": 2.8 * math.pi,
    "shell 3-d": 5 * math.pi,
    "box 4-d": 2 * (1 * 2 * 1.5 + 1 * 2 * 0.5 + 1 * 1.5 * 0.5 + 2 * 1.5 * 0.5),
    "triangle": 12.0,
}
ESTIMATED = (*COMPOSED, "ellipse", "ellipsoid")


@pytest.mark.parametrize("name", [name for name, value in VOLUMES.items() if value])
def test_volume(name):
    assert DOMAINS[name].volume == pytest.approx(VOLUMES[name], rel=2e-3 if name in ESTIMATED else 1e-7)


@pytest.mark.parametrize("name", PERIMETERS)
def test_boundary_measure(name):
    rel = 2e-2 if name in ("ellipse", "ellipsoid") else 2e-3 if name in COMPOSED else 1e-7
    assert DOMAINS[name].boundary_measure == pytest.approx(PERIMETERS[name], rel=rel)


@domains
def test_divergence_theorem(name):
    """The mean of -x.n over the boundary is d volume/measure, and that of -n is 0.

    At most 11 numbers for each of 23 domains are looked at, |z| <= 4.5: a false alarm has probability below 1e-3.
    Estimated measures may be off by their own error, 2 %.
    """
    domain = DOMAINS[name]
    n = 20_000
    x, normals = domain.sample_boundary(n, seed=13)
    flux = -(x * normals).sum(1)
    slack = 0.02 if name in ESTIMATED else 1e-6
    expected = domain.dim * domain.volume / domain.boundary_measure
    assert abs(flux.mean() - expected) <= 4.5 * flux.std() / math.sqrt(n) + slack * abs(expected)
    z = normals.mean(0) / (normals.std(0) / math.sqrt(n)).clamp(min=1e-12)
    assert z.abs().max() <= 4.5


@domains
def test_boundary_points_are_uniform(name):
    """Chi-square against the measure that lies in the orthants about an inner point, by quasi-random boundary points.

    Exact domains: 2^d cells at most 16; expected shares from 2^16 points of another rule. |z| <= 4.5 for 23 domains.
    """
    domain = DOMAINS[name]
    n, reference = 8000, 2**16
    middle = torch.tensor([low + 0.45 * (high - low) for low, high in zip(domain.lower, domain.upper, strict=True)])
    weights = 2 ** torch.arange(min(domain.dim, 4))

    def counts(x):
        cell = ((x > middle)[:, :4] * weights).sum(1)
        return torch.bincount(cell, minlength=16).double()

    seen = counts(domain.sample_boundary(n, seed=14)[0])
    share = counts(domain.sample_boundary(reference, seed=15, points=sobol)[0]) / reference
    used = share > 0
    assert seen[~used].sum() == 0
    variance = n * share * (1 - share) * (1 + n / reference)
    z = ((seen - n * share)[used] / variance[used].sqrt().clamp(min=1e-9)).abs()
    assert z.max() <= 4.5


def test_curves_are_sampled_by_arc_length():
    """Mean distance from the centre, against quadrature: |z| <= 4.5 for two numbers, false alarm 2e-5."""
    t = torch.linspace(-math.pi, math.pi, 20_001)[:-1].double()
    rho, slope = 1 + 0.3 * (5 * t).cos(), -1.5 * (5 * t).sin()
    curves = {
        "star": (rho, torch.hypot(rho, slope)),
        "ellipse": (torch.hypot(2 * t.cos(), t.sin()), torch.hypot(2 * t.sin(), t.cos())),
    }
    n = 20_000
    for name, (size, speed) in curves.items():
        expected = (size * speed).sum() / speed.sum()
        center = torch.tensor(getattr(DOMAINS[name], "center", (0.0, 0.0))).double()
        seen = (DOMAINS[name].sample_boundary(n, seed=19)[0] - center).norm(dim=1)
        assert abs(seen.mean() - expected) <= 4.5 * seen.std() / math.sqrt(n)
        assert abs(seen.mean() - size.mean()) > 10 * seen.std() / math.sqrt(n)  # angles alone would not do


def exact_moments(name):
    """Mean and covariance of uniform points, where they have a formula."""
    domain = EXACT[name]
    if isinstance(domain, Box):
        a, b = torch.tensor(domain.lower).double(), torch.tensor(domain.upper).double()
        return 0.5 * (a + b), (b - a) ** 2 / 12
    d = domain.dim
    inner, outer = (domain.inner, domain.outer) if isinstance(domain, Annulus) else (0.0, domain.radius)
    square = d / (d + 2) * (outer ** (d + 2) - inner ** (d + 2)) / (outer**d - inner**d)
    return torch.tensor(domain.center).double(), torch.full((d,), square / d).double()


@pytest.mark.parametrize("points", [uniform, latin_hypercube, sobol])
@pytest.mark.parametrize("name", [n for n in EXACT if not isinstance(EXACT[n], Polygon)])
def test_interior_points_are_uniform(name, points):
    """First and second moments, |z| <= 4.5: 2 * 38 numbers for 3 rules, false alarm below 2e-3."""
    domain = EXACT[name]
    n = 16384
    x = domain.sample(n, seed=16, points=points)
    assert domain.contains(x).all()
    mean, variance = exact_moments(name)
    assert (((x.mean(0) - mean) / (variance / n).sqrt()).abs() <= 4.5).all()
    square = (x - mean).square()
    assert (((square.mean(0) - variance) / (square.std(0) / math.sqrt(n))).abs() <= 4.5).all()


@domains
def test_interior_points_by_shares(name):
    """The share in a half of the box is that of the volume, by the library's own count: |z| <= 4.5 for 23 domains."""
    domain = DOMAINS[name]
    n = 10_000
    x = domain.sample(n, seed=17)
    assert x.shape == (n, domain.dim)
    assert domain.contains(x).all()
    cut = domain.lower[0] + 0.4 * (domain.upper[0] - domain.lower[0])
    normal = [1.0] + [0.0] * (domain.dim - 1)
    whole, part = (
        (domain.volume, difference(domain, HalfSpace([-n for n in normal], -cut)).volume)
        if domain.dim < 4
        else (1.0, float((domain.sample(2**16, 18, points=sobol)[:, 0] <= cut).double().mean()))
    )
    share = part / whole
    error = math.sqrt(share * (1 - share) / n) + 3e-3 * share
    assert abs(float((x[:, 0] <= cut).double().mean()) - share) <= 4.5 * error


def test_balls_of_100_dimensions_need_no_rejection():
    x = Ball(dim=100).sample(2000, seed=0)
    radius = x.norm(dim=1)
    assert radius.max() < 1
    # |x|^100 is uniform: Kolmogorov's statistic, false alarm 1e-4.
    gap = (radius.pow(100).sort().values - torch.arange(2000).double() / 2000).abs().max()
    assert gap * math.sqrt(2000) <= 2.23
    assert (x.mean(0).abs() * math.sqrt(2000 * 102)).max() <= 5


def test_sobol_points_have_low_discrepancy():
    """The mean of a smooth function over a disk, an L and a square: nearer than independent points, by a factor 4."""
    for domain in (Ball(dim=2), l_shape(), UnitSquare()):
        reference = domain.sample(2**17, 5, points=sobol)
        for f in (lambda x: x[:, 0].square(), lambda x: (x[:, 0] + 0.5 * x[:, 1]).exp()):
            expected = f(reference).mean()
            error = {
                points: math.sqrt(
                    sum(float(f(domain.sample(1024, seed, points=points)).mean() - expected) ** 2 for seed in range(8))
                    / 8
                )
                for points in (uniform, sobol)
            }
            assert error[sobol] < error[uniform] / 4


@pytest.mark.parametrize("points", [uniform, sobol, latin_hypercube])
def test_seeds_are_reproducible_and_differ(points):
    for domain in (Ball(dim=3), l_shape(), Ball(dim=2) | Box((0, 0), (2, 2))):
        x = domain.sample(100, seed=1, points=points)
        assert torch.equal(x, domain.sample(100, seed=1, points=points))
        assert not torch.equal(x, domain.sample(100, seed=2, points=points))
        y, normals = domain.sample_boundary(100, seed=1, points=points)
        again = domain.sample_boundary(100, seed=1, points=points)
        assert torch.equal(y, again[0])
        assert torch.equal(normals, again[1])


def test_the_same_points_everywhere():
    """Numbers kept from another run: they must not change with the version of NumPy, SciPy or torch."""
    assert uniform(1, 2, seed=0).tolist() == [[0.6369616873214543, 0.2697867137638703]]
    x = Box((0, 0), (2, 2)).sample(1, seed=0)
    assert x.tolist() == [[2 * 0.6369616873214543, 2 * 0.2697867137638703]]


@domains
def test_dtype_and_shape(name):
    domain = DOMAINS[name]
    x = domain.sample(5, seed=0, dtype=torch.float32)
    y, normals = domain.sample_boundary(5, seed=0, dtype=torch.float32)
    for tensor in (x, y, normals, domain.project(x)):
        assert tensor.shape == (5, domain.dim)
        assert tensor.dtype == torch.float32
    for tensor in (domain.distance(x), domain.vanishing(x), domain.level(x)):
        assert tensor.shape == (5, 1)
        assert tensor.dtype == torch.float32
    assert domain.contains(x).shape == (5,)


@pytest.mark.parametrize("name", EXACT | COMPOSED)
def test_domains_are_values(name):
    domain = DOMAINS[name]
    again = pickle.loads(pickle.dumps(domain))
    assert again == domain
    assert hash(again) == hash(domain)
    assert compiled(again) is compiled(domain)


def test_operators_are_the_functions():
    a, b = Ball(dim=2), UnitSquare()
    assert (a | b, a & b, a - b) == (union(a, b), intersection(a, b), difference(a, b))
    x = around(a | b, 500)
    f, g = a.contains(x), b.contains(x)
    assert torch.equal((a | b).contains(x), f | g)
    assert torch.equal((a & b).contains(x), f & g)
    assert torch.equal((a - b).contains(x), f & ~g)


def test_boundaries_that_coincide_are_drawn_once_and_walls_not_at_all():
    """Two boxes side by side, and one on top of the corner of another."""
    touching = Box((0, 0), (1, 1)) | Box((1, 0), (2, 1))
    x, _ = touching.sample_boundary(2000, seed=0)
    assert (x[:, 0] - 1).abs().min() > 1e-7
    assert touching.boundary_measure == pytest.approx(6.0, rel=1e-2)
    corner = Box((0, 0), (2, 2)) - Box((1, 0), (2, 1))  # an L; two sides of the second are sides of the first
    assert corner.boundary_measure == pytest.approx(8.0, rel=1e-2)
    same = Box((0, 0), (2, 2)) & Box((0, 0), (1, 2))
    assert same.boundary_measure == pytest.approx(6.0, rel=1e-2)


def test_compositions_are_exact_on_the_side_that_they_say():
    a, b = Ball((0.0, 0.0)), Ball((1.0, 0.3), 0.8)
    for domain, exact in ((a | b, False), (a & b, True), (a - b, True)):
        x = around(domain, 1000)
        x = x[domain.contains(x) == exact]
        nearest = torch.cdist(x, domain.sample_boundary(20_000, seed=1)[0]).amin(1)
        assert (nearest - domain.distance(x).abs()[:, 0]).max() < 2e-3  # the gap between samples


def test_half_spaces():
    half = HalfSpace((3.0, 4.0), 10.0)
    assert half.normal == (0.6, 0.8)
    assert half.offset == 2.0
    x = around(UnitSquare(), 100)
    assert torch.equal(half.contains(x), x @ torch.tensor([3.0, 4.0]).double() < 10)
    assert half.distance(half.project(x)).abs().max() <= 1e-15
    with pytest.raises(ValueError, match="unbounded and has no uniform points: intersect it with a Box"):
        half.sample(1, seed=0)
    with pytest.raises(ValueError, match="unbounded"):
        half.sample_boundary(1, seed=0)
    with pytest.raises(ValueError, match="unbounded"):
        (half | Ball(dim=2)).sample(1, seed=0)
    cube = Box((0, 0, 0), (1, 1, 1)) & HalfSpace((1, 1, 1), 1.0)
    assert cube.boundary_measure == pytest.approx(1.5 + math.sqrt(3) / 2, rel=1e-2)
    assert cube.volume == pytest.approx(1 / 6, rel=1e-2)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Box((0, 1), (1, 1)), ValueError, r"lower must be below upper.*\(1.0, 1.0\)"),
        (lambda: Box((0, 1), 1), ValueError, "one length"),
        (lambda: Box((0, math.inf), (1, 1)), ValueError, "lower must be finite"),
        (lambda: Box("a", "b"), TypeError, "lower must be a number or a vector of numbers, got 'a'"),
        (lambda: Ball(radius=0), ValueError, "radius must be positive and finite, got 0"),
        (lambda: Ball(radius=math.nan), ValueError, "radius must be positive and finite, got nan"),
        (lambda: Ball((0, 0), dim=3), ValueError, "center must have 3 coordinates"),
        (lambda: Ball(dim=0), ValueError, "dim must be at least 1, got 0"),
        (lambda: Annulus(inner=2, outer=1), ValueError, "inner must be below outer, got inner = 2 and outer = 1"),
        (lambda: HalfSpace((0, 0), 1), ValueError, "normal must not be 0"),
        (lambda: HalfSpace((0, 1), math.nan), ValueError, "offset must be finite, got nan"),
        (lambda: Polygon([(0, 0), (1, 1)]), ValueError, r"shape \(m, 2\) with m at least 3, got \(2, 2\)"),
        (lambda: Polygon([(0, 0), (1, 1), (2, 2)]), ValueError, "must not lie on one line"),
        (lambda: Polygon([(0, 0), (1, 0), (1, 0), (0, 1)]), ValueError, r"\[1.0, 0.0\] twice in a row"),
        (lambda: Polygon([(0, 0), (1, 1), (1, 0), (0, 1)]), ValueError, "self-intersections"),
        (lambda: Polygon([(0, 0), (2, 0), (2, 2), (1, 0), (0, 2)]), ValueError, "self-intersections"),
        (lambda: Polygon([(0, 0), (2, 0), (1, 0), (1, 1)]), ValueError, "self-intersections"),
        (lambda: Polygon([(0, 0), (1, 0), (0, math.nan)]), ValueError, "vertices must be finite"),
        (lambda: Star(lambda t: np.cos(t), 1.0), ValueError, "radius must be finite and positive"),
        (lambda: Star(lambda t: 4 + t, 1.0), ValueError, "radius must be periodic"),
        (lambda: Star(lambda t: 2 + np.sin(3 * t), 1.0), ValueError, "lipschitz must bound the derivative"),
        (lambda: LevelSet(lambda x: 1 - x[0] ** 2, 1.0, -2, 2), ValueError, "lipschitz must bound the gradient"),
        (lambda: LevelSet(lambda x: 9 - x[0] ** 2, 4.0, -2, 2), ValueError, "lower and upper must contain the set"),
        (lambda: LevelSet(lambda x: np.log(x[0]), 4.0, -2, 2), ValueError, "function must be finite"),
        (lambda: UnitSquare() | Ball(dim=3), ValueError, "must have one dimension, got 2 and 3"),
        (lambda: UnitSquare() | 3, TypeError, "must be domains, got 3"),
        (lambda: UnitSquare() & Ball((5, 5)), ValueError, "is empty"),
        (lambda: UnitSquare().sample(0, seed=0), ValueError, "n must be at least 1, got 0"),
        (lambda: l_shape().sample(-1, seed=0), ValueError, "n must be at least 1, got -1"),
        (lambda: UnitSquare().sample_boundary(1.5, seed=0), TypeError, "n must be an integer"),
        (lambda: (Ball(dim=2) - Ball(radius=1.5)).sample(5, seed=0), ValueError, "fills 0 of its bounding box"),
        (lambda: (Ball(dim=2) - Ball(radius=1.5)).sample_boundary(5, seed=0), ValueError, "no boundary points"),
        (lambda: UnitSquare().distance(torch.zeros(3)), ValueError, r"points must have shape \(n, 2\), got \(3,\)"),
        (lambda: l_shape().contains(torch.zeros(3, 3)), ValueError, r"shape \(n, 2\), got \(3, 3\)"),
        (lambda: Ball(dim=2).project(torch.zeros(3, 1)), ValueError, r"shape \(n, 2\), got \(3, 1\)"),
        (lambda: Ball(dim=2).vanishing(torch.zeros(3, 2).long()), ValueError, "points must be floating point"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_straight_vertices_are_dropped():
    assert Polygon([(0, 0), (1, 0), (2, 0), (2, 1), (0, 1)]).vertices == ((0, 0), (2, 0), (2, 1), (0, 1))


def test_points_may_be_lists_and_arrays():
    for x in ([[0, 0]], [[0.0, 0.0]], np.zeros((1, 2))):
        assert Ball(dim=2).distance(x).tolist() == [[1.0]]
        assert Ball(dim=2).distance(x).dtype == torch.float64
    assert Ball(dim=2).distance(np.zeros((1, 2), np.float32)).dtype == torch.float32


def test_nan_is_in_no_domain():
    x = torch.full((1, 2), math.nan).double()
    for domain in (Ball(dim=2), UnitSquare(), l_shape()):
        assert not domain.contains(x).any()


@pytest.mark.gpu
@domains
def test_on_the_device(name):
    domain = DOMAINS[name]
    x = domain.sample(100, seed=0)
    there = domain.sample(100, seed=0, device="cuda")
    assert torch.equal(there.cpu(), x)
    for f in (domain.distance, domain.vanishing, domain.project):
        torch.testing.assert_close(f(there).cpu(), f(x), rtol=1e-9, atol=1e-9)


def test_import_loads_nothing_heavy():
    script = "import sys, optsci.pinn; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert not {"numba", "matplotlib", "scipy.stats"} & set(modules)
