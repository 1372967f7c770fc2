"""The table of all functions, made from their docstrings whenever the documentation is built."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

import optsci.functions

METHODS = ("grad", "prox", "conjugate", "lmo")
HEAD = """All functions
=============

What stands for f or g, by file. A function has exactly the methods it can honestly offer; a rule has those that the
functions it is made of allow. The formula of the prox is that of the docstring, where the arguments are explained.

"""


def write_function_table(path: Path) -> None:
    """Write the table as reStructuredText."""
    files: dict[str, list[type]] = {}
    for name in optsci.functions.__all__:
        function = getattr(optsci.functions, name)
        if inspect.isclass(function):
            files.setdefault(function.__module__, []).append(function)
    path.write_text(HEAD + "\n".join(_section(name, files[name]) for name in sorted(files)), encoding="utf-8")


def _section(module: str, functions: list[type]) -> str:
    title = module.rpartition(".")[2].replace("_", " ").capitalize()
    rows = [
        f"{title}\n{'-' * len(title)}\n",
        ".. list-table::\n   :header-rows: 1\n   :widths: 16 34 30 10 10\n",
        "   * - function\n     - what it is\n     - prox\n     - methods\n     - source",
    ]
    rows += [_row(module, function) for function in functions]
    return "\n".join(rows) + "\n"


def _row(module: str, function: type) -> str:
    text = inspect.getdoc(function) or ""
    summary = " ".join(text.split("\n\n")[0].split())
    source = re.search(r"^References?: (.+?)(?:\n\n|\Z)", text, re.S | re.M)
    if source is None:
        source = re.search(
            r"^(?:References?|Sources?): (.+?)(?:\n\n|\Z)", sys.modules[module].__doc__ or "", re.S | re.M
        )
    methods = ", ".join(name for name in METHODS if hasattr(function, name))
    math = re.search(r"^\.\. math::[ ]*(.*?)(?:\n\n(?=\S)|\Z)", text, re.S | re.M)
    formula = " ".join(math.group(1).split()).replace("&", "") if math else ""
    formula = formula.replace(r"\\", r"\quad ").strip()
    cells = (
        f":class:`~{module}.{function.__name__}`",
        summary,
        f":math:`{formula}`" if formula else "",
        methods,
        re.sub(r"^([A-Z])\. ", r"\1\\. ", " ".join(source.group(1).split())) if source else "",  # no list "A."
    )
    return "   * - " + "\n     - ".join(cells)
