r"""Codes of few bits, packed into 32-bit words.

The codes of a row form one little-endian stream of bits: code j begins at bit ``bits * j`` of it, and bit b of the
stream is bit ``b mod 32`` of word ``b // 32``.

====  =================================================  ====================
bits  a group                                            code j of a group
====  =================================================  ====================
2     16 codes in one word                               bits ``2 j``
3     32 codes in three words, two of them across words  stream bits ``3 j``
4     8 codes in one word                                bits ``4 j``
8     4 codes in one word                                bits ``8 j``
====  =================================================  ====================

A row is filled up to whole groups with code 0.  The layout was fixed for this library; tests pin it by a vector.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

GROUPS = {2: 16, 3: 32, 4: 8, 8: 4}  # bits -> codes in a group, which ends at the end of a word


def pack(codes: Tensor, bits: int) -> Tensor:
    """Pack codes (m, n), each below ``2**bits``, into words (m, :func:`packed_width`), int32.

    Args:
        codes: (m, n) uint8.
        bits: 2, 3, 4 or 8.

    Raises:
        ValueError: another number of bits; codes of another shape or dtype, or too large.

    >>> [hex(word) for word in pack(torch.arange(8, dtype=torch.uint8)[None], 4)[0].tolist()]
    ['0x76543210']
    """
    _check_bits(bits)
    if codes.ndim != 2 or codes.dtype != torch.uint8:
        raise ValueError(f"codes must be (m, n) uint8, got {tuple(codes.shape)} {codes.dtype}")
    if codes.numel() and int(codes.max()) >= 1 << bits:
        raise ValueError(f"codes must lie below {1 << bits} for bits={bits}, got {int(codes.max())}")
    group = GROUPS[bits]
    m, n = codes.shape
    wide = F.pad(codes, (0, -n % group)).view(m, -(-n // group), group).to(torch.int32)
    words = wide.new_zeros(*wide.shape[:2], bits * group // 32)
    for j in range(group):
        word, offset = divmod(bits * j, 32)
        words[..., word] |= wide[..., j] << offset
        if offset + bits > 32:
            words[..., word + 1] |= wide[..., j] >> (32 - offset)
    return words.flatten(1)


def unpack(words: Tensor, bits: int, n: int) -> Tensor:
    """The codes (m, n) uint8 that :func:`pack` packed.

    Args:
        words: (m, ``packed_width(n, bits)``) int32.
        bits: 2, 3, 4 or 8.
        n: codes in a row, without the filling.

    >>> unpack(pack(torch.tensor([[5, 0, 7]], dtype=torch.uint8), 3), 3, 3)
    tensor([[5, 0, 7]], dtype=torch.uint8)
    """
    if words.ndim != 2 or words.dtype != torch.int32 or words.shape[1] != packed_width(n, bits):
        raise ValueError(
            f"words must be (m, {packed_width(n, bits)}) int32 for n={n} codes of {bits} bits, "
            f"got {tuple(words.shape)} {words.dtype}"
        )
    group, top = GROUPS[bits], (1 << bits) - 1
    wide = words.reshape(len(words), -(-n // group), bits * group // 32)
    codes = torch.empty(*wide.shape[:2], group, dtype=torch.uint8, device=words.device)
    for j in range(group):
        word, offset = divmod(bits * j, 32)
        code = (wide[..., word] >> offset) & (top >> max(offset + bits - 32, 0))  # >> copies the sign: cut it off
        if offset + bits > 32:
            code |= (wide[..., word + 1] << (32 - offset)) & top
        codes[..., j] = code
    return codes.flatten(1)[:, :n]


def packed_width(n: int, bits: int) -> int:
    """Words that n codes take."""
    _check_bits(bits)
    return -(-n // GROUPS[bits]) * bits * GROUPS[bits] // 32


def _check_bits(bits: int) -> None:
    if bits not in GROUPS:
        raise ValueError(f"bits must be one of {', '.join(map(str, GROUPS))}, got {bits!r}")
