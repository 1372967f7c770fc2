"""ADMM with many blocks: consensus on a known solution, the divergence of three blocks and its cure."""

from __future__ import annotations

import re
from itertools import islice

import pytest
import torch

import optsci
from optsci import Block, GaussianBackSubstitution, Uncorrected, consensus_admm, multiblock_admm, solve
from problems import lasso


def nth(steps, count):
    """The state of iteration `count`."""
    return next(islice(steps, count - 1, None))


def free_block(column):
    """The zero function of one variable with this column."""
    A = torch.tensor(column, dtype=torch.float64).unsqueeze(1)
    return Block(lambda v, rho: A.mT @ v / A.square().sum(), A)


def three_blocks():
    return [free_block(column) for column in ([1.0, 1.0, 1.0], [1.0, 1.0, 2.0], [1.0, 2.0, 2.0])]


ONES = [[1.0], [1.0], [1.0]]


def test_consensus_solves_the_lasso_in_pieces():
    p = lasso(60, 150, 8)
    A, b = p.data
    pieces = [optsci.LeastSquares(A[i : i + 20], b[i : i + 20]) for i in (0, 20, 40)]
    run = solve(consensus_admm([*pieces, p.g], p.start, rho=3.0), tol=1e-9, max_iter=5000).raise_if_failed()
    torch.testing.assert_close(run.x, p.x, rtol=0, atol=1e-6)
    assert run.state.u.sum(0).norm() < 1e-10
    assert run.state.locals.shape == (4, 150)


def test_direct_three_block_admm_diverges():
    """The largest entry of x exceeds 1e12 for the first time at iteration 991, counted from 0."""
    steps = multiblock_admm(three_blocks(), ONES, correction=Uncorrected())
    sizes = [torch.cat(s.x).abs().max() for s in islice(steps, 1000)]
    assert next(k for k, size in enumerate(sizes) if size > 1e12) == 991


def test_gaussian_back_substitution_converges_where_the_direct_sweep_diverges():
    state = nth(multiblock_admm(three_blocks(), ONES, correction=GaussianBackSubstitution(0.9)), 3000)
    assert torch.cat([*state.x, state.u]).norm() < 1e-15
    assert state.residual < 1e-15


def test_two_blocks_are_admm():
    p = lasso(20, 40, 4)
    eye = torch.eye(40, dtype=torch.float64)
    blocks = [Block(lambda v, rho: p.f.prox(v, 1 / rho), eye), Block(lambda v, rho: p.g.prox(-v, 1 / rho), -eye)]
    pairs = zip(
        multiblock_admm(blocks, [p.start, p.start], rho=3.0), optsci.admm(p.f, p.g, p.start, rho=3.0), strict=False
    )
    for a, b in islice(pairs, 10):
        torch.testing.assert_close(a.x[0], b.x, rtol=0, atol=1e-13)
        torch.testing.assert_close(a.x[1], b.z, rtol=0, atol=1e-13)
        torch.testing.assert_close(a.u, b.u, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: multiblock_admm(three_blocks(), ONES), "ADMM may diverge with 3 blocks"),
        (lambda: multiblock_admm(three_blocks(), ONES[:2]), "not 2 for 3"),
        (lambda: GaussianBackSubstitution(1.0), "factor must lie between 0 and 1, not 1.0"),
        (lambda: consensus_admm([], [0.0]), "functions must hold at least one function"),
        (lambda: consensus_admm([abs], [0.0]), "consensus_admm needs functions[0].prox"),
        (lambda: consensus_admm([optsci.L1(1.0)], [0.0], rho=0), "rho must be finite and positive, got 0.0"),
    ],
)
def test_refusals(call, sentence):
    with pytest.raises((TypeError, ValueError), match=re.escape(sentence)):
        call()
