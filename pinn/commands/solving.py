"""``optsci pinn`` solves a problem by a network trained on its equation and on labels from random paths.

``demo`` is the part of ``optsci demo`` that is about differential equations.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
import typer

from optsci.iteration import Result, solve

from ..checkpoints import load_checkpoint, save_checkpoint
from ..conditioning import function_spectrum
from ..feynman_kac import Labels, labels
from ..files import write_figures, write_json
from ..levenberg_marquardt import gauss_newton
from ..losses import Boundary, Data, Loss, Neumann, Residual
from ..networks import MLP
from ..plots import plot_error, plot_loss, plot_solution, plot_spectrum
from ..problems import Problem
from ..random_walks import EulerMaruyama, WalkOnSpheres, default_euler, default_method
from ..reference import finite_differences
from ..sampling import sobol
from .problems import PROBLEMS, named

CHECKPOINT, REPORT = "checkpoint.npz", "report.json"
EVERY = 10  # steps from one checkpoint to the next
CELLS = 200  # of the reference solution, where there is no formula


def _list_problems(wanted: bool) -> None:
    if wanted:
        width = max(map(len, PROBLEMS))
        for name, problem in PROBLEMS.items():
            typer.echo(f"{name:{width}s}  {problem.about}")
        raise typer.Exit


def pinn(
    problem: Annotated[str, typer.Argument(metavar="PROBLEM", help="One of the names that --list shows.")],
    count: Annotated[
        int, typer.Option("--labels", min=0, help="Points with labels from random paths; 0 is a plain PINN.")
    ] = 50,
    paths: Annotated[int, typer.Option(min=2, help="For every label.")] = 1000,
    dt: Annotated[
        float | None, typer.Option(help="Time step of the paths (Euler-Maruyama), unless given by the domain's size.")
    ] = None,
    eps: Annotated[float | None, typer.Option(help="Walk on spheres instead, until so close to the boundary.")] = None,
    hidden: Annotated[str, typer.Option(help="Widths of the hidden layers.")] = "24,24",
    points: Annotated[
        int | None,
        typer.Option(
            min=1, help="At which the equation is asked for; unless given, 1.5 for every weight of the network."
        ),
    ] = None,
    weight: Annotated[
        float | None,
        typer.Option(
            min=0.0, help="Of boundary values and labels, that of the equation being 1; unless given, PROBLEM's."
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Of Gauss-Newton, from the start.")] = 150,
    seed: Annotated[int, typer.Option(min=0, max=2**62, help="Of paths, points and weights.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder for report, figures and checkpoint; unless given, ./PROBLEM.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint there.")] = False,
    list_problems: Annotated[
        bool, typer.Option("--list", callback=_list_problems, is_eager=True, help="Show the problems and exit.")
    ] = False,
) -> None:
    """Solve PROBLEM by a network: least squares of its equation, boundary values and labels with error bars."""
    with sentences():
        make, _, usual = named(problem)
        given, widths, folder = make(), _widths(hidden), Path(problem) if out is None else out
        method = _method(given, dt, eps) if count else None
        u = MLP(given.domain.dim, widths, 1, box=given.region, seed=seed)
        number = points or round(1.5 * sum(p.numel() for p in u.parameters()))
        ties = usual if weight is None else weight
        settings = {
            "problem": problem, "labels": count, "paths": paths if count else 0, "method": str(method) if count else "",
            "hidden": widths, "points": number, "weight": ties, "seed": seed,
        }  # fmt: skip
        history = _begun(folder, settings, resume=resume)
        setup = _set_up(given, u, count, paths, method, number, ties, seed)
        start = load_checkpoint(folder / CHECKPOINT, setup.u) if resume else None
        if setup.labels is not None:
            typer.echo(_sentence(given, setup.labels))
        run = _train(setup, folder / CHECKPOINT, steps, start)
        typer.echo(str(run))
        for name in history:
            history[name] += run.history[name]
        known = given if given.exact is not None else _with_reference(given)
        spectrum = function_spectrum(setup.u, setup.loss, given.sample(number, seed + 3, points=sobol))
        error = None if known.exact is None else known.relative_error(setup.u)
        report = {
            "settings": settings,
            "status": str(run),
            "scale": setup.u.scale,
            "steps": run.state.steps,
            "loss": float(run.state.loss),
            "relative_error": error,
            "label_stderr": None if setup.labels is None else setup.labels.stderr.max().item(),
            "label_error": None if setup.labels is None or known.exact is None else _label_error(known, setup.labels),
            "condition": float(spectrum[0] / spectrum[-1]),
            "history": history,
            "versions": {package: version(package) for package in ("optsci", "torch", "numpy", "numba")},
        }
        _write_figures(folder, known, setup, history, spectrum)
        write_json(folder / REPORT, report)
        wrong = "" if error is None else f"relative error {error:.3%}, "
        typer.echo(f"{folder}: {wrong}loss {report['loss']:.2e}; see {REPORT} and the figures there")


def demo(out: Path) -> None:
    """Solve for a mean exit time with labels and without; results and figures go to ``out``."""
    with sentences():
        from ..demo import run_demo

        run_demo(out, say=typer.echo)


@contextmanager
def sentences() -> Iterator[None]:
    """Bad input ends with its sentence, not with a traceback."""
    try:
        yield
    except (ValueError, TypeError, ArithmeticError, OSError) as error:
        typer.echo(f"optsci: {error}", err=True)
        sys.exit(2)


class SetUp(NamedTuple):
    """What is trained, on what."""

    u: MLP
    loss: Loss
    labels: Labels | None


def _set_up(
    problem: Problem,
    u: MLP,
    count: int,
    paths: int,
    method: EulerMaruyama | WalkOnSpheres | None,
    points: int,
    weight: float,
    seed: int,
) -> SetUp:
    """Labels, the network scaled to their size, and a loss in units of it."""
    at_boundary = 16 if problem.domain.dim == 1 else max(points // 4, 16)
    on = problem.sample_boundary(at_boundary, seed + 1)[0]
    found, size = None, problem.values("boundary", on).abs().max().item()
    if count:
        where = problem.sample(count, seed + 2)
        found = labels(problem, where, paths=paths, method=method, seed=seed, progress=True)
        size = max(size, found.mean.abs().max().item())
    u.scale = size or 1.0
    loss = Residual(problem, problem.sample(points, seed, points=sobol)) + weight * Boundary(problem, on)
    if problem.reflecting is not None:
        loss = loss + weight * Neumann(*problem.sample_walls(at_boundary, seed + 1))
    if found is not None:
        loss = loss + weight * Data(found.points, found.mean)
    return SetUp(u, loss * (1 / u.scale**2), found)


def _train(setup: SetUp, path: Path, steps: int, start: Any) -> Result:
    """Run Gauss-Newton to a number of steps from the start, with a checkpoint now and then."""

    def keep(k: int, state: Any) -> None:
        if state.steps % EVERY == 0 or state.steps == steps or state.reason is not None:
            save_checkpoint(path, state)

    left = steps - (start.steps if start is not None else 0)
    if left < 1:
        raise ValueError(f"--steps must be more than the {start.steps} that the checkpoint has, got {steps}")
    return solve(
        gauss_newton(setup.u, setup.loss, start=start),
        tol=1e-12,
        max_iter=left,
        callback=keep,
        track={"step": lambda state: state.steps, "loss": lambda state: state.loss},
        progress=True,
    )


def _method(problem: Problem, dt: float | None, eps: float | None) -> EulerMaruyama | WalkOnSpheres:
    """How paths are run: as asked for, or as suits the problem."""
    if dt is not None and eps is not None:
        raise ValueError(f"either --dt or --eps may be given, got {dt} and {eps}")
    if eps is not None:
        return WalkOnSpheres(eps=eps)
    if dt is not None:
        return EulerMaruyama(dt=dt, exit=default_euler(problem).exit)
    return default_method(problem)


def _widths(text: str) -> list[int]:
    try:
        widths = [int(part) for part in text.split(",")]
    except ValueError:
        widths = []
    if not widths or min(widths) < 1:
        raise ValueError(f"--hidden must be positive numbers with commas between them, such as 24,24, got {text!r}")
    return widths


def _begun(folder: Path, settings: dict[str, Any], *, resume: bool) -> dict[str, list[float]]:
    """Make the folder, or look whether its run goes on; return the history so far."""
    history: dict[str, list[float]] = {"step": [], "loss": []}
    about = folder / "settings.json"
    if not resume:
        if (folder / CHECKPOINT).exists():
            raise FileExistsError(f"{str(folder)!r} holds a run: give --resume to go on with it, or another --out")
        folder.mkdir(parents=True, exist_ok=True)
        write_json(about, settings)
        return history
    if not ((folder / CHECKPOINT).is_file() and about.is_file()):
        raise FileNotFoundError(f"--resume: {str(folder)!r} holds no checkpoint to go on from")
    earlier = json.loads(about.read_text(encoding="utf-8"))
    for name, value in settings.items():
        if earlier.get(name) != value:
            raise ValueError(f"--resume: {name} was {earlier.get(name)!r} in {str(folder)!r}, and is {value!r} now")
    if (folder / REPORT).is_file():
        history = json.loads((folder / REPORT).read_text(encoding="utf-8"))["history"]
    return history


def _with_reference(problem: Problem) -> Problem:
    """The problem with a solution by finite differences as the exact one, where there is one."""
    return replace(problem, exact=finite_differences(problem, CELLS)) if problem.domain.dim <= 3 else problem


def _sentence(problem: Problem, found: Labels) -> str:
    away = "" if problem.exact is None else f"; they are {_label_error(problem, found):.2%} off"
    return f"{found}{away}"


def _label_error(problem: Problem, found: Labels) -> float:
    assert problem.exact is not None
    truth = problem.exact(found.points)
    return float((found.mean - truth).norm() / truth.norm())


def _write_figures(
    folder: Path, problem: Problem, setup: SetUp, history: dict[str, list[float]], spectrum: torch.Tensor
) -> None:
    runs = {"network": setup.u}
    figures = {
        "solution": plot_solution(problem, runs, setup.labels),
        "loss": plot_loss({"Gauss-Newton": (history["step"], history["loss"])}),
        "spectrum": plot_spectrum({"plain" if setup.labels is None else "with labels": spectrum}),
    }
    if problem.exact is not None:
        figures["error"] = plot_error(problem, runs)
    write_figures(folder, figures)
