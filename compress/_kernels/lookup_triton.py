"""Products of up to eight tokens with weights that are looked up while they are read, on the GPU."""

# mypy: allow-incomplete-defs

import torch
import triton
import triton.language as tl

ROWS, COLUMNS = 16, 128  # of the weights that one program looks up at a time


def product(x, words, table, bits, outliers):
    """Multiply x (B, n) by looked-up weights; the result is (B, m), of the dtype of x, accumulated in float32.

    words: (m, width) int32; table: (m, 2^bits); outliers: None or (values, columns, row pointers).
    """
    x = x.contiguous()
    tokens, n = x.shape
    m, width = words.shape
    y = torch.empty(tokens, m, dtype=torch.float32, device=x.device)
    if tokens == 0:
        return y.to(x.dtype)
    _look_up[(triton.cdiv(m, ROWS),)](
        x, words, table, y, m, n, width, tokens, triton.next_power_of_2(tokens), bits, ROWS, COLUMNS
    )
    if outliers is not None:
        values, columns, rowptr = outliers
        rows = torch.repeat_interleave(
            torch.arange(m, device=x.device), rowptr.diff(), output_size=len(values)
        )  # the size is given, so that nothing waits for the device
        y.index_add_(1, rows, x.float()[:, columns.long()] * values.float())
    return y.to(x.dtype)


@triton.jit
def _look_up(
    x,
    words,
    table,
    y,
    m,
    n,
    width,
    tokens,
    TOKENS: tl.constexpr,
    BITS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)
    token = tl.arange(0, TOKENS)
    total = tl.zeros((TOKENS, ROWS), dtype=tl.float32)
    for first in range(0, n, COLUMNS):
        column = first + tl.arange(0, COLUMNS)
        inside = (row < m)[:, None] & (column < n)[None, :]
        place = BITS * column // 32
        offset = (BITS * column % 32).to(tl.uint32)[None, :]
        word = tl.load(words + row[:, None] * width + place[None, :], mask=inside, other=0)
        code = word.to(tl.uint32, bitcast=True) >> offset
        if BITS == 3:  # two codes of 32 begin in one word and end in the next
            across = offset > 29
            following = tl.load(words + row[:, None] * width + place[None, :] + 1, mask=inside & across, other=0)
            code = code | tl.where(across, following.to(tl.uint32, bitcast=True) << ((32 - offset) & 31), 0)
        code = (code & ((1 << BITS) - 1)).to(tl.int32)
        weight = tl.load(table + row[:, None] * (1 << BITS) + code, mask=inside, other=0).to(tl.float32)
        known = (token < tokens)[:, None] & (column < n)[None, :]
        factor = tl.load(x + token[:, None] * n + column[None, :], mask=known, other=0).to(tl.float32)
        total += tl.sum(factor[:, None, :] * weight[None, :, :], axis=2)
    tl.store(y + token[:, None] * m + row[None, :], total, mask=(token < tokens)[:, None] & (row < m)[None, :])
