"""The floating-point environment of a thread, on which every bit hangs: noticed, never changed.

A thread has a rounding mode, and may take subnormal numbers for zero; a library can change both,
for the thread that calls it and for those that this starts from then on. The contract rounds to
nearest and keeps subnormal numbers.
"""

from __future__ import annotations

import warnings

_ONE, _HALF, _TWO = 1.0, 0.5, 2.0
_STEP_UP, _STEP_DOWN = 2.0**-53, 2.0**-54
_LEAST_NORMAL, _LEAST = 2.0**-1022, 2.0**-1074
"""Names, since Python itself would compute with constants once and for all."""

ROUNDS_OTHERWISE = "this thread does not round to nearest"
FLUSHES = "this thread takes subnormal numbers for zero"


class FloatingPointWarning(RuntimeWarning):
    """The CPU is set so that results may have other bits than the contract's."""


def disturbance() -> str:
    """What is wrong with this thread's floating-point environment, or nothing, in 0.2 us."""
    # Halfway between two numbers: up to nearest, and down to nearest, both to 1.
    if _ONE + _STEP_UP != _ONE or _ONE - _STEP_DOWN != _ONE:
        return ROUNDS_OTHERWISE
    if _LEAST_NORMAL * _HALF == 0.0 or _LEAST * _TWO == 0.0:
        return FLUSHES
    return ""


def warn_if_disturbed(stacklevel: int) -> None:
    """Say so, of the caller so far up, where this thread's environment is not the contract's."""
    if found := disturbance():
        warnings.warn(
            f"{found}: results may have other bits than elsewhere",
            FloatingPointWarning,
            stacklevel=stacklevel + 1,
        )
