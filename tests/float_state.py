"""Ways to change a thread's floating-point environment, for processes of the tests' own."""

import platform
import sys

import pytest

needs_x86 = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64") or sys.platform == "win32",
    reason="sets a register of x86",
)

SETS_REGISTER = """
import ctypes
from llvmlite import binding

def _registers():
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    code = '''
declare void @llvm.x86.sse.ldmxcsr(i8*)
declare void @llvm.x86.sse.stmxcsr(i8*)
define void @set(i32 %value) {
  %p = alloca i32
  store i32 %value, i32* %p
  %q = bitcast i32* %p to i8*
  call void @llvm.x86.sse.ldmxcsr(i8* %q)
  ret void
}
define i32 @get() {
  %p = alloca i32
  %q = bitcast i32* %p to i8*
  call void @llvm.x86.sse.stmxcsr(i8* %q)
  %value = load i32, i32* %p
  ret i32 %value
}
'''
    machine = binding.Target.from_default_triple().create_target_machine()
    engine = binding.create_mcjit_compiler(binding.parse_assembly(code), machine)
    set_register = ctypes.CFUNCTYPE(None, ctypes.c_uint32)(engine.get_function_address("set"))
    get_register = ctypes.CFUNCTYPE(ctypes.c_uint32)(engine.get_function_address("get"))
    return engine, set_register, get_register

_engine, set_register, get_register = _registers()
PLAIN, FLUSHES = 0x1F80, 0x9FC0  # what a process begins with; with FTZ and DAZ
DOWN, UP, TO_ZERO = (0x1F80 | mode << 13 for mode in (1, 2, 3))
CONTROL = 0xFFC0  # without the flags of what came up
"""
"""What a library compiled with -ffast-math does when it is loaded, and what fesetround does."""
