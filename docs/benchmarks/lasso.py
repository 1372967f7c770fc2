"""The lasso against celer, scikit-learn and skglm: paths of 50 weights and single fits, at one certified gap.

Writes ``lasso.md`` beside itself. Takes about two minutes on one core. Needs ``pip install celer skglm scikit-learn``,
which are not dependencies of the library.
"""

from __future__ import annotations

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"))

import statistics
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import celer
import numpy as np
import skglm
import sklearn.linear_model

import optsci
from common.files import save
from common.machine import machine, versions
from common.timing import alternating

TOL = 1e-6  # duality gap over ||b||^2 / 2
COUNT, RATIO = 50, 1e-2
SIZES = ((1000, 5000), (1000, 1000))
FRACTIONS = (10, 50)
ROUNDS = {"path": 5, "single": 9}
SEED = 0
START = {"path": 1e-4, "single": 1e-2}  # where the search for a peer's tolerance begins
TOLERANCES = [mantissa * 10.0**-k for k in range(1, 10) for mantissa in (1, 0.5, 0.2)]  # tried from the loosest

Solver = Callable[[np.ndarray, np.ndarray, np.ndarray, float], np.ndarray]  # A, b, weights, tol -> x (n, count)


def data(m: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns with correlation .5 between neighbours, 1 % of them in the truth, noise of a tenth of the signal."""
    generator = np.random.default_rng(SEED)
    noise = generator.standard_normal((m, n))
    A = np.empty((m, n), order="F")  # the order that all solvers prefer
    A[:, 0] = noise[:, 0]
    for j in range(1, n):
        A[:, j] = 0.5 * A[:, j - 1] + np.sqrt(0.75) * noise[:, j]
    x = np.zeros(n)
    x[generator.choice(n, n // 100, replace=False)] = generator.standard_normal(n // 100)
    signal = A @ x
    return A, signal + generator.standard_normal(m) * np.linalg.norm(signal) / np.sqrt(m) / 10


def relative_gap(A: np.ndarray, b: np.ndarray, x: np.ndarray, weight: float) -> float:
    """Duality gap over ||b||^2 / 2, by the same formula for every solver; the dual point is the scaled residual."""
    r = b - A @ x
    scale = min(weight / np.abs(r @ A).max(), (b @ r) / (r @ r))
    dual = (b @ b - np.sum((b - scale * r) ** 2)) / 2
    return float((r @ r / 2 + weight * np.abs(x).sum() - dual) / (b @ b / 2))


def paths() -> dict[str, Solver]:
    """The path of every library that has one."""
    return {
        "optsci": lambda A, b, w, tol: optsci.lasso_path(A, b, w, tol=tol).x.numpy(),
        "celer": lambda A, b, w, tol: celer.celer_path(A, b, "lasso", alphas=w / len(b), tol=tol)[1],
        "scikit-learn": lambda A, b, w, tol: sklearn.linear_model.lasso_path(
            A, b, alphas=w / len(b), tol=tol, max_iter=10_000
        )[1],
        "skglm": lambda A, b, w, tol: skglm_path(A, b, w, tol),
    }


def skglm_path(A: np.ndarray, b: np.ndarray, weights: np.ndarray, tol: float) -> np.ndarray:
    """Its estimator with warm starts: it has no other path for the lasso."""
    fit = skglm.Lasso(tol=tol, fit_intercept=False, warm_start=True)
    columns = []
    for weight in weights:
        fit.alpha = weight / len(b)
        columns.append(fit.fit(A, b).coef_.copy())
    return np.array(columns).T


def single_fits() -> dict[str, Solver]:
    """The estimators, for a single weight."""

    def estimator(kind: Callable[..., object], **options: object) -> Solver:
        return lambda A, b, w, tol: (
            kind(w[0] / len(b), tol=tol, fit_intercept=False, **options).fit(A, b).coef_[:, None]
        )

    return {
        "optsci": lambda A, b, w, tol: optsci.lasso(A, b, w[0], tol=tol).x.numpy()[:, None],
        "celer": estimator(celer.Lasso),
        "scikit-learn": estimator(sklearn.linear_model.Lasso, max_iter=10_000),
        "skglm": estimator(skglm.Lasso),
    }


def achieved(solver: Solver, A: np.ndarray, b: np.ndarray, weights: np.ndarray, tol: float) -> float:
    """Return the worst gap of a solver's answers."""
    x = solver(A, b, weights, tol)
    return max(relative_gap(A, b, x[:, k], weight) for k, weight in enumerate(weights))


def loosest(solver: Solver, A: np.ndarray, b: np.ndarray, weights: np.ndarray, start: float) -> tuple[float, float]:
    """Return the loosest tolerance with which all answers have the wanted gap, and the gap they have."""
    tolerances = [tol for tol in TOLERANCES if tol <= start]
    for tol in tolerances:
        gap = achieved(solver, A, b, weights, tol)
        if gap <= TOL:
            break
    return tol, gap


def compare(solvers: dict[str, Solver], A: np.ndarray, b: np.ndarray, weights: np.ndarray, kind: str) -> list[str]:
    """Time the solvers in turns; return the rows of the table."""
    tuned = {
        name: (TOL, achieved(solver, A, b, weights, TOL))
        if name == "optsci"
        else loosest(solver, A, b, weights, START[kind])
        for name, solver in solvers.items()
    }
    calls = {name: partial(solver, A, b, weights, tuned[name][0]) for name, solver in solvers.items()}
    seconds = alternating(calls, ROUNDS[kind])
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    rows = []
    for name, (tol, gap) in tuned.items():
        mark = "" if gap <= TOL else " (not reached)"
        rows.append(
            f"| {name} | {tol:.0e} | {gap:.1e}{mark} | {1e3 * medians[name]:.1f} | "
            f"{1e3 * min(seconds[name]):.1f}–{1e3 * max(seconds[name]):.1f} | "
            f"{medians[name] / medians['optsci']:.2f} |"
        )
    return rows


def main() -> None:
    """Run all comparisons and write the page."""
    warnings.simplefilter("ignore")  # peers warn where their own tolerance is not reached; the table says what was
    head = "| solver | its tol | gap | ms | range | time / optsci |\n|---|---:|---:|---:|---:|---:|"
    sections = []
    for m, n in SIZES:
        A, b = data(m, n)
        largest = np.abs(b @ A).max()
        tasks = [(f"{m} × {n}, path of {COUNT}", paths(), largest * np.geomspace(1, RATIO, COUNT), "path")]
        tasks += [
            (f"{m} × {n}, λ = λmax/{fraction}", single_fits(), np.array([largest / fraction]), "single")
            for fraction in FRACTIONS
        ]
        for title, solvers, weights, kind in tasks:
            rows = compare(solvers, A, b, weights, kind)
            print(title, *rows, sep="\n", flush=True)
            sections.append("\n".join([f"## {title}", "", head, *rows]))
    page = f"""# Lasso

Written by `docs/benchmarks/lasso.py`.

min ½‖A x − b‖² + λ ‖x‖₁ in float64. Columns with correlation ½ between neighbours, 1 % of them in the truth, noise of
a tenth of the signal; one seed ({SEED}). A path has {COUNT} weights in geometric progression, from λmax = ‖Aᵀ b‖∞ to
λmax/{1 / RATIO:.0f}; the peers get the same ones. All solvers run in one process in turns, on one thread, after all
was compiled. Times are process CPU time: median of {ROUNDS["path"]} rounds for a path and {ROUNDS["single"]} for a
single fit, and the range. A is stored by columns, as all solvers prefer.

**gap** is the largest duality gap among the solutions, over ½‖b‖², from one formula for all. Tolerances mean different
things in different libraries: each peer runs with the loosest one whose solutions all have a gap of at most {TOL:.0e},
out of 1, 5 and 2 times powers of ten, from {START["path"]:.0e} (paths) or {START["single"]:.0e} (single fits) down.
What it then achieves may be much better than asked for. skglm has no path: its estimator is run with warm starts.

Last column above 1: optsci is faster. The machine is shared, differences under 10 % are no findings.

"""
    page += "\n\n".join(sections) + "\n\n"
    page += f"On {machine()}. Versions: {versions('celer', 'scikit-learn', 'skglm', 'numpy', 'numba')}.\n"
    save(Path(__file__).with_suffix(".md"), page)


if __name__ == "__main__":
    main()
