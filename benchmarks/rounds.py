"""How much of a work makes a round that can be timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple


class Rounds(NamedTuple):
    """The rounds that a work is timed in.

    Attributes
    ----------
    units : int
        Units in each.
    seconds : float
        About what a round takes.
    """

    units: int
    seconds: float


def seconds_of(function: Callable[..., object], *arguments: Any) -> float:
    """The time of a call."""
    started = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - started


def fitted(seconds: Callable[[int], float], wanted: float, enough: int = 1) -> Rounds:
    """The rounds that take about `wanted` seconds.

    Parameters
    ----------
    seconds : callable
        (units) -> float: does so many, and times them.
    wanted : float
        Seconds of a round.
    enough : int
        Units that are long beside the call they are done in. A round has no fewer, unless they
        take three rounds' time: on a disturbed machine, mere calls can seem to fill it.
    """
    units = 1
    while True:
        # One slow call, be it for compiling, would end the search too early.
        taken = min(seconds(units) for _ in range(3))
        if units < enough and taken * enough / units < 3 * wanted:
            units = enough
        elif taken > 0.7 * wanted:
            return Rounds(units, taken)
        else:
            # Long runs may have a faster way than short ones: no step of the search is a long one.
            units = max(units + 1, min(4 * units, round(units * wanted / taken)))
