"""Plain PINN against FK-PINN on four problems: relative errors for numbers of labels and of paths, three seeds.

Writes ``fk_pinn.md`` beside itself. Every finished run goes into ``fk_pinn.json`` and is not run again: delete its
entries to measure anew. ``--only TEXT`` runs the problems whose name holds TEXT, ``--seeds 0 1`` those seeds,
``--page`` nothing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
    EulerMaruyama,
    Exit,
    Labels,
    Loss,
    Problem,
    Residual,
    WalkOnSpheres,
    adam,
    function_spectrum,
    gauss_newton,
    labels,
    lbfgs,
    sobol,
)
from optsci.pinn.named_problems import ground_state, sine_poisson, well_committor, well_exit

HERE = Path(__file__).parent
KEPT = HERE / "fk_pinn.json"
SEEDS = (0, 1, 2)
COUNTS, PATHS = (10, 50, 200), (100, 1_000, 10_000)
NEWTON, GRADIENTS = "Gauss-Newton", "Adam, L-BFGS"  # the second only without labels and with most of them
STEPS = 150  # of Gauss-Newton


@dataclass(frozen=True)
class Case:
    """A problem, how its labels are made, and how many points carry its residual."""

    problem: Callable[[], Problem]
    method: EulerMaruyama | WalkOnSpheres
    points: int
    hidden: tuple[int, ...]


CASES = {
    "Poisson": Case(sine_poisson, WalkOnSpheres(eps=1e-4), 800, (24, 24)),
    "Schroedinger": Case(ground_state, EulerMaruyama(dt=1e-3, exit=Exit.BRIDGE), 800, (24, 24)),
    "mean exit time": Case(well_exit, EulerMaruyama(dt=2e-3, exit=Exit.BRIDGE), 200, (20, 20)),
    "committor": Case(well_committor, EulerMaruyama(dt=2e-3, exit=Exit.BRIDGE), 200, (20, 20)),
}


@dataclass(frozen=True)
class Run:
    """One training."""

    problem: str
    optimizer: str
    seed: int
    count: int  # labels; 0 for a plain PINN
    paths: int
    error: float  # relative L2
    label_error: float  # of the labels, relative
    loss: float
    kappa: float  # of the loss on functions near u, see function_spectrum
    seconds: float  # of training, processor time
    label_seconds: float


def main() -> None:
    """Run what is missing, as far as asked for, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="problems whose name holds this")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--page", action="store_true", help="only write the page")
    arguments = parser.parse_args()
    if not arguments.page:
        for name in CASES:
            if arguments.only in name:
                for seed in arguments.seeds:
                    measure(name, seed)
    write_page()


def measure(name: str, seed: int) -> None:
    """Run what has no entry: plain, then with labels."""
    case = CASES[name]
    problem = case.problem()
    for optimizer in (NEWTON, GRADIENTS):
        if not done(name, optimizer, seed, 0, 0):
            keep(KEPT, train(name, problem, case, seed, None, optimizer))
    where = problem.sample(max(COUNTS), 100 + seed)
    for paths in PATHS:
        asked = [(NEWTON, count) for count in COUNTS]
        if paths == max(PATHS):
            asked.append((GRADIENTS, max(COUNTS)))
        missing = [(optimizer, count) for optimizer, count in asked if not done(name, optimizer, seed, count, paths)]
        if missing:
            most = max(count for _, count in missing)
            begin = time.process_time()
            found = labels(problem, where[:most], paths=paths, method=case.method, seed=seed)
            seconds = time.process_time() - begin
            for optimizer, count in missing:
                keep(KEPT, train(name, problem, case, seed, (found, count, seconds * count / most), optimizer))


def train(
    name: str, problem: Problem, case: Case, seed: int, labelled: tuple[Labels, int, float] | None, optimizer: str
) -> Run:
    """Train one network from scratch."""
    assert problem.exact is not None
    d = problem.domain.dim
    x = problem.domain.sample(case.points, seed, points=sobol)
    if labelled is None:  # the size of the solution is not known without labels: a gift to the plain PINN
        known, paths, label_error, label_seconds = None, 0, 0.0, 0.0
        scale = problem.exact(x).abs().max().item()
    else:
        found, count, label_seconds = labelled
        known, paths = (found.points[:count], found.mean[:count]), found.paths
        scale = known[1].abs().max().item()
        truth = problem.exact(known[0])
        label_error = ((known[1] - truth).norm() / truth.norm()).item()
    u = MLP(d, case.hidden, 1, box=problem.domain, scale=scale, seed=seed)
    loss = (Residual(problem, x) + Boundary(problem, 16 if d == 1 else 160)) * (1 / scale**2)
    if known is not None:
        loss = loss + Data(*known) * (1 / scale**2)
    begin = time.process_time()
    for steps, most in stages(u, loss, optimizer):
        run = optsci.solve(steps, tol=1e-9, max_iter=most)
    seconds = time.process_time() - begin
    spectrum = function_spectrum(u, loss, problem.domain.sample(case.points, 7, points=sobol))
    return Run(
        name,
        optimizer,
        seed,
        0 if known is None else len(known[0]),
        paths,
        problem.relative_error(u),
        label_error,
        float(run.state.loss),
        float(spectrum[0] / spectrum[-1]),
        seconds,
        label_seconds,
    )


def stages(u: MLP, loss: Loss, optimizer: str) -> Iterator[tuple[Iterator[object], int]]:
    """The algorithms that train u one after the other, with their numbers of steps."""
    if optimizer == NEWTON:
        yield gauss_newton(u, loss), STEPS
    else:
        yield adam(u, loss, lr=1e-3), 4000
        yield lbfgs(u, loss), 1000


def done(*key: object) -> bool:
    """Whether a run has an entry."""
    return any((run.problem, run.optimizer, run.seed, run.count, run.paths) == key for run in kept(KEPT, Run))


def write_page() -> None:
    """The tables, from the kept runs."""
    runs = kept(KEPT, Run)
    sections = []
    for name, case in CASES.items():
        mine = [run for run in runs if run.problem == name]
        if mine:
            sections.append(f"## {name}\n\n{case.problem().generator}, labels by {case.method}.\n\n{table(mine)}\n")
    page = f"""# Plain PINN and FK-PINN

Written by `docs/benchmarks/fk_pinn.py`.

Problems of `optsci.pinn.named_problems`. All networks are tanh, double precision, and trained from scratch on the same
points, by up to {STEPS} steps of `gauss_newton`, or by 4000 of Adam at a rate of 1e-3 and up to 1000 of L-BFGS. The
weights of residual, boundary and labels are 1 (in units of the largest label). A plain PINN has no labels, and gets the
size of the solution from the exact one. Errors are relative L2 errors on 10000 independent points, medians
over {len(SEEDS)} seeds of labels, points and weights, with the range. "labels" is the relative error of the labels
themselves. κ: largest over smallest eigenvalue of the loss, as a quadratic form on the functions that small changes of
the trained network make, those of size 1 in L2 (`function_spectrum`); the smallest one says how little of an error the
loss sees. A small loss is no small error: compare the columns.

{chr(10).join(sections)}
Seconds: processor time of one training, and of its labels, on {machine()}, shared with other work.
Versions: {versions("torch", "numba")}.
"""
    save(HERE / "fk_pinn.md", page)
    print(page)


def table(runs: list[Run]) -> str:
    """One problem, a row for every optimizer, number of labels and number of paths."""
    lines = [
        "| | labels | paths | error | range | error of labels | loss | κ | seconds | for labels |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for key in dict.fromkeys((run.count, run.paths, run.optimizer) for run in sorted(runs, key=order)):
        some = [run for run in runs if (run.count, run.paths, run.optimizer) == key]
        errors = [run.error for run in some]
        kind = f"{'FK-PINN' if key[0] else 'plain'}, {key[2]}"
        lines.append(
            f"| {kind} | {key[0]} | {key[1]} | {median(errors):.2%} | {min(errors):.2%} to {max(errors):.2%} | "
            f"{median(run.label_error for run in some):.1%} | {median(run.loss for run in some):.1e} | "
            f"{median(run.kappa for run in some):.1e} | {median(run.seconds for run in some):.1f} | "
            f"{median(run.label_seconds for run in some):.1f} |"
        )
    return "\n".join(lines)


def order(run: Run) -> tuple[int, int, str]:
    """Plain first, then by labels and paths."""
    return run.count, run.paths, run.optimizer


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
