"""Every example runs as it stands in the gallery, at a reduced size, and prints what it claims."""

from __future__ import annotations

import re
import runpy
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.optimize import linprog

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_every_example_is_tested():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {
        "plot_admm_pinn",
        "plot_adapprox",
        "plot_batched_lasso",
        "plot_committor",
        "plot_conditioning",
        "plot_fk_labels",
        "plot_four_holes",
        "plot_interface_control",
        "plot_lasso",
        "plot_linear_program",
        "plot_matrix_completion",
        "plot_optimal_transport",
        "plot_pruning",
        "plot_quantization",
        "plot_source_identification",
        "plot_sparse_control",
        "plot_sparse_inverse_covariance",
        "plot_structured_pruning",
        "plot_tv_denoising",
    }


def run_example(name: str, monkeypatch, **sizes: str) -> dict:
    """Run an example as a script; ``sizes`` replaces pieces of its text, to make it smaller."""
    monkeypatch.setattr(plt, "show", lambda: None)
    path = EXAMPLES / f"{name}.py"
    text = path.read_text(encoding="utf-8")
    for old, new in sizes.values():
        assert old in text
        text = text.replace(old, new)
    names: dict = {"__name__": "__main__"}
    exec(compile(text, str(path), "exec"), names)
    plt.close("all")
    return names


def test_adapprox(monkeypatch):
    names = run_example("plot_adapprox", monkeypatch, steps=("steps = 150", "steps = 20"))
    assert 0.5 < names["bytes_of"]["Adapprox, k = 8"] / names["bytes_of"]["AdamW"] < 0.58
    assert names["bytes_of"]["Adapprox, k = 8, no first moment"] < 0.08 * names["bytes_of"]["AdamW"]
    assert all(curve[-1] < curve[0] - 0.5 for curve in names["curves"].values())
    errors = names["errors"]
    assert all(errors[k] > errors[2 * k] for k in (1, 2, 4, 8))


def test_batched_lasso(capsys, monkeypatch):
    names = run_example("plot_batched_lasso", monkeypatch, batch=("B, m, n = 256,", "B, m, n = 24,"))
    assert names["same"] == 24
    assert names["difference"] <= 1e-12
    assert "24 of 24 problems converged" in capsys.readouterr().out


def test_matrix_completion(monkeypatch):
    names = run_example(
        "plot_matrix_completion", monkeypatch, size=("m, n, rank = 120, 80, 4", "m, n, rank = 60, 50, 3")
    )
    assert names["found"] >= 3
    assert names["convex"] < 0.3
    assert names["exact"] < 1e-6


def test_tv_denoising(monkeypatch):
    names = run_example("plot_tv_denoising", monkeypatch, size=("max_iter=300", "max_iter=100"))
    gap = {name: run.history["gap"][-1] for name, run in names["runs"].items()}
    assert 0 <= gap["accelerated"] < gap["Chambolle-Pock"]
    assert names["psnr"](names["denoised"]) > names["psnr"](names["noisy"]) + 4


def test_optimal_transport(monkeypatch):
    names = run_example("plot_optimal_transport", monkeypatch, side=("side = 12", "side = 6"))
    C, a, b = (names[name].numpy() for name in ("C", "a", "b"))
    n = len(a)
    rows, columns = np.kron(np.eye(n), np.ones(n)), np.kron(np.ones(n), np.eye(n))
    sums, wanted = np.vstack([rows, columns])[:-1], np.concatenate([a, b])[:-1]  # one of them follows from the others
    best = linprog(C.ravel(), A_eq=sums, b_eq=wanted).fun
    assert names["cost"] == pytest.approx(best, rel=2e-3)
    assert names["violation"] < 1e-3
    assert names["bound"] < 1e-3


def test_linear_program(monkeypatch):
    names = run_example("plot_linear_program", monkeypatch, size=("m, n = 60, 150", "m, n = 20, 50"))
    c, A, b = (names[name].numpy() for name in ("c", "A", "b"))
    best = linprog(c, A_eq=A, b_eq=b).fun
    plain, restarted = names["runs"]["Chambolle-Pock"], names["runs"]["restarted"]
    assert restarted.x.numpy() @ c == pytest.approx(best, abs=1e-6)
    assert 2 * restarted.iterations < plain.iterations
    assert names["violation"] < 1e-6
    assert abs(names["gap"]) < 1e-6


def test_sparse_inverse_covariance(monkeypatch):
    names = run_example("plot_sparse_inverse_covariance", monkeypatch)
    assert names["true_edges"] == names["p"] - 1
    assert names["on_support"] < 1e-6
    assert names["elsewhere"] <= 1 + 1e-6
    assert names["difference"] < 1e-7


def test_lasso(capsys, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: None)
    names = runpy.run_path(str(EXAMPLES / "plot_lasso.py"))
    plt.close("all")
    printed = capsys.readouterr().out
    plain, restarted = names["runs"]["FISTA"], names["runs"]["FISTA, restarted"]
    assert restarted.iterations * 2 <= plain.iterations
    assert names["on_support"] < 1e-6
    assert names["elsewhere"] <= 1 + 1e-6
    assert "nonzeros; on the support" in printed


def test_lasso_of_the_readme(capsys):
    readme = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(import numpy.*?)```", readme, re.DOTALL)
    assert code is not None
    exec(compile(code[1], "README.md", "exec"), {})
    assert len(re.findall(r"^converged in \d+ iterations", capsys.readouterr().out, re.MULTILINE)) == 2


def test_pruning(capsys, monkeypatch):
    sizes = {"steps": ("steps=150", "steps=60"), "tokens": ("samples=8", "samples=4")}
    names = run_example("plot_pruning", monkeypatch, windows=("limit=20", "limit=4"), **sizes)
    error = {row.method: row.mean_error for row in names["rows"]}
    for method in ("magnitude", "Wanda", "SparseGPT", "FISTA"):
        assert error[f"{method} + refit"] < error[method]
    assert error["FISTA + refit"] < error["Wanda + refit"]
    assert error["SparseGPT"] < error["Wanda"] < error["magnitude"]
    assert all(row.sparsity == pytest.approx(0.5, abs=1e-3) for row in names["rows"])
    assert len(re.findall(r"model\.layers\.0\.\S+ \(\d+, \d+\) \d+\.\d+%", capsys.readouterr().out)) == 7


def test_structured_pruning(capsys, monkeypatch):
    sizes = {"steps": ("steps=150", "steps=60"), "fractions": ("(0.2, 0.4, 0.6)", "(0.4,)")}
    names = run_example("plot_structured_pruning", monkeypatch, windows=("limit=20", "limit=4"), **sizes)
    removed, error = ({name: points[0][i] for name, points in names["curves"].items()} for i in (0, 1))
    assert set(removed.values()) == {
        0.375
    }  # of 2 (3 · 128 · 128 + 3 · 128 · 384) weights, neurons 192..383 of the MLPs
    assert error["SPAP"] < error["FASP"] < error["FLAP"]
    assert names["again"].config.intermediate_size == 192
    assert names["again"].model.layers[1].mlp.down_proj.weight.shape == (128, 192)
    assert names["same"]
    assert capsys.readouterr().out.count("384 -> 192 neurons, 37.5% of the weights removed") == 3


def test_quantization(monkeypatch):
    sizes = {"steps": ("steps=150", "steps=60"), "bits": ("widths = (4, 3, 2)", "widths = (3,)")}
    names = run_example("plot_quantization", monkeypatch, windows=("limit=20", "limit=4"), **sizes)
    error = {name: names["mean_error"](reports) for (name, _), reports in names["errors"].items()}
    assert error["GANQ*"] < error["GANQ"] < error["GPTQ"] < error["k-means"] < error["round to nearest"]
    weights, row = names["problem"].weight, names["row"]
    grid, learnt = names["grid"].codebook[row], names["learnt"].codebook[row]
    assert grid.diff().numpy() == pytest.approx((weights[row].max() - weights[row].min()).item() / 7, rel=1e-4)
    assert learnt[-1] - learnt[0] < grid[-1] - grid[0]
    assert 4 * names["after"] < names["before"]
    assert names["difference"] < 1e-4


def test_labels(capsys, monkeypatch):
    sizes = {"paths": ("paths=4000", "paths=400"), "steps": ("max_iter=60", "max_iter=25")}
    names = run_example("plot_fk_labels", monkeypatch, fewer=("paths=1000", "paths=100"), **sizes)
    assert names["within"] >= 30  # of 40, where 38 are expected: below with a probability of 1e-5
    assert names["ratio"] == pytest.approx(2, rel=0.15)
    assert 20 * names["error"] < names["label_error"] < 0.5
    assert f"{names['within']} of 40 labels lie within two standard errors" in capsys.readouterr().out


@pytest.mark.slow  # compiles walks in ten dimensions
def test_committor(monkeypatch):
    names = run_example("plot_committor", monkeypatch, paths=("paths=500", "paths=200"))
    assert names["within"] >= 45  # of 60, where 57 are expected
    assert names["error"] < 0.03


def test_conditioning(capsys, monkeypatch):
    names = run_example("plot_conditioning", monkeypatch, steps=("max_iter=600", "max_iter=200"))
    smallest = [found[0].smallest for found in names["conditions"].values()]
    assert smallest == sorted(smallest, reverse=True)
    for found in names["conditions"].values():
        assert all(more.smallest >= less.smallest for less, more in pairwise(found))
        assert 100 * found[-1].condition < found[0].condition
    ends = [float(values[-1]) for values in names["spectra"].values()]
    assert ends == sorted(ends)
    assert 10 * ends[0] < ends[-1]
    assert "well, beta = 8  without labels condition number 3.1e+08" in capsys.readouterr().out


@pytest.mark.slow  # four networks, and compiles walks among holes
def test_four_holes(capsys, monkeypatch):
    names = run_example("plot_four_holes", monkeypatch)
    assert "u(0, 0) = 0.23358" in capsys.readouterr().out
    errors = names["errors"]
    assert min(errors["plain", 1], errors["labels", 1]) > 0.3
    assert max(errors["plain", 1000], errors["labels", 1000]) < 0.03


@pytest.mark.slow  # two networks
def test_interface_control(capsys, monkeypatch):
    names = run_example("plot_interface_control", monkeypatch, steps=("max_iter=40", "max_iter=20"))
    assert names["error"] < 0.01
    assert max(names["jump"], names["boundary"]) < 1e-12
    assert names["control"].abs().max() == 1
    assert "misses its boundary values by" in capsys.readouterr().out
    jump = names["flux"][names["inside"]][-1] / names["flux"][~names["inside"]][0]
    assert float(jump) == pytest.approx(1, abs=0.05)


@pytest.mark.slow
def test_source_identification(capsys, monkeypatch):
    names = run_example(
        "plot_source_identification",
        monkeypatch,
        cells=("side=16, cells=16", "side=16, cells=8"),
        outer=("max_iter=60", "max_iter=30"),
    )
    errors = {name: float(run.history["error"][-1]) for name, run in names["runs"].items()}
    assert max(errors.values()) < 0.1
    assert abs(errors["networks"] - errors["finite elements"]) < 0.02
    assert "64 data, 64 unknowns" in capsys.readouterr().out


def test_sparse_control(capsys, monkeypatch):
    names = run_example("plot_sparse_control", monkeypatch, cells=("cells = 64", "cells = 20"))
    assert "semismooth Newton converged in" in capsys.readouterr().out
    counts = {name: run.iterations for name, run in names["runs"].items()}
    assert counts["tuned, enlarged"] <= counts["tuned"] < 0.4 * counts["sigma = 0.4"]
    assert all(bound >= error for run in names["runs"].values() for bound, error in bounds_and_errors(run))
    assert 0.5 < names["zero"] < 0.7


def bounds_and_errors(run):
    return zip(run.history["bound"], run.history["error"], strict=True)


def test_admm_pinn(capsys, monkeypatch):
    sizes = ("nodes, widths, iterations = 101, (20, 20), 30", "nodes, widths, iterations = 26, (8, 8), 7")
    names = run_example("plot_admm_pinn", monkeypatch, sizes=sizes, steps=("inner_steps=30", "inner_steps=8"))
    assert names["error"] < 2e-2
    assert 0 <= names["excess"] < 1e-3
    assert names["u"].max() == 0.3
    assert "last training" in capsys.readouterr().out
