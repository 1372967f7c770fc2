"""Optimal control by the primal-dual iteration: enlarged steps, the choice of sigma, other solvers of the equation.

Writes ``control_primal_dual.md`` beside itself. Every finished measurement goes into ``control_primal_dual.json`` and
is not run again: delete its entries to measure anew. ``--page`` only writes the page. It takes about three minutes.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

import optsci
from common.files import save
from common.machine import machine, versions
from common.runs import change, content
from optsci.pinn import MLP, BoundaryAnsatz, UnitSquare
from optsci.pinn.control import (
    BilinearHeatMap,
    BurgersMap,
    ControlCost,
    EllipticMap,
    HeatMap,
    SemilinearHeatMap,
    TrainedEllipticMap,
    bilinear_parabolic,
    control_objective,
    gradient_of,
    nonlinear_primal_dual,
    optimality_gap,
    primal_dual,
    semismooth_newton,
    sparse_elliptic,
    sparse_parabolic,
    sparse_target,
    taylor_slope,
    transpose_gap,
    tuned_steps,
)

HERE = Path(__file__).parent
KEPT = HERE / "control_primal_dual.json"
SPARSE = ControlCost(alpha=1e-5, rho=1e-3, lower=-30.0, upper=30.0)
SPECIFIED = {0.2: (408, 318), 0.4: (741, 578), 1.0: (1615, 1266), 2.0: (2881, 2268)}
VALUES = {32: 1.68239732e-2, 64: 1.68714407e-2, 128: 1.68832173e-2, 256: 1.68861000e-2}
FACTORS = (0.25, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0)
COSTS = [ControlCost(alpha, rho, -box, box) for alpha, rho, box in (
    (1e-2, 1e-3, 30.0), (1e-3, 1e-3, 30.0), (1e-4, 1e-3, 30.0), (1e-5, 1e-3, 30.0), (1e-6, 1e-3, 30.0),
    (1e-5, 0.0, 30.0), (1e-5, 0.0, math.inf), (1e-5, 1e-2, 5.0),
)]  # fmt: skip
SEEDS = (0, 1, 2)


def start(S: Any) -> Tensor:
    """The control 0."""
    return torch.zeros(S.shape[1], dtype=torch.float64)


def reference(S: Any, y_d: Any, cost: ControlCost) -> optsci.Result:
    """The control by semismooth Newton."""
    run = optsci.solve(semismooth_newton(S, y_d, start(S), cost=cost), tol=1e-11, max_iter=80)
    return run.raise_if_failed()


def relative(u: Tensor, exact: Tensor) -> float:
    """Error of u, root mean square, relative."""
    return float((u - exact).norm() / exact.norm())


def enlarged() -> list[dict[str, Any]]:
    """Iterations at both products, for every sigma and the tuned one."""
    S = EllipticMap(64)
    y_d = sparse_target(S.points)
    exact = reference(S, y_d, SPARSE).x
    size = float(exact.norm()) / math.sqrt(len(exact))
    rows = []
    for sigma in (*SPECIFIED, tuned_steps(SPARSE.alpha, S.norm())[1]):
        row: dict[str, Any] = {"sigma": sigma, "specified": SPECIFIED.get(sigma)}
        for product in (0.999, 1.333):
            tau = product / (sigma * S.norm() ** 2)
            run = optsci.solve(primal_dual(S, S.T, SPARSE, y_d, start(S), tau=tau, sigma=sigma))
            near = optsci.solve(
                primal_dual(S, S.T, SPARSE, y_d, start(S), tau=tau, sigma=sigma),
                tol=None,
                stop=lambda s: s.bound < 1e-4 * size,
            )
            row[f"{product}"] = [run.iterations, relative(run.x, exact), near.iterations, relative(near.x, exact)]
        run = optsci.solve(primal_dual(S, S.T, SPARSE, y_d, start(S), sigma=sigma, relaxation=1.8))
        row["relaxed"] = [run.iterations, relative(run.x, exact)]
        rows.append(row)
    return rows


def tuning() -> list[dict[str, Any]]:
    """Iterations to six digits for multiples of the tuned sigma."""
    S = EllipticMap(64)
    y_d = sparse_target(S.points)
    rows = []
    for cost in COSTS:
        exact = reference(S, y_d, cost).x
        counts = []
        for factor in FACTORS:
            steps = primal_dual(S, S.T, cost, y_d, start(S), sigma=factor * tuned_steps(cost.alpha, S.norm())[1])
            near = lambda s, exact=exact: relative(s.x, exact) < 1e-6  # noqa: E731
            counts.append(optsci.solve(steps, tol=None, max_iter=5000, stop=near).iterations)
        sigma = tuned_steps(cost.alpha, S.norm())[1]
        rows.append({"alpha": cost.alpha, "rho": cost.rho, "box": cost.upper, "sigma": sigma, "counts": counts})
    return rows


def newton() -> list[dict[str, Any]]:
    """Objectives by semismooth Newton."""
    rows = []
    for cells in VALUES:
        S = EllipticMap(cells)
        y_d = sparse_target(S.points)
        run = reference(S, y_d, SPARSE)
        u = run.x
        rows.append(
            {
                "cells": cells,
                "J": S.weight * float(control_objective(S, y_d, SPARSE, u)),
                "iterations": run.iterations,
                "zero": float((u == 0).double().mean()),
                "bound": float((u.abs() == 30).double().mean()),
            }
        )
    return rows


def maps() -> dict[str, tuple[Any, float]]:
    """One of every equation, and a size of controls."""
    f = bilinear_parabolic(HeatMap(12, 12).points).f
    return {
        "elliptic": (EllipticMap(64), 10.0),
        "heat": (HeatMap(16, 32), 10.0),
        "Burgers": (BurgersMap(200), 1.0),
        "semilinear": (SemilinearHeatMap(12, 12), 10.0),
        "bilinear": (BilinearHeatMap(12, 12, f), 1.0),
    }


def checks() -> list[dict[str, Any]]:
    """Transposes and Taylor's test of every map."""
    rows = []
    for name, (S, size) in maps().items():
        random = torch.Generator().manual_seed(0)
        u, v, *pairs = (size * torch.randn(S.shape[1], generator=random, dtype=torch.float64) for _ in range(22))
        L = S.linearised(u, S(u)) if hasattr(S, "linearised") else S
        gap = max(transpose_gap(L, L.T, *pair) for pair in zip(pairs[::2], pairs[1::2], strict=True))

        def J(u: Tensor, S: Any = S) -> Tensor:
            return 0.5 * (S(u) - 0.1).square().sum()

        slope = taylor_slope(J, gradient_of(S, 0.1, u), u, v)
        rows.append({"equation": name, "gap": gap, "slope": slope})
    return rows


def nonlinear() -> list[dict[str, Any]]:
    """The iteration for nonlinear equations against semismooth Newton."""
    x = HeatMap(12, 12).points
    exact = bilinear_parabolic(x)
    near = [(-20 * (x - x.new_tensor(c)).square().sum(1)).exp() for c in ((0.2, 0.2, 0.2), (0.7, 0.7, 0.9))]
    every = maps()
    problems: dict[str, tuple[Any, Tensor, ControlCost]] = {
        "Burgers": (every["Burgers"][0], torch.full((199,), 0.3, dtype=torch.float64), ControlCost(0.1, upper=0.3)),
        "semilinear": (every["semilinear"][0], near[0] + near[1], ControlCost(1e-4, 4e-3, -10.0, 20.0)),
        "bilinear": (every["bilinear"][0], exact.y_d, exact.cost),
    }
    rows = []
    for name, (S, y_d, cost) in problems.items():
        newton = reference(S, y_d, cost)

        def adjoint(p: Tensor, u: Tensor, y: Tensor, S: Any = S) -> Tensor:
            return S.linearised(u, y).T(p)

        row: dict[str, Any] = {"equation": name, "newton": newton.iterations}
        for relaxation in (1.0, 1.618):
            steps = nonlinear_primal_dual(S, adjoint, cost, y_d, start(S), relaxation=relaxation)
            run = optsci.solve(steps, tol=1e-9, max_iter=2000)
            row[f"{relaxation}"] = [run.iterations, relative(run.x, newton.x)]
        rows.append(row)
    return rows


def orders() -> list[dict[str, Any]]:
    """Errors against manufactured solutions, the time step a share of the spacing squared."""
    rows = []
    for cells in (8, 16, 32):
        E, H = EllipticMap(4 * cells), HeatMap(cells, cells**2 // 8)
        e, h, b = sparse_elliptic(E.points), sparse_parabolic(H.points), bilinear_parabolic(H.points)
        B = BilinearHeatMap(cells, cells**2 // 8, b.f)
        found = {
            "elliptic": relative(reference(E, e.y_d - E(e.f), e.cost).x, e.u),
            "parabolic": relative(reference(H, h.y_d - H(h.f), h.cost).x, h.u),
            "bilinear": relative(reference(B, b.y_d, b.cost).x, b.u),
        }
        rows.append({"cells": cells, **found})
    return rows


def networks() -> list[dict[str, Any]]:
    """The iteration with states and adjoints by trained networks, and by differences at the same nodes."""
    S, fine, square, cost = EllipticMap(24), EllipticMap(192), UnitSquare(), ControlCost(1e-3, 1e-3, -30.0, 30.0)
    y_d, y_fine = sparse_target(S.points), sparse_target(fine.points)
    exact = reference(fine, y_fine, cost).x
    there = (24 * fine.points).frac().eq(0).all(1)  # the nodes that both grids have

    def trained(width: int, seed: int) -> TrainedEllipticMap:
        network = BoundaryAnsatz(MLP(2, [width, width], 1, box=square, seed=seed), 0.0, square.vanishing)
        return TrainedEllipticMap(network, S.points, steps=10, tol=1e-4)

    error = relative(reference(S, y_d, cost).x, exact[there])
    rows: list[dict[str, Any]] = [{"width": 0, "seed": 0, "error": error}]
    for width in (8, 16):
        for seed in SEEDS:
            state, adjoint = trained(width, 2 * seed), trained(width, 2 * seed + 1)
            steps = primal_dual(state, adjoint, cost, y_d, start(S), norm=S.norm(), pair_tolerance=math.inf)
            run = optsci.solve(steps, tol=1e-4, max_iter=60)
            with torch.no_grad():
                u = cost.minimiser(adjoint.network(fine.points)[:, 0])  # the control as a function, between the nodes
                y = state.network(fine.points)[:, 0]
            rows.append(
                {
                    "width": width,
                    "seed": seed,
                    "iterations": run.iterations,
                    "equation": state.residual,
                    "state": relative(y, fine(u)),
                    "gap": optimality_gap(fine, cost, y_fine, u, step=1 / cost.alpha),
                    "error": relative(u, exact),
                }
            )
    return rows


PARTS: tuple[Callable[[], list[dict[str, Any]]], ...] = (
    enlarged, tuning, newton, checks, nonlinear, orders, networks,
)  # fmt: skip


def main() -> None:
    """Run what is missing, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", action="store_true", help="only write the page")
    if not parser.parse_args().page:
        for part in PARTS:
            if part.__name__ not in kept():
                keep(part.__name__, part())
    write_page()


def kept() -> dict[str, Any]:
    """The finished measurements."""
    return content(KEPT, {})


def keep(name: str, rows: list[dict[str, Any]]) -> None:
    """Add an entry."""
    change(KEPT, {}, lambda found: found | {name: rows})
    print(name, *rows, sep="\n", flush=True)


def lines(rows: list[dict[str, Any]], cells: Callable[[dict[str, Any]], list[str]]) -> str:
    """The rows of a table."""
    return "\n".join(f"| {' | '.join(cells(row))} |" for row in rows)


def of_enlarged(row: dict[str, Any]) -> list[str]:
    """The cells of a sigma."""
    short, long = row["0.999"], row["1.333"]
    given = "/".join(map(str, row["specified"])) if row["specified"] else "tuned"
    return [
        f"{row['sigma']:.3g}", given, str(short[0]), str(long[0]), f"{long[0] / short[0]:.2f}", str(row["relaxed"][0]),
        f"{short[1]:.0e}", f"{long[1]:.0e}", str(short[2]), str(long[2]), f"{long[3]:.0e}",
    ]  # fmt: skip


def of_tuning(row: dict[str, Any]) -> list[str]:
    """The cells of a cost."""
    counts = [f"**{count}**" if count == min(row["counts"]) else str(count) for count in row["counts"]]
    tuned = row["counts"][FACTORS.index(1.0)]
    return [
        f"{row['alpha']:.0e}", f"{row['rho']:g}", f"{row['box']:g}", f"{row['sigma']:.3g}", *counts,
        f"{tuned / min(row['counts']):.2f}",
    ]  # fmt: skip


def of_networks(rows: list[dict[str, Any]]) -> str:
    """A row for every width."""
    out = []
    for width in dict.fromkeys(row["width"] for row in rows[1:]):
        some = [row for row in rows if row["width"] == width]
        middle = {key: median(row[key] for row in some) for key in ("iterations", "equation", "state", "gap", "error")}
        spread = f"{min(row['error'] for row in some):.1e} to {max(row['error'] for row in some):.1e}"
        out.append(
            f"| {width} x {width} | {len(some)} | {middle['iterations']:.0f} | {middle['equation']:.0e} | "
            f"{middle['state']:.1e} | {middle['gap']:.1e} | {middle['error']:.1e} | {spread} |"
        )
    out.append(f"| differences | 1 | | | | | {rows[0]['error']:.1e} | |")
    return "\n".join(out)


def of_orders(rows: list[dict[str, Any]]) -> str:
    """A row for every grid."""
    out, before = [], None
    for row in rows:
        cells = [str(4 * row["cells"]), "", str(row["cells"])]
        for place, name in ((1, "elliptic"), (3, "parabolic"), (4, "bilinear")):
            order = f" ({math.log2(before[name] / row[name]):.2f})" if before else ""
            cells[place : place + (place == 1)] = [f"{row[name]:.1e}{order}"]
        out.append(f"| {' | '.join(cells)} |")
        before = row
    return "\n".join(out)


def write_page() -> None:
    """The tables, from the kept measurements."""
    data = kept()
    worst = max(row["counts"][FACTORS.index(1.0)] / min(row["counts"]) for row in data["tuning"])
    page = f"""# Optimal control by the primal-dual iteration

Written by `docs/benchmarks/control_primal_dual.py`.

Sparse elliptic control: -Lap y = u in the unit square, y = 0 on the boundary, the target exp(2x) sin(2 pi x)
sin(2 pi y)/6, alpha/2 |u|^2 + rho |u|_1 and a box; five-point scheme, 64 intervals a side unless stated. Errors of u
are relative, against semismooth Newton on the same grid.

## Enlarged steps

alpha = 1e-5, rho = 1e-3, the box of -30 to 30; from 0 to a residual of 1e-6. The product is tau sigma |S|^2, which has
to be below 4/3: steps past it are refused. "Expected" are the counts of an independent program; "relaxed" is the
product 0.999 with over-relaxation by 1.8, which the enlarged steps exclude and which saves more than they do.

| sigma | expected | 0.999 | 1.333 | ratio | relaxed | error | error | bound, 0.999 | bound, 1.333 | error |
|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
{lines(data["enlarged"], of_enlarged)}

The same residual says something else for every sigma: the last three columns end where the bound of the distance from
the solution, which comes with every state, is 1e-4 of the size of u, and give the error there, at 1.333.

## The choice of sigma

Iterations until u has an error of 1e-6, for multiples of sigma = sqrt(alpha)/|S|, at the product 1.333; the last column
is that of the rule over the best.

| alpha | rho | box | sigma | x 0.25 | x 0.5 | x 0.7 | rule | x 1.4 | x 2 | x 4 | rule/best |
|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
{lines(data["tuning"], of_tuning)}

The rule needs at most {100 * (worst - 1):.0f} % more iterations than the best of these.

## Semismooth Newton

| cells | J | expected | iterations | u = 0 | at a bound |
|---:|---:|---:|---:|---:|---:|
{
        lines(
            data["newton"],
            lambda r: [
                str(r["cells"]),
                f"{r['J']:.8e}",
                f"{VALUES[r['cells']]:.8e}",
                str(r["iterations"]),
                f"{r['zero']:.1%}",
                f"{r['bound']:.1%}",
            ],
        )
    }

Against manufactured solutions with active bounds and a set where u is 0, with a time step of 8 spacings squared; in
brackets the order.

| cells | elliptic | cells | parabolic | bilinear |
|---:|---:|---:|---:|---:|
{of_orders(data["orders"])}

## Transposes and gradients

Of the map or its derivative, the worst of ten random pairs: |<S u, p> - <u, S' p>| over the size of both, and the slope
of Taylor's test of the reduced gradient.

| equation | transpose | slope |
|---|---:|---:|
{lines(data["checks"], lambda r: [r["equation"], f"{r['gap']:.0e}", f"{r['slope']:.3f}"])}

## Nonlinear equations

To a residual of 1e-9, with tuned steps, and the distance from semismooth Newton.

| equation | Newton steps | iterations | distance | relaxed by 1.618 | distance |
|---|---:|---:|---:|---:|---:|
{
        lines(
            data["nonlinear"],
            lambda r: [
                r["equation"],
                str(r["newton"]),
                str(r["1.0"][0]),
                f"{r['1.0'][1]:.0e}",
                str(r["1.618"][0]),
                f"{r['1.618'][1]:.0e}",
            ],
        )
    }

## Networks in the place of the solver

States and adjoints by two networks of tanh, warm-started, at most 10 Gauss-Newton steps a call, at the nodes of 24
intervals a side; alpha = 1e-3, rho = 1e-3, the iteration to 1e-4. Control and state are then functions, taken at the
nodes of 192 intervals and judged by the solver there. "Equation": its residual after the last training, a share of u.
"State": distance of the network's state from that of its control. "Gap": |u - prox(u - q/alpha)|/|u| with q from the
solver, which needs no solution to compare with. Medians over seeds; "differences" is the five-point scheme with 24
intervals, at its nodes.

| networks | seeds | iterations | equation | state | gap | error of u | range |
|---|---:|---:|---:|---:|---:|---:|---:|
{of_networks(data["networks"])}

Versions: {versions("torch", "scipy")}; {machine()}.
"""
    save(HERE / "control_primal_dual.md", page)
    print(page)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
