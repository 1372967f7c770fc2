"""Every function with the parameters and shapes that the contract is checked for, one file for each of its own."""

from __future__ import annotations

import importlib
import pkgutil

from cases.contract import Case

_FILES = [importlib.import_module(f"cases.{file.name}") for file in pkgutil.iter_modules(__path__)]

CASES: list[Case] = [case for file in _FILES for case in getattr(file, "CASES", [])]
METHODS: dict[str, str] = {name: has for file in _FILES for name, has in getattr(file, "METHODS", {}).items()}
