"""Vectors as numbers inside a kernel: views of memory whose elements are several numbers at once.

What is written for a row of numbers works on a row of vectors as it is: +, -, *, / and comparisons
act lane by lane, a number beside a vector is spread over its lanes, and `where` chooses. So a loop
of constant length needs no vectoriser, whose choice between unrolling and vectors is a gamble: of
64-32-10 in fused arithmetic it made a kernel that took 3.2 times as long as in ordered.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.core.typeconv import Conversion
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, lower_cast, models, register_model
from numpy.typing import NDArray

from fcbackends.kernels.views import check_room, view


class Vector(types.Type):  # type: ignore[misc]
    """So many numbers of a dtype; of booleans, what comparing two vectors gives."""

    def __init__(self, dtype: types.Type, lanes: int) -> None:
        self.dtype, self.lanes = dtype, lanes
        super().__init__(f"vector({dtype} x {lanes})")

    def can_convert_from(self, typing_context: Any, other: types.Type) -> Any:
        """A number is spread over all lanes."""
        return Conversion.unsafe if isinstance(other, types.Number) else None


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Vector) -> None:
        is_mask = isinstance(kind.dtype, types.Boolean)
        number = ir.IntType(1) if is_mask else manager.lookup(kind.dtype).get_value_type()
        super().__init__(manager, kind, ir.VectorType(number, kind.lanes))


def spread(context: Any, builder: Any, number: types.Type, value: Any, kind: types.Type) -> Any:
    """A value of type `number` as one of type `kind`: cast, and in every lane of a vector."""
    if number == kind:
        return value
    if not isinstance(kind, Vector):
        return context.cast(builder, value, number, kind)
    value = context.cast(builder, value, number, kind.dtype)
    undefined = ir.Constant(ir.VectorType(value.type, kind.lanes), ir.Undefined)
    first = builder.insert_element(undefined, value, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), kind.lanes), [0] * kind.lanes)
    return builder.shuffle_vector(first, undefined, zeros)


lower_cast(types.Number, Vector)(
    lambda context, builder, number, kind, value: spread(context, builder, number, value, kind)
)


def _common(*kinds: types.Type) -> Vector | None:
    """The type of the vectors among them; None where there is none."""
    vectors = {kind for kind in kinds if isinstance(kind, Vector)}
    return vectors.pop() if len(vectors) == 1 else None


def _define(operation: Any, emit: Any, *, compares: bool = False) -> None:
    @infer_global(operation)
    class _Typed(AbstractTemplate):  # type: ignore[misc]
        def generic(self, args: Any, kws: Any) -> Any:
            kind = _common(*args)
            if kind is None:
                return None
            return signature(Vector(types.boolean, kind.lanes) if compares else kind, *args)

    def lower(context, builder, signature, args):
        kind = _common(*signature.args)
        pairs = zip(signature.args, args, strict=True)
        return emit(builder, *(spread(context, builder, *pair, kind) for pair in pairs))

    for kinds in ((Vector, Vector), (Vector, types.Number), (types.Number, Vector)):
        lower_builtin(operation, *kinds)(lower)


for _operation in (operator.add, operator.iadd):
    _define(_operation, lambda builder, a, b: builder.fadd(a, b))
for _operation in (operator.sub, operator.isub):
    _define(_operation, lambda builder, a, b: builder.fsub(a, b))
_define(operator.mul, lambda builder, a, b: builder.fmul(a, b))
_define(operator.truediv, lambda builder, a, b: builder.fdiv(a, b))
for _operation, _name in ((operator.lt, "<"), (operator.gt, ">")):
    _define(
        _operation,
        lambda builder, a, b, name=_name: builder.fcmp_ordered(name, a, b),
        compares=True,
    )


@intrinsic
def _compiled_where(typing_context, condition, a, b):
    kind = _common(a, b) or (a if isinstance(a, types.Float) else b)

    def codegen(context, builder, signature, args):
        first, second = (
            spread(context, builder, number, value, kind)
            for number, value in zip(signature.args[1:], args[1:], strict=True)
        )
        return builder.select(args[0], first, second)

    return kind(condition, a, b), codegen


def _interpreted_where(condition: Any, a: Any, b: Any) -> Any:
    """a where the condition holds, else b; numbers or vectors, of the dtype of b."""
    return np.where(condition, a, b) if np.ndim(condition) else (a if condition else b)


where: Any = _interpreted_where if config.DISABLE_JIT else _compiled_where


@intrinsic
def _compiled_constant(typing_context, number, like):
    def codegen(context, builder, signature, args):
        return spread(context, builder, number, args[0], like)

    return like(number, like), codegen


def _interpreted_constant(number: float, like: Any) -> Any:
    """The number, rounded to the dtype of a number or vector `like` it."""
    return like.dtype.type(number)


constant: Any = _interpreted_constant if config.DISABLE_JIT else _compiled_constant


@intrinsic
def _compiled_is_single(typing_context, number):
    def codegen(context, builder, signature, args):
        return ir.Constant(ir.IntType(1), int(number == types.float32))

    return types.boolean(number), codegen


def _interpreted_is_single(number: Any) -> bool:
    """Whether a number is of float32: known where it is compiled."""
    return isinstance(number, np.float32)


is_single: Any = _interpreted_is_single if config.DISABLE_JIT else _compiled_is_single


@intrinsic
def _compiled_sqrt(typing_context, value):
    def codegen(context, builder, signature, args):
        kind = args[0].type
        name = f"v{kind.count}" if isinstance(kind, ir.VectorType) else ""
        number = value.dtype if isinstance(value, Vector) else value
        # By hand: llvmlite's own declaration takes no vectors.
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(kind, [kind]), f"llvm.sqrt.{name}f{number.bitwidth}"
        )
        return builder.call(function, args)

    return value(value), codegen


def _interpreted_sqrt(value: Any) -> Any:
    """The square root of a number, or of each of a vector's, correctly rounded."""
    return np.sqrt(value)


sqrt: Any = _interpreted_sqrt if config.DISABLE_JIT else _compiled_sqrt


def vectors(lanes: int) -> Any:
    """A function (buffer, at, count) -> view of so many vectors from `at` on of a flat buffer."""
    if config.DISABLE_JIT:
        return lambda buffer, at, count: buffer[at : at + count * lanes].reshape(count, lanes)

    @intrinsic
    def compiled(typing_context, buffer, at, count):
        # Rows begin at any number, not at whole vectors alone.
        kind = types.Array(Vector(buffer.dtype, lanes), 1, "C", aligned=False)
        return kind(buffer, at, count), _part_of(kind)

    return compiled


def _part_of(kind: types.Array) -> Any:
    def codegen(context, builder, signature, args):
        source = context.make_array(signature.args[0])(context, builder, args[0])
        at, count = (
            context.cast(builder, value, number, types.intp)
            for value, number in zip(args[1:], signature.args[1:], strict=True)
        )
        lanes = kind.dtype.lanes if isinstance(kind.dtype, Vector) else 1
        check_room(context, builder, source, at, [count, context.get_constant(types.intp, lanes)])
        first = builder.gep(source.data, [at])
        first = builder.bitcast(first, context.get_data_type(kind.dtype).as_pointer())
        return view(context, builder, kind, first, [count])

    return codegen


@intrinsic
def _compiled_alike(typing_context, buffer, at, other):
    def codegen(context, builder, signature, args):
        count = context.make_array(other)(context, builder, args[2]).nitems
        part = signature.return_type(buffer, at, types.intp)
        return _part_of(signature.return_type)(context, builder, part, [*args[:2], count])

    return other.copy(readonly=False)(buffer, at, other), codegen


def _interpreted_alike(buffer: NDArray[Any], at: int, other: NDArray[Any]) -> NDArray[Any]:
    """From `at` on of a flat buffer, as many numbers or vectors as another view has."""
    return buffer[at : at + other.size].reshape(other.shape)


alike: Any = _interpreted_alike if config.DISABLE_JIT else _compiled_alike
