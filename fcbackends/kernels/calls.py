"""Kernels that others call without knowing them, by address."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def address(kernel: Any) -> int:
    """Where a kernel begins."""
    (compiled,) = kernel.overloads.values()
    return compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)


@intrinsic
def call(typing_context, at, arguments):
    """Call the kernel at an address, which takes exactly these types and gives nothing back."""

    def codegen(context, builder, signature, args):
        kinds = tuple(arguments)
        kind = context.call_conv.get_function_type(types.none, kinds)
        function = builder.inttoptr(args[0], kind.as_pointer())
        values = cgutils.unpack_tuple(builder, args[1])
        context.call_conv.call_function(builder, function, types.none, kinds, values)
        return context.get_dummy_value()

    return types.void(at, arguments), codegen
