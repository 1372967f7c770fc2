import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from optsci.optim import tiles
from optsci.optim.tiles import Numbers, in_turn, padded, pass_in_tiles, row_tiles


@given(st.integers(0, 3000), st.integers(1, 3000), st.integers(0, 200))
def test_tiles_cover_every_row_once(m, n, accumulated):
    found = row_tiles(m, n, accumulated)
    assert [i for tile in found for i in range(m)[tile]] == list(range(m))
    assert all(tile.start % 4 == 0 for tile in found)
    assert len(found) <= tiles.TILES
    assert len(found) == 1 or len(found) * accumulated * 4 <= m or accumulated == 0


@given(
    m=st.integers(1, 23),
    n=st.integers(1, 40),
    k=st.integers(1, 9),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    averages=st.booleans(),
    moves=st.booleans(),
    seed=st.integers(0, 9),
)
def test_a_pass_is_what_the_whole_second_moment_gives(m, n, k, dtype, averages, moves, seed):
    random = torch.Generator().manual_seed(seed)
    shapes = ((m, n), (m, n), (m, n), (m, k), (n, k), (n, k))
    G, M, W, Q, U, X = (torch.randn(*shape, dtype=dtype, generator=random) for shape in shapes)
    P, Y, numbers = torch.empty_like(G), torch.empty_like(Q), Numbers(0.01, 1e-3, 0.9, 0.1, 0.02, 0.99, 0.3)
    average, weights = M.clone(), W.clone()
    products, squares = pass_in_tiles(
        G,
        average if averages else None,
        weights if moves else None,
        Q,
        padded(U[None])[0],
        padded(X[None])[0],
        None if moves else P,
        Y,
        numbers,
    )
    V = (Q @ U.T).clamp(min=0) + 0.01 * G * G
    M = 0.9 * M + 0.1 * G
    expected = M / (torch.maximum(V, 0.02 * M * M).sqrt() + 1e-3) if averages else G / (V.sqrt() + 1e-3)
    close = {"rtol": 1e-4 if dtype is torch.float32 else 1e-12, "atol": 1e-4 if dtype is torch.float32 else 1e-12}
    if moves:
        torch.testing.assert_close(weights, 0.99 * W - 0.3 * expected, **close)
    else:
        torch.testing.assert_close(P, expected, **close)
    if averages:
        torch.testing.assert_close(average, M, **close)
    torch.testing.assert_close(Y, V @ X, **close)
    torch.testing.assert_close(products[:k].T, V.T @ (V @ X), **close)
    assert not products[k:].any()
    torch.testing.assert_close(squares, expected.double().square().sum(), rtol=1e-4, atol=0)


def one_pass(seed=0):
    """A pass over 200 x 64, and what it writes."""
    random = torch.Generator().manual_seed(seed)
    G, M, W = (torch.randn(200, 64, generator=random) for _ in range(3))
    Q, U, X = (torch.rand(*shape, generator=random) for shape in ((200, 3), (64, 3), (64, 3)))
    Y = torch.empty_like(Q)
    numbers = Numbers(0.01, 1e-8, 0.9, 0.1, 0.01, 0.99, 0.3)
    return W, M, Y, *pass_in_tiles(G, M, W, Q, padded(U[None])[0], padded(X[None])[0], None, Y, numbers)


def test_the_number_of_threads_leaves_no_trace_in_the_bits(monkeypatch):
    monkeypatch.setattr(tiles, "TILE", 2000)
    results, before = [], torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(one_pass())
    torch.set_num_threads(before)
    assert len(row_tiles(200, 64, 4)) > 3
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_work_is_shared_and_its_errors_arrive(monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        names = [None] * 6

        def work(i):
            time.sleep(0.01)
            names[i] = os.getpid(), threading.get_ident()

        in_turn(work, 6)
        assert len(set(names)) == 3

        def fail(i):
            if i == 1:
                raise ArithmeticError("one of them")

        with pytest.raises(ArithmeticError, match="one of them"):
            in_turn(fail, 3)
        in_turn(fail, 0)  # nothing to do
    finally:
        torch.set_num_threads(before)


def test_two_optimizers_may_step_in_two_threads():
    """Threads wait for the pool, and never the pool for itself."""

    with ThreadPoolExecutor(2) as pool:
        assert all(torch.equal(x[0], one_pass(i % 2)[0]) for i, x in enumerate(pool.map(one_pass, [0, 1] * 4)))
