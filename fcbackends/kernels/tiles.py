"""The micro-kernel of all matrix products: a tile of sums held in vector registers.

`tile(rows, vectors)` is the operation c[i, j] = sum_p a[i, p] * b[p, j] for so many rows of c and
so many vectors of its columns: the sum's index runs outermost, each term joins its sum as the
kernel's arithmetic has it, and what is summed stays in registers. Vectors are of LLVM's own types,
as wide as the target's registers: every lane rounds as a scalar would.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic


class _Vectors(NamedTuple):
    """The target's vector registers: their size, how many there are, and what filling one costs.

    `adder_broadcasts` says that a number is spread over a register where sums are added.
    """

    bytes: int
    registers: int
    adder_broadcasts: bool = False


def _vectors() -> _Vectors:
    triple, cpu, features = cpu_target.target_context.codegen().magic_tuple()
    if "+avx512f" in features:
        return _Vectors(64, 32, adder_broadcasts=cpu == "znver4")
    if triple.startswith(("x86", "i686")):
        return _Vectors(32 if "+avx" in features.split(",") else 16, 16)
    return _Vectors(16, 32)


_TARGET = _Vectors(64, 32) if config.DISABLE_JIT else _vectors()

VECTOR_BYTES = _TARGET.bytes

ROWS = 8 if _TARGET.registers == 32 else 6
"""Rows of the largest tile: with VECTORS, 12 or 16 sums hide the additions' latency, and what a
term reads, a number a row and VECTORS vectors, is less than the products that it makes."""

VECTORS = 2

OVERWRITTEN, GO_ON, JOIN = 0, 1, 2
"""What becomes of what stands where a tile's sums go."""


def lanes(itemsize: int) -> int:
    """How many numbers of this size a vector holds."""
    return VECTOR_BYTES // itemsize


class Operand(NamedTuple):
    """A matrix in a flat buffer: its element (i, j) stands at `at` + i * `row` + j * `column`.

    The right factor of a product is cut into panels of VECTORS vectors: the columns of one stand
    side by side, and `column` is the distance from one panel to the next.
    """

    buffer: Any
    at: int
    row: int
    column: int


def tile(rows: int, vectors: int, *, masked: bool = False) -> Callable[..., None]:
    """The operation for one size of tile, for use inside a kernel.

    It is called as (arithmetic, c, a, b, terms, before, columns), with three Operands of which the
    tile is the first rows and columns; in c columns stand side by side. What stands there `before`
    is OVERWRITTEN, or the sums GO_ON from it, or, when they are there, they JOIN it. Where
    `masked`, only the first `columns` columns are read and written; otherwise all of the vectors
    are.
    """
    if config.DISABLE_JIT:
        return _interpreted_tile(rows, vectors, masked)
    return _compiled_tile(rows, vectors, masked)


def _compiled_tile(rows: int, vectors: int, masked: bool) -> Any:
    @intrinsic
    def compiled(typing_context, arithmetic, c, a, b, terms, before, columns):
        def codegen(context, builder, signature, args):
            number = context.get_data_type(c.types[0].dtype)
            itemsize = context.get_abi_sizeof(number)
            count, before, used = (
                context.cast(builder, args[i], signature.args[i], types.intp) for i in (4, 5, 6)
            )
            emitter = _Emitter(builder, number, itemsize, used if masked else None)
            to, left, right = (
                _Place(context, builder, kind, value)
                for kind, value in zip((c, a, b), args[1:4], strict=True)
            )
            emitter.emit(arithmetic.instance_class, rows, vectors, to, left, right, count, before)
            return context.get_dummy_value()

        return types.void(arithmetic, c, a, b, terms, before, columns), codegen

    return compiled


class _Place:
    """An Operand's parts as values of the function that is being written."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any) -> None:
        buffer, at, row, column = (builder.extract_value(value, i) for i in range(4))
        first = context.make_array(kind.types[0])(context, builder, buffer).data
        self._builder = builder
        self.first = builder.gep(first, [at])
        self.row, self.column = row, column

    def in_panel(self, panel: int, column: int) -> Any:
        """Where a column of a panel begins."""
        distance = self._builder.mul(self.column, _INDEX(panel))
        return self._builder.gep(self.first, [self._builder.add(distance, _INDEX(column))])

    def in_row(self, row: int) -> Any:
        """Where a row begins."""
        return self._builder.gep(self.first, [self._builder.mul(self.row, _INDEX(row))])

    def read_anew(self) -> _Place:
        """The same place, of which LLVM does not know that what stands there was read."""
        again = copy.copy(self)
        kind = self.first.type
        # No instruction, in any assembler.
        again.first = self._builder.asm(ir.FunctionType(kind, [kind]), "", "=r,0", [self.first], 0)
        return again


@intrinsic
def _compiled_copy(typing_context, c, b, columns):
    def codegen(context, builder, signature, args):
        number = context.get_data_type(c.types[0].dtype)
        itemsize = context.get_abi_sizeof(number)
        to, source = (_Place(context, builder, *pair) for pair in zip((c, b), args, strict=False))
        left = context.cast(builder, args[2], signature.args[2], types.intp)
        writer = _Emitter(builder, number, itemsize, None)
        for vector in range(VECTORS):
            place = _INDEX(vector * lanes(itemsize))
            reader = _Emitter(builder, number, itemsize, builder.sub(left, place))
            values = reader.load(builder.gep(source.first, [place]))
            writer.store(values, builder.gep(to.first, [place]))
        return context.get_dummy_value()

    return types.void(c, b, columns), codegen


def _interpreted_copy(c: Operand, b: Operand, columns: int) -> None:
    """Copy the first `columns` numbers of a row, and zeros up to VECTORS whole vectors."""
    c.buffer[c.at : c.at + columns] = b.buffer[b.at : b.at + columns]
    c.buffer[c.at + columns : c.at + VECTORS * lanes(c.buffer.itemsize)] = 0


copy_row: Any = _interpreted_copy if config.DISABLE_JIT else _compiled_copy


@intrinsic
def _compiled_transpose(typing_context, c, a):
    def codegen(context, builder, signature, args):
        number, to, block = _transposed_block(context, builder, (c, a), args)
        writer = _Emitter(builder, number, context.get_abi_sizeof(number), None)
        for row, vector in enumerate(block):
            writer.store(vector, to.in_row(row))
        return context.get_dummy_value()

    return types.void(c, a), codegen


@intrinsic
def _compiled_transpose_edge(typing_context, c, a, rows, columns):
    def codegen(context, builder, signature, args):
        height, width = (
            context.cast(builder, value, kind, types.intp)
            for value, kind in zip(args[2:], (rows, columns), strict=True)
        )
        number, to, block = _transposed_block(context, builder, (c, a), args)
        writer = _Emitter(builder, number, context.get_abi_sizeof(number), height)
        done = builder.append_basic_block("done")
        for row, vector in enumerate(block):
            writer.store(vector, to.in_row(row))
            following = builder.append_basic_block("row")
            builder.cbranch(builder.icmp_signed("<", _INDEX(row + 1), width), following, done)
            builder.position_at_end(following)
        builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(c, a, rows, columns), codegen


def _transposed_block(context: Any, builder: Any, kinds: Any, args: Any) -> tuple[Any, Any, Any]:
    """The numbers' type, the place to write to, and a square block's columns in registers."""
    number = context.get_data_type(kinds[0].types[0].dtype)
    itemsize = context.get_abi_sizeof(number)
    size = lanes(itemsize)
    to, source = (_Place(context, builder, *pair) for pair in zip(kinds, args, strict=False))
    mover = _Emitter(builder, number, itemsize, None)
    block = [mover.load(source.in_row(row)) for row in range(size)]
    # Quarters off the diagonal change places, then quarters of these quarters, and so on.
    half = size // 2
    while half:
        for i in range(size):
            if not i & half:
                block[i], block[i + half] = mover.exchange(block[i], block[i + half], half)
        half //= 2
    return number, to, block


def _interpreted_transpose(c: Operand, a: Operand) -> None:
    """Copy a square block of one vector's size, its rows as columns."""
    size = lanes(c.buffer.itemsize)
    _interpreted_transpose_edge(c, a, size, size)


def _interpreted_transpose_edge(c: Operand, a: Operand, rows: int, columns: int) -> None:
    """Copy a block of at most that size either way; of the rest of a square, read what is there."""
    for row in range(rows):
        for column in range(columns):
            value = a.buffer[a.at + row * a.row + column]
            c.buffer[c.at + column * c.row + row] = value


transpose_block: Any = _interpreted_transpose if config.DISABLE_JIT else _compiled_transpose
transpose_edge: Any = (
    _interpreted_transpose_edge if config.DISABLE_JIT else _compiled_transpose_edge
)


_INDEX = ir.IntType(64)
_SMALL = ir.IntType(32)


def _constant(places: list[int]) -> Any:
    return ir.Constant(ir.VectorType(_SMALL, len(places)), places)


class _Emitter:
    """Writes the instructions of one tile."""

    def __init__(self, builder: Any, number: Any, itemsize: int, columns: Any) -> None:
        self._builder = builder
        self._itemsize = itemsize
        self._lanes = lanes(itemsize)
        self._vector = ir.VectorType(number, self._lanes)
        self._mask = None if columns is None else self._first_lanes(columns)

    def emit(self, arithmetic, rows, vectors, c, a, b, terms, before):
        builder = self._builder
        zero = _INDEX(0)
        # On Zen 4 a product may spread its factor itself, if it is the only one to use it: with
        # each vector reading it anew, ordered sums run at 115 GFLOP/s, else at 79 of its 117.
        many = vectors if _TARGET.adder_broadcasts and arithmetic.is_apart() else 1
        a_rows = [[a.in_row(row) for row in range(rows)]]
        for _ in range(1, many):
            anew = a.read_anew()
            a_rows.append([anew.in_row(row) for row in range(rows)])
        c_places = [
            builder.gep(c.in_row(row), [_INDEX(vector * self._lanes)])
            for row in range(rows)
            for vector in range(vectors)
        ]

        entry = builder.block
        resume, head, body, done, join, whole = (
            builder.append_basic_block(name)
            for name in ("resume", "head", "body", "done", "join", "whole")
        )
        builder.cbranch(builder.icmp_signed("==", before, _INDEX(GO_ON)), resume, head)
        builder.position_at_end(resume)
        earlier = [self.load(place) for place in c_places]
        builder.branch(head)

        builder.position_at_end(head)
        term, a_offset, b_offset = (builder.phi(_INDEX) for _ in range(3))
        sums = [builder.phi(self._vector) for _ in c_places]
        for counter in (term, a_offset, b_offset):
            counter.add_incoming(zero, entry)
            counter.add_incoming(zero, resume)
        nothing = self._all_lanes(-0.0)
        for running, previous in zip(sums, earlier, strict=True):
            running.add_incoming(nothing, entry)
            running.add_incoming(previous, resume)
        builder.cbranch(builder.icmp_signed("<", term, terms), body, done)

        builder.position_at_end(body)
        b_vectors = [
            self.load(builder.gep(b.in_panel(v // VECTORS, v % VECTORS * self._lanes), [b_offset]))
            for v in range(vectors)
        ]
        for row in range(rows):
            factors = [
                self._broadcast(builder.load(builder.gep(places[row], [a_offset])))
                for places in a_rows
            ]
            for v, b_vector in enumerate(b_vectors):
                factor = factors[v % many]
                running = sums[row * vectors + v]
                running.add_incoming(
                    arithmetic.emit(builder, running, factor, b_vector), builder.block
                )
        for counter, stride in ((term, _INDEX(1)), (a_offset, a.column), (b_offset, b.row)):
            counter.add_incoming(builder.add(counter, stride), builder.block)
        builder.branch(head)

        builder.position_at_end(done)
        builder.cbranch(builder.icmp_signed("==", before, _INDEX(JOIN)), join, whole)
        builder.position_at_end(join)
        both = [
            builder.fadd(self.load(place), running)
            for running, place in zip(sums, c_places, strict=True)
        ]
        builder.branch(whole)

        builder.position_at_end(whole)
        results = []
        for running, total, place in zip(sums, both, c_places, strict=True):
            result = builder.phi(self._vector)
            result.add_incoming(running, done)
            result.add_incoming(total, join)
            results.append((result, place))
        for result, place in results:
            self.store(result, place)

    def _all_lanes(self, value: float) -> Any:
        return ir.Constant(self._vector, [value] * self._lanes)

    def _broadcast(self, number: Any) -> Any:
        undefined = ir.Constant(ir.VectorType(number.type, self._lanes), ir.Undefined)
        first = self._builder.insert_element(undefined, number, _SMALL(0))
        zeros = ir.Constant(ir.VectorType(_SMALL, self._lanes), [0] * self._lanes)
        return self._builder.shuffle_vector(first, undefined, zeros)

    def exchange(self, upper: Any, lower: Any, width: int) -> tuple[Any, Any]:
        """Of two rows, every second group of the upper's for every other one of the lower's."""
        of_upper, of_lower = (
            [
                (i ^ width) + self._lanes if (i & width != 0) == lacks else i
                for i in range(self._lanes)
            ]
            for lacks in (True, False)
        )
        return (
            self._builder.shuffle_vector(upper, lower, _constant(of_upper)),
            self._builder.shuffle_vector(lower, upper, _constant(of_lower)),
        )

    def _first_lanes(self, columns: Any) -> Any:
        counts = ir.Constant(ir.VectorType(_INDEX, self._lanes), list(range(self._lanes)))
        return self._builder.icmp_signed("<", counts, self._broadcast(columns))

    def load(self, place: Any) -> Any:
        builder = self._builder
        place = builder.bitcast(place, self._vector.as_pointer())
        if self._mask is None:
            return builder.load(place, align=self._itemsize)
        kind = ir.FunctionType(self._vector, [place.type, _SMALL, self._mask.type, self._vector])
        function = self._masked_function("load", kind)
        return builder.call(
            function, [place, _SMALL(self._itemsize), self._mask, self._all_lanes(0.0)]
        )

    def store(self, vector: Any, place: Any) -> None:
        builder = self._builder
        place = builder.bitcast(place, self._vector.as_pointer())
        if self._mask is None:
            builder.store(vector, place, align=self._itemsize)
            return
        kind = ir.FunctionType(ir.VoidType(), [self._vector, place.type, _SMALL, self._mask.type])
        function = self._masked_function("store", kind)
        builder.call(function, [vector, place, _SMALL(self._itemsize), self._mask])

    def _masked_function(self, what: str, kind: Any) -> Any:
        name = f"llvm.masked.{what}.v{self._lanes}f{8 * self._itemsize}.p0"
        return cgutils.get_or_insert_function(self._builder.module, kind, name)


def _interpreted_tile(rows: int, vectors: int, masked: bool) -> Callable[..., None]:
    def interpreted(arithmetic, c, a, b, terms, before, columns):
        vector = lanes(c.buffer.itemsize)
        width = min(columns, vector) if masked else vectors * vector
        column = np.arange(width)
        panel = VECTORS * vector
        b_places = b.at + column // panel * b.column + column % panel
        for row in range(rows):
            place = slice(c.at + row * c.row, c.at + row * c.row + width)
            earlier = c.buffer[place].copy()
            total = earlier if before == GO_ON else np.full(width, -0.0, c.buffer.dtype)
            for p in range(terms):
                factor = a.buffer[a.at + row * a.row + p * a.column]
                total = arithmetic.interpret(total, factor, b.buffer[b_places + p * b.row])
            c.buffer[place] = earlier + total if before == JOIN else total

    return interpreted
