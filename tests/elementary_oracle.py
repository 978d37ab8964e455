"""The elementary functions of the contract's page, written down a second time, and exact ones.

Nothing here imports the package under test. `ordered` has the algorithms for one number, with
Python's floats, which are IEEE 754's, and its own ways to exponents. `exact` is mpmath's.
"""

import math
from types import SimpleNamespace

import mpmath
import numpy as np

PER_LN2 = float.fromhex("0x1.71547652b82fep+0")
LN2_HIGH = float.fromhex("0x1.62e42fefa3800p-1")
LN2_LOW = float.fromhex("0x1.ef35793c76730p-45")
SQRT2 = float.fromhex("0x1.6a09e667f3bcdp+0")
E = list(
    map(
        float.fromhex,
        (
            *("0x1.5555555555556p-3", "0x1.5555555555555p-5", "0x1.11111111109b5p-7"),
            *("0x1.6c16c16c167e2p-10", "0x1.a01a01a7c2efep-13", "0x1.a01a01a47a591p-16"),
            *("0x1.71de0db2f6b19p-19", "0x1.27e4e1f7222cbp-22", "0x1.af389ecfc4b9cp-26"),
            "0x1.1f66d948a47d2p-29",
        ),
    )
)
L = list(
    map(
        float.fromhex,
        (
            *("0x1.5555555555558p-1", "0x1.99999999952e2p-2", "0x1.2492492df148dp-2"),
            *("0x1.c71c62e5800a1p-3", "0x1.7462b4ab2ef6bp-3", "0x1.39fe606542ddep-3"),
            "0x1.2b584aae78a57p-3",
        ),
    )
)


# --- in the contract's order ---------------------------------------------------------------------


def add(a, b):
    s = a + b
    return s, (a - s) + b


def head(a):
    c = 134217729.0 * a
    return c - (c - a)


def scaled(y, k):
    """y * 2**k, rounded once; what is too large is infinite."""
    try:
        return math.ldexp(y, k)
    except OverflowError:
        return math.inf


def parts(x):
    k = round(x * PER_LN2)
    h = x - k * LN2_HIGH
    l = k * LN2_LOW  # noqa: E741
    r = h - l
    r2 = r * r
    r4 = r2 * r2
    low = (E[0] + E[1] * r) + (E[2] + E[3] * r) * r2
    high = (E[4] + E[5] * r) + (E[6] + E[7] * r) * r2
    q = (r2 * r) * (low + (high + (E[8] + E[9] * r) * r4) * r4)
    return k, h, 0.5 * r2 + (q - l)


def near_one(h, t):
    s, e = add(1.0, h)
    return add(s, e + t)


def quotient(a, a_low, b, b_low):
    r = 1.0 / b
    q, b_high = head(a * r), head(b)
    rest = ((a - q * b_high) - q * ((b - b_high) + b_low)) + a_low
    return q + rest * r


def logarithm(k, f, c):
    s = f * (1.0 / (2.0 + f))
    z = s * s
    z2 = z * z
    low = (L[0] + L[1] * z) + (L[2] + L[3] * z) * z2
    high = (L[4] + L[5] * z) + L[6] * z2
    u = z * (low + high * (z2 * z2))
    f_high = head(f)
    g, g_low = (0.5 * f_high) * f_high, (0.5 * (f - f_high)) * (f + f_high)
    v = s * ((g + g_low) + u) - g_low
    w = c - c * ((s + s) * (1.0 - s))
    a, e = add(k * LN2_HIGH, f)
    a, e_of_g = add(a, -g)
    return a, (e + e_of_g) + ((k * LN2_LOW + w) + v)


def exp(x):
    if math.isnan(x):
        return x
    k, h, t = parts(min(max(x, -746.0), 710.0))
    return scaled(near_one(h, t)[0], k)


def log(x):
    if not 0 < x < math.inf:
        return -math.inf if x == 0 else x if x > 0 else math.nan
    m, k = math.frexp(x)
    if 2 * m <= SQRT2:
        m, k = 2 * m, k - 1
    a, low = logarithm(k, m - 1.0, 0.0)
    return a + low


def sigmoid(x):
    if math.isnan(x):
        return x
    k, h, t = parts(max(-abs(x), -746.0))
    y, y_low = near_one(h, t)
    d, d_low = add(1.0, scaled(y, k))
    d_low = d_low + scaled(y_low, k)
    if x < 0:
        return scaled(quotient(y, y_low, d, d_low), k)
    return quotient(1.0, 0.0, d, d_low)


def tanh(x):
    if math.isnan(x) or abs(x) < 2.0**-28:
        return x
    k, h, t = parts(-2.0 * min(abs(x), 22.0))
    both = []
    for p in (-math.ldexp(1.0, k), math.ldexp(1.0, k)):
        a, e = add(1.0, p)
        a, e_of_h = add(a, p * h)
        both += add(a, (e + e_of_h) + p * t)
    return math.copysign(quotient(*both), x)


def softplus(x):
    if math.isnan(x) or x > 40.0:
        return x
    k, h, t = parts(max(-abs(x), -746.0))
    y, y_low = near_one(h, t)
    m, c = add(1.0, scaled(y, k))
    j = 1 if m > SQRT2 else 0
    f, c = add(math.ldexp(m, -j) - 1.0, math.ldexp(c, -j))
    c = c + math.ldexp(scaled(y_low, k), -j)
    b, low = logarithm(j, f, c)
    p = x if x > 0 else 0.0
    s = p + b
    of_b = s - p
    return s + (((p - (s - of_b)) + (b - of_b)) + low)


ordered = SimpleNamespace(exp=exp, log=log, sigmoid=sigmoid, tanh=tanh, softplus=softplus)
NAMES = tuple(vars(ordered))


def in_order(name, x):
    """The function of each number of an array, in float64, and rounded once to its dtype."""
    function = vars(ordered)[name]
    with np.errstate(all="ignore"):
        return np.array([function(value) for value in x.ravel().tolist()]).astype(x.dtype)


# --- exact ---------------------------------------------------------------------------------------

_PRECISION = 160


def exact(name, x):
    """The function of a finite number, to far more digits than float64 has."""
    with mpmath.workprec(_PRECISION):
        x = mpmath.mpf(float(x))
        if name == "sigmoid":
            return 1 / (1 + mpmath.exp(-x))
        if name == "softplus":
            return max(x, 0) + mpmath.log1p(mpmath.exp(-abs(x)))
        return getattr(mpmath, name)(x)


def units(got, name, x):
    """How far a finite float64 is from the exact value, in units of the last place of that."""
    want = exact(name, x)
    with mpmath.workprec(_PRECISION):
        size = abs(float(want))
        return float(abs(mpmath.mpf(float(got)) - want) / math.ulp(size))


def is_rounded_well(got, name, x):
    """Whether a float32 is the one nearest to the exact value."""
    with np.errstate(over="ignore"):
        below, above = (np.nextafter(np.float32(got), np.float32(s)) for s in (-np.inf, np.inf))
    want = exact(name, x)
    with mpmath.workprec(_PRECISION):
        # Infinity begins where a number would be that is one place after the largest.
        below, got, above = (
            mpmath.mpf(max(-(2.0**128), min(float(v), 2.0**128))) for v in (below, got, above)
        )
        is_above = (below + got) / 2 <= want
        return bool(is_above and (got == 2.0**128 or want <= (got + above) / 2))
