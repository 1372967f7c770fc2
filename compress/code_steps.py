r"""The steps that quantizers with a table of values are made of, for all rows of a layer at once.

.. math:: V_{ij} = T_{i, Q_{ij}}, \qquad \|V X^* - W X\|^2 / p = \text{const} + \operatorname{tr} (V - W') G (V - W')^T

with ``W'`` the unconstrained minimiser. Entries that are ``fixed`` keep a weight of their own (outliers) and take no
part. Everything on the CPU that goes column by column runs in Numba, rows shared among as many threads as torch has;
on other devices the same is said in torch. Of two values at the same distance the lower one is nearest.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

TILE = 128  # columns between two updates of all the others
ROWS = 64  # rows that go through a kernel together, and share what is in the cache


def nearest_codes(values: Tensor, codebook: Tensor) -> Tensor:
    """Codes (m, n) uint8 of the nearest value in the table (m, K), ascending, of every row."""
    middles = (codebook[:, 1:] + codebook[:, :-1]) / 2
    return torch.searchsorted(middles, values.contiguous()).to(torch.uint8)


def lookup(codebook: Tensor, codes: Tensor) -> Tensor:
    """The weights (m, n) that codes (m, n) and a table (m, K) say."""
    return codebook.gather(1, codes.long())


def ascending(codebook: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """The same weights with every row of the table in ascending order."""
    codebook, order = codebook.sort(dim=1, stable=True)
    return codebook, order.argsort(dim=1).gather(1, codes.long()).to(torch.uint8)


def kmeans_codebook(values: Tensor, weights: Tensor, *, bits: int, iterations: int = 30) -> Tensor:
    """Tables (m, 2^bits) by weighted k-means in every row: Lloyd's iterations from the quantiles.

    In one dimension a cluster is a stretch of the sorted row: its mean is a difference of two running sums. An empty
    cluster keeps its value. A row of at most 2^bits distinct values has them as its table.

    Args:
        values: (m, n)
        weights: (m, n) or (n,), non-negative.
        bits: N.
        iterations: number of Lloyd's iterations.
    """
    values, order = values.sort(dim=1)
    table = _quantiles(values, bits)
    if values.device.type != "cpu":
        return kmeans_torch(values, order, weights, table, iterations)
    from ._kernels import ganq as kernels

    arrays = [tensor.contiguous().numpy() for tensor in (values, order, weights.expand(values.shape))]
    written = table.numpy()

    def run(rows: slice) -> None:
        v, o, w = arrays
        kernels.cluster(v[rows], o[rows], w[rows], written[rows], iterations)

    _by_rows(run, len(values))
    return table.sort(dim=1).values


def kmeans_torch(values: Tensor, order: Tensor, weights: Tensor, table: Tensor, iterations: int) -> Tensor:
    """What :func:`kmeans_codebook` does after sorting, on any device."""
    m, n = values.shape
    count = table.shape[1]
    weights = weights.expand(m, n).gather(1, order).double()
    mass = torch.nn.functional.pad(weights.cumsum(1), (1, 0))
    moment = torch.nn.functional.pad((weights * values).cumsum(1), (1, 0))
    rank = torch.nn.functional.pad((values[:, 1:] != values[:, :-1]).cumsum(1), (1, 0))
    distinct = values[:, -1:].repeat(1, count).scatter(1, rank.clamp(max=count - 1), values)
    ends = torch.tensor([0, n], device=values.device).expand(m, 2)
    for _ in range(iterations):
        cuts = torch.searchsorted(values, (table[:, 1:] + table[:, :-1]) / 2, right=True)
        cuts = torch.cat([ends[:, :1], cuts, ends[:, 1:]], dim=1)
        masses, moments = mass.gather(1, cuts).diff(dim=1), moment.gather(1, cuts).diff(dim=1)
        table = torch.where(masses > 0, moments / masses, table.double()).to(values.dtype)
    return torch.where(rank[:, -1:] < count, distinct, table).sort(dim=1).values


def _quantiles(ordered: Tensor, bits: int) -> Tensor:
    middle_of_part = (torch.arange(2**bits, device=ordered.device) + 0.5) * ordered.shape[1] / 2**bits
    return ordered[:, middle_of_part.long()].contiguous()


def substitute(weights: Tensor, codebook: Tensor, factor: Tensor, fixed: Tensor, *, tile: int = TILE) -> Tensor:
    r"""Codes by back substitution in L: the S-step of GANQ, Babai's nearest plane.

    Column j of ``E L`` (``E = W - V``) involves the columns from j on only. From the last one to the first, each code
    is the nearest to ``W_j + sum_{u>j} E_u L_uj / L_jj``. Greedy: it need not descend.

    Args:
        weights: (m, n) what is to be approximated.
        codebook: (m, K) ascending.
        factor: (n, n) lower Cholesky factor L.
        fixed: (m, n) bool; no error is made there.
        tile: columns between two updates of all the columns before them.

    Returns:
        (m, n) uint8.
    """
    diagonal = factor.diagonal()
    factor = factor.tril(-1) + diagonal.clamp(min=1e-6 * float(diagonal.max())).diag()
    if weights.device.type != "cpu":
        return substitute_torch(weights, codebook, factor, fixed, tile=tile)
    from ._kernels import ganq as kernels

    codes = torch.empty(weights.shape, dtype=torch.uint8)
    arrays = [tensor.contiguous().numpy() for tensor in (weights, fixed, codebook, factor, codes)]

    def run(rows: slice) -> None:
        w, f, t, lower, q = arrays
        kernels.substitute(w[rows], f[rows], t[rows], lower, q[rows], tile)

    _by_rows(run, len(weights))
    return codes


def substitute_torch(weights: Tensor, codebook: Tensor, factor: Tensor, fixed: Tensor, *, tile: int = TILE) -> Tensor:
    """What :func:`substitute` does, on any device."""
    n = weights.shape[1]
    middles = (codebook[:, 1:] + codebook[:, :-1]) / 2
    codes = torch.zeros(weights.shape, dtype=torch.int64, device=weights.device)
    errors, carried = torch.zeros_like(weights), torch.zeros_like(weights)
    for stop in range(n, 0, -tile):
        start = max(0, stop - tile)
        for j in range(stop - 1, start - 1, -1):
            inside = errors[:, j + 1 : stop] @ factor[j + 1 : stop, j]
            wanted = weights[:, j] + (carried[:, j] + inside) / factor[j, j]
            code = torch.searchsorted(middles, wanted[:, None])
            codes[:, j] = code.squeeze(1)
            errors[:, j] = (weights[:, j] - codebook.gather(1, code).squeeze(1)) * ~fixed[:, j]
        carried[:, :start] += errors[:, start:stop] @ factor[start:stop, :start]
    return (codes * ~fixed).to(torch.uint8)


def fit_codebook(codebook: Tensor, gram: Tensor, codes: Tensor, fixed: Tensor, residual: Tensor) -> Tensor:
    r"""The best table for given codes: the T-step of GANQ, least squares in 2^N unknowns a row.

    With S the one-hot matrix of a row, ``T += (S G S^T)^+ S (W C - V G)^T``, in float64. What is solved for is the
    change: a value that no column uses, or that the calibration tokens do not determine, stays. A ridge of 1e-10 of
    the diagonal (of the rounding of G, where that is larger) stands for the pseudo-inverse.

    Args:
        codebook: (m, K)
        gram: (n, n) ``G``
        codes: (m, n) uint8
        fixed: (m, n) bool
        residual: (m, n) ``W C - V G`` of the weights that codebook and codes say.

    Returns:
        (m, K), in no particular order.
    """
    K = codebook.shape[1]
    right = torch.zeros(len(codes), K, dtype=torch.float64, device=codes.device)
    right.scatter_add_(1, codes.long(), residual.double().masked_fill(fixed, 0))
    normal = bin_gram(gram, codes, fixed, K)
    diagonal = normal.diagonal(dim1=1, dim2=2)
    scale = torch.where(diagonal > 0, diagonal, 1.0).sqrt()
    ridge = max(1e-10, 10 * torch.finfo(gram.dtype).eps)
    normal = normal / scale[:, :, None] / scale[:, None, :] + torch.eye(K, device=codes.device) * ridge
    normal += torch.diag_embed((diagonal <= 0).double())
    factor, failed = torch.linalg.cholesky_ex(normal)
    change = torch.cholesky_solve((right / scale)[:, :, None], factor).squeeze(2) / scale
    return (codebook + torch.where(failed[:, None] == 0, change, 0.0)).to(codebook.dtype)


def bin_gram(gram: Tensor, codes: Tensor, fixed: Tensor, K: int) -> Tensor:
    """``S G S^T`` of every row, (m, K, K) float64, without the one-hot matrices S."""
    if codes.device.type != "cpu":
        return bin_gram_torch(gram, codes, fixed, K)
    from ._kernels import ganq as kernels

    out = torch.empty(len(codes), K, K, dtype=torch.float64)
    arrays = [tensor.contiguous().numpy() for tensor in (gram, codes, fixed, out)]

    def run(rows: slice) -> None:
        g, q, f, o = arrays
        kernels.bin_gram(g, q[rows], f[rows], o[rows], TILE)

    _by_rows(run, len(codes), 8)
    return out


def bin_gram_torch(gram: Tensor, codes: Tensor, fixed: Tensor, K: int) -> Tensor:
    """What :func:`bin_gram` does, on any device: 2^N products with G."""
    out = torch.zeros(len(codes), K, K, dtype=torch.float64, device=codes.device)
    places = codes.long()
    for code in range(K):
        sums = ((codes == code) & ~fixed).to(gram.dtype) @ gram
        out[:, code].scatter_add_(1, places, sums.double().masked_fill(fixed, 0))
    return out


def descend(codebook: Tensor, gram: Tensor, codes: Tensor, fixed: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
    """One sweep of coordinate descent: every code in turn becomes the best one with all others held.

    Args:
        codebook: (m, K) ascending.
        gram: (n, n) ``G``
        codes: (m, n) uint8
        fixed: (m, n) bool
        residual: (m, n) ``W C - V G`` of the weights that codebook and codes say.

    Returns:
        New codes and their residual.
    """
    if codes.device.type != "cpu":
        return descend_torch(codebook, gram, codes, fixed, residual)
    from ._kernels import ganq as kernels

    codes, residual = codes.clone(), residual.clone(memory_format=torch.contiguous_format)
    arrays = [tensor.contiguous().numpy() for tensor in (codebook, gram, fixed)]
    written = codes.numpy(), residual.numpy()

    def run(rows: slice) -> None:
        t, g, f = arrays
        q, r = written
        kernels.descend(t[rows], g, f[rows], q[rows], r[rows])

    _by_rows(run, len(codes))
    return codes, residual


def descend_torch(
    codebook: Tensor, gram: Tensor, codes: Tensor, fixed: Tensor, residual: Tensor
) -> tuple[Tensor, Tensor]:
    """What :func:`descend` does, on any device."""
    middles = (codebook[:, 1:] + codebook[:, :-1]) / 2
    places, residual = codes.long(), residual.clone()
    curvature = gram.diagonal()
    free = ~fixed & (curvature > 0)
    for j in range(gram.shape[0] - 1, -1, -1):
        old = codebook.gather(1, places[:, j : j + 1])
        code = torch.searchsorted(middles, old + residual[:, j : j + 1] / curvature[j])
        code = torch.where(free[:, j : j + 1], code, places[:, j : j + 1])
        residual -= (codebook.gather(1, code) - old) * gram[j]
        places[:, j] = code.squeeze(1)
    return places.to(torch.uint8), residual


def _by_rows(run: Callable[[slice], None], rows: int, size: int = ROWS) -> None:
    """Run a kernel on all rows, so many at a time, in as many threads as torch uses."""
    parts = [slice(first, first + size) for first in range(0, rows, size)]
    threads = min(torch.get_num_threads(), len(parts))
    if threads <= 1:
        for part in parts:
            run(part)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(run, parts):
            pass
