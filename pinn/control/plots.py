r"""Figures of controls and states, for the gallery and the command; matplotlib is imported by the functions that draw.

Images are values on a grid, (n1, n2), the first coordinate along the first index.  Lines are values at points of an
interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .control_sets import ActiveSets, active_sets

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UNIT = (0.0, 1.0, 0.0, 1.0)  # where images lie, unless said otherwise
SETS = {"at the lower bound": "#3b4cc0", "zero": "#f2f2f2", "between": "#9fd19f", "at the upper bound": "#b40426"}
Extent = tuple[float, float, float, float]


def plot_images(images: Mapping[str, Tensor], extent: Extent = UNIT, *, levels: Sequence[Tensor] = ()) -> Figure:
    """Draw images side by side, each on its own scale of colours.

    Args:
        images: {"name": (n1, n2)}.
        extent: first and last first, then second coordinate.
        levels: (n1, n2) for every image; where it vanishes a line is drawn, such as an interface.

    >>> len(plot_images({"state": torch.eye(3), "target": torch.ones(3, 3)}).axes)  # two images, two scales
    4
    """
    figure, axes = _panels(1, len(images))
    for i, (axis, (name, image)) in enumerate(zip(axes[0], images.items(), strict=True)):
        low, high = float(image.min()), float(image.max())
        if low < 0 < high:
            low, high = -max(-low, high), max(-low, high)
        colours = "RdBu_r" if low < 0 < high else "viridis"
        figure.colorbar(_image(axis, name, image, extent, cmap=colours, vmin=low, vmax=high), ax=axis)
        _curve(axis, levels[i : i + 1], extent)
    return figure


def plot_differences(images: Mapping[str, Tensor], extent: Extent = UNIT, *, levels: Sequence[Tensor] = ()) -> Figure:
    """Draw differences side by side, on one scale of colours with 0 in its middle; arguments as of `plot_images`.

    >>> image = plot_differences({"u - reference": torch.tensor([[0.0, 0.5], [-2.0, 1.0]])}).axes[0].images[0]
    >>> [float(v) for v in image.get_clim()]
    [-2.0, 2.0]
    """
    largest = max(float(image.abs().max()) for image in images.values()) or 1.0
    figure, axes = _panels(1, len(images))
    for i, (axis, (name, image)) in enumerate(zip(axes[0], images.items(), strict=True)):
        shown = _image(axis, name, image, extent, cmap="RdBu_r", vmin=-largest, vmax=largest)
        _curve(axis, levels[i : i + 1], extent)
    figure.colorbar(shown, ax=axes[0].tolist())
    return figure


def plot_control_images(
    controls: Mapping[str, Tensor],
    lower: float = -math.inf,
    upper: float = math.inf,
    extent: Extent = UNIT,
    *,
    levels: Sequence[Tensor] = (),
) -> Figure:
    """Draw controls on one scale of colours, and below each where it is at a bound, zero, or between.

    Args:
        controls: {"name": (n1, n2)}, one control at several times, or several controls.
        lower: a.
        upper: b.
        extent: as of `plot_images`.
        levels: as of `plot_images`, for every control.

    >>> figure = plot_control_images({"u": torch.tensor([[-1.0, 0.0], [0.3, 1.0]])}, -1.0, 1.0)
    >>> figure.axes[1].images[0].get_array().tolist()
    [[0, 2], [1, 3]]
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    largest = max(float(image.abs().max()) for image in controls.values()) or 1.0
    figure, axes = _panels(2, len(controls))
    for i, (column, (name, image)) in enumerate(zip(axes.T, controls.items(), strict=True)):
        shown = _image(column[0], name, image, extent, cmap="RdBu_r", vmin=-largest, vmax=largest)
        codes = set_codes(active_sets(image, lower, upper))
        _image(column[1], "active sets", codes, extent, cmap=ListedColormap(list(SETS.values())), vmin=0, vmax=3)
        for axis in column:
            _curve(axis, levels[i : i + 1], extent)
    figure.colorbar(shown, ax=axes[0].tolist())
    patches = [Patch(facecolor=colour, edgecolor="0.5", label=name) for name, colour in SETS.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=2 * min(len(controls), 2), frameon=False)
    return figure


def set_codes(sets: ActiveSets) -> Tensor:
    """Return 0 at the lower bound, 1 where u is zero, 3 at the upper bound and 2 between."""
    codes = torch.full(sets.lower.shape, 2, dtype=torch.uint8)
    for code, held in ((0, sets.lower), (1, sets.zero), (3, sets.upper)):
        codes[held] = code
    return codes


def plot_lines(x: Any, lines: Mapping[str, Any], *, xlabel: str = "x", ylabel: str = "") -> Figure:
    """Draw functions of one variable.

    Args:
        x: (n,), increasing.
        lines: {"name": (n,)}; the first one solid, others dashed.
        xlabel: of the first axis.
        ylabel: of the second one.

    >>> len(plot_lines([0.0, 1.0], {"y": [0.0, 1.0], "target": [0.5, 0.5]}).axes[0].lines)
    2
    """
    figure, axis = _axis()
    _draw(axis, x, lines)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    axis.legend()
    return figure


def plot_control_lines(
    x: Any,
    lines: Mapping[str, Any],
    lower: float | Tensor = -math.inf,
    upper: float | Tensor = math.inf,
    *,
    xlabel: str = "x",
) -> Figure:
    """Draw controls of one variable, shaded where the first of them is at a bound, or zero.

    Args:
        x: (n,), increasing.
        lines: {"name": (n,)}.
        lower: a, a number or (n,).
        upper: b, likewise.
        xlabel: of the first axis.

    >>> figure = plot_control_lines([0.0, 1.0, 2.0], {"u": [0.0, 1.0, 1.0]}, upper=1.0)
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['u', 'zero', 'at the upper bound']
    """
    figure, axis = _axis()
    _draw(axis, x, lines)
    where = np.asarray(x, dtype=float).reshape(-1)
    edges = np.concatenate((where[:1], (where[1:] + where[:-1]) / 2, where[-1:]))
    first = torch.as_tensor(next(iter(lines.values()))).reshape(-1)
    codes = set_codes(active_sets(first, lower, upper)).numpy()
    for code, (name, colour) in enumerate(SETS.items()):
        held = np.flatnonzero(np.diff(np.pad(codes == code, 1).astype(int))).reshape(-1, 2)
        if code == 2 or not len(held):
            continue
        shade = "0.85" if name == "zero" else colour
        for i, (begin, end) in enumerate(held):
            axis.axvspan(edges[begin], edges[end], color=shade, alpha=0.25, lw=0, label="" if i else name)
    axis.set(xlabel=xlabel, ylabel="u")
    axis.legend()
    return figure


def plot_decay(
    histories: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, xlabel: str = "iteration"
) -> Figure:
    """Draw residuals, errors or bounds on a logarithmic scale: {"name": (iterations, values)}; 0 is left out.

    >>> axis = plot_decay({"primal": ([1, 2], [1.0, 0.0]), "dual": ([1, 2], [1.0, 0.5])}).axes[0]
    >>> axis.get_yscale(), len(axis.lines)
    ('log', 2)
    """
    figure, axis = _axis()
    for name, (iterations, values) in histories.items():
        shown = np.asarray(values, dtype=float)
        axis.semilogy(iterations, np.where(shown > 0, shown, np.nan), label=name)
    axis.set(xlabel=xlabel)
    axis.legend()
    return figure


def _panels(rows: int, columns: int) -> tuple[Figure, np.ndarray]:
    import matplotlib.pyplot as plt

    size = (4.2 * columns, 3.7 * rows)
    return plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)


def _axis() -> tuple[Figure, Axes]:
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")


def _image(axis: Axes, name: str, image: Tensor, extent: Extent, **colours: Any) -> Any:
    values = image.detach().cpu().T.numpy()
    shown = axis.imshow(values, origin="lower", extent=extent, interpolation="nearest", **colours)
    axis.set(title=name, xlabel="$x_1$", ylabel="$x_2$")
    return shown


def _curve(axis: Axes, levels: Sequence[Tensor], extent: Extent) -> None:
    for level in levels:
        axis.contour(level.T.numpy(), [0.0], colors="black", linestyles="--", linewidths=0.8, extent=extent)


def _draw(axis: Axes, x: Any, lines: Mapping[str, Any]) -> None:
    where = np.asarray(x, dtype=float).reshape(-1)
    for i, (name, values) in enumerate(lines.items()):
        axis.plot(where, np.asarray(values, dtype=float).reshape(-1), "--" if i else "-", label=name)


__all__ = [
    "plot_control_images",
    "plot_control_lines",
    "plot_decay",
    "plot_differences",
    "plot_images",
    "plot_lines",
    "set_codes",
]
