"""Products with weights that are looked up while they are read: y[b, i] = sum over j of T[i, Q[i, j]] x[b, j].

A table of 16 values is one AVX-512 register, and looking up 16 codes is one instruction (vpermps); with AVX2 it is two
of 8 values each, of which bit 3 of the code picks one.  Numba would not find these instructions in a loop, so they are
written in LLVM's language, for the processor that compiles them.

A register of packed words holds many codes, and shifting all its lanes alike brings one code of every word to the low
bits.  So the columns come in the order (place in the word, lane), not 0, 1, 2, …: `column_order` says which, and x is
put into that order once for every product.  3-bit codes that lie across two words get places of their own.
"""

# mypy: disable-error-code="attr-defined, call-arg"
# (Numba changes what a decorated function takes, and makes its settings at run time.)

import functools
import itertools
import os
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

PERMUTED = (2, 3, 4)  # bits whose tables fit into registers
SHARED = 2**21  # lookups from which on other threads help
BATCHES = (1, 2, 4, 8)  # how many rows of x one lookup serves


def _vector_lanes():
    """32-bit lanes of the widest table lookup of this processor: 16, 8, or 0 where it has none."""
    if numba.config.CPU_NAME or numba.config.CPU_FEATURES is not None:  # someone compiles for another processor
        return 0
    features = binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 16
    return 8 if features.get("avx2") and features.get("fma") else 0


LANES = _vector_lanes()
NAME = {16: "AVX-512", 8: "AVX2", 0: "scalar"}[LANES]


@functools.lru_cache(maxsize=64)
def column_order(n, bits):
    """The column that stands at every place of a reordered row, or -1 where there is none."""
    if LANES == 0 or bits == 8:
        return np.arange(n, dtype=np.int32)
    per = 32 // bits
    if bits == 3:  # lane t of the words: word t % 3 of group t // 3 holds 10 whole codes and may begin an eleventh
        group, part = np.divmod(np.arange(3 * LANES), 3)
        places = np.arange(per + 1)[:, None]
        columns = 32 * group + 11 * part + places
        columns[(places == per) & (part == 2)] = -1
        columns = columns.reshape(per + 1, 3, LANES).swapaxes(0, 1)
    elif bits == 4 and LANES == 8:
        byte = 4 * np.arange(4)[:, None] + np.array([0, 1, 2, 3, 16, 17, 18, 19])
        columns = 2 * byte + np.arange(2)[:, None, None]
    else:
        columns = per * np.arange(LANES) + np.arange(per)[:, None]
    chunk = 32 * LANES if bits == 3 else per * LANES
    chunks = -(-n // chunk)
    order = np.where(columns < 0, -1, columns + chunk * np.arange(chunks).reshape(-1, *[1] * columns.ndim)).ravel()
    return np.where(order < n, order, -1).astype(np.int32)


def product(x, words, table, bits, outliers, threads):
    """Multiply x (B, n), B at most 8, float32, by looked-up weights; the result is (B, m).

    words: (m, width) int32; table: (m, 2^bits) float32; outliers: None or (values float32, columns, row pointers).
    """
    m, batch = len(words), next(b for b in BATCHES if b >= len(x))
    lanes = max(LANES, 1) if bits != 8 else 1
    places, source = _arrange(x, column_order(x.shape[1], bits), lanes, batch), _Source(words, x.shape[1], bits)
    out = np.empty((m, batch), np.float32)
    arguments = (source.words, source.tail, source.split, table, places, out, source.chunks, bits)
    _share(threads, m, batch * x.shape[1], lambda first, last: _products(first, last, *arguments))
    if outliers is not None:
        _add_products_of_outliers(x, *outliers, out)
    return out.T[: len(x)]


def decode(words, table, bits, n, outliers, threads, out):
    """Weights of some rows into out (rows, places), float32, columns in the order of `column_order`."""
    source = _Source(words, n, bits)
    arguments = (source.words, source.tail, source.split, table, out, source.chunks, bits)
    _share(threads, len(words), n, lambda first, last: _decode(first, last, *arguments))
    if outliers is not None:
        _add_outliers(*outliers, place_of_column(n, bits), out)


def reordered(x, bits):
    """X (B, n) with its columns in the order of `column_order`, as (places, B): the partner of `decode`."""
    return _arrange(x, column_order(x.shape[1], bits), 1, len(x)).reshape(-1, len(x))


def _share(threads, rows, cost, work):
    """Run work(first, last) for all rows, on several threads where there is enough to do.

    Not by Numba's prange: its threads and those of torch wait for work in busy loops, in two pools that know nothing of
    each other, and where there are as many threads as cores each pool keeps the other one from its cores for
    milliseconds.  Here every thread takes the next part that is left, so a thread that comes late holds up nobody.
    """
    if threads == 1 or rows * cost < SHARED:
        work(0, rows)
        return
    count = 4 * threads
    parts = iter(range(count))

    def take():
        for part in parts:
            work(part * rows // count, (part + 1) * rows // count)

    others = [_pool(os.getpid(), threads - 1).submit(take) for _ in range(threads - 1)]
    take()
    for other in others:
        if not other.cancel():
            other.result()


@functools.cache
def _pool(process, threads):
    """Threads of this process: those of a parent do not live on in a fork."""
    return ThreadPoolExecutor(threads, "optsci-lookup")


@functools.lru_cache(maxsize=64)
def place_of_column(n, bits):
    """The inverse of `column_order`."""
    order = column_order(n, bits)
    places = np.empty(n, np.int32)
    places[order[order >= 0]] = np.flatnonzero(order >= 0)
    return places


class _Source:
    """The words of a matrix, and a copy of its last rows with room behind them: whole registers are read."""

    def __init__(self, words, n, bits):
        m, width = words.shape
        per_chunk = max(LANES, 1) * (3 if bits == 3 else 1)
        self.words = words
        self.chunks = -(-n // (per_chunk * 32 // bits)) if LANES and bits != 8 else n
        beyond = self.chunks * per_chunk + 1 - width if LANES and bits != 8 else 0
        self.split = max(m - -(-beyond // max(width, 1)), 0) if beyond > 0 else m
        self.tail = np.zeros((m - self.split + 1) * width + max(beyond, 0), np.int32)
        self.tail[: (m - self.split) * width] = words[self.split :].ravel()


@njit(cache=True)
def _arrange(x, order, lanes, batch):
    """X in the order (register, row of x, lane); 0 where there is no column or no row."""
    out = np.zeros(len(order) * batch, np.float32)
    for place in range(len(order)):
        register, lane = divmod(place, lanes)
        if order[place] >= 0:
            for b in range(len(x)):
                out[(register * batch + b) * lanes + lane] = x[b, order[place]]
    return out


@njit(cache=True, nogil=True)
def _products(first, last, words, tail, split, table, x, out, chunks, bits):
    width, levels, batch = words.shape[1], table.shape[1], out.shape[1]
    flat, values, sums = words.reshape(-1), table.reshape(-1), out.reshape(-1)
    for i in range(first, last):
        source = flat if i < split else tail
        start = (i if i < split else i - split) * width
        if LANES == 0 or bits == 8:
            _scalar_products(source, start, values, i * levels, x, sums, i * batch, chunks, bits, batch)
        else:
            _dot(source, start, values, i * levels, x, sums, i * batch, chunks, bits, batch)


@njit(cache=True, nogil=True)
def _decode(first, last, words, tail, split, table, out, chunks, bits):
    width, levels, places = words.shape[1], table.shape[1], out.shape[1]
    flat, values, weights = words.reshape(-1), table.reshape(-1), out.reshape(-1)
    for i in range(first, last):
        source = flat if i < split else tail
        start = (i if i < split else i - split) * width
        if LANES == 0 or bits == 8:
            for j in range(places):
                weights[i * places + j] = values[i * levels + _code(source, start, j, bits)]
        else:
            _store(source, start, values, i * levels, weights, i * places, chunks, bits)


@njit(cache=True)
def _add_outliers(values, columns, rowptr, place, out):
    for i in range(len(out)):
        for k in range(rowptr[i], rowptr[i + 1]):
            out[i, place[columns[k]]] += values[k]


@njit(cache=True)
def _add_products_of_outliers(x, values, columns, rowptr, out):
    for i in range(len(out)):
        for k in range(rowptr[i], rowptr[i + 1]):
            for b in range(len(x)):
                out[i, b] += values[k] * x[b, columns[k]]


@njit(cache=True, fastmath={"reassoc", "contract"})
def _scalar_products(words, start, table, level, x, out, at, n, bits, batch):
    for b in range(batch):
        out[at + b] = 0
    for j in range(n):
        weight = table[level + _code(words, start, j, bits)]
        for b in range(batch):
            out[at + b] += weight * x[j * batch + b]


@njit(cache=True)
def _code(words, start, j, bits):
    word, offset = divmod(bits * j, 32)
    code = np.uint64(np.uint32(words[start + word])) >> np.uint64(offset)
    if offset + bits > 32:
        code |= np.uint64(np.uint32(words[start + word + 1])) << np.uint64(32 - offset)
    return np.intp(code & np.uint64((1 << bits) - 1))


@intrinsic
def _dot(typing, words, start, table, level, x, out, at, chunks, bits, batch):
    """out[at + b] = sum over the places of one row: looked-up weight times x, for every b below `batch`."""

    def codegen(context, builder, signature, arguments):
        source, values, factors, target = (
            _pointer(context, builder, signature, arguments, array, offset)
            for array, offset in ((0, 1), (2, 3), (4, None), (5, 6))
        )
        for width in PERMUTED:
            for rows in BATCHES:
                wanted = builder.and_(_equal(builder, arguments[8], width), _equal(builder, arguments[9], rows))
                with builder.if_then(wanted):
                    _dot_of(builder, source, values, factors, target, arguments[7], width, rows)
        return context.get_dummy_value()

    return types.void(words, start, table, level, x, out, at, chunks, bits, batch), codegen


def _dot_of(builder, source, values, factors, target, chunks, bits, rows):
    vector = ir.VectorType(ir.FloatType(), LANES)
    ways = max(4 // rows, 1)  # sums that do not wait for each other
    sums = [[cgutils.alloca_once(builder, vector) for _ in range(ways)] for _ in range(rows)]
    for total in itertools.chain(*sums):
        builder.store(vector(None), total)
    fma = builder.module.declare_intrinsic(f"llvm.fma.v{LANES}f32", fnty=ir.FunctionType(vector, [vector] * 3))
    registers = len(column_order(1, bits)) // LANES

    def accumulate(chunk, register, weights):
        for b in range(rows):
            index = builder.add(
                builder.mul(chunk, chunk.type(registers * rows * LANES)),
                chunk.type((register * rows + b) * LANES),
            )
            total = sums[b][register % ways]
            factor = _load(builder, factors, index, vector)
            builder.store(builder.call(fma, [weights, factor, builder.load(total)]), total)

    _look_up(builder, source, values, chunks, bits, accumulate)
    for b in range(rows):
        total = functools.reduce(builder.fadd, [builder.load(one) for one in sums[b]])
        builder.store(_sum(builder, total), builder.gep(target, [ir.IntType(64)(b)]))


@intrinsic
def _store(typing, words, start, table, level, out, at, chunks, bits):
    """out[at + p] = looked-up weight at place p of one row."""

    def codegen(context, builder, signature, arguments):
        source, values, target = (
            _pointer(context, builder, signature, arguments, array, offset)
            for array, offset in ((0, 1), (2, 3), (4, 5))
        )
        for width in PERMUTED:
            with builder.if_then(_equal(builder, arguments[7], width)):
                registers = len(column_order(1, width)) // LANES

                def keep(chunk, register, weights, registers=registers):
                    index = builder.add(builder.mul(chunk, chunk.type(registers * LANES)), chunk.type(register * LANES))
                    place = builder.bitcast(builder.gep(target, [index]), weights.type.as_pointer())
                    builder.store(weights, place, align=4)

                _look_up(builder, source, values, arguments[6], width, keep)
        return context.get_dummy_value()

    return types.void(words, start, table, level, out, at, chunks, bits), codegen


def _look_up(builder, source, values, chunks, bits, use):
    """Emit the loop over the chunks of a row; `use(chunk, register, weights)` emits what is done with the weights."""
    if bits == 4 and LANES == 8:
        return _look_up_bytes(builder, source, values, chunks, use)
    integers = ir.VectorType(ir.IntType(32), LANES)
    size = min(1 << bits, LANES)
    # A table with fewer values than lanes is repeated: the bits above those of a code then do not matter.
    part = _load(builder, values, ir.IntType(64)(0), ir.VectorType(ir.FloatType(), size))
    table = _shuffled(builder, part, part, [lane % size for lane in range(LANES)])
    per, parts = 32 // bits, 3 if bits == 3 else 1

    def weights(word, place):
        return _permuted(builder, table, builder.lshr(word, ir.Constant(integers, [bits * place] * LANES)))

    with cgutils.for_range(builder, chunks) as loop:
        chunk = loop.index
        for part in range(parts):
            index = builder.add(builder.mul(chunk, chunk.type(parts * LANES)), chunk.type(part * LANES))
            word = _load(builder, source, index, integers)
            if bits != 3:
                for place in range(per):
                    use(chunk, place, weights(word, place))
                continue
            skip = [(part * LANES + lane) % 3 for lane in range(LANES)]  # bits that belong to a code begun before
            whole = builder.lshr(word, ir.Constant(integers, skip))
            for place in range(per):
                use(chunk, part * (per + 1) + place, weights(whole, place))
            following = _load(builder, source, builder.add(index, index.type(1)), integers)
            across = builder.or_(
                builder.lshr(whole, ir.Constant(integers, [30] * LANES)),
                builder.shl(following, ir.Constant(integers, [2 - s for s in skip])),
            )
            use(chunk, part * (per + 1) + per, weights(across, 0))


def _permuted(builder, table, places):
    """table[places], lane by lane: an instruction that reads the low 3 bits of 8 places, or 4 bits of 16."""
    name = "llvm.x86.avx512.permvar.sf.512" if LANES == 16 else "llvm.x86.avx2.permps"
    permute = builder.module.declare_intrinsic(name, fnty=ir.FunctionType(table.type, [table.type, places.type]))
    return builder.call(permute, [table, places])


def _look_up_bytes(builder, source, values, chunks, use):
    """The loop of `_look_up` for 4 bits on AVX2: the four bytes of a value are looked up one by one, and zipped.

    A lookup of 32 bytes in 16 values (vpshufb) is one instruction where that of 8 numbers in 16 values is three.
    """
    byte, half, number = ir.IntType(8), ir.IntType(16), ir.FloatType()
    lookup = builder.module.declare_intrinsic(
        "llvm.x86.avx2.pshuf.b", fnty=ir.FunctionType(ir.VectorType(byte, 32), [ir.VectorType(byte, 32)] * 2)
    )
    table = _load(builder, values, ir.IntType(64)(0), ir.VectorType(byte, 64))
    planes = [_shuffled(builder, table, table, [4 * (i % 16) + k for i in range(32)]) for k in range(4)]
    low = ir.Constant(ir.VectorType(byte, 32), [15] * 32)
    shift = ir.Constant(ir.VectorType(half, 16), [4] * 16)

    with cgutils.for_range(builder, chunks) as loop:
        chunk = loop.index
        words = _load(builder, source, builder.mul(chunk, chunk.type(8)), ir.VectorType(half, 16))
        for h in range(2):
            codes = builder.bitcast(builder.lshr(words, shift) if h else words, ir.VectorType(byte, 32))
            codes = builder.and_(codes, low)
            parts = [builder.call(lookup, [plane, codes]) for plane in planes]
            pairs = [
                [builder.bitcast(one, ir.VectorType(half, 16)) for one in _zipped(builder, parts[k], parts[k + 1])]
                for k in (0, 2)
            ]
            wholes = [one for left, right in zip(*pairs, strict=True) for one in _zipped(builder, left, right)]
            for r, whole in enumerate(wholes):
                use(chunk, 4 * h + r, builder.bitcast(whole, ir.VectorType(number, 8)))


def _zipped(builder, left, right):
    """The elements of two registers in turn: of the lower part of their halves, and of the upper part."""
    count = left.type.count
    quarter = count // 4
    for start in (0, quarter):
        yield _shuffled(
            builder,
            left,
            right,
            [base + i + side for base in (start, start + count // 2) for i in range(quarter) for side in (0, count)],
        )


def _shuffled(builder, left, right, places):
    return builder.shuffle_vector(left, right, ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places))


def _equal(builder, value, number):
    return builder.icmp_signed("==", value, value.type(number))


def _pointer(context, builder, signature, arguments, array, offset):
    """A pointer to an element of an array argument; `offset` is the number of the argument that says which."""
    data = context.make_array(signature.args[array])(context, builder, arguments[array]).data
    return data if offset is None else builder.gep(data, [arguments[offset]])


def _load(builder, pointer, index, vector):
    place = builder.bitcast(builder.gep(pointer, [index]), vector.as_pointer())
    return builder.load(place, align=4)


def _sum(builder, vector):
    while vector.type.count > 1:
        half = vector.type.count // 2
        left = _shuffled(builder, vector, vector, list(range(half)))
        vector = builder.fadd(left, _shuffled(builder, vector, vector, list(range(half, 2 * half))))
    return builder.extract_element(vector, ir.IntType(32)(0))
