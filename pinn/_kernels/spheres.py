"""Walks on spheres: Brownian motion without drift goes from the centre of a ball to a uniform point of its sphere.

In a ball of radius R, in units in which the diffusion is the identity, z = R sqrt(2 c), nu = d/2 - 1:

    survival      E exp(-c tau) = 1 / sum_k (z^2/4)^k / (k! (nu+1)...(nu+k))
    time          E tau = R^2 / d; with killing, E int_0^tau exp(-c t) dt = (1 - survival) / c
    a point of the path, by the time spent there: R U1^(1/d) U2^(1/2) in a uniform direction, which has the density
    2d/(d-2) (s - s^(d-1)) of the normalised Green function; for d = 2 its limit 4 s log(1/s), for d = 1 2 (1 - s)

With killing that point gets the weight of the killed Green function over the other.  Balls are taken so small that z
stays below 10, where the series lose no digits that matter.

A killing c that varies is below a number C, the majorant: -Lap u / 2 + C u = f + (C - c) u.  A walk killed at the rate
C either reaches the sphere, or is killed at the point above, and goes on from there with the weight 1 - c/C.

Faces that reflect: a reflected Brownian motion is a free one whose coordinates are folded at the faces.  Mirror images
of what absorbs are never nearer to a point of the box than it is itself: the same balls are safe.
"""

# mypy: disable-error-code="attr-defined"
# (Numba changes what a decorated function takes, and infers the types.)

import functools

import numpy as np
from numba import njit

from .boundary import project
from .euler import BROKEN, CAPPED, DONE, EXCEEDED, NEVER
from .lanes import over_lanes
from .random import LANES, directions, log, next_bits, normals, seed_lane, unit

LARGEST = 10.0  # of z
LARGEST_WEIGHED = 2.0  # of z where the killing varies: the weights of points in the ball stay near 1


@functools.lru_cache(maxsize=64)
def spheres_kernel(killing, source, boundary, distance, functions, dim, reflects):
    """The function that runs walks; `functions` says whether (killing, source, boundary) are functions."""
    kills, feeds, varies = functions
    distances = over_lanes(distance, dim)

    @njit(nogil=True)
    def run(constants, diffusion, eps, steps, walls, starts, before, paths, seed, first, values, status):
        """Run the paths first, first + 1, …, one for every element of values; before: (points, 3), distances first.

        constants: source, killing (or its majorant) and boundary value.  walls: (2, d), corners of the reflecting box.
        """
        count, d = len(values), starts.shape[1]
        fed, killed, paid = constants
        fed, killed = fed / diffusion, killed / diffusion
        largest = (LARGEST_WEIGHED if kills else LARGEST) / np.sqrt(2 * killed) if killed > 0 else np.inf
        x, inner = np.zeros((d, LANES)), np.zeros((d, LANES))
        arrow, noise = np.zeros((d, LANES), np.float32), np.zeros((max(d, 2), LANES), np.float32)
        state, bits = np.zeros((4, LANES), np.uint32), np.zeros(LANES, np.uint32)
        radius, part, weight = np.ones(LANES), np.ones(LANES), np.ones(LANES)
        scratch, survives = np.ones(LANES), np.ones(LANES)
        total, discount = np.zeros(LANES), np.ones(LANES)
        exceeds, collides = np.zeros(LANES, np.bool_), np.zeros(LANES, np.bool_)
        path, deadline = np.full(LANES, -1), np.full(LANES, NEVER)
        here = np.zeros((d, 1))

        begun, left, now = 0, count, 0
        far, chance = np.zeros(LANES), np.ones(LANES)
        for lane in range(LANES):
            number = first + min(begun, count - 1)
            far[lane] = _begin(lane, number, paths, starts, before, seed, x, state)
            if begun < count:
                path[lane], deadline[lane] = begun, steps
                begun += 1
        while True:
            for lane in range(LANES):
                if far[lane] > eps and now < deadline[lane] and not exceeds[lane]:
                    continue
                if path[lane] >= 0:
                    value, arrived = total[lane], not far[lane] > eps
                    if arrived and varies:
                        for i in range(d):
                            here[i, 0] = x[i, lane]
                        project(distance, here)
                        value += discount[lane] * boundary(here)[0]
                    elif arrived:
                        value += discount[lane] * paid
                    values[path[lane]] = value
                    status[path[lane]] = DONE if arrived else CAPPED
                    if not (np.isfinite(value) and np.isfinite(far[lane])):
                        status[path[lane]] = BROKEN
                    if exceeds[lane]:
                        status[path[lane]] = EXCEEDED
                    left -= 1
                path[lane], deadline[lane] = -1, NEVER
                number = first + min(begun, count - 1)
                far[lane] = _begin(lane, number, paths, starts, before, seed, x, state)
                total[lane], discount[lane], exceeds[lane] = 0.0, 1.0, False
                if begun < count:
                    path[lane], deadline[lane] = begun, now + steps
                    begun += 1
            if left == 0:
                break
            now += 1
            for lane in range(LANES):
                radius[lane] = min(far[lane], largest)
            if feeds or kills:
                _radii(state, bits, d, part)
                _arrows(state, bits, noise, arrow)
                for i in range(d):
                    for lane in range(LANES):
                        inner[i, lane] = x[i, lane] + radius[lane] * part[lane] * arrow[i, lane]
                if reflects:
                    _fold(walls, inner)
                if killed > 0:
                    for lane in range(LANES):
                        weight[lane] = killed_share(part[lane], radius[lane] * np.sqrt(2 * killed), d)
            if feeds:
                gain = source(inner)
                for lane in range(LANES):
                    time = radius[lane] * radius[lane] / d
                    total[lane] += discount[lane] * weight[lane] * time * gain[lane] / diffusion
            if killed > 0:
                survivals(radius, killed, d, scratch, survives)
                for lane in range(LANES):
                    if not feeds:
                        total[lane] += discount[lane] * fed * (1 - survives[lane]) / killed
                    if kills:
                        chance[lane] = survives[lane]
                    else:
                        discount[lane] *= survives[lane]
            elif not feeds and fed != 0:
                for lane in range(LANES):
                    total[lane] += fed * radius[lane] * radius[lane] / d
            _arrows(state, bits, noise, arrow)
            if kills:
                rate = killing(inner)
                next_bits(state, bits)
                for lane in range(LANES):
                    exceeds[lane] = rate[lane] / diffusion > killed
                    collides[lane] = unit(bits[lane]) > chance[lane]
                    if collides[lane]:
                        time = radius[lane] * radius[lane] / d
                        discount[lane] *= weight[lane] * time * (killed - rate[lane] / diffusion) / (1 - chance[lane])
            for i in range(d):
                for lane in range(LANES):
                    x[i, lane] += radius[lane] * arrow[i, lane]
                    if kills and collides[lane]:
                        x[i, lane] = inner[i, lane]
            if reflects:
                _fold(walls, x)
            distances(x, far)

    return run


@njit(cache=True)
def _begin(lane, number, paths, starts, before, seed, x, state):
    """Put a path into a lane; the distance of its start."""
    for i in range(len(x)):
        x[i, lane] = starts[number // paths, i]
    seed_lane(state, lane, seed, number)
    return before[number // paths, 0]


@njit(cache=True)
def _fold(walls, x):
    """Fold coordinates into the box, at its faces and their images."""
    for i in range(len(x)):
        low, side = walls[0, i], walls[1, i] - walls[0, i]
        for lane in range(LANES):
            place = np.abs(x[i, lane] - low)
            place -= 2 * side * np.floor(place / (2 * side))
            x[i, lane] = low + (place if place <= side else 2 * side - place)


@njit(cache=True)
def _arrows(state, bits, noise, out):
    """Uniform points of the unit sphere, (d, LANES)."""
    d = len(out)
    if d == 1:
        next_bits(state, bits)
        for lane in range(LANES):
            out[0, lane] = np.float32(1) if bits[lane] & np.uint32(0x80000000) else np.float32(-1)
    elif d == 2:
        next_bits(state, bits)
        directions(bits, out[0], out[1])
    else:
        normals(state, bits, noise)
        for lane in range(LANES):
            squares = np.float32(0)
            for i in range(d):
                squares += noise[i, lane] * noise[i, lane]
            scale = np.float32(1) / np.sqrt(squares)
            for i in range(d):
                out[i, lane] = noise[i, lane] * scale


@njit(cache=True)
def _radii(state, bits, d, out):
    """Relative radii U1^(1/d) U2^(1/2)."""
    next_bits(state, bits)
    for lane in range(LANES):
        out[lane] = np.exp(np.float64(log(unit(bits[lane]))) / d)
    next_bits(state, bits)
    for lane in range(LANES):
        out[lane] *= np.sqrt(np.float64(unit(bits[lane])))


@njit(cache=True)
def survivals(radius, killed, d, q, out):
    """E exp(-c tau) from the centres of balls, the same number of terms for all; q: memory for (R sqrt(2 c))^2 / 4."""
    largest = 0.0
    for lane in range(LANES):
        q[lane] = 0.5 * killed * radius[lane] * radius[lane]
        largest = max(largest, q[lane])
    term, total, terms = 1.0, 1.0, 0
    while term > 1e-17 * total:
        terms += 1
        term *= largest / (terms * (0.5 * d - 1 + terms))
        total += term
    out[:] = 1.0
    for k in range(terms, 0, -1):
        share = 1 / (k * (0.5 * d - 1 + k))
        for lane in range(LANES):
            out[lane] = 1 + q[lane] * share * out[lane]
    for lane in range(LANES):
        out[lane] = 1 / out[lane]


@njit(cache=True)
def killed_share(s, z, d):
    """The Green function with killing over that without, from the centre to the relative radius s; d = 1, 2, 3."""
    s = min(max(s, 1e-9), 1 - 1e-9)
    if d == 2:
        regular, singular = _bessel(z)
        regular_here, singular_here = _bessel(z * s)
        return (singular_here - singular * regular_here / regular) / -np.log(s)
    below = np.sinh(z) if d == 3 else z * np.cosh(z)
    return np.sinh(z * (1 - s)) / ((1 - s) * below)


@njit(cache=True)
def _bessel(z):
    """I_0 and K_0, by their series."""
    term, regular, harmonic, rest, k = 1.0, 1.0, 0.0, 0.0, 0
    while term > 1e-17 * regular:
        k += 1
        term *= 0.25 * z * z / (k * k)
        harmonic += 1.0 / k
        regular += term
        rest += term * harmonic
    return regular, rest - (np.log(z / 2) + 0.5772156649015329) * regular
