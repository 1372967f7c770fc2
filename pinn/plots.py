"""Figures of trained solutions; matplotlib is imported by the functions that draw.

In one dimension functions are lines, in more they are shown in the plane of the first two coordinates through the
middle of the region.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .feynman_kac import Labels
from .problems import Problem, evaluated

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NODES, SIDE = 400, 160  # at which lines and images are drawn


def plot_solution(problem: Problem, runs: Mapping[str, Any], labels: Labels | None = None) -> Figure:
    """Draw functions by their names, and labels with bars of two standard errors or, in the plane, as dots.

    Args:
        problem: where its exact solution is known, it is drawn, too.
        runs: {"name": u}, every u a function of points (n, d) -> (n, 1).
        labels: to be shown besides.

    >>> from optsci.pinn import Interval, MeanExitTime
    >>> problem = MeanExitTime(Interval(-1.0, 1.0), exact=lambda x: 1 - x.square())
    >>> len(plot_solution(problem, {"constant": torch.ones_like}).axes[0].lines)
    2
    """
    named = ({} if problem.exact is None else {"exact": problem.exact}) | dict(runs)
    if problem.domain.dim > 1:
        figure, panels = _images(problem, named, "viridis", centred=False)
        if labels is not None and problem.domain.dim == 2:
            for panel in panels:
                panel.plot(*labels.points.T.tolist(), ".", color="white", markersize=3)
        return figure
    figure, ax = _lines(problem, named)
    if labels is not None:
        x, y, s = (column[:, 0].tolist() for column in (labels.points, labels.mean, 2 * labels.stderr))
        ax.errorbar(x, y, s, fmt=".", color="gray", lw=1, zorder=0, label="labels ± 2 standard errors")
    ax.set(xlabel="x", ylabel="u")
    ax.legend()
    return figure


def plot_error(problem: Problem, runs: Mapping[str, Any]) -> Figure:
    """Draw what functions are away from the exact solution.

    Raises:
        ValueError: the exact solution of the problem is not known.
    """
    exact = problem.exact
    if exact is None:
        raise ValueError("the exact solution of this problem is not known: give it as `exact`")

    def away(u: Any) -> Callable[[Tensor], Tensor]:
        return lambda x: u(x) - exact(x)

    errors = {name: away(u) for name, u in runs.items()}
    if problem.domain.dim > 1:
        return _images(problem, errors, "RdBu", centred=True)[0]
    figure, ax = _lines(problem, errors)
    ax.set(xlabel="x", ylabel="u - exact")
    ax.legend()
    return figure


def plot_loss(histories: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """Draw losses against steps: {"name": (steps, losses)}.

    >>> ax = plot_loss({"run": ([1, 2], [1.0, 0.1])}).axes[0]
    >>> ax.get_yscale()
    'log'
    """
    figure, ax = _axes()
    for name, (steps, losses) in histories.items():
        ax.semilogy(steps, losses, label=name)
    ax.set(xlabel="step", ylabel="loss")
    ax.legend()
    return figure


def plot_spectrum(spectra: Mapping[str, Tensor]) -> Figure:
    """Draw eigenvalues in decreasing order, as of ``function_spectrum``: {"name": (k,)}."""
    figure, ax = _axes()
    for name, values in spectra.items():
        ax.semilogy(range(1, len(values) + 1), values.tolist(), "o-", markersize=3, label=name)
    ax.set(xlabel="number", ylabel="eigenvalue: how much of a unit error the loss sees")
    ax.legend()
    return figure


def _axes() -> tuple[Figure, Axes]:
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")


def _lines(problem: Problem, named: Mapping[str, Any]) -> tuple[Figure, Axes]:
    figure, ax = _axes()
    region = problem.region
    x = torch.linspace(region.lower[0], region.upper[0], NODES, dtype=torch.float64)[:, None]
    for i, (name, u) in enumerate(named.items()):
        ax.plot(x[:, 0].tolist(), _values(u, x)[:, 0].tolist(), "--" if i else "-", label=name)
    return figure, ax


def _images(
    problem: Problem, named: Mapping[str, Any], colours: str, *, centred: bool
) -> tuple[Figure, Sequence[Axes]]:
    """An image of each, on one scale of colours; blank outside of the region."""
    import matplotlib.pyplot as plt

    region = problem.region
    lower, upper = (torch.tensor(corner, dtype=torch.float64) for corner in (region.lower, region.upper))
    edges = torch.linspace(0, 1, SIDE + 1, dtype=torch.float64)
    first, second = (lower[i] + (upper[i] - lower[i]) * edges for i in (0, 1))
    middles = [0.5 * (axis[1:] + axis[:-1]) for axis in (first, second)]
    x = (0.5 * (lower + upper)).repeat(SIDE * SIDE, 1)
    x[:, :2] = torch.cartesian_prod(*middles)
    inside = region.contains(x)
    images = {}
    for name, u in named.items():
        image = x.new_full((len(x),), torch.nan)
        image[inside] = _values(u, x[inside])[:, 0]
        images[name] = image.reshape(SIDE, SIDE).T
    known = torch.stack(list(images.values()))
    known = known[known.isfinite()]
    low, high = float(known.min()), float(known.max())
    if centred:
        low, high = -max(-low, high), max(-low, high)
    figure, axes = plt.subplots(1, len(images), figsize=(4.4 * len(images), 3.8), layout="constrained", squeeze=False)
    for panel, (name, image) in zip(axes[0], images.items(), strict=True):
        drawn = panel.pcolormesh(first.tolist(), second.tolist(), image.numpy(), cmap=colours, vmin=low, vmax=high)
        panel.set(title=name, xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
    figure.colorbar(drawn, ax=axes[0].tolist())
    return figure, axes[0]


def _values(u: Any, x: Tensor) -> Tensor:
    """The values of u in double precision."""
    return evaluated(u, x).detach().cpu().double()


__all__ = ["plot_error", "plot_loss", "plot_solution", "plot_spectrum"]
