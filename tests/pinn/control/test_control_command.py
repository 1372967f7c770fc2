"""`optsci control`: what it writes, and that every example is as near to its reference as it says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from optsci import cli
from optsci.pinn.commands.control_examples import EXAMPLES
from optsci.pinn.control.control_sets import active_sets
from optsci.pinn.control.plots import plot_control_images, plot_control_lines, set_codes

runner = CliRunner()
FIGURES = {"state", "control", "convergence", "comparison"}
FAST = {"sparse-elliptic", "bilinear-heat"}
REDUCED = {  # sizes, and the largest relative errors that they may leave
    "interface-circle": ({"steps": 40, "widths": (24,), "inner": 300, "on": 60}, {"u": 1e-3, "y": 1e-2, "p": 1e-3}),
    "interface-flower": (
        {"steps": 12, "widths": (16, 16), "rays": (40, 12), "held_out": (32, 17), "cells": 40},
        {"u": 5e-2, "y": 3e-2},
    ),
    "interface-flux": ({"steps": 40, "widths": (24,), "inner": 300, "on": 60}, {"u": 1e-3, "y": 1e-2, "p": 1e-3}),
    "interface-heat": ({"steps": 40, "widths": (12, 12), "inner": 400, "on": 80}, {"u": 5e-2, "y": 5e-2}),
    "moving-interface": ({"steps": 40, "widths": (12, 12), "inner": 400, "on": 80}, {"u": 5e-2, "y": 5e-2}),
    "burgers": ({"steps": 20, "cells": 50, "widths": (12, 12)}, {"u": 2e-2, "y": 1e-2}),
    "inverse-potential": ({"steps": 40, "cells": 60}, {"u": 0.1, "y": 2e-2}),
    "elliptic": ({"steps": 15, "cells": 14, "widths": (8, 8)}, {"u": 0.08, "y": 0.15}),
    "source": ({"steps": 60, "cells": 8, "widths": (48, 32)}, {"u": 0.15, "y": 1e-2}),
    "sparse-heat": ({"steps": 12, "nodes": 300, "width": 24, "cells": 8}, {"u": 2e-2, "y": 1e-2, "p": 2e-2}),
    "sparse-elliptic": ({"cells": 24}, {"u": 1e-6, "y": 1e-6}),
    "bilinear-heat": ({"cells": 8, "times": 8}, {"u": 1e-7, "y": 1e-7}),
}
SNIPPETS = (1e-4, 1e-2, 5e-3, 5e-3, 0.2)  # the largest errors of the snippets of the page


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def run(*arguments):
    return runner.invoke(cli.app, ["control", *map(str, arguments)])


def sizes(name):
    return pytest.param(name, marks=() if name in FAST else pytest.mark.slow)


def test_the_list_has_a_line_for_every_example():
    lines = run("--list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(EXAMPLES) == list(REDUCED)
    assert all(line.endswith(one.about) for line, one in zip(lines, EXAMPLES.values(), strict=True))


@pytest.mark.parametrize("name", [sizes(name) for name in EXAMPLES])
def test_an_example_is_near_to_its_reference(name):
    options, largest = REDUCED[name]
    found = EXAMPLES[name].solve(1, **options)
    assert set(found.figures) == FIGURES
    assert found.errors.keys() >= largest.keys()
    assert {of: error for of, error in found.errors.items() if error > largest.get(of, 1.0)} == {}
    # the objective of the flower, small as y_d is nearly met, feels its error in y
    near = {"interface-flower": 0.1, "elliptic": 0.03, "inverse-potential": 0.1}.get(name, 1e-2)
    assert found.more["objective"] == pytest.approx(found.more["objective_of_reference"], rel=near)
    assert 0 <= sum(found.active.values()) <= 1
    json.dumps([found.errors, found.active, found.more, found.run.history], allow_nan=False)
    # the method came nearer to the reference, or brought its loss down
    falling = found.run.history["error"]
    assert falling[-1] < 0.5 * max(falling)


def test_the_report_of_sparse_control(tmp_path):
    """The objective is the public value of semismooth Newton on this grid."""
    result = run("sparse-elliptic", "--seed", 3, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"report.json", *(f"{n}.png" for n in FIGURES)}
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["settings"] == {"example": "sparse-elliptic", "seed": 3}
    assert report["objective"] == pytest.approx(1.68714407e-2, rel=1e-8)
    assert report["errors"]["u"] <= report["bound"] < 1e-6
    assert report["active"]["zero"] == pytest.approx(0.600, abs=1e-3)
    assert report["active"]["lower"] == pytest.approx(report["active"]["upper"], abs=1e-3)
    assert report["status"] in result.stdout
    assert "relative errors against semismooth Newton on the same grid: u " in result.stdout
    assert "60% zero" in result.stdout


def test_steps_are_a_bound(tmp_path):
    assert run("sparse-elliptic", "--steps", 2, "--out", tmp_path / "run").exit_code == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["iterations"] == 2
    assert "stopped at max_iter=2" in report["status"]


def test_a_name_that_is_none(tmp_path):
    result = run("nothing", "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert result.stderr.startswith("optsci: EXAMPLE must be one of ")
    assert "sparse-elliptic" in result.stderr
    assert result.stderr.endswith("not 'nothing'\n")
    assert not (tmp_path / "run").exists()


def test_files_of_another_run_are_kept(tmp_path):
    (tmp_path / "report.json").write_text("mine")
    result = run("sparse-elliptic", "--out", tmp_path)
    assert result.exit_code == 2
    assert result.stderr.startswith("optsci: ")
    assert "holds files, which may be of another run: give another --out" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert (tmp_path / "report.json").read_text() == "mine"
    assert "exists" in run("sparse-elliptic", "--out", tmp_path / "report.json").stderr


@pytest.mark.parametrize("option", ["--steps", "--seed"])
def test_numbers_out_of_range_are_refused(option):
    result = run("sparse-elliptic", option, -1)
    assert result.exit_code == 2
    assert option in result.stderr


@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.3, 1.0]), min_size=1, max_size=30), st.sampled_from([-1.0, 0.0]))
def test_active_sets_are_disjoint_and_exact(values, lower):
    u = torch.tensor(values).clamp(lower, 1.0)
    sets = active_sets(u, lower, 1.0)
    assert not (sets.lower & sets.zero | sets.lower & sets.upper | sets.zero & sets.upper).any()
    free = ~(sets.lower | sets.zero | sets.upper)
    assert torch.equal(free, (u != lower) & (u != 0) & (u != 1.0))
    codes = set_codes(sets)
    assert [int((codes == k).sum()) for k in range(4)] == [
        int(held.sum()) for held in (sets.lower, sets.zero, free, sets.upper)
    ]


def test_figures_show_the_active_sets():
    u = torch.tensor([[-1.0, 0.0, 0.5], [2.0, 0.0, -1.0]])
    shown = plot_control_images({"u": u}, -1.0, 2.0).axes[1].images[0].get_array()
    assert np.array_equal(shown, [[0, 3], [1, 1], [2, 0]])  # the first coordinate runs to the right
    spans = plot_control_lines([0, 1, 2, 3], {"u": [0.3, 1.0, 1.0, 0.3]}, upper=1.0).axes[0].patches
    assert [(span.get_x(), span.get_x() + span.get_width()) for span in spans] == [(0.5, 2.5)]


@pytest.mark.slow
def test_the_snippets_of_the_page_run(capsys):
    """Each prints the error of its control last."""
    page = (Path(__file__).parents[3] / "docs" / "control.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    for snippet, largest in zip(re.findall(r"```python\n(.*?)```", page, re.DOTALL), SNIPPETS, strict=True):
        exec(snippet, names)
        assert float(capsys.readouterr().out.split()[-1]) < largest
