"""Parts of kernels as LLVM's language, which is optimised and made machine code in kernels alone.

This leans on Numba's internals. Whatever it raises where they are others leads to parts compiled
in full: see `fcbackends.kernels.jit`.
"""

from __future__ import annotations

from typing import Any

from numba.core import typed_passes, untyped_passes
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_machinery import PassManager, register_pass

_NEEDLESS = (untyped_passes.InlineClosureLikes, typed_passes.NopythonRewrites)
"""Passes for closures and for expressions of whole arrays, which parts have none of."""


class _Library(JITCodeLibrary):  # type: ignore[misc]
    """The code of one part, as it is written."""

    def finalize(self) -> None:
        """Leave the code as it is; Numba's own links, optimises and makes machine code."""

    def get_pointer_to_function(self, name: str) -> int:
        """Refuse: there is no machine code."""
        raise NotImplementedError(name)


@register_pass(mutates_CFG=True, analysis_only=False)
class _Lowering(typed_passes.NativeLowering):  # type: ignore[misc]
    """Numba's own lowering into a library of that kind."""

    _name = "lowering_of_a_part"

    def run_pass(self, state: Any) -> bool:
        name = state.func_id.func_qualname
        library = state.library = _Library(state.targetctx.codegen(), name)
        state.flags.no_compile = True
        super().run_pass(state)
        lowered = state["cr"]
        # What callers know the part by; called from Python, it raises KeyError.
        entry = f"{{{name} is called by kernels alone}}".format
        state["cr"] = lowered._replace(cfunc=entry)
        # A kernel links what stands here in this order, and LLVM passes over what none of the
        # former calls.
        libraries = dict.fromkeys([library, *library._linking_libraries])
        state.targetctx.insert_user_function(entry, lowered.fndesc, list(libraries))
        return True


def stop_at_llvm(pipeline: PassManager) -> None:
    """Change Numba's pipeline into one for parts."""
    pipeline.passes = [
        (_Lowering if step is typed_passes.NativeLowering else step, description)
        for step, description in pipeline.passes
        if step not in _NEEDLESS
    ]
