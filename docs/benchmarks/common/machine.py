"""Where numbers were measured, in words for the pages."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

import optsci


def machine() -> str:
    """The cores and their kind, such as "2 cores (x86_64)"."""
    return f"{os.cpu_count()} cores ({platform.machine()})"


def versions(*packages: str) -> str:
    """The versions of optsci, of packages by their names in the registry, and of Python, separated by commas.

    A package that is not installed raises `importlib.metadata.PackageNotFoundError`.

    >>> versions("torch", "numba").split(", ")[2].split()[0]
    'numba'
    """
    numbers = [f"{name} {version(name)}" for name in packages]
    return ", ".join([f"optsci {optsci.__version__}", *numbers, f"Python {platform.python_version()}"])
