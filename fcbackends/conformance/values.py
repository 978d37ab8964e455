"""The decisions and numbers of a case: from its seed and index alone, the same on every machine."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from fcbackends.maths.sampling import word, words

Choice = TypeVar("Choice")

_DECISIONS = 64
"""Words that are made at once for all decisions of a case: the first is half of what they cost."""


class Format(NamedTuple):
    """A floating dtype's parts: an exponent field of `bias` is that of 1.0."""

    unsigned: Any
    mantissa_bits: int
    bias: int

    def of_parts(self, sign: Any, exponent: Any, mantissa: Any) -> NDArray[Any]:
        """Bit patterns, in 64 bits, of these parts."""
        exponent_bits = (2 * self.bias + 1).bit_length()
        bits = np.asarray(sign, np.uint64) << np.uint64(exponent_bits)
        bits = (bits | np.asarray(exponent, np.uint64)) << np.uint64(self.mantissa_bits)
        return bits | np.asarray(mantissa, np.uint64)


FORMATS = {"float32": Format(np.uint32, 23, 127), "float64": Format(np.uint64, 52, 1023)}

MAGNITUDES: dict[str, Callable[[Format], tuple[int, int]]] = {
    "ordinary": lambda f: (f.bias - 3, f.bias + 1),
    "short": lambda f: (f.bias - 3 * f.mantissa_bits, f.bias + 1),
    "wide": lambda f: (f.bias * 4 // 5, f.bias * 6 // 5),
    "subnormal": lambda f: (0, f.mantissa_bits + 3),
    "underflowing": lambda f: (f.bias // 2 - 12, f.bias // 2 + 3),
    "overflowing": lambda f: (f.bias * 3 // 2 - 6, f.bias * 3 // 2 + 2),
    "any": lambda f: (0, 2 * f.bias + 1),
}
"""The lowest and the highest exponent field of numbers: "any" has infinities and NaN among them.

Of short ones half of the mantissa is zeros, so that many products lie between two numbers."""


class Draws:
    """The decisions and numbers of one case, in the order in which they are asked for."""

    def __init__(self, seed: int, index: int) -> None:
        self._key = word(word(seed, index), 0)
        self._used = 0
        self._decisions = self._more_decisions()

    def _more_decisions(self) -> list[int]:
        """Those that come next, last first."""
        return (self._words(_DECISIONS) >> np.uint64(11)).tolist()[::-1]

    def _words(self, count: int) -> NDArray[np.uint64]:
        counters = np.arange(self._used, self._used + count, dtype=np.uint64)
        self._used += count
        return words(self._key, counters)

    def share(self) -> float:
        """A number in [0, 1)."""
        if not self._decisions:
            self._decisions = self._more_decisions()
        return float(self._decisions.pop()) * 2.0**-53

    def one_in(self, count: int) -> bool:
        """Whether this is the one time in so many."""
        return self.share() * count < 1

    def integer(self, low: int, high: int) -> int:
        """An integer from `low` to `high`, both among them."""
        return low + int(self.share() * (high - low + 1))

    def choice(self, choices: Sequence[Choice]) -> Choice:
        """One of the choices."""
        return choices[int(self.share() * len(choices))]

    def numbers(
        self,
        shape: tuple[int, ...],
        dtype: str,
        magnitude: str,
        specials: float = 0,
        zeros: float = 0,
    ) -> NDArray[Any]:
        """Numbers of this magnitude with all mantissas and both signs, some of them special.

        `specials` is the share of those: zeros, infinities, NaN and the ends of each range; and
        `zeros` the share of zeros of both signs.
        """
        form = FORMATS[dtype]
        low, high = MAGNITUDES[magnitude](form)
        drawn = self._words(math.prod(shape))
        # Sign, exponent and mantissa come from bits of their own: 1, 11 and up to 52.
        field = (drawn >> np.uint64(52)) & np.uint64(0x7FF)
        exponent = np.uint64(low) + (field * np.uint64(high - low + 1) >> np.uint64(11))
        mantissa = drawn & np.uint64((1 << form.mantissa_bits) - 1)
        if magnitude == "short":
            left_out = np.uint64(form.mantissa_bits // 2)
            mantissa = mantissa >> left_out << left_out
        bits = form.of_parts(drawn >> np.uint64(63), exponent, mantissa)
        for share, table in ((specials, _special_bits(form)), (zeros, _zero_bits(form))):
            if share:
                chosen = self._words(len(bits))
                where = (chosen & np.uint64(0xFFFF)) < np.uint64(int(share * 0x10000))
                place = (chosen >> np.uint64(16)) % np.uint64(len(table))
                bits = np.where(where, table[place.astype(np.intp)], bits)
        return bits.astype(form.unsigned).view(dtype).reshape(shape)

    def integers(self, shape: tuple[int, ...], largest: int) -> NDArray[np.int64]:
        """Integers from -largest to largest."""
        drawn = self._words(math.prod(shape)) % np.uint64(2 * largest + 1)
        return (drawn.astype(np.int64) - largest).reshape(shape)


@functools.cache
def _zero_bits(form: Format) -> NDArray[np.uint64]:
    return form.of_parts([0, 1], 0, 0)


@functools.cache
def _special_bits(form: Format) -> NDArray[np.uint64]:
    """Both signs of 0, 1, eps, the least numbers, the largest, infinity, and NaN."""
    ones, top = (1 << form.mantissa_bits) - 1, 2 * form.bias + 1
    exponents = [0, form.bias, form.bias - form.mantissa_bits, 0, 0, 0, 1, top - 1, top, top]
    mantissas = [0, 0, 0, 1, 3, ones, 0, ones, 0, 1 << (form.mantissa_bits - 1)]
    return np.concatenate([form.of_parts(sign, exponents, mantissas) for sign in (0, 1)])
