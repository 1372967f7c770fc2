r"""A linear layer that keeps its weights as codes of few bits and one table of values per row.

.. math:: y_i = b_i + \sum_j T_{i, Q_{ij}} x_j + \sum_j S_{ij} x_j

At 4 bits it takes an eighth of the memory of a float32 layer. For few tokens (up to eight) the weights are looked up
while they are read: a matrix-vector product is bound by memory, and there is less to read. On a CPU, up to 32 tokens
are served eight at a time; for more, some rows of weights at a time are decoded and multiplied as dense ones.

==================================  ================================================================
where                               how
==================================  ================================================================
CPU with AVX-512 or AVX2            Numba kernels with table lookups in registers
other CPUs; 8 bits                  Numba loops
CUDA with Triton                    a Triton kernel for up to eight tokens, else decoding in torch
other devices; float64              decoding in torch
==================================  ================================================================

Where it is or can be slower than a dense layer it warns once, and says why.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .codebook import Quantized
from .packing import GROUPS, pack, packed_width, unpack

QUANT_METHOD = "optsci_lut"  # how files name the format of this layer
FEW = 8  # tokens for which a lookup that serves them all beats a dense product
SOME = 32  # tokens up to which a CPU looks up, again for every FEW of them, instead of decoding
TILE = 2**22  # weights that are decoded at a time: few products, each on all threads


class LookupLinear(nn.Module):
    r"""A linear layer whose weights are looked up: :math:`y = x V^\top + b`, V as in :class:`Quantized`.

    Sums are accumulated in float32 (float64 inputs or tables: in float64), and the output has the dtype of the input.
    The gradient with respect to the input is that of the dense layer; codes, table and outliers have none.

    Args:
        in_features, out_features: n and m.
        bits: of a code: 2, 3, 4 or 8.
        outliers: number of weights in the sparse correction.
        bias: whether there is one.
        device, dtype: of the buffers; the codes and indices are int32 whatever the dtype.

    >>> q = Quantized(torch.tensor([[0, 1, 1]], dtype=torch.uint8), torch.tensor([[-1.0, 2.0]]))
    >>> layer = LookupLinear.from_quantized(q)
    >>> layer
    LookupLinear(in_features=3, out_features=1, bits=2, outliers=0, bias=False)
    >>> layer.weights
    tensor([[-1.,  2.,  2.]])
    """

    qweight: Tensor  # (m, words) int32, see compress/packing.py
    codebook: Tensor  # (m, 2^bits)
    outlier_values: Tensor | None  # (outliers,) of the dtype of the codebook; CSR, with the next two
    outlier_indices: Tensor | None  # (outliers,) int32 columns
    outlier_rowptr: Tensor | None  # (m + 1,) int32
    bias: Tensor | None  # (m,)

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bits: int,
        outliers: int = 0,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features, self.bits = in_features, out_features, bits

        def zeros(*shape: int, dtype: torch.dtype | None = dtype) -> Tensor:
            return torch.zeros(*shape, device=device, dtype=dtype)

        self.register_buffer("qweight", zeros(out_features, packed_width(in_features, bits), dtype=torch.int32))
        self.register_buffer("codebook", zeros(out_features, 1 << bits))
        self.register_buffer("outlier_values", zeros(outliers) if outliers else None)
        self.register_buffer("outlier_indices", zeros(outliers, dtype=torch.int32) if outliers else None)
        self.register_buffer("outlier_rowptr", zeros(out_features + 1, dtype=torch.int32) if outliers else None)
        self.register_buffer("bias", zeros(out_features) if bias else None)

    @classmethod
    def from_quantized(cls, quantized: Quantized, bias: Tensor | None = None) -> LookupLinear:
        """The layer with these weights, on their device; a number of bits that cannot be packed is rounded up.

        Args:
            quantized: what a quantizer returned.
            bias: (m,), of the dense layer.
        """
        m, n = quantized.codes.shape
        if bias is not None and bias.shape != (m,):
            raise ValueError(f"bias must be ({m},) for codes {(m, n)}, got {tuple(bias.shape)}")
        bits = min(packable for packable in GROUPS if packable >= quantized.bits)
        values, sparse = quantized.codebook.detach(), quantized.outliers
        count = 0 if sparse is None else sparse.values().numel()
        layer = cls(
            n, m, bits=bits, outliers=count, bias=bias is not None, device=quantized.codes.device, dtype=values.dtype
        )
        layer.qweight = pack(quantized.codes, bits)
        layer.codebook = torch.cat([values, values[:, -1:].expand(m, (1 << bits) - values.shape[1])], 1)
        if sparse is not None and count:
            layer.outlier_values = sparse.values().detach().to(values)
            layer.outlier_indices = sparse.col_indices().to(layer.qweight)
            layer.outlier_rowptr = sparse.crow_indices().to(layer.qweight)
        if bias is not None:
            layer.bias = bias.detach().clone()
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """X (…, n) to (…, m)."""
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            raise ValueError(f"x must be (..., {self.in_features}), got {tuple(x.shape)}")
        if not x.is_floating_point():
            raise TypeError(f"x must be floating point, got {x.dtype}")
        rows = x.reshape(-1, self.in_features)
        y = _Product.apply(rows, self) if x.requires_grad and torch.is_grad_enabled() else _product(rows, self)
        if self.bias is not None:
            y = y + self.bias.to(y.dtype)
        return y.view(*x.shape[:-1], self.out_features)

    @property
    def codes(self) -> Tensor:
        """The (m, n) codes, uint8."""
        return unpack(self.qweight, self.bits, self.in_features)

    @property
    def weights(self) -> Tensor:
        """(m, n) dense weights, of the dtype of the codebook."""
        return torch.cat([tile for _, tile in _tiles(self)])

    @property
    def outliers(self) -> int:
        """How many weights have a correction."""
        return 0 if self.outlier_values is None else self.outlier_values.numel()

    def dequantized(self) -> nn.Linear:
        """The dense layer with the same weights."""
        weight = self.weights
        layer = nn.utils.skip_init(
            nn.Linear,
            self.in_features,
            self.out_features,
            bias=self.bias is not None,
            device=weight.device,
            dtype=weight.dtype,
        )
        layer.weight = nn.Parameter(weight)
        if self.bias is not None:
            layer.bias = nn.Parameter(self.bias.detach().clone())
        return layer

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bits={self.bits}, "
            f"outliers={self.outliers}, bias={self.bias is not None}"
        )


def quantization_settings(model: nn.Module) -> dict[str, Any]:
    """What a file must say about the looked-up layers of a model, for its ``quantization_config``."""
    layers = {
        name: {"bits": module.bits, "outliers": module.outliers}
        for name, module in model.named_modules()
        if isinstance(module, LookupLinear)
    }
    return {"quant_method": QUANT_METHOD, "version": 1, "layers": layers}


def kernel_name(layer: LookupLinear, dtype: torch.dtype = torch.float32) -> str:
    """What multiplies a few tokens of this dtype by the layer's weights, where the layer is now: for tables."""
    if torch.float64 in (dtype, layer.codebook.dtype):
        return "torch"
    if layer.codebook.device.type == "cpu":
        from ._kernels import lookup

        return "Numba, scalar" if layer.bits == 8 else f"Numba, {lookup.NAME}"
    return "Triton" if layer.codebook.is_cuda and _triton() and layer.bits != 8 else "torch"


class _Product(torch.autograd.Function):
    """x V^T as a function of x alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: LookupLinear) -> Tensor:
        ctx.layer = layer
        return _product(x, layer)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        parts = (gradient[:, rows] @ tile.to(gradient.dtype) for rows, tile in _tiles(ctx.layer))
        return functools.reduce(torch.add, parts), None


def _product(x: Tensor, layer: LookupLinear) -> Tensor:
    """X (B, n) times the transpose of the weights."""
    name = "torch" if torch.compiler.is_compiling() else kernel_name(layer, x.dtype)
    if not name.startswith(("Numba, AVX", "Triton")):
        _warn_once(f"has no fast kernel here ({layer.codebook.device.type}, {name})", "is")
    elif len(x) > FEW:
        _warn_once(f"looks up or decodes its weights again and again for more than {FEW} tokens", "can be")
    if name == "torch" or (name == "Triton" and len(x) > FEW):
        return torch.cat([F.linear(x, tile.to(x.dtype)) for _, tile in _tiles(layer)], 1)
    if name == "Triton":
        from ._kernels.lookup_triton import product

        return product(x, layer.qweight, layer.codebook, layer.bits, _outliers(layer))
    return _product_on_cpu(x, layer)


def _product_on_cpu(x: Tensor, layer: LookupLinear) -> Tensor:
    from ._kernels import lookup

    threads, n, bits = torch.get_num_threads(), layer.in_features, layer.bits
    rows = x.detach().float().contiguous().numpy()
    words, table = layer.qweight.numpy(), layer.codebook.float().numpy()
    outliers = _outliers(layer)
    sparse = None if outliers is None else (outliers[0].float().numpy(), outliers[1].numpy(), outliers[2].numpy())
    if len(x) <= SOME:
        return torch.from_numpy(lookup.product(rows, words, table, bits, sparse, threads)).to(x.dtype)

    places = torch.from_numpy(lookup.reordered(rows, bits))
    y = torch.empty(layer.out_features, len(x))
    step = max(TILE // len(places), 1)
    tile = torch.empty(min(step, layer.out_features), len(places))
    for first in range(0, layer.out_features, step):
        part = slice(first, min(first + step, layer.out_features))
        weights = tile[: part.stop - first]
        some = None if sparse is None else (*sparse[:2], sparse[2][first : part.stop + 1])
        lookup.decode(words[part], table[part], bits, n, some, threads, weights.numpy())
        torch.mm(weights, places, out=y[part])
    return y.T.to(x.dtype)


def _tiles(layer: LookupLinear) -> Iterator[tuple[slice, Tensor]]:
    """Some rows of dense weights after the other, in the dtype of the codebook."""
    outliers = _outliers(layer)
    for first in range(0, layer.out_features, 1024):
        rows = slice(first, min(first + 1024, layer.out_features))
        codes = unpack(layer.qweight[rows], layer.bits, layer.in_features)
        tile = layer.codebook[rows].gather(1, codes.long())
        if outliers is not None:
            values, columns, rowptr = outliers
            counts = rowptr[first + 1 : rows.stop + 1] - rowptr[first : rows.stop]
            span = slice(int(rowptr[first]), int(rowptr[rows.stop]))
            index = torch.repeat_interleave(torch.arange(len(tile), device=tile.device), counts)
            tile.index_put_((index, columns[span].long()), values[span], accumulate=True)
        yield rows, tile


def _outliers(layer: LookupLinear) -> tuple[Tensor, Tensor, Tensor] | None:
    if layer.outlier_values is None or layer.outlier_indices is None or layer.outlier_rowptr is None:
        return None
    return layer.outlier_values, layer.outlier_indices, layer.outlier_rowptr


@functools.cache
def _triton() -> bool:
    return find_spec("triton") is not None


@functools.cache
def _warn_once(reason: str, verb: str) -> None:
    warnings.warn(
        f"LookupLinear {reason}: it saves memory, but {verb} slower than a dense layer; "
        "where there is memory enough, use dequantized()",
        stacklevel=6,
    )
