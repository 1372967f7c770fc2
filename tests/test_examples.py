"""Every example runs as it stands in the gallery, at a reduced size, and prints what it claims."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_every_example_is_tested():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {"plot_lasso", "plot_pruning"}


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
    import optsci.compress.sample as sample

    train = sample.train_tiny_model
    monkeypatch.setattr(sample, "train_tiny_model", lambda text, steps: train(text, steps=100))
    monkeypatch.setattr(plt, "show", lambda: None)
    names = runpy.run_path(str(EXAMPLES / "plot_pruning.py"))
    plt.close("all")
    error = {row.method: row.mean_error for row in names["rows"]}
    for method in ("magnitude", "Wanda", "SparseGPT", "FISTA"):
        assert error[f"{method} + refit"] < error[method]
    assert error["FISTA + refit"] < error["Wanda + refit"]
    assert error["SparseGPT"] < error["Wanda"] < error["magnitude"]
    assert all(row.sparsity == pytest.approx(0.5, abs=1e-3) for row in names["rows"])
    assert len(re.findall(r"model\.layers\.0\.\S+ \(\d+, \d+\) \d+\.\d+%", capsys.readouterr().out)) == 7
