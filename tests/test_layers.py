"""The layering of the library, read from the import statements of every file.

A core module imports its own layer or the ones below, algorithms see functions only through protocols,
application folders never see each other, and nobody imports the command line.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
APPLICATIONS = {"pinn", "compress", "optim"}
ALGORITHMS = {
    "momentum",
    "proximal_gradient",
    "adaptive_gradient",
    "quasi_newton",
    "frank_wolfe",
    "differentiation",
    "anderson",
    "splitting",
    "admm",
    "multiblock",
    "primal_dual",
    "restarted_primal_dual",
    "alternating",
    "penalty",
    "sparse_regression",
    "inverse_covariance",
    "bilevel",
    "sketch",
    "lowrank",
    "nystrom_approximation",
    "krylov",
}
NESTING_SOLVES: set[str] = set()  # algorithms that run an inner solve, and may import `iteration` for it
LAYERS = (  # from the bottom up
    {"iteration", "stopping"},
    {"_tensor", "protocols"},
    {"linalg", "_kernels"},
    {"operators", "linear_maps", "operator_algebra"},
    {"functions"},
    ALGORITHMS,
    {"plots"},
    {"__init__"},
    APPLICATIONS,
    {"cli"},
    {"__main__"},
)
HIDDEN = {  # modules of the name of their function, as they should not be
    "optsci": {"admm", "anderson", "frank_wolfe"},
    "pinn": {"lbfgs", "natural_gradient"},
    "compress": {"refit", "speed"},
}
RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}

LIBRARY = sorted(path for folder in ("optsci", *APPLICATIONS) for path in (ROOT / folder).rglob("*.py"))
USERS = sorted(path for folder in ("docs", "examples", "tests") for path in (ROOT / folder).rglob("*.py"))


def package_of(path: Path) -> list[str]:
    """Return the package that holds the file, as installed: ["optsci", "compress"] for compress/walk.py."""
    folders = list(path.relative_to(ROOT).parent.parts)
    return folders if folders[0] == "optsci" else ["optsci", *folders]


def imported_names(path: Path) -> set[str]:
    """Return what the file imports, as absolute dotted names: "optsci.functions.L1", "torch", …"""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = package_of(path)[: 1 - node.level or None] if node.level else []
            module = ".".join([*package, *filter(None, [node.module])])
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def part(name: list[str]) -> str:
    """Return the part of the library that a name belongs to; those of `optsci` itself to its __init__."""
    return name[1] if len(name) > 1 and name[1] in RANK else "__init__"


def imported_parts(path: Path) -> set[str]:
    return {part(name.split(".")) for name in imported_names(path) if name.split(".")[0] == "optsci"}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", LIBRARY, ids=relative)
def test_no_import_from_a_higher_layer(path):
    here = part([*package_of(path), path.stem])
    assert here != "__init__" or path.name == "__init__.py", f"{path.stem} has no place in LAYERS"
    too_high = {other for other in imported_parts(path) if RANK[other] > RANK[here]}
    assert not too_high, f"{here} imports {too_high}, which stand above it"


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_algorithms_see_functions_only_through_protocols(name):
    path = ROOT / "optsci" / f"{name}.py"
    if path.exists():
        allowed = {"iteration"} if name in NESTING_SOLVES else set()
        assert imported_parts(path) & {"functions", "iteration"} <= allowed


@pytest.mark.parametrize("path", LIBRARY, ids=relative)
def test_applications_do_not_import_each_other(path):
    here = part([*package_of(path), path.stem])
    if here in APPLICATIONS:
        assert imported_parts(path) & APPLICATIONS <= {here}


@pytest.mark.parametrize("path", [path for path in LIBRARY if path.name == "__init__.py"], ids=relative)
def test_no_name_of_a_package_hides_one_of_its_modules(path):
    """``import optsci.pinn.lbfgs as m`` makes m the function, where the package has a name lbfgs."""
    package = package_of(path)
    names = {name.split(".")[-1] for name in imported_names(path) if name.split(".")[:-2] == package}
    assert names & {module.stem for module in path.parent.glob("*.py")} == HIDDEN.get(package[-1], set())


@pytest.mark.parametrize("path", LIBRARY + USERS, ids=relative)
def test_application_folders_are_imported_by_their_installed_names(path):
    assert not {name for name in imported_names(path) if name.split(".")[0] in APPLICATIONS}


def test_nobody_imports_the_command_line():
    importers = {path for path in LIBRARY + USERS if "cli" in imported_parts(path)}
    assert {relative(path) for path in importers if "tests" not in path.parts} == {"optsci/__main__.py"}
