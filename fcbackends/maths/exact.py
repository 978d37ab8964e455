"""Sums and products with what rounding takes from them, made of ones that round one by one.

Each operation stands for one rounding: a library that contracts them must be kept from that.
"""

from __future__ import annotations

from typing import Any, TypeAlias

Array: TypeAlias = Any


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """a + b, rounded, and the error: their sum is that of a and b (Knuth)."""
    total = a + b
    of_b = total - a
    return total, (a - (total - of_b)) + (b - of_b)


def fast_two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """As `two_sum`, where |a| >= |b| or a is zero (Dekker)."""
    total = a + b
    return total, (a - total) + b


def halves(a: Array) -> tuple[Array, Array]:
    """A float64 number as the sum of two of 26 bits (Dekker and Veltkamp)."""
    longer = (2.0**27 + 1) * a
    high = longer - (longer - a)
    return high, a - high


def two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """a * b, rounded, and the error: their sum is the product (Dekker)."""
    product = a * b
    (a_high, a_low), (b_high, b_low) = halves(a), halves(b)
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return product, error
