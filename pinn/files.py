"""Results as files, written beside their place and then moved there: a path never holds half of one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_json(path: Path, content: Any) -> None:
    """Write content as JSON, without NaN.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "report.json"
    >>> write_json(path, {"loss": 0.5})
    >>> json.loads(path.read_text())
    {'loss': 0.5}
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    part.replace(path)


def write_figures(folder: Path, figures: Mapping[str, Figure]) -> None:
    """Write {"name": figure} as folder/name.png."""
    for name, figure in figures.items():
        part = folder / f"{name}.part.png"
        figure.savefig(part, dpi=120)
        part.replace(folder / f"{name}.png")
