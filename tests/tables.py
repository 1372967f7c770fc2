"""Quantized layers for the tests of what is done with them."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from optsci.compress import Quantized


def random_tables(
    m: int, n: int, bits: int, *, outliers: float = 0.0, seed: int = 0, dtype: torch.dtype = torch.float32
) -> Quantized:
    """Random codes and tables, and a correction at a fraction of the places."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(2**bits, (m, n), generator=generator).to(torch.uint8)
    codebook = torch.randn(m, 2**bits, generator=generator).sort(1).values.to(dtype)
    kept = (torch.rand(m, n, generator=generator) < outliers) * torch.randn(m, n, generator=generator)
    return Quantized(codes, codebook, sparse(kept.to(dtype)) if outliers else None)


def rounded(weights: Tensor, bits: int) -> Quantized:
    """Weights rounded to an even grid for every row."""
    low, high = weights.amin(1, keepdim=True), weights.amax(1, keepdim=True)
    grid = low + (high - low) * torch.linspace(0, 1, 2**bits)
    return Quantized((weights[:, :, None] - grid[:, None]).abs().argmin(2).to(torch.uint8), grid)


def sparse(matrix: Tensor) -> Tensor:
    """The matrix in CSR form, without torch's warning that this form is young."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        return matrix.to_sparse_csr()
