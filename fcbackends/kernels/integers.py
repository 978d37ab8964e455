"""Arithmetic of integers, for use inside a kernel."""

from __future__ import annotations

from fcbackends.kernels.jit import inlined


@inlined
def smaller(a, b):
    """The smaller of two; of Python's own `min` Numba makes a function apart, machine code too."""
    return a if a < b else b
