"""Random numbers for many Monte Carlo paths side by side.

A path owns its random numbers: xoshiro128++ (Blackman and Vigna 2018), seeded by SplitMix64 from the seed of the run
and the number of the path.  What a path draws does not depend on which lane, thread or process runs it.

Lanes are the last axis of every array.  The loops over them hold no call and no branch, so that LLVM turns them into
vector instructions: logarithm, sine and cosine are polynomials in float32, fitted at the Chebyshev nodes; their errors,
below 1e-7, are those of float32.
"""

# mypy: disable-error-code="attr-defined, call-arg, var-annotated"
# (Numba changes what a decorated function takes, and infers the types.)

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

LANES = 256  # so many that what a call of a coefficient costs, about 100 ns, is little for one of them
FUSED = {"contract"}  # a product and a sum may be rounded once, together


@intrinsic
def float_of_bits(typing, bits):
    """The float32 with these 32 bits."""

    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), codegen


@intrinsic
def bits_of_float(typing, number):
    """The 32 bits of a float32."""

    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), codegen


@njit(inline="always")
def rotated(x, k):
    return np.uint32(np.uint32(x << np.uint32(k)) | np.uint32(x >> np.uint32(32 - k)))


@njit(cache=True)
def splitmix64(x):
    """The output of SplitMix64 in state x - 0x9E3779B97F4A7C15."""
    z = np.uint64(x)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True)
def seed_lane(state, lane, seed, path):
    """Give a lane the random numbers of a path; state: (4, LANES) uint32."""
    gamma = np.uint64(0x9E3779B97F4A7C15)
    x = splitmix64(np.uint64(seed) + gamma) ^ splitmix64(np.uint64(path) * gamma + np.uint64(0xD1B54A32D192ED03))
    for i in range(2):
        x = np.uint64(x + gamma)
        word = splitmix64(x)
        state[2 * i, lane] = np.uint32(word)
        state[2 * i + 1, lane] = np.uint32(word >> np.uint64(32))


@njit(inline="always")
def next_bits_of(state, lane):
    """32 random bits for one lane."""
    s0, s1, s2, s3 = state[0, lane], state[1, lane], state[2, lane], state[3, lane]
    out = np.uint32(rotated(np.uint32(s0 + s3), 7) + s0)
    t = np.uint32(s1 << np.uint32(9))
    s2 = np.uint32(s2 ^ s0)
    s3 = np.uint32(s3 ^ s1)
    state[1, lane] = np.uint32(s1 ^ s2)
    state[0, lane] = np.uint32(s0 ^ s3)
    state[2, lane] = np.uint32(s2 ^ t)
    state[3, lane] = rotated(s3, 11)
    return out


@njit(cache=True)
def next_bits(state, out):
    """32 random bits for every lane."""
    for lane in range(LANES):
        out[lane] = next_bits_of(state, lane)


@njit(inline="always")
def unit(bits):
    """A number in (0, 1] of 32 random bits: (bits + 1/2) 2^-32, rounded to float32."""
    return np.float32(np.float32(bits) * np.float32(2.0**-32) + np.float32(2.0**-33))


@njit(inline="always")
def log(x):
    """The logarithm of a normal positive float32."""
    bits = bits_of_float(x)
    exponent = np.int32(np.int32(bits - np.int32(0x3F3504F3)) >> np.int32(23))
    z = np.float32(float_of_bits(np.int32(bits - np.int32(exponent << np.int32(23)))) - np.float32(1))
    p = np.float32(0.08533313125371933)
    p = np.float32(p * z + np.float32(-0.14269258081912994))
    p = np.float32(p * z + np.float32(0.14977401494979858))
    p = np.float32(p * z + np.float32(-0.1657799333333969))
    p = np.float32(p * z + np.float32(0.19955933094024658))
    p = np.float32(p * z + np.float32(-0.250013530254364))
    p = np.float32(p * z + np.float32(0.33334192633628845))
    p = np.float32(p * z + np.float32(-0.4999999701976776))
    p = np.float32(p * z + np.float32(1))
    return np.float32(p * z + np.float32(exponent) * np.float32(0.6931471805599453))


@njit(inline="always")
def exp(x):
    """The exponential of a float32 between -87 and 88."""
    k = np.float32(x * np.float32(1.4426950408889634) + np.float32(1.5 * 2**23))  # which rounds to an integer
    k = np.float32(k - np.float32(1.5 * 2**23))
    z = np.float32(x - k * np.float32(0.693145751953125))
    z = np.float32(z - k * np.float32(1.42860682030941723e-06))
    p = np.float32(0.001394110846934711)
    p = np.float32(p * z + np.float32(0.008375126398416404))
    p = np.float32(p * z + np.float32(0.041666352896198126))
    p = np.float32(p * z + np.float32(0.16666415514649002))
    p = np.float32(p * z + np.float32(0.5000000047117972))
    p = np.float32(p * z + np.float32(1))
    p = np.float32(p * z + np.float32(1))
    return np.float32(p * float_of_bits(np.int32(np.int32(np.int32(k) + np.int32(127)) << np.int32(23))))


@njit(cache=True, fastmath=FUSED)
def directions(bits, cosines, sines):
    """A point of the unit circle for every lane, of its 32 bits: two say the quadrant, the others the angle in it."""
    for i in range(LANES):
        part = np.float32(np.uint32(bits[i] & np.uint32(0x3FFFFFFF)))
        angle = np.float32(part * np.float32(np.pi / 2 * 2.0**-30) - np.float32(np.pi / 4))
        w = np.float32(angle * angle)
        s = np.float32(-0.00019503904250060925)
        s = np.float32(s * w + np.float32(0.008332035785589385))
        s = np.float32(s * w + np.float32(-0.16666650673996578))
        s = np.float32(np.float32(s * w + np.float32(1)) * angle)
        c = np.float32(2.4379830963894595e-05)
        c = np.float32(c * w + np.float32(-0.0013886617996113834))
        c = np.float32(c * w + np.float32(0.04166661669239419))
        c = np.float32(c * w + np.float32(-0.4999999961485576))
        c = np.float32(c * w + np.float32(1))
        swap = np.uint32(bits[i] & np.uint32(0x40000000)) != 0
        sign = np.float32(-1) if np.uint32(bits[i] & np.uint32(0x80000000)) != 0 else np.float32(1)
        cosines[i] = np.float32(sign * (-s if swap else c))
        sines[i] = np.float32(sign * (c if swap else s))


@njit(cache=True, fastmath=FUSED)
def normals(state, bits, out):
    """Independent standard normal numbers, out: (d, LANES) float32, by Box and Muller; bits: (LANES,) uint32."""
    d = len(out)
    spare = np.empty(LANES, np.float32) if d % 2 else out[0]
    for k in range(0, d, 2):
        first, second = out[k], out[k + 1] if k + 1 < d else spare
        next_bits(state, bits)
        directions(bits, first, second)
        next_bits(state, bits)
        for i in range(LANES):
            radius = np.float32(np.sqrt(np.float32(np.float32(-2) * log(unit(bits[i])))))
            first[i] *= radius
            second[i] *= radius
