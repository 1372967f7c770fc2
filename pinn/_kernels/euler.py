"""Euler-Maruyama paths to the boundary, LANES of them side by side, and what they collect on the way.

Positions and increments are float32; what is summed over the steps of a path is float64.  A path that has ended is
replaced by the next one, until every path is done: stopping earlier would prefer short paths.

Lanes are the last axis, and the loops over them become vector instructions, as long as they read and write few arrays:
the compiler gives up where it would have to check more than some eight pairs of arrays for overlap.  What is rare, the
end of a path, is done lane by lane.
"""

# mypy: disable-error-code="attr-defined, assignment"
# (Numba changes what a decorated function takes, and infers the types.)

import functools

import numpy as np
from numba import njit

from .boundary import normal_speed, project
from .lanes import over_lanes
from .random import FUSED, LANES, exp, log, next_bits_of, normals, seed_lane, unit

NAIVE, SHIFT, BRIDGE = 0, 1, 2
BETA = 0.5825971579390106  # -zeta(1/2) / sqrt(2 pi)
# How a path ended: at the boundary, after too many steps, with a number that is none, where the majorant is too small.
DONE, CAPPED, BROKEN, EXCEEDED = 0, 1, 2, 3
NEVER = 2**62
NEAR, LATE = 1, 2  # events of a lane: it may have reached the boundary, its time is over
UNLIKELY = 20.0  # a bridge whose exit has a probability below exp(-20) is taken for one without


@functools.lru_cache(maxsize=64)
def euler_kernel(drift, diffusion, killing, source, boundary, control, distance, functions, dim, matrix, reflects):
    """The function that runs paths, for these coefficients.

    Every coefficient is compiled by Numba, a function of x (d, lanes); `functions` says for (drift, diffusion, killing,
    source, boundary, control) whether it varies.  One that does not is a number, given when the paths run, and costs
    nothing.  `control` is the gradient of a control variate.
    """
    moves, spreads, kills, feeds, varies, controls = functions
    distances = over_lanes(distance, dim)
    rates, gains = (over_lanes(f, dim) if there else f for f, there in ((killing, kills), (source, feeds)))

    @njit(nogil=True, fastmath=FUSED)
    def run(
        constants, factor, dt, exit_test, antithetic, steps, walls, starts, before, paths, seed, first, values, status
    ):
        """Run the paths first, first + 1, …, one for every element of values.

        starts: (points, d); path i begins at point i // paths.  before: (points, 3), distance, source and killing
        there.  constants: source, killing and boundary value where they are numbers.  factor: lower triangular (d, d),
        the square root of the diffusion matrix.  walls: (2, d) float32, lower and upper corner of the reflecting box.
        """
        count, d = len(values), starts.shape[1]
        fed, killed, paid = constants
        short, root = np.float32(dt), np.float32(np.sqrt(dt))
        x, new, noise = (
            np.zeros((d, LANES), np.float32),
            np.zeros((d, LANES), np.float32),
            np.zeros((d, LANES), np.float32),
        )
        state, bits, sign = np.zeros((4, LANES), np.uint32), np.zeros(LANES, np.uint32), np.ones(LANES, np.float32)
        near, far = np.ones(LANES, np.float32), np.ones(LANES, np.float32)
        speed = np.full(LANES, np.float32(factor[0, 0]))
        root_of = np.zeros((d, d, LANES), np.float32)
        for i in range(d):
            for j in range(d):
                root_of[i, j] = factor[i, j]
        rate_old, gain_old = np.full(LANES, np.float32(killed)), np.full(LANES, np.float32(fed))
        rate_new, gain_new = rate_old.copy(), gain_old.copy()
        total, discount, after = np.zeros(LANES), np.ones(LANES, np.float32), np.ones(LANES, np.float32)
        path, deadline = np.full(LANES, -1), np.full(LANES, NEVER)
        event = np.zeros(LANES, np.uint8)
        eight = event.view(np.uint64)  # lanes at a time, most of them without an event
        ended = np.zeros(LANES, np.int64)
        here = np.zeros((d, 1))

        begun, left, now, soonest = 0, count, 0, 0
        for lane in range(LANES):
            number = first + min(begun, count - 1)
            _begin(lane, number, paths, starts, before, seed, antithetic, x, near, gain_old, rate_old, state, sign)
            if begun < count:
                path[lane], deadline[lane] = begun, steps
                begun += 1
        while left > 0:
            now += 1
            normals(state, bits, noise)
            if antithetic:
                _times(noise, sign)
            if matrix:
                if spreads:
                    _factorise(diffusion(x), root_of)
                _mix(x, root_of, noise, root, new, speed)
            else:
                if spreads:
                    _square_root(diffusion(x), speed)
                    _spread(x, speed, noise, root, new)
                else:
                    _spread_evenly(x, root * speed[0], noise, new)
            if controls:
                _subtract(control(x), x, new, discount, total)  # all of the step, also of one that will be the last
            if moves:
                _drift(drift(x), short, new)
            if reflects:
                _reflect(walls, new)
            distances(new, far)
            some = _near_boundary(far, near, speed, root, exit_test, event)
            if now >= soonest:
                some, soonest = True, NEVER
                for lane in range(LANES):
                    if deadline[lane] <= now:
                        event[lane] |= LATE
                    else:
                        soonest = min(soonest, deadline[lane])
            ends = 0
            if some:
                for word in range(LANES // 8):
                    if eight[word] == 0:
                        continue
                    for lane in range(8 * word, 8 * word + 8):
                        if event[lane] == 0 or path[lane] < 0:
                            continue
                        part, way = 0.0, 1.0  # of the step, of the way: until the exit
                        if event[lane] & NEAR:
                            reach = root * speed[lane]
                            if matrix and far[lane] > 0:
                                for i in range(d):
                                    here[i, 0] = new[i, lane]
                                reach = root * np.float32(normal_speed(distance, here, root_of, lane))
                            if not far[lane] > 0 or (exit_test == SHIFT and far[lane] <= np.float32(BETA) * reach):
                                part = 1.0
                            elif exit_test == BRIDGE:
                                exponent = np.float32(-2) * far[lane] * near[lane] / (reach * reach)
                                if log(unit(next_bits_of(state, lane))) < exponent:
                                    part, way = 0.5, near[lane] / (near[lane] + far[lane])
                        if part > 0:
                            value = total[lane] + part * dt * gain_old[lane] * discount[lane]
                            remaining = discount[lane] * np.exp(-rate_old[lane] * part * dt)
                            if varies:
                                for i in range(d):
                                    here[i, 0] = x[i, lane] + way * (new[i, lane] - x[i, lane])
                                project(distance, here)
                                value += remaining * boundary(here)[0]
                            else:
                                value += remaining * paid
                            values[path[lane]] = value
                            status[path[lane]] = DONE if np.isfinite(value) and np.isfinite(far[lane]) else BROKEN
                        elif event[lane] & LATE:
                            values[path[lane]], status[path[lane]] = total[lane], CAPPED
                        else:
                            continue
                        path[lane], deadline[lane] = -1, NEVER
                        ended[ends] = lane
                        ends += 1
            if feeds:
                gains(new, gain_new)
            if kills:
                rates(new, rate_new)
            if kills or killed != 0:
                _diminish(rate_old, rate_new, dt, discount, after)
                _collect(gain_old, gain_new, discount, after, dt, total)
                discount, after = after, discount
            elif feeds:
                _collect_undiminished(gain_old, gain_new, dt, total)
            elif fed != 0:
                _add(dt * fed, total)
            x, new = new, x
            near, far = far, near
            if feeds:
                gain_old, gain_new = gain_new, gain_old
            if kills:
                rate_old, rate_new = rate_new, rate_old
            left -= ends
            for lane in ended[:ends]:
                if begun < count:
                    number = first + begun
                    _begin(
                        lane, number, paths, starts, before, seed, antithetic, x, near, gain_old, rate_old, state, sign
                    )
                    path[lane], deadline[lane] = begun, now + steps
                    soonest = min(soonest, deadline[lane])
                    total[lane], discount[lane] = 0.0, 1
                    begun += 1

    return run


@njit(cache=True)
def _begin(lane, number, paths, starts, before, seed, antithetic, x, near, gain, rate, state, sign):
    """Put a path into a lane; the two of an antithetic pair have the same random numbers, with either sign."""
    point = number // paths
    for i in range(len(x)):
        x[i, lane] = starts[point, i]
    near[lane], gain[lane], rate[lane] = before[point, 0], before[point, 1], before[point, 2]
    if antithetic:
        sign[lane] = 1 - 2 * (number % 2)
        number //= 2
    seed_lane(state, lane, seed, number)


@njit(cache=True)
def _times(noise, sign):
    for i in range(len(noise)):
        for lane in range(LANES):
            noise[i, lane] *= sign[lane]


@njit(cache=True)
def _square_root(spread, speed):
    for lane in range(LANES):
        speed[lane] = np.sqrt(np.float32(spread[lane]))


@njit(cache=True, fastmath=FUSED)
def _spread(x, speed, noise, root, new):
    for i in range(len(x)):
        for lane in range(LANES):
            new[i, lane] = x[i, lane] + root * speed[lane] * noise[i, lane]


@njit(cache=True, fastmath=FUSED)
def _spread_evenly(x, reach, noise, new):
    for i in range(len(x)):
        for lane in range(LANES):
            new[i, lane] = x[i, lane] + reach * noise[i, lane]


@njit(cache=True, fastmath=FUSED)
def _mix(x, root_of, noise, root, new, speed):
    """The step of correlated noise; the speed is a bound of the normal one, the Frobenius norm of sigma."""
    d = len(x)
    speed[:] = 0
    for i in range(d):
        new[i] = 0
        for j in range(i + 1):
            for lane in range(LANES):
                one = root_of[i, j, lane]
                new[i, lane] += one * noise[j, lane]
                speed[lane] += one * one
        for lane in range(LANES):
            new[i, lane] = x[i, lane] + root * new[i, lane]
    for lane in range(LANES):
        speed[lane] = np.sqrt(speed[lane])


@njit(cache=True, fastmath=FUSED)
def _drift(velocity, short, new):
    for i in range(len(new)):
        for lane in range(LANES):
            new[i, lane] += short * np.float32(velocity[i, lane])


@njit(cache=True, fastmath=FUSED)
def _subtract(slope, x, new, discount, total):
    """Take the martingale part of a step along a gradient (d, LANES) from what the paths collect."""
    for lane in range(LANES):
        gained = np.float32(0)
        for i in range(len(x)):
            gained += np.float32(slope[i, lane]) * (new[i, lane] - x[i, lane])
        total[lane] -= np.float64(discount[lane] * gained)


@njit(cache=True)
def _reflect(walls, new):
    """Fold the coordinates back at the faces that they have passed."""
    for i in range(len(new)):
        low, high = walls[0, i], walls[1, i]
        for lane in range(LANES):
            place = new[i, lane]
            place = low + low - place if place < low else place
            new[i, lane] = high + high - place if place > high else place


@njit(cache=True)
def _near_boundary(far, near, speed, root, exit_test, event):
    """Mark the lanes whose path may have ended in this step, NaN included; whether there are any."""
    marked = 0
    for lane in range(LANES):
        reach = root * speed[lane]
        if exit_test == SHIFT:
            safe = far[lane] > np.float32(BETA) * reach
        elif exit_test == BRIDGE:
            safe = (far[lane] > 0) & (far[lane] * near[lane] > np.float32(UNLIKELY / 2) * reach * reach)
        else:
            safe = far[lane] > 0
        event[lane] = np.uint8(not safe)
        marked += np.int32(not safe)
    return marked > 0


@njit(cache=True)
def _add(number, out):
    for lane in range(LANES):
        out[lane] += number


@njit(cache=True)
def _copy(source, out):
    for lane in range(LANES):
        out[lane] = source[lane]


@njit(cache=True, fastmath=FUSED)
def _diminish(rate_old, rate_new, dt, discount, after):
    half = np.float32(-0.5 * dt)
    for lane in range(LANES):
        after[lane] = discount[lane] * exp(half * (rate_old[lane] + np.float32(rate_new[lane])))


@njit(cache=True, fastmath=FUSED)
def _collect(gain_old, gain_new, discount, after, dt, total):
    """Add a step of what is gained, by the mean of its ends."""
    half = np.float32(0.5 * dt)
    for lane in range(LANES):
        total[lane] += np.float64(half * (gain_old[lane] * discount[lane] + np.float32(gain_new[lane]) * after[lane]))


@njit(cache=True, fastmath=FUSED)
def _collect_undiminished(gain_old, gain_new, dt, total):
    for lane in range(LANES):
        total[lane] += 0.5 * dt * np.float64(gain_old[lane] + np.float32(gain_new[lane]))


@njit(cache=True, fastmath=FUSED)
def _factorise(matrices, out):
    """Lower Cholesky factors of (d, d, LANES) symmetric matrices."""
    d = len(out)
    for j in range(d):
        for i in range(j, d):
            for lane in range(LANES):
                value = np.float32(matrices[i, j, lane])
                for k in range(j):
                    value -= out[i, k, lane] * out[j, k, lane]
                out[i, j, lane] = np.sqrt(value) if i == j else value / out[j, j, lane]
