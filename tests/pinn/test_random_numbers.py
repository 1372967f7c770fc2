"""The random numbers of paths, against definitions in Python's integers and against exact moments."""

import numpy as np
import pytest
from numba import njit

from optsci.pinn._kernels import random as kernels

LANES = kernels.LANES
WORD = 2**32 - 1


def rotated(x, k):
    return ((x << k) | (x >> (32 - k))) & WORD


def xoshiro128plusplus(state):
    """One output and the next state, as its authors define them."""
    s = list(state)
    out = (rotated((s[0] + s[3]) & WORD, 7) + s[0]) & WORD
    t = (s[1] << 9) & WORD
    s[2] ^= s[0]
    s[3] ^= s[1]
    s[1] ^= s[2]
    s[0] ^= s[3]
    s[2] ^= t
    s[3] = rotated(s[3], 11)
    return out, s


def states(seed=1):
    state = np.zeros((4, LANES), np.uint32)
    for lane in range(LANES):
        kernels.seed_lane(state, lane, seed, lane)
    return state


def test_the_generator_is_xoshiro128plusplus():
    state, bits = states(), np.zeros(LANES, np.uint32)
    references = [[int(word) for word in state[:, lane]] for lane in (0, 17)]
    for _ in range(50):
        kernels.next_bits(state, bits)
        for i, lane in enumerate((0, 17)):
            expected, references[i] = xoshiro128plusplus(references[i])
            assert bits[lane] == expected
    expected, _ = xoshiro128plusplus(references[1])
    assert kernels.next_bits_of(state, 17) == expected


def test_splitmix_is_that_of_its_authors():
    """State 0 gives 0xE220A8397B1DCDAF first, a published value; the function takes the state after the increment."""
    assert int(kernels.splitmix64(np.uint64(0x9E3779B97F4A7C15))) == 0xE220A8397B1DCDAF


def test_every_path_and_seed_has_its_own_numbers():
    state = np.zeros((4, LANES), np.uint32)
    seen = set()
    for seed in (0, 1, 2**63 - 1):
        for path in (0, 1, 2, 2**31, 2**40, 2**62):
            kernels.seed_lane(state, 0, seed, path)
            seen.add(tuple(state[:, 0]))
    assert len(seen) == 18


def test_logarithm_and_exponential_to_the_last_bits_of_float32():
    x = np.exp(np.linspace(np.log(2.0**-33), 0, 20001)).astype(np.float32)
    logarithms = np.array([kernels.log(value) for value in x], dtype=np.float64)
    exact = np.log(x.astype(np.float64))
    assert np.abs(logarithms - exact).max() < 3e-7 * np.abs(exact).max()
    assert np.abs(logarithms - exact)[x > 0.5].max() < 2e-7
    y = np.linspace(-80, 10, 9001).astype(np.float32)
    powers = np.array([kernels.exp(value) for value in y], dtype=np.float64)
    assert np.abs(powers / np.exp(y.astype(np.float64)) - 1).max() < 3e-7


def test_directions_lie_on_the_circle_and_go_round_once():
    bits = np.linspace(0, 2**32, LANES, endpoint=False).astype(np.uint32)
    cosines, sines = np.zeros(LANES, np.float32), np.zeros(LANES, np.float32)
    kernels.directions(bits, cosines, sines)
    np.testing.assert_allclose(cosines**2 + sines**2, 1, atol=3e-7)
    angles = np.sort(np.arctan2(sines, cosines))
    np.testing.assert_allclose(np.diff(angles), 2 * np.pi / LANES, rtol=0.02)


@njit
def sums(state, bits, out, steps):
    """Sums of powers of x and y, and of products, over many pairs."""
    total = np.zeros(6)
    for _ in range(steps):
        kernels.normals(state, bits, out)
        for lane in range(LANES):
            x, y = np.float64(out[0, lane]), np.float64(out[2, lane])
            total += np.array([x, x * x - 1, x**3, x**4 - 3, x * y, (x * x - 1) * (y * y - 1)])
    return total


@pytest.mark.parametrize("seed", [0, 1])
def test_moments_of_normals(seed):
    """Twelve z-scores within 5: a false alarm in 1e5 runs, and the seeds are fixed."""
    count = 4000 * LANES
    total = sums(states(seed), np.zeros(LANES, np.uint32), np.zeros((3, LANES), np.float32), 4000)
    z = total / np.sqrt(count * np.array([1, 2, 15, 96, 1, 4]))
    assert np.abs(z).max() < 5
