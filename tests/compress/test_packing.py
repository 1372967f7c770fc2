"""Packed codes: the layout by fixed vectors and by a stream of bits, and the way back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from optsci.compress.packing import pack, packed_width, unpack

BITS = (2, 3, 4, 8)


@st.composite
def codes(draw):
    bits, m, n = draw(st.sampled_from(BITS)), draw(st.integers(0, 4)), draw(st.integers(0, 100))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    return bits, torch.randint(2**bits, (m, n), generator=generator).to(torch.uint8)


@given(codes())
def test_the_way_back(case):
    bits, q = case
    packed = pack(q, bits)
    assert packed.dtype == torch.int32
    assert packed.shape == (q.shape[0], packed_width(q.shape[1], bits))
    assert torch.equal(unpack(packed, bits, q.shape[1]), q)


@given(codes())
def test_words_are_a_little_endian_stream_of_bits(case):
    bits, q = case
    for row, words in zip(q.tolist(), pack(q, bits).tolist(), strict=True):
        stream = sum(code << (bits * j) for j, code in enumerate(row))
        assert words == [_signed(stream >> (32 * k) & 0xFFFFFFFF) for k in range(len(words))]


@pytest.mark.parametrize(
    ("bits", "row", "words"),
    [
        (4, [*range(16)], [0x76543210, 0xFEDCBA98]),
        (4, [15] * 9, [0xFFFFFFFF, 0x0000000F]),
        (3, [j % 8 for j in range(32)], [0x88FAC688, 0xC688FAC6, 0xFAC688FA]),
        (3, [0] * 10 + [7], [0xC0000000, 0x00000001, 0]),
        (2, [0, 1, 2, 3] * 4, [0xE4E4E4E4]),
        (8, [1, 2, 3, 255], [0xFF030201]),
    ],
)
def test_fixed_vectors(bits, row, words):
    packed = pack(torch.tensor([row], dtype=torch.uint8), bits)
    assert packed.tolist() == [[_signed(word) for word in words]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pack(torch.zeros(1, 1, dtype=torch.uint8), 5), "bits must be one of 2, 3, 4, 8, got 5"),
        (lambda: pack(torch.zeros(1, 1), 4), r"codes must be \(m, n\) uint8"),
        (lambda: pack(torch.full((1, 1), 8, dtype=torch.uint8), 3), "codes must lie below 8 for bits=3, got 8"),
        (lambda: unpack(torch.zeros(1, 2, dtype=torch.int32), 4, 5), r"words must be \(m, 1\) int32"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def _signed(word):
    return word - 2**32 if word >= 2**31 else word
