"""What an example of ``optsci control`` finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from optsci.iteration import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Outcome(NamedTuple):
    """A solved problem: numbers for the report, and figures."""

    run: Result  # how the method ended, with its history
    against: str  # what the errors are taken from
    errors: dict[str, float]  # relative L2 errors: "u", "y" and others
    active: dict[str, float]  # the share of the control at each bound, and at zero; empty without constraints
    more: dict[str, Any]  # objectives, violations and counts
    figures: dict[str, Figure]  # "state", "control", "convergence" and "comparison"


def curves(run: Result, *names: str) -> dict[str, tuple[list[float], list[float]]]:
    """Return what was tracked under these names, as `plot_decay` takes it."""
    return {name: (run.history["iteration"], run.history[name]) for name in names}


def relative(found: Tensor, exact: Tensor) -> float:
    """Return ||found - exact|| / ||exact||."""
    return float((found - exact).norm() / exact.norm())
