"""Pairs of Euler-Maruyama paths with steps dt and 4 dt and the same noise, for the levels of multilevel Monte Carlo.

The increments of the long step are the sums of the four short ones.  Each path goes on to its own exit, noticed by the
shift of the boundary that belongs to its step.  What a pair is worth is the difference, short steps minus long ones.
"""

# mypy: disable-error-code="attr-defined, assignment"
# (Numba changes what a decorated function takes, and infers the types.)

import functools

import numpy as np
from numba import njit

from .boundary import normal_speed, project
from .euler import (
    BETA,
    BROKEN,
    CAPPED,
    DONE,
    NEVER,
    SHIFT,
    _add,
    _collect,
    _collect_undiminished,
    _copy,
    _diminish,
    _drift,
    _factorise,
    _mix,
    _near_boundary,
    _reflect,
    _spread,
    _square_root,
)
from .random import FUSED, LANES, normals, seed_lane

RATIO = 4  # of the steps of a pair


@functools.lru_cache(maxsize=64)
def levels_kernel(drift, diffusion, killing, source, boundary, distance, functions, matrix, reflects):
    """The function that runs pairs, for coefficients as `euler.euler_kernel` takes them."""
    moves, spreads, kills, feeds, varies = functions

    @njit(nogil=True, fastmath=FUSED)
    def step(constants, dt, walls, noise, x, new, speed, root_of, gain, rate, total, discount, alive, value):
        """One step of the paths at x; those that leave, of the ones alive, get their value."""
        d = len(x)
        fed, killed, paid = constants
        short, root = np.float32(dt), np.float32(np.sqrt(dt))
        if matrix:
            if spreads:
                _factorise(diffusion(x), root_of)
            _mix(x, root_of, noise, root, new, speed)
        else:
            if spreads:
                _square_root(diffusion(x), speed)
            _spread(x, speed, noise, root, new)
        if moves:
            _drift(drift(x), short, new)
        if reflects:
            _reflect(walls, new)
        far = distance(new)
        event = np.empty(LANES, np.bool_)
        if _near_boundary(far, far, speed, root, SHIFT, event):
            here = np.empty((d, 1))
            for lane in range(LANES):
                if not (alive[lane] and event[lane]):
                    continue
                reach = root * speed[lane]
                for i in range(d):
                    here[i, 0] = new[i, lane]
                if matrix and far[lane] > 0:
                    reach = root * np.float32(normal_speed(distance, here, root_of, lane))
                    if far[lane] > np.float32(BETA) * reach:
                        continue
                value[lane] = total[lane] + dt * gain[lane] * discount[lane]
                remaining = discount[lane] * np.exp(-rate[lane] * dt)
                if varies:
                    project(distance, here)
                    value[lane] += remaining * boundary(here)[0]
                else:
                    value[lane] += remaining * paid
                if not np.isfinite(far[lane]):
                    value[lane] = np.nan
                alive[lane] = False
        gain_new = source(new) if feeds else gain
        rate_new = killing(new) if kills else rate
        if kills or killed != 0:
            after = np.empty(LANES, np.float32)
            _diminish(rate, rate_new, dt, discount, after)
            _collect(gain, gain_new, discount, after, dt, total)
            _copy(after, discount)
        elif feeds:
            _collect_undiminished(gain, gain_new, dt, total)
        else:
            _add(dt * fed, total)
        if feeds:
            _copy(gain_new, gain)
        if kills:
            _copy(rate_new, rate)
        x[:] = new

    @njit(nogil=True)
    def run(constants, factor, dt, steps, walls, starts, before, paths, seed, first, values, status):
        """Run the pairs first, first + 1, …; arguments as in `euler.euler_kernel`, dt and steps of the shorter one."""
        count, d = len(values), starts.shape[1]
        fed, killed, _ = constants
        fine, coarse = np.zeros((d, LANES), np.float32), np.zeros((d, LANES), np.float32)
        new, noise, sums = np.zeros_like(fine), np.zeros_like(fine), np.zeros_like(fine)
        state, bits = np.zeros((4, LANES), np.uint32), np.zeros(LANES, np.uint32)
        speed = np.full(LANES, np.float32(factor[0, 0]))
        root_of = np.zeros((d, d, LANES), np.float32)
        for i in range(d):
            for j in range(d):
                root_of[i, j] = factor[i, j]
        gain, rate = np.full((2, LANES), np.float32(fed)), np.full((2, LANES), np.float32(killed))
        total, discount = np.zeros((2, LANES)), np.ones((2, LANES), np.float32)
        alive, value = np.zeros((2, LANES), np.bool_), np.zeros((2, LANES))
        path, deadline = np.full(LANES, -1), np.full(LANES, NEVER)

        begun, left, now = 0, count, 0
        while True:
            for lane in range(LANES):
                if path[lane] >= 0:
                    arrived = not (alive[0, lane] or alive[1, lane])
                    if not arrived and now < deadline[lane]:
                        continue
                    difference = value[0, lane] - value[1, lane]
                    values[path[lane]] = difference
                    status[path[lane]] = CAPPED
                    if arrived:
                        status[path[lane]] = DONE if np.isfinite(difference) else BROKEN
                    left -= 1
                    path[lane] = -1
                elif now > 0 and begun >= count:
                    continue
                number = first + min(begun, count - 1)
                point = number // paths
                for i in range(d):
                    fine[i, lane] = starts[point, i]
                    coarse[i, lane] = starts[point, i]
                seed_lane(state, lane, seed, number)
                gain[:, lane], rate[:, lane] = before[point, 1], before[point, 2]
                total[:, lane], discount[:, lane] = 0.0, 1
                if begun < count:
                    path[lane], deadline[lane] = begun, now + steps // RATIO
                    alive[:, lane] = True
                    begun += 1
            if left == 0:
                break
            now += 1
            sums[:] = 0
            for _ in range(RATIO):
                normals(state, bits, noise)
                sums += noise
                step(constants, dt, walls, noise, fine, new, speed, root_of, gain[0], rate[0], total[0], discount[0],
                     alive[0], value[0])  # fmt: skip
            sums *= np.float32(1 / np.sqrt(RATIO))
            step(constants, RATIO * dt, walls, sums, coarse, new, speed, root_of, gain[1], rate[1], total[1],
                 discount[1], alive[1], value[1])  # fmt: skip

    return run
