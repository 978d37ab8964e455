"""A matrix view on a piece of a flat buffer, at no run-time cost inside a kernel."""

from __future__ import annotations

from typing import Any

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
