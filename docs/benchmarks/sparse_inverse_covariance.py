"""Graphical lasso at equal KKT violation: optsci.admm against scikit-learn's graphical_lasso.

Both solve ``min -logdet X + <S, X> + weight * sum of |X_ij| off the diagonal``. Each stops at the loosest tolerance of
its own, out of powers of ten, with which the optimality conditions hold to 1e-4; then both run with it, alternating, on
one thread, and the medians are compared. Writes ``sparse_inverse_covariance.md`` beside itself. Takes some minutes.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import sklearn
import torch
from sklearn.covariance import graphical_lasso
from threadpoolctl import threadpool_limits

import optsci

HERE = Path(__file__).parent
TARGET = 1e-4
REPEATS = 3
CASES = ((60, 0.1), (100, 0.1), (200, 0.1))
Solver = Callable[[np.ndarray, float, float], np.ndarray]


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


def ours(S: np.ndarray, weight: float, tol: float) -> np.ndarray:
    """Return the estimate of ADMM: its sparse copy z."""
    f = optsci.Tilted(optsci.NegativeLogDet(), S)
    g = optsci.WeightedL1(weight * (1 - np.eye(len(S))))
    steps = optsci.admm(f, g, np.eye(len(S)), relaxation=1.6)
    return optsci.solve(steps, tol=tol, max_iter=2000).state.z.numpy()


def peer(S: np.ndarray, weight: float, tol: float) -> np.ndarray:
    """Return the estimate of scikit-learn; its inner loop has its default tolerance, or that of the outer one below."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, precision = graphical_lasso(S, weight, tol=tol, enet_tol=min(tol, 1e-4), max_iter=500)
    return precision


def violation(S: np.ndarray, weight: float, X: np.ndarray) -> float:
    """Return the largest violation of the optimality conditions; infinite where X is not positive definite."""
    if np.linalg.eigvalsh(X)[0] <= 0:
        return np.inf
    deviation, off = np.linalg.inv(X) - S, 1 - np.eye(len(S))
    zero = np.maximum(np.abs(deviation) - weight * off, 0)
    return float(np.where(X != 0, np.abs(deviation - weight * off * np.sign(X)), zero).max())


def main() -> None:
    """Measure all cases and write the page."""
    torch.set_num_threads(1)
    rows = []
    with threadpool_limits(1):
        for p, weight in CASES:
            S = covariance(p)
            solvers: dict[str, Solver] = {"optsci": ours, "scikit-learn": peer}
            tols, reached = {}, {}
            for name, solver in solvers.items():
                for power in range(1, 9):
                    tols[name] = 10.0**-power
                    reached[name] = violation(S, weight, solver(S, weight, tols[name]))
                    if reached[name] <= TARGET:
                        break
            seconds: dict[str, list[float]] = {name: [] for name in solvers}
            for _ in range(REPEATS):
                for name, solver in solvers.items():
                    start = time.perf_counter()
                    solver(S, weight, tols[name])
                    seconds[name].append(time.perf_counter() - start)
            median = {name: statistics.median(times) for name, times in seconds.items()}
            rows.append(
                f"| {p} | {weight} | {1e3 * median['optsci']:.0f} | {reached['optsci']:.1e} "
                f"| {1e3 * median['scikit-learn']:.0f} | {reached['scikit-learn']:.1e} "
                f"| {median['scikit-learn'] / median['optsci']:.1f} |"
            )
            print(rows[-1], flush=True)
    table = "\n".join(rows)
    page = f"""# Sparse inverse covariance at equal KKT violation

Written by `docs/benchmarks/sparse_inverse_covariance.py`.

Correlations of 3 p samples, float64, seed 0, one thread, medians of {REPEATS} alternating runs. *KKT* is the largest
violation
of the optimality conditions, at most {TARGET:g} for both; *ratio* the time of scikit-learn over ours.

| p | weight | optsci, ms | KKT | scikit-learn, ms | KKT | ratio |
|---:|---:|---:|---:|---:|---:|---:|
{table}

{os.cpu_count()} cores ({platform.machine()}); optsci {optsci.__version__}, torch {torch.__version__}, scikit-learn
{sklearn.__version__}, NumPy {np.__version__}, Python {platform.python_version()}.
"""
    part = HERE / "sparse_inverse_covariance.md.part"
    part.write_text(page, encoding="utf-8")
    part.replace(HERE / "sparse_inverse_covariance.md")


if __name__ == "__main__":
    main()
