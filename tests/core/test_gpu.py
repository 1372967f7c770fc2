"""On a CUDA device every function gives what it gives on the CPU, and a batch what its problems give one by one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import optsci
from cases import CASES, Case
from optsci import L1, BatchMatrix, LeastSquares

pytestmark = pytest.mark.gpu


def make(case: Case, device: str) -> Any:
    return case.make(lambda data: torch.as_tensor(data, dtype=torch.float64, device=device))


def cases(*methods: str) -> Any:
    """Run a test for every case with the methods."""
    fitting = [case for case in CASES if all(hasattr(make(case, "cpu"), method) for method in methods)]
    return pytest.mark.parametrize("case", fitting, ids=lambda case: case.name)


def points(case: Case) -> list[Tensor]:
    """A point of every shape that the case is checked for."""
    generator = torch.Generator().manual_seed(11)
    return [case.points(2 * torch.randn(shape, generator=generator, dtype=torch.float64)) for shape in case.shapes]


def assert_same(on_cuda: Tensor, on_cpu: Tensor) -> None:
    assert on_cuda.is_cuda
    assert on_cuda.dtype is on_cpu.dtype is torch.float64
    torch.testing.assert_close(on_cuda.cpu(), on_cpu, rtol=1e-10, atol=1e-10, equal_nan=True)


@cases()
def test_value(case):
    for x in points(case):
        assert_same(make(case, "cuda")(x.cuda()), make(case, "cpu")(x))


@cases("prox")
def test_prox(case):
    on_cuda, on_cpu = make(case, "cuda"), make(case, "cpu")
    for x in points(case):
        assert_same(on_cuda.prox(x.cuda(), 0.3), on_cpu.prox(x, 0.3))
        step = torch.tensor(1.7, dtype=torch.float64)
        assert_same(on_cuda.prox(x.cuda(), step.cuda()), on_cpu.prox(x, step))


@cases("grad")
def test_grad(case):
    for x in map(case.interior, points(case)):
        assert_same(make(case, "cuda").grad(x.cuda()), make(case, "cpu").grad(x))


def test_a_batch_of_lassos():
    count, m, n = 4096, 30, 20
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(count, m, n, generator=generator, dtype=torch.float64)
    b = torch.randn(count, m, generator=generator, dtype=torch.float64)
    f, g = LeastSquares(BatchMatrix(A.cuda()), b.cuda()), L1(2.0)
    step = 1 / f.A.norms() ** 2
    start = torch.zeros(count, n, dtype=torch.float64, device="cuda")
    run = optsci.solve(optsci.fista(f, g, start, step=step, batch_dims=1), tol=1e-10, max_iter=5000, check_every=10)
    assert run.status is optsci.Status.CONVERGED
    assert bool(run.instances.converged.all())
    assert run.x.is_cuda
    for i in range(0, count, count // 8):
        one = LeastSquares(A[i], b[i])
        alone = optsci.solve(optsci.fista(one, g, torch.zeros(n, dtype=torch.float64)), tol=1e-10, max_iter=5000)
        torch.testing.assert_close(run.x[i].cpu(), alone.x, rtol=0, atol=1e-8)
