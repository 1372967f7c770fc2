"""What the scripts in docs/benchmarks share: whole files, runs that no process loses, times in turns."""

from __future__ import annotations

import ast
import doctest
import fcntl
import importlib
import importlib.metadata
import math
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "benchmarks"
SCRIPTS = sorted(FOLDER.glob("*.py"))

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(FOLDER)  # as for a script that runs; not for other tests: its names are common words
    MODULES = {
        f"common.{path.stem}": importlib.import_module(f"common.{path.stem}")
        for path in (FOLDER / "common").glob("[!_]*.py")
    }
    from common.files import save
    from common.machine import machine, versions
    from common.runs import change, content, keep, kept
    from common.timing import alternating


@dataclass(frozen=True)
class Run:
    name: str
    error: float
    curve: list[float]
    errors: dict[str, float]


@pytest.mark.parametrize("name", sorted(MODULES))
def test_doctests(name):
    assert doctest.testmod(MODULES[name]).failed == 0


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_import_what_is_there(path):
    """No other test runs most of the scripts, and some run for hours before they use a name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("common"):
            assert {alias.name for alias in node.names} <= vars(MODULES[node.module]).keys()


def test_a_page_stays_whole_where_writing_stops(tmp_path):
    page = tmp_path / "page.md"
    save(page, "whole\n")
    with pytest.raises(UnicodeEncodeError):
        save(page, "half \udc80")
    assert page.read_text() == "whole\n"


def test_runs_come_back_as_they_were(tmp_path, capsys):
    path = tmp_path / "runs.json"
    assert kept(path, Run) == []
    runs = [Run("κ", 1e-300, [0.1, math.inf], {"u": 0.5}), Run("", 0.1, [], {})]
    for run in runs:
        keep(path, run)
    assert kept(path, Run) == runs
    assert capsys.readouterr().out == "".join(f"{run}\n" for run in runs)
    keep(path, Run("last", math.nan, [], {}))
    assert math.isnan(kept(path, Run)[-1].error)
    assert [file.name for file in tmp_path.iterdir()] == ["runs.json"]


def test_an_entry_of_another_version_is_refused_and_not_lost(tmp_path):
    path = tmp_path / "runs.json"
    save(path, '[{"name": "old"}]')
    with pytest.raises(TypeError, match="missing 3 required positional arguments"):
        kept(path, Run)
    keep(path, Run("new", 0.0, [], {}))
    assert [entry["name"] for entry in content(path, [])] == ["old", "new"]


def test_content_that_is_no_list_changes_too(tmp_path):
    path = tmp_path / "parts.json"
    assert content(path, {}) == {}
    for name in ("a", "b"):
        change(path, {}, lambda found, name=name: found | {name: [1, None]})
    assert content(path, {}) == {"a": [1, None], "b": [1, None]}


def test_a_change_that_fails_leaves_the_file_and_gives_the_lock_back(tmp_path):
    path = tmp_path / "runs.json"
    save(path, "[1]")
    with pytest.raises(TypeError, match="not JSON serializable"):
        change(path, [], lambda found: [*found, object()])
    assert path.read_text() == "[1]"
    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where the lock was not given back
    os.close(handle)


def test_two_processes_lose_no_entry(tmp_path):
    program = """
import pathlib, sys
from dataclasses import dataclass
from common.runs import keep
@dataclass
class Run:
    process: str
    i: int
print("ready", flush=True)
sys.stdin.readline()
for i in range(50):
    keep(pathlib.Path(sys.argv[2]), Run(sys.argv[1], i))
"""
    path = tmp_path / "runs.json"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, name, str(path)],
            env=os.environ | {"PYTHONPATH": str(FOLDER)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in "ab"
    ]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 2
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()  # both start adding now
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0, 0]
    entries = content(path, [])
    for name in "ab":
        assert [entry["i"] for entry in entries if entry["process"] == name] == list(range(50))
    assert len(entries) == 100


def test_versions_and_machine():
    import torch

    import optsci

    python = ".".join(map(str, sys.version_info[:3]))
    assert versions("torch") == f"optsci {optsci.__version__}, torch {torch.__version__}, Python {python}"
    assert machine().startswith(f"{os.cpu_count()} cores (")
    with pytest.raises(importlib.metadata.PackageNotFoundError, match="no-such-package"):
        versions("no-such-package")


class Clock:
    """A clock that only calls move."""

    def __init__(self):
        self.now, self.order = 0.0, []

    def __call__(self):
        return self.now

    def call(self, name, seconds):
        """A call of so many seconds, and one more in every round."""

        def run():
            self.order.append(name)
            self.now += seconds + self.order.count(name)

        return run


def test_calls_take_turns_and_warm_rounds_do_not_count():
    clock = Clock()
    calls = {name: clock.call(name, seconds) for name, seconds in (("a", 100), ("b", 200))}
    seconds = alternating(calls, 3, warm=2, clock=clock)
    assert seconds == {"a": [103, 104, 105], "b": [203, 204, 205]}
    assert clock.order == ["a", "b"] * 5


def test_a_generator_draws_another_order_for_every_round():
    clock = Clock()
    calls = {name: clock.call(name, seconds) for name, seconds in (("a", 100), ("b", 200), ("c", 300))}
    seconds = alternating(calls, 20, warm=1, clock=clock, generator=random.Random(0))
    rounds = [tuple(clock.order[i : i + 3]) for i in range(0, 63, 3)]
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert len(set(rounds)) == 6  # all orders there are
    assert seconds == {name: [base + i for i in range(2, 22)] for name, base in (("a", 100), ("b", 200), ("c", 300))}


def test_processor_time_by_default():
    import time

    seconds = alternating({"asleep": lambda: time.sleep(0.05)}, 1)
    assert seconds["asleep"][0] < 0.04


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": 0}, "rounds must be at least 1, not 0"),
        ({"rounds": 1, "warm": -1}, "warm must be at least 0, not -1"),
    ],
    ids=["rounds", "warm"],
)
def test_impossible_numbers_of_rounds(options, message):
    ran = []
    with pytest.raises(ValueError, match=message):
        alternating({"a": lambda: ran.append(1)}, **options)
    assert ran == []
