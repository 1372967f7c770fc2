"""`import optsci` costs little more than `import torch`, and loads nothing heavy besides it."""

from __future__ import annotations

import os
import subprocess
import sys

HEAVY = ("transformers", "numba", "matplotlib")
SCRIPT = """
import sys, time
import torch
start = time.perf_counter()
import optsci
print(time.perf_counter() - start, *sys.modules)
"""


def import_optsci_after_torch() -> tuple[float, set[str]]:
    """Return the seconds that `import optsci` adds in a fresh interpreter, and the modules loaded there.

    The interpreter keeps bytecode, as installers do, whatever the environment of the tests says: what is measured is
    the import, not the compiler.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    run = [sys.executable, "-c", SCRIPT]
    output = subprocess.run(run, check=True, capture_output=True, text=True, env=environment).stdout
    seconds, *modules = output.split()
    return float(seconds), set(modules)


def test_import_adds_at_most_0_3_seconds_to_torch():
    assert min(import_optsci_after_torch()[0] for _ in range(3)) <= 0.3


def test_import_loads_nothing_heavy():
    _, modules = import_optsci_after_torch()
    assert modules.isdisjoint(HEAVY)
