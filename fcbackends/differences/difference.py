"""What is told of two runs that part."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

CAUSES = (
    "products fused into sums",
    "products not fused into sums",
    "sums in another order",
    "subnormals flushed",
    "rate not rounded",
    "float64 in between",
    "extended precision in between",
    "float32 in between",
    "division in place of a product",
    "constants rounded apart",
    "another elementary function",
    "sign of a zero",
    "a term left out",
    "other data",
    "other draws",
    "other options",
    "not repeatable",
    "unknown",
)
"""What a `Difference` may name."""


@dataclass(frozen=True)
class Difference:
    """The first step at which two runs part; `str` gives it as a report.

    Attributes
    ----------
    step : int
        The first step, counted from 1, after which something differs; 0 where the first parameters
        do.
    after : int
        The last step before it after which all is known to be equal: `step` - 1, or less where a
        side cannot be repeated here and its record has no digest in between.
    operation : str or None
        The first operation of the step that differs: "draw of step 17", "forward of layer 1",
        "loss", "dw of layer 0", "db of layer 0", "dx of layer 1", "clipping of the gradient",
        "update of w of layer 0" or "update of b of layer 0"; at step 0, "first parameters".
    part : str
        Which part of the operation, where it has several.
    element : tuple of int or None
        The index of the first element of its result that differs.
    values : tuple of float or None
        The element on both sides; of a draw, the numbers of the samples.
    bits : tuple of str or None
        Their bit patterns, in hexadecimal digits.
    exact : Fraction or None
        What the operation's formula gives for the element, of its inputs and unrounded constants,
        without rounding; to 120 digits where that is no fraction.
    errors : tuple of float or None
        How far each side is from it, in units of the last place.
    cause : str
        What explains the difference, the likeliest: one of `CAUSES`.
    causes : tuple of str
        All that explain it as well as that.
    reason : str
        The same in words.
    sides : tuple of str
        What the two sides are.
    looks : int
        How often the two were compared.
    """

    step: int
    after: int
    operation: str | None
    part: str
    element: tuple[int, ...] | None
    values: tuple[float, float] | None
    bits: tuple[str, str] | None
    exact: Fraction | None
    errors: tuple[float, float] | None
    cause: str
    causes: tuple[str, ...]
    reason: str
    sides: tuple[str, str]
    looks: int

    def __str__(self) -> str:
        """A report, one thing a line."""
        return "\n".join(f"{name:<10} {text}" for name, text in self.rows())

    def rows(self) -> list[tuple[str, str]]:
        """The lines of the report: a name and a text each."""
        exactly = self.after == self.step - 1 or self.step == 0
        step = f"{self.step}" if exactly else f"after {self.after}, at or before {self.step}"
        rows = [("step", step)]
        if self.operation is not None:
            part = f" ({self.part})" if self.part else ""
            rows.append(("operation", f"{self.operation}{part}"))
        if self.element is not None:
            rows.append(("element", f"[{', '.join(map(str, self.element))}]"))
        for i, side in enumerate("ab"):
            text = self.sides[i]
            if self.values is not None:
                value = self.values[i]
                shown = f"{value!r}"
                if self.bits is not None:
                    shown += f"  0x{self.bits[i]}"
                if self.errors is not None and not math.isnan(self.errors[i]):
                    error = self.errors[i]
                    shown += f"  {error:+.3f} ulp" if abs(error) < 1e6 else f"  {error:+.3g} ulp"
                text = f"{shown}  {text}"
            rows.append((side, text))
        if self.exact is not None:
            rows.append(("exact", _decimal(self.exact)))
        also = [cause for cause in self.causes if cause != self.cause]
        rows.append(("cause", self.cause + (f", or {', or '.join(also)}" if also else "")))
        if self.reason:
            rows.append(("reason", self.reason))
        rows.append(("looks", str(self.looks)))
        return rows


def _decimal(value: Fraction) -> str:
    """A fraction in some thirty digits; in all, where these are no more."""
    from decimal import Decimal, localcontext

    with localcontext(prec=30) as context:
        context.Emax, context.Emin = 10**6, -(10**6)
        shown = Decimal(value.numerator) / Decimal(value.denominator)
        return f"{shown:.30g}" + ("" if Fraction(shown) == value else "...")
