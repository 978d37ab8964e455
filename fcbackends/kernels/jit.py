"""The house decorators: every compilation option in one place, with its reason."""

from __future__ import annotations

import contextlib
import functools
import gc
from collections.abc import Callable, Iterator
from typing import Any

import numba
from numba import njit, typeof, types
from numba.core.compiler import Compiler
from numba.core.compiler_lock import global_compiler_lock

from fcbackends.kernels.arithmetic import ARITHMETICS, warn_if_slow
from fcbackends.kernels.cache import KernelCache, warn_once

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

_parts: list[Any] = []
_as_numba_does = False


class _Compiler(Compiler):  # type: ignore[misc]
    """Makes machine code of a kernel with its parts: that takes half of the time of Numba's own."""

    of_part = False

    def define_pipelines(self) -> list[Any]:
        pipelines: list[Any] = super().define_pipelines()
        if not _as_numba_does:
            from fcbackends.kernels import lowering

            lowering.change(pipelines[0], of_part=self.of_part)
        return pipelines


class _PartCompiler(_Compiler):
    of_part = True


def _part(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    # What is called by kernels alone needs no way in from Python.
    compiled = njit(
        pipeline_class=_PartCompiler,
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
        **_OPTIONS,
        **options,
    )

    def decorate(function: Callable[..., Any]) -> Any:
        part = compiled(function)
        _parts.append(part)
        return part

    return decorate


def _compile_as_numba_does() -> None:
    """From now on compile as Numba does by itself, all parts anew."""
    global _as_numba_does
    with global_compiler_lock:
        _as_numba_does = True
        for part in _parts:
            part.overloads.clear()


inlined = _part(forceinline=True)
"""For the parts of kernels that are worth less than a call."""

called = _part()
"""For the larger parts: LLVM inlines where that pays; forcing it tripled the time to compile."""

REALS = {"float32": types.float32, "float64": types.float64}

_made: dict[tuple[Callable[..., Any], str, str], Callable[..., Any]] = {}
"""The kernels of this process, by family, dtype and arithmetic."""

FAMILIES: dict[str, Callable[..., Callable[..., Any]]] = {}
"""The families of kernels that serve networks of any shape, by name: "module.function"."""


def _compile(
    function: Callable[..., Any], signature: tuple[types.Type, ...], cache: KernelCache
) -> Callable[..., Any]:
    dispatcher: Any = njit(pipeline_class=_Compiler, no_cfunc_wrapper=True, **_OPTIONS)(function)
    dispatcher._cache = cache
    with _no_garbage_collected(), _imported_once():
        dispatcher.compile(signature)
    dispatcher.disable_compile()
    return dispatcher


def _imported_once() -> contextlib.AbstractContextManager[None]:
    if _as_numba_does:
        return contextlib.nullcontext()
    from fcbackends.kernels import lowering

    return lowering.imported_once()


@contextlib.contextmanager
def _no_garbage_collected() -> Iterator[None]:
    """Compiling makes millions of objects that stay until its end: to look through them is 4 %."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def kernel(
    signature: Callable[[types.Float, types.Type], tuple[types.Type, ...]],
    *,
    of_any_shape: bool = True,
) -> Callable[[Callable[..., Any]], Callable[..., Callable[..., Any]]]:
    """Make a function a family of kernels: `family(dtype, arithmetic)` is the one for those.

    Each is compiled for its one `signature`, of (dtype, arithmetic), at its first use, or loaded
    from the disk cache; arrays that differ from it in dtype or layout are refused by Numba.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Callable[..., Any]]:
        name = _name(function)

        def family(dtype: str, arithmetic: str = "ordered") -> Callable[..., Any]:
            key = family, dtype, arithmetic
            if key not in _made:
                # Threads that want the same kernel wait for the one that makes it.
                with global_compiler_lock:
                    if key not in _made:
                        make(dtype, arithmetic)
            return _made[key]

        def make(dtype: str, arithmetic: str) -> None:
            key = family, dtype, arithmetic
            if numba.config.DISABLE_JIT:
                _made[key] = function
                return
            warn_if_slow(arithmetic)
            cache = _cache(name, dtype, arithmetic)
            arguments = signature(REALS[dtype], typeof(ARITHMETICS[arithmetic]))
            try:
                _made[key] = _compile(function, arguments, cache)
            except Exception:
                # Another Numba, with other internals: slower, and the same code.
                _compile_as_numba_does()
                _made[key] = _compile(function, arguments, cache)
            if cache.trouble:
                # Where warnings are errors, it is an error, and the kernel is there all the same.
                warn_once(cache.trouble)

        if of_any_shape:
            FAMILIES[name] = family
        return functools.update_wrapper(family, function)

    return decorate


def is_there(family: Callable[..., Any], dtype: str, arithmetic: str) -> bool:
    """Whether a family's kernel need not be compiled: it is in the process or the disk cache."""
    known = (family, dtype, arithmetic) in _made
    return known or _cache(_name(family), dtype, arithmetic).is_kept()


def _name(function: Callable[..., Any]) -> str:
    return f"{function.__module__.rpartition('.')[2]}.{function.__name__}"


def _cache(name: str, dtype: str, arithmetic: str) -> KernelCache:
    return KernelCache(f"{name}-{arithmetic}-{dtype}")


@functools.cache
def entry(kernel: Any) -> Callable[..., Any]:
    """The way into a kernel that chooses no signature by its arguments: 0.33 us, and not 0.79.

    Of an array it checks no more than its axes and the size of its numbers.
    """
    if numba.config.DISABLE_JIT:
        return kernel
    (compiled,) = kernel.overloads.values()
    return compiled.entry_point
