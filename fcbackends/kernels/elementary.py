"""The elementary functions of one number: `fcbackends.maths.elementary`, compiled.

The same products and sums in the same order, so the same bits. What is exact there, powers of two
and exponents, is here read from and written to the bits of a number. There are no branches and no
tables, so LLVM makes vectors of a loop that calls one of these: on a Zen 4, 1.3 ns for an exp and
2.2 for a tanh.

A float32 has few enough values to try them all: its tanh, always the nearest to the exact value,
comes from fewer digits, in 1.1 ns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fcbackends.kernels.jit import inlined, kernel
from fcbackends.kernels.vectors import is_single

_PER_LN2, _LN2_HIGH, _LN2_LOW, _SQRT2 = map(
    float.fromhex,
    (
        "0x1.71547652b82fep+0",
        "0x1.62e42fefa3800p-1",
        "0x1.ef35793c76730p-45",
        "0x1.6a09e667f3bcdp+0",
    ),
)
_E0, _E1, _E2, _E3, _E4, _E5, _E6, _E7, _E8, _E9 = map(
    float.fromhex,
    (
        "0x1.5555555555556p-3",
        "0x1.5555555555555p-5",
        "0x1.11111111109b5p-7",
        "0x1.6c16c16c167e2p-10",
        "0x1.a01a01a7c2efep-13",
        "0x1.a01a01a47a591p-16",
        "0x1.71de0db2f6b19p-19",
        "0x1.27e4e1f7222cbp-22",
        "0x1.af389ecfc4b9cp-26",
        "0x1.1f66d948a47d2p-29",
    ),
)
_L0, _L1, _L2, _L3, _L4, _L5, _L6 = map(
    float.fromhex,
    (
        "0x1.5555555555558p-1",
        "0x1.99999999952e2p-2",
        "0x1.2492492df148dp-2",
        "0x1.c71c62e5800a1p-3",
        "0x1.7462b4ab2ef6bp-3",
        "0x1.39fe606542ddep-3",
        "0x1.2b584aae78a57p-3",
    ),
)
_PER_HALF_LN2, _HALF_LN2 = map(float.fromhex, ("0x1.71547652b82fep+1", "0x1.62e42fefa39efp-2"))
_T0, _T1, _T2, _T3, _T4, _T5, _T6, _T7, _T8, _T9 = map(
    float.fromhex,
    (
        "-0x1.0000000000001p+1",
        "0x1.5555555555556p+0",
        "-0x1.5555555553d4fp-1",
        "0x1.11111111109adp-2",
        "-0x1.6c16c17893833p-4",
        "0x1.a01a01a7c8d47p-6",
        "-0x1.a019b8ef67c6cp-8",
        "0x1.71de0d9c145d0p-10",
        "-0x1.2891a8c1d838dp-12",
        "0x1.af38d53857513p-15",
    ),
)
"""(1 - e**(-2 * w) - 2 * w) / w**2 where |w| <= ln(2) / 4, but for a share of 2**-54."""
_SPLITTER = 2.0**27 + 1
_LEAST_NORMAL, _TINY = 2.0**-1022, 2.0**-28
_INFINITY, _NAN = np.inf, np.nan
_TEN = np.float32(10)
"""From here on tanh is 1 in float32."""

_ROUNDER = 1.5 * 2.0**52
"""A float64 of this size has no bits for fractions: adding it rounds to an integer, whose bits are
then the sum's lowest."""
_BIASED_ROUNDER = _ROUNDER + 1023
"""The bits are then those of a power of two."""
_ROUNDER_BITS = 0x4338000000000000
_FRACTION_BITS, _ONE_BITS = 0x000FFFFFFFFFFFFF, 0x3FF0000000000000


@inlined
def exp(x):
    """e**x, in float64."""
    x = np.float64(x)
    x = 710.0 if x > 710.0 else x
    x = -746.0 if x < -746.0 else x
    k, h, t = _exponential(x)
    y, _ = _one_plus(h, t)
    first, second = _factors(k)
    return (y * first) * second


@inlined
def log(x):
    """The natural logarithm, in float64."""
    x = np.float64(x)
    inside = (x > 0.0) & (x < _INFINITY)
    k, f = _exponent(x if inside else 1.0)
    high, low = _logarithm(k, f, 0.0)
    outside = -_INFINITY if x == 0.0 else (x if x > 0.0 else _NAN)
    return high + low if inside else outside


@inlined
def sigmoid(x):
    """1 / (1 + e**-x), in float64."""
    x = np.float64(x)
    y, y_low, first, second = _exp_minus_abs(x)
    d, d_low = _fast_two_sum(1.0, (y * first) * second)
    d_low = d_low + (y_low * first) * second
    negative = x < 0.0
    n, n_low = y if negative else 1.0, y_low if negative else 0.0
    first, second = first if negative else 1.0, second if negative else 1.0
    return (_quotient(n, n_low, d, d_low) * first) * second


@inlined
def tanh(x):
    """The hyperbolic tangent, in float64: of a float32, to be rounded to one."""
    return _tanh_of_single(x) if is_single(x) else _tanh_of_double(np.float64(x))


@inlined
def _tanh_of_double(x):
    a = abs(x)
    k, h, t = _exponential(-2.0 * (22.0 if a > 22.0 else a))
    p = _power_of_two(k)
    n, n_low = _one_plus_multiple(-p, h, t)
    d, d_low = _one_plus_multiple(p, h, t)
    y = _quotient(n, n_low, d, d_low)
    y = -y if x < 0.0 else y
    return x if a < _TINY else y


@inlined
def softplus(x):
    """log(1 + e**x), in float64."""
    x = np.float64(x)
    y, y_low, first, second = _exp_minus_abs(x)
    m, c = _fast_two_sum(1.0, (y * first) * second)
    above = m > _SQRT2
    half = 0.5 if above else 1.0
    f, c = _fast_two_sum(m * half - 1.0, c * half)
    c = c + ((y_low * first) * second) * half
    high, low = _logarithm(1.0 if above else 0.0, f, c)
    p = x if x > 0.0 else 0.0
    total = p + high
    of_high = total - p
    error = (p - (total - of_high)) + (high - of_high)
    y = total + (error + low)
    return x if x > 40.0 else y


@inlined
def _tanh_of_single(x):
    x = _TEN if x > _TEN else x
    x = np.float64(-_TEN if x < -_TEN else x)
    shifted = _BIASED_ROUNDER - x * _PER_HALF_LN2
    w = x - (_BIASED_ROUNDER - shifted) * _HALF_LN2
    p = np.int64(np.float64(shifted).view(np.int64) << 52).view(np.float64)
    w2 = w * w
    lower = (_T0 + _T1 * w) + (_T2 + _T3 * w) * w2
    upper = (_T4 + _T5 * w) + ((_T6 + _T7 * w) + (_T8 + _T9 * w) * w2) * w2
    # 1 - e**(-2 * x), with the sign of x where that is zero.
    m = p * ((w + w) + (lower + upper * (w2 * w2)) * w2) - (p - 1.0)
    return m / (2.0 - m)


# --- exponentials --------------------------------------------------------------------------------


@inlined
def _exponential(x):
    k = (x * _PER_LN2 + _ROUNDER) - _ROUNDER
    h = x - k * _LN2_HIGH
    h_low = k * _LN2_LOW
    r = h - h_low
    r2 = r * r
    r4 = r2 * r2
    lower = (_E0 + _E1 * r) + (_E2 + _E3 * r) * r2
    upper = (_E4 + _E5 * r) + (_E6 + _E7 * r) * r2
    cubic = (r2 * r) * (lower + (upper + (_E8 + _E9 * r) * r4) * r4)
    return k, h, 0.5 * r2 + (cubic - h_low)


@inlined
def _one_plus(h, t):
    total, error = _fast_two_sum(1.0, h)
    return _fast_two_sum(total, error + t)


@inlined
def _one_plus_multiple(p, h, t):
    total, error = _fast_two_sum(1.0, p)
    total, error_of_h = _fast_two_sum(total, p * h)
    return _fast_two_sum(total, (error + error_of_h) + p * t)


@inlined
def _exp_minus_abs(x):
    a = -abs(x)
    k, h, t = _exponential(-746.0 if a < -746.0 else a)
    y, y_low = _one_plus(h, t)
    first, second = _factors(k)
    return y, y_low, first, second


@inlined
def _factors(k):
    half = (0.5 * k + _ROUNDER) - _ROUNDER
    return _power_of_two(half), _power_of_two(k - half)


# --- logarithms ----------------------------------------------------------------------------------


@inlined
def _logarithm(k, f, c):
    s = f * (1.0 / (2.0 + f))
    z = s * s
    z2 = z * z
    lower = (_L0 + _L1 * z) + (_L2 + _L3 * z) * z2
    upper = (_L4 + _L5 * z) + _L6 * z2
    series = z * (lower + upper * (z2 * z2))
    f_high = _head(f)
    f_low = f - f_high
    half, half_low = (0.5 * f_high) * f_high, (0.5 * f_low) * (f + f_high)
    small = s * ((half + half_low) + series) - half_low
    of_c = c - c * ((s + s) * (1.0 - s))
    total, error = _fast_two_sum(k * _LN2_HIGH, f)
    high, error_of_half = _fast_two_sum(total, -half)
    return high, (error + error_of_half) + ((k * _LN2_LOW + of_c) + small)


# --- exact parts ---------------------------------------------------------------------------------


@inlined
def _fast_two_sum(a, b):
    total = a + b
    return total, (a - total) + b


@inlined
def _head(a):
    longer = _SPLITTER * a
    return longer - (longer - a)


@inlined
def _quotient(a, a_low, b, b_low):
    r = 1.0 / b
    q = _head(a * r)
    b_high = _head(b)
    rest = ((a - q * b_high) - q * ((b - b_high) + b_low)) + a_low
    return q + rest * r


@inlined
def _power_of_two(k):
    return np.int64((np.float64(k + _ROUNDER).view(np.int64) + 1023) << 52).view(np.float64)


@inlined
def _exponent(x):
    is_subnormal = x < _LEAST_NORMAL
    bits = np.float64(x * 2.0**54 if is_subnormal else x).view(np.int64)
    field = np.int64((bits >> 52) + _ROUNDER_BITS).view(np.float64) - _ROUNDER
    k = field - (1077.0 if is_subnormal else 1023.0)
    m = np.int64((bits & _FRACTION_BITS) | _ONE_BITS).view(np.float64)
    above = m > _SQRT2
    return k + 1.0 if above else k, (0.5 * m if above else m) - 1.0


# --- arrays --------------------------------------------------------------------------------------


def _signature(real, arithmetic):
    return real[::1], real[::1]


def _of_arrays(function: Callable[..., Any]) -> Callable[..., Callable[..., Any]]:
    """The family of kernels (x, y): y[i] = function(x[i]), in float64 and rounded once."""

    def elementwise(x, y):
        for i in range(x.shape[0]):
            y[i] = function(x[i])

    elementwise.__name__ = function.__name__
    return kernel(_signature, of_any_shape=False)(elementwise)


ELEMENTWISE = {
    function.__name__: _of_arrays(function) for function in (exp, log, sigmoid, tanh, softplus)
}
"""By name: the family of kernels of a function, over two rows."""
