"""Numbers as people read them: three digits and a unit."""

from __future__ import annotations

_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_MULTIPLES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def seconds(value: float) -> str:
    """A time with its unit.

    Examples
    --------
    >>> seconds(2.09e-8), seconds(0.00325), seconds(12.3456), seconds(0.0)
    ('20.9 ns', '3.25 ms', '12.3 s', '0.00 ns')
    """
    # What rounds up to the next unit is shown in it.
    scale, unit = next((u for u in _UNITS if value >= 0.9995 * u[0]), _UNITS[-1])
    return f"{three_digits(value / scale)} {unit}"


def three_digits(value: float) -> str:
    """A number with three digits, or more in front of the point.

    Examples
    --------
    >>> three_digits(1.23456), three_digits(12.3456), three_digits(123.456), three_digits(1234.56)
    ('1.23', '12.3', '123', '1,235')
    """
    decimals = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:,.{decimals}f}"


def factor(value: float) -> str:
    """How many times faster: small ones keep two digits.

    Examples
    --------
    >>> factor(94.8), factor(0.35), factor(0.00412)
    ('94.8', '0.35', '0.0041')
    """
    return three_digits(value) if value >= 0.095 else f"{value:.2g}"


def many(value: float) -> str:
    """A count with a thousandfold prefix.

    Examples
    --------
    >>> many(48_000_000.0), many(950.0)
    ('48.0 M', '950')
    """
    scale, prefix = next((m for m in _MULTIPLES if value >= 0.9995 * m[0]), (1.0, ""))
    return f"{three_digits(value / scale)} {prefix}".strip()


def percent(ratio: float) -> str:
    """A ratio as the change from 1.

    Examples
    --------
    >>> percent(1.153), percent(0.98)
    ('+15.3 %', '-2.0 %')
    """
    return f"{100 * (ratio - 1):+.1f} %"
