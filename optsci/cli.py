"""The command line: ``optsci compress``, ``prune-units``, ``quantize``, ``evaluate``, ``pinn`` and ``demo``."""

from __future__ import annotations

from typing import Annotated

import typer

from optsci import __version__
from optsci.compress.commands.measuring import demo, evaluate
from optsci.compress.commands.pruning import compress, prune_units
from optsci.compress.commands.quantizing import quantize
from optsci.pinn.commands.solving import pinn

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
for command in (compress, prune_units, quantize, evaluate, pinn, demo):
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
