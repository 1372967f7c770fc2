"""Laplace's equation in a square with four holes (PINNacle, Poisson 2d-C): with labels, without, and by Adam.

Writes ``poisson_2dc.md`` beside itself. Every finished run goes into ``poisson_2dc.json`` and is not run again: delete
its entries to measure anew. ``--seeds 0 1`` runs those seeds, ``--page`` nothing. It takes about five minutes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import median

import torch

import optsci
from common.files import save
from common.machine import machine, versions
from common.runs import keep, kept
from optsci.pinn import (
    MLP,
    Boundary,
    Data,
    Loss,
    Residual,
    WalkOnSpheres,
    adam,
    finite_differences,
    function_spectrum,
    gauss_newton,
    labels,
    sobol,
)
from optsci.pinn.named_problems import four_holes

HERE = Path(__file__).parent
KEPT = HERE / "poisson_2dc.json"
SEEDS = (0, 1, 2)
LABELS, PATHS, METHOD = 200, 400, WalkOnSpheres(eps=1e-4)
POINTS, ON, WIDTHS, WEIGHTS = 600, 300, (32, 32), (1.0, 1e3)
STEPS, ADAM_STEPS = 150, 6000
CELLS = 200


@dataclass(frozen=True)
class Run:
    """One training."""

    seed: int
    kind: str
    weight: float  # of boundary values and labels
    optimizer: str
    error: float  # relative L2
    loss: float
    smallest: float  # eigenvalue of the loss, see function_spectrum
    steps: int
    seconds: float  # of training, processor time
    label_error: float  # of the labels, relative; 0 without
    label_seconds: float


def reference() -> tuple[object, float]:
    """Finite differences on two grids; how much they differ, relative."""
    problem = four_holes()
    fine, coarse = (finite_differences(problem, cells) for cells in (CELLS, CELLS // 2))
    x = problem.sample(10_000, 5)
    return fine, float((fine(x) - coarse(x)).norm() / fine(x).norm())


def main() -> None:
    """Run what is missing, as far as asked for, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--page", action="store_true", help="only write the page")
    arguments = parser.parse_args()
    if not arguments.page:
        for seed in arguments.seeds:
            measure(seed)
    write_page()


def measure(seed: int) -> None:
    """The runs of a seed that have no entry."""
    problem = replace(four_holes(), exact=reference()[0])
    assert problem.exact is not None
    begin = time.process_time()
    where = problem.sample(LABELS, 100 + seed)
    found = labels(problem, where, paths=PATHS, method=METHOD, seed=seed)
    label_seconds = time.process_time() - begin
    truth = problem.exact(where)
    label_error = float((found.mean - truth).norm() / truth.norm())
    equation = Residual(problem, problem.sample(POINTS, seed, points=sobol))
    boundary = Boundary(problem, problem.sample_boundary(ON, 200 + seed, points=sobol)[0])
    known = Data(where, found.mean)
    ties = {"FK-PINN": boundary + known, "plain": boundary}
    for optimizer, weight, kind in product(("Gauss-Newton", "Adam"), reversed(WEIGHTS), ties):
        loss = equation + weight * ties[kind]
        if any(
            (run.seed, run.kind, run.weight, run.optimizer) == (seed, kind, weight, optimizer)
            for run in kept(KEPT, Run)
        ):
            continue
        u = MLP(2, WIDTHS, 1, box=problem.domain, seed=seed)
        steps, most = algorithm(u, loss, optimizer)
        begin = time.process_time()
        run = optsci.solve(steps, tol=1e-9, max_iter=most, check_every=10)
        seconds = time.process_time() - begin
        spectrum = function_spectrum(u, loss, problem.sample(POINTS, 7, points=sobol))
        mine = (label_error, label_seconds) if kind == "FK-PINN" else (0.0, 0.0)
        error = problem.relative_error(u)
        keep(
            KEPT,
            Run(
                seed,
                kind,
                weight,
                optimizer,
                error,
                float(loss(u).detach()),
                float(spectrum[-1]),
                run.iterations,
                seconds,
                *mine,
            ),
        )


def algorithm(u: MLP, loss: Loss, optimizer: str) -> tuple[Iterator[object], int]:
    """The states, and how many."""
    return (gauss_newton(u, loss), STEPS) if optimizer == "Gauss-Newton" else (adam(u, loss, lr=1e-3), ADAM_STEPS)


def write_page() -> None:
    """The table, from the kept runs."""
    runs = kept(KEPT, Run)
    with_labels = [run for run in runs if run.kind == "FK-PINN"]
    page = f"""# A square with four holes

Written by `docs/benchmarks/poisson_2dc.py`.

The problem "Poisson 2d-C" of the benchmark PINNacle (arXiv 2306.08827): Laplace's equation in a square of side 1
without four disks of radius 0.1, u = 1 on the square and u = 0 on the circles (`four_holes`). All networks are tanh,
{" x ".join(map(str, WIDTHS))}, double precision, trained from the same start on the same {POINTS} points inside and
{ON} on the boundary; FK-PINN has {LABELS} labels besides, each of {PATHS} walks on spheres, which are off by
{median(run.label_error for run in with_labels):.1%} and take {median(run.label_seconds for run in with_labels):.0f} s,
compilation included. The equation has the weight 1; "weight" is that of boundary values and labels. Errors are relative
L2 errors on 10000 independent points, against finite differences with {CELLS} cells along the side, which differ from
those with {CELLS // 2} by {reference()[1]:.2%}; medians over seeds of labels, points and networks, with the
range. "least seen": the smallest eigenvalue of the loss on functions near u, of size 1 (`function_spectrum`).

| | weight | optimizer | steps | seeds | error | range | loss | least seen | seconds |
|---|---:|---|---:|---:|---:|---:|---:|---:|---:|
{table(runs)}

Seconds: processor time of one training, on {machine()}, shared with other work.
Versions: {versions("torch", "numba")}.
"""
    save(HERE / "poisson_2dc.md", page)
    print(page)


def table(runs: list[Run]) -> str:
    """A row for every kind of loss and optimizer."""
    lines = []
    for key in dict.fromkeys((run.kind, run.weight, run.optimizer) for run in runs):
        some = [run for run in runs if (run.kind, run.weight, run.optimizer) == key]
        errors = [run.error for run in some]
        lines.append(
            f"| {key[0]} | {key[1]:g} | {key[2]} | {median(run.steps for run in some):.0f} | {len(some)} | "
            f"{median(errors):.2%} | {min(errors):.2%} to {max(errors):.2%} | {median(run.loss for run in some):.1e} | "
            f"{median(run.smallest for run in some):.1e} | {median(run.seconds for run in some):.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
