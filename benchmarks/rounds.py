"""How much of a work makes a round that can be timed: settled before any is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

MOST_SETTLING_SECONDS = 0.7
"""Runs that would take longer are not worth settling: they are no small layer's."""


class Rounds(NamedTuple):
    """The rounds that a work is timed in.

    Attributes
    ----------
    units : int
        Units in each.
    warm : int
        Units to do in one go beforehand, in any process: what a round needs is then there.
    seconds : float
        About what a round takes.
    """

    units: int
    warm: int
    seconds: float


def seconds_of(function: Callable[..., object], *arguments: Any) -> float:
    """The time of a call."""
    started = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - started


def fitted(seconds: Callable[[int], float], wanted: float, settling: int = 1) -> Rounds:
    """The rounds that take about `wanted` seconds.

    Parameters
    ----------
    seconds : callable
        (units) -> float: does so many, and times them.
    wanted : float
        Seconds of a round.
    settling : int
        Units that get the fastest kernel there is for them, which shorter runs of the same
        process then use too. They are done once, before the rounds are fitted, unless they take
        long, and where they fit into a round it has no fewer: a disturbed machine would otherwise
        decide by the length of a round what is timed, be it another kernel or the call alone.
    """
    units = warm = 1
    while True:
        # One slow call, be it for compiling, would end the search too early.
        taken = min(seconds(units) for _ in range(3))
        if warm < settling and taken * settling / units < MOST_SETTLING_SECONDS:
            taken = min(seconds(settling) for _ in range(3))
            warm = settling
            if taken < 3 * wanted:
                units = settling
        elif taken > 0.7 * wanted:
            return Rounds(units, max(units, warm), taken)
        else:
            # Long runs may have a faster way than short ones: no step of the search is a long one.
            units = max(units + 1, min(4 * units, round(units * wanted / taken)))
