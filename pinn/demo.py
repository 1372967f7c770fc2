r"""The demonstration: a mean exit time that a network cannot find from the equation, and can with a few labels.

.. math:: \tfrac1\beta u'' - x u' = -1 \quad\text{in } (-1, 1), \qquad u(\pm 1) = 0

Away from the ends u is nearly constant, about :math:`e^{\beta/2}` times the time scale of the well, and any constant
has a small residual there: the loss of a plain PINN falls to nearly nothing at an error of 100 %.  A label says which
constant it is.  Both networks have the same size, start, points and optimizer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from optsci.iteration import solve

from .conditioning import function_spectrum
from .feynman_kac import Labels, labels
from .files import write_figures, write_json
from .lbfgs import lbfgs
from .levenberg_marquardt import gauss_newton
from .losses import Boundary, Data, Loss, Residual
from .named_problems import well_exit
from .networks import MLP
from .plots import plot_error, plot_loss, plot_solution, plot_spectrum
from .problems import Problem
from .random_walks import EulerMaruyama, Exit
from .sampling import sobol
from .training import adam

BETA, LABELS, PATHS, DT = 8.0, 40, 1000, 2e-3
POINTS, WIDTHS = 200, (20, 20)


@dataclass(frozen=True)
class Budget:
    """Numbers of steps."""

    adam: int = 2000
    lbfgs: int = 500
    gauss_newton: int = 150


@dataclass(frozen=True)
class Row:
    """One training."""

    name: str
    error: float  # relative, in the mean square
    loss: float  # in units of the squared size of the solution
    smallest: float  # eigenvalue of the loss, of function_spectrum: what it sees of the error it sees least
    seconds: float


def run_demo(
    out: Path,
    *,
    say: Callable[[str], None] = print,
    progress: bool = True,
    paths: int = PATHS,
    budget: Budget = Budget(),
) -> list[Row]:
    """Train with and without labels and write results.json and four figures into ``out``.

    Args:
        out: folder, made if need be.
        say: receives a line of text now and then.
        progress: show progress bars (only on a terminal).
        paths: for every label.
        budget: numbers of steps.
    """
    begin = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    problem = well_exit(BETA)
    assert problem.exact is not None
    longest = problem.exact(torch.zeros(1, 1, dtype=torch.float64)).item()
    say(f"mean time in which dX = -X dt + sqrt(2 / {BETA:g}) dW leaves (-1, 1); from 0 it is {longest:.3f}")
    where = problem.sample(LABELS, 1)
    method = EulerMaruyama(dt=DT, exit=Exit.BRIDGE)
    found = labels(problem, where, paths=paths, method=method, seed=0, progress=progress)
    truth = problem.exact(where)
    say(f"{found}; they are {float((found.mean - truth).norm() / truth.norm()):.1%} off")

    scale = found.mean.abs().max().item()
    equation = Residual(problem, problem.sample(POINTS, 0, points=sobol)) + Boundary(problem, 16)
    losses = {
        "plain PINN": equation * (1 / scale**2),
        "FK-PINN": (equation + Data(where, found.mean)) * (1 / scale**2),
    }
    runs = {name: _first_order(problem, loss, scale, budget, progress) for name, loss in losses.items()}
    rows = [run.row(f"{name}, Adam and L-BFGS", problem, losses[name]) for name, run in runs.items()]
    second = {name: _second_order(problem, loss, scale, budget, progress) for name, loss in losses.items()}
    rows += [run.row(f"{name}, Gauss-Newton", problem, losses[name]) for name, run in second.items()]
    for row in rows:
        say(
            f"{row.name:29s} relative error {row.error:8.3%}   loss {row.loss:.1e}   "
            f"smallest eigenvalue {row.smallest:.1e}"
        )
    say(_seen(rows))
    _write(out, problem, found, runs, losses, rows)
    say(f"{out}: results.json, solution.png, error.png, loss.png, spectrum.png; {time.perf_counter() - begin:.0f} s")
    return rows


@dataclass(frozen=True, eq=False)
class Trained:
    """A network and how its loss fell."""

    u: MLP
    steps: list[float]
    losses: list[float]
    seconds: float

    def row(self, name: str, problem: Problem, loss: Loss) -> Row:
        """What is said about it."""
        smallest = float(self.spectrum(problem, loss)[-1])
        return Row(name, problem.relative_error(self.u), self.losses[-1], smallest, self.seconds)

    def spectrum(self, problem: Problem, loss: Loss) -> torch.Tensor:
        """Eigenvalues of the loss on functions near u."""
        return function_spectrum(self.u, loss, problem.sample(POINTS, 7, points=sobol))


def _network(problem: Problem, scale: float) -> MLP:
    return MLP(1, WIDTHS, 1, box=problem.domain, scale=scale, seed=0)


def _first_order(problem: Problem, loss: Loss, scale: float, budget: Budget, progress: bool) -> Trained:
    u = _network(problem, scale)
    track = {"loss": lambda state: state.loss}
    first = solve(
        adam(u, loss), tol=None, max_iter=budget.adam, check_every=max(budget.adam // 50, 1), track=track,
        progress=progress,
    )  # fmt: skip
    then = solve(lbfgs(u, loss), tol=1e-9, max_iter=budget.lbfgs, track=track, progress=progress)
    steps = first.history["iteration"] + [budget.adam + k for k in then.history["iteration"]]
    return Trained(u, steps, first.history["loss"] + then.history["loss"], first.seconds + then.seconds)


def _second_order(problem: Problem, loss: Loss, scale: float, budget: Budget, progress: bool) -> Trained:
    u = _network(problem, scale)
    run = solve(
        gauss_newton(u, loss), tol=1e-9, max_iter=budget.gauss_newton, track={"loss": lambda state: state.loss},
        progress=progress,
    )  # fmt: skip
    return Trained(u, run.history["iteration"], run.history["loss"], run.seconds)


def _seen(rows: list[Row]) -> str:
    """What the rows say, in a sentence."""
    plain, labelled, second, _ = rows
    return (
        f"a small loss is no small error: by Adam and L-BFGS losses of {plain.loss:.0e} and {labelled.loss:.0e} go "
        f"with errors of {plain.error:.1%} without labels and {labelled.error:.2%} with them; by Gauss-Newton "
        f"the error without labels is {second.error:.3%}"
    )


def _write(
    out: Path, problem: Problem, found: Labels, runs: dict[str, Trained], losses: dict[str, Loss], rows: list[Row]
) -> None:
    networks = {name: run.u for name, run in runs.items()}
    figures = {
        "solution": plot_solution(problem, networks, found),
        "error": plot_error(problem, networks),
        "loss": plot_loss({name: (run.steps, run.losses) for name, run in runs.items()}),
        "spectrum": plot_spectrum({name: run.spectrum(problem, losses[name]) for name, run in runs.items()}),
    }
    write_figures(out, figures)
    content = {
        "beta": BETA,
        "labels": str(found),
        "rows": [asdict(row) for row in rows],
        "versions": {package: version(package) for package in ("optsci", "torch", "numba")},
    }
    write_json(out / "results.json", content)
