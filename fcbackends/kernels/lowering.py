"""How a kernel becomes machine code: with all parts that it calls, as a whole, once.

Numba by itself does the same to each part before, as if it were to be called from Python: that
took 0.4 of the time. What is changed here are Numba's internals; an error where they are others
leads to Numba's own way: see `fcbackends.kernels.jit`.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

from llvmlite.binding import Linkage
from numba.core import typed_passes, untyped_passes
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_machinery import PassManager, register_pass
from numba.core.registry import cpu_target

_NEEDLESS = (
    untyped_passes.InlineClosureLikes,
    untyped_passes.InlineInlinables,
    typed_passes.InlineOverloads,
    typed_passes.IRLegalization,
    typed_passes.NopythonRewrites,
)
"""Passes for closures, for what Numba inlines by itself and for expressions of whole arrays, of
which kernels have none, and one that looks for what can't be compiled."""


class _Kernel(JITCodeLibrary):  # type: ignore[misc]
    """The code of a kernel."""

    def _optimize_final_module(self) -> None:
        # Numba's own has a round before that spares reference counts: kernels have none.
        passes, builder = self._codegen._module_pass_manager()
        passes.run(self._final_module, builder)
        # Parts that are made in functions, each for other values, differ in name by no more than
        # how many a process compiled before. Of two kernels that were read from the cache, one
        # took the other's part of the same name: with momentum it took plain steps.
        for function in self._final_module.functions:
            if function.linkage == Linkage.linkonce_odr:
                function.linkage = Linkage.internal


class _Part(JITCodeLibrary):  # type: ignore[misc]
    """The code of a part, which stays as it is written."""

    def _optimize_functions(self, ll_module: Any) -> None:
        """Leave that to the kernel, whose passes begin with the same: 5 % of the time."""

    def finalize(self) -> None:
        """Neither link, nor optimise, nor make machine code."""

    def get_pointer_to_function(self, name: str) -> int:
        """Refuse: there is no machine code."""
        raise NotImplementedError(name)


@register_pass(mutates_CFG=True, analysis_only=False)
class _KernelLowering(typed_passes.NativeLowering):  # type: ignore[misc]
    _name = "lowering_of_a_kernel"

    def run_pass(self, state: Any) -> bool:
        state.library = _Kernel(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return bool(super().run_pass(state))


@register_pass(mutates_CFG=True, analysis_only=False)
class _PartLowering(typed_passes.NativeLowering):  # type: ignore[misc]
    _name = "lowering_of_a_part"

    def run_pass(self, state: Any) -> bool:
        name = state.func_id.func_qualname
        library = state.library = _Part(state.targetctx.codegen(), name)
        state.flags.no_compile = True
        super().run_pass(state)
        lowered = state["cr"]
        # What callers know the part by; called from Python, it raises KeyError.
        entry = f"{{{name} is called by kernels alone}}".format
        state["cr"] = lowered._replace(cfunc=entry)
        # Callers link these in this order, and LLVM passes over what none of the former calls.
        libraries = dict.fromkeys([library, *library._linking_libraries])
        state.targetctx.insert_user_function(entry, lowered.fndesc, list(libraries))
        return True


def change(pipeline: PassManager, *, of_part: bool) -> None:
    """Make Numba's pipeline one for kernels, or for parts."""
    lowering = _PartLowering if of_part else _KernelLowering
    pipeline.passes = [
        (lowering if step is typed_passes.NativeLowering else step, description)
        for step, description in pipeline.passes
        if step not in _NEEDLESS
    ]


@contextlib.contextmanager
def imported_once() -> Iterator[None]:
    """Numba imports all that declares functions once, and not at each call of an intrinsic.

    A kernel that is read from the cache asks for none of it.
    """
    contexts = cpu_target.target_context, cpu_target.typing_context
    for context in contexts:
        context.load_additional_registries = functools.partial(_load, context, [])
    try:
        yield
    finally:
        for context in contexts:
            del context.load_additional_registries


def _load(context: Any, were_loaded: list[bool]) -> None:
    """Load a context's registries; later, find what is new in them."""
    if not were_loaded:
        were_loaded.append(True)
        type(context).load_additional_registries(context)
    for registry in list(context._registries):
        context.install_registry(registry)
