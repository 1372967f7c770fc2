"""Graphical lasso at equal KKT violation: optsci.graphical_lasso against scikit-learn's, and against optsci.admm.

All solve ``min -logdet X + <S, X> + weight * sum of |X_ij| off the diagonal``. Each runs with the settings, out of a
grid of its tolerances, that are the fastest of those with which the optimality conditions hold to 1e-4; then all run
with them, alternating, on one thread, and the medians are compared. Writes ``sparse_inverse_covariance.md`` beside
itself. Takes about a minute.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.covariance import graphical_lasso
from threadpoolctl import threadpool_limits

import optsci
from common.files import save
from common.machine import machine, versions
from common.timing import alternating

HERE = Path(__file__).parent
TARGET = 1e-4
REPEATS = 7
CASES = ((60, 0.1), (100, 0.1), (200, 0.1), (400, 0.1), (100, 0.05), (200, 0.2))
OUTER, INNER = [10.0**-power for power in range(1, 6)], [10.0**-power for power in range(4, 9)]
Solver = Callable[[np.ndarray, float], np.ndarray]


def covariance(p: int) -> np.ndarray:
    """Return the correlation matrix of 3 p samples, whose precision has about four entries a row off the diagonal."""
    rng = np.random.default_rng(0)
    precision = np.eye(p)
    for i, j in rng.integers(p, size=(2 * p, 2)):
        if i != j:
            precision[i, j] = precision[j, i] = rng.uniform(-0.3, 0.3)
    precision += (max(0.0, -np.linalg.eigvalsh(precision)[0]) + 0.3) * np.eye(p)
    data = rng.standard_normal((3 * p, p)) @ np.linalg.cholesky(np.linalg.inv(precision)).T
    data /= data.std(0)
    return data.T @ data / len(data)


def newton(tol: float) -> Solver:
    """Proximal Newton, which stops by the violation itself."""
    return lambda S, weight: optsci.solve(optsci.graphical_lasso(S, weight), tol=tol).x.numpy()


def admm(tol: float) -> Solver:
    """ADMM, of which the sparse copy z is the estimate."""

    def solve(S: np.ndarray, weight: float) -> np.ndarray:
        f = optsci.Tilted(optsci.NegativeLogDet(), S)
        g = optsci.WeightedL1(weight * (1 - np.eye(len(S))))
        steps = optsci.admm(f, g, np.eye(len(S)), relaxation=1.6)
        return optsci.solve(steps, tol=tol, max_iter=2000).state.z.numpy()

    return solve


def peer(tol: float, inner: float) -> Solver:
    """scikit-learn, with the tolerances of its outer and of its inner loop."""

    def solve(S: np.ndarray, weight: float) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _, precision = graphical_lasso(S, weight, tol=tol, enet_tol=inner, max_iter=100)
        return precision

    return solve


# Lists of settings, each from the loosest: the first that reaches the target is the fastest of its list.
CANDIDATES: dict[str, list[list[tuple[str, Solver]]]] = {
    "graphical_lasso": [[(f"{TARGET:g}", newton(TARGET))]],
    "scikit-learn": [[(f"{tol:g}, {inner:g}", peer(tol, inner)) for tol in OUTER] for inner in INNER],
    "admm": [[(f"{tol:g}", admm(tol)) for tol in OUTER]],
}


def violation(S: np.ndarray, weight: float, X: np.ndarray) -> float:
    """Return the largest violation of the optimality conditions; infinite where X is not positive definite."""
    if np.linalg.eigvalsh(X)[0] <= 0:
        return np.inf
    deviation, off = np.linalg.inv(X) - S, 1 - np.eye(len(S))
    zero = np.maximum(np.abs(deviation) - weight * off, 0)
    return float(np.where(X != 0, np.abs(deviation - weight * off * np.sign(X)), zero).max())


def fastest(candidates: list[list[tuple[str, Solver]]], S: np.ndarray, weight: float) -> tuple[str, Solver, float]:
    """The settings that take the least time among those that reach the target, and the violation they leave."""
    reached: list[tuple[float, str, Solver, float]] = []
    for ordered in candidates:
        for settings, solver in ordered:
            left = violation(S, weight, solver(S, weight))
            if left <= TARGET:
                seconds = alternating({settings: partial(solver, S, weight)}, 2, clock=time.perf_counter)[settings]
                reached.append((min(seconds), settings, solver, left))
                break
    _, settings, solver, left = min(reached, key=lambda entry: entry[0])
    return settings, solver, left


def main() -> None:
    """Measure all cases and write the page."""
    torch.set_num_threads(1)
    rows = []
    with threadpool_limits(1):
        for p, weight in CASES:
            S = covariance(p)
            chosen = {name: fastest(candidates, S, weight) for name, candidates in CANDIDATES.items()}
            calls = {name: partial(solver, S, weight) for name, (_, solver, _) in chosen.items()}
            spent = alternating(calls, REPEATS, clock=time.perf_counter)
            median = {name: statistics.median(times) for name, times in spent.items()}
            cells = " | ".join(f"{1e3 * median[name]:.1f} | {left:.0e}" for name, (_, _, left) in chosen.items())
            rows.append(
                f"| {p} | {weight} | {cells} | {chosen['scikit-learn'][0]} "
                f"| {median['scikit-learn'] / median['graphical_lasso']:.1f} |"
            )
            print(rows[-1], flush=True)
    table = "\n".join(rows)
    page = f"""# Sparse inverse covariance at equal KKT violation

Written by `docs/benchmarks/sparse_inverse_covariance.py`.

Correlations of 3 p samples, float64, seed 0, one thread, medians of {REPEATS} alternating runs, milliseconds. *KKT* is
the largest violation of the optimality conditions, at most {TARGET:g} for all. scikit-learn runs with the fastest of
{len(OUTER) * len(INNER)} pairs of tolerances, *tol* and *enet_tol*, that reach it; *ratio* is its
time over that of `graphical_lasso`.

| p | weight | graphical_lasso | KKT | scikit-learn | KKT | admm | KKT | tol, enet_tol | ratio |
|---:|---:|---:|---:|---:|---:|---:|---:|---|---:|
{table}

On {machine()}. Versions: {versions("torch", "scikit-learn", "numpy")}.
"""
    save(HERE / "sparse_inverse_covariance.md", page)


if __name__ == "__main__":
    main()
