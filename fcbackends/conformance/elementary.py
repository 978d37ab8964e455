"""Elementary functions, written a second time from the contract's page, for NumPy's float64 arrays.

Exponents are the C library's; for all else there are ufuncs alone, so that arrays that flush
subnormal numbers do so here as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]

_H, _L = float.fromhex("0x1.62e42fefa3800p-1"), float.fromhex("0x1.ef35793c76730p-45")
_I = float.fromhex("0x1.71547652b82fep+0")
_P = [
    float.fromhex(digits)
    for digits in (
        *("0x1.5555555555556p-3", "0x1.5555555555555p-5", "0x1.11111111109b5p-7"),
        *("0x1.6c16c16c167e2p-10", "0x1.a01a01a7c2efep-13", "0x1.a01a01a47a591p-16"),
        *("0x1.71de0db2f6b19p-19", "0x1.27e4e1f7222cbp-22", "0x1.af389ecfc4b9cp-26"),
        "0x1.1f66d948a47d2p-29",
    )
]


def where(condition: Floats, one: Any, other: Any) -> Floats:
    """As NumPy's own, which makes plain arrays of those that flush."""
    return np.where(condition, one, other).view(type(condition))


_Q = [
    float.fromhex(digits)
    for digits in (
        *("0x1.5555555555558p-1", "0x1.99999999952e2p-2", "0x1.2492492df148dp-2"),
        *("0x1.c71c62e5800a1p-3", "0x1.7462b4ab2ef6bp-3", "0x1.39fe606542ddep-3"),
        "0x1.2b584aae78a57p-3",
    )
]
_ROOT = float.fromhex("0x1.6a09e667f3bcdp+0")


def _add(a: Any, b: Floats) -> tuple[Floats, Floats]:
    s = a + b
    return s, (a - s) + b


def _head(a: Floats) -> Floats:
    c = 134217729.0 * a
    return c - (c - a)


def _scaled(y: Floats, k: Floats) -> Floats:
    return np.ldexp(y, k.astype(np.int64))


def _parts(x: Floats) -> tuple[Floats, Floats, Floats]:
    p = _P
    k = np.rint(x * _I)
    h = x - k * _H
    of_k = k * _L
    r = h - of_k
    r2 = r * r
    r4 = r2 * r2
    a = (p[0] + p[1] * r) + (p[2] + p[3] * r) * r2
    b = (p[4] + p[5] * r) + (p[6] + p[7] * r) * r2
    c = (r2 * r) * (a + (b + (p[8] + p[9] * r) * r4) * r4)
    return k, h, 0.5 * r2 + (c - of_k)


def _quotient(a: Any, a_low: Any, b: Floats, b_low: Floats) -> Floats:
    r = 1.0 / b
    q, g = _head(a * r), _head(b)
    return q + (((a - q * g) - q * ((b - g) + b_low)) + a_low) * r


def _logarithm(k: Floats, f: Floats, c: Any) -> tuple[Floats, Floats]:
    q = _Q
    s = f * (1.0 / (2.0 + f))
    z = s * s
    z2 = z * z
    a = (q[0] + q[1] * z) + (q[2] + q[3] * z) * z2
    b = (q[4] + q[5] * z) + q[6] * z2
    u = z * (a + b * (z2 * z2))
    g = _head(f)
    d, d_low = (0.5 * g) * g, (0.5 * (f - g)) * (f + g)
    v = s * ((d + d_low) + u) - d_low
    w = c - c * ((s + s) * (1.0 - s))
    m, e = _add(k * _H, f)
    m, e_of_d = _add(m, -d)
    return m, (e + e_of_d) + ((k * _L + w) + v)


def exp(x: Floats) -> Floats:
    """e**x, for numbers of at most 0 and NaN."""
    k, h, t = _parts(np.maximum(where(np.isnan(x), 0.0, x), -746.0))
    s, e = _add(1.0, h)
    return where(np.isnan(x), x, _scaled(s + (e + t), k))


def log(x: Floats) -> Floats:
    """The natural logarithm, of numbers of at least 1 and NaN."""
    m, k = np.frexp(where(x >= 1, x, 1.0).view(np.ndarray))
    low = 2 * m <= _ROOT
    m, k = np.where(low, 2 * m, m), (k - low).astype(np.float64)
    high, rest = _logarithm(k.view(type(x)), m.view(type(x)) - 1.0, 0.0)
    return where(np.isfinite(x), high + rest, x)


def softplus(x: Floats) -> Floats:
    """log(1 + e**x), of numbers of at most 0 and NaN."""
    k, h, t = _parts(np.maximum(where(np.isnan(x), 0.0, x), -746.0))
    s, e = _add(1.0, h)
    y, y_low = _add(s, e + t)
    m, c = _add(1.0, _scaled(y, k))
    above = m > _ROOT
    half = where(above, 0.5, 1.0 + 0.0 * k)
    f, c = _add(m * half - 1.0, c * half)
    a, rest = _logarithm(where(above, 1.0, 0.0 * k), f, c + _scaled(y_low, k) * half)
    return where(np.isnan(x), x, a + rest)


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + e**-x)."""
    finite = where(np.isnan(x), 0.0, x)
    k, h, t = _parts(np.maximum(-abs(finite), -746.0))
    s, e = _add(1.0, h)
    y, y_low = _add(s, e + t)
    d, d_low = _add(1.0, _scaled(y, k))
    d_low = d_low + _scaled(y_low, k)
    below = _scaled(_quotient(y, y_low, d, d_low), k)
    return where(np.isnan(x), x, where(x < 0, below, _quotient(1.0, 0.0, d, d_low)))


def tanh(x: Floats) -> Floats:
    """The hyperbolic tangent."""
    size = abs(where(np.isnan(x), 0.0, x))
    k, h, t = _parts(-2.0 * np.minimum(size, 22.0))
    power = _scaled(1.0 + 0.0 * k, k)
    both: list[Floats] = []
    for s in (-power, power):
        m, e = _add(1.0, s)
        m, e_of_h = _add(m, s * h)
        both += _add(m, (e + e_of_h) + s * t)
    y = np.copysign(_quotient(*both), x)
    return where(np.isnan(x) | (size < 2.0**-28), x, y)
