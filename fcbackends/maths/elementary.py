"""exp, log, sigmoid, tanh and softplus, made of products, sums and comparisons.

Libraries differ in the last bits of theirs, and one library does between CPUs. Here an algorithm is
fixed: its products, its sums and their order, and with them the bits. It is written for float64;
for float32 its result is rounded once more, to float32.

The methods are Cody and Waite's ("Software Manual for the Elementary Functions", 1980) and Tang's
("Table-driven implementation of the exponential function in IEEE floating-point arithmetic", 1989),
without his tables: x is brought near to zero by a multiple of log(2) in two parts, a polynomial
serves there, and what the rounding of a large term takes away is added to the small ones. The
polynomials go through the function at Chebyshev's points.

Errors are in units of the last place of the result, of which rounding alone makes half a one; what
is stated is a little more than the largest in ten million numbers. Subnormal results are rounded
twice. Of all float32 numbers exp and tanh give the nearest float32, and so do the others but for 5
(log), 76 (sigmoid) and 1 (softplus).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from fcbackends.errors import ArgumentTypeError
from fcbackends.maths.exact import Array, fast_two_sum, halves, two_sum

_PER_LN2 = float.fromhex("0x1.71547652b82fep+0")
_LN2_HIGH = float.fromhex("0x1.62e42fefa3800p-1")
"""log(2) to 42 bits: its products with an exponent are exact."""
_LN2_LOW = float.fromhex("0x1.ef35793c76730p-45")

_EXP = tuple(
    map(
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
)
"""(exp(r) - 1 - r - r**2/2) / r**3 for |r| <= log(2)/2, by powers of r."""

_LOG = tuple(
    map(
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
)
"""(2 artanh(s) / s - 2) / s**2 for |s| <= (sqrt(2) - 1) / (sqrt(2) + 1), by powers of s**2."""

_SQRT2 = float.fromhex("0x1.6a09e667f3bcdp+0")


def _in_float64(function: Callable[[Any, Array], Array]) -> Callable[[Any, Array], Array]:
    """The function in float64, its result rounded once to the dtype that came."""

    @functools.wraps(function)
    def rounded_once(xp: Any, x: Array) -> Array:
        wide = xp.astype(x, xp.float64, copy=False)
        if wide.dtype != xp.float64:
            raise ArgumentTypeError(
                "x",
                "be of a library that has float64 switched on, which elementary functions need",
                f"{x.dtype}",
            )
        return xp.astype(function(xp, wide), x.dtype, copy=False)

    return rounded_once


@_in_float64
def exp(xp: Any, x: Array) -> Array:
    """e**x, within 0.7 units, 0.8 where it is subnormal.

    exp(-inf) is 0.0, and what is too large for float64 is infinite.
    """
    # Beyond, the result is infinite or zero; NaN stays.
    k, h, t = _exponential(xp, xp.clip(x, -746.0, 710.0))
    y, _ = _one_plus(h, t)
    first, second = _factors(xp, k)
    return (y * first) * second


@_in_float64
def log(xp: Any, x: Array) -> Array:
    """The natural logarithm, within 0.75 units: -inf of zeros, NaN of what is below."""
    one, infinity = xp.ones_like(x), xp.full_like(x, math.inf)
    inside = (x > 0) & (x < infinity)
    k, f = _exponent(xp, xp.where(inside, x, one))
    high, low = _logarithm(xp, k, f, xp.zeros_like(x))
    outside = xp.where(x == 0, -infinity, xp.where(x > 0, x, xp.full_like(x, math.nan)))
    return xp.where(inside, high + low, outside)


@_in_float64
def sigmoid(xp: Any, x: Array) -> Array:
    """1 / (1 + e**-x), within 0.7 units, 0.8 where it is subnormal."""
    y, y_low, first, second = _exp_minus_abs(xp, x)
    d, d_low = fast_two_sum(1.0, (y * first) * second)
    d_low = d_low + (y_low * first) * second
    # 1 / d, and for x < 0 exp(x) / d: it would lose its bits as 1 - 1 / d.
    one, negative = xp.ones_like(x), x < 0
    n, n_low = xp.where(negative, y, one), xp.where(negative, y_low, xp.zeros_like(x))
    first, second = xp.where(negative, first, one), xp.where(negative, second, one)
    return (_quotient(xp, n, n_low, d, d_low) * first) * second


@_in_float64
def tanh(xp: Any, x: Array) -> Array:
    """The hyperbolic tangent, within 0.8 units; the sign of zeros stays."""
    a = xp.abs(x)
    # (1 - e) / (1 + e) with e = exp(-2a), which is less than half a unit from 22 on.
    k, h, t = _exponential(xp, -2.0 * xp.clip(a, 0.0, 22.0))
    p = _power_of_two(xp, k)
    n, n_low = _one_plus_multiple(-p, h, t)
    d, d_low = _one_plus_multiple(p, h, t)
    y = _quotient(xp, n, n_low, d, d_low)
    # x - x**3 / 3 rounds to x.
    return xp.where(a < 2.0**-28, x, xp.where(x < 0, -y, y))


@_in_float64
def softplus(xp: Any, x: Array) -> Array:
    """log(1 + e**x), within 0.75 units, 0.8 where it is subnormal.

    Of -|x| it is what the binary cross-entropy of a logit adds to the larger of 0 and x.
    """
    y, y_low, first, second = _exp_minus_abs(xp, x)
    one, zero = xp.ones_like(x), xp.zeros_like(x)
    m, c = fast_two_sum(1.0, (y * first) * second)
    above = m > _SQRT2
    half = xp.where(above, 0.5 * one, one)
    # What the sum with 1 took from a small exponential is in f again.
    f, c = fast_two_sum(m * half - 1.0, c * half)
    c = c + ((y_low * first) * second) * half
    high, low = _logarithm(xp, xp.where(above, one, zero), f, c)
    # log(1 + e**x) = max(x, 0) + log(1 + e**-|x|)
    total, error = two_sum(xp.where(x > 0, x, zero), high)
    return xp.where(x > 40.0, x, total + (error + low))


# --- exponentials --------------------------------------------------------------------------------


def _exponential(xp: Any, x: Array) -> tuple[Array, Array, Array]:
    """k, h, t with exp(x) = 2**k * (1 + h + t), and |h| at most log(2)/2, |t| a sixth of it."""
    k = xp.round(x * _PER_LN2)
    h = x - k * _LN2_HIGH  # exact
    h_low = k * _LN2_LOW
    r = h - h_low
    r2 = r * r
    r4 = r2 * r2
    p = _EXP
    # Pairs side by side: one need not wait for the other.
    lower = (p[0] + p[1] * r) + (p[2] + p[3] * r) * r2
    upper = (p[4] + p[5] * r) + (p[6] + p[7] * r) * r2
    cubic = (r2 * r) * (lower + (upper + (p[8] + p[9] * r) * r4) * r4)
    return k, h, 0.5 * r2 + (cubic - h_low)


def _one_plus(h: Array, t: Array) -> tuple[Array, Array]:
    """1 + h + t in two parts."""
    total, error = fast_two_sum(1.0, h)
    return fast_two_sum(total, error + t)


def _one_plus_multiple(p: Array, h: Array, t: Array) -> tuple[Array, Array]:
    """1 + p * (1 + h + t) in two parts, for p a power of two, or its negative, of at most 1."""
    total, error = fast_two_sum(1.0, p)
    total, error_of_h = fast_two_sum(total, p * h)
    return fast_two_sum(total, (error + error_of_h) + p * t)


def _exp_minus_abs(xp: Any, x: Array) -> tuple[Array, Array, Array, Array]:
    """y, y_low, first, second with exp(-|x|) = (y + y_low) * first * second."""
    k, h, t = _exponential(xp, xp.clip(-xp.abs(x), -746.0, 0.0))
    return (*_one_plus(h, t), *_factors(xp, k))


def _factors(xp: Any, k: Array) -> tuple[Array, Array]:
    """Two powers of two with the product 2**k, which may lie beyond all of float64.

    A number near one times both is rounded once at most, by the second.
    """
    half = xp.floor(0.5 * k)
    first = _power_of_two(xp, half)
    return first, xp.where(k - half > half, 2.0 * first, first)


# --- logarithms ----------------------------------------------------------------------------------


def _logarithm(xp: Any, k: Array, f: Array, c: Array) -> tuple[Array, Array]:
    """high, low: the logarithm of 2**k * (1 + f + c), for a c far smaller than f or f = 0.

    With s = f / (2 + f), log(1 + f) = 2 artanh(s) = 2s + s * series. As 2s = f - s * f, and s * f =
    f**2/2 - s * f**2/2, it is f - f**2/2 + s * (f**2/2 + series), whose first term is exact.
    """
    s = f * xp.reciprocal(2.0 + f)
    z = s * s
    z2 = z * z
    p = _LOG
    lower = (p[0] + p[1] * z) + (p[2] + p[3] * z) * z2
    upper = (p[4] + p[5] * z) + p[6] * z2
    series = z * (lower + upper * (z2 * z2))
    # f**2/2 in two parts, of which the first is exact.
    f_high, f_low = halves(f)
    half, half_low = (0.5 * f_high) * f_high, (0.5 * f_low) * (f + f_high)
    small = s * ((half + half_low) + series) - half_low
    of_c = c - c * ((s + s) * (1.0 - s))  # c / (1 + f), nearly
    total, error = fast_two_sum(k * _LN2_HIGH, f)
    high, error_of_half = fast_two_sum(total, -half)
    return high, (error + error_of_half) + ((k * _LN2_LOW + of_c) + small)


# --- exact parts ---------------------------------------------------------------------------------


def _quotient(xp: Any, a: Array, a_low: Array, b: Array, b_low: Array) -> Array:
    """(a + a_low) / (b + b_low), to little more than half a unit."""
    r = xp.reciprocal(b)
    q, _ = halves(a * r)
    b_high, b_rest = halves(b)
    # Of 26 bits each: their product is exact, and so is what it leaves of a.
    rest = ((a - q * b_high) - q * (b_rest + b_low)) + a_low
    return q + rest * r


def _power_of_two(xp: Any, k: Array) -> Array:
    """2**k, exactly, for integers k from -900 to 900.

    The array API has no way to set an exponent. The library's own exponential, whatever its last
    bits, leads to a number a little above that power.
    """
    return _power_near(xp.exp(k * math.log(2) + 0.25))


def _exponent(xp: Any, x: Array) -> tuple[Array, Array]:
    """k, f with x = 2**k * (1 + f), exactly, and 1 + f above sqrt(1/2) and at most sqrt(2)."""
    one, zero = xp.ones_like(x), xp.zeros_like(x)
    is_small, is_large = x < 2.0**-500, x >= 2.0**500
    x = x * xp.where(is_small, 2.0**600 * one, xp.where(is_large, 2.0**-600 * one, one))
    back = xp.where(is_small, -600.0 * one, xp.where(is_large, 600.0 * one, zero))
    power = _power_near(x)
    # The logarithm of a power of two, whatever its last bits, is next to an integer.
    k = xp.round(xp.log2(power)) + back
    m = x * xp.reciprocal(power)
    above = m > _SQRT2
    return xp.where(above, k + 1.0, k), xp.where(above, 0.5 * m, m) - 1.0


def _power_near(x: Array) -> Array:
    """A power of two p with 3/4 <= x / p < 2, for x from 2**-900 to 2**900.

    The last bit of 2**52 * x is the first of x: where 2**k <= x < 1.5 * 2**k, p is 2**k. No product
    here rounds, so that to contract them changes nothing.
    """
    larger = 2.0**52 * x
    return (larger + x) - larger
