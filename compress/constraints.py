"""Sparsity patterns of a weight matrix: small values that turn scores into masks.

``NM(n, m)`` is the core's set (n kept of every m consecutive inputs); ``Unstructured`` says a fraction and leaves the
count to the matrix it meets.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Protocol

from torch import Tensor

from optsci.functions import NM, Sparsity


class Pattern(Protocol):
    """What a pruner needs of a sparsity pattern: the mask (m, n) of the entries to keep, largest scores first."""

    def mask(self, scores: Tensor) -> Tensor: ...


def require_pattern(sparsity: Pattern) -> None:
    """Refuse what is no pattern, a bare fraction for one."""
    if isinstance(sparsity, type) or not callable(getattr(sparsity, "mask", None)):
        meant = f"Unstructured({sparsity})" if isinstance(sparsity, float) else "Unstructured(0.5) or NM(2, 4)"
        raise TypeError(f"sparsity must be a pattern, such as {meant}, got {sparsity!r}")


@dataclass(frozen=True)
class Unstructured:
    """A fraction of zeros anywhere: the same number in every output row, or counted over the whole matrix.

    Rows of equal count are the default, as in Wanda: every output keeps the same budget.

    >>> import torch
    >>> Unstructured(0.5).mask(torch.tensor([[4.0, 3.0], [2.0, 1.0]])).int().tolist()
    [[1, 0], [1, 0]]
    >>> Unstructured(0.5, by_row=False).mask(torch.tensor([[4.0, 3.0], [2.0, 1.0]])).int().tolist()
    [[1, 1], [0, 0]]
    """

    fraction: float
    by_row: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.fraction, Real):
            raise TypeError(f"sparsity must be a number, a fraction of zeros, got {self.fraction!r}")
        if not 0 <= self.fraction < 1:
            raise ValueError(f"sparsity must lie in [0, 1): a fraction of zeros, got {self.fraction!r}")

    def mask(self, scores: Tensor) -> Tensor:
        """Boolean mask of what is kept: exactly ``round(fraction * count)`` are dropped, ties go to the lower index."""
        count = scores.shape[-1] if self.by_row else scores.numel()
        return Sparsity(count - round(self.fraction * count), by_row=self.by_row).mask(scores)

    def __str__(self) -> str:
        return f"{100 * self.fraction:g}% unstructured, {'by row' if self.by_row else 'whole matrix'}"


def parse_sparsity(text: str, *, by_row: bool = True) -> Unstructured | NM:
    """Read ``"0.5"`` or ``"2:4"`` as people write them on a command line; ``by_row`` is that of ``Unstructured``."""
    try:
        if ":" not in text:
            return Unstructured(float(text), by_row=by_row)
        kept, group = (int(number) for number in text.split(":"))
        pattern = NM(kept, group)
    except ValueError as error:
        raise ValueError(
            "sparsity must be a fraction of zeros in [0, 1) such as 0.5, or N:M such as 2:4 (N kept of M); "
            f"got {text!r}"
        ) from error
    if pattern.n == 0:
        raise ValueError(f"sparsity {text!r} keeps nothing: N of N:M counts what is kept, and must be at least 1")
    if not by_row:
        raise ValueError(f"sparsity {text!r} has its zeros in every group: only a fraction counts over a whole matrix")
    return pattern
