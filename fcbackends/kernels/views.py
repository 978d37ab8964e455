"""Views of memory at no run-time cost inside a kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray


# Slicing and reshaping inside a kernel counts references and checks bounds; and a flat index
# with an offset is tested for being negative at each access, which stops vectorisation. A view
# made here costs two multiplications, and LLVM sees that its loop indices are not negative.
@intrinsic
def _compiled_matrix(
    typing_context: Any,
    buffer: types.Array,
    offset: types.Integer,
    rows: types.Integer,
    columns: types.Integer,
) -> Any:
    view_type = types.Array(buffer.dtype, 2, "C")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source = context.make_array(buffer)(context, builder, args[0])
        start, n_rows, n_columns = (
            context.cast(builder, value, kind, types.intp)
            for value, kind in zip(args[1:], (offset, rows, columns), strict=True)
        )
        item_type = context.get_data_type(buffer.dtype)
        item_size = context.get_constant(types.intp, context.get_abi_sizeof(item_type))
        view = context.make_array(view_type)(context, builder)
        context.populate_array(
            view,
            data=builder.gep(source.data, [start]),
            shape=cgutils.pack_array(builder, [n_rows, n_columns]),
            strides=cgutils.pack_array(builder, [builder.mul(n_columns, item_size), item_size]),
            itemsize=item_size,
            meminfo=cgutils.get_null_value(
                context.get_value_type(types.MemInfoPointer(types.voidptr))
            ),
        )
        return view._getvalue()

    return view_type(buffer, offset, rows, columns), codegen


@intrinsic
def _compiled_flat(typing_context: Any, array: types.Array) -> Any:
    view_type = types.Array(array.dtype, 1, "C")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source = context.make_array(array)(context, builder, args[0])
        view = context.make_array(view_type)(context, builder)
        context.populate_array(
            view,
            data=source.data,
            shape=cgutils.pack_array(builder, [source.nitems]),
            strides=cgutils.pack_array(builder, [source.itemsize]),
            itemsize=source.itemsize,
            meminfo=cgutils.get_null_value(
                context.get_value_type(types.MemInfoPointer(types.voidptr))
            ),
        )
        return view._getvalue()

    return view_type(array), codegen


def _interpreted_flat(array: NDArray[Any]) -> NDArray[Any]:
    """A contiguous array of any shape as one row; read-only ones as well, so only read them.

    Examples
    --------
    >>> import numpy as np
    >>> _interpreted_flat(np.ones((2, 2)))
    array([1., 1., 1., 1.])
    """
    return array.reshape(-1)


def _interpreted_matrix(buffer: NDArray[Any], offset: int, rows: int, columns: int) -> NDArray[Any]:
    """The rows x columns matrix, row after row, that starts at `offset` of a flat buffer.

    Examples
    --------
    >>> import numpy as np
    >>> _interpreted_matrix(np.arange(7.0), 1, 2, 3)
    array([[1., 2., 3.],
           [4., 5., 6.]])
    """
    return buffer[offset : offset + rows * columns].reshape(rows, columns)


matrix: Any = _interpreted_matrix if config.DISABLE_JIT else _compiled_matrix
flat: Any = _interpreted_flat if config.DISABLE_JIT else _compiled_flat


def local(size: int) -> Any:
    """A function (buffer) -> room for `size` numbers of the buffer's dtype, on the stack.

    Where all indices are constants once loops are unrolled, the numbers live in registers.
    """
    if config.DISABLE_JIT:
        return lambda buffer: np.empty(size, buffer.dtype)

    @intrinsic
    def compiled(typing_context: Any, buffer: types.Array) -> Any:
        view_type = types.Array(buffer.dtype, 1, "C")

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            item_type = context.get_data_type(buffer.dtype)
            item_size = context.get_constant(types.intp, context.get_abi_sizeof(item_type))
            room = cgutils.alloca_once(builder, item_type, size=size)
            view = context.make_array(view_type)(context, builder)
            context.populate_array(
                view,
                data=room,
                shape=cgutils.pack_array(builder, [context.get_constant(types.intp, size)]),
                strides=cgutils.pack_array(builder, [item_size]),
                itemsize=item_size,
                meminfo=cgutils.get_null_value(
                    context.get_value_type(types.MemInfoPointer(types.voidptr))
                ),
            )
            return view._getvalue()

        return view_type(buffer), codegen

    return compiled


@intrinsic
def _compiled_prefetch(typing_context: Any, buffer: types.Array, place: types.Integer) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
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
