"""The house decorators: every compilation option in one place, with its reason."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
from numba import njit, types

from fcbackends.kernels.cache import KernelCache

# nogil: other Python threads run while a kernel does.
# error_model: no ZeroDivisionError branch in the loops.
# fastmath stays off: reassociation and contraction change bits.
# _nrt off: no reference counts on views (they made the notebook's step four times slower), and a
# kernel that would allocate does not compile.
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": False,
    "_nrt": False,
}

# What is called by kernels alone needs no way in from Python: a sixth of the time to compile.
_PARTS: dict[str, Any] = {**_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}

inlined = njit(forceinline=True, **_PARTS)
"""For the parts of kernels that are worth less than a call."""

called = njit(**_PARTS)
"""For the larger parts: LLVM inlines where that pays; forcing it tripled the time to compile."""

REALS = {"float32": types.float32, "float64": types.float64}

FAMILIES: dict[str, Callable[[str], Callable[..., Any]]] = {}
"""The families of kernels that serve networks of any shape, by name: "module.function"."""


def kernel(
    signature: Callable[[types.Float], tuple[types.Type, ...]], *, of_any_shape: bool = True
) -> Callable[[Callable[..., Any]], Callable[[str], Callable[..., Any]]]:
    """Make a function a family of kernels: `family(dtype)` is the one for that dtype.

    Each is compiled for the one `signature` of its dtype at its first use, or loaded from the
    disk cache; arrays that differ from it in dtype or layout are refused by Numba.
    """

    def decorate(function: Callable[..., Any]) -> Callable[[str], Callable[..., Any]]:
        name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"

        @functools.cache
        def family(dtype: str) -> Callable[..., Any]:
            if numba.config.DISABLE_JIT:
                return function
            dispatcher: Any = njit(no_cfunc_wrapper=True, **_OPTIONS)(function)
            dispatcher._cache = KernelCache(f"{name}-{dtype}")
            dispatcher.compile(signature(REALS[dtype]))
            dispatcher.disable_compile()
            return dispatcher

        if of_any_shape:
            FAMILIES[name] = family
        return functools.update_wrapper(family, function)

    return decorate
