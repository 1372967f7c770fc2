"""The command line of the library.

Its commands are ``optsci compress``, ``prune-units``, ``quantize``, ``evaluate``, ``pinn``, ``control`` and ``demo``.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from optsci import __version__
from optsci.compress.commands.measuring import demo as demo_of_compression
from optsci.compress.commands.measuring import evaluate
from optsci.compress.commands.pruning import compress, prune_units
from optsci.compress.commands.quantizing import quantize
from optsci.pinn.commands.control import control
from optsci.pinn.commands.solving import demo as demo_of_pinn
from optsci.pinn.commands.solving import pinn

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


def demo(
    full: Annotated[bool, typer.Option("--full", help="Prune all blocks; continues an interrupted run.")] = False,
    only_pinn: Annotated[bool, typer.Option("--pinn", help="Only the differential equation.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the tables and the figures.")] = Path("demo"),
) -> None:
    """Prune SmolLM2-135M by four methods, in about five minutes; then solve a differential equation, in one.

    The equation is that of a mean exit time, by a network with labels from random paths and without.
    """
    if not only_pinn:
        if find_spec("transformers") is None:
            typer.echo('the language model is left out: pip install "optsci[llm]" brings what it needs')
        else:
            demo_of_compression(full=full, out=out)
    demo_of_pinn(out / "pinn")


for command in (compress, prune_units, quantize, evaluate, pinn, control, demo):
    app.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"optsci {__version__}")
        raise typer.Exit


@app.callback()
def optsci(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Compress language models by proximal optimisation, and solve partial differential equations."""
