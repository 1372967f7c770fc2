"""`import optsci` costs little more than `import torch`, and loads nothing heavy besides it."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("transformers", "numba", "matplotlib")
SCRIPT = """
import sys, time
begin = time.process_time()
import torch
start = time.process_time()
import optsci
print((time.process_time() - start) / (start - begin), *sys.modules)
"""


def import_optsci_after_torch() -> tuple[float, set[str]]:
    """Return what `import optsci` adds to `import torch`, as a share of it, and the modules loaded there."""
    output = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True).stdout
    share, *modules = output.split()
    return float(share), set(modules)


def test_import_adds_at_most_a_quarter_to_that_of_torch():
    """A share of processor time, as seconds are those of the machine: on a usual one, less than 0.3 of them."""
    assert min(import_optsci_after_torch()[0] for _ in range(5)) <= 0.25


def test_import_loads_nothing_heavy():
    _, modules = import_optsci_after_torch()
    assert modules.isdisjoint(HEAVY)
