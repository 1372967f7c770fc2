"""The prox of every function that cvxpy or PyProximal knows, against theirs at random points.

The instances say what they are in the language of the peer: ``CVXPY`` and ``PYPROXIMAL`` in the files of `cases`.
The peers are extras of the development environment; without them this file is skipped.
"""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from typing import Any

import numpy as np
import pytest
import torch

import cases
from cases import CASES

FILES = [importlib.import_module(f"cases.{file.name}") for file in pkgutil.iter_modules(cases.__path__)]
CVXPY = {name: entry for file in FILES for name, entry in getattr(file, "CVXPY", {}).items()}
PYPROXIMAL = {name: entry for file in FILES for name, entry in getattr(file, "PYPROXIMAL", {}).items()}
BY_NAME = {case.name: case for case in CASES}


def double(data: Any) -> torch.Tensor:
    return torch.as_tensor(data, dtype=torch.float64)


def point(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(len(name))
    return BY_NAME[name].points(2 * torch.randn(shape, generator=generator, dtype=torch.float64) + 0.1)


@pytest.mark.parametrize("name", CVXPY)
def test_prox_agrees_with_cvxpy(name):
    # An interior-point solution has half the digits in x that it has in the objective, and is itself off by about
    # 1e-9: the objectives agree to 1e-8, and ours is no larger.
    cp = pytest.importorskip("cvxpy")
    shape, build = CVXPY[name]
    f, v = BY_NAME[name].make(double), point(name, shape)
    for step in (0.4, 1.5):
        x = cp.Variable(shape)
        value, constraints = build(cp, x)
        distance = cp.sum_squares(x - v.numpy()) / (2 * step)
        problem = cp.Problem(cp.Minimize(value + distance), constraints)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            problem.solve(
                solver=cp.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12, tol_ktratio=1e-9, max_iter=200
            )
        assert x.value is not None
        p = f.prox(v, step)
        ours = (f(p) + (p - v).square().sum() / (2 * step)).item()
        size = max(1.0, abs(ours))
        assert abs(ours - problem.value) <= 1e-8 * size
        np.testing.assert_allclose(p.numpy(), x.value, rtol=0, atol=1e-4 * max(1.0, float(v.abs().max())))


@pytest.mark.parametrize("name", PYPROXIMAL)
def test_prox_agrees_with_pyproximal(name):
    pp = pytest.importorskip("pyproximal")
    shape, build = PYPROXIMAL[name]
    f, peer, v = BY_NAME[name].make(double), build(pp), point(name, shape)
    for step in (0.4, 1.5):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = np.asarray(peer.prox(v.numpy().ravel().copy(), step)).reshape(shape)
        np.testing.assert_allclose(f.prox(v, step).numpy(), expected, rtol=0, atol=1e-8)
