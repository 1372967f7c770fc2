import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from optsci.optim import tiles
from optsci.optim.tiles import in_turn, padded, pass_in_tiles, row_tiles


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
    seed=st.integers(0, 9),
)
def test_a_pass_is_the_products_with_the_whole_second_moment(m, n, k, dtype, seed):
    random = torch.Generator().manual_seed(seed)
    G, Q, U, X = (torch.randn(*shape, dtype=dtype, generator=random) for shape in ((m, n), (m, k), (n, k), (n, k)))
    P, Y = torch.empty_like(G), torch.empty_like(Q)
    past, directions = padded(U[None])[0], padded(X[None])[0]
    products, squares = pass_in_tiles(G, Q, past, directions, 0.01, 1e-3, P, Y)
    V = (Q @ U.T).clamp(min=0) + 0.01 * G * G
    expected = G / (V.sqrt() + 1e-3)
    close = {"rtol": 1e-4 if dtype is torch.float32 else 1e-12, "atol": 1e-4 if dtype is torch.float32 else 1e-12}
    torch.testing.assert_close(P, expected, **close)
    torch.testing.assert_close(Y, V @ X, **close)
    torch.testing.assert_close(products[:k].T, V.T @ (V @ X), **close)
    assert not products[k:].any()
    torch.testing.assert_close(squares, expected.double().square().sum(), rtol=1e-5, atol=0)


def test_the_number_of_threads_leaves_no_trace_in_the_bits(monkeypatch):
    monkeypatch.setattr(tiles, "TILE", 2000)
    G, Q, U, X = torch.randn(200, 64), torch.rand(200, 3), torch.rand(64, 3), torch.rand(64, 3)
    results, before = [], torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        P, Y = torch.empty_like(G), torch.empty_like(Q)
        results.append((P, Y, *pass_in_tiles(G, Q, padded(U[None])[0], padded(X[None])[0], 0.01, 1e-8, P, Y)))
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

    def work(seed):
        G, Q, U = torch.randn(300, 40), torch.rand(300, 4), torch.rand(40, 4)
        P, Y = torch.empty_like(G), torch.empty_like(Q)
        return pass_in_tiles(G, Q, padded(U[None])[0], padded(U[None])[0], 0.01, 1e-8, P, Y)[1]

    with ThreadPoolExecutor(2) as pool:
        assert all(x.isfinite() for x in pool.map(work, range(8)))
