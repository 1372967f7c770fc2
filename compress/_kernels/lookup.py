"""Products with weights that are looked up while they are read: y[b, i] = sum over j of T[i, Q[i, j]] x[b, j].

A table of 16 values is one AVX-512 register, and looking up 16 codes is one instruction (vpermps); with AVX2 it is two
of 8 values each, of which bit 3 of the code picks one.  Numba would not find these instructions in a loop, so they are
written in LLVM's language, for the processor that compiles them.

A register of packed words holds many codes, and shifting all its lanes alike brings one code of every word to the low
bits.  So the columns come in the order (place in the word, lane), not 0, 1, 2, …: `column_order` says which, and x is
put into that order once for every product.  3-bit codes that lie across two words get places of their own.
"""

# mypy: disable-error-code="attr-defined, call-arg, var-annotated"
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
PARTS = 8  # of the rows, for every thread: one that comes late then holds up nobody


def _vector_lanes():
    """32-bit lanes of the widest table lookup of this processor: 16, 8, or 0 where it has none."""
    if numba.config.CPU_NAME or numba.config.CPU_FEATURES is not None:  # someone compiles for another processor
        return 0
    features = binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 16
    return 8 if features.get("avx2") and features.get("fma") else 0


LANES = _vector_lanes()
AHEAD = 2048  # words that are asked for before their turn, at least: the processor's own guesses end with a page
LINE = 64  # bytes of a cache line: a register read across two of them is read twice
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
    """Multiply x (B, n), float32, by looked-up weights; the result is (B, m).

    words: (m, width) int32; table: (m, 2^bits) float32; outliers: None or (values float32, columns, row pointers).
    """
    (m, _), (count, n) = words.shape, x.shape
    batch = next((b for b in BATCHES if b >= count), BATCHES[-1])
    passes = -(-count // batch)
    lanes, order = max(LANES, 1) if bits != 8 else 1, column_order(n, bits)
    places = _aligned(passes, len(order) * batch)
    for i in range(passes):
        _arrange(x[i * batch : (i + 1) * batch], order, lanes, batch, places[i])
    source, out = _Source(words, n, bits), np.empty((passes, m, batch), np.float32)
    arguments = (source.words, source.tail, source.split, table, places, out, source.chunks, bits)
    _share(_products, arguments, threads, m, passes * batch * n)
    y = out.transpose(0, 2, 1).reshape(-1, m)[:count]
    if outliers is not None:
        _add_products_of_outliers(x, *outliers, y)
    return y


def decode(words, table, bits, n, outliers, threads, out):
    """Weights of some rows into out (rows, places), float32, columns in the order of `column_order`."""
    source = _Source(words, n, bits)
    arguments = (source.words, source.tail, source.split, table, out, source.chunks, bits)
    _share(_decode, arguments, threads, len(words), n)
    if outliers is not None:
        _add_outliers(*outliers, place_of_column(n, bits), out)


def reordered(x, bits):
    """X (B, n) with its columns in the order of `column_order`, as (places, B): the partner of `decode`."""
    order = column_order(x.shape[1], bits)
    out = _aligned(len(order), len(x))
    _arrange(x, order, 1, len(x), out.reshape(-1))
    return out


def _share(work, arguments, threads, rows, cost):
    """Run work(counters, rows, parts, *arguments), which takes part after part of the rows, on several threads.

    Not by Numba's prange: its threads and those of torch wait for work in busy loops, in two pools that know nothing of
    each other, and where there are as many threads as cores each pool keeps the other one from its cores for
    milliseconds.  Here threads of Python's are woken, and whoever is there takes the next part.  Numbers of parts taken
    and done are shared without Python's lock, and this thread waits for parts, not for threads: one that wakes too
    late finds nothing left and holds up nobody.
    """
    counters = np.zeros(2, np.int64)
    if threads == 1 or rows * cost < SHARED:
        work(counters, rows, 1, *arguments)
        return
    call = functools.partial(work, counters, rows, PARTS * threads, *arguments)
    for _ in range(threads - 1):
        _pool(os.getpid(), threads - 1).submit(call)
    call()
    _wait(counters, PARTS * threads)


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


def _aligned(rows, columns):
    """Zeros in float32 that begin with a cache line."""
    room = np.zeros(4 * rows * columns + LINE, np.uint8)
    begin = -room.ctypes.data % LINE
    return room[begin : begin + 4 * rows * columns].view(np.float32).reshape(rows, columns)


@njit(cache=True)
def _arrange(x, order, lanes, batch, out):
    """X in the order (register, row of x, lane) into zeros: there they stay where there is no column or no row."""
    for place in range(len(order)):
        register, lane = divmod(place, lanes)
        if order[place] >= 0:
            for b in range(len(x)):
                out[(register * batch + b) * lanes + lane] = x[b, order[place]]


@njit(cache=True, nogil=True)
def _products(counters, rows, parts, words, tail, split, table, x, out, chunks, bits):
    width, levels, batch = words.shape[1], table.shape[1], out.shape[2]
    flat, values = words.reshape(-1), table.reshape(-1)
    step = 1 if bits == 8 else _rows_at_once(batch)
    ahead = _ahead(step * width)
    part = _add(counters, 0, 1)
    while part < parts:
        last = (part + 1) * rows // parts
        for k in range(len(x)):
            factors, target = x[k], out[k].reshape(-1)
            for i in range(part * rows // parts, last, step):
                if LANES == 0 or bits == 8:
                    source = flat if i < split else tail
                    start = (i if i < split else i - split) * width
                    _scalar_products(source, start, values, i * levels, factors, target, i * batch, chunks, bits, batch)
                else:
                    _dot(flat, tail, split, width, values, factors, target, i, last, chunks, ahead, bits, batch)
        _add(counters, 1, 1)
        part = _add(counters, 0, 1)


@njit(cache=True, nogil=True)
def _decode(counters, rows, parts, words, tail, split, table, out, chunks, bits):
    width, levels, places = words.shape[1], table.shape[1], out.shape[1]
    flat, values, weights = words.reshape(-1), table.reshape(-1), out.reshape(-1)
    ahead = _ahead(width)
    part = _add(counters, 0, 1)
    while part < parts:
        for i in range(part * rows // parts, (part + 1) * rows // parts):
            source = flat if i < split else tail
            start = (i if i < split else i - split) * width
            if LANES == 0 or bits == 8:
                for j in range(places):
                    weights[i * places + j] = values[i * levels + _code(source, start, j, bits)]
            else:
                _store(source, start, values, i * levels, weights, i * places, chunks, ahead, bits)
        _add(counters, 1, 1)
        part = _add(counters, 0, 1)


@njit(cache=True, nogil=True)
def _wait(counters, parts):
    while _add(counters, 1, 0) < parts:
        pass


@intrinsic
def _add(typing, counters, index, amount):
    """Add to an element, and return what it was, in one step that no other thread can divide."""

    def codegen(context, builder, signature, arguments):
        place = _pointer(context, builder, signature, arguments, 0, 1)
        return builder.atomic_rmw("add", place, arguments[2], "seq_cst")

    return types.int64(counters, types.int64, types.int64), codegen


@njit(cache=True)
def _rows_at_once(batch):
    """Rows that share what is read of x: AVX-512 has registers for several."""
    if LANES < 16:
        return 1
    return 4 if batch < 8 else 2


@njit(cache=True)
def _add_outliers(values, columns, rowptr, place, out):
    for i in range(len(out)):
        for k in range(rowptr[i], rowptr[i + 1]):
            out[i, place[columns[k]]] += values[k]


@njit(cache=True)
def _add_products_of_outliers(x, values, columns, rowptr, out):
    for i in range(len(rowptr) - 1):
        for k in range(rowptr[i], rowptr[i + 1]):
            for b in range(len(x)):
                out[b, i] += values[k] * x[b, columns[k]]


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


@njit(cache=True)
def _ahead(words):
    """The smallest multiple of `words` that is not below AHEAD: the same place of rows to come."""
    return -(-AHEAD // max(words, 1)) * words


@intrinsic
def _dot(typing, words, tail, split, width, table, x, out, row, last, chunks, ahead, bits, batch):
    """out[i, b] = sum over the places of row i: looked-up weight times x[b], for some rows from `row` on, b < `batch`.

    Where less than that many rows are left, the one before `last` is computed several times.
    """

    def codegen(context, builder, signature, arguments):
        flat, rest, values, factors, target = (
            _pointer(context, builder, signature, arguments, array, None) for array in (0, 1, 4, 5, 6)
        )
        split, width, row, last, chunks, ahead, bits, batch = (arguments[i] for i in (2, 3, 7, 8, 9, 10, 11, 12))
        for wanted_bits, count in itertools.product(PERMUTED, BATCHES):
            with builder.if_then(builder.and_(_equal(builder, bits, wanted_bits), _equal(builder, batch, count))):
                rows = []
                for i in range(_rows_at_once.py_func(count)):
                    place = builder.add(row, row.type(i))
                    final = builder.sub(last, last.type(1))
                    place = builder.select(builder.icmp_signed("<", place, final), place, final)
                    whole = builder.icmp_signed("<", place, split)
                    start = builder.mul(builder.select(whole, place, builder.sub(place, split)), width)
                    rows.append(
                        (
                            builder.gep(builder.select(whole, flat, rest), [start]),
                            builder.gep(values, [builder.mul(place, place.type(1 << wanted_bits))]),
                            builder.gep(target, [builder.mul(place, place.type(count))]),
                        )
                    )
                _dot_of(builder, rows, factors, chunks, ahead, wanted_bits, count)
        return context.get_dummy_value()

    return types.void(words, tail, split, width, table, x, out, row, last, chunks, ahead, bits, batch), codegen


def _dot_of(builder, rows, factors, chunks, ahead, bits, batch):
    """Emit the products of some rows, each given by pointers to its words, its table and its results."""
    vector = ir.VectorType(ir.FloatType(), LANES)
    ways = (
        max(8 // (batch * len(rows)), 1) if len(rows) > 1 else max(4 // batch, 1)
    )  # sums that do not wait for another
    sums = [[[cgutils.alloca_once(builder, vector) for _ in range(ways)] for _ in range(batch)] for _ in rows]
    for total in itertools.chain(*itertools.chain(*sums)):
        builder.store(vector(None), total)
    fma = builder.module.declare_intrinsic(f"llvm.fma.v{LANES}f32", fnty=ir.FunctionType(vector, [vector] * 3))
    registers = len(column_order(1, bits)) // LANES

    def accumulate(chunk, register, weights):
        for b in range(batch):
            index = builder.add(
                builder.mul(chunk, chunk.type(registers * batch * LANES)),
                chunk.type((register * batch + b) * LANES),
            )
            factor = _load(builder, factors, index, vector)
            for row, weight in enumerate(weights):
                total = sums[row][b][register % ways]
                builder.store(builder.call(fma, [weight, factor, builder.load(total)]), total)

    _look_up(builder, [row[:2] for row in rows], chunks, ahead, bits, accumulate)
    for (_, _, target), of_row in zip(rows, sums, strict=True):
        for b in range(batch):
            total = functools.reduce(builder.fadd, [builder.load(one) for one in of_row[b]])
            builder.store(_sum(builder, total), builder.gep(target, [ir.IntType(64)(b)]))


@intrinsic
def _store(typing, words, start, table, level, out, at, chunks, ahead, bits):
    """out[at + p] = looked-up weight at place p of one row."""

    def codegen(context, builder, signature, arguments):
        source, values, target = (
            _pointer(context, builder, signature, arguments, array, offset)
            for array, offset in ((0, 1), (2, 3), (4, 5))
        )
        for width in PERMUTED:
            with builder.if_then(_equal(builder, arguments[8], width)):
                registers = len(column_order(1, width)) // LANES

                def keep(chunk, register, looked_up, registers=registers):
                    [weights] = looked_up
                    index = builder.add(builder.mul(chunk, chunk.type(registers * LANES)), chunk.type(register * LANES))
                    place = builder.bitcast(builder.gep(target, [index]), weights.type.as_pointer())
                    builder.store(weights, place, align=4)

                _look_up(builder, [(source, values)], arguments[6], arguments[7], width, keep)
        return context.get_dummy_value()

    return types.void(words, start, table, level, out, at, chunks, ahead, bits), codegen


def _look_up(builder, rows, chunks, ahead, bits, use):
    """Emit the loop over the chunks of some rows, each given by pointers to its words and its table.

    `use(chunk, register, weights)` emits what is done with the weights, one register for every row.
    """
    if bits == 4 and LANES == 8:
        return _look_up_bytes(builder, *rows[0], chunks, ahead, use)
    integers = ir.VectorType(ir.IntType(32), LANES)
    size = min(1 << bits, LANES)
    # A table with fewer values than lanes is repeated: the bits above those of a code then do not matter.
    short = [_load(builder, values, ir.IntType(64)(0), ir.VectorType(ir.FloatType(), size)) for _, values in rows]
    tables = [_shuffled(builder, table, table, [lane % size for lane in range(LANES)]) for table in short]
    per, parts = 32 // bits, 3 if bits == 3 else 1

    def weights(words, place):
        shift = ir.Constant(integers, [bits * place] * LANES)
        return [_permuted(builder, table, builder.lshr(word, shift)) for table, word in zip(tables, words, strict=True)]

    with cgutils.for_range(builder, chunks) as loop:
        chunk = loop.index
        for part in range(parts):
            index = builder.add(builder.mul(chunk, chunk.type(parts * LANES)), chunk.type(part * LANES))
            words = [_load_streamed(builder, source, index, integers, ahead) for source, _ in rows]
            if bits != 3:
                for place in range(per):
                    use(chunk, place, weights(words, place))
                continue
            skip = [(part * LANES + lane) % 3 for lane in range(LANES)]  # bits that belong to a code begun before
            whole = [builder.lshr(word, ir.Constant(integers, skip)) for word in words]
            for place in range(per):
                use(chunk, part * (per + 1) + place, weights(whole, place))
            following = [_load(builder, source, builder.add(index, index.type(1)), integers) for source, _ in rows]
            across = [
                builder.or_(
                    builder.lshr(before, ir.Constant(integers, [30] * LANES)),
                    builder.shl(after, ir.Constant(integers, [2 - s for s in skip])),
                )
                for before, after in zip(whole, following, strict=True)
            ]
            use(chunk, part * (per + 1) + per, weights(across, 0))


def _permuted(builder, table, places):
    """table[places], lane by lane: an instruction that reads the low 3 bits of 8 places, or 4 bits of 16."""
    name = "llvm.x86.avx512.permvar.sf.512" if LANES == 16 else "llvm.x86.avx2.permps"
    permute = builder.module.declare_intrinsic(name, fnty=ir.FunctionType(table.type, [table.type, places.type]))
    return builder.call(permute, [table, places])


def _look_up_bytes(builder, source, values, chunks, ahead, use):
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
        words = _load_streamed(builder, source, builder.mul(chunk, chunk.type(8)), ir.VectorType(half, 16), ahead)
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
                use(chunk, 4 * h + r, [builder.bitcast(whole, ir.VectorType(number, 8))])


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


def _load_streamed(builder, pointer, index, vector, ahead):
    """Load, and ask for what is `ahead` of it, which may lie outside of the array: asking is no access."""
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    ask = builder.module.declare_intrinsic(
        "llvm.prefetch.p0", fnty=ir.FunctionType(ir.VoidType(), [byte] + [number] * 3)
    )
    place = builder.bitcast(builder.gep(pointer, [builder.add(index, ahead)]), byte)
    builder.call(ask, [place, number(0), number(3), number(1)])  # to read, soon, data
    return _load(builder, pointer, index, vector)


def _sum(builder, vector):
    while vector.type.count > 1:
        half = vector.type.count // 2
        left = _shuffled(builder, vector, vector, list(range(half)))
        vector = builder.fadd(left, _shuffled(builder, vector, vector, list(range(half, 2 * half))))
    return builder.extract_element(vector, ir.IntType(32)(0))
