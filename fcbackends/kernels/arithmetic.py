"""How a product joins a sum: the arithmetic that a kernel is compiled for.

An arithmetic is a tuple without fields that is handed down to where terms are summed: Numba
compiles anew for each class, and at run time nothing is handed down. Sums begin with -0.0, to
which any arithmetic adds a first product as it is.
"""

from __future__ import annotations

import functools
import warnings
from typing import Any, NamedTuple

from llvmlite import ir
from numba import config
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from fcbackends.kernels.libm import c_fma
from fcbackends.kernels.vectors import spread


class Ordered(NamedTuple):
    """One rounding for the product and one for the sum."""

    @staticmethod
    def is_apart() -> bool:
        """Whether product and sum are two instructions."""
        return True

    @staticmethod
    def emit(builder: Any, total: Any, a: Any, b: Any) -> Any:
        """total + a * b, of LLVM's numbers or of its vectors."""
        return builder.fadd(total, builder.fmul(a, b))

    @staticmethod
    def interpret(total: Any, a: Any, b: Any) -> Any:
        """total + a * b, of NumPy's numbers or arrays."""
        return total + a * b


class Fused(NamedTuple):
    """One rounding for both."""

    @staticmethod
    def is_apart() -> bool:
        """Whether product and sum are two instructions."""
        return False

    @staticmethod
    def emit(builder: Any, total: Any, a: Any, b: Any) -> Any:
        """total + a * b, of LLVM's numbers or of its vectors.

        Declared by hand: llvmlite's own takes no vectors. LLVM makes one instruction of it, or
        calls the C library's function where a target has none.
        """
        kind = total.type
        of_vector = isinstance(kind, ir.VectorType)
        number = kind.element if of_vector else kind
        name = f"v{kind.count}" if of_vector else ""
        name += "f32" if isinstance(number, ir.FloatType) else "f64"
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(kind, [kind] * 3), f"llvm.fma.{name}"
        )
        return builder.call(function, [a, b, total])

    @staticmethod
    def interpret(total: Any, a: Any, b: Any) -> Any:
        """total + a * b, of NumPy's numbers or arrays."""
        return c_fma(total.dtype.name)(a, b, total)


ARITHMETICS = {"ordered": Ordered(), "fused": Fused()}
"""By name."""


class SlowArithmeticWarning(UserWarning):
    """The CPU lacks an instruction; the results are the same."""


@functools.cache
def warn_if_slow(name: str) -> None:
    """Say once that fused arithmetic calls a function for each term."""
    triple, _, features = cpu_target.target_context.codegen().magic_tuple()
    has_instruction = not triple.startswith(("x86", "i686")) or "+fma" in features.split(",")
    if name == "fused" and not has_instruction:
        warnings.warn(
            "arithmetic 'fused' is slow here: the CPU that is compiled for has no fused "
            "multiply-add. The bits are the same; 'ordered' is faster",
            SlowArithmeticWarning,
            stacklevel=2,
        )


@intrinsic
def _compiled_plus_product(typing_context, arithmetic, total, a, b):
    def codegen(context, builder, signature, args):
        kinds = zip(signature.args[1:], args[1:], strict=True)
        terms = (spread(context, builder, kind, value, total) for kind, value in kinds)
        return arithmetic.instance_class.emit(builder, *terms)

    return total(arithmetic, total, a, b), codegen


def _interpreted_plus_product(arithmetic: Any, total: Any, a: Any, b: Any) -> Any:
    """total + a * b, as the arithmetic has it."""
    return arithmetic.interpret(total, a, b)


plus_product: Any = _interpreted_plus_product if config.DISABLE_JIT else _compiled_plus_product
