"""The C library's fused multiply-add, for what is not compiled."""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np


@functools.cache
def c_fma(dtype: str) -> Callable[[Any, Any, Any], Any]:
    """(a, b, c) -> a * b + c, rounded once: numbers or arrays of this dtype.

    C11, 7.12.13.1. One number takes a third of a microsecond.
    """
    name = "ucrtbase" if sys.platform == "win32" else ctypes.util.find_library("m")
    library = ctypes.CDLL(name)
    function, real = {
        "float32": (library.fmaf, ctypes.c_float),
        "float64": (library.fma, ctypes.c_double),
    }[dtype]
    function.restype, function.argtypes = real, [real] * 3
    elementwise = np.frompyfunc(function, 3, 1)
    kind = np.dtype(dtype).type

    def fma(a: Any, b: Any, c: Any) -> Any:
        result = elementwise(a, b, c)
        return result.astype(kind) if isinstance(result, np.ndarray) else kind(result)

    return fma
