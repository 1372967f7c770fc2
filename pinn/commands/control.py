"""``optsci control`` solves a problem of optimal control, and compares with a reference."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from ..files import write_figures, write_json
from .control_examples import EXAMPLES, example
from .outcome import Outcome
from .solving import REPORT, sentences


def _list_examples(wanted: bool) -> None:
    if wanted:
        width = max(map(len, EXAMPLES))
        for name, one in EXAMPLES.items():
            typer.echo(f"{name:{width}s}  {one.about}")
        raise typer.Exit


def control(
    name: Annotated[str, typer.Argument(metavar="EXAMPLE", help="One of the names that --list shows.")],
    seed: Annotated[int, typer.Option(min=0, max=2**31, help="Of networks, points and noise, or of the start.")] = 0,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Of the method, at most: of ADMM, primal-dual or Gauss-Newton; unless given, enough."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for report and figures; unless given, ./EXAMPLE.")] = None,
    list_examples: Annotated[
        bool, typer.Option("--list", callback=_list_examples, is_eager=True, help="Show the examples and exit.")
    ] = False,
) -> None:
    """Control a differential equation, or identify its data; report, figures and errors against a reference."""
    with sentences():
        chosen, folder = example(name), Path(name) if out is None else out
        _make_empty(folder)
        most = {} if steps is None else {"steps": steps}
        found = chosen.solve(seed, **most, progress=True)
        typer.echo(str(found.run))
        write_figures(folder, found.figures)
        write_json(folder / REPORT, _report({"example": name, "seed": seed, **most}, found))
        errors = ", ".join(f"{of} {error:.1e}" for of, error in found.errors.items())
        typer.echo(f"relative errors against {found.against}: {errors}")
        if found.active:
            at = found.active
            typer.echo(f"control: {at['lower']:.0%} and {at['upper']:.0%} at the bounds, {at['zero']:.0%} zero")
        typer.echo(f"{folder}: see {REPORT} and the figures there")


def _make_empty(folder: Path) -> None:
    """Make the folder, or refuse one with something in it, before minutes are spent."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{str(folder)!r} holds files, which may be of another run: give another --out")


def _report(settings: dict[str, Any], found: Outcome) -> dict[str, Any]:
    return {
        "settings": settings,
        "status": str(found.run),
        "iterations": found.run.iterations,
        "residual": found.run.residual,
        "against": found.against,
        "errors": found.errors,
        "active": found.active,
        **found.more,
        "history": found.run.history,
        "versions": {package: version(package) for package in ("optsci", "torch", "numpy", "scipy")},
    }
