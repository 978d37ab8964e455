"""The contract's fused arithmetic, written a second time: by exact fractions, and by C's fma."""

import ctypes
import ctypes.util
import functools
from fractions import Fraction
from types import SimpleNamespace

import numpy as np

from tests.loss_oracle import loss_and_gradient
from tests.oracle import (
    backward,
    descend,
    fast,
    lists,
    loss,
    network_of,
    quiet,
    relu,
    relu_backward,
    table,
)


def rounded(exact, dtype):
    """A fraction that is not 0 in the dtype: to nearest, ties to even, with the dtype's limits."""
    info = np.finfo(dtype)
    exponent = exact.numerator.bit_length() - exact.denominator.bit_length()
    sign = 1.0 if exact > 0 else -1.0
    exponent -= Fraction(2) ** exponent > abs(exact)
    unit = Fraction(2) ** (max(exponent, int(info.minexp)) - info.nmant)
    value = round(exact / unit) * unit  # of two as near, Python takes the even one
    if abs(value) >= Fraction(2) ** int(info.maxexp):
        return np.dtype(dtype).type(sign * np.inf)
    if value == 0:
        return np.dtype(dtype).type(sign * 0.0)
    return np.dtype(dtype).type(float(value))


@quiet
def fma(a, b, c):
    """a * b + c of NumPy's numbers, by exact fractions."""
    dtype = c.dtype
    if not (np.isfinite(a) and np.isfinite(b)):
        return a * b + c
    if not np.isfinite(c):
        return c
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    # The sum of two zeros, or of x and -x, is exact, and so is its sign.
    zeros = np.copysign(dtype.type(0), a) * np.copysign(dtype.type(1), b)
    return rounded(exact, dtype) if exact else (zeros if a == 0 or b == 0 else -c) + c


def _fused_sum(pairs, dtype):
    total = None
    for a, b in pairs:
        total = a * b if total is None else fma(a, b, total)
    return np.dtype(dtype).type(0) if total is None else total


@quiet
def fused_forward(x, w, b):
    dtype, (n, k), m = x.dtype, x.shape, w.shape[1]
    xs, ws, bs = lists(x), lists(w), list(b)
    return table(
        lambda i, j: _fused_sum(((xs[i][q], ws[q][j]) for q in range(k)), dtype) + bs[j],
        (n, m),
        dtype,
    )


@quiet
def fused_backward(dy, x, w):
    dtype, (n, k), m = x.dtype, x.shape, w.shape[1]
    xs, ws, ds = lists(x), lists(w), lists(dy)
    dw = table(
        lambda q, j: _fused_sum(((xs[i][q], ds[i][j]) for i in range(n)), dtype), (k, m), dtype
    )
    dx = table(
        lambda i, q: _fused_sum(((ds[i][j], ws[q][j]) for j in range(m)), dtype), (n, k), dtype
    )
    return dw, backward(dy, x, w)[1], dx


slow_fused = network_of(
    SimpleNamespace(
        forward=fused_forward,
        loss=loss,
        loss_and_gradient=loss_and_gradient,
        backward=fused_backward,
        relu=relu,
        relu_backward=relu_backward,
        descend=descend,
    )
)


@functools.cache
def _c_fma(dtype):
    """The C library's, element by element."""
    name, real = {"float32": ("fmaf", ctypes.c_float), "float64": ("fma", ctypes.c_double)}[dtype]
    function = getattr(ctypes.CDLL(ctypes.util.find_library("m")), name)
    function.restype, function.argtypes = real, [real] * 3
    return np.frompyfunc(function, 3, 1)


def _fused_product(a, b):
    if len(b) == 0:
        return np.zeros((len(a), b.shape[1]), a.dtype)
    fma, total = _c_fma(a.dtype.name), a[:, 0, None] * b[0]
    for k in range(1, len(b)):
        total = fma(a[:, k, None], b[k], total).astype(a.dtype)
    return total


@quiet
def _fast_fused_backward(dy, x, w):
    return _fused_product(x.T, dy), fast.backward(dy, x, w)[1], _fused_product(dy, w.T)


fused = network_of(
    SimpleNamespace(
        forward=quiet(lambda x, w, b: _fused_product(x, w) + b),
        loss=fast.loss,
        loss_and_gradient=loss_and_gradient,
        backward=_fast_fused_backward,
        relu=fast.relu,
        relu_backward=fast.relu_backward,
        descend=fast.descend,
    )
)
