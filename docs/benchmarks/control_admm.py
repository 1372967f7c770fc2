"""ADMM-PINNs in one dimension: control of Burgers' equation, and a potential found from noisy data.

Writes ``control_admm.md`` beside itself. Every finished run goes into ``control_admm.json`` and is not run again:
delete its entries to measure anew. ``--seeds 0 1`` runs those seeds, ``--page`` nothing. It takes about ten minutes.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

import optsci
from common.files import save
from common.machine import machine, versions
from common.runs import keep, kept
from optsci.pinn import MLP, BoundaryAnsatz, Interval
from optsci.pinn.control import (
    BurgersCompromise,
    BurgersControl,
    BurgersMap,
    ControlCost,
    GaussNewtonPotential,
    InversePotential,
    InversePotentialCompromise,
    Subproblem,
    Summable,
    burgers_reference,
    control_objective,
    potential_data,
    potential_prior,
)
from optsci.pinn.control.inverse_potential import sine

HERE = Path(__file__).parent
KEPT = HERE / "control_admm.json"
SEEDS = (0, 1, 2)
UNIT, NODES, WIDTHS, INNER = Interval(0.0, 1.0), 101, (20, 20), 30
BURGERS_RHO, BURGERS_OUTER, FINE = 0.1, 30, 6400
NOISE, GAMMAS, POTENTIAL_RHO, RELAXATION, POTENTIAL_OUTER = 0.005, (1e-3,), 0.005, 1.6, 40
OTA, ATO = "optimise, then approximate", "approximate, then optimise"


@dataclass(frozen=True)
class Run:
    """One ADMM."""

    problem: str
    kind: str
    gamma: float  # weight of the total variation; 0 for Burgers
    seed: int
    error: float  # of x, the control of the networks, relative: to the fine reference, or to the truth
    feasible_error: float  # of z, likewise
    state_error: float  # relative, to the fine reference; 0 for the potential
    distance: float  # of z from the shipped reference with the same data, relative
    reference_error: float  # of that reference, to the fine one or to the truth
    excess: float  # objective of z with its true state, over that of the reference on the same nodes, relative
    residual: float  # of the outer iteration
    status: str
    outer: int
    inner: int  # steps of training, of all proxes
    met: int  # proxes as accurate as their rule asks for
    last_error: float  # of the last prox
    seconds: float  # processor time


def network(seed: int, scale: float = 1.0) -> MLP:
    """A network of one variable."""
    return MLP(1, WIDTHS, 1, box=UNIT, scale=scale, seed=seed)


def vanishing(seed: int, scale: float = 1.0) -> BoundaryAnsatz:
    """One that is 0 at both ends."""
    return BoundaryAnsatz(network(seed, scale), 0.0, UNIT.vanishing)


@dataclass
class Watch:
    """What the inner solves of a run did."""

    f: Subproblem
    inner: int = 0
    met: int = 0

    def __call__(self, k: int, state: object) -> None:
        last = self.f.last
        assert last is not None
        self.inner, self.met = self.inner + last.steps, self.met + last.met


def burgers(kind: str, seed: int) -> Run:
    """Burgers control from one start of the networks."""
    x = torch.linspace(0, 1, NODES, dtype=torch.float64)[:, None]
    fine, coarse = burgers_reference(FINE), burgers_reference(NODES - 1)
    u, y = (part[:: FINE // (NODES - 1)] for part in (fine.u, fine.y))
    state = vanishing(2 * seed)
    if kind == OTA:
        f = BurgersControl(x, state, vanishing(2 * seed + 1), tolerance=Summable(2e-2, delta=1.0), inner_steps=INNER)
    else:
        f = BurgersCompromise(x, state, network(2 * seed + 1), tolerance=Summable(1e-4, floor=1e-7), inner_steps=INNER)
    watch, begin = Watch(f), time.process_time()
    run = optsci.solve(
        optsci.admm(f, optsci.Box(-math.inf, 0.3), torch.zeros_like(x), rho=BURGERS_RHO),
        tol=1e-6,
        max_iter=BURGERS_OUTER,
        callback=watch,
    )
    seconds = time.process_time() - begin
    with torch.no_grad():
        state_error = relative(state(x), y)
    S, cost = BurgersMap(NODES - 1), ControlCost(0.1, upper=0.3)
    objective, best = (control_objective(S, 0.3, cost, v[1:-1, 0]) for v in (run.state.z, coarse.u))
    return Run(
        "Burgers",
        kind,
        0.0,
        seed,
        relative(run.x, u),
        relative(run.state.z, u),
        state_error,
        relative(run.state.z, coarse.u),
        relative(coarse.u, u),
        float(objective / best - 1),
        run.residual,
        run.status.name,
        run.iterations,
        watch.inner,
        watch.met,
        f.last.error if f.last else math.nan,
        seconds,
    )


def potential(kind: str, gamma: float, seed: int) -> Run:
    """The inverse problem with one noise and one start of the networks."""
    measured = potential_data(NODES - 1, noise=NOISE, seed=seed)
    x, data, truth = measured.nodes, measured.data, measured.potential
    reference = GaussNewtonPotential(data.numpy(), sine)
    g, start = potential_prior(gamma), torch.full_like(data, 0.5)
    begun = {"rho": POTENTIAL_RHO, "relaxation": RELAXATION}
    exact = optsci.solve(optsci.admm(reference, g, start, **begun), tol=1e-7, max_iter=2000).raise_if_failed().state.z
    state = vanishing(2 * seed)
    if kind == OTA:
        f = InversePotential(x, data, state, vanishing(2 * seed + 1, 0.05), tolerance=Summable(0.5), inner_steps=INNER)
    else:
        f = InversePotentialCompromise(
            x, data, state, network(2 * seed + 1), tolerance=Summable(1e-4, floor=1e-7), inner_steps=INNER
        )
    watch, begin = Watch(f), time.process_time()
    run = optsci.solve(optsci.admm(f, g, start, **begun), tol=1e-4, max_iter=POTENTIAL_OUTER, callback=watch)
    seconds = time.process_time() - begin
    z = run.state.z
    return Run(
        "potential",
        kind,
        gamma,
        seed,
        relative(run.x, truth),
        relative(z, truth),
        0.0,
        relative(z, exact),
        relative(exact, truth),
        float((reference(z) + g(z)) / (reference(exact) + g(exact)) - 1),
        run.residual,
        run.status.name,
        run.iterations,
        watch.inner,
        watch.met,
        f.last.error if f.last else math.nan,
        seconds,
    )


def relative(found: Tensor, exact: Tensor) -> float:
    """The relative distance of two vectors of nodal values."""
    return float((found - exact).norm() / exact.norm())


def wanted(seed: int) -> Iterator[tuple[str, str, float]]:
    """The problem, the kind and gamma of all runs of a seed."""
    for kind in (OTA, ATO):
        yield "Burgers", kind, 0.0
    for gamma in GAMMAS:
        for kind in (OTA, ATO):
            yield "potential", kind, gamma


def main() -> None:
    """Run what is missing, as far as asked for, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--page", action="store_true", help="only write the page")
    arguments = parser.parse_args()
    if not arguments.page:
        for seed in arguments.seeds:
            for problem, kind, gamma in wanted(seed):
                if not any(
                    (r.problem, r.kind, r.gamma, r.seed) == (problem, kind, gamma, seed) for r in kept(KEPT, Run)
                ):
                    keep(KEPT, burgers(kind, seed) if problem == "Burgers" else potential(kind, gamma, seed))
    write_page()


def write_page() -> None:
    """The tables, from the kept runs."""
    runs = kept(KEPT, Run)
    ours = [run for run in runs if run.problem == "Burgers" and run.kind == OTA]
    page = f"""# ADMM-PINNs in one dimension

Written by `docs/benchmarks/control_admm.py`.

The core's `admm` with an f whose prox trains networks, warm-started, by Gauss-Newton steps; networks are tanh,
{" x ".join(map(str, WIDTHS))}, double precision, zero at the ends exactly, equations asked for at {NODES} equal nodes,
at most {INNER} steps a prox. Medians over {len({run.seed for run in runs})} seeds of networks (and of the noise), with
the worst in brackets. "{OTA}" solves the optimality system, "{ATO}" minimises one sum of mean squares. u is the control
of the networks, z its copy that obeys the constraints exactly. "inner": steps of training in all. "met": proxes as
accurate as the rule of inexactness asks for; where they are not, the outer iteration is as accurate as its inner
solves, whatever its residual. The rules are 0.02 / k^2 for Burgers and 0.5 / k^1.5 for the potential, of the root of
the mean square of the equations, and 1e-4 / k^1.5 of the largest entry of the gradient for the compromises.

## Control of Burgers' equation

-y''/12 + y y' = u, y(0) = y(1) = 0, 1/2 |y - 0.3|^2 + 0.05 |u|^2, u <= 0.3; rho = {BURGERS_RHO:g}. Errors are relative,
of the values at the nodes, against finite differences with {FINE} intervals (semismooth Newton, second order; J =
{burgers_reference(FINE).objective:.8f}). "J": by how much the objective of z with its true state exceeds the least one,
both on the grid of the nodes. For comparison: finite differences on the nodes have the error
{median(run.reference_error for run in ours):.1e} in u; arrays that the authors of arXiv 2302.08309 have published with
their code, compared with the same reference, 6.3e-5 (optimality system) and 8.9e-2 (compromise).

| | u | z | y | J | outer | inner | met | residual |
|---|---:|---:|---:|---:|---:|---:|---:|---:|
{burgers_rows(runs)}

## A potential from noisy values of the state

-0.005 y'' + u y = sin(2 pi x), y(0) = y(1) = 0, u = 0.2, and 1 between 1/4 and 3/4; y at the nodes with normal noise of
{NOISE:.1%} of its root mean square; 1/2 sum (y_i - d_i)^2 + gamma sum |u_(i+1) - u_i|, u >= 0.1: the norm and the
variation are those of nodal values (in L2 norms gamma is smaller by the spacing, {1 / (NODES - 1):g}). rho =
{POTENTIAL_RHO:g}, relaxation {RELAXATION:g}. The authors' code has gamma = 1e-4 in the same norm, the penalty beta =
0.1, which is rho here, no relaxation, and 50 outer iterations: the problem here has ten times their weight of the
variation, so its figures are not to be compared with theirs. Burgers' equation above has their beta. The reference is
ADMM with the same exact prox of the total variation and Gauss-Newton on finite differences at the same nodes with the
same data, to a residual of 1e-7. "distance": of z from
the reference, relative; "J": by how much the objective of z exceeds that of the reference, both by finite differences.
Errors are relative to the truth.

| | gamma | distance | z | reference | J | outer | inner | met | residual |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|
{potential_rows(runs)}

Versions: {versions("torch", "numpy")}; {machine()}.
"""
    save(HERE / "control_admm.md", page)
    print(page)


def spread(values: list[float]) -> str:
    """The median, and the worst in brackets."""
    return f"{median(values):.1e} ({max(values):.1e})"


def ends(some: list[Run]) -> str:
    """The columns on iterations."""
    return (
        f"{median(r.outer for r in some):.0f} | {median(r.inner for r in some):.0f} | "
        f"{median(r.met for r in some):.0f} | {median(r.residual for r in some):.1e} |"
    )


def burgers_rows(runs: list[Run]) -> str:
    """A row for every kind."""
    lines = []
    for kind in (OTA, ATO):
        some = [run for run in runs if (run.problem, run.kind) == ("Burgers", kind)]
        if some:
            columns = [
                [getattr(run, name) for run in some] for name in ("error", "feasible_error", "state_error", "excess")
            ]
            lines.append(f"| {kind} | {' | '.join(map(spread, columns))} | {ends(some)}")
    return "\n".join(lines)


def potential_rows(runs: list[Run]) -> str:
    """A row for every gamma and kind."""
    lines = []
    for gamma in GAMMAS:
        for kind in (OTA, ATO):
            some = [run for run in runs if (run.problem, run.kind, run.gamma) == ("potential", kind, gamma)]
            if some:
                names = ("distance", "feasible_error", "reference_error", "excess")
                columns = [[getattr(run, name) for run in some] for name in names]
                lines.append(f"| {kind} | {gamma:g} | {' | '.join(map(spread, columns))} | {ends(some)}")
    return "\n".join(lines)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
