"""ADMM with networks in the plane: a source from boundary data, and sparse control of the heat equation.

Writes ``control_source.md`` beside itself. Every finished run goes into ``control_source.json`` and is not run again:
delete its entries to measure anew. ``--part source`` or ``heat`` runs one of them, ``--page`` nothing. It takes about
five minutes.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import torch

import optsci
from common.files import save
from common.machine import machine, versions
from common.runs import keep, kept
from optsci.pinn import sobol
from optsci.pinn.control import (
    FiniteElements,
    HeatMap,
    SourceIdentification,
    SourceProblem,
    heat_fields,
    heat_subproblem,
    optimal_control,
    semismooth_newton,
    source_fields,
    sparse_parabolic,
    two_sources,
)
from optsci.pinn.control.parabolic import space_time

HERE = Path(__file__).parent
KEPT = HERE / "control_source.json"
SEEDS = (0, 1, 2)
# the source
CELLS, SIDE, INTERVALS, OUTER, TOL, TV_STEPS = 32, 32, 64, 350, 1e-5, 300
CHECKS = (10, 50, 100, 200, 350)
RATIO = 2.5  # rho / gamma
GAMMAS = tuple(1e-3 * 2.0**-j for j in range(7))
AUTHORS = {"finite elements": (0.607, 0.390, 0.335, 0.266, 0.1722), "networks": (0.635, 0.491, 0.426, 0.324, 0.1746)}
MISFITS = {0.0: 1e-3, 0.01: 0.01}  # what the misfit may be, by the noise
NOISE_SEED = 7
# the heat equation
NODES, WIDTH, INNER, HEAT_OUTER = 1000, 64, 6, 25
GRIDS = ((16, 64), (32, 256))


@dataclass(frozen=True)
class Run:
    """One run; what does not apply is empty or 0."""

    part: str  # "source" or "heat"
    solver: str
    seed: int
    noise: float = 0.0
    gamma: float = 0.0
    rho: float = 0.0  # at first
    balanced: bool = False
    errors: dict[str, float] = field(default_factory=dict)  # relative L2 errors; of the source by outer iteration
    misfit: float = 0.0  # relative, of the data of the source
    primal: float = 0.0  # ||x - z|| / ||z||
    dual: float = 0.0  # ||rho (z - z_old)|| / ||rho u||
    iterations: int = 0
    seconds: float = 0.0  # processor time
    variation: float = 0.0  # relative error of the last prox of the variation
    training: float = 0.0  # root mean square of what is left of the equations, relative


def main() -> None:
    """Run what is missing, as far as asked for, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=("source", "heat"))
    parser.add_argument("--page", action="store_true", help="only write the page")
    arguments = parser.parse_args()
    if not arguments.page:
        if arguments.part != "source":
            heat()
        if arguments.part != "heat":
            source()
    write_page()


def source() -> None:
    """The weight by the rule, from runs with finite elements; then the networks."""
    for noise in MISFITS:
        gamma = chosen(noise)
        for seed in SEEDS if noise == 0 else SEEDS[:1]:
            source_run("networks", seed, noise, gamma, RATIO * gamma)
    gamma = chosen(0.0)
    for factor in (1 / 4, 4):
        source_run("networks", 0, 0.0, factor * gamma, RATIO * factor * gamma)
        source_run("networks", 0, 0.0, gamma, factor * RATIO * gamma)
    for balanced in (False, True):
        source_run("networks", 0, 0.0, gamma, 0.05, balanced)


def chosen(noise: float) -> float:
    """The largest gamma of the list whose source fits the data as well as is asked for, by finite elements."""
    for gamma in GAMMAS:
        if source_run("finite elements", 0, noise, gamma, RATIO * gamma).misfit <= MISFITS[noise]:
            return gamma
    raise ArithmeticError(f"no weight of {GAMMAS} fits the data up to {MISFITS[noise]}")


def source_run(solver: str, seed: int, noise: float, gamma: float, rho: float, balanced: bool = False) -> Run:
    """The entry of these settings, measured if there is none."""
    key = ("source", solver, seed, noise, gamma, rho, balanced)
    for run in kept(KEPT, Run):
        if (run.part, run.solver, run.seed, run.noise, run.gamma, run.rho, run.balanced) == key:
            return run
    clean = SourceProblem.two_sources(SIDE, CELLS)
    problem = clean.noisy(noise, NOISE_SEED) if noise else clean
    truth = two_sources(CELLS)
    begin = time.process_time()
    finite_elements = FiniteElements(INTERVALS).misfit(problem)
    f = finite_elements if solver == "finite elements" else SourceIdentification(problem, source_fields(seed=seed))
    g = problem.regulariser(gamma, TV_STEPS)
    balance = optsci.ResidualBalancing() if balanced else None
    steps = optsci.admm(f, g, torch.zeros_like(truth), rho=rho, balance=balance)
    history: list[float] = []

    def look(k: int, s: optsci.ADMMState) -> bool:
        """Note the error; whether both residuals are small beside z and its subgradient, which is itself small."""
        history.append(relative(s.z, truth))
        return bool(s.primal <= TOL * s.z.norm() and s.dual <= TOL * (s.rho * s.u).norm())

    found = optsci.solve(steps, tol=None, max_iter=OUTER, callback=look)
    seconds = time.process_time() - begin
    s = found.state
    rough, fine = (problem.regulariser(gamma, k).prox(s.x + s.u, 1 / float(s.rho)) for k in (TV_STEPS, 5000))
    run = Run(
        *key,
        {str(k): history[min(k, len(history)) - 1] for k in CHECKS},
        float(problem.norm(finite_elements.residual(s.z)) / problem.norm(problem.values)),
        float(s.primal / s.z.norm()),
        float(s.dual / (s.rho * s.u).norm()),
        found.iterations,
        seconds,
        relative(rough, fine),
        0.0 if solver == "finite elements" else f.last.error,
    )
    keep(KEPT, run)
    return run


def heat() -> None:
    """The grids, and the networks."""
    domain = space_time(1.0)
    x = domain.sample(10_000, 99)
    for cells, count in GRIDS:
        solver = f"grid of {cells} x {cells} x {count}"
        if any(run.solver == solver for run in kept(KEPT, Run)):
            continue
        begin = time.process_time()
        S = HeatMap(cells, count)
        exact = sparse_parabolic(S.points)
        part = S(exact.f)
        steps = semismooth_newton(S, exact.y_d - part, torch.zeros_like(part), cost=exact.cost)
        found = optsci.solve(steps, tol=1e-9, max_iter=50).raise_if_failed()
        errors = {"u": relative(found.x, exact.u), "y": relative(found.state.y + part, exact.y)}
        errors["p"] = relative(found.state.q, exact.p)
        seconds = time.process_time() - begin
        keep(KEPT, Run("heat", solver, 0, errors=errors, iterations=found.iterations, seconds=seconds))
    for seed in SEEDS:
        if any((run.part, run.solver, run.seed) == ("heat", "networks", seed) for run in kept(KEPT, Run)):
            continue
        nodes = domain.sample(NODES, seed, points=sobol)
        exact = sparse_parabolic(nodes)
        begin = time.process_time()
        fields = heat_fields([WIDTH], scale=0.1, seed=seed)
        f = heat_subproblem(nodes, fields, exact.f, exact.y_d, exact.cost.alpha, inner_steps=INNER)
        g = replace(exact.cost, alpha=0.0)
        steps = optsci.admm(f, g, torch.zeros_like(exact.u), rho=exact.cost.alpha)
        s = optsci.solve(steps, tol=None, max_iter=HEAT_OUTER).state
        seconds = time.process_time() - begin
        wanted = sparse_parabolic(x)
        with torch.no_grad():
            errors = {
                "u": relative(optimal_control(exact.cost, fields)(x)[:, 0], wanted.u),
                "y": relative(fields.y(x)[:, 0], wanted.y),
                "p": relative(fields.p(x)[:, 0], wanted.p),
                "z": relative(s.z, exact.u),
            }
        primal, dual = float(s.primal / s.z.norm()), float(s.dual / (s.rho * s.u).norm())
        assert f.last is not None
        keep(
            KEPT,
            Run(
                "heat",
                "networks",
                seed,
                rho=exact.cost.alpha,
                errors=errors,
                primal=primal,
                dual=dual,
                iterations=HEAT_OUTER,
                seconds=seconds,
                training=f.last.error,
            ),
        )


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The L2 error, relative."""
    return float((found - expected).norm() / expected.norm())


def write_page() -> None:
    """The tables, from the kept runs."""
    runs = [run for run in kept(KEPT, Run) if run.part == "source"]
    gamma, noisy_gamma = (chosen(noise) for noise in MISFITS)
    main_runs = [run for run in runs if (run.noise, run.gamma, run.rho) == (0.0, gamma, RATIO * gamma)]
    networks = [run for run in main_runs if run.solver == "networks"]
    elements = [run for run in main_runs if run.solver == "finite elements"]
    slower = median(run.seconds for run in networks) / elements[0].seconds
    page = f"""# A source from boundary data, and sparse control of the heat equation

Written by `docs/benchmarks/control_source.py`.

## A source from boundary data

`SourceProblem.two_sources`: -Lap y + y = u in the unit square, no flux through its boundary, y known at {4 * SIDE}
points of it, exactly; u = 3 and -9 on two halves of the middle square, {CELLS} x {CELLS} cells of which are sought.
ADMM with the total variation, at most {OUTER} iterations, until both residuals are below {TOL:g}, from 0. Relative L2
errors of u against the truth.

The authors (arXiv 2302.08309, histories in their public code) have a denoising network in the place of the variation,
other data and rho = 0.05; their figures are quoted to compare the effort, not the regularisers. Ours are with the same
data and the same regulariser for finite elements (`FiniteElements({INTERVALS})`, exact steps) and for networks
(`SourceIdentification`, {networks[0].training:.0%} of the equations in the mean square are left after training, for u
jumps): medians of {len(networks)} seeds, with the range at the end.

| outer iteration | {" | ".join(map(str, CHECKS))} | iterations | misfit | primal | dual |
|---|{"---:|" * (len(CHECKS) + 4)}
{authors_rows()}
{row("finite elements", elements)}
{row("networks", networks)}

The weight gamma by a rule: the largest of {GAMMAS[0]:g}, {GAMMAS[1]:g}, ... with which finite elements fit the data to
{MISFITS[0.0]:.1%}; with noise, to the noise. It gives {gamma:.3g} here and {noisy_gamma:.3g} with 1 % of noise. rho =
{RATIO:g} gamma. "misfit": of the source found, with the states of finite elements, relative. "primal"
and "dual": ||x - z|| / ||z|| and ||z - z_old|| / ||u||.

## Other weights, another penalty, noise

| solver | noise | gamma | rho at first | balanced | {" | ".join(f"at {k}" for k in CHECKS)} | iterations | misfit \
| primal | dual |
|---|---:|---:|---:|---|{"---:|" * (len(CHECKS) + 4)}
{sensitivity(runs, main_runs)}

The prox of the variation is {TV_STEPS} accelerated dual steps; at the end of these runs it is off by at most
{max(run.variation for run in runs):.1e}, relative to one of 5000 steps. A run with networks takes
{slower:.1f} times the processor time of one with finite elements, training included.

## Sparse control of the heat equation

`sparse_parabolic`, a problem with a known solution: u is 0 in {at_kink(0.0):.0%} of space and time, and at a bound in
{at_kink(-3.0) + at_kink(5.0):.0%}. Networks {WIDTH} wide with one hidden layer each, {NODES} nodes, {HEAT_OUTER} outer
iterations of at most {INNER} Gauss-Newton steps, rho = alpha. Relative L2 errors of u = Phi(-p), y and p at 10000 other
points, and of z at the nodes; those of grids at their own nodes (`HeatMap`, implicit Euler steps, `semismooth_newton`).
Medians of the seeds.

| | seeds | u | range | y | p | z | primal | dual | left of the equations | seconds / those of the last grid |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
{heat_rows()}

Versions: {versions("torch", "scikit-fem")}; {machine()}.
"""
    save(HERE / "control_source.md", page)
    print(page)


def at_kink(value: float) -> float:
    """The share of space and time where the optimal control is this."""
    return float((sparse_parabolic(space_time(1.0).sample(10_000, 99)).u == value).double().mean())


def authors_rows() -> str:
    """What the authors stored."""
    return "\n".join(
        f"| the authors' {name} | {' | '.join(f'{e:g}' for e in errors)} | | | | |" for name, errors in AUTHORS.items()
    )


def row(name: str, some: list[Run]) -> str:
    """Medians over seeds."""
    errors = [f"{median(run.errors[str(k)] for run in some):.4f}" for k in CHECKS]
    last = sorted(run.errors[str(CHECKS[-1])] for run in some)
    if len(some) > 1:
        errors[-1] += f" ({last[0]:.4f} to {last[-1]:.4f})"
    return (
        f"| {name} | {' | '.join(errors)} | {median(run.iterations for run in some):.0f} | "
        f"{median(run.misfit for run in some):.1e} | {median(run.primal for run in some):.0e} | "
        f"{median(run.dual for run in some):.0e} |"
    )


def sensitivity(runs: list[Run], others: list[Run]) -> str:
    """All runs that are not in the first table."""
    lines = []
    for run in sorted((run for run in runs if run not in others), key=lambda run: (run.noise, run.solver, -run.gamma)):
        cells = row("", [run]).removeprefix("|  |")
        settings = f"{run.noise:.0%} | {run.gamma:.3g} | {run.rho:.3g} | {'yes' if run.balanced else ''}"
        lines.append(f"| {run.solver} | {settings} |{cells}")
    return "\n".join(lines)


def heat_rows() -> str:
    """A row for every grid, and one for the networks."""
    runs = [run for run in kept(KEPT, Run) if run.part == "heat"]
    base = [run for run in runs if run.solver != "networks"][-1].seconds
    lines = []
    for solver in dict.fromkeys(run.solver for run in runs):
        some = [run for run in runs if run.solver == solver]
        errors = {name: sorted(run.errors[name] for run in some) for name in some[0].errors}
        at_nodes = f"{median(errors['z']):.1e}" if "z" in errors else ""
        rest = [f"{median(getattr(run, name) for run in some):.0e}" for name in ("primal", "dual", "training")]
        lines.append(
            f"| {solver} | {len(some)} | {median(errors['u']):.1e} | {errors['u'][0]:.1e} to {errors['u'][-1]:.1e} | "
            f"{median(errors['y']):.1e} | {median(errors['p']):.1e} | {at_nodes} | "
            f"{' | '.join(rest if at_nodes else [''] * 3)} | {median(run.seconds for run in some) / base:.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
