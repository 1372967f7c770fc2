"""Truncated SVD at equal error: optsci's block Krylov and randomised SVD against scikit-learn's randomized_svd.

Every method gets the fewest passes over the matrix with which its error, in the Frobenius norm, is at most 1 % above
that of the best approximation of that rank; then all are timed with those passes, alternating, and the medians
compared. Writes ``rsvd.md`` beside itself. Takes about a minute. Needs scikit-learn.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.utils.extmath import randomized_svd as sklearn_svd

import optsci
from common.files import save
from common.machine import machine, versions
from common.timing import alternating

HERE = Path(__file__).parent
SLACK = 1.01
REPEATS = 7
SPECTRA: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "1/j": lambda j: 1 / j,
    "1/sqrt(j)": lambda j: 1 / np.sqrt(j),
    "exp(-j/50)": lambda j: np.exp(-j / 50),
}
SIZES = ((2000, 2000, 20), (4000, 1000, 50))


def methods(rank: int) -> dict[str, Callable[[np.ndarray, int], tuple[np.ndarray, ...]]]:
    """Return each method as a function of the matrix and its number of passes."""
    seed = torch.Generator().manual_seed

    def krylov(A: np.ndarray, passes: int) -> optsci.SVD:
        return optsci.block_krylov_svd(A, rank, oversample=5, depth=passes, generator=seed(0))

    def powers(A: np.ndarray, passes: int) -> optsci.SVD:
        return optsci.randomized_svd(A, rank, oversample=10, powers=passes, generator=seed(0))

    def peer(A: np.ndarray, passes: int) -> tuple[np.ndarray, ...]:
        return sklearn_svd(A, rank, n_oversamples=10, n_iter=passes, random_state=0)

    return {"optsci block_krylov_svd": krylov, "optsci randomized_svd": powers, "scikit-learn randomized_svd": peer}


def excess(A: np.ndarray, svd: tuple[np.ndarray, ...], best: float) -> float:
    """Return the error of the approximation over the smallest possible one."""
    U, S, Vh = (np.asarray(part) for part in svd)
    return float(np.linalg.norm(A - (U * S) @ Vh)) / best


def main() -> None:
    """Measure all cases and write the page."""
    rows = []
    for m, n, rank in SIZES:
        for name, spectrum in SPECTRA.items():
            rng = np.random.default_rng(0)
            values = spectrum(np.arange(1, n + 1))
            U, _ = np.linalg.qr(rng.standard_normal((m, n)))
            V, _ = np.linalg.qr(rng.standard_normal((n, n)))
            A = (U * values) @ V.T
            best = float(np.linalg.norm(values[rank:]))
            passes, errors = {}, {}
            for method, run in methods(rank).items():
                for count in range(12):
                    errors[method] = excess(A, run(A, count), best)
                    passes[method] = count
                    if errors[method] <= SLACK:
                        break
            calls = {method: partial(run, A, passes[method]) for method, run in methods(rank).items()}
            seconds = alternating(calls, REPEATS, clock=time.perf_counter)
            median = {method: statistics.median(times) for method, times in seconds.items()}
            peer = median["scikit-learn randomized_svd"]
            for method in passes:
                rows.append(
                    f"| {m} x {n} | {name} | {rank} | {method} | {passes[method]} | {errors[method]:.4f} "
                    f"| {1e3 * median[method]:.0f} | {peer / median[method]:.2f} |"
                )
                print(rows[-1], flush=True)
    table = "\n".join(rows)
    page = f"""# Truncated SVD at equal error

Written by `docs/benchmarks/rsvd.py`.

Each method with the fewest passes that bring its Frobenius error within 1 % of the best approximation of that rank;
float64, seed 0, medians of {REPEATS} alternating runs on {torch.get_num_threads()} threads. *Excess* is the error over
the best one, *ratio* the time of scikit-learn over that of the row: above 1 is faster.

| matrix | spectrum | rank | method | passes | excess | ms | ratio |
|---|---|---:|---|---:|---:|---:|---:|
{table}

On {machine()}. Versions: {versions("torch", "scikit-learn", "numpy")}.
"""
    save(HERE / "rsvd.md", page)


if __name__ == "__main__":
    main()
