"""Proximal operators of a million entries in double precision on one thread, against peers.

Writes ``prox.md`` beside itself; takes about a minute. Ours and the peer's run in turn, five times each after a first
run that compiles; the table has the medians.
"""

from __future__ import annotations

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"))

from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch

import optsci
from common.files import save
from common.machine import machine, versions
from common.timing import alternating

N, RUNS, SEED = 1_000_000, 5, 0


def main() -> None:
    """Measure, and write the page."""
    import pyproximal
    from skglm.utils.prox_funcs import prox_SLOPE
    from sklearn.isotonic import isotonic_regression

    torch.set_num_threads(1)
    rng = np.random.default_rng(SEED)
    noise = rng.standard_normal(N)
    steps = np.repeat(rng.standard_normal(N // 1000), 1000) + 0.3 * noise
    weights = np.linspace(2, 0, N)
    x, y, trend = torch.from_numpy(noise), torch.from_numpy(steps), torch.from_numpy(noise + np.linspace(0, 3, N))
    slope, tv = optsci.SLOPE(weights), optsci.TotalVariation1D(1.0)
    peer_simplex = pyproximal.Simplex(N, 1.0)
    peer_tv = {count: pyproximal.TV((N,), 1.0, niter=count, rtol=0) for count in (10, 100)}

    def peer_slope() -> Any:
        order = np.argsort(-np.abs(noise))
        p = np.empty(N)
        p[order] = prox_SLOPE(np.abs(noise)[order], weights)
        return np.sign(noise) * p

    rows = [
        row(
            "simplex",
            "PyProximal Simplex",
            lambda: optsci.Simplex().prox(x, 1.0),
            lambda: peer_simplex.prox(noise, 1.0),
        ),
        row("SLOPE", "skglm prox_SLOPE, sorted by NumPy", lambda: slope.prox(x, 1.0), peer_slope),
        row(
            "isotonic",
            "scikit-learn isotonic_regression",
            lambda: optsci.MonotoneCone().prox(trend, 1.0),
            lambda: isotonic_regression(trend.numpy()),
        ),
    ]
    rows += [
        row(
            "1-D TV",
            f"PyProximal TV, {count} iterations",
            lambda: tv.prox(y, 1.0),
            lambda peer=peer: peer.prox(steps, 1.0),  # type: ignore[misc]
        )
        for count, peer in peer_tv.items()
    ]
    page = f"""# Proximal operators of a million entries

Written by `docs/benchmarks/prox.py`.

n = {N}, float64, one thread, seed {SEED}; milliseconds, medians of {RUNS} runs, ours and the peer's in turn. The
last column is the largest difference between the two results. PyProximal's TV is an iterative approximation, of 10
iterations by default: those rows compare the times of two accuracies, and their difference is the error of the
approximation, as ours is exact. No peer at hand computes it exactly.

| prox | peer | ours, ms | peer, ms | peer / ours | difference |
|---|---|---:|---:|---:|---:|
{chr(10).join(rows)}

On {machine()}. Versions: {versions("torch", "pyproximal", "skglm", "scikit-learn")}.
"""
    save(Path(__file__).with_suffix(".md"), page)
    print(page)


def row(name: str, peer: str, ours: Callable[[], Any], theirs: Callable[[], Any]) -> str:
    """One line of the table."""
    difference = np.abs(np.asarray(ours()) - np.asarray(theirs())).max()
    seconds = alternating({"ours": ours, "theirs": theirs}, RUNS, clock=perf_counter)
    a, b = (1e3 * median(spent) for spent in seconds.values())
    return f"| {name} | {peer} | {a:.1f} | {b:.1f} | {b / a:.2f} | {difference:.1e} |"


if __name__ == "__main__":
    main()
