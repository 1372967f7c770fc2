"""Labels by random walks: steps per second against NumPy and C, walks on spheres and levels against Euler-Maruyama.

Writes ``feynman_kac.md`` beside itself. Takes about three minutes on one core; a C compiler, if there is one, is used.
"""

from __future__ import annotations

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"))

import ctypes
import itertools
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from scipy.special import i0

from common.files import save
from common.machine import machine, versions
from common.timing import alternating
from optsci.pinn import (
    Ball,
    Box,
    EulerMaruyama,
    Interval,
    MeanExitTime,
    Multilevel,
    Problem,
    Schroedinger,
    WalkOnSpheres,
    labels,
)

DT = 1e-3
PATHS = {"numpy": 20_000, "C": 300_000, "optsci": 300_000}
ROUNDS = 5
BIAS = 1e-3  # that a method may have, two standard errors of its estimate included
BIAS_PATHS = 2_000_000
STEPS = [4.0**-k / 10 for k in range(8)]  # of Euler-Maruyama, tried from the longest
SHELLS = [10 ** (-k / 2) for k in range(2, 11)]  # of walk on spheres
START = [0.3, 0.2]
SHIFT = 0.5825971579390106

KILLED = Problem(Ball(dim=2), killing=lambda x: x[0] * x[0] + x[1] * x[1], source=1.0, boundary=1.0)

# The algorithm of optsci.pinn._kernels.euler for this problem, with the same polynomials.
C_SOURCE = r"""
#include <math.h>
#include <stdint.h>
#include <string.h>
#define LANES 256
static uint32_t s[4][LANES], bits[LANES];
static inline uint32_t rotated(uint32_t x, int k) { return (x << k) | (x >> (32 - k)); }
static void next_bits(void) {
    for (int i = 0; i < LANES; i++) {
        uint32_t s0 = s[0][i], s1 = s[1][i], s2 = s[2][i], s3 = s[3][i];
        bits[i] = rotated(s0 + s3, 7) + s0;
        uint32_t t = s1 << 9;
        s2 ^= s0; s3 ^= s1;
        s[1][i] = s1 ^ s2; s[0][i] = s0 ^ s3; s[2][i] = s2 ^ t; s[3][i] = rotated(s3, 11);
    }
}
static uint64_t splitmix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull; z = (z ^ (z >> 27)) * 0x94D049BB133111EBull; return z ^ (z >> 31);
}
static void seed_lane(int lane, uint64_t seed, uint64_t path) {
    const uint64_t gamma = 0x9E3779B97F4A7C15ull;
    uint64_t x = splitmix(seed + gamma) ^ splitmix(path * gamma + 0xD1B54A32D192ED03ull);
    for (int i = 0; i < 2; i++) {
        x += gamma;
        uint64_t w = splitmix(x);
        s[2 * i][lane] = (uint32_t)w; s[2 * i + 1][lane] = (uint32_t)(w >> 32);
    }
}
static inline float logarithm(float x) {
    int32_t b; memcpy(&b, &x, 4);
    int32_t e = (b - 0x3F3504F3) >> 23; b -= (int32_t)((uint32_t)e << 23);
    float z; memcpy(&z, &b, 4); z -= 1.0f;
    float p = 0.08533313125371933f;
    p = p * z - 0.14269258081912994f; p = p * z + 0.14977401494979858f; p = p * z - 0.1657799333333969f;
    p = p * z + 0.19955933094024658f; p = p * z - 0.250013530254364f; p = p * z + 0.33334192633628845f;
    p = p * z - 0.4999999701976776f; p = p * z + 1.0f;
    return p * z + (float)e * 0.6931471805599453f;
}
static inline float exponential(float x) {
    int32_t k = (int32_t)floorf(x * 1.4426950408889634f + 0.5f);
    float z = x - (float)k * 0.693145751953125f; z -= (float)k * 1.42860682030941723e-06f;
    float p = 0.001394110846934711f;
    p = p * z + 0.008375126398416404f; p = p * z + 0.041666352896198126f; p = p * z + 0.16666415514649002f;
    p = p * z + 0.5000000047117972f; p = p * z + 1.0f; p = p * z + 1.0f;
    int32_t b = (k + 127) << 23; float q; memcpy(&q, &b, 4);
    return p * q;
}
static void normals(float *first, float *second) {
    next_bits();
    for (int i = 0; i < LANES; i++) {
        float a = (float)(int32_t)(bits[i] & 0x3FFFFFFFu) * (float)(1.5707963267948966 * 0x1p-30) - 0.7853981633974483f;
        float w = a * a;
        float sine = -0.00019503904250060925f;
        sine = sine * w + 0.008332035785589385f; sine = sine * w - 0.16666650673996578f; sine = (sine * w + 1.0f) * a;
        float cosine = 2.4379830963894595e-05f;
        cosine = cosine * w - 0.0013886617996113834f; cosine = cosine * w + 0.04166661669239419f;
        cosine = cosine * w - 0.4999999961485576f; cosine = cosine * w + 1.0f;
        int swap = (bits[i] & 0x40000000u) != 0;
        float sign = (bits[i] & 0x80000000u) ? -1.0f : 1.0f;
        first[i] = sign * (swap ? -sine : cosine); second[i] = sign * (swap ? cosine : sine);
    }
    next_bits();
    for (int i = 0; i < LANES; i++) {
        float radius = sqrtf(-2.0f * logarithm((float)bits[i] * 0x1p-32f + 0x1p-33f));
        first[i] *= radius; second[i] *= radius;
    }
}
void run(int64_t count, float x0, float y0, double dt, float shift, uint64_t seed, double *values, int64_t *steps) {
    static float x[LANES], y[LANES], u[LANES], v[LANES], rate[LANES], discount[LANES], discount_old[LANES], far[LANES];
    static double total[LANES], total_old[LANES];
    int64_t path[LANES], begun = 0, left = count, walked = 0;
    float root = sqrtf((float)dt), half = -0.5f * (float)dt;
    for (int i = 0; i < LANES; i++) {
        x[i] = x0; y[i] = y0; rate[i] = x0 * x0 + y0 * y0; discount[i] = 1; total[i] = 0; path[i] = -1;
        if (begun < count) { seed_lane(i, seed, begun); path[i] = begun++; }
    }
    while (left > 0) {
        normals(u, v);
        int some = 0;
        for (int i = 0; i < LANES; i++) {
            x[i] += root * u[i]; y[i] += root * v[i];
            far[i] = 1.0f - sqrtf(x[i] * x[i] + y[i] * y[i]);
            some += !(far[i] > shift);
        }
        if (some) { memcpy(total_old, total, sizeof total); memcpy(discount_old, discount, sizeof discount); }
        for (int i = 0; i < LANES; i++) {
            float now = x[i] * x[i] + y[i] * y[i], after = discount[i] * exponential(half * (rate[i] + now));
            total[i] += 0.5 * dt * (double)(discount[i] + after);
            discount[i] = after;
            u[i] = rate[i]; rate[i] = now;
        }
        walked += LANES;
        if (some)
            for (int i = 0; i < LANES; i++)
                if (path[i] >= 0 && !(far[i] > shift)) {
                    values[path[i]] = total_old[i] + dt * discount_old[i] + discount_old[i] * exp(-u[i] * dt);
                    left--; path[i] = -1;
                    if (begun < count) {
                        seed_lane(i, seed, begun); path[i] = begun++;
                        x[i] = x0; y[i] = y0; rate[i] = x0 * x0 + y0 * y0; discount[i] = 1; total[i] = 0;
                    }
                }
    }
    *steps = walked;
}
"""


def by_numpy(paths: int, seed: int, block: int = 2**14) -> np.ndarray:
    """The same paths as whole arrays in float32, in blocks that fit the cache; the ended ones are dropped at times."""
    generator = np.random.default_rng(seed)
    root, dt = np.float32(np.sqrt(DT)), np.float32(DT)
    results = []
    for first in range(0, paths, block):
        n = min(block, paths - first)
        x = np.repeat(np.array(START, np.float32)[:, None], n, 1)
        rate = (x * x).sum(0)
        discount, total, done = np.ones(n, np.float32), np.zeros(n), np.zeros(n, bool)
        while n:
            x += root * generator.standard_normal((2, n), np.float32)
            square = x[0] * x[0] + x[1] * x[1]
            ended = (1 - np.sqrt(square) <= np.float32(SHIFT) * root) & ~done
            if ended.any():
                results.append(total[ended] + DT * discount[ended] + discount[ended] * np.exp(-rate[ended] * dt))
                done |= ended
            after = discount * np.exp(np.float32(-0.5 * DT) * (rate + square))
            total += np.float32(0.5 * DT) * (discount + after)
            discount, rate = after, square
            if done.sum() > 0.1 * n:
                x, rate, discount, total = x[:, ~done], rate[~done], discount[~done], total[~done]
                n = len(rate)
                done = np.zeros(n, bool)
    return np.concatenate(results)


def by_c(folder: Path) -> Callable[[int, int], np.ndarray] | None:
    """The same loop over lanes in C; None without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    (folder / "lanes.c").write_text(C_SOURCE)
    command = [compiler, "-O3", "-march=native", "-ffast-math", "-shared", "-fPIC", "lanes.c", "-o", "lanes.so", "-lm"]
    subprocess.run(command, cwd=folder, check=True)
    run = ctypes.CDLL(str(folder / "lanes.so")).run
    run.argtypes = [ctypes.c_int64, ctypes.c_float, ctypes.c_float, ctypes.c_double, ctypes.c_float, ctypes.c_uint64]
    run.argtypes += [np.ctypeslib.ndpointer(np.float64), ctypes.POINTER(ctypes.c_int64)]

    def call(paths: int, seed: int) -> np.ndarray:
        values, steps = np.empty(paths), ctypes.c_int64()
        run(paths, *START, DT, SHIFT * DT**0.5, seed, values, ctypes.byref(steps))
        return values

    return call


def by_optsci(paths: int, seed: int, threads: int = 1) -> torch.Tensor:
    """The label itself, by so many threads."""
    with ThreadPoolExecutor(threads) as pool:
        return labels(KILLED, [START], paths=paths, method=EulerMaruyama(DT), seed=seed, executor=pool).mean


def timed(call: Callable[..., object], *args: object, **options: object) -> tuple[float, object]:
    """CPU seconds of a call, and its result."""
    start = time.process_time()
    result = call(*args, **options)
    return time.process_time() - start, result


def speeds(folder: Path) -> list[str]:
    """Steps per second, in turns."""
    c = by_c(folder)
    runs: dict[str, Callable[[int, int], object]] = {"numpy": by_numpy, "optsci": by_optsci}
    if c is not None:
        runs["C"] = c
    means = {name: float(np.mean(np.asarray(run(PATHS[name], 0)))) for name, run in runs.items()}
    clock = MeanExitTime(Ball(dim=2))
    steps = labels(clock, [START], paths=10**6, method=EulerMaruyama(DT)).mean.item() / DT  # of a path, on average
    seeds = {name: itertools.count(1) for name in runs}  # another one in every round
    seconds = alternating({name: lambda name=name: runs[name](PATHS[name], next(seeds[name])) for name in runs}, ROUNDS)
    found = {name: [PATHS[name] * steps / spent / 1e6 for spent in times] for name, times in seconds.items()}
    medians = {name: statistics.median(values) for name, values in found.items()}
    titles = {"numpy": "NumPy, whole arrays", "C": "C, the same 256 lanes", "optsci": "optsci"}
    rows = [
        f"| {titles[name]} | {means[name]:.4f} | {medians[name]:.0f} | {min(found[name]):.0f}–{max(found[name]):.0f} | "
        f"{medians['optsci'] / medians[name]:.2f} |"
        for name in ("optsci", *(name for name in runs if name != "optsci"))
    ]
    return rows if c is not None else [*rows, "| C | no compiler `cc` on this machine | | | |"]


def scaling() -> str:
    """Two threads against one, wall and CPU time."""
    wall: dict[int, list[float]] = {1: [], 2: []}
    cpu: dict[int, list[float]] = {1: [], 2: []}
    for seed in range(ROUNDS):
        for threads in (1, 2):
            start = time.perf_counter(), time.process_time()
            by_optsci(PATHS["optsci"], seed, threads)
            wall[threads].append(time.perf_counter() - start[0])
            cpu[threads].append(time.process_time() - start[1])
    ratio = [one / two for one, two in zip(wall[1], wall[2], strict=True)]
    inflation = statistics.median(cpu[2]) / statistics.median(cpu[1])
    return f"""Two threads against one: {statistics.median(ratio):.2f} times as fast by the clock on the wall (rounds
{min(ratio):.2f}–{max(ratio):.2f}), with {inflation:.2f} times the CPU time. The load of the machine, which has {os.cpu_count()} cores, was
{os.getloadavg()[0]:.1f} with this process: the wall clock measures the other processes, too. 2 over the second number is the most
that two free cores would give."""  # noqa: E501


def square_time(x: float, y: float) -> float:
    """Mean exit time of standard Brownian motion from (-1, 1)^2, by its series."""
    k = np.arange(1, 200, 2)
    terms = (-1.0) ** ((k - 1) // 2) / k**3 * np.cos(k * np.pi * x / 2)
    height = np.exp(k * np.pi / 2 * (abs(y) - 1)) * (1 + np.exp(-k * np.pi * abs(y))) / (1 + np.exp(-k * np.pi))
    return float(1 - x * x - 32 / np.pi**3 * (terms * height).sum())


def loosest(problem: Problem, exact: float, methods: list) -> tuple[object, float, float, float, float]:
    """The first method with a small bias: it, bias, its standard error, seconds per path, variance of a path."""
    for method in methods:
        call = {"paths": BIAS_PATHS, "method": method, "seed": 1}
        labels(problem, [START], **{**call, "paths": 1000})  # compiled
        seconds, found = timed(labels, problem, [START], **call)
        seconds /= BIAS_PATHS
        bias, stderr = found.mean.item() - exact, found.stderr.item()
        if abs(bias) + 2 * stderr <= BIAS:
            break
    return method, bias, stderr, seconds, stderr**2 * BIAS_PATHS


def spheres() -> list[str]:
    """CPU time of both walks where both have a small bias."""
    r = float(np.hypot(*START))
    cases = [
        ("square (−1, 1)², f = 1", MeanExitTime(Box((-1, -1), (1, 1))), square_time(*START)),
        ("unit disk, f = 1", MeanExitTime(Ball(dim=2)), (1 - r * r) / 2),
        ("unit disk, c = 1, g = 1", Schroedinger(Ball(dim=2), 1.0, boundary=1.0), i0(2**0.5 * r) / i0(2**0.5)),
    ]
    rows = []
    for name, problem, exact in cases:
        walk = loosest(problem, exact, [WalkOnSpheres(eps) for eps in SHELLS])
        euler = loosest(problem, exact, [EulerMaruyama(dt) for dt in STEPS])
        cost = [seconds * variance / BIAS**2 for _, _, _, seconds, variance in (walk, euler)]
        for (method, bias, stderr, seconds, _), total in zip((walk, euler), cost, strict=True):
            rows.append(
                f"| {name} | {method} | {bias:+.5f} ± {stderr:.5f} | {1e9 * seconds:.0f} | {1e3 * total:.1f} | "
                f"{total / cost[0]:.1f} |"
            )
    return rows


def levels() -> list[str]:
    """CPU time of levels and of plain paths to one standard error, with the shortest step of the levels."""
    cases = [
        ("Ornstein-Uhlenbeck on (−1, 1), from 0", MeanExitTime(Interval(-1.0, 1.0), drift=lambda x: -x, diffusion=2.0),
         [[0.0]], 0.5957493185),
        ("unit disk, from (0.3, 0.2)", MeanExitTime(Ball(dim=2)), [START], (1 - 0.13) / 2),
    ]  # fmt: skip
    rows = []
    for name, problem, points, exact in cases:
        for target in (1e-3, 3e-4):
            method = Multilevel(0.0128)
            call = {"stderr": target, "seed": 3}
            found = labels(problem, points, method=method, **call)
            used_levels = len(found.method.split("levels ")[1].split(","))
            shortest = method.dt / 4 ** (used_levels - 1)
            labels(problem, points, paths=1000, method=EulerMaruyama(shortest))  # compiled
            seconds, found = timed(labels, problem, points, method=method, **call)
            cost, plain = timed(labels, problem, points, method=EulerMaruyama(shortest), **call)
            for kind, label, used in (("levels", found, seconds), ("plain", plain, cost)):
                error = f"{label.mean.item() - exact:+.5f} ± {label.stderr.item():.5f}"
                paths = f"{kind}, shortest dt {shortest:.1e}"
                rows.append(f"| {name} | {target:g} | {paths} | {error} | {used:.2f} | {used / seconds:.1f} |")
    return rows


def main() -> None:
    """Run all comparisons and write the page."""
    with tempfile.TemporaryDirectory() as folder:
        speed = speeds(Path(folder))
    page = f"""# Labels by random walks

Written by `docs/benchmarks/feynman_kac.py`. One thread and process CPU time unless said otherwise; other processes ran
on the machine: trust the ratios, which come from one run, and no difference below 10 %.

## Steps per second

Euler-Maruyama in the unit disk with the killing |x|², f = g = 1, dt = {DT:g}, from ({START[0]}, {START[1]}), with shifted
boundary; in turns, median of {ROUNDS} rounds. NumPy works in float32 on blocks of 2¹⁴ paths, {PATHS["numpy"]} in a round;
the others run {PATHS["optsci"]}. C is the same algorithm, with the same random numbers and polynomials, by
`cc -O3 -march=native -ffast-math`; its domain and killing are written into its loop, those of optsci are functions of
the user. The seeds differ between rounds; the means are those of the first.

| program | mean | million steps/s | range | optsci / it |
|---|---:|---:|---:|---:|
{chr(10).join(speed)}

{scaling()}

## Walk on spheres and Euler-Maruyama

From ({START[0]}, {START[1]}), each with the first of its parameters for which |bias| and two standard errors of it are
at most {BIAS:g}; dt is tried from {STEPS[0]:g} down by factors of 4, the shell from {SHELLS[0]:g} down by factors of √10.
The last columns are the CPU time of a path, of a label with the standard error {BIAS:g}, and that over the one of walk
on spheres.

| problem | method | bias | ns per path | ms per label | ratio |
|---|---|---:|---:|---:|---:|
{chr(10).join(spheres())}

## Levels

Mean exit times to a standard error, by levels of steps from 0.0128 on, and by paths that all have the shortest step
that the levels chose: a bias of the same order.

| problem | standard error asked | paths | error | CPU s | ratio |
|---|---:|---|---:|---:|---:|
{chr(10).join(levels())}

Versions: {versions("numpy", "numba")}; {machine()}.
"""  # noqa: E501
    save(Path(__file__).with_suffix(".md"), page)
    print(page)


if __name__ == "__main__":
    main()
