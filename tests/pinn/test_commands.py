"""`optsci pinn` and the part of `optsci demo` about differential equations: what they write, and how they go on."""

from __future__ import annotations

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from optsci import cli
from optsci.pinn import MLP, Interval, Labels, MeanExitTime, load_checkpoint
from optsci.pinn import demo as demonstration
from optsci.pinn.commands import solving
from optsci.pinn.commands.problems import PROBLEMS
from optsci.pinn.demo import Budget, run_demo
from optsci.pinn.named_problems import four_holes, well_exit
from optsci.pinn.plots import plot_error, plot_solution

runner = CliRunner()
SMALL = ("--points", 30, "--hidden", "6")
FILES = {"report.json", "settings.json", "checkpoint.npz", "solution.png", "error.png", "loss.png", "spectrum.png"}


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def true_labels(monkeypatch):
    """Labels without paths: exact values, and standard errors of a thousandth."""

    def labels(problem, points, **options):
        mean = problem.exact(points)
        return Labels(points, mean, 1e-3 * torch.ones_like(mean), torch.zeros_like(mean), 9, "exact")

    for module in (solving, demonstration):
        monkeypatch.setattr(module, "labels", labels)


def run(*arguments):
    return runner.invoke(cli.app, [str(a) for a in arguments])


def report(folder):
    return json.loads((folder / "report.json").read_text())


def test_the_list_has_a_line_for_every_problem():
    lines = run("pinn", "--list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(PROBLEMS)
    assert all(about.about in line for about, line in zip(PROBLEMS.values(), lines, strict=True))


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_has_a_loss(name):
    problem = PROBLEMS[name].make()
    u = MLP(problem.domain.dim, (4,), 1, box=problem.region)
    setup = solving._set_up(problem, u, 0, 2, None, 16, 1.0, 0)
    assert bool(setup.loss(u).isfinite())
    assert setup.labels is None


@pytest.mark.slow  # compiles walks
def test_a_run_with_labels(tmp_path):
    """Real paths; the report says what the checkpoint holds."""
    out = tmp_path / "run"
    result = run("pinn", "well-exit", "--labels", 12, "--paths", 64, "--dt", 0.02, "--steps", 25, *SMALL, "--out", out)
    assert result.exit_code == 0, result.output
    assert "Labels(12 points, 64 paths each, largest standard error" in result.stdout
    assert "stopped at max_iter=25" in result.stdout
    assert {path.name for path in out.iterdir()} == FILES
    found = report(out)
    assert found["label_error"] < 0.6  # 64 paths and dt = 0.02: about 1/8 and the bias
    assert f"relative error {found['relative_error']:.3%}" in result.stdout
    u = MLP(1, (6,), 1, box=Interval(-1.0, 1.0), scale=found["scale"])
    assert load_checkpoint(out / "checkpoint.npz", u).steps == 25
    assert well_exit().relative_error(u) == pytest.approx(found["relative_error"], rel=1e-12)


def test_a_run_that_goes_on_ends_like_one_without_a_break(tmp_path, true_labels):
    command = ("pinn", "well-exit", "--labels", 8, *SMALL)
    result = run(*command, "--steps", 14, "--out", tmp_path / "whole")
    assert result.exit_code == 0, result.output
    assert "Labels(8 points, 9 paths each, largest standard error 0.001" in result.stdout
    assert {path.name for path in (tmp_path / "whole").iterdir()} == FILES
    assert run(*command, "--steps", 5, "--out", tmp_path / "parts").exit_code == 0
    assert run(*command, "--steps", 14, "--out", tmp_path / "parts", "--resume").exit_code == 0
    whole, parts = report(tmp_path / "whole"), report(tmp_path / "parts")
    assert parts["history"]["step"] == list(range(1, 15))
    for name in ("history", "loss", "relative_error", "condition", "steps"):
        assert whole[name] == parts[name]


def test_a_broken_off_run_goes_on_from_its_last_checkpoint(tmp_path, monkeypatch, true_labels):
    save = solving.save_checkpoint

    def save_and_stop(path, state):
        save(path, state)
        raise KeyboardInterrupt

    command = ("pinn", "well-exit", "--labels", 8, *SMALL, "--steps", 14, "--out", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(solving, "save_checkpoint", save_and_stop)
        assert run(*command).exit_code != 0
    assert not (tmp_path / "report.json").exists()
    assert run(*command, "--resume").exit_code == 0
    assert report(tmp_path)["history"]["step"] == [11, 12, 13, 14]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nothing",), "PROBLEM must be one of sine-poisson, ground-state"),
        (("well-exit", "--hidden", "8,x"), "--hidden must be positive numbers with commas between them"),
        (("well-exit", "--dt", "0"), "dt must be a positive number, got 0"),
        (("well-exit", "--dt", "1", "--eps", "1"), "either --dt or --eps may be given"),
        (("well-exit", "--eps", "1e-3"), "drift"),
        (("well-exit", "--resume"), "holds no checkpoint to go on from"),
    ],
)
def test_bad_input_ends_with_a_sentence(tmp_path, arguments, sentence):
    result = run("pinn", *arguments, "--out", tmp_path / "run", *SMALL[:2])
    assert result.exit_code == 2
    assert result.stderr.startswith("optsci: ")
    assert sentence in result.stderr
    assert not (tmp_path / "run" / "report.json").exists()


def test_a_run_is_neither_overwritten_nor_mixed_with_another(tmp_path):
    command = ("pinn", "sine-poisson", "--labels", 0, "--steps", 2, *SMALL, "--out", tmp_path)
    assert run(*command).exit_code == 0
    before = (tmp_path / "checkpoint.npz").read_bytes()
    for options, sentence in (
        ((), "holds a run: give --resume"),
        (("--resume", "--seed", 1), "seed was 0"),
        (("--resume",), "--steps must be more than the 2"),
    ):
        result = run(*command, *options)
        assert result.exit_code == 2
        assert sentence in result.stderr
    assert (tmp_path / "checkpoint.npz").read_bytes() == before


def test_images_are_blank_outside_of_the_region():
    figure = plot_solution(four_holes(), {"ones": lambda x: torch.ones(len(x), 1)})
    image = np.ma.getdata(figure.axes[0].collections[0].get_array()).reshape(-1)
    share = np.isnan(image.astype(float)).mean()
    assert share == pytest.approx(4 * np.pi * 0.1**2, abs=4e-3)
    assert np.nanmin(image.astype(float)) == 1


def test_lines_and_errors():
    problem = MeanExitTime(Interval(-1.0, 1.0), exact=lambda x: 1 - x.square())
    figure = plot_error(problem, {"half": lambda x: 0.5 * (1 - x.square())})
    x, y = figure.axes[0].lines[0].get_data()
    assert np.allclose(y, -0.5 * (1 - np.square(x)))
    with pytest.raises(ValueError, match="exact solution of this problem is not known"):
        plot_error(MeanExitTime(Interval(-1.0, 1.0)), {})


@pytest.mark.slow
def test_the_demonstration(tmp_path, true_labels):
    said = []
    rows = run_demo(tmp_path, say=said.append, progress=False, budget=Budget(adam=200, lbfgs=120, gauss_newton=15))
    plain, labelled, *_ = rows
    assert plain.loss < 1e-2
    assert plain.error > 0.9
    assert labelled.error < 0.02
    assert labelled.smallest > plain.smallest
    assert "a small loss is no small error" in "\n".join(said)
    written = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert [row["error"] for row in written] == [row.error for row in rows]
    assert len(list(tmp_path.glob("*.png"))) == 4


def test_the_demo_leaves_the_language_model_out_where_it_cannot_run(tmp_path, monkeypatch):
    parts = []
    monkeypatch.setattr(cli, "demo_of_compression", lambda **options: parts.append(("compression", options["out"])))
    monkeypatch.setattr(cli, "demo_of_pinn", lambda out: parts.append(("pinn", out)))
    assert run("demo", "--out", tmp_path).exit_code == 0
    assert run("demo", "--out", tmp_path, "--pinn").exit_code == 0
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
    assert "the language model is left out" in run("demo", "--out", tmp_path).stdout
    pinn = ("pinn", tmp_path / "pinn")
    assert parts == [("compression", tmp_path), pinn, pinn, pinn]


def test_exit_times_of_the_demonstration_are_those_of_the_problem():
    assert well_exit(demonstration.BETA).exact(torch.zeros(1, 1)).item() == pytest.approx(27.4327, abs=1e-3)
