"""Memory at no run-time cost inside a kernel: views of it, room on the stack, prefetching."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

CACHE_LINE = 64


# Slicing and reshaping inside a kernel counts references and checks bounds; and a flat index
# with an offset is tested for being negative at each access, which stops vectorisation. A view
# made here costs two multiplications, and LLVM sees that its loop indices are not negative.
def view(context: Any, builder: Any, kind: types.Array, data: Any, shape: list[Any]) -> Any:
    """The array of type `kind` whose elements stand one after another from `data` on."""
    size = context.get_abi_sizeof(context.get_data_type(kind.dtype))
    strides = [context.get_constant(types.intp, size)]
    for length in reversed(shape[1:]):
        strides.insert(0, builder.mul(length, strides[0]))
    view = context.make_array(kind)(context, builder)
    context.populate_array(
        view,
        data=data,
        shape=cgutils.pack_array(builder, shape),
        strides=cgutils.pack_array(builder, strides),
        itemsize=strides[-1],
        meminfo=cgutils.get_null_value(context.get_value_type(types.MemInfoPointer(types.voidptr))),
    )
    return view._getvalue()


def check_room(context: Any, builder: Any, source: Any, start: Any, counts: list[Any]) -> None:
    """Where Numba checks bounds, IndexError unless so many elements stand from `start` on."""
    if not context.enable_boundscheck:
        return
    size = functools.reduce(builder.mul, counts)
    ends = builder.icmp_signed(">", builder.add(start, size), source.nitems)
    begins = builder.icmp_signed("<", start, start.type(0))
    with cgutils.if_unlikely(builder, builder.or_(begins, ends)):
        context.call_conv.return_user_exc(builder, IndexError, ("view is out of bounds",))


def _view_at(buffer: types.Array, *numbers: types.Integer) -> Any:
    """A view of so many dimensions as there are numbers after the first, which says where."""
    kind = types.Array(buffer.dtype, len(numbers) - 1, "C", aligned=buffer.aligned)

    def codegen(context, builder, signature, args):
        source = context.make_array(buffer)(context, builder, args[0])
        start, *shape = (
            context.cast(builder, value, number, types.intp)
            for value, number in zip(args[1:], numbers, strict=True)
        )
        check_room(context, builder, source, start, shape)
        return view(context, builder, kind, builder.gep(source.data, [start]), shape)

    return kind(buffer, *numbers), codegen


@intrinsic
def _compiled_row(typing_context, buffer, at, length):
    return _view_at(buffer, at, length)


@intrinsic
def _compiled_matrix(typing_context, buffer, at, rows, columns):
    return _view_at(buffer, at, rows, columns)


@intrinsic
def _compiled_flat(typing_context, array):
    kind = types.Array(array.dtype, 1, "C")

    def codegen(context, builder, signature, args):
        source = context.make_array(array)(context, builder, args[0])
        return view(context, builder, kind, source.data, [source.nitems])

    return kind(array), codegen


def _interpreted_row(buffer: NDArray[Any], at: int, length: int) -> NDArray[Any]:
    """The `length` numbers from `at` on of a flat buffer."""
    return buffer[at : at + length]


def _interpreted_matrix(buffer: NDArray[Any], at: int, rows: int, columns: int) -> NDArray[Any]:
    """The rows x columns matrix, row after row, from `at` on of a flat buffer."""
    return buffer[at : at + rows * columns].reshape(rows, columns)


def _interpreted_flat(array: NDArray[Any]) -> NDArray[Any]:
    """A contiguous array of any shape as one row; read-only ones as well, so only read them."""
    return array.reshape(-1)


row: Any = _interpreted_row if config.DISABLE_JIT else _compiled_row
matrix: Any = _interpreted_matrix if config.DISABLE_JIT else _compiled_matrix
flat: Any = _interpreted_flat if config.DISABLE_JIT else _compiled_flat


def local(size: int) -> Any:
    """A function (buffer) -> room for `size` numbers of the buffer's dtype, on the stack.

    Where all indices are constants once loops are unrolled, the numbers live in registers.
    """
    if config.DISABLE_JIT:
        return lambda buffer: np.empty(size, buffer.dtype)

    @intrinsic
    def compiled(typing_context, buffer):
        kind = types.Array(buffer.dtype, 1, "C")

        def codegen(context, builder, signature, args):
            number = context.get_data_type(buffer.dtype)
            room = cgutils.alloca_once(builder, number, size=size)
            room.align = CACHE_LINE
            return view(context, builder, kind, room, [context.get_constant(types.intp, size)])

        return kind(buffer), codegen

    return compiled


@intrinsic
def _compiled_prefetch(typing_context, buffer, place):
    def codegen(context, builder, signature, args):
        source = context.make_array(buffer)(context, builder, args[0])
        index = context.cast(builder, args[1], place, types.intp)
        pointer = builder.bitcast(builder.gep(source.data, [index]), cgutils.voidptr_t)
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        # To read, into all levels of the cache, data.
        builder.call(function, [pointer, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(buffer, place), codegen


def _interpreted_prefetch(buffer: NDArray[Any], place: int) -> None:
    """Ask for the cache line of a place in a flat buffer; one outside of it is as good."""


prefetch: Any = _interpreted_prefetch if config.DISABLE_JIT else _compiled_prefetch
