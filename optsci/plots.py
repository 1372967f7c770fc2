"""Figures of runs; matplotlib is imported by the functions that draw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from optsci.iteration import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def convergence(
    runs: Result | Mapping[str, Result],
    quantity: str = "residual",
    *,
    minus: float = 0.0,
    ax: Axes | None = None,
) -> Axes:
    """Draw a quantity of the history against the iteration, on a logarithmic scale.

    Args:
        runs: a result of ``solve``, or several by the names that the legend shows.
        quantity: ``"residual"``, ``"seconds"`` or a name that was tracked.
        minus: subtracted, such as the optimal value from an objective; what is then not positive is left out.
        ax: where to draw; None makes a new figure.

    Example:
        >>> import optsci
        >>> run = optsci.solve(optsci.ista(optsci.SquaredL2(), optsci.L1(), [2.0]))
        >>> ax = convergence({"ista": run})
        >>> ax.get_ylabel(), len(ax.lines)
        ('residual', 1)
    """
    import matplotlib.pyplot as plt

    named = {"": runs} if isinstance(runs, Result) else runs
    for run in named.values():
        if quantity not in run.history:
            raise ValueError(f"quantity must be one of {', '.join(run.history)}, not {quantity!r}")
    if ax is None:
        _, ax = plt.subplots(layout="constrained")
    for name, run in named.items():
        values = np.asarray(run.history[quantity], dtype=float) - minus
        ax.semilogy(run.history["iteration"], np.where(values > 0, values, np.nan), label=name)
    ax.set(xlabel="iteration", ylabel=f"{quantity} - optimum" if minus else quantity)
    if named is runs:
        ax.legend()
    return ax
