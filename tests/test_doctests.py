"""Every doctest of the library, under the real module names.

`pytest --doctest-modules` would import the folders at the root as `pinn.…`, `compress.…` and `optim.…`, which
their guards stop, and `optsci.__path__` does not lead to them: so the four packages are named one by one.
"""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import optsci
import optsci.compress
import optsci.optim
import optsci.pinn

PACKAGES = (optsci, optsci.pinn, optsci.compress, optsci.optim)
MODULES = sorted(
    {package.__name__ for package in PACKAGES}
    | {
        module.name
        for package in PACKAGES
        for module in pkgutil.walk_packages(package.__path__, prefix=f"{package.__name__}.")
    }
)


@pytest.mark.parametrize("name", MODULES)
def test_doctests(name):
    if name.endswith("_triton"):
        pytest.importorskip("triton", reason="Triton comes with the CUDA builds of torch only")
    assert doctest.testmod(importlib.import_module(name)).failed == 0
