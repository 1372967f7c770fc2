"""Text files that are whole at any time."""

from __future__ import annotations

import os
from pathlib import Path


def save(path: Path, text: str) -> None:
    r"""Write a text beside its place and move it there: the path never holds half of it, whatever stops the script.

    >>> import tempfile
    >>> page = Path(tempfile.mkdtemp()) / "page.md"
    >>> save(page, "κ = 1\n")
    >>> page.read_text(encoding="utf-8"), [file.name for file in page.parent.iterdir()]
    ('κ = 1\n', ['page.md'])
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
