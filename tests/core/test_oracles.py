"""The prox of every function that cvxpy or PyProximal knows, against theirs at random points.

The instances say what they are in the language of the peer: ``CVXPY`` and ``PYPROXIMAL`` in the files of `cases`.
A third item of an entry for PyProximal brings points to where its answer is a prox, if it is not everywhere; what
follows `` | `` in a name tells several peers of an instance apart.
The peers are extras of the development environment; without them this file is skipped.
"""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import warnings
from typing import Any

import numpy as np
import pytest
import torch

import cases
from cases import CASES
from cases.contract import Case

FILES = [importlib.import_module(f"cases.{file.name}") for file in pkgutil.iter_modules(cases.__path__)]
CVXPY = {name: entry for file in FILES for name, entry in getattr(file, "CVXPY", {}).items()}
PYPROXIMAL = {name: entry for file in FILES for name, entry in getattr(file, "PYPROXIMAL", {}).items()}
BY_NAME = {c.name: c for c in CASES}


def double(data: Any) -> torch.Tensor:
    return torch.as_tensor(data, dtype=torch.float64)


def case(name: str) -> Case:
    return BY_NAME[name.split(" | ")[0]]


def point(name: str, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(100 * len(name) + seed)
    return case(name).points(2 * torch.randn(shape, generator=generator, dtype=torch.float64) + 0.1)


@pytest.mark.parametrize("name", CVXPY)
def test_prox_agrees_with_cvxpy(name):
    # An interior-point solution has half the digits in x that it has in the objective, and is itself off by about
    # 1e-9: the objectives agree to 1e-8, and ours is no larger.
    cp = pytest.importorskip("cvxpy")
    shape, build = CVXPY[name]
    f = case(name).make(double)
    for seed, step in enumerate((0.4, 1.5)):
        v = point(name, shape, seed)
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
    shape, build, *rest = PYPROXIMAL[name]
    fit = rest[0] if rest else lambda v: v
    f, peer = case(name).make(double), build(pp)
    for seed, step in itertools.product(range(4), (0.4, 1.5)):
        v = fit(point(name, shape, seed))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = np.asarray(peer.prox(v.numpy().ravel().copy(), step)).reshape(shape)
        np.testing.assert_allclose(f.prox(v, step).numpy(), expected, rtol=0, atol=1e-8)


def test_enough_functions_have_an_oracle():
    assert len({type(case(name).make(double)) for name in CVXPY}) >= 50
    assert len({type(case(name).make(double)) for name in PYPROXIMAL}) >= 25
