"""Sparsity patterns of a weight matrix: small values that turn scores into masks.

``NM(n, m)`` is the core's set (n kept of every m consecutive inputs); ``Unstructured`` says a fraction and leaves the
count to the matrix it meets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from optsci.functions import NM, Sparsity


class Pattern(Protocol):
    """What a pruner needs of a sparsity pattern: the mask (m, n) of the entries to keep, largest scores first."""

    def mask(self, scores: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Unstructured:
    """A fraction of zeros anywhere: the same number in every output row, or counted over the whole matrix.

    Rows of equal count are the default: whole-matrix masks reach a lower layer error and a worse perplexity.

    >>> import torch
    >>> Unstructured(0.5).mask(torch.tensor([[4.0, 3.0], [2.0, 1.0]])).int().tolist()
    [[1, 0], [1, 0]]
    >>> Unstructured(0.5, by_row=False).mask(torch.tensor([[4.0, 3.0], [2.0, 1.0]])).int().tolist()
    [[1, 1], [0, 0]]
    """

    fraction: float
    by_row: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.fraction < 1:
            raise ValueError(f"sparsity must lie in [0, 1): a fraction of zeros, got {self.fraction!r}")

    def mask(self, scores: Tensor) -> Tensor:
        """Boolean mask of what is kept: exactly ``round(fraction * count)`` are dropped, ties go to the lower index."""
        count = scores.shape[-1] if self.by_row else scores.numel()
        return Sparsity(count - round(self.fraction * count), by_row=self.by_row).mask(scores)

    def __str__(self) -> str:
        return f"{self.fraction:.0%} unstructured, {'by row' if self.by_row else 'whole matrix'}"


def parse_sparsity(text: str) -> Unstructured | NM:
    """Read ``"0.5"`` or ``"2:4"`` as people write them on a command line."""
    try:
        if ":" in text:
            kept, group = text.split(":")
            return NM(int(kept), int(group))
        return Unstructured(float(text))
    except ValueError as error:
        raise ValueError(
            "sparsity must be a fraction of zeros in [0, 1) such as 0.5, or N:M such as 2:4 (N kept of M); "
            f"got {text!r}"
        ) from error
