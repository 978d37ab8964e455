"""a * b + c with one rounding, made of products and sums that round one by one.

No array library promises an elementwise fused multiply-add. Here it is exact for every input:
signs of zeros, subnormal results, overflow, infinities and NaN among them.

- float32: the product of two float32 numbers is exact in float64. The sum is rounded there first,
  and rounding it once more errs only where it is, after the first rounding, no more than 25 bits
  long and was not so before: there the error of the sum decides.
- float64: the product as the sum of two numbers (Dekker, "A floating-point technique for extending
  the available precision", 1971), two two-sums (Knuth), and of what is then added last a power of
  two made an eighth larger or smaller, to the side of what it leaves out, so that no tie is rounded
  that is none (Graillat and Muller, "Emulation of the FMA in rounding-to-nearest floating-point
  arithmetic"). What would leave the range in between is scaled by powers of two.

Each product and each sum stands for one rounding: a library that contracts them must be kept from
that.
"""

from __future__ import annotations

from typing import Any

from fcbackends.errors import ArgumentTypeError
from fcbackends.maths.exact import Array, two_product, two_sum


def fma(xp: Any, a: Array, b: Array, c: Array) -> Array:
    """a * b + c, rounded once, for arrays that broadcast to the shape of c."""
    if c.dtype == xp.float32:
        return _through_float64(xp, a, b, c)
    product = a * b
    size = xp.abs(product)
    # All between: no part of the product is lost below, and no sum above.
    tame = (size < _HIGH) & ((size > _LOW) | (a == 0) | (b == 0)) & (xp.abs(c) < _HIGH)
    if xp.all(tame) and xp.all(xp.abs(a) < _SPLITS) and xp.all(xp.abs(b) < _SPLITS):
        return _of_parts(xp, a, b, c)
    return _of_any_size(xp, a, b, c)


def branchless(xp: Any, a: Array, b: Array, c: Array) -> Array:
    """As `fma`, with no look at the values: where a library traces, they are not there yet."""
    return (_through_float64 if c.dtype == xp.float32 else _of_any_size)(xp, a, b, c)


_LOW, _HIGH, _SPLITS = 2.0**-960, 2.0**1000, 2.0**990


def _through_float64(xp: Any, a: Array, b: Array, c: Array) -> Array:
    wide = [xp.astype(array, xp.float64) for array in (a, b, c)]
    if wide[0].dtype != xp.float64:
        raise ArgumentTypeError(
            "arithmetic",
            "be 'ordered' or 'native' where the library has no float64",
            "'fused'",
        )
    total, error = two_sum(wide[0] * wide[1], wide[2])
    longer = (2.0**28 + 1) * total
    may_tie = (longer - (longer - total) == total) & (error != 0)
    nudge = xp.sign(error) * xp.abs(total) * 2.0**-52
    return xp.astype(xp.where(may_tie, total + nudge, total), xp.float32)


def _of_parts(xp: Any, a: Array, b: Array, c: Array) -> Array:
    product, product_error = two_product(a, b)
    high, high_error = two_sum(product, c)
    rounded = _rounded_once(xp, high, *two_sum(product_error, high_error))
    # The sum of two zeros has the sign that it must have; a third one may change it.
    return xp.where(rounded == 0, high, rounded)


def _of_any_size(xp: Any, a: Array, b: Array, c: Array) -> Array:
    one, zero = xp.ones_like(c), xp.zeros_like(c)
    numbers = xp.isfinite(a) & xp.isfinite(b)
    takes_part = numbers & xp.isfinite(c) & (a != 0) & (b != 0)
    otherwise = xp.where(numbers & ~xp.isfinite(c), c, a * b + c)
    a, b, c = (xp.where(takes_part, array, one) for array in (a, b, c))
    (root_a, back_a), (root_b, back_b) = _roots(xp, a, one), _roots(xp, b, one)
    root, back = root_a * root_b, back_a * back_b
    # Exact: each comes to stand between 2**-474 and 2**424.
    scaled_a, scaled_b = a * root_a * root_a, b * root_b * root_b
    scaled_c = c * root * root
    # Of what is far below the last bit of the product only the side matters; of what is far
    # above, all.
    far_above = xp.abs(scaled_c) >= _HIGH
    far_below = (xp.abs(scaled_c) < 2.0**-950) & (c != 0)
    scaled_c = xp.where(far_above, zero, xp.where(far_below, xp.sign(c) * 2.0**-950, scaled_c))

    product, product_error = two_product(scaled_a, scaled_b)
    total, total_error = two_sum(product, scaled_c)
    middle, low = two_sum(product_error, total_error)
    normal_sum = _rounded_once(xp, total, middle, low)
    # Subnormal results have fewer bits: beside the least normal number they round as they must.
    high, middle = two_sum(total, middle)
    least = xp.where(root < 1, zero, 2.0**-1022 * root * root)
    anchor = xp.sign(high) * least
    anchored, anchored_error = two_sum(anchor, high)
    middle, rest = two_sum(middle, anchored_error)
    subnormal_sum = _rounded_once(xp, anchored, middle, rest + low) - anchor
    subnormal_sum = xp.where(subnormal_sum == 0, 0.0 * high, subnormal_sum)
    result = xp.where(xp.abs(high) < least, subnormal_sum, normal_sum)
    result = xp.where(far_above, c, result * back * back)
    return xp.where(takes_part, result, otherwise)


def _roots(xp: Any, a: Array, one: Array) -> tuple[Array, Array]:
    """The square root of what brings a number's size near to one, and of what brings it back."""
    up, down = one * 2.0**300, one * 2.0**-300
    is_small, is_large = xp.abs(a) < 2.0**-400, xp.abs(a) >= 2.0**400
    root = xp.where(is_small, up, xp.where(is_large, down, one))
    return root, xp.where(is_small, down, xp.where(is_large, up, one))


def _rounded_once(xp: Any, high: Array, middle: Array, low: Array) -> Array:
    """high + middle + low, rounded once, where each is at most half a unit of the one before."""
    # Few bits, as only powers of two have among those that can lie between two numbers.
    few = (2.0**51 + 1) * middle - 2.0**51 * middle == middle
    factor = xp.where(few, 1 + xp.sign(middle) * xp.sign(low) * 0.125, xp.ones_like(middle))
    return high + factor * middle
