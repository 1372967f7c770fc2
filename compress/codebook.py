r"""A quantized layer: every weight is one of few values of its row, which need not be evenly spaced.

.. math:: V_{ij} = T_{i, Q_{ij}} + S_{ij}, \qquad Q_{ij} \in \{0, \dots, 2^N - 1\}

with a table of values (codebook) T of its own for every output row, codes Q and, for methods that set outliers aside, a
sparse correction S.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Quantized:
    """The result of a quantizer.

    Args:
        codes: (m, n) uint8, each below the number of columns of ``codebook``.
        codebook: (m, 2^N) values of every row, ascending.
        outliers: (m, n) sparse CSR tensor that is added to what the codes say, or None. A weight that is kept as it
            is, has the difference to its looked-up value here.

    >>> q = Quantized(torch.tensor([[0, 1, 1]], dtype=torch.uint8), torch.tensor([[-1.0, 2.0]]))
    >>> q.weights, q.bits
    (tensor([[-1.,  2.,  2.]]), 1)
    """

    codes: Tensor
    codebook: Tensor
    outliers: Tensor | None = None

    def __post_init__(self) -> None:
        if self.codes.dtype != torch.uint8 or self.codes.ndim != 2:
            raise ValueError(f"codes must be (m, n) uint8, got {tuple(self.codes.shape)} {self.codes.dtype}")
        if self.codebook.ndim != 2 or len(self.codebook) != len(self.codes):
            raise ValueError(
                f"codebook must be ({len(self.codes)}, 2^N) for codes {tuple(self.codes.shape)}, "
                f"got {tuple(self.codebook.shape)}"
            )
        count = self.codebook.shape[1]
        if count & (count - 1) or not 2 <= count <= 256:
            raise ValueError(f"codebook must have a power of two of columns, 2 to 256, got {count}")
        if self.codes.numel() and int(self.codes.max()) >= count:
            raise ValueError(f"codes must lie below {count}, the columns of codebook, got {int(self.codes.max())}")
        if self.outliers is not None and (
            self.outliers.layout != torch.sparse_csr or self.outliers.shape != self.codes.shape
        ):
            raise ValueError(
                f"outliers must be a sparse CSR tensor {tuple(self.codes.shape)}, "
                f"got {self.outliers.layout} {tuple(self.outliers.shape)}"
            )

    @cached_property
    def weights(self) -> Tensor:
        """(m, n) dense weights, of the dtype of the codebook."""
        looked_up = self.codebook.gather(1, self.codes.long())
        return looked_up if self.outliers is None else looked_up + self.outliers.to_dense().to(looked_up.dtype)

    @property
    def bits(self) -> int:
        """N, bits a code."""
        return self.codebook.shape[1].bit_length() - 1
