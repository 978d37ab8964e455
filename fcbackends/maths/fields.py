"""The fields of records of numbers: how each is read, and refused."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from fcbackends.errors import ArgumentError, ArgumentTypeError, shown


def check(record: Any, read: Callable[[str, Any], Any], *names: str) -> None:
    """Read these fields of a frozen record: each becomes a plain float, int or bool."""
    for name in names:
        object.__setattr__(record, name, read(name, getattr(record, name)))


def real(name: str, value: Any, required: str) -> float:
    """The number that a value is, and does not only hold, as arrays of one element do."""
    # NumPy makes its own complex numbers real, and warns.
    is_complex = "complex" in str(getattr(value, "dtype", ""))
    if not (isinstance(value, str | bytes) or getattr(value, "ndim", 0) != 0 or is_complex):
        try:
            # A masked one has no value, of which NumPy warns.
            return float(value) if getattr(value, "mask", None) is None else math.nan
        except (TypeError, ValueError, OverflowError):
            pass
    raise ArgumentTypeError(name, required, shown(value))


def number(required: str, allows: Callable[[float], bool]) -> Callable[[str, Any], float]:
    """A reader of numbers."""

    def read(name: str, value: Any) -> float:
        if isinstance(value, bool):
            raise ArgumentTypeError(name, required, shown(value))
        number = real(name, value, required)
        if not allows(number):
            raise ArgumentError(name, required, shown(value))
        return number

    return read


def whole(low: int) -> Callable[[str, Any], int]:
    """A reader of whole numbers from `low` to 2**63 - 1."""
    required = f"be an integer from {low} to 2**63 - 1"

    def read(name: str, value: Any) -> int:
        try:
            number = operator.index(value)
        except TypeError:
            raise ArgumentTypeError(name, required, shown(value)) from None
        if isinstance(value, bool):
            raise ArgumentTypeError(name, required, shown(value))
        if not low <= number < 2**63:
            raise ArgumentError(name, required, shown(value))
        return number

    return read


def choice(name: str, value: Any) -> bool:
    """Read True or False."""
    if isinstance(value, bool) or type(value).__name__ == "bool":  # NumPy's as well
        return bool(value)
    raise ArgumentTypeError(name, "be True or False", shown(value))
